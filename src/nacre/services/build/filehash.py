"""Digests of files that were hashed before and have not changed since.

A file counts as unchanged while inode, size, mtime and ctime are: no program can set a ctime. A ctime
younger than the clock's tick at the time of hashing proves nothing (a second write may bear the same
time), so such files are not remembered, as git does with its index. The table is a cache: whatever is
wrong with it, files are hashed anew.
"""

from __future__ import annotations

import marshal
import os
import time

from ...ground.files import private_dir, write_atomic
from ...words.digest import sha256
from ...words.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from .items import CopyItem

_VERSION = 1
_TICK_NS = 20_000_000
_CHUNK = 1 << 20


class FileHashes:
    """The table of one context folder, in `folder`; `save` writes it when it has grown.

    Without a `folder` the table is that of one build.
    """

    def __init__(self, folder: str, context: str) -> None:
        self._folder = folder
        name = sha256(os.fsencode(os.path.realpath(context))).hexdigest()[:32]
        self._path = os.path.join(folder, name) if folder else ""
        self._known: dict[bytes, tuple[int, ...]] | None = None
        self._selections: dict[bytes, bytes] = {}
        self._grown = False
        self._news: list[tuple[bytes, tuple[int, ...]]] = []

    def digest(self, item: CopyItem, reader: Reader | None) -> bytes:
        """The SHA-256 of a file; `reader` gives its content (None: only if it is known, else b"")."""
        known = self._table().get(item.path)
        if known is not None and known[1:] == item.stamp:
            return known[0].to_bytes(32, "big")
        if reader is None:
            return b""
        started = time.time_ns()
        found = content_digest(reader)
        if _is_stable(item, started):
            row = (int.from_bytes(found, "big"), *item.stamp)
            self._table()[item.path] = row
            self._news.append((item.path, row))
            self._grown = True
        return found

    def selection(self, fingerprint: bytes) -> bytes:
        """The digest kept for a set of files whose stamps have this fingerprint, or b""."""
        self._table()
        return self._selections.get(fingerprint, b"")

    def keep_selection(self, fingerprint: bytes, digest: bytes) -> None:
        """Keep it, among the newest hundred."""
        self._table()
        self._selections[fingerprint] = digest
        while len(self._selections) > 100:
            del self._selections[next(iter(self._selections))]
        self._grown = True

    def news(self) -> tuple[list[tuple[bytes, tuple[int, ...]]], dict[bytes, bytes]]:
        """What was hashed since the last call, and all selections: for `learn`, in another process."""
        news, self._news = self._news, []
        return news, self._selections

    def learn(self, files: list[tuple[bytes, tuple[int, ...]]], selections: dict[bytes, bytes]) -> None:
        """Keep what another process has hashed."""
        if files or not selections.keys() <= self._selections.keys():
            self._table().update(files)
            self._selections |= selections
            self._grown = True

    def _table(self) -> dict[bytes, tuple[int, ...]]:
        if self._known is None:
            self._known, self._selections = self._load()
        return self._known

    def _load(self) -> tuple[dict[bytes, tuple[int, ...]], dict[bytes, bytes]]:
        try:
            with open(self._path, "rb") as file:
                version, known, selections = marshal.loads(file.read())
        except (OSError, ValueError, EOFError, TypeError):
            return {}, {}
        return (known, selections) if version == _VERSION else ({}, {})

    def save(self) -> None:
        """Write the table if there is anything new. A failure is no failure: it is a cache."""
        if not self._grown or not self._path:
            return
        try:
            private_dir(self._folder)
            write_atomic(self._path, marshal.dumps((_VERSION, self._known, self._selections)))
            self._grown = False
        except StoreError:
            return


def are_stable(items: list[CopyItem]) -> bool:
    """Whether none of the files was changed so lately that its stamp proves nothing."""
    now = time.time_ns()
    return all(_is_stable(item, now) for item in items if item.kind == "file")


def _is_stable(item: CopyItem, now: int) -> bool:
    return bool(item.stamp) and item.stamp[2] < now - _TICK_NS


def content_digest(reader: Reader) -> bytes:
    """The SHA-256 of everything a reader gives."""
    import hashlib

    digest = hashlib.sha256()
    while data := reader.read(_CHUNK):
        digest.update(data)
    return digest.digest()
