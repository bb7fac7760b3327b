"""One file of one layer, and who reads it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Protocol
else:
    Protocol = object


class Node:
    """One path of one layer, not merged with others. `kind` as in a tar entry, or 'whiteout'.

    `implied`: a folder that the layer needs but does not describe; what is beneath says how it looks.
    `content` is the same number for names of a layer that are one file (hard links); 0: nobody's else.
    `inode` likewise, for everything but folders and only where there are several names; 0: none, or unknown.
    `block` is where the content of a file begins in the layer's tar, -1 when it lies elsewhere.
    """

    __slots__ = (
        "block", "content", "gid", "implied", "inode", "kind", "link", "major", "minor", "mode", "mtime_ns",
        "opaque",
        "size", "uid",
    )  # fmt: skip

    def __init__(self, kind: str, mode: int, uid: int, gid: int, mtime_ns: int, size: int) -> None:
        self.kind, self.mode, self.uid, self.gid = kind, mode, uid, gid
        self.mtime_ns, self.size = mtime_ns, size
        self.link = b""
        self.major = self.minor = self.content = self.inode = 0
        self.block = -1
        self.opaque = self.implied = False


class LayerReader(Protocol):
    """Reads one tree by literal paths: `path` holds no link, `..` or empty part; b"" is the root."""

    def node(self, path: bytes) -> Node | None:
        """What the layer has there; a folder on the way that is none means None."""

    def names(self, path: bytes) -> list[bytes]:
        """Names in a folder of this layer, whiteouts included."""

    def open(self, path: bytes) -> BinaryIO:
        """A regular file, for reading, which can seek; the caller closes it. Raises NotFound, OSError."""

    def xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted, without overlay's own."""

    def close(self) -> None:
        """Close what it holds. Idempotent."""
