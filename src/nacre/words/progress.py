"""How long work reports on itself. The faces draw it; everything below only calls these methods."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol
else:
    Protocol = object


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


class Steps(Protocol):
    """Shows the steps of a build, which may go on side by side. A display gives its own by `steps()`."""

    def begin(self, number: int, title: str) -> None:
        """A step begins; `number` from 1."""

    def news(self, number: int, text: str) -> None:
        """A line about a step."""

    def output(self, number: int, seconds: float, stream: str, lines: Sequence[str]) -> None:
        """What the program of a step wrote to "stdout" or "stderr", `seconds` after its beginning."""

    def transfer(self, number: int, key: str) -> Task:
        """Something long within a step."""

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """A step has ended: DONE, CACHED, CANCELED, or ERROR and `why`."""

    def tick(self) -> None:
        """Time has passed: called a few times a second while steps are under way."""


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
