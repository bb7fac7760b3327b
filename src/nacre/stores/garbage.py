"""What nothing names any more in a registry, and its removal: beside the requests, a little at a time.

    manifest   that no tag, no index and, with a subject that is there, no subject keeps
    blob       that no manifest of its repository needs
    removed    what somebody deleted, once its grace time is over: see `removed`

What is found is written down (`unused`) and removed when it has been so for a while. Nobody loses what they
push meanwhile: whatever is pushed or mounted again counts as new, and content that a client was told of in
the last hour stays (`Mentions`). A referrer goes with its subject, the manifests of an index with it, unless
something else names them.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .catalog.statements import KEEP_USED
from .removed import RemovedContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.rules import GarbageRules
    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

    Key = tuple[str, str]

WINDOW = 200
"""Rows that one step looks at: a few milliseconds."""
AT_ONCE = 50
"""Rows that one transaction removes at most."""
LONGEST = 0.002
"""Seconds after which it takes no other row: whoever pushes waits for it."""
_HOUR = 3600.0
_MOST_MENTIONS = 20_000
_ALL = 1 << 62
_KEPT = {
    "blobs": """(EXISTS (SELECT 1 FROM parts p WHERE p.repository = x.repository AND p.digest = x.digest)
        OR EXISTS (SELECT 1 FROM cached c WHERE c.repository = x.repository))""",
    "manifests": """(EXISTS (SELECT 1 FROM cached c WHERE c.repository = x.repository)
        OR EXISTS (SELECT 1 FROM tags t WHERE t.repository = x.repository AND t.digest = x.digest)
        OR EXISTS (SELECT 1 FROM parts p WHERE p.repository = x.repository AND p.digest = x.digest)
        OR EXISTS (SELECT 1 FROM manifests s WHERE x.subject != '' AND s.repository = x.repository
                   AND s.digest = x.subject))""",
}
"""Whether something names a row `x` of the table, or it is a copy, which goes by rules of its own."""
_RESTORABLE = """
    EXISTS (SELECT 1 FROM removed d JOIN repositories n ON n.name = d.repository
            WHERE d.digest = x.digest AND d.kind = 'tag' AND n.id = x.repository)"""
"""Whether a tag that was deleted or moved may be set to it again."""
_UNUSED = """
    SELECT x.repository, x.digest, x.size FROM {table} x WHERE (x.repository, x.digest) > (?, ?)
    AND (x.repository, x.digest) <= (?, ?) AND NOT {kept}"""
_USED = """
    SELECT u.kind, x.repository, x.digest FROM unused u JOIN {table} x USING (repository, digest)
    WHERE u.kind = '{table}' AND (u.repository, u.digest) > (?, ?) AND (u.repository, u.digest) <= (?, ?)
    AND {kept}"""
_LAST_OF_WINDOW = """
    SELECT repository, digest FROM (
        SELECT repository, digest FROM {table} WHERE (repository, digest) > (?, ?)
        ORDER BY repository, digest LIMIT ?) x
    ORDER BY repository DESC, digest DESC LIMIT 1"""
_DUE = """
    SELECT r.name, u.repository, u.digest FROM unused u JOIN repositories r ON r.id = u.repository
    WHERE u.kind = ? AND u.since <= ? ORDER BY u.since LIMIT ?"""


class Garbage(NamedTuple):
    """How many, and of how many bytes; `bytes` of what was removed is what the disk got back."""

    manifests: int = 0
    blobs: int = 0
    bytes: int = 0

    def plus(self, table: str, bytes: int) -> Garbage:
        """With one more of that table."""
        return self._replace(**{table: getattr(self, table) + 1, "bytes": self.bytes + bytes})


class Mentions:
    """What clients were told of, and what is being removed: nothing is both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: OrderedDict[Key, float] = OrderedDict()
        self._condemned: set[Key] = set()

    def tell(self, name: str, digest: str) -> bool:
        """May a client be told that it is there? Then it stays for an hour."""
        with self._lock:
            self._told[name, digest] = time.monotonic()
            self._told.move_to_end((name, digest))
            if len(self._told) > _MOST_MENTIONS:
                self._told.popitem(last=False)
            return (name, digest) not in self._condemned

    @contextmanager
    def condemned(self, keys: list[Key]) -> Iterator[set[Key]]:
        """Those that may go now: nobody was told of them, and while this lasts nobody will be."""
        since = time.monotonic() - _HOUR
        with self._lock:
            found = {key for key in keys if self._told.get(key, -_HOUR) <= since}
            self._condemned |= found
        try:
            yield found
        finally:
            with self._lock:
                self._condemned -= found


class GarbageCollector:
    """Of the registry that `catalog` describes, by the rules of its operator."""

    def __init__(
        self,
        catalog: Catalog,
        rules: GarbageRules,
        mentions: Mentions,
    ) -> None:
        self._catalog, self._rules, self._mentions = catalog, rules, mentions
        self._removed = RemovedContent(catalog)
        # other processes tell clients of what they find, and not us: what was noted later stays for an hour
        least = _HOUR if catalog.is_remote else 0.0
        self._grace, self._untagged = max(rules.grace, least), rules.untagged and max(rules.untagged, least)

    def look(self) -> tuple[Garbage, Garbage]:
        """What nothing names, and what of it would go now. Changes nothing."""
        found = due = Garbage()
        for kind, size, is_over in self._removed.look(self._rules.grace):
            found = found.plus(f"{kind}s", size)
            due = due.plus(f"{kind}s", size) if is_over else due
        for table, age in self._ages():
            ripe = {tuple(row[1:]) for row in self._due(table, age, _ALL)}
            for _, rows in self._windows(table):
                for repository, digest, size in rows:
                    found = found.plus(table, size)
                    due = due.plus(table, size) if (repository, digest) in ripe else due
        return found, due

    def steps(self) -> Iterator[Garbage]:
        """Look through everything once and remove what is due; what is gone so far after each short step.

        Raises StoreError.
        """
        gone = Garbage()
        for gone in self.expire():
            yield gone
        # what earlier rounds found: one that is broken off again and again would come to nothing
        yield from (gone := each for each in self._due_steps(self._ages(), gone))
        for table, age in self._ages():
            for used, rows in self._windows(table):
                self._note(table, used, rows)
                yield gone
            yield from (gone := each for each in self._due_steps([(table, age)], gone))

    def _due_steps(self, ages: list[tuple[str, float]], gone: Garbage) -> Iterator[Garbage]:
        """Remove what is due, of each table in turn."""
        while ages:
            table, age = ages.pop(0)
            if due := self._due(table, age, AT_ONCE):
                gone = self._remove(table, due, gone)
                yield gone
                ages.append((table, age))

    def is_due(self) -> bool:
        """Is the grace time over of something that was deleted?"""
        return self._removed.is_due(self._rules.grace)

    def expire(self) -> Iterator[Garbage]:
        """Remove for good what was deleted so long ago; as `steps`. Raises StoreError."""
        gone = Garbage()
        for some in self._removed.expire(self._rules.grace):
            for kind, size in some:
                gone = gone.plus(f"{kind}s", size)
            yield gone

    def _ages(self) -> list[tuple[str, float]]:
        manifests = [("manifests", self._untagged)] if self._untagged else []
        return [*manifests, ("blobs", self._grace)]

    def _windows(self, table: str) -> Iterator[tuple[list[tuple[str, int, str]], list[tuple[int, str, int]]]]:
        """Of the next rows those that are used again, and those that nothing names."""
        used, unused = (sql.format(table=table, kept=_KEPT[table]) for sql in (_USED, _UNUSED))
        after: tuple[object, ...] = (0, "")
        while last := self._catalog.listed(_LAST_OF_WINDOW.format(table=table), *after, WINDOW):
            span = (*after, *last[0])
            yield self._catalog.listed(used, *span), self._catalog.listed(unused, *span)
            after = last[0]

    def _due(self, table: str, age: float, limit: int) -> list[tuple[str, int, str]]:
        return self._catalog.listed(_DUE, table, self._catalog.now() - age, limit)

    def _note(self, table: str, used: list[tuple[str, int, str]], rows: list[tuple[int, str, int]]) -> None:
        if rows or used:  # what a power cut takes back is found again
            self._catalog.change(lambda db: _write_down(db, table, used, rows), durable=False)

    def _remove(self, table: str, due: list[tuple[str, int, str]], gone: Garbage) -> Garbage:
        """As many as fit into one short transaction, in which each is looked at again."""

        def remove(db: CatalogTransaction) -> Garbage:
            db.lock(*{f"repository {name}" for name, _, _ in due})
            removed, until = gone, time.monotonic() + LONGEST
            for name, repository, digest in due:
                removed = self._judge(db, table, repository, digest, (name, digest) in allowed, removed)
                if time.monotonic() > until:
                    break
            return removed

        with self._mentions.condemned([(name, digest) for name, _, digest in due]) as allowed:
            return self._catalog.change(remove)

    def _judge(
        self, db: CatalogTransaction, table: str, repository: int, digest: str, may_go: bool, gone: Garbage
    ) -> Garbage:
        """Remove it, or let it begin anew: it is used again, or somebody was told of it."""
        place = (repository, digest)
        sql = f"SELECT x.size FROM {table} x WHERE x.repository = ? AND x.digest = ? AND NOT {_KEPT[table]}"
        sql += f" AND x.added <= ? AND NOT {_RESTORABLE}"
        row = db.execute(sql, (*place, db.now() - self._grace)).fetchone()
        noted = db.execute(KEEP_USED, (*place, table)).rowcount
        if row is None or not may_go or not noted:
            return gone
        return gone.plus(table, self._catalog.forget(db, table, repository, digest))


def _write_down(
    db: CatalogTransaction, table: str, used: list[tuple[str, int, str]], rows: list[tuple[int, str, int]]
) -> None:
    now = db.now()
    unused = [(repository, digest, table, now) for repository, digest, _ in rows]
    db.executemany("DELETE FROM unused WHERE kind = ? AND repository = ? AND digest = ?", used)
    db.executemany("INSERT INTO unused VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", unused)
