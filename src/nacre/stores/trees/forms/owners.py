"""Owners that the file system could not keep, in a file beside the tree.

Where a user namespace has one id only, every file belongs to the user. What the layer says is kept in
`owners`: one JSON array a line, [path, uid, gid, kind, major, minor, [[name, value], …]], bytes as
latin-1. Whatever is read out of the store, and what is pushed, carries these owners again.
"""

from __future__ import annotations

from ....ground.files import write_atomic
from ....words.errors import StoreError
from ....words.quickjson import dumps, loads
from ....words.value import Value
from ..files import OWNERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ....grammars.tar.entry import Entry


class RecordedOwner(Value):
    """What could not be made: owner, device numbers, extended attributes."""

    uid: int
    gid: int
    kind: str = ""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class OwnersRecorder:
    """What of a layer that is extracted could not be made, by path: `ground.extract.Notes`."""

    def __init__(self, known: dict[bytes, RecordedOwner]) -> None:
        """`known` is what lower layers have left, and is changed."""
        self.known = known

    def lost(self, entry: Entry) -> None:
        """Keep its owner, device numbers and attributes."""
        kind = entry.kind if entry.kind in ("char", "block") else ""
        self.known[entry.path] = RecordedOwner(
            entry.uid, entry.gid, kind, entry.major, entry.minor, entry.xattrs
        )

    def made(self, path: bytes) -> None:
        """Nothing is to be kept."""
        self.known.pop(path, None)

    def linked(self, path: bytes, first: bytes) -> None:
        """What is kept of a file is kept of all its names."""
        self.made(path)
        if first in self.known:
            self.known[path] = self.known[first]

    def removed(self, path: bytes, folder: bool) -> None:
        """Remove the record of `path` and, for a directory, of its content."""
        self.made(path)
        inside = path + b"/"
        for other in [other for other in self.known if other.startswith(inside)] if folder else ():
            del self.known[other]


def load(folder: str) -> dict[bytes, RecordedOwner]:
    """The owners kept in a tree or an active; {} if none. Raises StoreError when the file is damaged."""
    try:
        with open(f"{folder}/{OWNERS}", "rb") as file:
            return dict(_decode(loads(line)) for line in file)
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder}/{OWNERS} is damaged: {error}") from None


def save(folder: str, owners: Mapping[bytes, RecordedOwner]) -> None:
    """Keep them; nothing is written for none."""
    if owners:
        lines = [_encode(path, owner) for path, owner in sorted(owners.items())]
        write_atomic(f"{folder}/{OWNERS}", b"".join(lines))


def _encode(path: bytes, owner: RecordedOwner) -> bytes:
    xattrs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in owner.xattrs]
    fields = [path.decode("latin-1"), owner.uid, owner.gid, owner.kind, owner.major, owner.minor, xattrs]
    return dumps(fields).encode() + b"\n"


def _decode(fields: list[Any]) -> tuple[bytes, RecordedOwner]:
    path, uid, gid, kind, major, minor, pairs = fields
    xattrs = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)
    return path.encode("latin-1"), RecordedOwner(int(uid), int(gid), kind, int(major), int(minor), xattrs)
