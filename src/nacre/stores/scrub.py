"""Reads all content again and again, slowly, and finds what has rotted.

Content that has other bytes than its digest says, twice, is set aside: from then on it counts as absent, so
nobody gets wrong bytes, and whoever pushes it again mends it. So is an object that is not in the bucket any
more; a file that is gone counts as absent anyhow. Where the reading has come is kept, so that it goes on
there after a restart, or in another replica.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from ..words.digest import Digest, Verifier
from ..words.errors import DigestMismatch, NotFound, StoreError, TooLarge, Unavailable
from .catalog.contents import TABLES, contents
from .catalog.statements import HELD
from .marks import Marks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.rules import ScrubRules
    from .catalog import Catalog
    from .storage import Located, Storage

PIECE = 1 << 20
"""Bytes that one step reads, about."""
_REQUEST = 64 << 10
"""Bytes as which a request to a bucket counts, so that small objects do not make thousands a second."""
_MARK = "scrub"
_AT_ONCE = 100
_ROUND = 5000
"""Steps of a round at most; then where it has come is told."""
_USERS = """
    SELECT r.name, coalesce((
        SELECT min(t.tag) FROM tags t WHERE t.repository = r.id AND t.digest = x.manifest), '')
    FROM (SELECT repository, manifest FROM parts WHERE digest = ?1
          UNION SELECT repository, digest FROM manifests WHERE digest = ?1) x
    JOIN repositories r ON r.id = x.repository ORDER BY r.name LIMIT 5"""


class DamagedContent(NamedTuple):
    """Content that was set aside, and some images that need it; or only why it cannot be read."""

    digest: str
    users: tuple[str, ...]
    unreadable: str = ""


class ScrubPosition(NamedTuple):
    """Content up to a digest of a table was read; `ended`: when the last reading of all was over."""

    ended: float
    table: int = 0
    digest: str = ""


class Scrubber:
    """Of the content of a registry, by the operator's rules."""

    def __init__(self, catalog: Catalog, storage: Storage, rules: ScrubRules) -> None:
        self._catalog, self._storage, self._rules = catalog, storage, rules
        self._marks = Marks(catalog)

    def position(self) -> ScrubPosition:
        """A new registry is read after the first interval."""
        text = self._marks.get(_MARK)
        if not text:
            self._keep(ScrubPosition(self._catalog.now()))
            return self.position()
        return ScrubPosition(*json.loads(text))

    def _keep(self, position: ScrubPosition) -> None:
        self._marks.set(_MARK, json.dumps(position))

    def is_due(self) -> bool:
        """Is it in the middle, or is it time to begin anew?"""
        found = self.position()
        under_way = bool(found.digest or found.table)
        return under_way or self._catalog.now() - found.ended >= self._rules.interval

    def steps(self) -> Iterator[list[DamagedContent]]:
        """Read on, about PIECE bytes at each step; what is damaged. Ends with the first that is."""
        damaged: list[DamagedContent] = []
        position, read = self.position(), 0
        for count, (at, size) in enumerate(self._content(position)):
            for piece in self._check(at.digest, size, damaged):
                if (read := read + piece) >= PIECE:
                    yield damaged
                    read = 0
            if damaged or count % _AT_ONCE == 0:
                self._keep(at)
            if damaged or count > _ROUND:
                yield damaged
                return
        self._keep(ScrubPosition(self._catalog.now()))
        yield damaged

    def _content(self, position: ScrubPosition) -> Iterator[tuple[ScrubPosition, int]]:
        for number, table in list(enumerate(TABLES))[position.table :]:
            last = position.digest if number == position.table else ""
            for digest, size in chain.from_iterable(contents(self._catalog, table, last)):
                yield ScrubPosition(position.ended, number, digest), size

    def _check(self, digest: str, size: int, damaged: list[DamagedContent]) -> Iterator[int]:
        """Bytes as they are read; twice before it counts as damaged."""
        found = None
        for _ in range(2):
            found = self._storage.locate(Digest(digest), size)
            if found is None:
                return
            try:
                yield from self._read(found)
            except (DigestMismatch, TooLarge):
                continue
            except NotFound:
                if not self._storage.is_shared or not self._is_held(digest):
                    return
                break
            except Unavailable as error:
                self._storage.check()  # is it the bucket, or this object alone?
                damaged.append(DamagedContent(digest, self._users(digest), error.message))
                return
            return
        self._storage.reject(Digest(digest), found.key if found else "")
        damaged.append(DamagedContent(digest, self._users(digest)))

    def _is_held(self, digest: str) -> bool:
        return bool(self._catalog.listed(HELD, digest))

    def _users(self, digest: str) -> tuple[str, ...]:
        return tuple(f"{name}:{tag}".rstrip(":") for name, tag in self._catalog.listed(_USERS, digest))

    def _read(self, found: Located) -> Iterator[int]:
        if self._storage.is_shared:
            yield _REQUEST
        _forget(found.path)
        digest, size = found.digest, found.size
        verifier, reader = Verifier(digest, size), self._storage.open(found, 0, size)
        try:
            while data := reader.read():
                verifier.update(data)
                yield len(data)
        except StoreError as error:
            raise DigestMismatch(digest, "none", what=error.message) from error
        finally:
            reader.close()
        verifier.verify()


def _forget(path: str) -> None:
    """Let the system read a file from the disk, not from its memory."""
    if path:
        with suppress(OSError), open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
