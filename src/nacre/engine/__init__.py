"""The engine: the one place where store, client, builder and containers are put together.

    import nacre

    with nacre.open_store() as engine:
        engine.build("app", tags=["app:1"])
        print(engine.run("app:1", ["python3", "-V"]).stdout)

`Engine(config)` opens what a call needs when it needs it (`wiring`); each part is imported then.
Signals go to the handlers of the program that calls; what those raise ends a container that runs. Errors
are those of `nacre.words.errors`.
"""

from __future__ import annotations

import os

from ..words.arguments import checked
from ..words.errors import NotFound, UsageError
from ..words.value import Value
from .wiring import Config, Wiring, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..grammars.dockerfile.checks import Advice
    from ..grammars.tar.entry import Reader
    from ..images.arrows.copying import Copied
    from ..images.arrows.manifestlist import ManifestEntry, Pushed
    from ..images.arrows.mirroring import Outcome
    from ..images.arrows.pull import PullResult
    from ..images.arrows.push import PushResult
    from ..images.attestations.wanted import Predicate
    from ..images.audit.check import Report
    from ..images.audit.compare import Difference
    from ..images.audit.explore import Exploration
    from ..images.audit.usage import DiskUsage
    from ..images.model.image import Image
    from ..images.model.rows import ImageRow
    from ..images.places.place import Place
    from ..services.build import BuildOptions, StepForecast
    from ..services.client.search import SearchResult
    from ..stores.store import Store
    from ..words.oci import Descriptor, Platform
    from ..words.progress import Progress
    from ..words.reference import Reference
    from .archives import ArchiveOutput
    from .baking import BakeFiles
    from .building import BuildComparison
    from .containers import Completed, ContainerCollection
    from .layers import LayerTools
    from .mounts import Mounts
    from .network import NetworkSettings
    from .networks import NetworkCollection
    from .outputs import Outputs
    from .registries import Registries
    from .removal import Removed
    from .system import System
    from .volumes import VolumeCollection

    AnyPath = str | os.PathLike[str]
    Name = str | Reference
    AnyPlace = str | Place
    Platforms = Platform | Sequence[Platform] | None
    Tell = Callable[..., object]
    Target = AnyPath | ArchiveOutput
    Origin = AnyPath | Reader

__all__ = ["Built", "Config", "Engine"]


class Built(Value):
    """A finished build: the image, and how many steps were done (`ran`) or kept (`cached`).

    `images` has that of each platform, in their order; `image` is then the one that the tags name.
    `attestations` are what was asked for of each, for `Engine.outputs`. `advice` says what could be better.
    `ref` is the name of the build's record, `provenance` is JSON for each image where `metadata` wants it.
    """

    image: Image
    ran: int
    cached: int
    images: tuple[Image, ...] = ()
    attestations: tuple[tuple[Predicate, ...], ...] = ()
    advice: tuple[Advice, ...] = ()
    ref: str = ""
    provenance: tuple[bytes, ...] = ()


class Engine(Wiring):
    """One store and the ways to work with it. Every call is complete when it returns.

    Several processes may share a store. Use an engine from one thread: as an ordinary user its calls fork.
    """

    @checked
    def __init__(self, config: Config) -> None:
        super().__init__(config)

    # registries

    @checked
    def configure(self, path: AnyPath) -> None:
        """Take settings for registries (mirrors, certificates, rates, …) from a config.toml.

        File names in it must be absolute. Raises UsageError with `file:line`, TooLarge, StoreError.
        """
        from .network import settings_in

        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._network = self.network.replace(settings=settings_in(os.fspath(path)))

    @checked
    def search(self, term: str, *, limit: int = 25) -> list[SearchResult]:
        """Repositories that a registry (`HOST/TERM`; without a host Docker Hub) finds for a term.

        Where a registry has no search, those of its catalog that hold the term. Raises RegistryError.
        """
        return list(self.registries.search(term, limit))

    # images

    @checked
    def images(self, *, strict: bool = True) -> list[Image]:
        """Every image, named or not, the newest first.

        Raises ContentError, NotFound for one that cannot be read; without `strict` it is left out, and told
        to `Config.warn`.
        """
        from .listing import every

        return list(every(self, strict))

    @checked
    def image_rows(self, *, digests: bool = False) -> list[ImageRow]:
        """As `images(strict=False)`, what a listing shows of each; with `digests` those in repositories."""
        from .listing import rows

        return list(rows(self, digests))

    @checked
    def image(self, name: str, platform: Platform | None = None) -> Image:
        """The image in the store that a reference, an id or the beginning of one names, for `platform` if
        one is given. Raises NotFound.
        """
        from ..images.model.image import find

        return find(self.store, name, platform)

    @checked
    def explore(self, name: str) -> Exploration:
        """Where the bytes of an image are, what later layers hide, what others share. Raises NotFound."""
        from ..images.audit.explore import explore
        from ..images.model.image import find

        return self.inside(lambda store: explore(find(store, name)))

    @checked
    def sharing(self, name: str) -> list[Image]:
        """The other images that can be read, which may share layers with this one. Raises NotFound."""
        from ..images.audit.explore import others

        return list(others(self.image(name)))

    @checked
    def differences(self, one: str, other: str) -> list[Difference]:
        """How the files of two images differ. Raises NotFound."""
        from ..images.audit.compare import differences

        return self.inside(lambda store: list(differences(self.image(one), self.image(other))))

    @checked
    def tag(self, source: str, target: Name) -> None:
        """Let `target` name the image `source`. Raises NotFound, InvalidName."""
        from ..images.model.image import index_of

        reference = named(target)
        if reference.digest is not None:
            raise UsageError(f"refusing to create a tag with a digest reference: {target}")
        image = self.image(source)
        self.store.refs.set(str(reference), image.descriptor, index_of(self.store, source))
        self.tell_image("tag", image, reference)

    @checked
    def untag(self, name: Name) -> bool:
        """Drop a name; the image stays until a `prune`. False if there was no such name."""

        return self.store.refs.delete(str(named(name)))

    @checked
    def remove(
        self, name: str, *, force: bool = False, prune: bool = True, tell: Tell | None = None
    ) -> list[Removed]:
        """Remove a name of an image, or the image by its id, as `nacre rmi`; what is gone.

        With its last name an image goes, and with `prune` the content that nothing else needs. `tell` hears
        of each thing at once. Raises NotFound, Conflict for an image in use, or with several names, unless
        `force`.
        """
        from .removal import remove

        return self.inside(lambda store: remove(store, name, tell, force=force, prune=prune))

    @checked
    def tags(self, name: Name, *, remote: bool = False) -> list[Reference]:
        """The tags of a repository here, sorted, or those of its registry. Raises RegistryError."""
        from .transfers import tags

        return tags(self, named(name), remote)

    @checked
    def export_tar(self, name: str, path: Target) -> None:
        """Write the files of an image, all layers merged, as one tar. Raises NotFound, StoreError."""
        from .archives import export_tar

        export_tar(self, name, path)

    @checked
    def export_folder(self, name: str, folder: AnyPath) -> None:
        """Write the files of an image into a folder, made if absent; they belong to the caller."""
        from ..images.layers.export import write_folder

        write_folder(self.image(name), os.fspath(folder))

    @checked
    def resolve(
        self, name: str, platform: Platform | None = None, *, pull: str = "missing",
        progress: Progress | None = None,
    ) -> Image:  # fmt: skip
        """An image from the store, from this machine (`host:python3`), or else pulled.

        `pull` is docker's: missing, always or never; `lazy` is missing, but the image is here before its
        content is. An image of another platform than the one wanted counts as missing. Raises NotFound,
        InvalidName, RegistryError, ContentError.
        """
        return self.image_inside(lambda store: self._resolved(store, name, platform, pull, progress))

    def _resolved(
        self, store: Store, name: str, platform: Platform | None, pull: str, progress: Progress | None
    ) -> Image:
        from ..images.model.image import find
        from ..words.reference import is_host

        if is_host(name):
            from ..images.places.host import host_image

            return host_image(store, name)
        found = None if pull == "always" else _stored(store, name, platform)
        if found is not None:
            return found
        if pull == "never":
            return find(store, name)
        if pull in ("missing", "lazy") and progress is not None:
            progress.line(f"Unable to find image {name!r} locally")
        from . import transfers

        lazy = pull == "lazy" or (pull == "missing" and self.network.settings.lazy)
        fetch = transfers.pull_lazily if lazy else transfers.pull
        return fetch(self, named(name), platform, progress).image

    # moving

    @checked
    def pull_all(
        self, names: Sequence[Name], *, platform: Platform | None = None, tell: Tell | None = None,
        progress: Progress | None = None,
    ) -> list[PullResult]:  # fmt: skip
        """As `pull`, for several at a time; those that came stay when another fails.

        `tell(reference, result, seconds)` hears of each as it comes, from several threads.
        """
        from .transfers import pull_all

        references = [named(name) for name in names]
        return self.results_inside(lambda store: pull_all(self, references, platform, tell, progress))

    @checked
    def pull(
        self, name: Name, *, platform: Platform | None = None, lazy: bool = False,
        progress: Progress | None = None,
    ) -> PullResult:  # fmt: skip
        """Fetch what `name` means in its registry; layers that the store has are not fetched.

        `lazy`: return before the content of the layers is here, which another process goes on to fetch.
        Raises NotFound, RegistryError, ContentError, Unsupported.
        """
        from .transfers import pull, pull_lazily

        reference, fetch = named(name), pull_lazily if lazy else pull
        return self.result_inside(lambda store: fetch(self, reference, platform, progress))

    @checked
    def push(
        self, name: Name, *, compression: str = "", level: int | None = None, force: bool = False,
        format: str = "", progress: Progress | None = None,
    ) -> PushResult:  # fmt: skip
        """Send the image that has this name to the registry the name says.

        `compression` (gzip, zstd, zstd:chunked, none; "": as they are) and `level` compress the layers
        anew, with `force` also those that are in this form already. `format` (docker or oci; "": as it is,
        and the other where a registry refuses it) chooses the kind of manifest: the manifest, and its digest,
        are then others. Raises NotFound, RegistryError, UsageError, Unsupported.
        """
        from ..images.layers.repack import Packing
        from ..words.oci import form_of
        from .transfers import push, push_attested

        reference, form = named(name), form_of(format)
        packing = Packing(compression, level, force or level is not None) if compression else None
        descriptor = self.pushed(reference)
        how = push_attested if self.store.refs.index(str(reference)) else push
        result = how(self, reference, descriptor, packing=packing, form=form, progress=progress)
        self.tell("image", "push", reference.familiar, reference.familiar_name)
        return result

    @checked
    def pushed(self, name: Name) -> Descriptor:
        """What a push of this name sends. Raises NotFound in docker's words."""
        reference = named(name)
        descriptor = self.store.refs.get(str(reference))
        if descriptor is None:
            raise NotFound(
                f"an image does not exist locally with the tag: {reference.familiar}",
                hint="give an image that name with: nacre tag IMAGE " + reference.familiar,
            )
        return descriptor

    @checked
    def copy(
        self, source: AnyPlace, target: AnyPlace, *, all: bool = False, platform: Platform | None = None,
        preserve_digests: bool = False, referrers: bool = False, docker_host: str = "", format: str = "",
        names: Sequence[str] = (), at_once: int = 0, source_network: NetworkSettings | None = None,
        target_network: NetworkSettings | None = None, progress: Progress | None = None,
    ) -> Copied:  # fmt: skip
        """Copy an image between two places (`nacre copy --help` lists them), not through the store.

        `all` platforms, or the one that `platform` says (None: this machine's). `docker_host` is where
        `docker-daemon:` is, `format` as for `push`. `names` are further names in a docker-archive; `at_once`
        blobs move side by side (0: the usual number). One end may be reached in another way than the
        engine's, by a `nacre.engine.network.NetworkSettings`. Raises NotFound, RegistryError, ContentError,
        Unsupported, UsageError.
        """
        from ..images.arrows.copying import Choice
        from ..images.places.place import Place
        from ..words.oci import form_of
        from .transfers import budget, copy

        ends = Place.of(source), Place.of(target)
        choice = Choice(
            platform, all, referrers, budget(self, at_once), form_of(format), preserve_digests,
            tuple(str(named(name)) for name in names),
        )  # fmt: skip
        usual = self.network.replace(docker_host=docker_host or self.network.docker_host)
        networks = source_network or usual, target_network or usual

        def work(_store: Store | None) -> Copied:
            return copy(self, ends, networks, choice, progress)

        return self.inside(work) if any(place.needs_store for place in ends) else work(None)

    @checked
    def mirror(
        self, path: Origin, *, dry_run: bool = False, prune: bool = False, verify: bool = False,
        tell: Tell | None = None, progress: Progress | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Keep repositories the same elsewhere by a list, a TOML file; what became of each tag.

        `tell` hears of each tag as it is done, from several threads. A failure of one tag (`status` "failed",
        with its `error`) does not stop the others. Nothing is deleted without `prune`. Raises UsageError with
        `file:line`, StoreError.
        """
        from ..grammars.config.mirrors import parse_mirrors
        from ..images.arrows.mirroring import Rules
        from .transfers import mirror, read_list

        done: list[Outcome] = []

        def hear(outcome: Outcome) -> None:
            done.append(outcome)
            if tell:
                tell(outcome)

        mirror(self, parse_mirrors(*read_list(path)), Rules(dry_run, prune, verify), hear, progress)
        return sorted(done, key=lambda outcome: (outcome.target, outcome.tag))

    @checked
    def save(self, names: Sequence[str], path: Target, *, progress: Progress | None = None) -> None:
        """Write images to an archive that docker, podman and OCI tools read. Raises NotFound.

        `path` may be a file opened for bytes.
        """
        from .archives import save

        save(self, list(names), path, progress)

    @checked
    def load(
        self, path: Origin, *, platform: Platform | None = None, tell: Tell | None = None,
        progress: Progress | None = None,
    ) -> list[Image]:  # fmt: skip
        """Read every image of an archive, compressed or not, or of a folder with an OCI layout.

        `path` may be a file opened for bytes. `tell(image, names)` hears under which names each was found.
        Raises InvalidArchive, InvalidDocument.
        """
        from ..images.model.image import Image
        from .archives import load

        if self.is_inside:
            return load(self, path, platform, tell, progress)
        found = self.inside(
            lambda store: [one.descriptor for one in load(self, path, platform, tell, progress)]
        )
        return [Image.load(self.store, descriptor) for descriptor in found]

    @checked
    def import_tar(
        self, path: Origin, name: Name = "", *, changes: Sequence[str] = (), message: str = "",
        platform: Platform | None = None, created: str = "",
    ) -> Image:  # fmt: skip
        """Make an image of one layer from a root file system as a tar, compressed or not.

        `path` may be a URL, or a file opened for bytes. `changes` are Dockerfile instructions: `CMD ["sh"]`;
        `platform` None is this machine's; `created` is an RFC 3339 time, "" for now. Raises InvalidArchive,
        UsageError, NotFound, RegistryError.
        """
        from ..images.arrows.importer import Meta
        from .archives import import_tar

        reference = named(name) if name else None
        if reference is not None and reference.digest is not None:
            raise UsageError(f"cannot import digest reference: {reference}")
        meta = Meta(tuple(changes), message, platform, created)
        image = self.image_inside(lambda store: import_tar(self, path, reference, meta))
        if reference:
            self.tell_image("tag", image, reference)
        self.tell_image("import", image)
        return image

    # multi-platform lists

    @checked
    def manifest_create(self, name: Name, images: Sequence[str], *, amend: bool = False) -> None:
        """Begin a list of images (of the store, else of their registries), or `amend` it.

        Raises Conflict when it exists, NotFound, Unsupported for an index, RegistryError.
        """
        from .transfers import lists

        self.inside(lambda store: lists(self).create(named(name), list(images), amend=amend))

    @checked
    def manifest_annotate(
        self, name: Name, image: str, *, os: str = "", architecture: str = "", variant: str = "",
        os_version: str = "", os_features: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Say for which platform an image of a list is. Raises NotFound, UsageError."""
        from ..words.oci import Platform
        from .transfers import lists

        said = Platform(os, architecture, variant, os_version, tuple(os_features))
        self.inside(lambda store: lists(self).annotate(named(name), image, said))

    @checked
    def manifest_inspect(self, name: Name) -> tuple[ManifestEntry, ...]:
        """The images of a list that is being put together. Raises NotFound."""
        from .transfers import lists

        return self.inside(lambda store: lists(self).get(named(name)))

    @checked
    def manifest_push(self, name: Name, *, purge: bool = False, progress: Progress | None = None) -> Pushed:
        """Put the images of a list, then the list, where its name says; `purge` forgets it then.

        Raises NotFound, RegistryError.
        """
        from .transfers import lists

        return self.inside(
            lambda store: lists(self, progress).push(named(name), purge=purge, progress=progress)
        )

    @checked
    def manifest_remove(self, name: Name) -> None:
        """Forget a list that is being put together. Raises NotFound."""
        from .transfers import lists

        self.inside(lambda store: lists(self).remove(named(name)))

    # making

    @checked
    def build(
        self, context: Origin, *, tags: Sequence[str] = (), dockerfile: Origin = "", target: str = "",
        arguments: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None,
        platform: Platforms = None, no_cache: bool = False, pull: str = "missing",
        options: BuildOptions | None = None, progress: Progress | None = None,
    ) -> Built:  # fmt: skip
        """Build the Dockerfile of the folder `context` (or the file `dockerfile`) and name the image.

        `context` may be a tar, a URL or a git repository as for `nacre build`, or a file opened for bytes
        with a tar or a Dockerfile alone; one of both may be such a file, and `dockerfile` a URL. For several
        platforms it makes as many images, of which the one that this machine runs, else the first, gets the
        tags. `pull` is for the images of FROM, as for `resolve`. `options` has the rest of `nacre build`:
        secrets, hosts, … Raises DockerfileError, BuildFailed, NotFound, Unsupported; then nothing changed.
        """
        from .building import agents_of, build, completed, for_each, merged

        wanted = merged(
            options, target=target, tags=tuple(map(named, tags)), no_cache=no_cache,
            arguments=tuple((arguments or {}).items()), labels=tuple((labels or {}).items()),
            platforms=for_each(platform),
        )  # fmt: skip
        origins = context, dockerfile
        with agents_of(wanted) as ready:
            results = self.results_inside(lambda store: build(self, origins, ready, pull, progress))
        return Built(*completed(self, results, wanted.tags))

    @checked
    def verify(
        self, context: Origin, *, dockerfile: Origin = "", pull: str = "missing",
        options: BuildOptions | None = None, progress: Progress | None = None,
    ) -> list[BuildComparison]:  # fmt: skip
        """Build as `build`, then again without the cache, keep nothing of that, and compare: by platform."""
        from .building import agents_of, merged, verify

        with agents_of(merged(options)) as wanted:
            return self.result_inside(
                lambda store: verify(self, (context, dockerfile), wanted, pull, progress)
            )

    @checked
    def explain(
        self, context: Origin, *, dockerfile: Origin = "", arguments: Mapping[str, str] | None = None,
        pull: str = "missing", options: BuildOptions | None = None, progress: Progress | None = None,
    ) -> list[StepForecast]:  # fmt: skip
        """What `build` would do with each step and why, without building; all parameters as for `build`.

        Nothing is pulled or fetched either: what depends on it is said to do so. Caches elsewhere are asked
        what they have. Raises DockerfileError, NotFound.
        """
        from .building import explain, merged

        wanted = merged(options, arguments=tuple((arguments or {}).items()))
        return self.result_inside(lambda store: explain(self, (context, dockerfile), wanted, pull, progress))

    @checked
    def call(
        self, method: str, context: Origin, *, dockerfile: Origin = "", target: str = "",
        arguments: Mapping[str, str] | None = None, options: BuildOptions | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What the Dockerfile of `context` says of itself, without building; the rest as for `build`.

        `method` "check" are the warnings of build checks, for all stages if no `target` is given, and the
        fault that would end the build; "outline" the parameters of the target; "targets" the stages. The
        documents have BuildKit's fields. Nothing is pulled: of a base image that is not in the store no
        variables are known. Raises DockerfileError, NotFound, UsageError.
        """
        from .building import call, merged

        wanted = merged(options, target=target, arguments=tuple((arguments or {}).items()))
        origins = context, dockerfile
        return self.result_inside(lambda store: call(self, origins, wanted, method))

    @checked
    def run(
        self, name: str, command: Sequence[str] = (), *, input: bytes = b"",
        environment: Mapping[str, str] | None = None, working_dir: str = "", user: str = "",
        volumes: Sequence[str] = (), network: str = "default", read_only: bool = False,
        progress: Progress | None = None,
    ) -> Completed:  # fmt: skip
        """Run a program in a container of its own, of which nothing is left afterwards.

        `command` () is the image's own; `volumes` are docker's `SOURCE:/PATH[:ro]`. The output is kept in
        memory; `progress` is told of a pull. Raises NotFound, SandboxError, CommandNotFound,
        CommandNotExecutable.
        """
        from .options import ContainerOptions

        pairs = tuple(f"{key}={value}" for key, value in (environment or {}).items())
        options = ContainerOptions(
            environment=pairs, working_dir=working_dir, user=user, volumes=tuple(volumes), network=network,
            read_only=read_only, auto_remove=True,
        )  # fmt: skip
        return self.containers.run(name, command, options, input=input, progress=progress)

    # parts

    @property
    def containers(self) -> ContainerCollection:
        """The containers of the store: `engine.containers.list()`."""
        from .containers import ContainerCollection

        return ContainerCollection(self, self.resolve)

    @property
    def networks(self) -> NetworkCollection:
        """The networks of containers in the store: `engine.networks.create("shop")`."""
        from .networks import NetworkCollection

        return NetworkCollection(self)

    @property
    def volumes(self) -> VolumeCollection:
        """The volumes of the store: `engine.volumes.create("data")`."""
        from .volumes import VolumeCollection

        return VolumeCollection(self)

    @property
    def mounts(self) -> Mounts:
        """Files of containers and images, mounted for others: `engine.mounts.mount("app:1")`."""
        from .mounts import Mounts

        return Mounts(self)

    @property
    def layers(self) -> LayerTools:
        """Layers as tars in streams: `engine.layers.diff("old", "new", file.write)`."""
        from .layers import LayerTools

        return LayerTools(self)

    @property
    def outputs(self) -> Outputs:
        """What becomes of built images: `engine.outputs.write(built.images, BuildOutput("oci", path))`."""
        from .outputs import Outputs

        return Outputs(self)

    @property
    def bake(self) -> BakeFiles:
        """Bake and compose files: `engine.bake.plan(engine.bake.define())` says what to `build`."""
        from .baking import BakeFiles

        return BakeFiles(self, lambda *fields: Built(*fields))

    @property
    def registries(self) -> Registries:
        """Logins, and a registry of one's own: `engine.registries.login("ghcr.io", "me", token)`."""
        from .registries import Registries

        return Registries(self)

    @property
    def system(self) -> System:
        """The store as a whole: `engine.system.info()`."""
        from .system import System

        return System(self)

    # the store

    @checked
    def prune(self, *, all: bool = False) -> int:
        """Free what nothing needs: images without a name (`all`: those no container uses). Gives bytes."""
        from ..stores.sweep import sweep

        return self.inside(lambda store: sweep(store, images="all" if all else "dangling").bytes)

    @checked
    def disk_usage(self) -> DiskUsage:
        """What takes space, in bytes of disk, each file once; and what each prune would free."""
        from ..images.audit.usage import disk_usage

        return self.inside(disk_usage)

    @checked
    def check(self, *, repair: bool = False, progress: Progress | None = None) -> Report:
        """Verify all content and that images have what they need; `repair` mends what can be mended.

        Damaged content is made again, or fetched from a registry that has it. Never raises for damage of
        content: `wrong` of the result lists what is there still. A damaged database is rebuilt by `repair`,
        and raises DamagedStore without.
        """
        return self.system.check(repair=repair, progress=progress)


def _stored(store: Store, name: str, platform: Platform | None) -> Image | None:
    """The image of the store, unless it is for another platform than the one wanted."""
    from ..images.model.image import find

    try:
        return find(store, name, platform)
    except NotFound:
        return None
