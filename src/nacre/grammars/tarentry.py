"""One member of a layer as a value, and the whiteout names. Source: OCI image-spec, layer.md."""

from __future__ import annotations

from typing import NamedTuple, Protocol

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"


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
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    offset: int = -1
    sparse: tuple[tuple[int, int], ...] | None = None


def whiteout(path: bytes) -> tuple[str, bytes] | None:
    """What a path says about lower layers.

    ("remove", what vanishes), ("opaque", folder whose lower content vanishes), ("ignore", b"") for the
    other names that AUFS kept for itself (`.wh..wh.plnk`), or None for an ordinary path.
    """
    folder, slash, name = path.rpartition(b"/")
    if not name.startswith(WHITEOUT):
        return None
    if name == OPAQUE:
        return "opaque", folder
    if name.startswith(b".wh..wh."):
        return "ignore", b""
    return "remove", folder + slash + name[4:]
