"""From a checked config to what is done, in order. Pure but for a look at what this system has.

What a config asks and cannot be had is refused here or by the operation, never left out. Source: OCI
runtime-spec config.md, config-linux.md, runtime-linux.md.
"""

from __future__ import annotations

import os

from ...grammars.seccomp import read_list
from ...words.errors import UsageError
from ...words.value import Value
from .. import linux, selinux
from ..sandbox import apparmor
from ..sandbox import program as sandbox
from ..sandbox.capabilities import ALL
from ..sandbox.devices import DeviceNode
from ..sandbox.document import compiled
from ..sandbox.identity import NewSession
from ..sandbox.operations import HostName, Loopback, ReadOnlyRoot
from ..sandbox.plan import NODES
from ..sandbox.room import Operation
from ..sandbox.tuning import Sysctls
from .credentials import KnownAccount, Label, confine_capabilities, tune
from .mounts import MountBind, MountFileSystem, MountHierarchies
from .nodes import CreateDevices, CreateLinks, CreateTerminal, with_types
from .options import PROPAGATION, Options, read_options
from .process import ChangeMask, DomainName, LookProgram, NewKeyring, RunContainerHooks
from .root import BindRoot, MaskPaths, ReadOnlyPaths, TakeHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SYSCTLS = {
    "ipc": ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
            "kernel.shmmni", "kernel.shm_rmid_forced"),
    "uts": ("kernel.domainname", "kernel.hostname"),
}  # fmt: skip


class SetupOptions(Value):
    """What the command line adds to a config. `bundle` is an absolute path."""

    bundle: str
    mask: int
    no_pivot: bool = False
    no_keyring: bool = False
    preserved: int = 0


def setup(config: Mapping[str, Any], asked: SetupOptions) -> list[Operation]:
    """All that is done before the program waits to be started. Raises UsageError."""
    system, process = config["linux"], config.get("process") or {}
    kinds = {each["type"]: each.get("path", "") for each in system.get("namespaces") or ()}
    return [
        *_root(config, asked.bundle, kinds),
        *_mounts(config, asked.bundle, kinds),
        *_devices(config),
        *_names(config, system, kinds),
        RunContainerHooks((config.get("hooks") or {}).get("createContainer") or ()),
        *_protected(config, system),
        TakeHost(asked.no_pivot, _propagation(system, final=True)),
        *program(process, system, asked),
    ]


def program(process: Mapping[str, Any], system: Mapping[str, Any], asked: SetupOptions) -> list[Operation]:
    """What turns it into the program, but for the program itself."""
    if not process:
        return []
    check_names(process)
    code, flags = _filter(system)
    user = process.get("user") or {}
    terminal = process.get("terminal")
    return [
        *([] if asked.no_keyring else [NewKeyring()]),
        KnownAccount(user.get("uid", 0), user.get("gid", 0), tuple(user.get("additionalGids") or ())),
        *([_terminal(process)] if terminal else []),
        sandbox.working_folder(process),
        NewSession(),
        *sandbox.resource_limits(process),
        *tune(process, system),
        *sandbox.apparmor(process),
        *([Label(process["selinuxLabel"])] if process.get("selinuxLabel") else []),
        confine_capabilities(process, code, flags),
        ChangeMask(user.get("umask", asked.mask)),
        LookProgram(tuple(process["args"]), tuple(process.get("env") or ())),
    ]


def check_names(process: Mapping[str, Any]) -> None:
    """Capabilities that are not known, and labels where nothing knows them. Raises UsageError."""
    for kind, names in (process.get("capabilities") or {}).items():
        for name in names:
            if name not in ALL:
                raise UsageError(f"config.json: process.capabilities.{kind} has {name!r}, which is not known")
    if process.get("selinuxLabel") and not selinux.is_enabled():
        raise UsageError("config.json: process.selinuxLabel is set, and SELinux is not enabled here")
    if process.get("apparmorProfile") and not apparmor.is_enabled():
        raise UsageError("config.json: process.apparmorProfile is set, and AppArmor is not enabled here")


def _terminal(process: Mapping[str, Any]) -> CreateTerminal:
    size = process.get("consoleSize") or {}
    return CreateTerminal(size.get("height", 0), size.get("width", 0), not process.get("existing"))


def _filter(system: Mapping[str, Any]) -> tuple[bytes, int]:
    if not system.get("seccomp"):
        return b"", 0
    return compiled(read_list(system["seccomp"], linux.MACHINE), linux.MACHINE)


def _propagation(system: Mapping[str, Any], *, final: bool) -> int:
    word = system.get("rootfsPropagation") or ""
    if not word:
        return 0
    flags = PROPAGATION[word]
    if not final and flags & linux.MS_UNBINDABLE:
        return flags ^ (linux.MS_UNBINDABLE | linux.MS_PRIVATE)
    return flags


def _root(config: Mapping[str, Any], bundle: str, kinds: Mapping[str, str]) -> list[Operation]:
    system = config["linux"]
    if "mount" not in kinds:
        raise UsageError("config.json: linux.namespaces has no mount, without which there can be no root")
    if system.get("mountLabel") and not selinux.is_enabled():
        raise UsageError("config.json: linux.mountLabel is set, and SELinux is not enabled here")
    path = os.path.realpath(os.path.join(bundle, config["root"]["path"]))
    if not os.path.isdir(path):
        raise UsageError(f"config.json: root.path: {path} is not a directory")
    if path == "/":
        raise UsageError("config.json: root.path is the root of this machine")
    propagation = _propagation(system, final=False)
    return [BindRoot(path, propagation and propagation | linux.MS_REC, system.get("mountLabel") or "")]


def _mounts(config: Mapping[str, Any], bundle: str, kinds: Mapping[str, str]) -> list[Operation]:
    return [
        _mount(entry, f"mounts[{number}]", bundle, kinds)
        for number, entry in enumerate(config.get("mounts") or ())
    ]


def _mount(entry: Mapping[str, Any], place: str, bundle: str, kinds: Mapping[str, str]) -> Operation:
    options = read_options(entry.get("options") or (), place)
    kind, target = entry.get("type") or "", f"/{entry['destination'].lstrip('/')}"
    binds = options.binds or kind == "bind"
    if options.copies and (binds or kind != "tmpfs"):
        raise UsageError(f"config.json: {place}.options: tmpcopyup is for a tmpfs")
    if binds:
        return _bind(entry, target, options, place, bundle)
    if not kind or kind == "none":
        raise UsageError(f"config.json: {place}.type is missing")
    if kind in ("cgroup", "cgroup2"):
        return MountHierarchies(target, options, "cgroup" in kinds)
    return MountFileSystem(kind, entry.get("source") or kind, target, options)


def _bind(entry: Mapping[str, Any], target: str, options: Options, place: str, bundle: str) -> MountBind:
    """What a file system is told means nothing to a bind, as in mount(8). Raises UsageError."""
    for word in options.data.split(","):
        if word and "=" not in word:
            raise UsageError(f"config.json: {place}.options: {word} is no option of a bind mount")
    if not entry.get("source"):
        raise UsageError(f"config.json: {place}.source is missing")
    return MountBind(os.path.join(bundle, entry["source"]), target, options)


def _devices(config: Mapping[str, Any]) -> list[Operation]:
    """A /dev of somebody else's is left as it is."""
    for entry in config.get("mounts") or ():
        binds = entry.get("type") == "bind" or {"bind", "rbind"} & set(entry.get("options") or ())
        if entry["destination"].rstrip("/") == "/dev" and binds:
            return []
    wanted = tuple(_node(device) for device in config["linux"].get("devices") or ())
    paths = {node.path for node in wanted}
    usual = (node for node in NODES if node.path not in paths)
    return [CreateDevices((*usual, *wanted)), CreateLinks()]


def _node(device: Mapping[str, Any]) -> DeviceNode:
    mode = with_types(device["type"], device.get("fileMode", 0o666))
    numbers = device.get("major", 0), device.get("minor", 0)
    return DeviceNode(device["path"], mode, *numbers, device.get("uid", 0), device.get("gid", 0))


def _names(config: Mapping[str, Any], system: Mapping[str, Any], kinds: Mapping[str, str]) -> list[Operation]:
    operations: list[Operation] = []
    if config.get("hostname"):
        operations.append(HostName(config["hostname"], wished=True))
    if config.get("domainname"):
        operations.append(DomainName(config["domainname"]))
    if kinds.get("network") == "":
        operations.append(Loopback())
    if system.get("sysctl"):
        for name in system["sysctl"]:
            _check_sysctl(name, config, kinds)
        operations.append(Sysctls(tuple(system["sysctl"].items())))
    return operations


def _check_sysctl(name: str, config: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Only what belongs to a namespace of the container's own. Source: runc, configs/validate."""
    dotted = name.replace("/", ".")
    needed = "network" if dotted.startswith("net.") else "ipc" if dotted.startswith("fs.mqueue.") else ""
    for kind, names in _SYSCTLS.items():
        needed = kind if dotted in names else needed
    if not needed or ".." in dotted:
        raise UsageError(f"config.json: linux.sysctl has {name!r}, which belongs to no namespace")
    if needed not in kinds:
        raise UsageError(
            f"config.json: linux.sysctl has {name!r}, which needs linux.namespaces to have {needed}"
        )
    if dotted == "kernel.hostname" and config.get("hostname"):
        raise UsageError("config.json: linux.sysctl has kernel.hostname beside hostname")


def _protected(config: Mapping[str, Any], system: Mapping[str, Any]) -> list[Operation]:
    operations: list[Operation] = []
    if config["root"].get("readonly"):
        operations.append(ReadOnlyRoot())
    if system.get("readonlyPaths"):
        operations.append(ReadOnlyPaths(tuple(system["readonlyPaths"])))
    if system.get("maskedPaths"):
        operations.append(MaskPaths(tuple(system["maskedPaths"])))
    return operations
