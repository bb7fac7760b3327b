"""A task of progress whose work is done in another process than the one that shows it."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .forks import Send

_PAUSE = 0.05


class RemoteTask:
    """A task of the parent's, called `number` there: what is done to it is sent."""

    def __init__(self, number: int, send: Send) -> None:
        self._number, self._send = number, send
        self._count, self._sent = 0, 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase; see `Task`."""
        self._flush()
        self._send(self._number, "phase", name, total)

    def advance(self, count: int) -> None:
        """Not each piece: every packet takes the interpreter's lock from the parent's own work."""
        self._count += count
        if monotonic() - self._sent >= _PAUSE:
            self._flush()

    def _flush(self) -> None:
        if self._count:
            self._send(self._number, "advance", self._count)
            self._count, self._sent = 0, monotonic()

    def done(self, status: str) -> None:
        """It is over; see `Task`."""
        self._flush()
        self._send(self._number, "done", status)
