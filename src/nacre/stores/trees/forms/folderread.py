"""Reading a tree that is a folder on disk, with overlay's marks."""

from __future__ import annotations

import os
import stat

from ....grammars.layer import overlay
from ....grammars.layer.owner import ATTRIBUTE
from ....grammars.layer.union import Node
from ....ground import linux, userns
from ....ground.files import reopen_file
from . import implied, owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_SAFE = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_MAGICLINKS
_PREFIXES = tuple(map(os.fsdecode, overlay.PREFIXES))
_OPAQUE = tuple(prefix + "opaque" for prefix in _PREFIXES)
_OWNER = os.fsdecode(ATTRIBUTE)


class FolderReader:
    """A LayerReader over `root`; `beside` is the folder that may hold an `owners` file.

    A process of an ordinary user outside of the namespace sees what one inside sees: ids are mapped
    back, and what only an owner inside may open is opened by a forked child.
    """

    def __init__(self, root: str, beside: str) -> None:
        self._fd = -1
        self._owners = owners.load(beside)
        self._implied = implied.load(beside)
        self._ids = userns.expected()
        self._fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _at(self, path: bytes, flags: int) -> int:
        def attempt() -> int:
            return linux.openat2(self._fd, path or b".", flags, 0, _SAFE)

        try:
            return attempt()
        except PermissionError:
            if self._ids is None:
                raise
            return userns.opened(attempt)

    def node(self, path: bytes) -> Node | None:
        """What the layer has there, None if nothing."""
        try:
            fd = self._at(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return self._node(fd, path)
        finally:
            os.close(fd)

    def _node(self, fd: int, path: bytes) -> Node | None:
        found = os.fstat(fd)
        kind = overlay.kind_of(found.st_mode, found.st_rdev)
        if not kind:
            return None
        size = found.st_size if kind == "file" else 0
        mode = stat.S_IMODE(found.st_mode)
        node = Node(kind, mode, *self._owner(found), found.st_mtime_ns, size)
        if found.st_nlink > 1 and kind != "dir":
            node.inode = found.st_ino
            node.content = found.st_ino if size else 0
        if kind == "symlink":
            node.link = os.readlink(b"", dir_fd=fd)
        elif kind in ("char", "block"):
            node.major, node.minor = os.major(found.st_rdev), os.minor(found.st_rdev)
        elif kind == "dir":
            node.opaque = any(name in _OPAQUE for name in _listxattr(fd))
            node.implied = path in self._implied
        self._restore(node, path)
        return node

    def _owner(self, found: os.stat_result) -> tuple[int, int]:
        if self._ids is None:
            return found.st_uid, found.st_gid
        return userns.inside(self._ids.uids, found.st_uid), userns.inside(self._ids.gids, found.st_gid)

    def _restore(self, node: Node, path: bytes) -> None:
        owner = self._owners.get(path)
        if owner is not None and node.kind != overlay.WHITEOUT:
            node.uid, node.gid = owner.uid, owner.gid
            if owner.kind:
                node.kind, node.major, node.minor = owner.kind, owner.major, owner.minor

    def names(self, path: bytes) -> list[bytes]:
        """Names in a folder, whiteouts included; [] if it is none."""
        try:
            fd = self._at(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return [os.fsencode(name) for name in os.listdir(fd)]
        finally:
            os.close(fd)

    def open(self, path: bytes) -> BinaryIO:
        """A regular file; the caller closes it. Raises NotFound, OSError."""
        fd = self._at(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fdopen(self._reopen(fd, path), "rb")
        finally:
            os.close(fd)

    def _reopen(self, fd: int, path: bytes) -> int:
        if self._ids is None or os.access(f"/proc/self/fd/{fd}", os.R_OK):
            return reopen_file(fd, path)
        return userns.opened(lambda: reopen_file(fd, path))

    def xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted, without overlay's own and ours."""
        try:
            return self._xattrs(path)
        except PermissionError:
            if self._ids is None:
                raise
            found: tuple[tuple[bytes, bytes], ...] = userns.call(self._xattrs, path)
            return found

    def _xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        fd = self._at(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            found = dict(self._owners[path].xattrs) if path in self._owners else {}
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                link = f"/proc/self/fd/{fd}"
                names = [
                    name for name in os.listxattr(link) if name != _OWNER and not name.startswith(_PREFIXES)
                ]
                found |= {os.fsencode(name): os.getxattr(link, name) for name in names}
            return tuple(sorted(found.items()))
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close


def _listxattr(fd: int) -> list[str]:
    """Of an O_PATH descriptor, on which listxattr itself gives EBADF."""
    try:
        return os.listxattr(f"/proc/self/fd/{fd}")
    except OSError:
        return []
