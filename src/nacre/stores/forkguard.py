"""No connection to a database crosses a fork.

SQLite notes in the memory of the process which locks it has on a file, and fcntl(2) gives a child none of
them. A child that goes on with a connection, or opens one while its memory holds one of its parent's, takes
itself for the holder of locks that it has not; its parent, the last that has any, then removes the log that
the child goes on writing to (sqlite.org/howtocorrupt.html, 2.6). So whoever forks a child that is to use a
store does it within `resting`. Anything else is refused, and what was carried across is never closed there.
"""

from __future__ import annotations

import os
from _thread import RLock, get_ident

from ..words.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _weakref import ref
    from sqlite3 import Connection
    from types import TracebackType

    from .database import Database

KNOWN: dict[int, ref[Database]] = {}
"""All databases that this process, or one that it was forked from, has made and still has."""

_CARRIED: list[Connection] = []
_FORKING: dict[int, resting] = {}
_GATE = [RLock()]


def gate() -> RLock:
    """Held while a connection is opened, and until a fork that must have none is done."""
    return _GATE[0]


def check(database: Database) -> None:
    """Raises StoreError when a connection to the same file was carried into this process."""
    if any(other.file == database.file and other.pid != database.pid for other in _awake()):
        raise refusal(database.path)


def has_other(database: Database) -> bool:
    """Whether this process has another connection to the same file; only with the gate."""
    return any(other.file == database.file for other in _awake() if other is not database)


def refusal(path: str) -> StoreError:
    """What to say of a connection that was carried across a fork."""
    return StoreError(
        f"the store {os.path.dirname(path)} was opened before a fork",
        hint="close it before the fork, and open it in the new process",
    )


def forget(database: Database) -> None:
    """A database is being collected; that must not close the connection of another process."""
    KNOWN.pop(id(database), None)
    if database.pid != os.getpid() and database.connection is not None:
        _CARRIED.append(database.connection)


def _awake() -> list[Database]:
    """Those that have a connection."""
    known = [weak() for weak in list(KNOWN.values())]
    return [database for database in known if database is not None and database.connection is not None]


class resting:
    """`with resting():` fork. No connection of this process crosses it; whoever needs one opens it again.

    Until the first fork of this thread nobody else opens any. No transaction of this thread may be under way;
    those of others are waited for.
    """

    def __init__(self) -> None:
        self._held: list[RLock] = []

    def __enter__(self) -> None:
        _FORKING[get_ident()] = self
        try:
            while not self._alone():
                pass
        except BaseException:
            self.over()
            raise

    def _alone(self) -> bool:
        """Whoever opens one has its lock and wants the gate: so the gate is taken last, and never waits."""
        for database in _awake():
            if database.pid == os.getpid():
                database.lock.acquire()
                self._held.append(database.lock)
                database.rest()
        _GATE[0].acquire()
        if not any(database.pid == os.getpid() for database in _awake()):
            self._held.append(_GATE[0])
            return True
        _GATE[0].release()
        return False

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.over()

    def over(self) -> None:
        """Let others go on. Idempotent."""
        _FORKING.pop(get_ident(), None)
        while self._held:
            self._held.pop().release()


def _in_parent() -> None:
    found = _FORKING.get(get_ident())
    if found is not None:
        found.over()


def _in_child() -> None:
    """Locks are as they were, and the threads that would let go of them are not here."""
    _FORKING.clear()
    _GATE[0] = RLock()
    for weak in list(KNOWN.values()):
        database = weak()
        if database is not None:
            database.lock, database.depth = RLock(), 0


os.register_at_fork(after_in_parent=_in_parent, after_in_child=_in_child)
