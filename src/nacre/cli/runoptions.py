"""The options that `create` and `run` share: all that docker has."""

from __future__ import annotations

from .options import flag, many, number, size, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Option

_IGNORED = "Ignored with a warning"
_REFUSED = "Refused"

LIMITS: tuple[Option, ...] = (
    text("--blkio-weight", _IGNORED, kind="weight", hidden=True),
    many("--blkio-weight-device", _IGNORED, kind="device-value", hidden=True),
    text("--cgroup-parent", _IGNORED, hidden=True),
    number("--cpu-period", _IGNORED, hidden=True),
    number("--cpu-quota", _IGNORED, hidden=True),
    number("--cpu-rt-period", _IGNORED, hidden=True),
    number("--cpu-rt-runtime", _IGNORED, hidden=True),
    number("-c, --cpu-shares", _IGNORED, hidden=True),
    text("--cpus", _IGNORED, kind="float", hidden=True),
    text("--cpuset-cpus", _IGNORED, kind="processors", hidden=True),
    text("--cpuset-mems", _IGNORED, kind="processors", hidden=True),
    many("--device-read-bps", _IGNORED, kind="device-value", hidden=True),
    many("--device-read-iops", _IGNORED, kind="device-value", hidden=True),
    many("--device-write-bps", _IGNORED, kind="device-value", hidden=True),
    many("--device-write-iops", _IGNORED, kind="device-value", hidden=True),
    text("--kernel-memory", _IGNORED, kind="bytes", hidden=True),
    text("-m, --memory", _IGNORED, kind="bytes", hidden=True),
    text("--memory-reservation", _IGNORED, kind="bytes", hidden=True),
    text("--memory-swap", _IGNORED, kind="bytes", hidden=True),
    text("--memory-swappiness", _IGNORED, kind="swappiness", hidden=True),
    flag("--oom-kill-disable", _IGNORED, hidden=True),
    number("--pids-limit", _IGNORED, hidden=True),
)
"""They need control groups with controllers: see `ignore`."""


def limits(*names: str) -> tuple[Option, ...]:
    """Those of them that another command has."""
    return tuple(option for option in LIMITS if option.name in names)


HEALTH: tuple[Option, ...] = (
    text("--health-cmd", _IGNORED, hidden=True),
    text("--health-interval", _IGNORED, kind="duration", hidden=True),
    number("--health-retries", _IGNORED, hidden=True),
    text("--health-start-interval", _IGNORED, kind="duration", hidden=True),
    text("--health-start-period", _IGNORED, kind="duration", hidden=True),
    text("--health-timeout", _IGNORED, kind="duration", hidden=True),
)

ABSENT: dict[Option, str] = {
    text("--gpus", _REFUSED, hidden=True): "GPUs cannot be requested by name; name their nodes with --device",
    text("--ip", _REFUSED, kind="address", hidden=True): "the container has the network of the host, or none",
    text(
        "--ip6", _REFUSED, kind="address", hidden=True
    ): "the container has the network of the host, or none",
    many("--link", _REFUSED, hidden=True): "links need a network of containers",
    many("--link-local-ip", _REFUSED, hidden=True): "the container has the network of the host, or none",
    text("--mac-address", _REFUSED, hidden=True): "the container has the network of the host, or none",
    many("--network-alias", _REFUSED, hidden=True): "aliases need a network of containers",
    many("--net-alias", _REFUSED, hidden=True): "aliases need a network of containers",
    many("--storage-opt", _REFUSED, hidden=True): "a container's file system has no size of its own",
    flag("--use-api-socket", _REFUSED, hidden=True): "there is no daemon whose socket could be given",
}
"""Options that cannot be obeyed, and why: an error, since a program would not have what it counts on."""

CREATE_OPTIONS: tuple[Option, ...] = (
    many("--add-host", "Add a custom host-to-IP mapping (host:ip)"),
    many("--annotation", "Add an annotation to the container's OCI runtime config", type="map", kind="pair"),
    many("-a, --attach", "Attach to STDIN, STDOUT or STDERR", kind="attach"),
    many("--cap-add", "Add Linux capabilities"),
    many("--cap-drop", "Drop Linux capabilities"),
    text("--cgroupns", "Cgroup namespace to use: host or private", kind="cgroupns"),
    text("--cidfile", "Write the container ID to the file"),
    many("--device", "Add a host device to the container"),
    many("--device-cgroup-rule", "Add a rule to the cgroup allowed devices list", kind="device-rule"),
    flag("--disable-content-trust", "Skip image verification; always so", default=True, hidden=True),
    many("--dns", "Set custom DNS servers", kind="address"),
    many("--dns-opt", "Set DNS options", hidden=True),
    many("--dns-option", "Set DNS options"),
    many("--dns-search", "Set custom DNS search domains", kind="search"),
    text("--domainname", "Container NIS domain name"),
    text("--entrypoint", "Overwrite the default ENTRYPOINT of the image (also drops its CMD)"),
    many("-e, --env", "Set environment variables (NAME=VALUE, or NAME from your environment)"),
    many("--env-file", "Read in a file of environment variables"),
    many("--expose", "Expose a port or a range of ports: said by `inspect`, nothing else", kind="expose"),
    many("--group-add", "Add additional groups to join"),
    *HEALTH,
    text("-h, --hostname", "Container host name"),
    flag("--init", "Run an init inside the container that forwards signals and reaps processes"),
    flag("-i, --interactive", "Keep STDIN open even if not attached"),
    text("--ipc", "IPC mode to use: host, none, private or shareable", kind="ipc"),
    text("--isolation", "Container isolation technology: default", kind="isolation", hidden=True),
    many("-l, --label", "Set meta data on a container", kind="label"),
    many("--label-file", "Read in a line delimited file of labels"),
    text("--log-driver", "Logging driver for the container: json-file, local or none"),
    many("--log-opt", "Log driver options; ignored with a warning", kind="pair"),
    many("--mount", "Attach a filesystem mount to the container", type="mount"),
    text("--name", "Assign a name to the container"),
    text("--net", "Network of the container", hidden=True),
    text("--network", "Network of the container: host (that of this machine) or none", default="host"),
    flag("--no-healthcheck", "Disable any container-specified HEALTHCHECK; always so"),
    text("--oom-score-adj", "Tune the host's OOM preferences (-1000 to 1000)", type="int", kind="oom-score"),
    text("--pid", "PID namespace to use: host or container:NAME", kind="pid"),
    text("--platform", "Set platform if the image has several"),
    flag("--privileged", "Give extended privileges to this container"),
    many(
        "-p, --publish",
        "Publish ports; without effect, as the container has the network of the host",
        kind="publish",
    ),
    flag("-P, --publish-all", "Publish all exposed ports; without effect, as --publish"),
    text("--pull", "Pull image before creating", default="missing", choices=("always", "missing", "never")),
    flag("-q, --quiet", "Suppress the pull output"),
    *LIMITS,
    flag("--read-only", "Mount the container's root filesystem as read only"),
    text(
        "--restart",
        "Only 'no' is in this version: nothing runs that could restart it",
        default="no",
        kind="restart",
    ),
    flag("--rm", "Automatically remove the container when it exits"),
    text("--runtime", "Runtime to use for this container: builtin, crun, runc or a path", default="builtin"),
    many("--security-opt", "Security options: seccomp=unconfined, no-new-privileges"),
    size("--shm-size", "Size of /dev/shm", default=64 << 20),
    text("--stop-signal", "Signal to stop the container"),
    number("--stop-timeout", "Seconds until `nacre stop` kills the container (default 10; -1: never)"),
    many("--sysctl", "Sysctl options", type="map", kind="pair"),
    many("--tmpfs", "Mount a tmpfs directory"),
    flag("-t, --tty", "Allocate a pseudo-TTY"),
    many("--ulimit", "Ulimit options (NAME=SOFT[:HARD])", type="ulimit", kind="ulimit"),
    text("-u, --user", "Username or UID (format: <name|uid>[:<group|gid>])"),
    text("--userns", "User namespace to use: host", kind="userns", hidden=True),
    text("--uts", "UTS namespace to use: host", kind="uts"),
    many("-v, --volume", "Bind mount a volume (SOURCE:/PATH[:ro]), or make a new one (/PATH)"),
    text("--volume-driver", "Volume driver for the container: local", hidden=True),
    many("--volumes-from", "Mount volumes from the specified container(s) (NAME[:ro])"),
    text("-w, --workdir", "Working directory inside the container"),
    *ABSENT,
)
