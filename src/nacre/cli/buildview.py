"""The live view of a build on a terminal.

    => [build 1/3] FROM debian                        0.4s      steps that have ended go up, in their order
    => CACHED [build 2/3] COPY a /a                   0.0s
    [+] Building 3.2s (2 done, 1 running)                       the block at the bottom is drawn again
    => [build 3/3] RUN make                           2.1s
    => => cc -c a.c                                             its last lines, and what it transfers

What programs write is shown without what a terminal would obey.
"""

from __future__ import annotations

from collections import deque
from threading import RLock
from time import monotonic
from unicodedata import east_asian_width

from .terminal import FRAME, Display, LiveTask, row, window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from ..words.progress import Task

_TAIL, _LOST = 6, 20
"""Lines of output that are shown of a running step, and of one that failed."""
_COLOURS = {"DONE": "\x1b[34m", "CACHED": "\x1b[34m", "ERROR": "\x1b[31m", "CANCELED": "\x1b[33m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_LEAST = 3
"""Lines of the block that are shown on any terminal."""


class _Step:
    def __init__(self, title: str) -> None:
        self.title, self.began = title, monotonic()
        self.lines: deque[str] = deque(maxlen=_LOST)
        self.tasks: list[LiveTask] = []


class BuildView(Display):
    """Steps of a build, several at a time. `environment` decides about colours (NO_COLOR)."""

    live = True

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream, self._lock = stream, RLock()
        self._coloured = not environment.get("NO_COLOR")
        self._steps: dict[int, _Step] = {}
        self._began, self._next, self._ended = monotonic(), 0.0, 0
        self._drawn: list[int] = []

    def steps(self) -> BuildView:
        """What hears of the steps: this."""
        return self

    # --- of the steps

    def begin(self, number: int, title: str) -> None:
        """A new step in the block."""
        with self._lock:
            self._steps[number] = _Step(printable(title))
            self._draw()

    def news(self, number: int, text: str) -> None:
        """A warning stays above the block; anything else is one of the step's lines."""
        with self._lock:
            if text.startswith(("WARN", "hint: ")):
                self._draw([printable(f"#{number} {text}")])
            else:
                self._keep(number, [text])

    def output(self, number: int, seconds: float, stream: str, lines: Sequence[str]) -> None:
        """The last lines are shown beneath the step."""
        with self._lock:
            self._keep(number, lines)

    def _keep(self, number: int, lines: Sequence[str]) -> None:
        step = self._steps.get(number)
        if step is not None:
            step.lines.extend(map(printable, lines[-_LOST:]))
            self._refresh()

    def transfer(self, number: int, key: str) -> Task:
        """A line beneath the step, with a bar."""
        task = LiveTask(printable(key), self._changed)
        with self._lock:
            if number in self._steps:
                self._steps[number].tasks.append(task)
        return task

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """The step goes up; with its last lines if it has failed."""
        with self._lock:
            step = self._steps.pop(number, None)
            if step is None:
                return
            self._ended += 1
            title = step.title if how == "DONE" else f"{how} {step.title}"
            above = [self._head(title, seconds, _COLOURS.get(how, ""))]
            if how == "ERROR" and step.lines:
                above += ["------", f" > {step.title}:", *step.lines, "------"]
            self._draw(above)

    def tick(self) -> None:
        """Times go on; see `Steps`."""
        with self._lock:
            self._refresh()

    # --- as any display

    def line(self, text: str) -> None:
        """A line above the block."""
        with self._lock:
            self._draw([text])

    def close(self) -> None:
        """Leave the steps that have ended standing, and nothing of the block."""
        with self._lock:
            if self.live:
                self._steps.clear()
                self._draw()
            self.live = False

    # --- drawing

    def _changed(self, _task: LiveTask, _weighty: bool) -> None:
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        if monotonic() >= self._next:
            self._draw()

    def _draw(self, above: Sequence[str] = ()) -> None:
        """Everything in one write: back to the top of the block, what stays, the block."""
        self._next = monotonic() + FRAME
        width, height = window(self._stream)
        block = self._block(width, height)
        rows = sum(max(1, -(-length // width)) for length in self._drawn)
        back = f"\x1b[{rows}A\r\x1b[J" if rows else ""
        self._drawn = [_width(line) for line, _ in block]
        shown = [self._coloured_line(line, colour) for line, colour in block]
        self._stream.write(back + "".join(f"{line}\n" for line in (*above, *shown)))
        self._stream.flush()

    def _block(self, width: int, height: int) -> list[tuple[str, str]]:
        """Its lines with their colours, as many as fit."""
        if not self._steps:
            return []
        seconds = monotonic() - self._began
        heading = f"[+] Building {seconds:.1f}s ({self._ended} done, {len(self._steps)} running)"
        room = max(height - 2, _LEAST)
        running = list(self._steps.values())[:room]
        each = max(0, (room - len(running)) // len(running))
        lines = [(heading, "")]
        for step in running:
            lines.append((self._fitted(step.title, monotonic() - step.began, width - 1), ""))
            lines += [(line, _DIM) for line in self._beneath(step, min(each, _TAIL), width)]
        return [(_cut(line, width - 1), colour) for line, colour in lines]

    def _beneath(self, step: _Step, count: int, width: int) -> list[str]:
        tasks = [row(task, width - 7) for task in step.tasks if not task.over]
        lines = [*step.lines, *tasks]
        return [f" => => {line}" for line in lines[len(lines) - count :]] if count else []

    def _head(self, title: str, seconds: float, colour: str) -> str:
        width, _ = window(self._stream)
        return self._coloured_line(self._fitted(title, seconds, width - 1), colour)

    def _fitted(self, title: str, seconds: float, width: int) -> str:
        """` => title      1.2s`, the time at the right edge."""
        time = f"{seconds:.1f}s"
        text = _cut(f" => {title}", width - len(time) - 1)
        return text + " " * max(1, width - _width(text) - len(time)) + time

    def _coloured_line(self, line: str, colour: str) -> str:
        return f"{colour}{line}{_PLAIN}" if colour and self._coloured else line


def printable(text: str) -> str:
    """Without control sequences: a program must not move the cursor or colour what is not its own."""
    pieces = text.replace("\t", "    ").split("\x1b")
    shown = pieces[0] + "".join(map(_after_escape, pieces[1:]))
    return "".join(char for char in shown if char.isprintable())


def _after_escape(piece: str) -> str:
    """What follows a control sequence, whose beginning was ESC. Source: ECMA-48, 5.4."""
    if piece[:1] != "[":
        return piece[1:]
    end = next((i for i, char in enumerate(piece[1:], 1) if "@" <= char <= "~"), len(piece) - 1)
    return piece[end + 1 :]


def _width(text: str) -> int:
    """Columns that a text takes."""
    return len(text) + (0 if text.isascii() else sum(east_asian_width(char) in "WF" for char in text))


def _cut(text: str, width: int) -> str:
    while _width(text) > max(width, 1):
        text = text[: len(text) - max(1, (_width(text) - width) // 2)]
    return text
