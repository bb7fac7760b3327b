"""From an image config and the wishes of the user to an OCI runtime config, with docker's rules. Pure.

Source: OCI runtime-spec config.md and config-linux.md; OCI image-spec conversion.md; docker's default
spec (moby oci/defaults.go). The default list of system calls is written as the word "default" and the
user as `user.username`: see `ground.sandbox.plan`.
"""

from __future__ import annotations

import os

from ...ground.sandbox.capabilities import DEFAULT, choose
from ...ground.sandbox.operations import HOST_NAME_WISHED
from ...words.addresses import extra_host
from ...words.errors import UsageError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.seccomp import Profile
    from ...words.oci import ImageConfig

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_HOST_NAME = 64

_MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_IPC_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip
SHM_SIZE = 64 << 20
_SAFE = ("nosuid", "noexec", "nodev")
_REPLACED = frozenset(("/dev/shm", "/dev/mqueue"))
"""Ours, unless the user has something mounted there."""

_OWN = ("standin", "name", "subpath", "idmap", "image", "layers")
"""What stands in an entry of `mounts` beside the words of the runtime-spec."""

_COUNT_IN_USERNS = ("CAP_SYS_PTRACE", "CAP_SYS_NICE", "CAP_LINUX_IMMUTABLE")
"""Capabilities beside the default ones that mean something for one's own processes and files alone."""

_UNDONE = {"exec": "noexec", "dev": "nodev", "suid": "nosuid"}
_DEVICES = (
    ("c", -1, -1, "m"), ("b", -1, -1, "m"), ("c", 1, 3, "rwm"), ("c", 1, 5, "rwm"), ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"), ("c", 1, 9, "rwm"), ("c", 5, 0, "rwm"), ("c", 5, 2, "rwm"), ("c", 136, -1, "rwm"),
)  # fmt: skip
"""What docker and runc allow of all containers: making any node, using the memory devices and terminals."""


class VolumeMount(Value):
    """Something of the host in the container: `source` an absolute path, `target` a path inside.

    `standin` says what may be done where nothing can be mounted: `copy` a file, or `lend` what nobody else
    uses: it is moved there and back. `make`: a folder is made where `source` is absent. `name`: it is a
    volume of the store; when that is empty it gets what the image has at `target`, unless `copy` is False.
    `anonymous`: nobody chose its name. `inherited`: another container has it. Both give way to any other.

    `options` are words of the runtime-spec: a propagation, `bind` for one mount without those beneath, `ro`
    for one that is read-only without them. `subpath` is a path within, `idmap` how its owners are mapped,
    `chown`: everything in it is given to the user of the container, `relabel`: z or Z. `image`: it is the
    digest of one, `layers` its trees, and `source` its name. `labels` and `driver_options` are those of a
    volume that is made.
    """

    source: str
    target: str
    readonly: bool = False
    standin: str = ""
    make: bool = False
    name: str = ""
    copy: bool = True
    anonymous: bool = False
    inherited: bool = False
    options: tuple[str, ...] = ()
    subpath: str = ""
    idmap: str = ""
    chown: bool = False
    relabel: str = ""
    image: str = ""
    layers: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    driver_options: tuple[tuple[str, str], ...] = ()


class TmpfsMount(Value):
    """A tmpfs at `target`; `options` as mount(8) writes them, without those of docker's default."""

    target: str
    options: tuple[str, ...] = ()


class Device(Value):
    """A device node: `kind` c or b, `access` of "rwm"; `source` is its path here, where that is another."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    access: str = "rwm"
    uid: int = 0
    gid: int = 0
    source: str = ""


class Security(Value):
    """What --security-opt says. `seccomp` is "", builtin, unconfined, or profile, which is in `profile`.

    `apparmor` is the name of a profile, "" to leave it. `unconfined_paths`: nothing of /proc and /sys is
    hidden or read-only. `written`: the options as docker's `inspect` shows them, a profile by its content.
    """

    seccomp: str = ""
    profile: Profile | None = None
    no_new_privileges: bool = False
    apparmor: str = ""
    unconfined_paths: bool = False
    writable_cgroups: bool = False
    written: tuple[str, ...] = ()


class RunOptions(Value):
    """What a user may say about one container. "" and () mean: as the image says.

    `entrypoint` None keeps the image's; a tuple replaces it and resets the image's command, as docker
    does. `environment` is `NAME=value`. `network` is host, none, the name of a network or container:ID.
    `files` are bound over /etc: resolv.conf, hosts, hostname. `groups` are names or numbers; `ulimits` (name,
    soft, hard), -1 for none; `oom_score` None leaves it. `pid` is "", host or container:ID; `ipc` "", host,
    none, private, shareable or container:ID; `uts` "" or host; `cgroupns` "", host or private.
    `userns` is "", host, auto or keep-id; `uids` and `gids` then say who its users are outside: first inside,
    first outside, count. `device_rules` are docker's: `c 1:* rwm`. `mounted_as` is how docker's
    `inspect` shows what `volumes` and `temporary` come from, which has no effect. `cdi` names devices of the
    Container Device Interface, which `injections` and `hooks` (name, path, args, env, seconds) come from.
    `shm_size` 0 is the default. `hostname_wished`: it is an error if it is refused.
    """

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    hostname_wished: bool = False
    tty: bool = False
    interactive: bool = False
    volumes: tuple[VolumeMount, ...] = ()
    temporary: tuple[TmpfsMount, ...] = ()
    files: tuple[VolumeMount, ...] = ()
    devices: tuple[Device, ...] = ()
    read_only: bool = False
    network: str = "host"
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security: Security = Security()
    shm_size: int = SHM_SIZE
    init: bool = False
    groups: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    oom_score: int | None = None
    domainname: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    device_rules: tuple[str, ...] = ()
    mounted_as: tuple[tuple[str, Any], ...] = ()
    cdi: tuple[str, ...] = ()
    injections: tuple[VolumeMount, ...] = ()
    hooks: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], int], ...] = ()
    userns: str = ""
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()


def clean(path: str) -> str:
    """An absolute path in the container without `.`, `..` and doubled slashes, as docker cleans it."""
    return os.path.normpath("/" + path.lstrip("/"))


def host_line(item: str, gateway: str = "127.0.0.1") -> str:
    """A line of /etc/hosts from `NAME:ADDRESS` or `NAME=ADDRESS` as --add-host has it. Raises UsageError.

    The address `host-gateway` is `gateway`.
    """
    try:
        name, address = extra_host(item)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return f"{gateway if address == 'host-gateway' else address}\t{name}\n"


def arguments(image: ImageConfig, options: RunOptions) -> list[str]:
    """The program and its arguments. Raises UsageError when neither image nor user names one."""
    if options.entrypoint is not None:
        args = [*options.entrypoint, *options.command]
    else:
        args = [*image.entrypoint, *(options.command or image.cmd)]
    if not args or not args[0]:
        raise UsageError("no command specified", hint="the image has no CMD; give a command after the image")
    return args


def environment(image: ImageConfig, options: RunOptions) -> list[str]:
    """docker's defaults, then the image's variables, then the user's; a later one replaces in place."""
    merged: dict[str, str] = {}
    base = [PATH, f"HOSTNAME={options.hostname}" if options.hostname else ""]
    base.append("TERM=xterm" if options.tty else "")
    for item in (*base, *image.env, *options.environment):
        name, equals, value = item.partition("=")
        if name and equals:
            merged[name] = value
        else:
            merged.pop(name, None)
    return [f"{name}={value}" for name, value in merged.items()]


def runtime_config(image: ImageConfig, options: RunOptions) -> dict[str, Any]:
    """The whole config. Raises UsageError for wishes that make no sense."""
    _check(options)
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _process(image, options),
        "root": {"path": "rootfs", "readonly": options.read_only},
        "hostname": options.hostname,
        "mounts": _mounts(options),
        "linux": _linux(options),
    }
    if options.hooks:
        config["hooks"] = _hooks(options)
    annotations = dict(options.annotations) | ({HOST_NAME_WISHED: "true"} if options.hostname_wished else {})
    return config | {"annotations": annotations} if annotations else config


def _hooks(options: RunOptions) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for name, path, args, env, seconds in options.hooks:
        hook: dict[str, Any] = {"path": path, "args": list(args), "env": list(env)}
        found.setdefault(name, []).append(hook | ({"timeout": seconds} if seconds else {}))
    return found


def _check(options: RunOptions) -> None:
    for path in (options.working_dir, *(v.target for v in options.volumes + options.temporary)):
        if path and not path.startswith("/"):
            raise UsageError(f"invalid path {path!r}: it must be absolute")
    if any(clean(mount.target) == "/" for mount in options.volumes + options.temporary):
        raise UsageError("invalid volume: its destination cannot be '/'")
    if options.security.writable_cgroups and options.cgroupns == "host":
        raise UsageError("writable-cgroups needs a cgroup namespace of the container's own")
    if len(options.hostname) > _LONGEST_HOST_NAME or "/" in options.hostname:
        raise UsageError(f"invalid hostname {options.hostname!r}")
    if options.uids:
        _check_users(options)
    for name, _ in options.sysctls:
        _check_sysctl(name, options)


def _check_sysctl(name: str, options: RunOptions) -> None:
    """Only what a namespace of the container's own holds. Source: runc libcontainer/configs/validate."""
    of_ipc = name in _IPC_SYSCTLS or name.startswith("fs.mqueue.")
    if name.startswith("net.") and options.network.partition(":")[0] in ("host", "container"):
        whose = "the host" if options.network == "host" else "another container"
        raise UsageError(f"sysctl {name!r} is not allowed in the network of {whose}", hint="--network none")
    own = name.startswith("net.") or (of_ipc and options.ipc != "host")
    if not own or "/" in name:
        raise UsageError(f"sysctl {name!r} is not in a separate kernel namespace")


def _process(image: ImageConfig, options: RunOptions) -> dict[str, Any]:
    names = _capabilities(options)
    process: dict[str, Any] = {
        "terminal": options.tty,
        "user": {"username": options.user or image.user},
        "args": arguments(image, options),
        "env": environment(image, options),
        "cwd": clean(options.working_dir or image.working_dir),
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
    }
    if options.groups:
        process["user"]["groups"] = list(options.groups)
    if options.ulimits:
        process["rlimits"] = [
            {"type": f"RLIMIT_{name.upper()}", "soft": _unlimited(soft), "hard": _unlimited(hard)}
            for name, soft, hard in options.ulimits
        ]
    if options.oom_score is not None:
        process["oomScoreAdj"] = options.oom_score
    if options.security.apparmor:
        process["apparmorProfile"] = options.security.apparmor
    if options.security.no_new_privileges:
        process["noNewPrivileges"] = True
    if options.init:
        process["init"] = True
    return process


def _capabilities(options: RunOptions) -> tuple[str, ...]:
    wanted = options.privileged or options.cap_add or options.cap_drop
    return choose(options.cap_add, options.cap_drop, privileged=options.privileged) if wanted else DEFAULT


def _unlimited(value: int) -> int:
    return (1 << 64) - 1 if value < 0 else value


def _namespaces(options: RunOptions) -> list[dict[str, str]]:
    modes = {"pid": options.pid, "ipc": options.ipc, "uts": options.uts, "cgroup": options.cgroupns}
    found = [{"type": kind} for kind in ("mount", *(kind for kind, mode in modes.items() if mode != "host"))]
    return found + ([{"type": "network"}] if options.network != "host" else [])


def _linux(options: RunOptions) -> dict[str, Any]:
    section: dict[str, Any] = {"namespaces": _namespaces(options)}
    sysctls = dict(options.sysctls) | (
        {"kernel.domainname": options.domainname} if options.domainname else {}
    )
    if options.uids:
        section["namespaces"].append({"type": "user"})
        section |= {"uidMappings": _extents(options.uids), "gidMappings": _extents(options.gids)}
        sysctls = _own_users_network(options) | sysctls
    if sysctls:
        section["sysctl"] = sysctls
    if options.devices:
        section["devices"] = [_device(device) for device in options.devices]
    section["resources"] = {"devices": _permitted(options)}
    if not options.privileged:
        hidden = not options.security.unconfined_paths
        section["maskedPaths"] = list(_MASKED) if hidden else []
        section["readonlyPaths"] = list(_READ_ONLY) if hidden else []
    if calls := _system_calls(options):
        section["seccomp"] = calls
    return section


def _extents(ids: tuple[tuple[int, int, int], ...]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ids]


def _own_users_network(options: RunOptions) -> dict[str, str]:
    """What CAP_NET_BIND_SERVICE and CAP_NET_RAW are for: they do not count in a network of the machine's."""
    if options.network.partition(":")[0] in ("host", "container"):
        return {}
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def _check_users(options: RunOptions) -> None:
    """Rights that would count nowhere. Source: moby daemon/daemon_unix.go."""
    if options.privileged:
        raise UsageError(
            "privileged mode is incompatible with user namespaces", hint="--userns host, or no --privileged"
        )
    names = choose(options.cap_add, ()) if options.cap_add else ()
    vain = [name for name in names if name not in (*DEFAULT, *_COUNT_IN_USERNS)]
    if "ALL" in map(str.upper, options.cap_add):
        vain = ["ALL"]
    if vain:
        raise UsageError(f"--cap-add {vain[0]} has no effect with --userns {options.userns}")


def _system_calls(options: RunOptions) -> Any:
    """The word "default", a list, or None. Raises UsageError."""
    profile = options.security.profile
    if profile is not None:
        from ...ground.sandbox.document import compiled

        kernel = os.uname()
        document = profile.document(_capabilities(options), kernel.machine, kernel.release)
        compiled(document, kernel.machine)  # so that what the kernel would not take is an error now
        return document
    default = "unconfined" if options.privileged else "builtin"
    return "default" if (options.security.seccomp or default) == "builtin" else None


def _device(device: Device) -> dict[str, Any]:
    more = {"uid": device.uid, "gid": device.gid, "source": device.source}
    return {
        "path": device.path, "type": device.kind, "major": device.major, "minor": device.minor,
        "fileMode": device.mode, **{name: value for name, value in more.items() if value},
    }  # fmt: skip


def _permitted(options: RunOptions) -> list[dict[str, Any]]:
    """The rules of the device control group. Source: runc's AllowedDevices."""
    if options.privileged:
        return [{"allow": True, "access": "rwm"}]
    wanted = ((each.kind, each.major, each.minor, each.access) for each in options.devices)
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for kind, major, minor, access in (*_DEVICES, *wanted):
        numbers = {name: n for name, n in (("major", major), ("minor", minor)) if n >= 0}
        rules.append({"allow": True, "type": kind, **numbers, "access": access})
    return rules + [_device_rule(text) for text in options.device_rules]


def _device_rule(text: str) -> dict[str, Any]:
    """`c 1:* rwm` as --device-cgroup-rule has it."""
    kind, numbers, access = text.split(" ")
    given = zip(("major", "minor"), numbers.split(":"), strict=True)
    return {
        "allow": True, "type": kind, "access": access,
        **{name: int(number) for name, number in given if number != "*"},
    }  # fmt: skip


def _mounts(options: RunOptions) -> list[dict[str, Any]]:
    """File systems of the kernel's first, then the user's from the top down, so that none hides another."""
    access = "rw" if options.privileged else "ro"
    mounts = [
        _mount("proc", "/proc", *_SAFE),
        _mount("tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("sysfs", "/sys", *_SAFE, access),
        _control_groups(options, access),
        _mount("mqueue", "/dev/mqueue", *_SAFE),
        *_shared_memory(options),
    ]
    wanted = [_bind(volume) for volume in options.files + options.volumes + options.injections]
    for temporary in options.temporary:
        undone = {_UNDONE.get(option) for option in temporary.options}
        safe = [option for option in _SAFE if option not in undone]
        wanted.append(_mount("tmpfs", temporary.target, *safe, *(temporary.options or ("mode=1777",))))
    taken = _REPLACED.intersection(mount["destination"] for mount in wanted)
    mounts = [mount for mount in mounts if mount["destination"] not in taken]
    return mounts + sorted(wanted, key=lambda mount: str(mount["destination"]).count("/"))


def _control_groups(options: RunOptions, access: str) -> dict[str, Any]:
    """`needed` is a word of our own: else the mount is left out where it is refused."""
    if options.security.writable_cgroups:
        return _mount("cgroup", "/sys/fs/cgroup", *_SAFE, "rw") | {"needed": True}
    return _mount("cgroup", "/sys/fs/cgroup", *_SAFE, access)


def _shared_memory(options: RunOptions) -> list[dict[str, Any]]:
    if options.ipc == "host":
        return [_bind(VolumeMount("/dev/shm", "/dev/shm"))]
    if options.ipc == "none":
        return []
    if options.ipc.startswith("container:"):
        return [_mount("shm", "/dev/shm")]
    return [
        _mount("tmpfs", "/dev/shm", *_SAFE, "mode=1777", f"size={options.shm_size or SHM_SIZE}", source="shm")
    ]


def _mount(kind: str, target: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": clean(target), "type": kind, "source": source or kind, "options": list(options)}


def _bind(volume: VolumeMount) -> dict[str, Any]:
    depth = () if "bind" in volume.options else ("rbind",)
    access = ("rw",) if not volume.readonly else () if "ro" in volume.options else ("ro", "rro")
    kind, words = "image" if volume.image else "bind", (*depth, *access, *volume.options)
    mount = _mount(kind, volume.target, *words, source=volume.source)
    return mount | {word: value for word in _OWN if (value := getattr(volume, word))}
