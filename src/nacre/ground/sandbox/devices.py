"""What devices a container has, and what it may use of those that it finds or makes.

Root of a container may make device nodes, and images, volumes and bind mounts hold some. Its control group
lets it open those that docker allows. Where there is no such group, every mount that the container sees is
`nodev` and the nodes in its /dev are mounts themselves. In a user namespace the kernel lets nobody use a node
that the user could not use outside.
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from ...words.mount import Bind
from ...words.value import Value
from .. import cgroups, linux, mounts, userns
from .capabilities import CAP_SYS_ADMIN
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .room import Room

    Rules = tuple[Mapping[str, Any], ...]

_SHELF = "/dev"


class DeviceGroup(Operation):
    """A control group of one's own, `name`, that allows what `rules` say; else no devices but our own.

    `powerful`: the program could mount, and so undo `nodev`.
    """

    name: str
    rules: Rules
    powerful: bool = False

    def apply(self, room: Room) -> None:  # noqa: D102
        if not userns.is_first():
            return
        try:
            if not self.name:
                raise FileNotFoundError
            cgroups.confine(self.name, self.rules)
        except OSError as error:
            if self.powerful:
                raise _too_powerful(error) from None
            room.nodev, room.rules = linux.MOUNT_ATTR_NODEV, self.rules

    def __str__(self) -> str:
        return f"devices are limited by the control group {self.name}"


def _too_powerful(error: OSError) -> SandboxError:
    return SandboxError(
        f"there is no device control group here ({error.strerror}), so CAP_SYS_ADMIN would open every "
        "device of this machine",
        hint="use --privileged if that is intended",
    )


def limits(config: Mapping[str, Any]) -> Rules | None:
    """The rules of an OCI runtime config; None if it may use everything."""
    system = config.get("linux") or {}
    rules = tuple((system.get("resources") or {}).get("devices") or ())
    return None if any(rule["allow"] and rule.get("type", "a") == "a" for rule in rules) else rules


def entering(config: Mapping[str, Any]) -> list[Operation]:
    """`linux.groups` are our own word: control groups that were made for the container, with limits."""
    made = config["linux"].get("groups")
    if not made:
        return []
    from .groups import JoinGroups

    return [JoinGroups(tuple(made))]


def group(config: Mapping[str, Any], name: str, capabilities: int) -> list[Operation]:
    """The first things to do in a child; the second is left out if it may use everything."""
    rules, first = limits(config), entering(config)
    if first:
        from .groups import has_unified

        name = cgroups.CURRENT if has_unified(config["linux"]["groups"]) else name
    return first if rules is None else [*first, DeviceGroup(name, rules, bool(capabilities & CAP_SYS_ADMIN))]


def refuse_nodes(folder: str, shown: str) -> None:
    """Raises SandboxError if there is a device node in `folder`, which a container sees as `shown`."""
    waiting = [folder] if os.path.isdir(folder) else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and _is_device(entry):
                    path = os.path.join(shown, os.path.relpath(entry.path, folder))
                    raise SandboxError(
                        f"{path} is a device that a program could use, because mounts are not permitted here",
                        hint="remove it, or use --privileged",
                    )


def _is_device(entry: os.DirEntry[str]) -> bool:
    info = entry.stat(follow_symlinks=False)
    return stat.S_ISBLK(info.st_mode) or (stat.S_ISCHR(info.st_mode) and info.st_rdev != 0)


class DeviceNode(Value):
    """A device node: `mode` with its type; `source` is its path on the host, where that is another."""

    path: str
    mode: int
    major: int
    minor: int
    uid: int = 0
    gid: int = 0
    source: str = ""

    @property
    def number(self) -> int:
        """As st_rdev has it."""
        return os.makedev(self.major, self.minor)

    def is_made_as(self, info: os.stat_result) -> bool:
        """Whether that is its kind and its number."""
        return stat.S_IFMT(info.st_mode) == stat.S_IFMT(self.mode) and info.st_rdev == self.number


class Devices(Operation):
    """Devices in our own /dev: made, or bound from the host where mknod is not allowed."""

    nodes: tuple[DeviceNode, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        wanted = [node for node in self.nodes if not _is_there(node)]
        for node in wanted:
            folder = os.path.dirname(node.path)
            if folder != "/dev":
                os.makedirs(folder, 0o755, exist_ok=True)
        if room.nodev:
            self._shelve(wanted)
        else:
            self._make(room, wanted)

    def _make(self, room: Room, nodes: list[DeviceNode]) -> None:
        for node in nodes:
            if room.devices:
                try:
                    _made(node, node.path)
                    continue
                except PermissionError:
                    room.devices = False
            _place(_of_host(room, node), node.path)

    def _shelve(self, nodes: list[DeviceNode]) -> None:
        """Nodes on a tmpfs of which nothing stays but these files: each is a mount, and none is the host's.

        The tmpfs covers our /dev for a moment, since only what is attached can be cloned (before Linux 6.15).
        """
        linux.mount("tmpfs", _SHELF, "tmpfs", linux.MS_NOSUID | linux.MS_NOEXEC, "mode=700,size=64k")
        made = []
        try:
            for number, node in enumerate(nodes):
                _made(node, f"{_SHELF}/{number}")
                fd = mounts.bind(Bind(f"{_SHELF}/{number}", recursive=False))
                made.append((fd, node.path))
        finally:
            linux.umount(_SHELF)
        for fd, path in made:
            _place(fd, path)

    def __str__(self) -> str:
        return f"devices: {' '.join(node.path for node in self.nodes)}"


def _is_there(node: DeviceNode) -> bool:
    """Whether everybody has it; another thing at the path makes way."""
    try:
        info = os.lstat(node.path)
    except OSError:
        return False
    if info.st_rdev == node.number:
        return True
    os.unlink(node.path)
    return False


def _made(node: DeviceNode, path: str) -> None:
    os.mknod(path, node.mode, node.number)
    if node.uid or node.gid:
        os.chown(path, node.uid, node.gid)


def _of_host(room: Room, node: DeviceNode) -> int:
    path = node.source or node.path
    fd = mounts.bind(Bind(path.lstrip("/"), recursive=False), room.host)
    if not node.is_made_as(os.fstat(fd)):
        raise SandboxError(f"{path} of the host is not the expected device")
    return fd


def _place(fd: int, path: str) -> None:
    os.mknod(path, 0o666 | stat.S_IFREG)
    linux.move_mount(fd, linux.AT_FDCWD, path)
    os.close(fd)
