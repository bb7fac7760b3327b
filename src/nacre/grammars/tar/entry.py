"""One member of a tar as a value."""

from __future__ import annotations

from typing import NamedTuple, Protocol

Xattrs = tuple[tuple[bytes, bytes], ...]


class Reader(Protocol):
    """Anything that gives bytes: at most `count` of them, b"" only at the end."""

    def read(self, count: int, /) -> bytes:
        """The next bytes, at least one unless the end is reached."""


class Entry(NamedTuple):
    """One member of a layer.

    `path` is relative and normalised (no leading `/` or `./`, no `..`, no `//`); b"" is the root
    itself. `kind` is one of file, dir, symlink, hardlink, char, block, fifo. `mode` has the 12 permission
    bits only. `size` is the real size in bytes, holes included, and 0 for everything but files. `link` is
    the target of a symlink verbatim, of a hard link normalised like `path`. `xattrs` are sorted by name.
    `offset` is where the payload lies in the uncompressed tar, -1 if unknown. `sparse` lists the data
    segments (offset, length) in file order, None for an ordinary file.
    """

    path: bytes
    kind: str = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: Xattrs = ()
    offset: int = -1
    sparse: tuple[tuple[int, int], ...] | None = None

    @property
    def stored(self) -> int:
        """Bytes of payload that an archive holds: `size` without the holes."""
        return self.size if self.sparse is None else sum(length for _, length in self.sparse)


def show(path: bytes) -> str:
    """A path for a message: quoted, printable, at most 200 characters, `.` for the root."""
    text = path[:200].decode("utf-8", "backslashreplace") or "."
    return repr(text + ("…" if len(path) > 200 else ""))
