"""A sandbox for machines that permit no mount: a folder that is a whole root, entered by chroot(2).

What confinement is left is kept: namespaces as far as they are permitted, no new privileges, the capability
set without those that lead out of a chroot, the system call filter, closed descriptors, groups. A watcher
outside of the root ends whatever the program has started when the program ends, unless a pid namespace does.
What would be mounted is put there and taken away again (`standins`).
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from ...words.mount import Bind
from .. import linux, userns
from . import permitted
from .capabilities import bits
from .child import cannot_start, child, listen, opened, stay
from .devices import entering, limits, refuse_nodes
from .identity import Confine, Execute, NewSession
from .operations import NAMESPACES, HostName, Loopback
from .plan import host_name
from .process import begin
from .process import run as run_mounted
from .program import account, confine, execute, is_root, oom_score, resource_limits, working_folder
from .room import Operation
from .standins import Standins
from .stdio import Attachment
from .watcher import END, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...words.mount import Directory
    from ..fork import Child, Work
    from .room import Room
    from .stdio import Streams

_WAYS_OUT = ("CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_KILL")
_NODES = (
    ("null", 0o666, 1, 3), ("zero", 0o666, 1, 5), ("full", 0o666, 1, 7), ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9), ("tty", 0o666, 5, 0),
)  # fmt: skip
_ABSENT = ("proc", "sysfs", "cgroup", "mqueue", "devpts")


class Chroot(Operation):
    """Make a folder the root."""

    path: str

    def apply(self, room: Room) -> None:  # noqa: D102
        room.root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(room.root)
        os.chroot(".")
        os.chdir("/")

    def __str__(self) -> str:
        return f"chroot to {self.path}"


class Permitted(Operation):
    """New namespaces of the kinds that are permitted; a network of one's own must be, if it is wanted."""

    kinds: tuple[str, ...]
    host_name: HostName

    def apply(self, room: Room) -> None:  # noqa: D102
        for kind in self.kinds:
            try:
                linux.unshare(NAMESPACES[kind])
            except OSError:
                self._do_without(kind)
                continue
            if kind == "uts" and self.host_name.name:
                self.host_name.apply(room)
            elif kind == "network":
                Loopback().apply(room)

    def _do_without(self, kind: str) -> None:
        if kind == "network":
            raise SandboxError("--network none needs a network namespace, which is not permitted here")
        if kind == "uts":
            self.host_name.absent()

    def __str__(self) -> str:
        return f"namespaces, where permitted: {' '.join(self.kinds)}"


def run(
    config: Mapping[str, Any], root: Directory, attached: Attachment | None = None, *, volatile: bool = False
) -> int:
    """As `process.run`, which does it where mounts are permitted. Raises SandboxError where nothing is.

    What stands in for mounts is this process's to take away, so it does not leave.
    """
    attached = (attached or Attachment()).replace(leave=None)
    if permitted.check() == "mounts":
        with Standins(root) as places:
            for entry in config.get("mounts") or ():
                _mount_point(places, entry)
            return run_mounted(config, Bind(root.path, recursive=False), attached, volatile=volatile)
    _refuse(config)
    _keep_devices_out(config, root)
    with Standins(root) as places:
        for entry in config.get("mounts") or ():
            _stand_in(places, entry)
        _devices(places, config)
        return _run(config, root, attached)


def _run(config: Mapping[str, Any], root: Directory, attached: Attachment) -> int:
    streams = opened(attached.stdio, relayed=not is_root(config))
    try:
        started, deadly = _fork(config, root, streams)
        with started:
            try:
                streams.given()
                if attached.on_start:
                    attached.on_start(started.pid)
                listen(started, [])
                return stay(started, streams, attached, deadly)
            except BaseException:
                started.end(deadly)
                raise
    finally:
        streams.close()


def _fork(config: Mapping[str, Any], root: Directory, streams: Streams) -> tuple[Child, int]:
    """The child, and the signal that ends it and all it started."""

    def work(watched: bool) -> Work:
        return child(operations(config, root, streams.owned, watched=watched), streams)

    try:
        try:
            return begin(work(False), streams, alone=True), 9
        except OSError:  # no pid namespace
            return begin(work(True), streams, alone=False), END
    except OSError as error:
        raise cannot_start(error) from None


def operations(
    config: Mapping[str, Any], root: Directory, owned: tuple[int, ...], *, watched: bool
) -> list[Operation]:
    """What the child does, in order, the last being the program itself. Raises SandboxError."""
    process, system = config["process"], config.get("linux") or {}
    kinds = tuple(n["type"] for n in system["namespaces"] if n["type"] not in ("mount", "pid"))
    return [
        *([Watch()] if watched else []),
        *entering(config),
        *oom_score(process),
        Permitted(kinds, host_name(config)),
        Chroot(root.path),
        account(process["user"]),
        working_folder(process),
        NewSession(owned),
        *resource_limits(process),
        _confine(process, system),
        _execute(process, watched),
    ]


def _confine(process: Mapping[str, Any], system: Mapping[str, Any]) -> Confine:
    """--privileged keeps what it asks for."""
    known = confine(process, system, linux.MACHINE)
    kept = known.capabilities
    if limits({"linux": system}) is not None:
        kept &= ~bits(_WAYS_OUT)
    return known.replace(capabilities=kept, no_new_privileges=True, lenient=True)


def _execute(process: Mapping[str, Any], watched: bool) -> Execute:
    """A watched program has an init already."""
    return execute({**process, "init": False} if watched else process)


def join(config: Mapping[str, Any], root: Directory, attached: Attachment | None = None) -> int:
    """One more program in the root of a container that runs; the exit code as `run`. It ends on its own."""
    permitted.check()
    return _run(config, root, attached or Attachment())


def refuse_here(config: Mapping[str, Any]) -> None:
    """Before anything is made for a container: what a chroot cannot give, if that is all there is."""
    if permitted.way() == "chroot":
        _refuse(config)


def _refuse(config: Mapping[str, Any]) -> None:
    """Wishes that would be broken silently. Raises SandboxError."""
    if (config.get("root") or {}).get("readonly"):
        raise SandboxError("--read-only needs a mount, and none is permitted here")
    if config["linux"].get("sysctl"):
        raise SandboxError("--sysctl and --domainname need /proc, which cannot be mounted here")
    if config["linux"].get("uidMappings"):
        raise SandboxError("--userns needs mounts, which are not permitted here", hint="--userns host")
    if config["process"].get("apparmorProfile"):
        raise SandboxError("--security-opt apparmor needs /proc, which cannot be mounted here")
    paths = {each["type"] for each in config["linux"]["namespaces"] if each.get("path")}
    if "network" in paths:
        raise SandboxError(
            "networks of containers need namespaces, which are not permitted here", hint="--network host"
        )
    for kind in ("pid", "ipc"):
        if kind in paths:
            raise SandboxError(f"--{kind} container:NAME needs namespaces, which are not permitted here")
    for entry in config.get("mounts") or ():
        _refuse_mount(entry)


def _refuse_mount(entry: Mapping[str, Any]) -> None:
    if entry.get("needed"):
        raise SandboxError(f"cannot mount {entry['destination']}: mounts are not permitted here")
    if (entry.get("type") or "bind") in ("bind", "image") and not entry.get("standin"):
        raise SandboxError(
            f"cannot mount {entry['source']} at {entry['destination']}: mounts are not permitted here",
            hint="copy it with COPY or `nacre cp`",
        )


def _keep_devices_out(config: Mapping[str, Any], root: Directory) -> None:
    """Nothing keeps root in a chroot from using a node that is there. Raises SandboxError.

    None is laid out here; one may have been made where mounts are permitted.
    """
    if limits(config) is None or not userns.is_first():
        return
    refuse_nodes(root.path, "/")
    for entry in config.get("mounts") or ():
        if entry.get("standin") == "lend":
            refuse_nodes(entry["source"], entry["destination"])


def _stand_in(places: Standins, entry: Mapping[str, Any]) -> None:
    kind, target = entry.get("type") or "bind", entry["destination"]
    if kind in _ABSENT or target == "/dev/shm":
        return
    if kind == "tmpfs":
        places.folder(target, 0o755 if target == "/dev" else 0o1777)
    elif entry["standin"] == "lend":
        places.lend(target, entry["source"])
    else:
        places.file(target, entry["source"])
    if target == "/dev":
        places.folder("/dev/shm", 0o1777)


def _mount_point(places: Standins, entry: Mapping[str, Any]) -> None:
    """Made here rather than in the child, so that the folder above keeps its time."""
    target, source = entry["destination"], entry.get("source") or ""
    if target.startswith(("/dev/", "/sys/")):
        return
    bind = (entry.get("type") or "bind") == "bind"
    places.mount_point(target, folder=not bind or os.path.isdir(source))


def _devices(places: Standins, config: Mapping[str, Any]) -> None:
    """Device nodes in our own /dev; where none can be made, /dev/null is a file."""
    for name, mode, major, minor in _NODES:
        if (
            not places.device(f"/dev/{name}", stat.S_IFCHR | mode, os.makedev(major, minor))
            and name == "null"
        ):
            places.file("/dev/null", "/dev/null")
    for wanted in (config.get("linux") or {}).get("devices") or ():
        kind = stat.S_IFBLK if wanted["type"] == "b" else stat.S_IFCHR
        device = os.makedev(wanted["major"], wanted["minor"])
        if not places.device(wanted["path"], kind | wanted.get("fileMode", 0o666), device):
            raise SandboxError(f"cannot create the device {wanted['path']}: it is not permitted here")
