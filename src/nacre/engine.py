"""The public Python API: a store, and what can be done with it.

    import nacre

    with nacre.open_store() as engine:
        engine.build("app", tags=["app:1"])
        print(engine.run("app:1", ["python3", "-V"]).stdout)

An ordinary user's process is left as it is: work that needs a user namespace is done in a forked child
that enters one, and its result comes back as a value. So it is where SIGCHLD is ignored or handled.
Signals go to the handlers of the program that calls; what those raise ends a container that runs. Errors
are those of `nacre.words.errors`.
"""

from __future__ import annotations

import os

from .ground import userns
from .ground.fork import learns_of_children
from .images.model.image import Image, find
from .stores.crossing import resting
from .words.arguments import checked
from .words.errors import UsageError
from .words.reference import Reference
from .words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO, Self, TypeVar

    from .grammars.config import Settings
    from .images.arrows.copying import Copied
    from .images.arrows.manifestlist import Entry, ManifestLists, Pushed
    from .images.arrows.mirroring import Outcome
    from .images.arrows.pull import PullResult
    from .images.arrows.push import PushResult
    from .images.audit.check import Report
    from .images.audit.explore import Exploration
    from .images.audit.usage import DiskUsage
    from .images.places.place import Places
    from .services.client import Client
    from .services.client.search import Found
    from .services.containers import Containers, Request
    from .stores.paths import Paths
    from .stores.store import Store
    from .words.digest import Digest
    from .words.oci import Descriptor, Platform
    from .words.progress import Progress

    T = TypeVar("T")
    AnyPath = str | os.PathLike[str]


class Built(Value):
    """A finished build: the image, and how many steps were done (`ran`) or kept (`cached`)."""

    image: Image
    ran: int
    cached: int


class Completed(Value):
    """A container that has ended: the code of its program (128 + n after signal n) and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@checked
def open_store(
    root: AnyPath = "",
    *,
    driver: str = "auto",
    docker_config: AnyPath = "",
    layer_blobs: str = "auto",
    repair: bool = False,
) -> Engine:
    """Open the store in the folder `root`, made if absent; the caller closes it, `with` works.

    `root` "" is where the command line keeps it: /var/lib/nacre for root, else ~/.local/share/nacre.
    `docker_config` is the path of a config.json with credentials for registries ("": ~/.docker's).
    `layer_blobs` keep, drop or auto: whether pulled layers stay in their compressed form too. `repair`:
    rebuild the database first if it is gone or damaged; `check(repair=True)` then says what is lost. Raises
    StoreError, DamagedStore for such a database without `repair`.
    """
    home = os.path.expanduser("~")
    usual = "/var/lib/nacre" if os.geteuid() == 0 else f"{home}/.local/share/nacre"
    config = docker_config or f"{home}/.docker/config.json"
    if repair:
        _rebuild(os.path.abspath(root or usual))
    return Engine(root or usual, driver, config, layer_blobs)


def _rebuild(root: str) -> None:
    from .stores.layout import has_content
    from .stores.rebuild import rebuild

    if has_content(root):
        rebuild(root) if userns.mapped() else userns.call(rebuild, root)


class Engine:
    """One open store. Every call is complete when it returns; several processes may share a store.

    Use an engine from one thread: as an ordinary user its calls fork.
    """

    _settings: Settings | None = None

    @checked
    def __init__(
        self, root: AnyPath, driver: str = "auto", docker_config: AnyPath = "", layer_blobs: str = "auto"
    ) -> None:
        self.root, self.driver = os.path.abspath(root), driver
        self._docker_config, self._layer_blobs = os.fspath(docker_config), layer_blobs
        self._store: Store | None = None
        self._inside(lambda store: None)

    @property
    def store(self) -> Store:
        """The rooms beneath, for reading: `engine.store.refs.list()`."""
        if self._store is None:
            self._store = self._open()
        return self._store

    @checked
    def configure(self, path: AnyPath) -> None:
        """Take settings for registries (mirrors, certificates, rates, …) from a config.toml.

        File names in it must be absolute. Raises UsageError with `file:line`, TooLarge, StoreError.
        """
        from .grammars.config import parse_config
        from .grammars.config.schema import MAX_CONFIG, text_of
        from .ground.files import os_errors

        name = os.fspath(path)
        with os_errors(f"read {name}"), open(name, "rb") as file:
            data = file.read(MAX_CONFIG + 1)
        self._settings = parse_config(text_of(data, name), name)

    def close(self) -> None:
        """Idempotent."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # reading

    @checked
    def images(self) -> list[Image]:
        """Every image, named or not, the newest first."""
        from .words.oci import INDEX_TYPES

        kept = (d for d in self.store.refs.images() if d.media_type not in INDEX_TYPES)
        return [Image.load(self.store, descriptor) for descriptor in kept]

    @checked
    def image(self, name: str) -> Image:
        """The image in the store that a reference, an id or the beginning of one names. Raises NotFound."""
        return find(self.store, name)

    @checked
    def explore(self, name: str) -> Exploration:
        """Where the bytes of an image are, what later layers hide, what others share. Raises NotFound."""
        from .images.audit.explore import explore

        return self._inside(lambda store: explore(find(store, name)))

    # names

    @checked
    def tag(self, source: str, target: str) -> None:
        """Let `target` name the image `source`. Raises NotFound, InvalidName."""
        reference = Reference.parse(target)
        if reference.digest is not None:
            raise UsageError(f"refusing to create a tag with a digest reference: {target}")
        self.store.refs.set(str(reference), self.image(source).descriptor)

    @checked
    def untag(self, name: str) -> bool:
        """Drop a name; the image stays until a `prune`. False if there was no such name."""
        return self.store.refs.delete(str(Reference.parse(name)))

    # the store

    @checked
    def prune(self, *, all: bool = False) -> int:
        """Free what nothing needs: images without a name (`all`: those no container uses). Gives bytes."""
        from .stores.sweep import sweep

        return self._inside(lambda store: sweep(store, images="all" if all else "dangling").bytes)

    @checked
    def disk_usage(self) -> DiskUsage:
        """What takes space, in bytes of disk, each file once; and what each prune would free."""
        from .images.audit.usage import disk_usage

        return self._inside(disk_usage)

    @checked
    def check(self, *, repair: bool = False, progress: Progress | None = None) -> Report:
        """Verify all content and that images have what they need; `repair` mends what can be mended.

        Damaged content is made again, or fetched from a registry that has it. Never raises for damage of
        content: `wrong` of the result lists what is there still. Raises DamagedStore for a damaged database,
        which `open_store(repair=True)` rebuilds.
        """
        from .images.audit.check import check

        def work(store: Store) -> Report:
            with self._client() as client:
                return check(
                    store, repair=repair, progress=progress,
                    sources=lambda name: client.repository(Reference.parse(name)),
                )  # fmt: skip

        return self._inside(work)

    # moving

    @checked
    def resolve(
        self, name: str, platform: Platform | None = None, *, pull: str = "missing",
        progress: Progress | None = None,
    ) -> Image:  # fmt: skip
        """An image from the store, from this machine (`host:python3`), or else pulled.

        Raises NotFound, InvalidName, RegistryError, ContentError.
        """
        return self._image(lambda store: self._resolve(store, name, platform, pull, progress).descriptor)

    @checked
    def pull(
        self, name: str, *, platform: Platform | None = None, progress: Progress | None = None
    ) -> PullResult:
        """Fetch what `name` means in its registry; layers that the store has are not fetched.

        Raises NotFound, RegistryError, ContentError, Unsupported.
        """
        from .images.arrows.pull import PullResult

        def work(store: Store) -> tuple[Descriptor, Digest, int, int, bool]:
            done = self._pull(store, name, platform, progress)
            return done.image.descriptor, done.digest, done.moved, done.reused, done.changed

        descriptor, digest, moved, reused, changed = self._inside(work)
        return PullResult(Image.load(self.store, descriptor), digest, moved, reused, changed)

    @checked
    def push(
        self, name: str, *, compression: str = "", level: int | None = None, format: str = "",
        progress: Progress | None = None,
    ) -> PushResult:  # fmt: skip
        """Send the image that has this name to the registry the name says.

        `compression` (gzip, zstd, zstd:chunked, none; "": as they are) and `level` compress the layers
        anew, `format` (docker or oci; "": as it is, and the other where a registry refuses it) chooses the
        kind of manifest: the manifest, and its digest, are then others. Raises NotFound, RegistryError,
        UsageError, Unsupported.
        """
        from .images.arrows.push import push
        from .images.layers.repack import Packing
        from .images.model.schema import form_of

        form = form_of(format)
        packing = Packing(compression, level, level is not None) if compression else None

        reference = Reference.parse(name)
        descriptor = self.image(name).descriptor
        with self._client() as client:
            sink = client.repository(reference)
            return push(
                self.store, descriptor, sink, reference.target, progress=progress, packing=packing, form=form,
                sources=lambda name: client.repository(Reference.parse(name)),
            )  # fmt: skip

    @checked
    def copy(
        self, source: str, target: str, *, all: bool = False, platform: Platform | None = None,
        preserve_digests: bool = False, referrers: bool = False, docker_host: str = "", format: str = "",
        progress: Progress | None = None,
    ) -> Copied:  # fmt: skip
        """Copy an image between two places (`nacre copy --help` lists them), not through the store.

        `all` platforms, or the one that `platform` says (None: this machine's). `docker_host` is where
        `docker-daemon:` is, `format` as for `push`. Raises NotFound, RegistryError, ContentError,
        Unsupported, UsageError.
        """
        from .images.arrows.copying import Choice, copy_between
        from .images.model.schema import form_of
        from .images.model.seen import Seen
        from .images.places.place import Place

        choice = Choice(platform, all, referrers, form=form_of(format), seen=Seen(self._paths.seen))
        ends = Place.parse(source), Place.parse(target)

        def work(store: Store | None) -> Copied:
            with self._client() as client:
                places = self._places(store, client, docker_host, progress)
                return copy_between(places, *ends, choice, exact=preserve_digests, progress=progress)

        if any(place.needs_store for place in ends):
            return self._inside(work)
        return work(None)

    @checked
    def mirror(
        self, path: AnyPath, *, dry_run: bool = False, prune: bool = False, verify: bool = False,
        progress: Progress | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Keep repositories the same elsewhere by a list, a TOML file; what became of each tag.

        A failure of one tag (`status` "failed", with its `error`) does not stop the others. Nothing is
        deleted without `prune`. Raises UsageError with `file:line`, StoreError.
        """
        from .grammars.config.mirrors import parse_mirrors
        from .ground.files import os_errors
        from .images.arrows.mirroring import Rules, mirror_all

        name = os.fspath(path)
        with os_errors(f"read {name}"), open(name, encoding="utf-8", errors="replace") as file:
            entries = parse_mirrors(file.read(), name)
        told: list[Outcome] = []
        with self._client() as client:
            mirror_all(
                entries, client.repository, self._paths.mirrors, Rules(dry_run, prune, verify),
                told.append, progress=progress,
            )  # fmt: skip
        return sorted(told, key=lambda outcome: (outcome.target, outcome.tag))

    @checked
    def search(self, term: str, *, limit: int = 25) -> list[Found]:
        """Repositories that a registry (`HOST/TERM`; without a host Docker Hub) finds for a term.

        Where a registry has no search, those of its catalog that hold the term. Raises RegistryError.
        """
        from .words.reference import split_search

        registry, words = split_search(term)
        with self._client() as client:
            return list(client.search(registry, words, limit).found)

    # multi-platform lists

    @checked
    def manifest_create(self, name: str, images: Sequence[str], *, amend: bool = False) -> None:
        """Begin a list of images (of the store, else of their registries), or `amend` it.

        Raises Conflict when it exists, NotFound, Unsupported for an index, RegistryError.
        """
        self._lists(lambda lists: lists.create(name, list(images), amend=amend))

    @checked
    def manifest_annotate(
        self, name: str, image: str, *, os: str = "", architecture: str = "", variant: str = "",
        os_version: str = "", os_features: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Say for which platform an image of a list is. Raises NotFound, UsageError."""
        features = tuple(os_features)
        self._lists(
            lambda lists: lists.annotate(
                name, image, os_name=os, architecture=architecture, variant=variant, os_version=os_version,
                os_features=features,
            )
        )  # fmt: skip

    @checked
    def manifest_inspect(self, name: str) -> tuple[Entry, ...]:
        """The images of a list that is being put together. Raises NotFound."""
        return self._lists(lambda lists: lists.get(name))

    @checked
    def manifest_push(self, name: str, *, purge: bool = False, progress: Progress | None = None) -> Pushed:
        """Put the images of a list, then the list, where its name says; `purge` forgets it then.

        Raises NotFound, RegistryError.
        """
        return self._lists(lambda lists: lists.push(name, purge=purge, progress=progress))

    @checked
    def manifest_remove(self, name: str) -> None:
        """Forget a list that is being put together. Raises NotFound."""
        self._lists(lambda lists: lists.remove(name))

    @checked
    def save(self, names: Sequence[str], path: AnyPath) -> None:
        """Write images to an archive that docker, podman and OCI tools read. Raises NotFound."""
        from .images.arrows.archive import save

        for name in names:
            self.image(name)
        with self._client() as client, _opened(path, "wb") as file:
            save(
                self.store, list(names), file.write,
                sources=lambda name: client.repository(Reference.parse(name)),
            )  # fmt: skip

    @checked
    def load(self, path: AnyPath) -> list[Image]:
        """Read every image of an archive, compressed or not. Raises InvalidArchive, InvalidDocument."""
        from .images.arrows.archive import load

        def work(store: Store) -> list[Descriptor]:
            with _opened(path, "rb") as file:
                return [loaded.image.descriptor for loaded in load(store, file)]

        return [Image.load(self.store, descriptor) for descriptor in self._inside(work)]

    @checked
    def import_tar(self, path: AnyPath, name: str = "", *, changes: Sequence[str] = ()) -> Image:
        """Make an image of one layer from a root file system as a tar, compressed or not.

        `changes` are Dockerfile instructions: `CMD ["sh"]`. Raises InvalidArchive, UsageError.
        """
        from .images.arrows.importer import import_tar

        reference = Reference.parse(name) if name else None

        def work(store: Store) -> Descriptor:
            with _opened(path, "rb") as file:
                return import_tar(store, file, reference, changes=changes, origin=os.fspath(path)).descriptor

        return self._image(work)

    # making

    @checked
    def build(
        self, context: AnyPath, *, tags: Sequence[str] = (), dockerfile: AnyPath = "", target: str = "",
        arguments: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None,
        platform: Platform | None = None, no_cache: bool = False, progress: Progress | None = None,
    ) -> Built:  # fmt: skip
        """Build the Dockerfile of the folder `context` (or the file `dockerfile`) and name the image.

        Raises DockerfileError, BuildFailed, NotFound, Unsupported; then nothing has changed.
        """
        from .services.build import Builder, BuildOptions
        from .services.build.inputs import load

        options = BuildOptions(
            target=target, tags=tuple(tags), no_cache=no_cache, platform=platform,
            arguments=tuple((arguments or {}).items()), labels=tuple((labels or {}).items()),
        )  # fmt: skip

        def work(store: Store) -> tuple[Descriptor, int, int]:
            def base(name: str, wanted: Platform | None) -> Image:
                return self._resolve(store, name, wanted, "missing", progress)

            with load(store, os.fspath(context), os.fspath(dockerfile)) as inputs:
                result = Builder(store, base, progress).build(inputs, options)
            return result.image.descriptor, result.ran, result.cached

        descriptor, ran, cached = self._inside(work)
        return Built(Image.load(self.store, descriptor), ran, cached)

    @checked
    def run(
        self, name: str, command: Sequence[str] = (), *, input: bytes = b"",
        environment: Mapping[str, str] | None = None, working_dir: str = "", user: str = "",
        volumes: Sequence[str] = (), network: str = "host", read_only: bool = False,
        progress: Progress | None = None,
    ) -> Completed:  # fmt: skip
        """Run a program in a container of its own, of which nothing is left afterwards.

        `command` () is the image's own; `volumes` are docker's `SOURCE:/PATH[:ro]`. The output is kept in
        memory; `progress` is told of a pull. Raises NotFound, SandboxError, CommandNotFound,
        CommandNotExecutable.
        """
        from .images.model.runtime import RunOptions
        from .services.containers import Containers, Request
        from .services.containers.volumes import parse_volume

        def work(store: Store) -> tuple[int, bytes, bytes]:
            options = RunOptions(
                command=tuple(command), working_dir=working_dir, user=user, network=network,
                environment=tuple(f"{key}={value}" for key, value in (environment or {}).items()),
                volumes=tuple(parse_volume(text, os.getcwd(), store.root) for text in volumes),
                read_only=read_only,
            )  # fmt: skip
            image = self._resolve(store, name, None, "missing", progress)
            request = Request(image, options, reference=name, auto_remove=True)
            return _captured(Containers(store), request, input)

        return Completed(*self._inside(work))

    # how

    def _open(self) -> Store:
        from .stores.store import Store

        return Store.open(self.root, driver=self.driver, layer_blobs=self._layer_blobs)

    def _inside(self, work: Callable[[Store], T]) -> T:
        """Do `work` where files may get any owner and mounts are possible; its result must be picklable."""
        if userns.mapped() and learns_of_children():
            return work(self.store)
        if self._store is not None:
            self._store.rest()

        def entered() -> T:
            with self._open() as store:
                return work(store)

        with resting():
            result: T = userns.call(entered)
        return result

    def _image(self, work: Callable[[Store], Descriptor]) -> Image:
        return Image.load(self.store, self._inside(work))

    def _resolve(
        self, store: Store, name: str, platform: Platform | None, pull: str, progress: Progress | None
    ) -> Image:
        from .images.arrows.resolve import resolve

        def fetch(reference: Reference, wanted: Platform | None) -> Image:
            return self._pull(store, str(reference), wanted, progress).image

        return resolve(store, name, fetch, platform, pull=pull)

    def _pull(
        self, store: Store, name: str, platform: Platform | None, progress: Progress | None
    ) -> PullResult:
        from .images.arrows.pull import pull

        reference = Reference.parse(name)
        with self._client() as client:
            source = client.repository(reference)
            return pull(source, reference, store, platform=platform, progress=progress)

    def _places(
        self, store: Store | None, client: Client, docker_host: str, progress: Progress | None
    ) -> Places:
        from .images.places.place import Places
        from .services.daemon import Daemon

        return Places(
            lambda: store or self.store, client.repository, lambda: Daemon(docker_host), progress=progress
        )

    def _lists(self, work: Callable[[ManifestLists], T]) -> T:
        from .images.arrows.manifestlist import ManifestLists

        def inside(store: Store) -> T:
            with self._client() as client:
                places = self._places(store, client, "", None)
                return work(ManifestLists(self._paths.manifests, places, lambda: store))

        return self._inside(inside)

    @property
    def _paths(self) -> Paths:
        from .stores.paths import Paths

        return Paths(self.root)

    def _client(self) -> Client:
        from dataclasses import replace

        from .services.client import Client, ClientConfig
        from .services.client.credentials import DockerConfig
        from .services.client.kept import UploadFolder

        config = ClientConfig(
            credentials=DockerConfig(self._docker_config).lookup, uploads=UploadFolder(self._paths.uploads)
        )
        return Client(replace(config, settings=self._settings) if self._settings else config)


def _captured(containers: Containers, request: Request, input: bytes) -> tuple[int, bytes, bytes]:
    """Run a container with files for its streams: no pipe can fill up, whatever it writes."""
    from .ground.sandbox import Stdio

    with _memory("stdin") as stdin, _memory("stdout") as stdout, _memory("stderr") as stderr:
        stdin.write(input)
        stdin.seek(0)
        stdio = Stdio(stdin.fileno(), stdout.fileno(), stderr.fileno())
        code = containers.run(request, stdio, forward=False)
        return code, _content(stdout), _content(stderr)


def _opened(path: AnyPath, mode: str) -> BinaryIO:
    """A file that the caller named. Raises StoreError."""
    from typing import cast

    from .ground.files import os_errors

    with os_errors(f"open {os.fspath(path)}"):
        return cast("BinaryIO", open(path, mode))


def _memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b", buffering=0)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
