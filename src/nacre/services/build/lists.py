"""Which files a content digest of the cache stood for, so that a later miss can name those that changed.

A list lies beside the tables of files that were hashed, and may go at any time like these: then a miss says
only that files changed.
"""

from __future__ import annotations

import marshal
import os

from ...stores.caches import keep_newest
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    FileRow = tuple[str, bytes]

_PREFIX = "list-"
_KEPT = 64
_MAX_BYTES = 32 << 20
_SHOWN = 40


class FileChange(Value):
    """One file of the inputs of a step: its SHA-256 before and now, as hexadecimal digits.

    "" where there was none or is none: also for what is no file.
    """

    path: str
    what: str
    old: str = ""
    new: str = ""


class FileLists:
    """The lists of one store, in `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def keep(self, content: str, pieces: list[bytes]) -> None:
        """Keep what `content` is the digest of, among the newest. A failure is none: it is a cache."""
        path = self._path(content)
        if os.path.exists(path):
            return
        data = marshal.dumps(pieces)
        if len(data) > _MAX_BYTES:
            return
        keep_newest(self._folder, os.path.basename(path), data, kind=_PREFIX, most=_KEPT)

    def _path(self, content: str) -> str:
        return f"{self._folder}/{_PREFIX}{content}"

    def changes(self, old: str, new: str) -> list[FileChange]:
        """What differs between two digests, by path; [] where a list is gone."""
        before, now = self._rows(old), self._rows(new)
        if before is None or now is None:
            return []
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        return [_change(name, before.get(name), now.get(name)) for name in names]

    def _rows(self, content: str) -> dict[str, FileRow] | None:
        try:
            with open(self._path(content), "rb") as file:
                pieces = marshal.loads(file.read())
            return _rows(pieces)
        except (OSError, ValueError, EOFError, TypeError, IndexError, AttributeError):
            return None


def _rows(pieces: Sequence[bytes]) -> dict[str, FileRow]:
    """(kind, mode, owner, … ; digest) by path, from the pieces that `content` makes its digest of."""
    found: dict[str, FileRow] = {}
    source, at = "", 0
    while at < len(pieces):
        piece = pieces[at]
        at += 1
        if piece.count(b"\0") == 1:  # the name of a source
            source = piece[:-1].split(b" ", 2)[2].decode("utf-8", "backslashreplace")
            continue
        path, rest = piece.split(b"\0", 1)
        digest = b""
        if rest.startswith(b"file "):
            digest, at = pieces[at], at + 2
        parts = [source, path.decode("utf-8", "backslashreplace")]
        found["/".join(part for part in parts if part) or "."] = rest.decode("utf-8", "replace"), digest
    return found


def _change(name: str, old: FileRow | None, new: FileRow | None) -> FileChange:
    hexes = [_hex(row[1]) if row else "" for row in (old, new)]
    if old is None or new is None:
        return FileChange(name, f"{name} is {'new' if old is None else 'gone'}", *hexes)
    before, now = old[0].split(" "), new[0].split(" ")
    if old[1] == new[1] and before[0] == now[0] and before[1] != now[1]:
        return FileChange(
            name, f"the mode of {name} changed from {int(before[1]):04o} to {int(now[1]):04o}", *hexes
        )
    return FileChange(name, f"{name} changed", *hexes)


def _hex(digest: bytes) -> str:
    return digest.hex() if len(digest) == 32 else ""


def in_short(changes: Sequence[FileChange]) -> str:
    """In few words: at most two files by name."""
    if not changes:
        return "the files changed"
    if len(changes) <= 2:
        return ", ".join(one.what for one in changes)
    return f"{changes[0].what}, and {len(changes) - 1} more files"


def in_detail(changes: Sequence[FileChange]) -> list[str]:
    """A line for each file, up to forty: old and new digest."""
    lines = [f"{one.path}: {_short(one.old)} → {_short(one.new)}" for one in changes[:_SHOWN]]
    return [*lines, *([f"… {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else [])]


def _short(digest: str) -> str:
    return f"sha256:{digest[:12]}" if digest else "none"
