"""What a registry that holds much costs: its start, lists of tags, pushes while it collects garbage.

The rows of a full catalog are written into its database, as pushing them would take an hour.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

from .bench import Bench, case_of
from .harness import Case, Sample, Scenario, Skip, resident
from .peers import ROOT
from .registries import Distribution, NacreRegistry, Pusher, Server
from .serving import OTHERS, free_port, start

BLOBS, MANIFESTS, TAGS = 1_000_000, 100_000, 100_000
_EACH = BLOBS // MANIFESTS
_LONG_AGO = 1.0
_PATIENCE = 60.0


def digest(number: int) -> str:
    """That of content which nobody has."""
    return "sha256:" + hashlib.sha256(b"%d" % number).hexdigest()


def fill(root: Path) -> None:
    """Put 1,000,000 blobs and 100,000 manifests of 10 blobs each into the catalog of a registry that is not
    served. A tenth of the manifests has no tag, a tenth of the blobs no manifest; these were found unused
    long ago, and can go.
    """
    with closing(sqlite3.connect(root / "registry.db")) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("INSERT INTO repositories VALUES (1000, 'full')")
        db.executemany("INSERT INTO blobs VALUES (1000, ?, 1, ?)", _sorted(range(BLOBS)))
        manifests = range(BLOBS, BLOBS + MANIFESTS)
        db.executemany("INSERT INTO manifests VALUES (1000, ?, 1, 'x', '', '', '{}', ?)", _sorted(manifests))
        parts = ((digest(n), digest(part)) for n in manifests for part in _parts(n))
        db.executemany("INSERT INTO parts VALUES (1000, ?, ?)", parts)
        tags = ((f"t{n}", digest(n)) for n in manifests if n % 10)
        db.executemany("INSERT INTO tags VALUES (1000, ?, ?, 1)", tags)
        unused = ((digest(n), table, _LONG_AGO) for table, numbers in _unused() for n in numbers)
        db.executemany("INSERT INTO unused VALUES (1000, ?, ?, ?)", unused)
        db.commit()


def _parts(manifest: int) -> range:
    """Its blobs. One without a tag has those of the next, so that nobody has the first of each hundred."""
    number = manifest - BLOBS
    first = (number if number % 10 else number + 1) * _EACH
    return range(first, first + _EACH)


def _unused() -> Iterator[tuple[str, list[int]]]:
    yield "manifests", list(range(BLOBS, BLOBS + MANIFESTS, 10))
    yield "blobs", [n for first in range(0, BLOBS, 10 * _EACH) for n in range(first, first + _EACH)]


def fill_unused(root: Path) -> None:
    """Files of everything that can go, of 64 KiB without a block on the disk."""
    for _, numbers in _unused():
        for number in numbers:
            with (root / "blobs/sha256" / digest(number).removeprefix("sha256:")).open("wb") as file:
                file.truncate(64 << 10)


def _sorted(numbers: range) -> list[tuple[str, float]]:
    return sorted((digest(number), _LONG_AGO) for number in numbers)


def make(bench: Bench, folder: Path) -> Path:
    """An empty registry of ours that is not served: its root."""
    with ExitStack() as stack:
        NacreRegistry(bench.nacre.words[0], folder, stack)
    return folder / "data"


def full(bench: Bench, _stack: ExitStack) -> Path:
    """The database of a registry that holds much, made once."""
    root = make(bench, bench.fresh("full"))
    fill(root)
    return root / "registry.db"


def make_full(bench: Bench, folder: Path) -> Path:
    """A registry of ours that holds much and is not served: its root."""
    root = make(bench, folder)
    shutil.copyfile(bench.shared(full), root / "registry.db")
    return root


class Started(Case):
    """From the start of a server to its first answer on `port`; CPU and memory are those until then."""

    port = 0

    def run(self, number: int, ready: Callable[[], object]) -> Sample:
        ready()
        begin = time.perf_counter()
        process = subprocess.Popen(
            self.words, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._await(process)
            wall = time.perf_counter() - begin
            return Sample(wall, _processor_time(process.pid), resident(process.pid))
        finally:
            process.terminate()
            process.wait(_PATIENCE)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    return
            time.sleep(0.001)
        raise Skip(f"{self.words[0]} gives no answer")


def _processor_time(process: int) -> float:
    """Seconds of CPU of its threads, to the nanosecond (proc(5), schedstat)."""
    paths = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in paths) / 1e9


class Start(Scenario):
    """The start of servers, empty and full."""

    name = "registry-start"
    question = "start of a registry until its first answer; memory then"
    steady = False
    most = 9
    warm = 1

    def cases(self, bench: Bench) -> Iterator[Case]:
        empty = make(bench, bench.fresh("empty"))
        yield self._ours(bench, "nacre, empty", empty)
        yield self._ours(bench, f"nacre, {BLOBS:,} blobs", make_full(bench, bench.fresh("full")))
        for name in OTHERS:
            yield case_of(f"{name}, empty", partial(self._other, bench, name))

    def _ours(self, bench: Bench, name: str, root: Path) -> Case:
        port = free_port()
        words = ["registry", "serve", "-q", "--gc-interval", "0s", "--root", str(root)]
        return _started(name, [bench.nacre.words[0], *words, "--addr", f"127.0.0.1:{port}"], port)

    def _other(self, bench: Bench, name: str) -> Case:
        """Its configuration is written by a first start."""
        with ExitStack() as stack:
            server = start(bench, stack, name)
            words = Path(f"/proc/{server.daemon}/cmdline").read_text().rstrip("\0").split("\0")
        port = free_port()
        for path in server.folder.glob("config.*"):
            text = path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}")
            path.write_text(text.replace(f'"{server.url.rpartition(":")[2]}"', f'"{port}"'))
        return _started(f"{name}, empty", words, port, server.folder)


def _started(name: str, words: Sequence[str], port: int, folder: Path | None = None) -> Case:
    case = Started(name, words, folder=folder)
    case.port = port
    return case


class Tags(Scenario):
    """All tags of a repository, page by page."""

    name = "registry-tags"
    question = f"{TAGS:,} tags listed in pages of 1,000; memory of the server afterwards"
    steady = False
    most = 5
    warm = 1

    def cases(self, bench: Bench) -> Iterator[Case]:
        for count in (TAGS, 1000):
            title = f"nacre, {count:,} tags"
            yield case_of(title, partial(self._case, bench, "nacre", title, count))
        for name in OTHERS[:2]:
            yield case_of(name, partial(self._case, bench, name, name, TAGS))

    def _case(self, bench: Bench, name: str, title: str, count: int) -> Case:
        server = start(bench, bench.stack, name)
        pusher = Pusher(server.url)
        digest = pusher.image("lib/app", "1", [b"layer"])
        pusher.close()
        _tag(server, digest, count)
        url = server.url + "/v2/lib/app/tags/list?n=1000"
        words = [sys.executable, "-m", "benchmarks.load", "--all", url]
        return Case(title, words, folder=ROOT, daemon=server.daemon, count=1)


def _tag(server: Server, digest: str, count: int) -> None:
    """So many tags of one manifest, in the server's own form."""
    names = [f"v{number:06}" for number in range(count)]
    if isinstance(server, Distribution):
        folder = server.folder / "data/docker/registry/v2/repositories/lib/app/_manifests/tags"
        for name in names:
            os.makedirs(folder / name / "current")
            (folder / name / "current/link").write_text(digest)
        return
    with closing(sqlite3.connect(server.folder / "data/registry.db", timeout=60)) as db:
        rows = [(name, digest) for name in names]
        db.executemany("INSERT INTO tags SELECT id, ?, ?, 1 FROM repositories WHERE name = 'lib/app'", rows)
        db.commit()


class Push(Scenario):
    """Images of new content from several clients at once."""

    name = "registry-push"
    question = "push of 50 images of 10 layers of 1 MiB by 8 clients"
    unit = "images"
    most = 5
    warm = 1
    steady = False

    def cases(self, bench: Bench) -> Iterator[Case]:
        for name in ("nacre", *OTHERS):
            yield case_of(name, partial(self._case, bench, name))

    def _case(self, bench: Bench, name: str) -> Case:
        return pushing(name, start(bench, bench.stack, name), 50, 1 << 20)


def pushing(title: str, server: Server, images: int, size: int) -> Case:
    """The same number of new images in each run."""
    flags = ["--images", str(images), "--size", str(size)]
    words = [sys.executable, "-m", "benchmarks.pushing", *flags, server.url]
    return Case(
        title, words, folder=ROOT, daemon=server.daemon, count=images,
        before=lambda number: [*words, "--seed", f"r{number}"],
    )  # fmt: skip


class Collect(Scenario):
    """Pushes into a full registry that collects, and into one that does not."""

    name = "registry-garbage"
    question = f"push of 100 images of 10 layers of 64 KiB beside {BLOBS:,} blobs and {MANIFESTS:,} manifests"
    unit = "images"
    most = 7
    warm = 1
    steady = False
    _root, _seconds, _running = Path(), 0.0, 0.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        idle = self._server(bench, "0s")
        busy = self._server(bench, "1s")
        bench.stack.callback(self._let, busy, True)  # before it is ended
        for title, server in (("nothing is collected", idle), ("nacre collects", busy)):
            case = pushing(title, server, 100, 64 << 10)
            case.before = partial(self._before, case.before, busy, server is busy)
            yield case

    def _server(self, bench: Bench, every: str) -> Server:
        folder = bench.fresh("collected")
        self._root = make_full(bench, folder)
        fill_unused(self._root)
        self._running = time.monotonic()
        return NacreRegistry(bench.nacre.words[0], folder, bench.stack, "--gc-interval", every)

    def _before(
        self, words: Callable[[int], Sequence[str] | None], busy: Server, runs: bool, number: int
    ) -> Sequence[str] | None:
        """Who collects is stopped while the other is measured: they share the machine."""
        self._let(busy, runs)
        return words(number)

    def _let(self, busy: Server, runs: bool) -> None:
        os.kill(busy.daemon, signal.SIGCONT if runs else signal.SIGSTOP)
        now = time.monotonic()
        if self._running:
            self._seconds += now - self._running
        self._running = now if runs else 0.0

    def notes(self) -> Iterator[str]:
        """What was collected beside the pushes."""
        seconds = self._seconds + (time.monotonic() - self._running if self._running else 0.0)
        gone = {table: sum(map(self._is_gone, map(digest, numbers))) for table, numbers in _unused()}
        rate = sum(gone.values()) / seconds
        said = f"{gone['manifests']:,} manifests and {gone['blobs']:,} blobs"
        yield f"collected meanwhile, in {seconds:.0f} s: {said} with their files, {rate:.0f} a second"
        if not rate or sum(gone.values()) == sum(len(numbers) for _, numbers in _unused()):
            yield "THIS SAYS NOTHING: pushes were not beside a collection all the time"

    def _is_gone(self, digest: str) -> bool:
        return not (self._root / "blobs/sha256" / digest.removeprefix("sha256:")).exists()


SCENARIOS = (Push(), Tags(), Start(), Collect())
