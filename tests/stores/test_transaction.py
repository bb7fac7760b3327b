"""A signal at any line of a transaction leaves a database that goes on."""

from __future__ import annotations

import sys
from contextlib import closing
from types import FrameType
from typing import Any

from nacre.stores.database import Database, Transaction


class Interrupt(BaseException):
    pass


def interrupted(database: Database, at: int) -> bool:
    """A transaction with an exception at its `at`-th line; False when it has fewer."""
    left = at

    def line(_frame: FrameType, event: str, _value: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                raise Interrupt
        return line

    def call(frame: FrameType, _event: str, _value: Any) -> Any:
        return line if frame.f_code in CODES else None

    sys.settrace(call)
    try:
        with database.transaction():
            database.change("INSERT OR REPLACE INTO meta VALUES ('a', 'b')")
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    return False


CODES = {function.__code__ for function in (Transaction.__enter__, Transaction._begin, Transaction._finish)}


def test_a_signal_at_every_line(root: str) -> None:
    at = 1
    with closing(Database(f"{root}.db")) as database:
        while interrupted(database, at):
            with database.transaction(durable=bool(at % 2)):
                database.change("INSERT OR REPLACE INTO meta VALUES ('c', ?)", (str(at),))
            with closing(Database(f"{root}.db")) as other:
                assert other.one("SELECT value FROM meta WHERE key = 'c'") == (str(at),), at
            at += 1
    assert at > 8
