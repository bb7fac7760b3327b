"""What a build says, in the words of BuildKit's plain progress.

#5 [build 2/4] RUN make
#5 0.412 cc -c a.c
#5 DONE 1.2s
#6 [build 3/4] COPY a b
#6 CACHED
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...words.progress import Progress, Task


class BuildReport:
    """Counts the steps of one build and tells them line by line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._count = 0
        self.started = time.monotonic()

    def step(self, title: str) -> StepReport:
        """Begin a numbered step with this title."""
        self._count += 1
        self._progress.line(f"#{self._count} {title}")
        return StepReport(self._progress, self._count)

    def line(self, text: str) -> None:
        """A line that belongs to no step."""
        self._progress.line(text)


class StepReport:
    """One step: its lines, and how it ended."""

    def __init__(self, progress: Progress, number: int) -> None:
        self._progress, self._number = progress, number
        self._started = time.monotonic()
        self._pending = {"stdout": b"", "stderr": b""}

    def line(self, text: str) -> None:
        """News within the step, without a time."""
        self._progress.line(f"#{self._number} {text}")

    def task(self, key: str) -> Task:
        """A line of progress for something long within the step."""
        return self._progress.task(key)

    def output(self, stream: str, data: bytes) -> None:
        """Output of the step's program; shown line by line, each with the seconds since the step began."""
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        if len(rest) > 1 << 16:
            lines, rest = [*lines, rest], b""
        self._pending[stream] = rest
        for line in lines:
            self._show(line)

    def _show(self, line: bytes) -> None:
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
        self._progress.line(f"#{self._number} {time.monotonic() - self._started:.3f} {text}")

    def flush(self) -> None:
        """Show what was written without a line end."""
        for stream, rest in self._pending.items():
            if rest:
                self._show(rest)
            self._pending[stream] = b""

    def done(self) -> None:
        """Report that the step succeeded, with its duration."""
        self.flush()
        self.line(f"DONE {time.monotonic() - self._started:.1f}s")

    def cached(self) -> None:
        """Nothing had to be done."""
        self.line("CACHED")

    def failed(self, why: str) -> None:
        """Report that the step failed, and why."""
        self.flush()
        self.line(f"ERROR: {why}")
