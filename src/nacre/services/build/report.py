"""What a build tells of its steps, which may go on side by side; as lines, in BuildKit's words.

#5 [build 2/4] RUN make
#5 0.412 cc -c a.c
#6 [web 2/3] COPY a b
#6 CACHED
#5 DONE 1.2s

A step gets its number when there is something to tell of it, or when it begins to work.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...words.progress import Progress, Steps, Task

DONE, CACHED, ERROR, CANCELED = "DONE", "CACHED", "ERROR", "CANCELED"
_AGAIN = 5.0
"""Seconds after which a step that goes on between others says again what it is."""


class BuildReport:
    """Numbers the steps of one build; `steps` hears of them, and `progress` of what is of no step.

    `names_platforms`: titles of steps say for which platform they are.
    """

    def __init__(self, progress: Progress, *, names_platforms: bool = False) -> None:
        self.progress, self.names_platforms = progress, names_platforms
        own = getattr(progress, "steps", None)
        self.steps: Steps = own() if own else LineSteps(progress)
        self._count = 0

    def of_target(self, target: str) -> BuildReport:
        """That of one of several builds: the same steps and numbers, and titles that name the target."""
        return _TargetReport(self, target)

    def step(self, title: str) -> StepReport:
        """A step that has not begun."""
        return StepReport(self, title)

    def begin(self, title: str) -> int:
        """Begin a step; its number."""
        number = self.count()
        self.steps.begin(number, title)
        return number

    def count(self) -> int:
        """The next number of a step."""
        self._count += 1
        return self._count


class _TargetReport(BuildReport):
    """The steps of one of several builds. Source: buildx, progress.WithPrefix."""

    def __init__(self, whole: BuildReport, target: str) -> None:
        self.progress, self.steps, self.names_platforms = whole.progress, whole.steps, False
        self._whole, self._target = whole, target

    def begin(self, title: str) -> int:
        """Begin a step; its number among those of all builds."""
        rest = f" {title[1:]}" if title.startswith("[") else f"] {title}"
        return super().begin(f"[{self._target}{rest}")

    def count(self) -> int:
        """The next number of all builds."""
        return self._whole.count()


class StepReport:
    """One step: its lines, and how it ended. What is told of it first begins it."""

    def __init__(self, report: BuildReport, title: str) -> None:
        self._report, self.title = report, title
        self._number, self._started, self._ended = 0, 0.0, False
        self._pending = {"stdout": b"", "stderr": b""}

    @property
    def has_begun(self) -> bool:
        """Whether it has a number."""
        return self._number > 0

    def begin(self) -> int:
        """Begin it, unless it has begun; its number."""
        if not self._number:
            self._started = time.monotonic()
            self._number = self._report.begin(self.title)
        return self._number

    def line(self, text: str) -> None:
        """News within the step, without a time."""
        self._report.steps.news(self.begin(), text)

    def task(self, key: str) -> Task:
        """A line of progress for something long within the step."""
        return self._report.steps.transfer(self.begin(), key)

    def output(self, stream: str, data: bytes) -> None:
        """Output of the step's program; shown line by line, each with the seconds since the step began."""
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        if len(rest) > 1 << 16:
            lines, rest = [*lines, rest], b""
        self._pending[stream] = rest
        if lines:
            self._show(stream, lines)

    def _show(self, stream: str, lines: Sequence[bytes]) -> None:
        texts = [line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace") for line in lines]
        number = self.begin()
        self._report.steps.output(number, time.monotonic() - self._started, stream, texts)

    def flush(self) -> None:
        """Show what was written without a line end."""
        for stream, rest in self._pending.items():
            if rest:
                self._show(stream, [rest])
            self._pending[stream] = b""

    def done(self) -> None:
        """Report that the step succeeded, with its duration."""
        self._end(DONE)

    def cached(self) -> None:
        """Nothing had to be done."""
        self._end(CACHED)

    def failed(self, why: str) -> None:
        """Report that the step failed, and why."""
        self._end(ERROR, why)

    def ended(self) -> None:
        """Another process has told its end."""
        self._ended = True

    def canceled(self) -> None:
        """Report that the step was ended because another failed; nothing if it had not begun or has ended."""
        if self._number and not self._ended:
            self._end(CANCELED)

    def _end(self, how: str, why: str = "") -> None:
        if self._ended:
            return
        self.flush()
        number, self._ended = self.begin(), True
        self._report.steps.end(number, how, time.monotonic() - self._started, why)


class LineSteps:
    """The steps as lines of a `Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._titles: dict[int, str] = {}
        self._shown: dict[int, float] = {}
        self._last = 0

    def begin(self, number: int, title: str) -> None:
        """The line with the title."""
        self._titles[number] = title
        self._head(number)

    def _head(self, number: int) -> None:
        self._last, self._shown[number] = number, time.monotonic()
        self._progress.line(f"#{number} {self._titles.get(number, '')}")

    def news(self, number: int, text: str) -> None:
        """A line without a time."""
        self._follow(number)
        self._progress.line(f"#{number} {text}")

    def output(self, number: int, seconds: float, stream: str, lines: Sequence[str]) -> None:
        """A line for each line."""
        self._follow(number)
        for line in lines:
            self._progress.line(f"#{number} {seconds:.3f} {line}")

    def _follow(self, number: int) -> None:
        """Say again what a step is whose last title is far above."""
        if number != self._last and time.monotonic() - self._shown.get(number, 0.0) > _AGAIN:
            self._head(number)
        self._last = number

    def transfer(self, number: int, key: str) -> Task:
        """A task of the `Progress`."""
        return self._progress.task(f"#{number} {key}")

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """The last line of a step."""
        self._last = number
        said = {DONE: f" {seconds:.1f}s", ERROR: f": {why}"}.get(how, "")
        self._progress.line(f"#{number} {how}{said}")

    def tick(self) -> None:
        """Lines do not change with time."""
