"""Unfinished uploads: how many there may be, and which one gives way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ...grammars.wire.errors import Code, refusal
from .statements import BEGIN_UPLOAD, BUSIEST, END_UPLOAD, GIVING_WAY

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from .model import CatalogTransaction, Upload, UploadLimits


def begin(
    db: CatalogTransaction, upload: str, row: Upload, limits: UploadLimits, busy: AbstractSet[str]
) -> str:  # fmt: skip
    """Record an upload; the id of the one that had to give way, "" if none had."""
    db.lock(f"uploads {row.owner}")
    loser = _loser(db, row.owner, limits, busy)
    db.execute(END_UPLOAD, (loser,))
    db.execute(BEGIN_UPLOAD, (upload, row.repository, db.now(), row.owner, row.algorithm))
    return loser


def _loser(db: CatalogTransaction, owner: str, limits: UploadLimits, busy: AbstractSet[str]) -> str:
    """The upload that gives way to a new one of `owner`, "" if there is room."""
    count = "SELECT count(*) FROM uploads"
    if db.execute(f"{count} WHERE owner = ?", (owner,)).fetchone()[0] >= limits.each:
        return _oldest(db, owner, limits, busy) or _refuse(f"you have {limits.each} unfinished uploads")
    if db.execute(count).fetchone()[0] < limits.most:
        return ""
    found = (_oldest(db, row[0], limits, busy) for row in db.execute(BUSIEST).fetchall())
    return next(filter(None, found), "") or _refuse(f"there are {limits.most} unfinished uploads")


def _oldest(db: CatalogTransaction, owner: str, limits: UploadLimits, busy: AbstractSet[str]) -> str:
    rows = db.execute(GIVING_WAY, (owner, db.now() - limits.idle))
    return next((row[0] for row in rows if row[0] not in busy), "")


def _refuse(what: str) -> NoReturn:
    raise refusal(Code.TOOMANYREQUESTS, f"{what}: finish or cancel some")
