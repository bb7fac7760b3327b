"""What a step tells of itself in a process of its own, on its way to the process that shows it."""

from __future__ import annotations

from functools import partial
from threading import Lock

from ...ground.work.task import RemoteTask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...ground.fork import ChildReport
    from ...words.progress import Steps, Task


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
            return RemoteTask(self._tasks, partial(self.tell, ""))

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """The end, told to the parent."""
        self.tell("end", number, how, seconds, why)

    def tick(self) -> None:
        """The parent has a clock."""


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
