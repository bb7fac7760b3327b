"""The names by which a layer takes away what lies beneath it. Source: OCI image-spec, layer.md, "Whiteouts".

    dir/.wh.name        `dir/name` of lower layers is gone
    dir/.wh..wh..opq    all that lower layers have in `dir` is gone

They speak of lower layers only, so it does not matter where in its layer a whiteout stands.
"""

from __future__ import annotations

from ...words.errors import InvalidArchive

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."


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
        from ..tar.entry import show

        raise InvalidArchive(f"archive entry {show(path)} is a whiteout without a name")
    return "remove", folder + slash + name[4:]


def is_whiteout(path: bytes) -> bool:
    """Whether the last part of a path is one of these names."""
    return path.rpartition(b"/")[2].startswith(WHITEOUT)


def whiteout_of(path: bytes) -> bytes:
    """The path of the entry that removes `path` of lower layers."""
    folder, slash, name = path.rpartition(b"/")
    return folder + slash + WHITEOUT + name
