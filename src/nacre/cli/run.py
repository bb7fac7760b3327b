"""`nacre run`: create a container from an image and run it."""

from __future__ import annotations

import os

from ..words.errors import NotFound, Unsupported, UsageError
from .options import Command, flag, text
from .runoptions import ABSENT, CREATE_OPTIONS, HEALTH, LIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..ground.sandbox import Stdio
    from ..images.model.image import Image
    from ..images.model.runtime import Device, RunOptions, Temporary, Volume
    from ..services.containers import Containers, Request
    from ..words.oci import Platform
    from .context import Context
    from .options import Args, Option


_NO_LIMITS = "resource limits are not supported yet"
_MOST = 16 << 20


def ignore(context: Context, args: Args, options: Iterable[Option], why: str = _NO_LIMITS) -> None:
    """One line for each that stood on the line and has no effect."""
    for option in options:
        if option.key in args.given:
            context.warn(f"WARNING: --{option.name} ignored: {why}")


def run(context: Context, args: Args) -> int:
    """The exit code of the program, or docker's for what went wrong before it ran."""
    check_terminal(args)
    if args.detach and args.attach:
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
    from ..services.containers import Containers

    request = request_of(context, args)
    containers = Containers(context.store)
    warn(context, containers)
    if args.detach:
        context.print(containers.run_detached(request, on_start=lambda number: _cidfile(args, number)))
        return 0
    context.stdout.flush()
    stdio = _stdio(args)
    apart = not args.sig_proxy and not args.tty and not (args.interactive and os.isatty(0))
    begin = containers.run_apart if apart else containers.run
    return begin(request, stdio, on_start=lambda number: _begun(context, args, number))


def _stdio(args: Args) -> Stdio:
    """Ours, as far as `--attach` names them."""
    from ..ground.sandbox import Stdio

    shown = args.attach or ("stdout", "stderr")
    out, error = 1 if "stdout" in shown else -1, 2 if "stderr" in shown else -1
    return Stdio(0 if args.interactive else -1, out, error, tty=args.tty)


def _begun(context: Context, args: Args, number: str) -> None:
    """Where no output is attached the id is shown, as docker does."""
    _cidfile(args, number)
    if args.attach and not {"stdout", "stderr"} & set(args.attach):
        context.print(number)
        context.stdout.flush()


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
    if args.publish or args.publish_all:
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
    image = context.resolve(reference, platform, pull=args.pull, quiet=args.quiet)
    _check_platform(context, image, reference, platform)
    return Request(
        image, options, reference=reference, name=name, labels=tuple(map(_pair, _labels(args))),
        auto_remove=args.rm, runtime=args.runtime, dns=tuple(args.dns), hosts=tuple(args.add_host),
        dns_search=tuple(args.dns_search), dns_options=(*args.dns_opt, *args.dns_option),
        stop_signal=args.stop_signal, stop_timeout=args.stop_timeout, ports=tuple(args.expose),
        log_driver=args.log_driver,
    )  # fmt: skip


def _labels(args: Args) -> list[str]:
    if not args.label_file:
        return list(args.label)
    from ..grammars.envfile import read_variables

    return [
        *(item for path in args.label_file for item in read_variables(read_small(path), path)),
        *args.label,
    ]


def _check_unsupported(context: Context, args: Args) -> None:
    if args.restart not in ("no", ""):
        raise Unsupported(
            f"--restart {args.restart} is not in this version",
            hint="nothing of nacre runs on that could restart it; let systemd run 'nacre run'",
        )
    for option, why in ABSENT.items():
        if option.key in args.given:
            raise Unsupported(f"--{option.name} is not in this version: {why}")
    _check_conflicts(args)
    if args.log_driver not in ("", "json-file", "local", "none"):
        raise Unsupported(
            f"no log driver named {args.log_driver!r}", hint="known are json-file, local and none"
        )
    if args.volume_driver not in ("", "local"):
        raise Unsupported(f"volumes have one driver, local, not {args.volume_driver!r}")
    _say_ignored(context, args)


def _check_conflicts(args: Args) -> None:
    if args.ipc.startswith("container:"):
        raise Unsupported(f"--ipc {args.ipc} is not in this version")
    if not args.disable_content_trust:
        raise Unsupported("content trust is not in this version")
    if args.no_healthcheck and any(option.key in args.given for option in HEALTH):
        raise UsageError("--no-healthcheck conflicts with the options of a health check")
    if args.uts == "host" and (args.hostname or args.domainname):
        raise UsageError(
            f"conflicting options: {'hostname' if args.hostname else 'domainname'} and the UTS mode"
        )


def _say_ignored(context: Context, args: Args) -> None:
    ignore(context, args, LIMITS)
    ignore(context, args, HEALTH, "nothing of nacre's runs on that could check")
    for name, why in (
        ("log_opt", "the log is one file without a limit"),
        ("detach_keys", "nothing could be attached to later"),
    ):
        if name in args.given:
            context.warn(f"WARNING: --{name.replace('_', '-')} ignored: {why}")


def _check_platform(context: Context, image: Image, name: str, platform: Platform | None) -> None:
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
    context.warn(
        f"WARNING: The requested image's platform ({image.config.platform}) does not match the detected "
        f"host platform ({host}) and no specific platform was requested"
    )


def options_of(context: Context, args: Args) -> RunOptions:
    """The options of the container. Raises UsageError."""
    from ..images.model.runtime import RunOptions

    volumes, temporary = _volumes(context, args)
    seccomp, no_new_privileges = _security(args.security_opt)
    entrypoint = ((args.entrypoint,) if args.entrypoint else ()) if "entrypoint" in args.given else None
    return RunOptions(
        command=tuple(args.positionals[1:]), entrypoint=entrypoint,
        environment=_with_proxies(context, tuple(environment(context, args))),
        working_dir=args.workdir, user=args.user, hostname=args.hostname, tty=args.tty,
        interactive=args.interactive, volumes=volumes, temporary=temporary, devices=_devices(args),
        read_only=args.read_only, network=args.net or args.network, cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop), privileged=args.privileged, seccomp=seccomp,
        no_new_privileges=no_new_privileges, shm_size=args.shm_size, init=args.init,
        groups=tuple(args.group_add), ulimits=tuple(args.ulimit), sysctls=tuple(args.sysctl),
        oom_score=args.oom_score_adj if "oom_score_adj" in args.given else None,
        domainname=args.domainname, pid=args.pid, ipc=args.ipc, uts=args.uts, cgroupns=args.cgroupns,
        annotations=tuple(args.annotation), device_rules=tuple(args.device_cgroup_rule),
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


def _with_proxies(context: Context, written: tuple[str, ...]) -> tuple[str, ...]:
    """And the proxies of docker's config.json, in both spellings, unless a variable is written already."""
    proxies = context.engine.container_proxies()
    if not proxies:
        return written
    from ..images.model.proxies import proxy_variables

    names = {item.partition("=")[0] for item in written}
    found = proxy_variables(proxies).items()
    return (*written, *(f"{name}={value}" for name, value in found if name not in names))


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
    if not (args.volume or args.tmpfs or args.mount or args.volumes_from):
        return (), ()
    from ..services.containers import volumes

    here, root = os.getcwd(), context.store.root
    binds = [volume for text in args.volumes_from for volume in volumes.of_container(context.store, text)]
    binds += [volumes.parse_volume(text, here, root) for text in dict.fromkeys(args.volume)]
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
    options=(
        flag("-d, --detach", "Run container in background and print container ID"),
        text("--detach-keys", "Ignored with a warning", kind="detach-keys", hidden=True),
        flag("--sig-proxy", "Proxy received signals to the process", default=True),
        *CREATE_OPTIONS,
    ),
    interspersed=False,
    failure=125,
)
