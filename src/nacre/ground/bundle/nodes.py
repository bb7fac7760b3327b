"""What a container has in /dev. Source: OCI runtime-spec config-linux.md, "Devices"."""

from __future__ import annotations

import _socket
import os
import stat

from ...words.errors import SandboxError
from .. import beneath, linux
from ..network.descriptors import hand
from ..sandbox import terminal
from ..sandbox.plan import KCORE, LINKS
from ..sandbox.room import Operation
from .place import BundleRoom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..sandbox.devices import DeviceNode
    from ..sandbox.room import Room

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_DEVPTS = 0x1CD1


class CreateDevices(Operation):
    """Devices; where mknod is not allowed, those of the host are bound."""

    nodes: tuple[DeviceNode, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        for node in self.nodes:
            folder, name = os.path.split(node.path)
            above = room.make_folders(folder)
            try:
                self._make(above, name, node)
            except OSError as error:
                raise SandboxError(f"cannot make the device {node.path}: {error.strerror}") from None
            finally:
                os.close(above)

    def _make(self, above: int, name: str, node: DeviceNode) -> None:
        try:
            os.mknod(name, node.mode, node.number, dir_fd=above)
        except FileExistsError:
            info = os.stat(name, dir_fd=above, follow_symlinks=False)
            if not node.is_made_as(info):
                raise
        except PermissionError:
            self._bind(above, name, node)
            return
        os.chown(name, node.uid, node.gid, dir_fd=above, follow_symlinks=False)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(node.mode))
        finally:
            os.close(fd)

    def _bind(self, above: int, name: str, node: DeviceNode) -> None:
        """In a user namespace the kernel makes no devices; the host's is bound by its descriptor."""
        source = linux.open_tree(linux.AT_FDCWD, node.path, linux.OPEN_TREE_CLONE)
        try:
            if not node.is_made_as(os.fstat(source)):
                raise SandboxError(f"{node.path} of the host is not the expected device")
            _ensure_file(above, name)
            target = linux.openat2(above, name, os.O_PATH | os.O_NOFOLLOW)
            try:
                linux.move_mount(source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def __str__(self) -> str:
        return f"devices: {' '.join(node.path for node in self.nodes)}"


def _ensure_file(above: int, name: str) -> None:
    try:
        os.mknod(name, stat.S_IFREG | 0o666, dir_fd=above)
    except FileExistsError:
        if not stat.S_ISREG(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise


class CreateLinks(Operation):
    """The links that programs expect in /dev; what is there stays, but for ptmx."""

    def apply(self, room: Room) -> None:  # noqa: D102
        dev = room.make_folders("/dev")
        try:
            self._link(dev)
        finally:
            os.close(dev)

    def _link(self, dev: int) -> None:
        for target, path in LINKS:
            if target == KCORE and not os.path.exists(KCORE):
                continue
            try:
                os.symlink(target, os.path.basename(path), dir_fd=dev)
            except FileExistsError:
                continue
        if beneath.look(dev, "ptmx"):
            os.unlink("ptmx", dir_fd=dev)
        os.symlink("pts/ptmx", "ptmx", dir_fd=dev)

    def __str__(self) -> str:
        return "links in /dev"


class CreateTerminal(Operation):
    """A terminal in the container's own devpts; its other end goes out through a Unix socket.

    `console`: also bound at /dev/console, by its descriptor (CVE-2025-52565).
    """

    rows: int = 0
    columns: int = 0
    console: bool = True

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        ours, theirs = self._open(room)
        if self.rows or self.columns:
            terminal.set_size(ours, self.rows, self.columns)
        channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, room.channel)
        hand(channel, ours)
        os.close(channel.detach())
        os.close(ours)
        if self.console:
            self._bind(room, theirs)
        user = room.user
        os.fchown(theirs, user.uid if user else 0, -1)
        for number in range(3):
            os.dup2(theirs, number)
        os.close(theirs)
        room.terminal = 0

    def _open(self, room: Room) -> tuple[int, int]:
        try:
            pts = room.open("/dev/pts", os.O_PATH | os.O_DIRECTORY)
            if linux.file_system(pts) != _DEVPTS:
                raise FileNotFoundError(2, "/dev/pts is no devpts")
            ours, theirs = terminal.open_pair(pts)
            os.close(pts)
            os.set_blocking(ours, True)
        except OSError as error:
            raise SandboxError(f"cannot open a terminal in the container: {error.strerror}") from None
        return ours, theirs

    def _bind(self, room: Room, theirs: int) -> None:
        dev = room.make_folders("/dev")
        try:
            _ensure_file(dev, "console")
            target = linux.openat2(dev, "console", os.O_PATH | os.O_NOFOLLOW)
            fd = linux.open_tree(theirs, b"", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)
            linux.move_mount(fd, target)
            os.close(fd)
            os.close(target)
        except OSError as error:
            raise SandboxError(f"cannot make /dev/console: {error.strerror}") from None
        finally:
            os.close(dev)

    def __str__(self) -> str:
        return "open a terminal"


def with_types(kind: str, mode: int) -> int:
    """The mode of a device of that kind, whatever type the config puts into it."""
    return _TYPES[kind] | stat.S_IMODE(mode)
