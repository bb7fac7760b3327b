"""How much a namespace may hold, by what the disk holds for it: what its repositories share counts once.

`used` is never too low: what comes is added in the transaction that records it. What goes is not taken off,
as that would cost every deletion a search; before a push is refused, a namespace is counted anew, at most
every ten seconds, and nobody waits for that. An unfinished upload does not count, but must fit by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...grammars.wire.errors import Code
from ...words.errors import RegistryError
from ...words.sizes import binary_size
from ..accounts.model import EVERYTHING, namespaces_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .model import CatalogDatabase, CatalogTransaction

_AGAIN = 10.0
_INSIDE = "(r.name = ?1 OR (r.name >= ?2 AND r.name < ?3))"
_ROWS = f"""
    SELECT b.digest, b.size FROM blobs b JOIN repositories r ON r.id = b.repository WHERE {_INSIDE}
    UNION ALL
    SELECT m.digest, m.size FROM manifests m JOIN repositories r ON r.id = m.repository WHERE {_INSIDE}"""
_COUNT = f"""
    SELECT coalesce(sum(size), 0)
    FROM (SELECT digest, max(size) AS size FROM ({_ROWS}) x GROUP BY digest) y"""
_HAS = f"""
    SELECT 1 FROM blobs b JOIN repositories r ON r.id = b.repository WHERE b.digest = ?4 AND {_INSIDE}
    UNION ALL
    SELECT 1 FROM manifests m JOIN repositories r ON r.id = m.repository WHERE m.digest = ?4 AND {_INSIDE}
    LIMIT 1"""
_ALL = "SELECT namespace, most, used, counted FROM quotas ORDER BY namespace"
_SET = """
    INSERT INTO quotas (namespace, most, used, counted) VALUES (?, ?, ?, ?)
    ON CONFLICT (namespace)
    DO UPDATE SET most = excluded.most, used = excluded.used, counted = excluded.counted"""
_ADD = "UPDATE quotas SET used = used + ? WHERE namespace = ? AND used + ? <= most"
_RECOUNT = "UPDATE quotas SET used = used - ? + ?, counted = ? WHERE namespace = ? AND counted = ?"


class Quota(NamedTuple):
    """How many bytes a namespace may hold at most, and how many it has; `counted` in seconds since 1970."""

    namespace: str
    most: int
    used: int
    counted: float = 0.0

    @property
    def free(self) -> int:
        """Bytes that still fit."""
        return self.most - self.used


class QuotaExceeded(RegistryError):
    """A push does not fit into `quota`."""

    def __init__(self, quota: Quota, size: int) -> None:
        self.quota = quota
        most, used, more = map(binary_size, (quota.most, quota.used, size))
        text = f"{more} do not fit into the quota of {quota.namespace}: {used} of {most} are used"
        super().__init__(text, status=Code.DENIED.status, code=Code.DENIED.name)


class Quotas:
    """The quotas that a database has. Everything raises StoreError."""

    def __init__(self, database: CatalogDatabase) -> None:
        self._database = database

    def all(self, *, exact: bool = False) -> list[Quota]:
        """By namespace; `exact` counts anew, which reads all that is recorded of the namespaces."""
        found = [Quota(*row) for row in self._database.listed(_ALL)]
        return [quota._replace(used=self._count(quota.namespace)) for quota in found] if exact else found

    def set(self, namespace: str, most: int | None) -> None:
        """What a namespace may hold from now on, None for as much as comes."""

        def change(db: CatalogTransaction) -> None:
            if most is None:
                db.execute("DELETE FROM quotas WHERE namespace = ?", (namespace,))
            else:
                used = int(db.execute(_COUNT, _range(namespace)).fetchone()[0])
                db.execute(_SET, (namespace, most, used, db.now()))

        self._database.change(change)

    def tightest(self, repository: str) -> Quota | None:
        """Of the quotas that hold for a repository that with the least room; None if there is none."""
        found = _of(lambda sql, values: self._database.read(sql, *values), repository)
        return min(found, key=lambda quota: quota.free, default=None)

    def has(self, namespace: str, digest: str) -> bool:
        """Would this content add nothing to a namespace?"""
        return bool(self._database.read(_HAS, *_range(namespace), digest))

    def recount(self, quota: Quota) -> Quota:
        """As it is now. What comes meanwhile may count twice, and never not at all."""
        now = self._database.now()
        if now - quota.counted > _AGAIN:
            used, values = self._count(quota.namespace), (quota.namespace, quota.counted)
            self._database.change(lambda db: db.execute(_RECOUNT, (quota.used, used, now, *values)))
        return next((each for each in self.all() if each.namespace == quota.namespace), quota)

    def _count(self, namespace: str) -> int:
        return int(self._database.listed(_COUNT, *_range(namespace))[0][0])


def charge(db: CatalogTransaction, repository: str, digest: str, size: int) -> None:
    """Content comes to a repository, in this transaction. Raises QuotaExceeded."""
    for quota in _of(lambda sql, values: db.execute(sql, values).fetchall(), repository):
        if db.execute(_HAS, (*_range(quota.namespace), digest)).fetchone():
            continue
        if not db.execute(_ADD, (size, quota.namespace, size)).rowcount:
            raise QuotaExceeded(quota, size)


def _of(rows: Callable[[str, tuple[object, ...]], list[Any]], repository: str) -> list[Quota]:
    names = namespaces_of(repository)
    marks = ", ".join("?" * len(names))
    sql = f"SELECT namespace, most, used, counted FROM quotas WHERE namespace IN ({marks})"
    return [Quota(*row) for row in rows(sql, tuple(names))]


def _range(namespace: str) -> tuple[str, str, str]:
    """The name itself, and from where to where the names beneath it go ("0" comes after "/")."""
    return ("", "", "\x7f") if namespace == EVERYTHING else (namespace, f"{namespace}/", f"{namespace}0")
