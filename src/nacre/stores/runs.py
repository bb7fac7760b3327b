"""Long jobs that an administrator began, and how they ended, so that any process of a registry can say.

Each is a text by its number among the marks of the catalog. A process that is killed leaves one that runs for
ever, so whoever does it says from time to time that it still does.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from ..words.errors import Conflict

if TYPE_CHECKING:
    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

SILENT = 60.0
"""Seconds after which one of which nothing is heard is lost."""
MOST = 50
"""So many are kept."""
_PREFIX = "run "
_ALL = "SELECT value FROM marks WHERE name >= ? AND name < ? ORDER BY name DESC"
_PUT = "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Run(NamedTuple):
    """`state` is running, done or failed; times in seconds since 1970, `ended` 0.0 until it has."""

    id: str
    kind: str
    state: str
    by: str
    dry_run: bool
    began: float
    heard: float
    ended: float = 0.0
    error: str = ""
    result: Any = None
    """What JSON can say."""


class Runs:
    """Those of one catalog. Everything raises StoreError."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def begin(self, kind: str, by: str, *, dry_run: bool) -> Run:
        """A new one; the oldest are forgotten. Raises Conflict while one of that kind runs."""

        def begin(db: CatalogTransaction) -> Run:
            db.lock("runs")
            now, known = db.now(), _read(db)
            if any(each.kind == kind and each.state == "running" for each in known):
                raise Conflict(f"{kind} is running already")
            run = Run(
                f"{int(now * 1000):012x}-{secrets.token_hex(4)}", kind, "running", by, dry_run, now, now
            )
            gone = [(_PREFIX + each.id,) for each in known[MOST - 1 :]]
            db.executemany("DELETE FROM marks WHERE name = ?", gone)
            _put(db, run)
            return run

        return self._catalog.change(begin)

    def heard(self, run: Run) -> None:
        """Note that it still runs."""
        self._catalog.change(lambda db: _put(db, run._replace(heard=db.now())))

    def end(self, run: Run, *, result: Any = None, error: str = "") -> None:
        """It is over, and well unless there is an `error`."""
        state = "failed" if error else "done"

        def end(db: CatalogTransaction) -> None:
            _put(db, run._replace(state=state, ended=db.now(), result=result, error=error[:1000]))

        self._catalog.change(end)

    def list(self) -> list[Run]:
        """All that are known, the newest first; `lost` is the state of those of which nothing was heard."""
        return self._catalog.change(_read)


def _read(db: CatalogTransaction) -> list[Run]:
    now = db.now()
    rows = db.execute(_ALL, (_PREFIX, _PREFIX + "\x7f")).fetchall()
    return [_judged(Run(*json.loads(value)), now) for (value,) in rows]


def _judged(run: Run, now: float) -> Run:
    return run._replace(state="lost") if run.state == "running" and now - run.heard > SILENT else run


def _put(db: CatalogTransaction, run: Run) -> None:
    db.execute(_PUT, (_PREFIX + run.id, json.dumps(run)))
