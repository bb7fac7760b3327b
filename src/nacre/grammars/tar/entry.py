"""One member of a layer as a value, and what the whiteout names say. Source: OCI image-spec, layer.md."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ...words.errors import InvalidArchive

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."


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

    @property
    def stored(self) -> int:
        """Bytes of payload that an archive holds: `size` without the holes."""
        return self.size if self.sparse is None else sum(length for _, length in self.sparse)


def show(path: bytes) -> str:
    """A path for a message: quoted, printable, at most 200 characters, `.` for the root."""
    text = path[:200].decode("utf-8", "backslashreplace") or "."
    return repr(text + ("…" if len(path) > 200 else ""))


def whiteout(path: bytes) -> tuple[str, bytes] | None:
    """What a path says about lower layers. Only its last part can: `.wh.etc/some` is an ordinary path.

    ("remove", what vanishes), ("opaque", folder whose lower content vanishes), ("ignore", b"") for the
    other names that AUFS kept for itself (`.wh..wh.aufs`, and what lies in `.wh..wh.plnk` of the root), or
    None for an ordinary path. Raises InvalidArchive for a whiteout of a folder by itself (`.wh.`, `.wh..`,
    `.wh...`). Source: moby go-archive, UnpackLayer.
    """
    if WHITEOUT not in path:
        return None
    folder, slash, name = path.rpartition(b"/")
    if not name.startswith(WHITEOUT):
        return ("ignore", b"") if path.startswith(_RESERVED) and not path.startswith(OPAQUE) else None
    if name == OPAQUE:
        return "opaque", folder
    if name.startswith(_RESERVED):
        return "ignore", b""
    if name[4:] in (b"", b".", b".."):
        raise InvalidArchive(f"archive entry {show(path)} is a whiteout of no name")
    return "remove", folder + slash + name[4:]
