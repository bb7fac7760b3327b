"""From an OCI runtime config to the list of operations. Pure.

Some values go beyond the runtime-spec, so that the common case needs no work: `linux.seccomp` may be
the word "default", `process.user.username` may name `user[:group]` of the image, `process.init` asks
for an init, and a mount of the type shm is the /dev/shm of the container whose IPC is joined. `external`
replaces them before another runtime sees the config. Source: OCI runtime-spec
config.md, config-linux.md "Default Devices" and "Default Filesystems".
"""

from __future__ import annotations

from ...words.mount import Mount
from .. import linux
from .capabilities import CAP_SYS_ADMIN
from .devices import DeviceNode, Devices, group
from .identity import NewSession
from .operations import (
    HOST_NAME_WISHED,
    BindMount,
    FileSystem,
    HostName,
    JoinNetwork,
    LeaveHost,
    Links,
    Loopback,
    Mask,
    MountRoot,
    Namespaces,
    ReadOnly,
    ReadOnlyRoot,
    Take,
    TemporaryFolder,
    Terminals,
)
from .program import (
    account,
    apparmor,
    confine,
    enter_users,
    execute,
    hold_users,
    oom_score,
    resource_limits,
    shares_processes,
    working_folder,
)
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_FLAGS = {
    "nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV, "noexec": linux.MS_NOEXEC, "ro": linux.MS_RDONLY,
    "strictatime": linux.MS_STRICTATIME, "relatime": linux.MS_RELATIME, "noatime": linux.MS_NOATIME,
    "nodiratime": linux.MS_NODIRATIME, "sync": linux.MS_SYNCHRONOUS, "dirsync": linux.MS_DIRSYNC,
}  # fmt: skip
_ATTRIBUTES = {
    "nosuid": linux.MOUNT_ATTR_NOSUID, "nodev": linux.MOUNT_ATTR_NODEV, "noexec": linux.MOUNT_ATTR_NOEXEC,
}  # fmt: skip
_PROPAGATION = frozenset(("private", "rprivate", "slave", "rslave", "shared", "rshared"))
_IGNORED = frozenset((
    "rw", "rro", "bind", "rbind", "suid", "dev", "exec", "async", "atime", "diratime", "norelatime",
    "nostrictatime", "defaults", *_PROPAGATION,
))  # fmt: skip

_CHAR = 0o20666
NODES = tuple(
    DeviceNode(f"/dev/{name}", _CHAR, major, minor)
    for name, major, minor in (
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    )
)  # fmt: skip
"""The devices that every container has."""

KCORE = "/proc/kcore"
LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"), ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"), (KCORE, "/dev/core"),
)  # fmt: skip
"""The links beside them: a target and a path."""


def plan(
    config: Mapping[str, Any],
    root: Mount,
    *,
    machine: str,
    owned: tuple[int, ...] = (),
    cgroup: str = "",
) -> list[Operation]:
    """What the child does, in order, the last being the program itself. Raises SandboxError.

    `owned`: descriptors among 0, 1, 2 that belong to the container alone. `cgroup`: the name of its group.
    """
    process, system = config["process"], config.get("linux") or {}
    confined = confine(process, system, machine)
    users, (own, wanted) = hold_users(system), _mounts(config.get("mounts") or ())
    operations = group(config, cgroup, confined.capabilities) + oom_score(process)
    operations += [*_joined(system["namespaces"]), *_early(wanted), *users, Namespaces(new_kinds(system))]
    operations.append(MountRoot(root, bool(confined.capabilities & CAP_SYS_ADMIN)))
    operations += [*own, *_settings(system), *_protection(system)]
    operations.append(Take(tuple(each for each in wanted if isinstance(each, BindMount))))
    operations += [LeaveHost(), *wanted, *_names(config, system)]
    operations += [account(process["user"]), working_folder(process)]
    if (config.get("root") or {}).get("readonly"):
        operations.append(ReadOnlyRoot())
    operations += [NewSession(owned), *resource_limits(process), *apparmor(process)]
    operations += [*enter_users(users), confined]
    operations.append(execute(process, watched=shares_processes(config)))
    return operations


def _joined(namespaces: Sequence[Mapping[str, Any]]) -> list[Operation]:
    """The networks and the IPC namespace of others that a container joins."""
    given = [each for each in namespaces if each.get("path")]
    operations: list[Operation] = [
        JoinNetwork(each["path"], each.get("started", 0)) for each in given if each["type"] == "network"
    ]
    ipc = [each for each in given if each["type"] == "ipc"]
    if ipc:
        from .ipc import JoinIpc

        operations.append(JoinIpc(ipc[0]["path"], ipc[0].get("started", 0)))
    return operations


def _settings(system: Mapping[str, Any]) -> list[Operation]:
    """Device nodes and sysctls that the user wants."""
    operations: list[Operation] = []
    if system.get("devices"):
        operations.append(Devices(tuple(_node(device) for device in system["devices"])))
    if system.get("sysctl"):
        from .tuning import Sysctls

        operations.append(Sysctls(tuple(system["sysctl"].items())))
    return operations


def _mounts(entries: Any) -> tuple[list[Operation], list[Operation]]:
    """Those of the kernel's file systems, and those that the user wants at places of their choice."""
    own: list[Operation] = []
    wanted: list[Operation] = []
    for entry in entries:
        operations = _mount(entry)
        is_wanted = isinstance(operations[0], BindMount | TemporaryFolder)
        (wanted if is_wanted else own).extend(operations)
    return own, wanted


def _early(wanted: list[Operation]) -> list[Operation]:
    """What can be had of the host only before its mount namespace is left."""
    binds = [each for each in wanted if isinstance(each, BindMount) and each.early]
    return [Take(tuple(binds))] if binds else []


def _mount(entry: Mapping[str, Any]) -> list[Operation]:
    kind, target = entry.get("type") or "bind", entry["destination"]
    if kind in ("bind", "image"):
        return [_bind(entry, entry.get("source") or kind)]
    flags, _, data = _options(entry.get("options") or ())
    if target == "/dev":
        return [FileSystem(kind, target, flags, data), Devices(NODES), Links(LINKS)]
    if kind == "devpts":
        return [Terminals(data)]
    if kind == "shm":
        from .ipc import SharedMemory

        return [SharedMemory()]
    if kind == "tmpfs" and entry.get("source") != "shm":
        return [TemporaryFolder(target, flags, data)]
    if kind == "cgroup" and entry.get("hierarchies"):
        from .groups import MountGroups

        return [MountGroups(target, flags, tuple(entry["hierarchies"]))]
    if kind == "cgroup":
        return [FileSystem("cgroup2", target, flags, optional=not entry.get("needed"))]
    otherwise = {"sysfs": "/sys", "proc": "/proc"}.get(kind, "")
    return [FileSystem(kind, target, flags, data, kind == "mqueue", otherwise)]


def _bind(entry: Mapping[str, Any], source: str) -> Operation:
    """One step where nothing of it needs a mount of its own to be changed."""
    options = entry.get("options") or ()
    _, attributes, _ = _options(options)
    own = not _PROPAGATION.isdisjoint(options) or entry.get("userns")
    if own or ("ro" in options and "rro" not in options):
        from .binds import volume_bind

        return volume_bind(entry, attributes)
    return BindMount(source, entry["destination"], "rro" in options, "bind" not in options, attributes)


def _node(device: Mapping[str, Any]) -> DeviceNode:
    """`source` in a device is our own word."""
    mode = (0o60000 if device["type"] == "b" else 0o20000) | device.get("fileMode", 0o666)
    owner = device.get("uid", 0), device.get("gid", 0)
    return DeviceNode(
        device["path"], mode, device["major"], device["minor"], *owner, device.get("source", "")
    )


def _options(options: Any) -> tuple[int, int, str]:
    """Mount flags, the same as attributes, and the rest as data of the file system."""
    flags = attributes = 0
    data = []
    for option in options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
            attributes |= _ATTRIBUTES.get(option, 0)
        elif option not in _IGNORED:
            data.append(option)
    return flags, attributes, ",".join(data)


def _protection(system: Mapping[str, Any]) -> list[Operation]:
    operations: list[Operation] = []
    if system.get("readonlyPaths"):
        operations.append(ReadOnly(tuple(system["readonlyPaths"])))
    if system.get("maskedPaths"):
        operations.append(Mask(tuple(system["maskedPaths"])))
    return operations


def _names(config: Mapping[str, Any], system: Mapping[str, Any]) -> list[Operation]:
    operations: list[Operation] = []
    kinds = new_kinds(system)
    if config.get("hostname") and "uts" in kinds:
        operations.append(host_name(config))
    if "network" in kinds:
        operations.append(Loopback())
    return operations


def new_kinds(system: Mapping[str, Any]) -> tuple[str, ...]:
    """The namespaces that are made; one of these kinds that is there already is joined."""
    joined = ("network", "ipc", "user")
    return tuple(n["type"] for n in system["namespaces"] if n["type"] not in joined or not n.get("path"))


def host_name(config: Mapping[str, Any]) -> HostName:
    """An annotation of our own says whether the user has asked for it."""
    wished = HOST_NAME_WISHED in (config.get("annotations") or {})
    return HostName(config.get("hostname") or "", wished)
