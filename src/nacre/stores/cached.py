"""What a registry keeps of others: which repositories are copies, what was seen when, and what was used when.

    cached   repository → the upstream's name: what nobody pushed, and `garbage` leaves alone
    seen     when content was first offered under a name here
    used     when content of a copy was last asked for

Copies lie in the catalog beside what was pushed. What of them is used least recently goes when they are too
large together, or when nobody has asked for it for long; it can be fetched again. Nothing that was pushed is
in such a repository, so nothing pushed ever goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .catalog.statements import COPY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..words.digest import Digest
    from ..words.upstreams import CacheRules
    from .catalog import Catalog
    from .catalog.model import CatalogTransaction
    from .garbage import Mentions

AT_ONCE = 50
"""Rows that one transaction removes."""
_IS_COPY = """
    SELECT 1 FROM cached c JOIN repositories r ON r.id = c.repository WHERE r.name = ?"""
_HOLDERS = """
    SELECT r.name FROM blobs b JOIN cached c ON c.repository = b.repository
    JOIN repositories r ON r.id = b.repository WHERE b.digest = ? AND c.upstream = ? LIMIT ?"""
_OURS = """
    SELECT 1 FROM repositories r WHERE (r.name = ?1 OR (r.name > ?2 AND r.name < ?3))
    AND NOT EXISTS (SELECT 1 FROM cached c WHERE c.repository = r.id) LIMIT 1"""
_TOUCH = """
    INSERT INTO used (repository, digest, used) SELECT id, ?1, ?2 FROM repositories WHERE name = ?3
    ON CONFLICT (repository, digest) DO UPDATE SET used = excluded.used"""
_SIZE = """
    SELECT coalesce(sum(size), 0) FROM (
        SELECT DISTINCT b.digest, b.size FROM blobs b JOIN cached c ON c.repository = b.repository
        UNION SELECT DISTINCT m.digest, m.size FROM manifests m
        JOIN cached c ON c.repository = m.repository) AS x"""
_OLDEST = """
    SELECT r.name, x.kind, x.repository, x.digest, x.size, coalesce(u.used, x.added) AS last FROM (
        SELECT 'blobs' AS kind, b.repository, b.digest, b.size, b.added FROM blobs b
        JOIN cached c ON c.repository = b.repository
        UNION ALL SELECT 'manifests', m.repository, m.digest, m.size, m.added FROM manifests m
        JOIN cached c ON c.repository = m.repository) x
    JOIN repositories r ON r.id = x.repository
    LEFT JOIN used u ON u.repository = x.repository AND u.digest = x.digest
    WHERE coalesce(u.used, x.added) < ? ORDER BY last, x.digest LIMIT ?"""


class Copy(NamedTuple):
    """Content of a copy, in the table `blobs` or `manifests`."""

    name: str
    table: str
    repository: int
    digest: str
    size: int


class Evicted(NamedTuple):
    """How much of the copies has gone, in bytes of the disk."""

    copies: int = 0
    bytes: int = 0

    def and_also(self, more: Evicted) -> Evicted:
        """Both counts, and the bytes, together."""
        return Evicted(self.copies + more.copies, self.bytes + more.bytes)


class CachedRepositories:
    """The copies in the registry that `catalog` describes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def mark(self, name: str, upstream: str) -> bool:
        """A repository is a copy from here on; False when something was pushed to it before."""
        return self._catalog.change(lambda db: _mark(db, self._catalog.repository(db, name), upstream))

    def holders(self, digest: Digest, upstream: str, limit: int = 100) -> list[str]:
        """Copies of repositories of one upstream that have a blob."""
        return [str(row[0]) for row in self._catalog.listed(_HOLDERS, digest, upstream, limit)]

    def is_copy(self, name: str) -> bool:
        """Does a repository belong to an upstream?"""
        return bool(self._catalog.listed(_IS_COPY, name))

    def is_ours(self, first: str) -> bool:
        """Was anything pushed to `first`, or to a repository below it?"""
        return bool(self._catalog.listed(_OURS, first, f"{first}/", f"{first}0"))

    def first_seen(self, name: str, digest: Digest) -> float:
        """When content was first offered in a repository, in seconds since 1970; now if it was not yet."""

        def see(db: CatalogTransaction) -> float:
            sql = "INSERT INTO seen (name, digest, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            db.execute(sql, (name, digest, db.now()))
            found = db.execute("SELECT since FROM seen WHERE name = ? AND digest = ?", (name, digest))
            return float(found.fetchone()[0])

        return self._catalog.change(see)

    def touch(self, used: Iterable[tuple[str, str]], when: float) -> None:
        """Content, by repository and digest, was asked for then."""
        rows = [(digest, when, name) for name, digest in used]
        if rows:
            self._catalog.change(lambda db: db.executemany(_TOUCH, rows))

    def size(self) -> int:
        """Bytes of all copies, each content once."""
        return int(self._catalog.listed(_SIZE)[0][0])

    def evict(self, rules: CacheRules, mentions: Mentions) -> Iterator[Evicted]:
        """Remove what is too old or too much; what is gone so far after each short step.

        What a client was told of within the last hour stays, however much it is. Raises StoreError.
        """
        gone = Evicted()
        while rules.unused and (rows := self._oldest(self._catalog.now() - rules.unused)):
            more = self._remove(rows, mentions)
            gone = gone.and_also(more)
            yield gone
            if not more.copies:
                break
        yield from self._shrink(rules.size, mentions, gone)

    def _shrink(self, most: int, mentions: Mentions, gone: Evicted) -> Iterator[Evicted]:
        """To nine tenths of `most`, so that it need not be done again at once."""
        size = self.size() if most else 0
        if size <= most:
            return
        while size > most * 9 // 10 and (rows := self._oldest(self._catalog.now())):
            more = self._remove(_until(rows, size - most * 9 // 10), mentions)
            size, gone = self.size(), gone.and_also(more)
            yield gone
            if not more.copies:
                break

    def _oldest(self, before: float) -> list[Copy]:
        return [Copy(*row[:5]) for row in self._catalog.listed(_OLDEST, before, AT_ONCE)]

    def _remove(self, found: list[Copy], mentions: Mentions) -> Evicted:
        """In one transaction, in which each is looked at again."""

        def remove(db: CatalogTransaction) -> Evicted:
            db.lock(*{f"repository {copy.name}" for copy in found})
            gone = Evicted()
            for copy in found:
                if (copy.name, copy.digest) in allowed:
                    gone = gone.and_also(self._forget(db, copy))
            return gone

        with mentions.condemned([(copy.name, copy.digest) for copy in found]) as allowed:
            return self._catalog.change(remove)

    def _forget(self, db: CatalogTransaction, copy: Copy) -> Evicted:
        place, where = (copy.repository, copy.digest), "WHERE repository = ? AND digest = ?"
        db.execute(f"DELETE FROM used {where}", place)
        if not db.execute(f"SELECT 1 FROM {copy.table} {where}", place).fetchone():
            return Evicted()
        return Evicted(1, self._catalog.forget(db, copy.table, copy.repository, copy.digest))


def _mark(db: CatalogTransaction, number: int, upstream: str) -> bool:
    if db.execute(COPY, (number,)).fetchone():
        return True
    for table in ("blobs", "manifests"):
        if db.execute(f"SELECT 1 FROM {table} WHERE repository = ? LIMIT 1", (number,)).fetchone():
            return False
    db.execute("INSERT INTO cached (repository, upstream) VALUES (?, ?)", (number, upstream))
    return True


def _until(found: list[Copy], wanted: int) -> list[Copy]:
    """The first that have so many bytes together."""
    total = 0
    for count, copy in enumerate(found, 1):
        total += copy.size
        if total >= wanted:
            return found[:count]
    return found
