"""What a step tells of itself in a process of its own, on its way to the process that shows it."""

from __future__ import annotations

from threading import Lock
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ...ground.fork import ChildReport
    from ...words.progress import Steps, Task

_PAUSE = 0.05


class RemoteSteps:
    """The `Steps` of a child: each call is a record for the parent."""

    def __init__(self, report: ChildReport) -> None:
        self._report, self._lock = report, Lock()
        self._tasks = 0

    def tell(self, *values: object) -> None:
        """One record; from any thread."""
        with self._lock:
            self._report.tell(*values)

    def begin(self, number: int, title: str) -> None:
        """Steps begin in the parent."""
        raise AssertionError(title)

    def news(self, number: int, text: str) -> None:
        """A line, told to the parent."""
        self.tell("news", number, text)

    def output(self, number: int, seconds: float, stream: str, lines: Sequence[str]) -> None:
        """Lines, told to the parent."""
        self.tell("output", number, seconds, stream, list(lines))

    def transfer(self, number: int, key: str) -> Task:
        """Something long, told to the parent."""
        with self._lock:
            self._tasks += 1
            self._report.tell("task", number, key)
            return _StepTask(self.tell, self._tasks)

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """The end, told to the parent."""
        self.tell("end", number, how, seconds, why)

    def tick(self) -> None:
        """The parent has a clock."""


class _StepTask:
    def __init__(self, tell: Callable[..., None], number: int) -> None:
        self._tell, self._number = tell, number
        self._count, self._sent = 0, 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        self._flush()
        self._tell("", self._number, "phase", name, total)

    def advance(self, count: int) -> None:
        """Not each piece is told."""
        self._count += count
        if monotonic() - self._sent >= _PAUSE:
            self._flush()

    def _flush(self) -> None:
        if self._count:
            self._tell("", self._number, "advance", self._count)
            self._count, self._sent = 0, monotonic()

    def done(self, status: str) -> None:
        self._flush()
        self._tell("", self._number, "done", status)


class StepsOfChild:
    """The parent's side: shows what a child tells."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._tasks: list[Task] = []

    def show(self, told: tuple[Any, ...]) -> None:
        """Do what one record says."""
        kind, *values = told
        if kind == "task":
            self._tasks.append(self._steps.transfer(*values))
        elif kind:
            getattr(self._steps, kind)(*values)
        else:
            number, method, *rest = values
            getattr(self._tasks[number - 1], method)(*rest)
