"""`nacre run`: create a container from an image and run it."""

from __future__ import annotations

import os

from ..words.errors import NotFound, Unsupported, UsageError
from .options import Command, flag, many, size, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..images.image import Image
    from ..images.runtime import Device, RunOptions, Temporary, Volume
    from ..services.containers import Containers, Request
    from ..words.oci import Platform
    from .context import Context
    from .options import Args, Option


def limits(*more: str) -> tuple[Option, ...]:
    """Options that need control groups, which nacre does not make yet: hidden, and see `discard`."""
    known = (
        "-m, --memory", "--memory-swap", "-c, --cpu-shares", "--cpu-period", "--cpu-quota", "--cpuset-cpus",
        "--cpuset-mems", "--cgroup-parent", *more,
    )  # fmt: skip
    why = "Discarded with a warning: there are no limits in this version"
    return tuple(text(spelling, why, hidden=True) for spelling in known)


def discard(context: Context, args: Args, options: Sequence[Option]) -> None:
    """Warn about limits that stood on the line, as rootless docker does without control groups."""
    for option in options:
        if option.key in args.given:
            context.warn(f"WARNING: --{option.name} discarded: there are no limits in this version")


_LIMITS = limits(
    "--cpus", "--memory-reservation", "--memory-swappiness", "--pids-limit", "--blkio-weight",
    "--oom-score-adj",
)  # fmt: skip
_MOST = 16 << 20
CREATE_OPTIONS: tuple[Option, ...] = (
    many("--add-host", "Add a custom host-to-IP mapping (host:ip)"),
    many("--cap-add", "Add Linux capabilities"),
    many("--cap-drop", "Drop Linux capabilities"),
    text("--cidfile", "Write the container ID to the file"),
    many("--device", "Add a host device to the container"),
    many("--dns", "Set custom DNS servers"),
    text("--entrypoint", "Overwrite the default ENTRYPOINT of the image (also drops its CMD)"),
    many("-e, --env", "Set environment variables (NAME=VALUE, or NAME from your environment)"),
    many("--env-file", "Read in a file of environment variables"),
    text("-h, --hostname", "Container host name"),
    flag("--init", "Run an init inside the container that forwards signals and reaps processes"),
    flag("-i, --interactive", "Keep STDIN open even if not attached"),
    many("-l, --label", "Set meta data on a container"),
    many("--mount", "Attach a filesystem mount to the container", type="mount"),
    text("--name", "Assign a name to the container"),
    text("--network", "Network of the container: host (that of this machine) or none", default="host"),
    text("--platform", "Set platform if the image has several"),
    flag("--privileged", "Give extended privileges to this container"),
    many("-p, --publish", "Publish ports; without effect, as the container has the network of the host"),
    text("--pull", "Pull image before creating", default="missing", choices=("always", "missing", "never")),
    *_LIMITS,
    flag("--read-only", "Mount the container's root filesystem as read only"),
    text("--restart", "Only 'no' is in this version: nothing runs that could restart it", default="no"),
    flag("--rm", "Automatically remove the container when it exits"),
    text("--runtime", "Runtime to use for this container: builtin, crun, runc or a path", default="builtin"),
    many("--security-opt", "Security options: seccomp=unconfined, no-new-privileges"),
    size("--shm-size", "Size of /dev/shm", default=64 << 20),
    text("--stop-signal", "Signal to stop the container"),
    many("--tmpfs", "Mount a tmpfs directory"),
    flag("-t, --tty", "Allocate a pseudo-TTY"),
    text("-u, --user", "Username or UID (format: <name|uid>[:<group|gid>])"),
    many("-v, --volume", "Bind mount a volume (SOURCE:/PATH[:ro])"),
    text("-w, --workdir", "Working directory inside the container"),
)  # fmt: skip
"""What `create` and `run` share."""


def run(context: Context, args: Args) -> int:
    """The exit code of the program, or docker's for what went wrong before it ran."""
    check_terminal(args)
    from ..ground.sandbox import Stdio
    from ..services.containers import Containers

    request = request_of(context, args)
    containers = Containers(context.store)
    warn(context, containers)
    if args.detach:
        context.print(containers.run_detached(request, on_start=lambda number: _cidfile(args, number)))
        return 0
    context.stdout.flush()
    stdio = Stdio(0 if args.interactive else -1, 1, 2, tty=args.tty)
    return containers.run(request, stdio, on_start=lambda number: _cidfile(args, number))


def warn(context: Context, containers: Containers) -> None:
    """Say what a program lacks here, and raise SandboxError if none can be run."""
    warning = containers.permit()
    if warning:
        context.warn(warning)


def check_terminal(args: Args) -> None:
    """Raise UsageError when `-it` is wanted where there is no terminal."""
    if args.tty and args.interactive and not args.detach and not os.isatty(0):
        error = UsageError("the input device is not a TTY", hint="leave out -t")
        error.exit_code = 1
        raise error


def request_of(context: Context, args: Args) -> Request:
    """What the command line asks for; the image is fetched if it has to be."""
    from ..services.containers import Request

    _check_unsupported(context, args)
    if args.publish:
        context.warn("WARNING: Published ports are discarded when using host network mode")
    reference = args.positionals[0]
    platform = None
    if args.platform:
        from ..words.oci import Platform

        platform = Platform.parse(args.platform)
    if args.cidfile and os.path.lexists(args.cidfile):
        raise UsageError(
            f"container ID file found, make sure the other container isn't running: {args.cidfile}"
        )
    name = args.name
    options = options_of(context, args)
    image = context.resolve(reference, platform, pull=args.pull)
    _check_platform(context, image, reference, platform)
    return Request(
        image, options, reference=reference, name=name, labels=tuple(map(_pair, args.label)),
        auto_remove=args.rm, runtime=args.runtime, dns=tuple(args.dns), hosts=tuple(args.add_host),
        stop_signal=args.stop_signal,
    )  # fmt: skip


def _check_unsupported(context: Context, args: Args) -> None:
    if args.restart not in ("no", ""):
        raise Unsupported(
            f"--restart {args.restart} is not in this version",
            hint="nothing of nacre runs on that could restart it; let systemd run 'nacre run'",
        )
    discard(context, args, _LIMITS)


def _check_platform(context: Context, image: Image, name: str, platform: Platform | None) -> None:
    """docker refuses an image of another platform than asked for; where nobody asked it warns."""
    from ..images.resolve import fits, misfit
    from ..words.oci import Platform

    host = platform or Platform.host()
    if fits(image, host):
        return
    if platform:
        raise NotFound(misfit(image, name, platform))
    context.warn(
        f"WARNING: The requested image's platform ({image.config.platform}) does not match the detected "
        f"host platform ({host}) and no specific platform was requested"
    )


def options_of(context: Context, args: Args) -> RunOptions:
    """The options of the container. Raises UsageError."""
    from ..images.runtime import RunOptions

    volumes, temporary = _volumes(context, args)
    seccomp, no_new_privileges = _security(args.security_opt)
    entrypoint = ((args.entrypoint,) if args.entrypoint else ()) if "entrypoint" in args.given else None
    return RunOptions(
        command=tuple(args.positionals[1:]), entrypoint=entrypoint,
        environment=tuple(environment(context, args)),
        working_dir=args.workdir, user=args.user, hostname=args.hostname, tty=args.tty,
        interactive=args.interactive, volumes=volumes, temporary=temporary, devices=_devices(args),
        read_only=args.read_only, network=args.network, cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop), privileged=args.privileged, seccomp=seccomp,
        no_new_privileges=no_new_privileges, shm_size=args.shm_size, init=args.init,
    )  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def environment(context: Context, args: Args) -> Iterator[str]:
    """`NAME=value` as given; `NAME` alone takes its value from our environment, if it has one there."""
    written = [item for path in args.env_file for item in _env_file(context, path)] + args.env
    for item in written:
        name, equals, _ = item.partition("=")
        if not name:
            raise UsageError(f"invalid environment variable: {item!r}")
        if equals:
            yield item
        elif name in context.environment:
            yield f"{name}={context.environment[name]}"
        else:
            yield name


def _env_file(context: Context, path: str) -> Iterator[str]:
    """A name alone that our environment lacks is left out, other than on the line."""
    from ..grammars.envfile import read_variables

    for item in read_variables(read_small(path), path):
        if "=" in item:
            yield item
        elif item in context.environment:
            yield f"{item}={context.environment[item]}"


def read_small(path: str) -> bytes:
    """A file of options, at most 16 MiB. Raises UsageError, StoreError."""
    from ..ground.files import os_errors

    with os_errors(f"read {path}"), open(path, "rb") as stream:
        data = stream.read(_MOST + 1)
    if len(data) > _MOST:
        raise UsageError(f"{path} is larger than 16 MiB")
    return data


def _volumes(context: Context, args: Args) -> tuple[tuple[Volume, ...], tuple[Temporary, ...]]:
    if not (args.volume or args.tmpfs or args.mount):
        return (), ()
    from ..services.containers import volumes

    here, root = os.getcwd(), context.store.root
    binds = [volumes.parse_volume(text, here, root) for text in dict.fromkeys(args.volume)]
    temporary = [volumes.parse_tmpfs(text) for text in args.tmpfs]
    for written in args.mount:
        from ..services.containers.mountoption import parse_mount

        mount = parse_mount(written, here, root)
        (binds if hasattr(mount, "source") else temporary).append(mount)  # type: ignore[arg-type]
    return tuple(binds), tuple(temporary)


def _security(options: list[str]) -> tuple[bool, bool]:
    """Whether to filter system calls, and whether to forbid new privileges."""
    seccomp, no_new_privileges = True, False
    for option in options:
        if option in ("seccomp=unconfined", "seccomp:unconfined"):
            seccomp = False
        elif option in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"):
            no_new_privileges = True
        elif option not in ("seccomp=builtin", "apparmor=unconfined", "label=disable", "label:disable"):
            raise UsageError(
                f"unknown security option {option!r}", hint="known are seccomp=unconfined, no-new-privileges"
            )
    return seccomp, no_new_privileges


def _devices(args: Args) -> tuple[Device, ...]:
    if not (args.device or args.privileged):
        return ()
    from ..services.containers import devices

    listed = tuple(devices.parse_device(text) for text in args.device)
    return (devices.all_devices() if args.privileged else ()) + listed


def _cidfile(args: Args, number: str) -> None:
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as stream:
            stream.write(number)


COMMAND = Command(
    "IMAGE [COMMAND] [ARG...]",
    run,
    options=(flag("-d, --detach", "Run container in background and print container ID"), *CREATE_OPTIONS),
    interspersed=False,
    failure=125,
)
