"""Containers: made from options in docker's words, started, looked at and removed."""

from __future__ import annotations

import os

from ..services.containers.listing import ContainerListing
from ..words.errors import NotFound
from ..words.value import Value
from .lifecycle import Lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO, TypeVar

    from ..grammars.tar.entry import Reader
    from ..ground.sandbox import Stdio
    from ..images.model.healthcheck import HealthOptions
    from ..images.model.image import Image
    from ..images.model.limits import Limits
    from ..images.model.runtime import RunOptions, VolumeMount
    from ..services.containers.difference import Change
    from ..services.containers.executing import Extra
    from ..services.containers.logfiles import Line
    from ..services.containers.service import Containers, CreateRequest
    from ..stores.containers import ContainerRow
    from ..stores.store import Store
    from ..stores.trees.actives import Active
    from ..words.oci import Platform
    from ..words.progress import Progress
    from ..words.reference import Reference
    from .files import Located
    from .optimizing import RecordedReads
    from .options import ContainerOptions
    from .wiring import Wiring

    T = TypeVar("T")
    Rows = list[ContainerRow]
    Changes = list[Change]


class Completed(Value):
    """A program that has ended: its code (128 + n after signal n) and what it wrote.

    Both outputs are empty where the program was given streams to write to. `detached`: it goes on, because a
    user has typed the keys that leave it alone.
    """

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    detached: bool = False


class ContainerCollection(Lifecycle):
    """The containers of an engine's store. `name` is a name, an id or the beginning of one.

    Whatever names a container raises NotFound, and Conflict where a beginning fits several.
    """

    def __init__(self, engine: Wiring, resolve: Callable[..., Image]) -> None:
        """`resolve(name, platform, pull=, progress=)` gives the image that a name means."""
        self._engine, self._resolve = engine, resolve

    # making

    def check(self, options: ContainerOptions) -> None:
        """Raises UsageError for options that cannot be read, as `create` and `run` do."""
        from .options import health_options, log_options, restart_policy, run_options

        run_options(self._engine, (), options)
        log_options(options)
        health_options(options)
        restart_policy(options)

    def create(
        self, image: str, command: Sequence[str] = (), options: ContainerOptions | None = None, *,
        progress: Progress | None = None,
    ) -> ContainerRow:  # fmt: skip
        """Make a container that does not run yet. Raises UsageError, NotFound, Conflict, SandboxError."""
        return self._inside(lambda found: found.create(self._request(image, command, options, progress)))

    def run(
        self, image: str, command: Sequence[str] = (), options: ContainerOptions | None = None, *,
        input: bytes = b"", stdio: Stdio | None = None, apart: bool = False,
        on_start: Callable[[str], object] | None = None, progress: Progress | None = None,
    ) -> Completed:  # fmt: skip
        """Make a container and stay with it to its end.

        Its output is kept in memory, unless `stdio` gives descriptors; then signals that this process gets go
        to the program, or with `apart` end this call alone. `on_start(id)` is called once it exists. Raises
        as `create`, CommandNotFound, CommandNotExecutable.
        """

        def work(found: Containers) -> Completed:
            request = self._request(image, command, options, progress)
            self._permit(found, networked=bool(request.endpoints))
            if stdio is None:
                return _captured(
                    lambda streams: found.run(request, streams, on_start=on_start, forward=False), input
                )
            begin = found.run_apart if apart and not stdio.is_detachable else found.run
            return _completed(begin(request, stdio, on_start=on_start))

        return self._inside(work, options.network if options else "")

    def run_detached(
        self, image: str, command: Sequence[str] = (), options: ContainerOptions | None = None, *,
        on_start: Callable[[str], object] | None = None, progress: Progress | None = None,
    ) -> str:  # fmt: skip
        """Make a container and leave it running; its id, once its program runs. Raises as `run`."""

        def work(found: Containers) -> str:
            request = self._request(image, command, options, progress)
            self._permit(found, networked=bool(request.endpoints))
            return found.run_detached(request, on_start=on_start)

        return self._inside(work, options.network if options else "")

    def record(
        self, image: str, command: Sequence[str] = (), options: ContainerOptions | None = None, *,
        stdio: Stdio | None = None, seconds: float = 0.0,
    ) -> RecordedReads:  # fmt: skip
        """Run a container of an image that is here, and note which parts of the layers it reads.

        It ends by itself, or is stopped after so many `seconds`; nothing is left of it. Without `stdio` its
        output goes nowhere. Raises as `run`; Unsupported without root, Linux 6.14 and the driver erofs.
        """
        from ..ground.sandbox import Stdio
        from .optimizing import record
        from .options import ContainerOptions

        options = (options or ContainerOptions()).replace(pull="never", runtime="builtin")

        def work(found: Containers) -> RecordedReads:
            request = self._request(image, command, options, None)
            self._permit(found, networked=bool(request.endpoints))
            return record(found.store, request, stdio or Stdio(), seconds)

        return self._inside(work, options.network)

    def _request(
        self, image: str, command: Sequence[str], options: ContainerOptions | None,
        progress: Progress | None,
    ) -> CreateRequest:  # fmt: skip
        """What is to be made; the image is fetched if it has to be."""
        from .options import ContainerOptions, log_options, restart_policy, run_options

        options = self._fitting(options or ContainerOptions())
        run = self._with_images(run_options(self._engine, tuple(command), options))
        limits = self._permitted(options.limits, options.runtime)
        from ..services.containers.service import CreateRequest

        found = self._resolve(image, options.platform, pull=options.pull, progress=progress)
        self._check_platform(found, image, options.platform)
        if options.runtime != "builtin":
            _check_runtime(options.runtime, run)
        return CreateRequest(
            found, run, reference=image, name=options.name, labels=options.labels,
            auto_remove=options.auto_remove, runtime=options.runtime, dns=options.dns, hosts=options.hosts,
            dns_search=options.dns_search, dns_options=options.dns_options,
            stop_signal=options.stop_signal, stop_timeout=options.stop_timeout,
            restart=restart_policy(options), log_driver=options.log_driver, log_options=log_options(options),
            health=self._health(found, options), limits=limits, **self._network(options),
        )  # fmt: skip

    def _with_images(self, run: RunOptions) -> RunOptions:
        """With what the images are that shall be mounted; they must be in the store."""
        if not any(volume.image for volume in run.volumes):
            return run
        return run.replace(volumes=tuple(map(self._with_image, run.volumes)))

    def _with_image(self, volume: VolumeMount) -> VolumeMount:
        if not volume.image or volume.layers:
            return volume
        found = self._resolve(volume.image, None, pull="never")
        return volume.replace(image=str(found.digest), layers=tuple(map(str, found.diff_ids)))

    def _health(self, image: Image, options: ContainerOptions) -> HealthOptions | None:
        """Says so when nothing is there to be run. Raises UsageError."""
        from .options import health_options

        health = health_options(options)
        if health and not health.disabled:
            from ..images.model.healthcheck import merged

            if "Test" not in merged(image.config, health):
                self._engine.config.warn(
                    "WARNING: health check options ignored: neither --health-cmd nor the image has a command"
                )
        return health

    def _fitting(self, options: ContainerOptions) -> ContainerOptions:
        """With a network that is possible here."""
        from .options import joins_nothing

        if options.network == "default":
            options = options.replace(network=self._engine.config.container_network)
        if joins_nothing(options):
            return options
        from .joining import fitting

        return fitting(options, self._engine.store, self._engine.config.warn)

    def _permitted(self, limits: Limits | None, runtime: str) -> Limits | None:
        if limits is None:
            return None
        from ..images.model.permitted import permitted

        return permitted(limits, self._engine.config.warn, runtime)

    def _network(self, options: ContainerOptions) -> dict[str, Any]:
        from .options import joins_nothing

        if joins_nothing(options):
            return {"ports": options.ports}
        from .joining import fields

        return fields(options, self._engine.config.warn)

    def _check_platform(self, image: Image, name: str, platform: Platform | None) -> None:
        """docker refuses an image of another platform than asked for; where nobody asked it warns."""
        from ..words.oci import Platform

        host = platform or Platform.host()
        if image.config.platform == host:
            return
        from ..images.model.platforms import fits, misfit

        if fits(image, host):
            return
        if platform:
            raise NotFound(misfit(image, name, platform))
        self._engine.config.warn(
            f"WARNING: The requested image's platform ({image.config.platform}) does not match the detected "
            f"host platform ({host}) and no specific platform was requested"
        )

    def _permit(self, found: Containers, *, networked: bool) -> None:
        """Say what a program lacks here. Raises SandboxError if none can be run.

        `networked`: the container has a network of its own.
        """
        warning = found.permit()
        if warning:
            self._engine.config.warn(warning)
        if networked:
            from .joining import prepare

            prepare(self._engine.config.warn)

    # running

    def start(self, name: str) -> None:
        """Start a container in the background; one that runs already is left alone. Raises as `run`."""

        def work(found: Containers) -> None:
            self._permit(found, networked=found.get(name).networked)
            found.start_detached(name)

        self._inside(work, self._shared(name))

    def start_attached(self, name: str, stdio: Stdio | None = None) -> Completed:
        """Start a container and stay with it to its end; as `run`, which see for `stdio`."""

        def work(found: Containers) -> Completed:
            row = found.get(name)
            if row.state == "running" and stdio:
                from ..services.containers.attaching import attach

                return _completed(attach(found, name, stdio))
            self._permit(found, networked=row.networked)
            if stdio is None:
                return _captured(lambda streams: found.start(name, streams))
            return _completed(found.start(name, stdio))

        return self._inside(work, self._shared(name))

    def exec(
        self, name: str, command: Sequence[str], *, environment: Sequence[str] = (), working_dir: str = "",
        user: str = "", tty: bool = False, privileged: bool = False, input: bytes = b"",
        stdio: Stdio | None = None,
    ) -> Completed:  # fmt: skip
        """Run one more program in a running container, to its end; `input` and `stdio` as for `run`."""
        from ..services.containers.executing import execute

        extra = _extra(command, environment, working_dir, user, tty, privileged)

        def work() -> Completed:
            with self._outside(name) as store:
                found = ContainerListing(store)
                if stdio is None:
                    return _captured(lambda streams: execute(found, name, extra, streams), input)
                return _completed(execute(found, name, extra, stdio))

        return self._engine.apart(work)

    def exec_detached(
        self, name: str, command: Sequence[str], *, environment: Sequence[str] = (), working_dir: str = "",
        user: str = "", tty: bool = False, privileged: bool = False,
    ) -> None:  # fmt: skip
        """As `exec`, in the background; returns once the program runs."""
        from ..services.containers.executing import execute_detached

        extra = _extra(command, environment, working_dir, user, tty, privileged)

        def work() -> None:
            with self._outside(name) as store:
                execute_detached(ContainerListing(store), name, extra)

        self._engine.apart(work)

    # looking

    def list(self, *, all: bool = True) -> Rows:
        """The containers, the newest first; without `all` those that run."""
        return self._engine.inside(lambda store: ContainerListing(store).list(all=all))

    def get(self, name: str) -> ContainerRow:
        """A container as it is now."""
        return self._engine.inside(lambda store: ContainerListing(store).get(name))

    def reached(self, row: ContainerRow) -> dict[str, Any]:
        """Where a running container is in its networks, and where its ports are published; {} for others.

        `endpoints` are by network, `ports` (`80/tcp`) lists of address and port of this machine.
        """
        return self._engine.inside(lambda store: store.containers.network(row))

    def logs(self, name: str, *, follow: bool = False, tail: int = -1) -> Iterator[Line]:
        """What a container wrote, by lines; with `follow` until it ends. Raises Conflict without a log.

        `tail`: only that many lines of those that there are now, -1 for all.
        """
        from ..services.containers.logfiles import logs

        return logs(ContainerListing(self._engine.store), name, follow, tail)

    def image_of(self, row: ContainerRow) -> Image | None:
        """The image of a container, None when it cannot be read any more."""
        from ..images.model.image import Image
        from ..words.digest import Digest
        from ..words.errors import NacreError

        store = self._engine.store
        found = store.refs.image(Digest(row.image))
        try:
            return Image.load(store, found) if found else None
        except NacreError:
            return None

    def outdated(self, rows: Sequence[ContainerRow]) -> set[str]:
        """Ids of those whose image was asked for by a reference that means another image by now, or none."""
        from ..services.containers.listing import outdated

        return self._engine.inside(lambda store: outdated(store, rows))

    def diff(self, name: str) -> Changes:
        """What a container has added, changed and deleted in the files of its image."""
        from ..services.containers.difference import changes, mount_points
        from ..words.quickjson import loads

        def work(store: Store) -> Changes:
            row, active = _active(store, name)
            return changes(store, active, mount_points(loads(row.config_json)["config"]))

        return self._engine.inside(work)

    def export(self, name: str, write: Callable[[bytes], object]) -> None:
        """All files of a container as one tar, through `write`; volumes are not among them."""
        from ..services.containers.difference import merged, write_tar
        from .piped import piped

        def work(store: Store, give: Callable[[bytes], object]) -> None:
            row, active = _active(store, name)
            ContainerListing(store).tell(row, "export")
            write_tar(merged(store, active), give)

        inside = self._engine.inside
        piped(write, lambda give, meanwhile: inside(lambda store: work(store, give), meanwhile))

    def copy_out(
        self, name: str, path: str, target: str, *, archive: bool = False, follow: bool = False
    ) -> int:
        """Copy a file or folder of a container to the host, by the rules of `nacre cp`; the bytes copied.

        `archive` keeps the owners, `follow` takes what a link at the end of `path` leads to.
        """
        from .files import copy_out

        return self._reaching(
            name, lambda found: copy_out(self._engine, found, path, target, archive=archive, follow=follow)
        )

    def copy_in(
        self, source: str, name: str, path: str, *, archive: bool = False, follow: bool = False
    ) -> int:
        """Copy a file or folder of the host into a container; otherwise as `copy_out`."""
        from .files import copy_in

        return self._reaching(
            name, lambda found: copy_in(self._engine, source, found, path, archive=archive, follow=follow)
        )

    def get_archive(
        self, name: str, path: str, write: Callable[[bytes], object], *, follow: bool = False
    ) -> None:
        """A file or folder of a container as a tar, through `write`."""
        from .files import stream_out
        from .piped import piped

        def work(found: Located, give: Callable[[bytes], object]) -> None:
            stream_out(self._engine, found, path, give, follow=follow)

        reaching = self._reaching
        piped(write, lambda give, beside: reaching(name, lambda found: work(found, give), beside))

    def put_archive(self, name: str, path: str, stream: Reader) -> None:
        """Put the files of a tar, compressed or not, into a folder of a container. Raises NotFound."""
        from .files import stream_in

        self._reaching(name, lambda found: stream_in(self._engine, stream, found, path))

    def _reaching(
        self, name: str, work: Callable[[Located], T], meanwhile: Callable[[], object] | None = None
    ) -> T:
        """Do `work` on the files of a container where they can be reached."""
        from .files import locate

        found = locate(self._engine, name)
        if found[1]:
            return self._engine.inside(lambda store: work(found), meanwhile)
        return self._engine.apart(lambda: work(found), meanwhile)

    def commit(
        self, name: str, reference: Reference | str = "", *, author: str = "", message: str = "",
        changes: Sequence[str] = (), created: str = "", pause: bool = True,
    ) -> Image:  # fmt: skip
        """A new image of what a container changed; with `pause` it stands still meanwhile.

        `changes` are Dockerfile instructions, `created` is an RFC 3339 time, "" for now. Raises UsageError.
        """
        from ..services.containers.commit import CommitOptions, commit_told
        from ..services.containers.keeper import Paused
        from ..services.containers.pausing import is_paused
        from ..words.reference import Reference

        target = Reference.of(reference) if reference else None
        wishes = CommitOptions(author, message, tuple(changes), created)

        def work(store: Store) -> Image:
            found = ContainerListing(store)
            row = found.get(name)
            if not pause or row.state != "running" or is_paused(found, row):
                return commit_told(found, row, target, wishes, self._engine.config.warn)
            with Paused(found.folder(row.id)):
                return commit_told(found, row, target, wishes, self._engine.config.warn)

        return self._engine.image_inside(work)


def _active(store: Store, name: str) -> tuple[ContainerRow, Active]:
    """A container and its writable tree."""
    row = ContainerListing(store).get(name)
    active = store.actives.find(row.id)
    if active is None:
        raise NotFound(f"the file system of container {row.name} is missing")
    return row, active


def _check_runtime(runtime: str, run: RunOptions) -> None:
    """Raises Unsupported for one that is not installed, or cannot do what is asked."""
    from ..ground.sandbox.external import find
    from ..words.errors import Unsupported

    find(runtime)
    if any({"shared", "rshared"} & set(volume.options) for volume in run.volumes):
        raise Unsupported("bind propagation 'shared' needs the built-in sandbox", hint="leave out --runtime")


def _extra(
    command: Sequence[str], environment: Sequence[str], working_dir: str, user: str, tty: bool,
    privileged: bool,
) -> Extra:  # fmt: skip
    from ..services.containers.executing import Extra

    return Extra(tuple(command), tuple(environment), working_dir, user, tty, privileged)


def _completed(code: int | None) -> Completed:
    return Completed(code or 0, detached=code is None)


def _captured(begin: Callable[[Stdio], int | None], input: bytes = b"") -> Completed:
    """Run a program with files for its streams: no pipe can fill up, whatever it writes."""
    from ..ground.sandbox import Stdio

    with _memory("stdin") as stdin, _memory("stdout") as stdout, _memory("stderr") as stderr:
        stdin.write(input)
        stdin.seek(0)
        code = begin(Stdio(stdin.fileno(), stdout.fileno(), stderr.fileno())) or 0
        return Completed(code, _content(stdout), _content(stderr))


def _memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b", buffering=0)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
