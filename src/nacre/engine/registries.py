"""Registries: who the user is there, and one of one's own."""

from __future__ import annotations

import os

from ..ground.files import os_errors
from ..words.errors import NacreError, NotFound, Unsupported, UsageError
from ..words.reference import Reference, is_loopback, registry_name
from ..words.rules import GarbageRules, StorageRules
from .network import fetched, logins_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..grammars.accessprofile import AccessProfile
    from ..images.arrows.combining import Combination, CombinedImage, RemoteImage
    from ..images.arrows.mirroring import Outcome
    from ..images.places.place import Places
    from ..services.client.search import SearchResult
    from ..services.server.telemetry import Telemetry
    from ..stores.backup import BackupReport
    from ..stores.garbage import Garbage
    from ..stores.importing import ImportReport
    from ..stores.integrity import RegistryReport
    from ..words.digest import Digest
    from ..words.progress import Progress
    from ..words.rules import RegistryRules, ServingConfig
    from ..words.telemetry import TelemetryRules
    from .accounts import RegistryAccounts
    from .importing import MirrorReport
    from .registrycontent import RegistryContent
    from .remote import ManagedRegistry
    from .replication import RegistryReplication
    from .wiring import Wiring


class Registries:
    """What concerns whole registries. `registry` is `host[:port]`, "" for Docker Hub."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def login(self, registry: str, username: str = "", password: str = "") -> str:
        """Ask a registry whether it knows the user, then keep the credentials where docker does.

        With `<token>` as `username` the password is an identity token. Without a user those kept already are
        tried. Gives the file that has them unencrypted, "" where a credential helper keeps them. Raises
        Unauthorized, NotFound when none are kept, RegistryError, StoreError.
        """
        from ..grammars.wire.auth import Credentials
        from ..services.client.credentials import TOKEN_USER

        name, logins = registry_name(registry), logins_of(self._engine.network)
        if not username:
            kept = logins.lookup(name)
            if not kept:
                raise NotFound(f"there are no credentials for {name}")
            self._engine.client.check(name, kept)
            return ""
        token = username == TOKEN_USER
        credentials = Credentials(identity_token=password) if token else Credentials(username, password)
        self._engine.client.check(name, credentials)
        try:
            return "" if logins.store(name, credentials) else logins.path
        except NacreError as error:
            error.hint = error.hint or "the credentials are valid but could not be stored"
            raise

    def has_login(self, registry: str) -> bool:
        """Whether credentials for a registry are kept; it is not asked about them."""
        return bool(logins_of(self._engine.network).lookup(registry_name(registry)))

    def logout(self, registry: str) -> bool:
        """Forget the credentials for a registry; False if there were none. Raises StoreError."""
        return logins_of(self._engine.network).erase(registry_name(registry))

    def search(self, term: str, limit: int = 0) -> tuple[SearchResult, ...]:
        """Repositories that a registry (`HOST/TERM`; without a host Docker Hub) finds for a term, 0 for 25.

        Where a registry has no search, those of its catalog that hold the term. Raises RegistryError.
        """
        from ..services.client.search import MAX_LOOKED, USUAL_LIMIT
        from ..words.reference import split_search

        registry, words = split_search(term)
        findings = self._engine.client.search(registry, words, limit or USUAL_LIMIT)
        if not findings.whole:
            self._engine.config.warn(f"Only the first {MAX_LOOKED} repositories of {registry} were searched")
        return findings.found

    def look(self, name: str, *, configs: bool = False, attestations: bool = False) -> RemoteImage:
        """The document that a name means in its registry; configs of its images and attestations, if wanted.

        Raises NotFound, RegistryError, ContentError.
        """
        from ..images.arrows.combining import look

        return look(self._places(), Reference.parse(name), configs=configs, attestations=attestations)

    def combine(
        self, sources: Sequence[str], names: Sequence[str] = (), how: Combination | None = None,
        progress: Progress | None = None,
    ) -> CombinedImage:  # fmt: skip
        """Put images of registries together to an index, and put that where each name says (none: nowhere).

        A source is a reference, or a digest in the repository that is written to. Raises UsageError,
        NotFound, RegistryError, ContentError.
        """
        from ..images.arrows.combining import Combination, combined, put

        places, targets = self._places(progress), list(map(Reference.parse, names))
        made = combined(places, sources, how or Combination(), targets)
        for name in targets:
            put(places, made, name, progress)
        return made

    def _places(self, progress: Progress | None = None) -> Places:
        from .transfers import places

        return places(self._engine, self._engine.client, progress, self._engine.network.docker_host)

    @property
    def folder(self) -> str:
        """Where `serve` keeps a registry unless it is told."""
        return self._engine.paths.registry

    def _root(self, folder: str) -> str:
        """The absolute path of the one that is meant."""
        return os.path.abspath(folder or self.folder)

    def recorded(self, name: str) -> AccessProfile | None:
        """What containers read of an image while it came lazily, None where that is not known.

        Raises NotFound, ContentError.
        """
        from ..grammars.accessprofile import MOST_BYTES, AccessProfile
        from ..images.model.image import find

        store = self._engine.store
        data = store.trees.reads(find(store, name).diff_ids, MOST_BYTES)
        return AccessProfile.parse(data) if data else None

    def optimize(self, name: str, profile: AccessProfile | None = None, *, created: str = "") -> Digest:
        """Put beside an image in its registry what makes it start lazily faster; the image is not changed.

        `profile` says what to fetch first, as `containers.record` gives it. `created` is a time (RFC 3339),
        "" for now. Gives the digest of what was pushed. Raises NotFound, Conflict where the registry has
        another image than the store, RegistryError.
        """
        from ..images.model.image import find
        from .optimizing import attach

        reference = Reference.parse(name)
        return attach(self._engine, find(self._engine.store, name), reference, profile, created)

    def attach_indexes(self, name: str) -> int:
        """Put beside an image in its registry the indexes that its layers lack to come lazily; how many.

        The compressed layers are read once, from the store where it has them. Raises as `optimize`.
        """
        from ..images.model.image import find
        from .optimizing import attach_indexes

        return attach_indexes(self._engine, find(self._engine.store, name), Reference.parse(name))

    def accounts(self, folder: str = "", *, actor: str = "", database: str = "") -> RegistryAccounts:
        """People, teams, rights and tokens of the registry in a folder; "" for the usual one. `database`: as
        in `MetadataRules`.
        """
        from .accounts import RegistryAccounts

        return RegistryAccounts(self._root(folder), actor, database)

    def replication(self, folder: str = "", rules: RegistryRules | None = None) -> RegistryReplication:
        """What replicates of the registry in a folder; "" for the usual one. `rules` are its operator's."""
        from ..words.rules import RegistryRules
        from .replication import RegistryReplication

        return RegistryReplication(self._root(folder), rules or RegistryRules(), self._engine)

    def content(self, folder: str = "", *, actor: str = "") -> RegistryContent:
        """What the registry in a folder holds and can restore; "" for the usual one."""
        from .network import Posting
        from .registrycontent import RegistryContent

        post = Posting(self._engine.config, self._engine.network)
        return RegistryContent(self._root(folder), actor, post)

    def remote(self, url: str) -> ManagedRegistry:
        """A registry that is served elsewhere, at `https://HOST[:PORT]`, as the user logged in there.

        Raises UsageError, and Unsupported without msgspec.
        """
        from .remote import ManagedRegistry

        return ManagedRegistry(self._engine.client, url)

    def collect(
        self, folder: str = "", rules: GarbageRules | None = None, *, dry_run: bool = False
    ) -> tuple[Garbage, Garbage]:
        """Remove what nothing names any more from a registry that is not served; one that is does by itself.

        Gives what nothing names, and what of it is gone, or with `dry_run` would go. Raises Conflict while it
        is served and for what is no registry, StoreError.
        """
        from ..stores.registry import collected

        return collected(self._root(folder), rules or GarbageRules(), dry_run=dry_run)

    def check(
        self, folder: str = "", storage: StorageRules | None = None, *, read: bool = False,
        sparse: bool = False, rate: int = 0, repair: bool = False, progress: Progress | None = None,
    ) -> RegistryReport:  # fmt: skip
        """Prove that every manifest of a registry can be pulled, and that its database has no value that
        cannot be; with `read` every byte is hashed.

        It may be served meanwhile; nothing is changed, unless by `repair` rows that the content shows to be
        wrong, or that cannot be. `storage` says in which bucket its content is.
        `sparse`: parts that were never pushed are no damage. `rate`: bytes per second at most, 0 for no
        limit; a request to a bucket counts as 64 KiB. Raises Conflict for what is no registry, or has its
        content elsewhere, StoreError, Unavailable.
        """
        from ..services.server.documents import read as parse
        from ..stores.integrity import CheckOptions
        from ..stores.registry import checked

        place = storage or StorageRules()
        return checked(self._root(folder), parse, place, CheckOptions(read, sparse, rate, repair), progress)

    def import_storage(
        self, source: str, folder: str = "", *, sparse: bool = False, progress: Progress | None = None
    ) -> ImportReport:
        """Bring what the storage folder of docker's registry has into the registry in a folder.

        That must not be served. What is there already is not brought again, and a tag that names something
        else stays.

        `sparse`: manifests come although parts of them are missing. Raises NotFound for what is no storage
        folder, Conflict, StoreError; what came before stays.
        """
        from contextlib import closing

        from ..services.server.documents import read as parse
        from ..stores.distribution import DistributionFolder
        from ..stores.importing import StorageImport
        from ..stores.registry import RegistryStore

        with DistributionFolder(source) as found, closing(RegistryStore(self._root(folder))) as store:
            return StorageImport(found, store, parse, sparse=sparse, progress=progress).run()

    def import_registry(
        self, source: str, target: str, repositories: Sequence[str] = (), *,
        tell: Callable[[Outcome], object] | None = None, progress: Progress | None = None,
    ) -> MirrorReport:  # fmt: skip
        """Bring the repositories of a registry (`HOST[:PORT]`) into one that is served, `HOST[:PORT]` with a
        namespace if wanted: tags, and what refers to them. All digests stay.

        `repositories` are patterns. What is there already is not brought again; a tag there that names what
        was neither there nor here stays. `tell` hears what became of each tag, from several threads. One
        that fails does not stop the others. Raises RegistryError when the source does not list what it has.
        """
        from .importing import RegistryImport

        return RegistryImport(self._engine, source, target, tell or (lambda _outcome: None)).run(
            repositories, progress
        )

    def backup(
        self, directory: str, folder: str = "", storage: StorageRules | None = None, *, read: bool = False,
        progress: Progress | None = None,
    ) -> BackupReport:  # fmt: skip
        """Bring the backup in `directory` up to what the registry in a folder holds now, served or not.

        `storage` says in which bucket its content is. `read`: content that is there already, or is only
        linked, is hashed as well. Raises Conflict, StoreError, Unavailable; the earlier backup is whole then.
        """
        from contextlib import closing

        from ..stores.backup import RegistryBackup, source_of
        from ..stores.registry import catalog_of

        root = self._root(folder)
        with closing(catalog_of(root)) as catalog:
            source = source_of(catalog, root, storage or StorageRules())
            return RegistryBackup(source, directory, read=read, progress=progress).run()

    def restore(
        self, directory: str, folder: str = "", *, storage: StorageRules | None = None, database: str = "",
        sparse: bool = False, progress: Progress | None = None,
    ) -> RegistryReport:  # fmt: skip
        """Make a registry in a folder, which is empty, of the backup in `directory`, and check it.

        All content is hashed; it goes into the bucket that `storage` names, if any. Names and accounts go
        into the server at the URL `database`, if any, which must be empty. What was broken off goes on.
        `sparse`: as `check`. Raises NotFound for what is no backup, Conflict, StoreError, Unavailable.
        """
        from ..stores.restoring import RegistryRestore, RestoreTarget

        root, place = self._root(folder), storage or StorageRules()
        RegistryRestore(directory, root, progress, RestoreTarget(place, database)).run()
        return self.check(root, place, sparse=sparse, progress=progress)

    def configure(
        self, file: str = "", *, variables: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> ServingConfig:  # fmt: skip
        """What a configuration file says, over it the variables `NACRE_SERVE_…` of `variables`, over these
        flags of `nacre registry serve` by name. Raises UsageError with the place, TooLarge, StoreError.
        """
        from ..grammars.serving import ConfigSources, read_config

        text = _text_in(file) if file else ""
        config = read_config(ConfigSources(text, file, variables or {}, flags or {}), _text_in)
        return _with_upstreams(config, (flags or {}).get("upstream"))

    def serve(
        self, host: str, port: int, folder: str, ready: Callable[[str], object], *,
        access: Callable[[str], object] | None = None, rules: RegistryRules | None = None,
    ) -> None:  # fmt: skip
        """Serve the registry in a folder from the main thread until SIGTERM or SIGINT, then return.

        `ready` gets the URL as soon as connections are accepted, port 0 being any free one; `access` a line
        for each request; `rules` are the operator's. An address that other machines reach needs `rules.tls`
        or `rules.plain_http`; without `accounts` there are no passwords. Raises Conflict, Unsupported,
        UsageError, StoreError.
        """
        from ..services.server import serve
        from ..services.server.outgoing import Outgoing
        from ..words.rules import RegistryRules
        from .network import Posting

        rules = rules or RegistryRules()
        if not (rules.tls.cert or rules.plain_http or is_loopback(host)):
            raise UsageError(
                f"{host} is reachable from other machines, and without TLS passwords can be read on the way",
                hint="give --tls-cert and --tls-key, or --plain-http behind a proxy that ends TLS",
            )

        from .replication import remotes_of
        from .upstreams import upstreams_of

        log = self._engine.config.warn
        traced = _telemetry(rules.telemetry, log) if rules.telemetry.is_wanted else None
        upstreams = upstreams_of(rules.upstreams, self._engine, traced.headers if traced else None)
        posting = Posting(self._engine.config, self._engine.network)
        post = traced.posting(posting) if traced else posting
        outgoing = Outgoing(self._fetch, post, remotes_of(self._engine), traced)
        more = {"access": access, "rules": rules, "outgoing": outgoing, "upstreams": upstreams}
        serve(host, port, self._root(folder), ready, log=log, **more)

    def _fetch(self, url: str, limit: int, form: Mapping[str, str] | None = None, bearer: str = "") -> bytes:
        return fetched(self._engine.client, url, limit, form, bearer)


def _telemetry(rules: TelemetryRules, note: Callable[[str], object]) -> Telemetry:
    try:
        from ..services.server.telemetry import Telemetry
    except ModuleNotFoundError as error:
        asked = f"the variables OTEL_… ask for telemetry, which needs {error.name}"
        raise Unsupported(asked, hint="pip install nacre-oci[telemetry]") from None
    return Telemetry(rules, note)


def _with_upstreams(config: ServingConfig, names: object) -> ServingConfig:
    """Also what `--upstream` says; a table of that name says more. Raises UsageError."""
    from ..words.upstreams import UpstreamRules

    known = {upstream.name for upstream in config.rules.upstreams}
    added = dict.fromkeys(str(name) for name in names if name not in known) if isinstance(names, list) else ()
    upstreams = (*config.rules.upstreams, *map(UpstreamRules.of, added))
    return config.replace(rules=config.rules.replace(upstreams=upstreams)) if added else config


def _text_in(path: str) -> str:
    """Of a small file. Raises UsageError, TooLarge, StoreError."""
    from ..grammars.config.schema import MAX_CONFIG, text_of

    with os_errors(f"read {path}"), open(path, "rb") as file:
        return text_of(file.read(MAX_CONFIG + 1), path)
