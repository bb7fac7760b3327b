"""How long work reports on itself. The faces draw it; everything below only calls these methods."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


class Task(Protocol):
    """One line of progress. Methods may be called from any thread."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase (`Downloading`, `Extracting`, …) of `total` bytes; counts from 0 again."""

    def advance(self, count: int) -> None:
        """`count` more bytes are done."""

    def done(self, status: str) -> None:
        """The task is over; `status` is docker's word for how (`Pull complete`, `Already exists`)."""


class Progress(Protocol):
    """A place to report to."""

    def task(self, key: str) -> Task:
        """A new line named `key` (a short digest, a step)."""

    def line(self, text: str) -> None:
        """One plain line of news (`latest: Pulling from library/app`, output of a build step)."""


class _NullTask:
    def phase(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def done(self, status: str) -> None:
        pass


class NullProgress:
    """Reports nothing; the default everywhere."""

    def task(self, key: str) -> Task:  # noqa: D102
        return _NullTask()

    def line(self, text: str) -> None:  # noqa: D102
        pass


def human_size(count: float, precision: int = 3) -> str:
    """Bytes in decimal units, `precision` significant digits: `7.38MB`, `0B` (docker/go-units HumanSize)."""
    unit = 0
    while count >= 1000 and unit < len(_DECIMAL) - 1:
        count /= 1000
        unit += 1
    return f"{count:.{precision}g}{_DECIMAL[unit]}"
