"""What is recorded of a build, for `nacre buildx history`: what was asked for, its log, and how it ended."""

from __future__ import annotations

import os

from ..grammars.dockerfile.namedcontext import redacted
from ..images.dockerfile.lint import is_sensitive
from ..stores.buildrecords import RecordWriter
from ..words.errors import BuildFailed, DockerfileError, NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Any, Self

    from ..services.build import BuildOptions, BuildReport, BuildResult, Inputs
    from ..words.progress import Steps, Task
    from . import Engine
    from .archives import Origin

_MAX_VALUE, _MAX_PAIRS = 1_000, 40
_CANCELED = {"status": "canceled", "error": {"message": "the build was canceled"}}
_MAX_OUTPUT, _MAX_SOURCE = 20_000, 8_000


class BuildRecording:
    """A record for the time of a build: `with BuildRecording(…) as recording`, and `recording.made(results)`.

    Whatever ends the block ends the record. It raises nothing of its own.
    """

    def __init__(
        self, engine: Engine, origins: tuple[Origin, Origin], options: BuildOptions, report: BuildReport,
        name: str = "",
    ) -> None:  # fmt: skip
        """`name` is that of the target, where several are built side by side."""
        self._report, self._name = report, name
        self._writer = RecordWriter(engine.store.root, _asked(origins, options))
        self._steps = RecordedSteps(report.steps, self._writer)
        self._ended: dict[str, Any] = {"status": "completed"}

    def __enter__(self) -> Self:
        self._report.steps = self._steps
        return self

    def read(self, inputs: Inputs) -> None:
        """What is built is known now."""
        self._ended["dockerfile"] = inputs.name
        if inputs.source[0]:
            return
        from ..services.build.checkout import Checkout

        found = Checkout.find(inputs.folder, "") if inputs.folder else None
        self._ended |= dict(found.described() if found else ())

    def made(self, results: Sequence[BuildResult]) -> list[BuildResult]:
        """What came of it, with the name of the record."""
        self._ended["materials"] = sorted({base for one in results for base in one.bases})[:_MAX_PAIRS]
        self._ended["attachments"] = [
            [str(one.image.config.platform), str(one.image.digest), one.image.manifest.media_type]
            for one in results
        ]
        for one in results:
            self._keep(one)
        return [one.replace(ref=self._writer.ref) for one in results]

    def _keep(self, result: BuildResult) -> None:
        from ..words.digest import Digest

        for predicate in result.predicates:
            digest, platform = Digest.of(predicate.data), str(result.image.config.platform)
            if self._writer.say(predicate.type, platform, str(digest), predicate.data.decode()):
                self._ended["attachments"].append([platform, str(digest), predicate.type])

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ended |= _fault(error) if self._is_own(error) else _CANCELED
        self._writer.end({**self._ended, "steps": self._steps.counts})
        self._report.steps = self._steps.shown

    def _is_own(self, error: BaseException) -> bool:
        return not (self._name and isinstance(error, NacreError)) or error.message.startswith(
            f"target {self._name}: "
        )


class RecordedSteps:
    """The steps of a build, shown as before and written to a record."""

    def __init__(self, shown: Steps, writer: RecordWriter) -> None:
        self.shown, self._writer = shown, writer
        self.counts = [0, 0, 0]
        """Begun, ended well, and found in the cache."""

    def begin(self, number: int, title: str) -> None:
        """Write down that a step begins."""
        self.counts[0] += 1
        self._writer.tell("begin", number, title)
        self.shown.begin(number, title)

    def news(self, number: int, text: str) -> None:
        """A line about a step."""
        self._writer.tell("news", number, text)
        self.shown.news(number, text)

    def output(self, number: int, seconds: float, stream: str, lines: Sequence[str]) -> None:
        """What the program of a step wrote."""
        self._writer.tell("output", number, round(seconds, 3), stream, list(lines))
        self.shown.output(number, seconds, stream, lines)

    def transfer(self, number: int, key: str) -> Task:
        """Something long within a step."""
        return _RecordedTask(self.shown.transfer(number, key), number, key, self._writer)

    def end(self, number: int, how: str, seconds: float, why: str) -> None:
        """A step has ended."""
        self.counts[1] += how in ("DONE", "CACHED")
        self.counts[2] += how == "CACHED"
        self._writer.tell("end", number, how, round(seconds, 3), why[:_MAX_VALUE])
        self.shown.end(number, how, seconds, why)

    def tick(self) -> None:
        """Let whoever shows the build know that time has passed."""
        self.shown.tick()


class _RecordedTask:
    """Something long, of which the record has the end."""

    def __init__(self, shown: Task, number: int, key: str, writer: RecordWriter) -> None:
        self._shown, self._number, self._key, self._writer = shown, number, key, writer

    def phase(self, name: str, total: int | None = None) -> None:
        self._shown.phase(name, total)

    def advance(self, count: int) -> None:
        self._shown.advance(count)

    def done(self, status: str) -> None:
        self._writer.tell("task", self._number, self._key, status)
        self._shown.done(status)


def _asked(origins: tuple[Origin, Origin], options: BuildOptions) -> dict[str, Any]:
    """What was asked for; neither secrets nor the values of arguments whose names sound like some."""
    context, file = map(_place, origins)
    found: dict[str, Any] = {
        "context": context, "file": file, "target": options.target,
        "platforms": [str(platform) for platform in options.platforms],
        "arguments": _pairs(options.arguments), "labels": _pairs(options.labels),
        "contexts": _pairs([(name, redacted(value)) for name, value in options.contexts]),
        "tags": [str(tag) for tag in options.tags][:_MAX_PAIRS],
        "network": options.network if options.network != "host" else "",
        "hosts": list(options.hosts)[:_MAX_PAIRS], "shm_size": options.shm_size,
        "ulimits": [f"{name}={soft}:{hard}" for name, soft, hard in options.ulimits][:_MAX_PAIRS],
        "no_cache": options.no_cache, "no_cache_filter": list(options.no_cache_filter)[:_MAX_PAIRS],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _place(origin: Origin) -> str:
    """A path as it leads there from anywhere, a URL without a login, or `-`."""
    if not isinstance(origin, str | os.PathLike):
        return "-"
    text = os.fspath(origin)
    if not text or text == "-" or "://" in text or text.startswith("git@"):
        return redacted(text)
    return os.path.abspath(text)


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[list[str | None]]:
    """None is a value that is kept from the record."""
    return [
        [name[:_MAX_VALUE], None if is_sensitive(name) else redacted(value)[:_MAX_VALUE]]
        for name, value in list(pairs)[:_MAX_PAIRS]
    ]


def _fault(error: BaseException) -> dict[str, Any]:
    """How a build ended that failed: with the lines of the Dockerfile, and what the step wrote last."""
    if not isinstance(error, NacreError):
        if isinstance(error, Exception):
            return {"status": "error", "error": {"message": f"internal error: {type(error).__name__}"}}
        return _CANCELED
    found: dict[str, Any] = {"message": error.message[:_MAX_SOURCE]}
    if isinstance(error, BuildFailed | DockerfileError):
        first = error.source_line if isinstance(error, BuildFailed) else error.line
        found |= {
            "file": error.file, "line": error.line, "first": first, "source": error.source[:_MAX_SOURCE],
        }  # fmt: skip
    if isinstance(error, BuildFailed):
        found |= {
            "last": error.last_line, "step": error.step[:_MAX_VALUE], "logs": error.output[-_MAX_OUTPUT:],
            "code": error.code,
        }  # fmt: skip
    return {"status": "error", "error": found}
