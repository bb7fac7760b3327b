"""`nacre run`: create a container from an image and run it."""

from __future__ import annotations

import os

from ..words.errors import Unsupported, UsageError
from .options import Command, choice, flag, many, name_and_value, number, size, text
from .program import check_terminal, environment, read_small, with_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.options import ContainerOptions
    from ..ground.sandbox import Stdio
    from ..images.model.limits import Limits
    from .context import Context
    from .options import Args, Option


def run(context: Context, args: Args) -> int:
    """The exit code of the program, or docker's for what went wrong before it ran."""
    check_terminal(args)
    if args.detach and args.attach:
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
    image, command, options = asked(context, args)
    containers, later = context.engine.containers, context.later(args.quiet)

    def begun(number: str) -> None:
        later.close()
        _begun(context, args, number)

    if args.detach:
        context.print(containers.run_detached(image, command, options, on_start=begun, progress=later))
        return 0
    context.stdout.flush()
    apart = not args.sig_proxy and not args.tty and not (args.interactive and os.isatty(0))
    done = containers.run(
        image, command, options, stdio=_stdio(context, args), apart=apart, on_start=begun, progress=later
    )
    return done.exit_code


def _stdio(context: Context, args: Args) -> Stdio:
    """Ours, as far as `--attach` names them."""
    from ..ground.sandbox import Stdio

    shown = args.attach or ("stdout", "stderr")
    out, error = 1 if "stdout" in shown else -1, 2 if "stderr" in shown else -1
    stdio = Stdio(0 if args.interactive else -1, out, error, tty=args.tty, forward=bool(args.sig_proxy))
    return with_keys(context, args, stdio)


def _begun(context: Context, args: Args, number: str) -> None:
    """Where no output is attached the id is shown, as docker does."""
    _cidfile(args, number)
    if args.attach and not {"stdout", "stderr"} & set(args.attach):
        context.print(number)
        context.stdout.flush()


def asked(context: Context, args: Args) -> tuple[str, list[str], ContainerOptions]:
    """The image, the command and the options that stand on the line. Raises UsageError."""
    _check_unsupported(context, args)
    _check_cidfile(args.cidfile)
    image, *command = args.positionals
    return image, command, options_of(context, args)


def _labels(args: Args) -> list[str]:
    """A name alone in a file is no label, other than on the line; docker has it so."""
    if not args.label_file:
        return list(args.label)
    from ..grammars.envfile import read_variables

    read = (item for path in args.label_file for item in read_variables(read_small(path), path))
    return [*(item for item in read if "=" in item), *args.label]


def _check_unsupported(context: Context, args: Args) -> None:
    for option, why in ABSENT.items():
        if option.key in args.given:
            raise Unsupported(f"--{option.name} is not supported: {why}")
    _check_conflicts(args)
    if args.volume_driver not in ("", "local"):
        raise Unsupported(f"the only volume driver is local, not {args.volume_driver!r}")
    _say_ignored(context, args)


def _check_conflicts(args: Args) -> None:
    if not args.disable_content_trust:
        raise Unsupported("content trust is not supported")
    if args.uts == "host" and (args.hostname or args.domainname):
        raise UsageError(
            f"conflicting options: {'hostname' if args.hostname else 'domainname'} and the UTS mode"
        )


def _say_ignored(context: Context, args: Args) -> None:
    if "detach_keys" in args.given and not (args.tty and args.interactive):
        context.warn("WARNING: --detach-keys ignored: keys are typed on a terminal (-i and -t)")
    if "shm_size" in args.given and (args.ipc in ("host", "none") or args.ipc.startswith("container:")):
        context.warn(
            f"WARNING: --shm-size ignored: the container has no /dev/shm of its own with --ipc {args.ipc}"
        )


def options_of(context: Context, args: Args) -> ContainerOptions:
    """The options of the container. Raises UsageError."""
    from ..engine.options import ContainerOptions

    entrypoint = ((args.entrypoint,) if args.entrypoint else ()) if "entrypoint" in args.given else None
    network, *networks = (*args.network, *args.net) or ("default",)
    return ContainerOptions(
        name=args.name, platform=context.platform(args.platform), pull=args.pull,
        entrypoint=entrypoint, environment=tuple(environment(context, args)), working_dir=args.workdir,
        user=args.user, hostname=args.hostname, domainname=args.domainname, tty=args.tty,
        interactive=args.interactive, volumes=tuple(args.volume), volumes_from=tuple(args.volumes_from),
        mounts=tuple(args.mount), tmpfs=tuple(args.tmpfs), devices=tuple(args.device), gpus=tuple(args.gpus),
        device_rules=tuple(args.device_cgroup_rule), userns=args.userns, read_only=args.read_only,
        network=network, networks=tuple(networks), cap_add=tuple(args.cap_add), cap_drop=tuple(args.cap_drop),
        privileged=args.privileged, security=tuple(args.security_opt), shm_size=args.shm_size,
        init=args.init, groups=tuple(args.group_add), ulimits=tuple(args.ulimit),
        sysctls=tuple(args.sysctl),
        oom_score=args.oom_score_adj if "oom_score_adj" in args.given else None, pid=args.pid, ipc=args.ipc,
        uts=args.uts, cgroupns=args.cgroupns, annotations=tuple(args.annotation),
        labels=tuple(map(name_and_value, _labels(args))), auto_remove=args.rm, runtime=args.runtime,
        dns=tuple(args.dns), dns_search=tuple(args.dns_search),
        dns_options=(*args.dns_opt, *args.dns_option), hosts=tuple(args.add_host),
        stop_signal=args.stop_signal, stop_timeout=args.stop_timeout, ports=tuple(args.expose),
        restart=args.restart, log_driver=args.log_driver, log_options=tuple(args.log_opt),
        health_cmd=args.health_cmd, health_interval=_seconds(args.health_interval),
        health_timeout=_seconds(args.health_timeout), health_start_period=_seconds(args.health_start_period),
        health_start_interval=_seconds(args.health_start_interval), health_retries=args.health_retries or 0,
        no_healthcheck=args.no_healthcheck,
        network_aliases=(*args.network_alias, *args.net_alias), ip=args.ip, ip6=args.ip6,
        mac_address=args.mac_address, publish=tuple(args.publish), publish_all=args.publish_all,
        limits=limits_of(context, args),
    )  # fmt: skip


def _seconds(nanoseconds: int | str) -> float:
    return int(nanoseconds or 0) / 1e9


def limits_of(context: Context, args: Args) -> Limits | None:
    """The limits that stand on the line; None for none."""
    if _LIMIT_KEYS.isdisjoint(args.given):
        return None
    from .limits import read_limits

    return read_limits(context, args)


def _check_cidfile(path: str) -> None:
    """Before there is a container whose id could not be written."""
    if path and os.path.lexists(path):
        raise UsageError(f"container ID file found, make sure the other container isn't running: {path}")
    if path and not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):
        raise UsageError(f"failed to create the container ID file: the directory of {path} cannot be written")


def _cidfile(args: Args, number: str) -> None:
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as stream:
            stream.write(number)


_REFUSED = "Refused"

LIMITS: tuple[Option, ...] = (
    number("--blkio-weight", "Block IO (relative weight), between 10 and 1000", type="uint16", kind="weight"),
    many("--blkio-weight-device", "Block IO weight (relative device weight)", kind="device-weight"),
    text("--cgroup-parent", "Parent control group; a path without leading slash is below nacre's own"),
    number("--cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
    number("--cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    number("--cpu-rt-period", "Limit CPU real-time period in microseconds"),
    number("--cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
    number("-c, --cpu-shares", "CPU shares (relative weight)"),
    text("--cpus", "Number of CPUs", type="decimal", kind="cpus"),
    text("--cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    text("--cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    many("--device-read-bps", "Limit read rate (bytes per second) from a device", kind="device-rate"),
    many("--device-read-iops", "Limit read rate (IO per second) from a device", kind="device-count"),
    many("--device-write-bps", "Limit write rate (bytes per second) to a device", kind="device-rate"),
    many("--device-write-iops", "Limit write rate (IO per second) to a device", kind="device-count"),
    text("--kernel-memory", "Ignored with a warning: Linux has no such limit", kind="bytes", hidden=True),
    size("-m, --memory", "Memory limit"),
    size("--memory-reservation", "Memory soft limit"),
    text(
        "--memory-swap", "Swap limit equal to memory plus swap; -1: unlimited swap", type="bytes", kind="swap"
    ),
    number("--memory-swappiness", "Tune container memory swappiness (0 to 100)"),
    flag("--oom-kill-disable", "Disable OOM Killer"),
    number("--pids-limit", "Tune container pids limit (-1 for unlimited)"),
)
"""Read by `limits.read_limits` when one of them stands on the line."""

_LIMIT_KEYS = frozenset(option.key for option in LIMITS)


def limits(*names: str) -> tuple[Option, ...]:
    """Those of them that another command has."""
    return tuple(option for option in LIMITS if option.name in names)


HEALTH: tuple[Option, ...] = (
    text("--health-cmd", "Command to run to check health"),
    text(
        "--health-interval", "Time between running the check (default 30s)", type="duration", kind="duration"
    ),
    number("--health-retries", "Consecutive failures needed to report unhealthy (default 3)"),
    text(
        "--health-start-interval",
        "Time between running the check during the start period (default 5s)",
        type="duration",
        kind="duration",
    ),
    text(
        "--health-start-period",
        "Start period for the container to initialize before failures count",
        type="duration",
        kind="duration",
    ),
    text(
        "--health-timeout",
        "Maximum time to allow one check to run (default 30s)",
        type="duration",
        kind="duration",
    ),
)

ABSENT: dict[Option, str] = {
    many("--link", _REFUSED, hidden=True): "join both containers to a network of yours, "
    "where they find each other by name",
    many("--link-local-ip", _REFUSED, hidden=True): "containers get no link-local IPv4 addresses",
    many("--storage-opt", _REFUSED, hidden=True): "the size of a container's file system cannot be limited",
    number("--cpu-count", _REFUSED, hidden=True): "it is for containers of Windows; use --cpus",
    number("--cpu-percent", _REFUSED, hidden=True): "it is for containers of Windows; use --cpus",
    text("--io-maxbandwidth", _REFUSED, hidden=True): "it is for containers of Windows",
    number("--io-maxiops", _REFUSED, hidden=True): "it is for containers of Windows",
    flag("--use-api-socket", _REFUSED, hidden=True): "there is no daemon with a socket",
}
"""Options that cannot be obeyed, and why: an error, since a program would not have what it counts on."""

CREATE_OPTIONS: tuple[Option, ...] = (
    many("--add-host", "Add a custom host-to-IP mapping (host:ip)", kind="host"),
    many("--annotation", "Add an annotation to the container's OCI runtime config", type="map", kind="pair"),
    many("-a, --attach", "Attach to STDIN, STDOUT or STDERR", kind="attach"),
    many("--cap-add", "Add Linux capabilities"),
    many("--cap-drop", "Drop Linux capabilities"),
    text("--cgroupns", "Cgroup namespace to use: host or private", kind="cgroupns"),
    text("--cidfile", "Write the container ID to the file"),
    many("--device", "Add a host device to the container, or one by CDI (vendor.com/class=name)"),
    many("--device-cgroup-rule", "Add a rule to the cgroup allowed devices list", kind="device-rule"),
    flag("--disable-content-trust", "Skip image verification (always skipped)", default=True, hidden=True),
    many("--dns", "Set custom DNS servers", kind="address"),
    many("--dns-opt", "Set DNS options", hidden=True),
    many("--dns-option", "Set DNS options"),
    many("--dns-search", "Set custom DNS search domains", kind="search"),
    text("--domainname", "Container NIS domain name"),
    text("--entrypoint", "Overwrite the default ENTRYPOINT of the image (also drops its CMD)"),
    many("-e, --env", "Set environment variables (NAME=VALUE, or NAME from your environment)"),
    many("--env-file", "Read in a file of environment variables"),
    many("--expose", "Expose a port or a range of ports; -P publishes them", kind="expose"),
    many(
        "--gpus", "GPU devices to add to the container ('all' to pass all GPUs), by CDI", type="gpu-request"
    ),
    many("--group-add", "Add additional groups to join"),
    *HEALTH,
    text("-h, --hostname", "Container host name"),
    flag("--init", "Run an init inside the container that forwards signals and reaps processes"),
    flag("-i, --interactive", "Keep STDIN open even if not attached"),
    text("--ip", "IPv4 address (e.g., 172.30.100.104)", kind="address"),
    text("--ip6", "IPv6 address (e.g., 2001:db8::33)", kind="address"),
    text("--ipc", "IPC mode to use: host, none, private, shareable or container:NAME", kind="ipc"),
    text("--isolation", "Container isolation technology: default", kind="isolation", hidden=True),
    many("-l, --label", "Set meta data on a container", kind="label"),
    many("--label-file", "Read in a line delimited file of labels"),
    text("--log-driver", "Logging driver for the container: json-file, local, journald or none"),
    many("--log-opt", "Log driver options", kind="pair"),
    text("--mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)", kind="mac"),
    many("--mount", "Attach a filesystem mount to the container", type="mount"),
    text("--name", "Assign a name to the container"),
    many("--net", "As --network", kind="network", hidden=True),
    many("--net-alias", "As --network-alias", hidden=True),
    many(
        "--network",
        "Network: default, bridge, host, none, container:NAME, pasta, slirp4netns or one of yours",
        kind="network",
    ),
    many("--network-alias", "Add network-scoped alias for the container"),
    flag("--no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    text("--oom-score-adj", "Tune the host's OOM preferences (-1000 to 1000)", type="int", kind="oom-score"),
    text("--pid", "PID namespace to use: host or container:NAME", kind="pid"),
    text("--platform", "Set platform if the image has several"),
    flag("--privileged", "Give extended privileges to this container"),
    many(
        "-p, --publish",
        "Publish a container's port(s) to the host (needs a network of its own)",
        kind="publish",
    ),
    flag("-P, --publish-all", "Publish all exposed ports to random ports"),
    choice("--pull", "Pull image before creating", ("always", "lazy", "missing", "never"), default="missing"),
    flag("-q, --quiet", "Suppress the pull output"),
    *LIMITS,
    flag("--read-only", "Mount the container's root filesystem as read only"),
    text(
        "--restart",
        "When to restart the container: no, on-failure[:MAX], always or unless-stopped",
        default="no",
        kind="restart",
    ),
    flag("--rm", "Automatically remove the container when it exits"),
    text("--runtime", "Runtime to use for this container: builtin, crun, runc or a path", default="builtin"),
    many(
        "--security-opt",
        "Security options: seccomp=FILE|unconfined, no-new-privileges, apparmor=PROFILE, ...",
    ),
    size("--shm-size", "Size of /dev/shm", default=64 << 20),
    text("--stop-signal", "Signal to stop the container"),
    number("--stop-timeout", "Seconds until `nacre stop` kills the container (default 10; -1: never)"),
    many("--sysctl", "Sysctl options", type="map", kind="pair"),
    many("--tmpfs", "Mount a tmpfs directory"),
    flag("-t, --tty", "Allocate a pseudo-TTY"),
    many("--ulimit", "Ulimit options (NAME=SOFT[:HARD])", type="ulimit", kind="ulimit"),
    text("-u, --user", "Username or UID (format: <name|uid>[:<group|gid>])"),
    text("--userns", "User namespace to use: host, auto or keep-id (the last two need root)", kind="userns"),
    text("--uts", "UTS namespace to use: host", kind="uts"),
    many("-v, --volume", "Bind mount a volume (SOURCE:/PATH[:ro]), or create an anonymous one (/PATH)"),
    text("--volume-driver", "Volume driver for the container: local", hidden=True),
    many("--volumes-from", "Mount volumes from the specified container(s) (NAME[:ro])"),
    text("-w, --workdir", "Working directory inside the container"),
    *ABSENT,
)

COMMAND = Command(
    "IMAGE [COMMAND] [ARG...]",
    run,
    options=(
        flag("-d, --detach", "Run container in background and print container ID"),
        text("--detach-keys", "Override the key sequence for detaching a container", kind="detach-keys"),
        flag("--sig-proxy", "Proxy received signals to the process", default=True),
        *CREATE_OPTIONS,
    ),
    interspersed=False,
    store=False,
    failure=125,
)
