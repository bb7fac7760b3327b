"""Interleaved runs, medians, ratios, one table."""

from __future__ import annotations

import os
import platform
import re
import resource
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import adopter

MOUNTS = "NACRE_BENCH_MOUNTS"
"""The variable with the descriptor of the mount namespace in which nothing of the machine is hidden."""


def as_it_is() -> list[str]:
    """Options of nsenter(1) for a command that can see the whole machine."""
    descriptor = os.environ.get(MOUNTS)
    return [f"--mount=/proc/{os.getpid()}/fd/{descriptor}"] if descriptor else []


def end_cleanly() -> None:
    """Have the signals that end a program end this one in order: what it made is removed, once."""

    def end(number: int, _frame: object) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in _ENDING:
        signal.signal(number, end)


_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Skip(Exception):
    """A peer that cannot be measured here; the text says why."""


@dataclass
class Sample:
    """One run: seconds on the wall, seconds of CPU, and peak bytes of the process started and its children.

    The seconds of CPU are those of these processes, of what they leave behind (the processes of a container,
    say), and of the daemon that works for them, with its containers.
    """

    wall: float
    cpu: float
    peak: int


@dataclass
class Case:
    """One row of the table: the command of one peer.

    `before(round)` runs untimed before each run and may return the command of this round instead: one with
    a fresh folder, say. Folders must not be removed between rounds: on ext4 without a journal that makes
    creating files ten times slower for five minutes. `user` (uid and gid) runs it as somebody else.
    `daemon` is the process that does the work, if it is not the command itself. `base` names the case that it
    is compared with; the first where there is none. With `count` the command makes so many requests of
    `daemon`, and its own CPU and memory do not count; `beside` are others like it, whose CPU counts. `until`
    returns when that has happened whose time counts, and is given a process that ends with the command, which
    ends by itself then. `most` are rounds at
    the most.
    """

    name: str
    words: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    user: int = 0
    daemon: int = 0
    before: Callable[[int], Sequence[str] | None] | None = None
    samples: list[Sample] = field(default_factory=list)
    skipped: str = ""
    base: str = ""
    count: int = 0
    until: Callable[[int], object] | None = None
    most: int = 1000
    beside: Sequence[int] = ()

    def run(self, number: int, ready: Callable[[], object]) -> Sample:
        """Run once, from a fresh start to the end of the process; `ready` is called last before that."""
        words = list((self.before(number) if self.before else None) or self.words)
        if self.user:
            words = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", *words]
        ready()
        error = os.memfd_create("output")
        try:
            return self._timed(words, error)
        finally:
            os.close(error)

    def _daemons_cpu(self) -> float:
        return sum(map(adopter.cpu_of, (self.daemon, *self.beside)))

    def _timed(self, words: Sequence[str], error: int) -> Sample:
        before = self._daemons_cpu()
        pid, report = adopter.begin(words, {**os.environ, **self.env}, str(self.folder or os.getcwd()), error)
        happened = self._happened(pid)
        ended = adopter.ended(pid, report)
        if ended.code:
            said = os.pread(error, 2000, 0).decode(errors="replace").strip()
            raise Skip(f"{' '.join(words)} ended with {ended.code}: {said[-300:]}")
        wall = (happened or ended.end) - ended.begin
        served = self._daemons_cpu() - before
        if self.count:
            return Sample(wall, served, resident(self.daemon))
        return Sample(wall, ended.cpu + served, ended.peak * 1024)

    def _happened(self, pid: int) -> float:
        """When that happened which counts (`time.perf_counter`), 0 where that is the end of the process."""
        if not self.until:
            return 0.0
        try:
            self.until(pid)
            return time.perf_counter()
        except Skip:  # it has ended, and will say why
            return 0.0


def resident(process: int) -> int:
    """Bytes of memory that a process has now."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class Scenario:
    """A question to measure. `cases(bench)` sets everything up and says what to run, ours first."""

    name = ""
    question = ""
    warm = 2
    """Rounds before the first that counts."""
    most = 1000
    """Rounds at the most, however many were asked for."""
    unit = ""
    """What is counted where cases have a `count`; then the table has rates."""
    steady = True
    """Has every run to begin with nothing left to write and full memory?"""

    def cases(self, bench: Any) -> Iterable[Case]:
        """Set up; may raise Skip. Runs once."""
        raise NotImplementedError

    def notes(self) -> Iterable[str]:
        """Lines below the table, when all has run."""
        return ()


class Weighed(Scenario):
    """A question of bytes, answered once: `weigh` gives (case, bytes or why it was skipped), ours first."""

    def weigh(self, bench: Any) -> Iterable[tuple[str, int | str]]:
        """Set up and look; may raise Skip."""
        raise NotImplementedError


@dataclass
class Row:
    """Medians of one case, in milliseconds and megabytes; `ratio` is how many times slower than ours.

    With a `count` the ratio, and `cpu_ratio`, are those of one request.
    """

    case: str
    median: float
    lowest: float
    highest: float
    cpu: float
    peak: float
    ratio: float
    count: int = 0
    cpu_ratio: float = 0.0


def measure(cases: Sequence[Case], rounds: int, warm: int, ready: Callable[[], object]) -> None:
    """Every round runs each case once, in an order that shifts, so that drift hits all alike.

    `ready` is called before each run.
    """
    for number in range(-warm, rounds):
        shift = number % len(cases)
        for case in (*cases[shift:], *cases[:shift]):
            if case.skipped or number >= case.most:
                continue
            try:
                sample = case.run(number, ready)
            except Skip as reason:
                case.skipped = str(reason)
                continue
            if number >= 0:
                case.samples.append(sample)


def rows(cases: Sequence[Case]) -> list[Row]:
    """One row for each case that ran to the end."""
    ran = [case for case in cases if case.samples and not case.skipped]
    known = {case.name: case for case in ran}
    return [_row(case, known.get(case.base, ran[0])) for case in ran]


def _row(case: Case, base: Case) -> Row:
    walls = sorted(sample.wall for sample in case.samples)
    (wall, cpu), (base_wall, base_cpu) = _medians(case), _medians(base)
    each = (base.count or 1) / (case.count or 1)
    peak = max(sample.peak for sample in case.samples)
    row = Row(case.name, wall * 1e3, walls[0] * 1e3, walls[-1] * 1e3, cpu * 1e3, peak / 1e6, 0.0, case.count)
    row.ratio, row.cpu_ratio = wall / base_wall * each, cpu / base_cpu * each if base_cpu else 0.0
    return row


def _medians(case: Case) -> tuple[float, float]:
    """Seconds on the wall and of CPU."""
    return statistics.median(s.wall for s in case.samples), statistics.median(s.cpu for s in case.samples)


def table(title: str, lines: Sequence[Row], skipped: Mapping[str, str], unit: str = "") -> str:
    """As text, with what was skipped and why; rates where there is a `unit`."""
    head, cells = _rates(lines, unit) if unit else _times(lines)
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    text = [title]
    for line in (head, *cells):
        text.append("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip())
    text += [f"skipped {name}: {reason}" for name, reason in skipped.items()]
    return "\n".join(text)


def _times(lines: Sequence[Row]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Head and cells."""
    head = ("", "median ms", "min", "max", "cpu ms", "peak MB", "times ours")
    return head, [
        (row.case, f"{row.median:.1f}", f"{row.lowest:.1f}", f"{row.highest:.1f}", f"{row.cpu:.1f}",
         f"{row.peak:.0f}", f"{row.ratio:.2f}")
        for row in lines
    ]  # fmt: skip


def _rates(lines: Sequence[Row], unit: str) -> tuple[Sequence[str], list[Sequence[str]]]:
    ratios = ("time, times ours", "cpu, times ours")
    head = ("", f"{unit}/s", "min", "max", "cpu µs each", "resident MB", *ratios)
    return head, [
        (row.case, *(f"{row.count / ms * 1e3:.0f}" for ms in (row.median, row.highest, row.lowest)),
         f"{row.cpu / row.count * 1e3:.0f}", f"{row.peak:.0f}", f"{row.ratio:.2f}", f"{row.cpu_ratio:.2f}")
        for row in lines
    ]  # fmt: skip


def weights(title: str, found: Sequence[tuple[str, int | str]]) -> str:
    """Megabytes as text, with what was skipped and why."""
    base = next((value for _, value in found if isinstance(value, int)), 1)
    width = max(len(name) for name, _ in found)
    text = [title, f"{'':{width}}        MB  times ours"]
    for name, value in found:
        if isinstance(value, int):
            text.append(f"{name:{width}}{value / 1e6:10.1f}{value / base:12.2f}")
        else:
            text.append(f"skipped {name}: {value}")
    return "\n".join(text)


def timed(lines: Sequence[Row], skipped: Mapping[str, str]) -> dict[str, Any]:
    """One scenario for `report`."""
    return {"rows": [vars(row) for row in lines], "skipped": dict(skipped)}


def machine() -> dict[str, Any]:
    """Where it was measured: figures of two machines do not compare, ratios roughly do."""
    return {
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


def report(results: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """Everything as one JSON document; `results` is made of `timed` and of bytes by case."""
    return {"machine": machine(), "versions": dict(versions), "scenarios": dict(results)}
