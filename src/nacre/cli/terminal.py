"""Progress as the user sees it: a live display on a terminal, plain lines, JSON events, or nothing.

All of these may be called from any thread; none starts one.
"""

from __future__ import annotations

import os
from _thread import RLock
from time import monotonic

from .output import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TextIO

    from ..words.progress import Task
    from .context import Context

FRAME = 1 / 12
_BAR = 25
_WINDOW = 3.0


class Display:
    """A `Progress` that can be closed; this one shows nothing, the others derive from it.

    `live` while it owns the bottom of the terminal, so that other news must go through `line`.
    """

    live = False

    def task(self, key: str) -> Task:
        """A new line named `key`."""
        return LiveTask(key, _ignore)

    def line(self, text: str) -> None:
        """One plain line of news."""

    def result(self, **fields: object) -> None:
        """What came of it, for programs; only JSON events show it."""

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class LiveTask:
    """One task's state; `changed(task, weighty)` hears of every change, `weighty` unless bytes only."""

    def __init__(self, key: str, changed: Callable[[LiveTask, bool], None]) -> None:
        self.key, self.changed = key, changed
        self.status, self.count, self.total, self.over = "Waiting", 0, 0, False
        self._lock = RLock()
        self._pace = Pace(monotonic())

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase; see `Task`."""
        with self._lock:
            self.status, self.count, self.total = name, 0, total or 0
            self._pace = Pace(monotonic())
        self.changed(self, True)

    def speed(self) -> float:
        """Bytes a second over the last seconds of this phase, 0 while it cannot be told."""
        with self._lock:
            return self._pace.at(monotonic(), self.count)

    def advance(self, count: int) -> None:
        """Count bytes; see `Task`."""
        with self._lock:
            self.count += count
        self.changed(self, False)

    def done(self, status: str) -> None:
        """It is over; see `Task`."""
        self.status, self.count, self.total, self.over = status, 0, 0, True
        self.changed(self, True)


class Pace:
    """Bytes a second over a window of the last three to six seconds. Times in seconds, from any clock."""

    def __init__(self, now: float) -> None:
        self._marks = [(now, 0), (now, 0)]

    def at(self, now: float, count: int) -> float:
        """The pace when `count` bytes are done at `now`, 0 in the first half second."""
        if now - self._marks[1][0] >= _WINDOW:
            self._marks = [self._marks[1], (now, count)]
        began, before = self._marks[0]
        return (count - before) / (now - began) if now - began > 0.5 else 0.0


def _ignore(_task: LiveTask, _weighty: bool) -> None:
    pass


class Plain(Display):
    """A line for each piece of news and one for each task when it is over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, RLock()

    def task(self, key: str) -> Task:
        """A new line named `key`, shown when it is done."""
        return LiveTask(key, self._changed)

    def line(self, text: str) -> None:
        """Write `text` to the stream at once."""
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _changed(self, task: LiveTask, _weighty: bool) -> None:
        if task.over:
            self.line(f"{task.key}: {task.status}")


class JsonLines(Display):
    """One JSON object a line; which ones, those that derive from it say."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, RLock()

    def _write(self, **fields: object) -> None:
        import json

        with self._lock:
            self._stream.write(json.dumps(fields, separators=(",", ":")) + "\n")
            self._stream.flush()


class Events(JsonLines):
    """Objects like `{"id","status","progressDetail":{"current","total"}}`, as docker's API has them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._next: dict[str, float] = {}

    def task(self, key: str) -> Task:
        """A task of a new `id`, for events."""
        return LiveTask(key, self._changed)

    def line(self, text: str) -> None:
        """An object with a status alone."""
        self._write(status=text)

    def _changed(self, task: LiveTask, weighty: bool) -> None:
        now = monotonic()
        if not weighty and now < self._next.get(task.key, 0):
            return
        self._next[task.key] = now + FRAME
        event: dict[str, object] = {"id": task.key, "status": task.status}
        if task.total or task.count:
            event["progressDetail"] = {"current": task.count, "total": task.total}
        self._write(**event)

    def result(self, **fields: object) -> None:
        """The last object: `{"aux": {…}}`, as docker's API ends a push."""
        self._write(aux=fields)


class Live(Display):
    """A block of lines at the bottom of the terminal, drawn again at most twelve times a second.

    Tasks that are over leave the block upwards, in their order, so that it does not outgrow the screen.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, RLock()
        self._tasks: list[LiveTask] = []
        self._drawn, self._next = 0, 0.0
        self.live = True

    def task(self, key: str) -> Task:
        """A new line at the end of the block."""
        task = LiveTask(key, self._changed)
        with self._lock:
            self._tasks.append(task)
            self._draw()
        return task

    def line(self, text: str) -> None:
        """Write `text` above the lines of the running tasks."""
        with self._lock:
            self._draw([text])

    def close(self) -> None:
        """Draw the last state and leave it standing."""
        with self._lock:
            if self._tasks:
                self._draw()
            self._tasks, self._drawn, self.live = [], 0, False

    def _changed(self, _task: LiveTask, weighty: bool) -> None:
        with self._lock:
            now = monotonic()
            if weighty or now >= self._next:
                self._next = now + FRAME
                self._draw()

    def _draw(self, above: list[str] | None = None) -> None:
        """Everything in one write: back to the top of the block, news, finished tasks, the rest."""
        width, height = window(self._stream)
        leaving = list(above or ())
        while self._tasks and self._tasks[0].over:
            leaving.append(row(self._tasks.pop(0), width))
        shown = [row(task, width) for task in self._tasks[: max(height - 1, 1)]]
        back = f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else ""
        self._drawn = len(shown)
        self._stream.write(back + "".join(f"{line}\n" for line in (*leaving, *shown)))
        self._stream.flush()


def row(task: LiveTask, width: int) -> str:
    """`0123456789ab: Downloading [====>     ]  3.2MB/7.38MB  1.2MB/s  4s`, cut at the terminal's width."""
    text = f"{task.key}: {task.status}"
    if task.total:
        done = min(task.count * _BAR // task.total, _BAR)
        bar = ("=" * done + ">")[:_BAR]
        text += f" [{bar:{_BAR}}]  {human_size(task.count)}/{human_size(task.total)}{_pace(task)}"
    elif task.count:
        text += f"  {human_size(task.count)}"
    return text[: width - 1]


def _pace(task: LiveTask) -> str:
    """Speed and time left, as far as they can be told."""
    speed = task.speed()
    if speed <= 0 or task.count >= task.total:
        return ""
    return f"  {human_size(round(speed))}/s  {short_time((task.total - task.count) / speed)}"


def short_time(seconds: float) -> str:
    """`7s`, `3m05s`, `2h10m`; what is longer than a hundred hours is `…`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m" if whole < 360_000 else "…"


def window(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a terminal as it is now; 80 and 24 where it cannot be asked."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return max(columns or 80, 20), max(lines or 24, 2)  # a terminal that nobody gave a size says 0


def display(context: Context, *, quiet: bool, form: str) -> Display:
    """The display for a wish (`auto`, `plain`, `json`) and a terminal; TERM=dumb is none."""
    if quiet:
        return Display()
    if form == "json":
        return Events(context.stdout)
    return Live(context.stderr) if form == "auto" and is_capable(context) else Plain(context.stderr)


def is_capable(context: Context) -> bool:
    """Whether standard error is a terminal on which lines can be drawn again."""
    return context.stderr.isatty() and context.environment.get("TERM", "dumb") != "dumb"
