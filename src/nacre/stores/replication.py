"""What is to be brought to or from another registry, and what was: one row for each tag of a rule.

    number > 0   waiting, in this order; a repository goes on with its next row when the one before is done
    number = 0   done (`digest` is what the other side got last), or given up (`error`)

A row says that a tag is to be looked at, and not what is to become of it: that is decided by what the tag
means when its turn comes. So a tag that moved ten times moves once, and a row that is done twice does no
harm. `number` tells whether it came again meanwhile. A process that stood still for so long that another one
took its place may end what it was at: whoever comes late has it looked at once more.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from ..words.errors import UsageError
from ..words.replication import ReplicationRule
from .activity import Action, Author, note
from .cached import CachedRepositories
from .marks import Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..words.digest import Digest
    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

MOST_RULES = 50
_AT_ONCE = 500
_FLAPPING, _CALM = 60.0, 300.0
"""Seconds within which a tag that moves again is flapping; the longest that it then waits."""
_QUIET = 2
_COLUMNS = "repository, reference, number, tries, again, since, error, digest, at, flaps"
_OF = "rule = ? AND repository = ?"
_ONE = f"{_OF} AND reference = ?"
_ADD = """
    INSERT INTO replication (
        rule, repository, reference, number, tries, again, since, error, digest, at, flaps)
    VALUES (?, ?, ?, ?, 0, ?, ?, '', '', 0.0, 0)
    ON CONFLICT (rule, repository, reference) DO UPDATE SET number = excluded.number, again = excluded.again,
    since = CASE WHEN replication.number > 0 THEN replication.since ELSE excluded.since END,
    tries = 0, error = ''"""
_HOLDERS = """
    SELECT r.name FROM blobs b JOIN repositories r ON r.id = b.repository
    WHERE b.digest = ? AND r.name != ? AND EXISTS (
        SELECT 1 FROM replication p WHERE p.rule = ? AND p.repository = r.name AND p.digest != '')
    ORDER BY r.name LIMIT ?"""
_SUBJECT = """
    SELECT m.subject FROM manifests m JOIN repositories r ON r.id = m.repository
    WHERE r.name = ? AND m.digest = ?"""


class ReplicationRow(NamedTuple):
    """A tag (or a digest) of a repository on the side from which it comes. Times in seconds since 1970.

    It failed `tries` times and is not tried before `again`; it waits `since`. The other side got `digest` at
    the time `at`; `flaps` times in a row it came again soon after that.
    """

    repository: str
    reference: str
    number: int
    tries: int
    again: float
    since: float
    error: str
    digest: str
    at: float
    flaps: int


class ReplicationCounts(NamedTuple):
    """How many rows of a rule wait, were given up, are done; since when the oldest waits, 0.0 for none."""

    waiting: int = 0
    failed: int = 0
    done: int = 0
    since: float = 0.0


class ReplicationProgress(NamedTuple):
    """How far a rule is: entries of activity up to `position` are rows by now; `what` it was for then, and
    when all was compared. Nothing is tried before `again`, as the other side did not answer `tries` times.
    """

    position: int = 0
    what: str = ""
    compared: float = 0.0
    tries: int = 0
    again: float = 0.0
    error: str = ""


class AddedRules:
    """Rules that were added by command: whoever serves the registry follows them."""

    _MARK = "replication rules"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._marks = catalog, Marks(catalog)

    @property
    def text(self) -> str:
        """Another one whenever they changed."""
        return self._marks.get(self._MARK)

    def all(self) -> list[ReplicationRule]:
        """In the order of their names."""
        return [_rule(fields) for fields in json.loads(self.text or "[]")]

    def add(self, rule: ReplicationRule) -> None:
        """In the place of one of that name. Raises UsageError when there are too many."""
        others = [each for each in self.all() if each.name != rule.name]
        if len(others) >= MOST_RULES:
            raise UsageError(f"there are {MOST_RULES} rules of replication already")
        self._keep([*others, rule])

    def remove(self, name: str) -> bool:
        """With all that is known of it; False if there is none."""
        found = self.all()
        self._keep([each for each in found if each.name != name])
        ReplicationQueue(self._catalog, name).forget()
        return any(each.name == name for each in found)

    def _keep(self, rules: list[ReplicationRule]) -> None:
        ordered = sorted(rules, key=lambda rule: rule.name)
        said = [{name: getattr(rule, name) for name in ReplicationRule._fields} for rule in ordered]
        self._marks.set(self._MARK, json.dumps(said))


def _rule(said: dict[str, Any]) -> ReplicationRule:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
    }
    return ReplicationRule(**fields)


class ReplicationQueue:
    """The rows of one rule. Everything raises StoreError. `chance` gives a number from 0 to 1."""

    def __init__(self, catalog: Catalog, rule: str, chance: Callable[[], float] = random.random) -> None:
        self._catalog, self._rule, self._chance = catalog, rule, chance
        self._marks = Marks(catalog)
        self._mark = f"replication {rule}"

    # ── how far it is ──

    @property
    def progress(self) -> ReplicationProgress:
        """As it was kept last."""
        text = self._marks.get(self._mark)
        return ReplicationProgress(*json.loads(text)) if text else ReplicationProgress()

    def keep(self, progress: ReplicationProgress) -> None:
        """Durable when this returns."""
        self._marks.set(self._mark, json.dumps(progress))

    @property
    def is_wanted(self) -> bool:
        """Did somebody ask for a comparison of everything?"""
        return bool(self._marks.get(f"{self._mark} wanted"))

    def want(self, *, wanted: bool = True) -> None:
        """Ask whoever serves the registry to compare everything; that takes it back."""
        self._marks.set(f"{self._mark} wanted", "1" if wanted else "")

    # ── what is to be done ──

    def add(self, keys: Iterable[tuple[str, str]]) -> int:
        """Repositories and references are to be looked at, in this order; how many."""
        found = list(dict.fromkeys(keys))
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            self._catalog.change(lambda db, some=some: self._add(db, some))  # type: ignore[misc]
        return len(found)

    def _add(self, db: CatalogTransaction, keys: Sequence[tuple[str, str]]) -> None:
        self._lock(db)
        now, sql = db.now(), "SELECT coalesce(max(number), 0) FROM replication WHERE rule = ?"
        (last,) = db.execute(sql, (self._rule,)).fetchone()
        for number, (repository, reference) in enumerate(keys, last + 1):
            again = max(self._held(db, repository), self._damped(db, repository, reference, now))
            db.execute(_ADD, (self._rule, repository, reference, number, again, now))

    def _lock(self, db: CatalogTransaction) -> None:
        db.lock(f"replication {self._rule}")

    def _held(self, db: CatalogTransaction, repository: str) -> float:
        """Until when what waits in a repository is held back: what comes later waits as well."""
        sql = f"SELECT coalesce(max(again), 0.0) FROM replication WHERE {_OF} AND number > 0"
        return float(db.execute(sql, (self._rule, repository)).fetchone()[0])

    def _damped(self, db: CatalogTransaction, repository: str, reference: str, now: float) -> float:
        """Two registries that answer each other's moves of a tag would do so for ever: one of them waits."""
        row = db.execute(
            f"SELECT at, flaps, number FROM replication WHERE {_ONE}", (self._rule, repository, reference)
        ).fetchone()
        if row is None or row[2]:
            return 0.0
        flaps = row[1] + 1 if 0 <= now - row[0] < _FLAPPING else 0
        sql = f"UPDATE replication SET flaps = ? WHERE {_ONE}"
        db.execute(sql, (flaps, self._rule, repository, reference))
        return now + self._chance() * min(2.0**flaps, _CALM) if flaps > _QUIET else 0.0

    def due(self, busy: Iterable[str], limit: int) -> list[ReplicationRow]:
        """What can begin now, the first of each repository but the `busy` ones."""
        others = list(busy)
        marks = ", ".join("?" * len(others)) or "''"
        sql = f"""SELECT {_COLUMNS} FROM replication WHERE rule = ? AND number > 0 AND again <= ?
                  AND repository NOT IN ({marks}) ORDER BY number LIMIT {_AT_ONCE}"""
        found: dict[str, ReplicationRow] = {}
        for row in map(ReplicationRow._make, self._rows(sql, self._rule, self._catalog.now(), *others)):
            found.setdefault(row.repository, row)
        return list(found.values())[:limit]

    @property
    def is_due(self) -> bool:
        """Is there something that can begin now?"""
        sql = "SELECT 1 FROM replication WHERE rule = ? AND number > 0 AND again <= ? LIMIT 1"
        return bool(self._rows(sql, self._rule, self._catalog.now()))

    # ── what became of it ──

    def done(self, row: ReplicationRow, digest: str, action: Action | None = None) -> None:
        """The other side has `digest`, "" for nothing: then the row goes. `action` is noted."""

        def change(db: CatalogTransaction) -> None:
            self._lock(db)
            place, now = (self._rule, row.repository, row.reference), db.now()
            if digest:
                db.execute(f"UPDATE replication SET digest = ?, at = ? WHERE {_ONE}", (digest, now, *place))
            sql = f"UPDATE replication SET number = 0, tries = 0, error = '' WHERE {_ONE} AND number = ?"
            if not digest:
                sql = f"DELETE FROM replication WHERE {_ONE} AND number = ?"
            if not db.execute(sql, (*place, row.number)).rowcount:
                self._look_again(db, row)
            if row.tries:
                self._hold(db, row.repository, 0.0)
            if action:
                note(db, Author(self._mark), action)

        self._catalog.change(change)

    def _look_again(self, db: CatalogTransaction, row: ReplicationRow) -> None:
        """It waits once more already, or another process has done it meanwhile: then this one came late, and
        may have put there what was true before.
        """
        sql = f"SELECT 1 FROM replication WHERE {_ONE} AND number > 0"
        if not db.execute(sql, (self._rule, row.repository, row.reference)).fetchone():
            self._add(db, [(row.repository, row.reference)])

    def failed(self, row: ReplicationRow, error: str, pause: float) -> None:
        """Try it again in `pause` seconds, and what waits behind it in its repository."""

        def change(db: CatalogTransaction) -> None:
            self._lock(db)
            sql = f"UPDATE replication SET tries = tries + 1, error = ? WHERE {_ONE} AND number = ?"
            found = db.execute(sql, (error[:300], self._rule, row.repository, row.reference, row.number))
            if found.rowcount:
                self._hold(db, row.repository, db.now() + pause)

        self._catalog.change(change)

    def give_up(self, row: ReplicationRow, error: str) -> None:
        """It is not tried again before it changes, or everything is compared."""

        def change(db: CatalogTransaction) -> None:
            self._lock(db)
            place = (self._rule, row.repository, row.reference, row.number)
            sql = f"UPDATE replication SET number = 0, error = ? WHERE {_ONE} AND number = ?"
            db.execute(sql, (error[:300] or "it failed", *place))
            self._hold(db, row.repository, 0.0)

        self._catalog.change(change)

    def hurry(self) -> None:
        """Whatever waits is tried now."""
        sql = "UPDATE replication SET again = 0.0 WHERE rule = ? AND number > 0"
        self._catalog.change(lambda db: db.execute(sql, (self._rule,)))

    def _hold(self, db: CatalogTransaction, repository: str, until: float) -> None:
        sql = f"UPDATE replication SET again = ? WHERE {_OF} AND number > 0"
        db.execute(sql, (until, self._rule, repository))

    # ── what is known ──

    def counts(self) -> ReplicationCounts:
        """How many rows there are of each kind."""
        sql = """SELECT coalesce(sum(CASE WHEN number > 0 THEN 1 ELSE 0 END), 0),
                 coalesce(sum(CASE WHEN number = 0 AND error != '' THEN 1 ELSE 0 END), 0),
                 coalesce(sum(CASE WHEN number = 0 AND error = '' THEN 1 ELSE 0 END), 0),
                 coalesce(min(CASE WHEN number > 0 THEN since END), 0.0) FROM replication WHERE rule = ?"""
        waiting, failed, done, since = self._rows(sql, self._rule)[0]
        return ReplicationCounts(int(waiting), int(failed), int(done), float(since))

    def unfinished(self, limit: int) -> list[ReplicationRow]:
        """What waits or was given up, the first of what waits first."""
        sql = f"""SELECT {_COLUMNS} FROM replication WHERE rule = ? AND (number > 0 OR error != '')
                  ORDER BY CASE WHEN number > 0 THEN 0 ELSE 1 END, number, repository, reference LIMIT ?"""
        return [ReplicationRow(*row) for row in self._rows(sql, self._rule, limit)]

    def brought(self, repository: str, digest: str = "") -> Iterator[ReplicationRow]:
        """What the other side got of a repository, of one digest or any."""
        last, sql = (
            "",
            f"""
            SELECT {_COLUMNS} FROM replication WHERE {_OF} AND digest != '' AND reference > ?
            AND (? = '' OR digest = ?) ORDER BY reference LIMIT {_AT_ONCE}""",
        )
        while rows := self._rows(sql, self._rule, repository, last, digest, digest):
            yield from map(ReplicationRow._make, rows)
            last = rows[-1][1]

    def brought_of(self) -> list[str]:
        """Repositories of which the other side got something."""
        sql = (
            "SELECT DISTINCT repository FROM replication WHERE rule = ? AND digest != '' ORDER BY repository"
        )
        return [str(row[0]) for row in self._rows(sql, self._rule)]

    def holders(self, digest: Digest, repository: str, limit: int) -> list[str]:
        """Other repositories here that have a blob and were brought to the other side."""
        return [str(row[0]) for row in self._rows(_HOLDERS, digest, repository, self._rule, limit)]

    def is_copy(self, repository: str) -> bool:
        """Is it a copy that belongs to an upstream?"""
        return CachedRepositories(self._catalog).is_copy(repository)

    def subject(self, repository: str, digest: str) -> str:
        """Which manifest a manifest here refers to, "" if none."""
        rows = self._rows(_SUBJECT, repository, digest)
        return str(rows[0][0]) if rows else ""

    def forget(self) -> None:
        """Drop all rows, and how far it is."""

        def change(db: CatalogTransaction) -> None:
            self._lock(db)
            db.execute("DELETE FROM replication WHERE rule = ?", (self._rule,))
            db.executemany("DELETE FROM marks WHERE name = ?", [(self._mark,), (f"{self._mark} wanted",)])

        self._catalog.change(change)

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._catalog.listed(sql, *values)
