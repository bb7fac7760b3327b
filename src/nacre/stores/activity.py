"""Who did what to a registry: one entry for each change, written in the transaction that makes it.

    push     a manifest came, under a tag ("" if by digest alone), or came again
    tag      a manifest that was there got a tag; `former` is what the tag named before
    mount    a blob of another repository (`reference`) became one of this one
    delete   a tag, by digest a manifest or a blob, or a repository went
    restore  one of these came back
    replicate  it was brought to another registry, or deleted there (`digest` is then "")
    pull     a manifest was taken, where the operator wants to know
    login    somebody logged in, by password, token, oidc or exchange (`reference`)
    refused  somebody could not log in

Entries are numbered in their order, so whoever follows them keeps the number of the last one seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..words.rules import ActivityRules
    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

_AT_ONCE = 1000
_COLUMNS = "id, at, actor, client, action, repository, reference, digest, former, trace"
_INSERT = """
    INSERT INTO activity (at, actor, client, trace, action, repository, reference, digest, former)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Author(NamedTuple):
    """Who makes a change: a user ("" for anybody, or the registry itself), and the address of the client.

    `trace` is the span in which it is made, as `traceparent` writes it (W3C Trace Context), "" for none.
    """

    name: str = ""
    client: str = ""
    trace: str = ""


class Action(NamedTuple):
    """What was done. `reference` is a tag, or the repository that a blob was mounted from; else ""."""

    name: str
    repository: str
    reference: str = ""
    digest: str = ""
    former: str = ""


class ActivityEntry(NamedTuple):
    """One change, `at` seconds since 1970; the columns of the table in their order."""

    id: int
    at: float
    actor: str
    client: str
    action: str
    repository: str
    reference: str
    digest: str
    former: str
    trace: str = ""


class ActivityQuery(NamedTuple):
    """Which entries: each field "" for any."""

    repository: str = ""
    actor: str = ""
    action: str = ""
    since: float = 0.0
    """Seconds since 1970."""


_ANY = ActivityQuery()


def note(db: CatalogTransaction, author: Author, *actions: Action) -> None:
    """Write entries in the transaction of the change itself."""
    db.lock("activity")  # so that numbers are seen in their order
    now = db.now()
    db.executemany(_INSERT, [(now, *author, *action) for action in actions])


def pushed(repository: str, digest: str, former: Mapping[str, str], *, new: bool) -> list[Action]:
    """What a manifest under these tags means; by tag, `former` has what each named before, "" for nothing."""
    found = []
    for tag, before in former.items():
        moved = before != digest
        name = "tag" if moved and not new else "push"
        found.append(Action(name, repository, tag, digest, before if moved else ""))
    return found or [Action("push", repository, "", digest)]


class Activity:
    """Reads the entries of a catalog, and forgets old ones."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def page(self, before: int = 0, limit: int = 100, query: ActivityQuery = _ANY) -> list[ActivityEntry]:
        """The newest first, at most `limit`; the next page is that `before` the last id of this one."""
        return self._entries("id < ?", before or 1 << 62, query, f"DESC LIMIT {int(limit)}")

    def after(self, last: int, limit: int = 100, query: ActivityQuery = _ANY) -> list[ActivityEntry]:
        """What came after the entry `last`, the oldest first, at most `limit`."""
        return self._entries("id > ?", last, query, f"LIMIT {int(limit)}")

    def newest(self) -> int:
        """The number of the last entry, 0 if there is none."""
        return int(self._catalog.listed("SELECT coalesce(max(id), 0) FROM activity")[0][0])

    def oldest(self) -> int:
        """The number of the first entry that is still known, 0 if there is none."""
        return int(self._catalog.listed("SELECT coalesce(min(id), 0) FROM activity")[0][0])

    def _entries(self, place: str, number: int, query: ActivityQuery, end: str) -> list[ActivityEntry]:
        wanted = {name: value for name, value in query._asdict().items() if value}
        where = " AND ".join((place, *("at >= ?" if name == "since" else f"{name} = ?" for name in wanted)))
        sql = f"SELECT {_COLUMNS} FROM activity WHERE {where} ORDER BY id {end}"
        rows: list[tuple[Any, ...]] = self._catalog.listed(sql, number, *wanted.values())
        return [ActivityEntry(*row) for row in rows]

    def trim(self, rules: ActivityRules) -> Iterator[int]:
        """Forget what is too old or too much, a little at each step; how many are gone so far."""
        gone = 0
        least = self.newest() - rules.most
        while rows := self._oldest(self._catalog.now() - rules.age, least):
            self._forget(rows)
            gone += len(rows)
            yield gone

    def _forget(self, rows: list[tuple[Any, ...]]) -> None:
        self._catalog.change(lambda db: db.executemany("DELETE FROM activity WHERE id = ?", rows))

    def _oldest(self, since: float, least: int) -> list[tuple[Any, ...]]:
        sql = "SELECT id FROM (SELECT id, at FROM activity ORDER BY id LIMIT ?) x WHERE at < ? OR id <= ?"
        return self._catalog.listed(sql, _AT_ONCE, since, least)
