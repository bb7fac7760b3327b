"""A pull and a push killed at every trace point that they pass, and at 99 %: then only the rest moves.

Bytes are counted where nobody can be wrong about them, at the registry.
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import ALL, Box, Zygote, drivers
from evil import OCI, Image, Layer, digest_of
from fakeregistry import Exchange, FakeRegistry

LAYERS = 3
BIG = 8_000_000
GRAIN = 1 << 18
"""What is read at once on a fast line, and lost with the process."""
NAME = "moved:1"


def noise(seed: int, size: int) -> bytes:
    """A layer that no codec makes smaller."""
    return Layer().file(f"noise{seed}", random.Random(seed).randbytes(size)).bytes()


def image(size: int = 200_000) -> Image:
    return Image(*(noise(seed, size) for seed in range(LAYERS)))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    found = FakeRegistry()
    found.single = True
    yield found
    found.close()


class Killings:
    """One command, on stores of one driver."""

    def __init__(self, zygote: Zygote, driver: str, name: str) -> None:
        self._zygote, self._driver, self._name = zygote, driver, name
        self._count = 0

    def box(self) -> Box:
        self._count += 1
        return Box(self._zygote, self._zygote.folder / f"{self._name}{self._count}", self._driver)

    def passed(self, words: Callable[[Box], tuple[str, ...]]) -> list[tuple[str, int]]:
        """The points that the command passes: each for the first time and for the last."""
        box, note = self.box(), self._zygote.folder / f"note-{self._name}-{self._driver}"
        box.do(*words(box), note=str(note))
        box.remove()
        seen = note.read_text().split()
        return [(point, nth) for point in sorted(set(seen)) for nth in sorted({1, seen.count(point)})]


def was_killed(code: int, nth: int) -> bool:
    """How often a point is passed depends on which layer is first; it is passed once in any case."""
    return code == -9 or (code == 0 and nth > 1)


def ways(zygote: Zygote) -> list[str]:
    return drivers(zygote, zygote.folder)[: None if ALL else 1]


def test_a_pull_killed_at_every_point(zygote: Zygote, registry: FakeRegistry) -> None:
    """What lies in `ingest/` and in trees does not come again."""
    source = image()
    name = source.publish(registry, "pulled")
    total = sum(map(len, source.blobs.values()))
    for driver in ways(zygote):
        killings = Killings(zygote, driver, "pull")
        points = killings.passed(lambda box: ("pull", "-q", name))
        assert {"ingest:begun", "layer:unpacked", "blob:published"} <= {point for point, _ in points}
        for point, nth in points:
            box = killings.box()
            said = box.command("pull", "-q", name, die=f"{point}#{nth}")
            assert was_killed(said.code, nth), (point, nth, said)
            registry.settle()
            kept, before = partial(box.root), registry.down
            box.do("pull", "-q", name)
            registry.settle()
            assert registry.down - before <= total - kept, (point, nth)
            box.is_sound((name,))
            box.remove()


def partial(root: Path) -> int:
    """Bytes of layers that were on their way; documents are small and come again."""
    sizes = [path.stat().st_size for path in root.glob("ingest/*/data")]
    return sum(size for size in sizes if size > 1000)


def test_a_push_killed_at_every_point(zygote: Zygote, registry: FakeRegistry) -> None:
    """What the registry has, also of an upload that was not ended, is not sent again."""
    source, archive = image(), zygote.folder / "moved.tar"
    archive.write_bytes(source.archive(NAME))
    total = sum(map(len, source.blobs.values()))

    def words(box: Box) -> tuple[str, ...]:
        """The push, to a repository that nobody knows yet."""
        box.do("load", "-q", "-i", str(archive))
        box.do("tag", NAME, target(box))
        return ("push", "-q", target(box))

    def target(box: Box) -> str:
        return f"{registry.host}/{box.root.name}:1"

    for driver in ways(zygote):
        killings = Killings(zygote, driver, "push")
        points = killings.passed(words)
        assert {"upload:begun", "upload:sent"} <= {point for point, _ in points}
        for point, nth in points:
            box = killings.box()
            line = words(box)
            said = box.command(*line, die=f"{point}#{nth}")
            assert was_killed(said.code, nth), (point, nth, said)
            registry.settle()
            repository = box.root.name
            kept, before = registry.has(repository), registry.up
            box.do(*line)
            assert registry.up - before <= total - kept, (point, nth)
            assert registry.manifests[repository, "1"][1] == source.document
            box.is_sound((target(box),))
            box.remove()


@pytest.mark.parametrize("names", [1, 4])
def test_many_processes_fetch_each_blob_once(zygote: Zygote, registry: FakeRegistry, names: int) -> None:
    """One fetches, the others wait for it; it does not matter under how many names the content is wanted."""
    source = image(1_000_000)
    pulled = [source.publish(registry, "wanted", str(number)) for number in range(names)]
    box = Killings(zygote, ways(zygote)[0], f"once{names}").box()
    said = zygote.ask(many=[[box.request("pull", "-q", pulled[n % names])] for n in range(8)])
    assert said.code == 0, said.err
    assert [answer["code"] for (answer,) in said.value] == [0] * 8, said.value
    registry.settle()
    assert registry.down == sum(map(len, source.blobs.values()))
    box.is_sound(pulled)
    box.remove()


# At 99 %, by processes of their own


def wait_for(condition: Callable[[], bool]) -> None:
    """Nothing tells when another process has written what it received."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


class Killer:
    """Ends a process from within the registry."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.started = threading.Event()

    def start(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.started.set()

    def kill(self) -> None:
        assert self.started.wait(60)
        assert self.process is not None
        self.process.kill()
        self.process.communicate()


def kept_as_it_comes() -> Image:
    """A layer whose blob stays beside its tree: then it is written from the first byte on."""
    layer = noise(9, BIG)
    found = Image(layer)
    del found.blobs[digest_of(layer)]
    found.manifest["layers"] = [found.blob(gzip.compress(layer, 1), f"{OCI}.layer.v1.tar+gzip")]
    return found


def test_a_pull_killed_at_99_percent(nacre: Any, registry: FakeRegistry) -> None:
    source, killer = kept_as_it_comes(), Killer()
    name = source.publish(registry, "big")
    digest, data = max(source.blobs.items(), key=lambda item: len(item[1]))
    most = len(data) * 99 // 100

    def cut(x: Exchange) -> bool:
        x.reply(200, data[:most], content_length=str(len(data)))
        wait_for(lambda: partial(nacre.root) > most - GRAIN)
        killer.kill()
        return x.cut()

    registry.on("GET", digest, cut)
    nacre.env["NACRE_RANGES"] = "1"  # also where the machine is so busy that this looks like a slow line
    killer.start(nacre.start("pull", "-q", name))
    wait_for(lambda: killer.process is not None and killer.process.poll() is not None)
    assert killer.process is not None
    assert killer.process.returncode == -9
    registry.settle()
    kept, before = partial(nacre.root), registry.down
    assert kept > most - GRAIN
    nacre("pull", "-q", name)
    assert registry.down - before == len(data) - kept
    nacre("system", "check")


def document_of(source: Image) -> bytes:
    """The config: it is small, and comes again unless it was written down."""
    return min(source.blobs.values(), key=len)


def test_a_push_killed_at_99_percent(nacre: Any, registry: FakeRegistry, tmp_path: Path) -> None:
    source, killer = Image(noise(9, BIG)), Killer()
    (tmp_path / "big.tar").write_bytes(source.archive(NAME))
    nacre("load", "-q", "-i", str(tmp_path / "big.tar"))
    name = f"{registry.host}/big:1"
    nacre("tag", NAME, name)
    data = max(source.blobs.values(), key=len)
    most = len(data) * 99 // 100

    def cut(x: Exchange) -> bool:
        """Take most of the body, and the process is gone."""
        key = x.url.path.rpartition("/")[2]
        registry.uploads[key] += x.rfile.read(most)
        killer.kill()
        return x.cut()

    registry.on("PATCH", "/uploads/", cut)
    killer.start(nacre.start("push", "-q", name))
    wait_for(lambda: killer.process is not None and killer.process.poll() is not None)
    assert killer.process is not None
    assert killer.process.returncode == -9
    registry.settle()
    before = registry.up
    nacre("push", "-q", name)
    assert registry.up - before == len(data) - most + len(document_of(source))
    assert registry.manifests["big", "1"][1] == source.document
    assert os.listdir(nacre.root / "uploads") == []
