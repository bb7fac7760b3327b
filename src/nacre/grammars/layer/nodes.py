"""The tree of one layer as values, as `erofs` reads and writes it."""

from __future__ import annotations

import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..tar.entry import Xattrs

_FORMAT = 0o170000


class Inode:
    """One inode. `mode` has the type bits; `children` maps names to nodes and is None but for folders.

    A file with several names is one node under several names. `device` is the slot (from 1) of the tar
    that holds the content and `block` where it begins there, in blocks; but with a `head`, which is another
    such pair, its first `erofs.format.HEAD` blocks lie there and only the rest from `block + HEAD` on.
    `implied`: a folder that is only on the way to something. `rdev` is as the kernel stores it. The writer
    of an index sets `nid` and `nlink`.
    """

    __slots__ = (
        "block", "children", "device", "gid", "head", "implied", "link", "mode", "mtime_ns", "nid", "nlink",
        "rdev", "size", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self, mode: int, uid: int = 0, gid: int = 0, mtime_ns: int = 0, size: int = 0, *, link: bytes = b"",
        rdev: int = 0, xattrs: Xattrs = (), device: int = 0, block: int = 0, implied: bool = False,
    ) -> None:  # fmt: skip
        self.mode, self.uid, self.gid, self.mtime_ns, self.size = mode, uid, gid, mtime_ns, size
        self.link, self.rdev, self.xattrs, self.device, self.block = link, rdev, xattrs, device, block
        self.children: dict[bytes, Inode] | None = {} if mode & _FORMAT == stat.S_IFDIR else None
        self.implied = implied
        self.head: tuple[int, int] | None = None
        self.nid, self.nlink = -1, 0


def walk(root: Inode) -> Iterator[tuple[bytes, Inode]]:
    """Every node with its path, folders before their contents, names sorted; a file under all its names."""
    waiting = [(b"", root)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if node.children:
            base = path + b"/" if path else b""
            waiting += [(base + name, child) for name, child in sorted(node.children.items(), reverse=True)]
