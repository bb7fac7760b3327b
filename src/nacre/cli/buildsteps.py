"""The steps of a build as lines for a log, and as BuildKit's raw JSON."""

from __future__ import annotations

from time import monotonic, time

from ..words.digest import sha256
from ..words.errors import UsageError
from .output import human_size, rfc3339
from .terminal import Display, JsonLines, LiveTask, Plain, display, is_capable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TextIO

    from ..words.progress import Task
    from .context import Context

_EVERY = 5.0
"""Seconds between two lines about something long."""
_FRAME = 0.1
_STREAMS = {"stdout": 1, "stderr": 2}


class PlainBuild(Plain):
    """Lines; something long has one every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._said: dict[LiveTask, float] = {}

    def task(self, key: str) -> Task:
        """A task that tells from time to time how far it is."""
        task = LiveTask(key, self._changed)
        self._said[task] = monotonic()
        return task

    def _changed(self, task: LiveTask, _weighty: bool) -> None:
        if task.over:
            self._said.pop(task, None)
            self.line(f"{task.key}: {task.status}")
        elif task.count and monotonic() - self._said.get(task, 0.0) >= _EVERY:
            self._said[task] = monotonic()
            total = f" / {human_size(task.total)}" if task.total else ""
            self.line(f"{task.key}: {task.status} {human_size(task.count)}{total}")


class RawJson(JsonLines):
    """Objects of BuildKit's type SolveStatus (`docker build --progress rawjson`)."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time) -> None:
        super().__init__(stream)
        self._clock = clock
        self._vertexes: dict[int, dict[str, Any]] = {}
        self._next: dict[LiveTask, float] = {}

    def steps(self) -> RawJson:
        """What hears of the steps: this."""
        return self

    def begin(self, number: int, title: str) -> None:
        """A vertex that has started."""
        digest = f"sha256:{sha256(f'{number} {title}'.encode('utf-8', 'replace')).hexdigest()}"
        self._vertexes[number] = {"digest": digest, "name": title, "started": rfc3339(self._clock())}
        self._write(vertexes=[self._vertexes[number]])

    def news(self, number: int, text: str) -> None:
        """A warning of the vertex, or a line of its log."""
        if text.startswith("WARNING: "):
            warning = {"vertex": self._digest(number), "level": 1, "short": _base64(text[9:])}
            self._write(warnings=[warning])
        else:
            self.output(number, 0.0, "stderr", [text])

    def output(self, number: int, seconds: float, stream: str, lines: Sequence[str]) -> None:
        """The log of the vertex."""
        data = _base64("".join(f"{line}\n" for line in lines))
        log = {"vertex": self._digest(number), "stream": _STREAMS.get(stream, 1), "data": data}
        self._write(logs=[{**log, "timestamp": rfc3339(self._clock())}])

    def transfer(self, number: int, key: str) -> Task:
        """A status of the vertex."""
        return LiveTask(key, lambda task, weighty: self._changed(number, task, weighty))

    def _changed(self, number: int, task: LiveTask, weighty: bool) -> None:
        if not weighty and monotonic() < self._next.get(task, 0.0):
            return
        self._next[task] = monotonic() + _FRAME
        now = rfc3339(self._clock())
        status = {"id": task.key, "vertex": self._digest(number), "name": task.status, "current": task.count}
        status |= {"total": task.total} if task.total else {}
        self._write(statuses=[{**status, "timestamp": now, **({"completed": now} if task.over else {})}])

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """The vertex has completed."""
        vertex = self._vertexes[number] | {"completed": rfc3339(self._clock())}
        vertex |= {"cached": True} if how == "CACHED" else {}
        if how in ("ERROR", "CANCELED"):
            vertex["error"] = why or "context canceled"
        self._write(vertexes=[vertex])

    def tick(self) -> None:
        """Nothing is said of time alone."""

    def _digest(self, number: int) -> str:
        return str(self._vertexes[number]["digest"])


def _base64(text: str) -> str:
    """Go's JSON of bytes."""
    from binascii import b2a_base64

    return b2a_base64(text.encode("utf-8", "replace"), newline=False).decode()


FORMS = ("auto", "plain", "tty", "quiet", "none", "rawjson", "json")


def build_display(context: Context, form: str) -> Display:
    """The display of a build, which also knows `tty`, `quiet` and `rawjson`. Raises UsageError."""
    if form not in FORMS:
        raise UsageError(f"BUILDKIT_PROGRESS: unknown type {form[:80]!r}", hint=f"use {', '.join(FORMS)}")
    if form in ("quiet", "none", "json"):
        return display(context, quiet=form != "json", form=form)
    if form == "tty" and not is_capable(context):
        raise UsageError("--progress tty: standard error is not a terminal", hint="use --progress plain")
    if form in ("auto", "tty") and is_capable(context):
        from .buildview import BuildView

        return BuildView(context.stderr, context.environment)
    return RawJson(context.stderr) if form == "rawjson" else PlainBuild(context.stderr)
