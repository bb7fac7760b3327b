"""Layers moved by several processes."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from imagekit import Fetch, Registry

from nacre.ground.work.budget import Budget
from nacre.ground.work.forks import is_single_threaded
from nacre.images.arrows.pull import pull
from nacre.images.arrows.push import Sending, push
from nacre.images.layers import division
from nacre.images.layers.repack import Packing, form
from nacre.images.model.image import Image
from nacre.images.model.source import Content
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, RegistryError, StoreError
from nacre.words.oci import Descriptor, Manifest, parse_document
from nacre.words.progress import NullProgress
from nacre.words.reference import Reference

APP = Reference.parse("registry.test/app:1")
COUNT = 12
FILES = [{f"f{number}": os.urandom(200_000 - number)} for number in range(COUNT)]
ME = os.getpid()
FORKS = Budget(3, processes=8)


class Forking(Registry):
    """Notes in a file who fetches what. This process fetches no layer before a helper does."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self.notes, self.fork_safe, self.forks = notes, True, 0
        self.during = self.note
        self.here, self.there = os.pipe()

    def note(self, _digest: str, offset: int) -> None:
        if offset == 0:
            with self.notes.open("a") as file:
                file.write(f"{os.getpid()} {self.forks}\n")

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Fetch]:
        if os.getpid() != ME:
            os.write(self.there, b".")
        elif "layer" in descriptor.media_type and self.together:
            assert select.select([self.here], [], [], 60)[0]
        return super().fetch(descriptor, offset)

    together = True

    def forked(self) -> None:
        self.forks += 1

    def helpers_are_gone(self) -> bool:
        """They have been waited for, all that fetched something."""
        pids = {pid for pid, _ in self.noted()} - {ME}
        return not any(_parent(pid) == ME for pid in pids)

    def noted(self) -> list[tuple[int, int]]:
        return [(int(pid), int(forks)) for pid, forks in map(str.split, self.notes.read_text().splitlines())]


def _parent(pid: int) -> int:
    """0 if it is gone. Its number may be another's by now."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


class Seen(NullProgress):
    """What the tasks were told."""

    def __init__(self) -> None:
        self.bytes, self.statuses, self.lock = 0, list[str](), threading.Lock()

    def task(self, key: str) -> Seen:
        return self

    def phase(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, count: int) -> None:
        with self.lock:
            self.bytes += count

    def done(self, status: str) -> None:
        with self.lock:
            self.statuses.append(status)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forking]:
    monkeypatch.setattr(division, "WORTH", 1)
    # threads that other tests have left only wait
    monkeypatch.setattr(division, "is_single_threaded", lambda: True)
    found = Forking(tmp_path / "notes")
    found.add_image("1", *FILES)
    yield found
    os.close(found.here)
    os.close(found.there)


def test_every_layer_comes_once_from_whichever_process(registry: Forking, store: Store) -> None:
    seen = Seen()
    result = pull(registry, APP, store, progress=seen, budget=FORKS)
    assert all(result.image.read(name) == data for files in FILES for name, data in files.items())
    manifest = result.image.manifest
    total = sum(layer.size for layer in manifest.layers)
    assert (result.moved, seen.bytes) == (total + manifest.config.size, total)
    assert seen.statuses == ["Pull complete"] * COUNT
    noted = registry.noted()[1:]  # after the config
    assert len(noted) == COUNT
    assert all(forks == (pid != ME) for pid, forks in noted)
    assert 1 < len({pid for pid, _ in noted} | {ME}) <= 3
    assert all(store.layers.sources(layer.digest) == [registry.where] for layer in manifest.layers)


def test_the_store_is_whole_for_others_afterwards(registry: Forking, store: Store) -> None:
    image = pull(registry, APP, store, budget=FORKS).image
    with Store.open(store.root) as other:
        assert not other.trees.missing([layer.diff_id for layer in image.layers])
        assert all(other.blobs.has(layer.digest) for layer in image.manifest.layers)


def test_what_is_here_is_not_fetched(registry: Forking, store: Store) -> None:
    registry.add_image("2", *FILES[:-2])
    registry.together = False
    pull(registry, APP.replace(tag="2"), store)
    registry.notes.unlink()
    seen = Seen()
    pull(registry, APP, store, progress=seen, budget=FORKS)
    assert len(registry.noted()) == 3  # the config and two layers
    assert sorted(seen.statuses) == ["Already exists"] * (COUNT - 2) + ["Pull complete"] * 2


@pytest.mark.parametrize("why", ["small", "one at once", "not fork-safe", "threads", "not asked"])
def test_alone_where_it_does_not_pay_or_cannot_be(
    registry: Forking, store: Store, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(division, "WORTH", 1 << 40 if why == "small" else 1)
    registry.together = False
    registry.fork_safe = why != "not fork-safe"
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    if why == "threads":
        monkeypatch.setattr(division, "is_single_threaded", is_single_threaded)
        thread.start()
    pull(
        registry,
        APP,
        store,
        budget=FORKS.limited(transfers=int(why == "one at once"), processes=int(why == "not asked")),
    )
    over.set()
    assert {pid for pid, _ in registry.noted()} == {ME}


def test_alone_where_nothing_may_be_forked(
    registry: Forking, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    registry.together = False
    assert pull(registry, APP, store, budget=FORKS).image.read("f0") == FILES[0]["f0"]
    assert {pid for pid, _ in registry.noted()} == {ME}


def test_a_failure_anywhere_ends_all(registry: Forking, store: Store) -> None:
    """Nothing is named then, and the next pull goes on."""
    manifest, _ = registry.add_image("1", *FILES)
    registry.cut = {layer.digest: 100_000 for layer in manifest.layers}
    with pytest.raises(RegistryError, match="connection lost"):
        pull(registry, APP, store, budget=FORKS)
    assert store.refs.list() == []
    registry.cut, registry.together = {}, False
    assert pull(registry, APP, store, budget=FORKS).image.read("f0") == FILES[0]["f0"]


def test_a_helper_s_failure_is_the_one_that_is_raised(registry: Forking, store: Store) -> None:
    """Whatever comes to another process than this one is wrong."""
    lie(registry, lambda pid: pid != ME)
    with pytest.raises(DigestMismatch, match=r"layer [0-9a-f]{12}"):
        pull(registry, APP, store, budget=FORKS)
    assert store.refs.list() == []


def test_a_failure_here_ends_the_helpers(registry: Forking, store: Store) -> None:
    lie(registry, lambda pid: pid == ME)
    with pytest.raises(DigestMismatch, match=r"layer [0-9a-f]{12}"):
        pull(registry, APP, store, budget=FORKS)
    assert registry.helpers_are_gone()


def lie(registry: Forking, to: object) -> None:
    """Change the blobs of layers, in the processes that fit: when the first byte of one is asked for."""
    manifest, _ = registry.add_image("1", *FILES)
    sizes = {layer.digest: layer.size for layer in manifest.layers}

    def during(digest: str, offset: int) -> None:
        registry.note(digest, offset)
        if digest in sizes and offset == 0 and to(os.getpid()):  # type: ignore[operator]
            registry.blobs[digest] = os.urandom(sizes[digest])

    registry.during = during


def test_a_helper_that_is_killed_is_missed_and_nothing_is_lost(registry: Forking, store: Store) -> None:
    def during(_digest: str, offset: int) -> None:
        if os.getpid() != ME and offset > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    registry.during = during
    with pytest.raises(StoreError, match="killed"):
        pull(registry, APP, store, budget=FORKS)
    registry.during, registry.together = registry.note, False
    assert pull(registry, APP, store).image.read("f3") == FILES[3]["f3"]


def test_an_interrupt_ends_all(registry: Forking, store: Store) -> None:
    def during(digest: str, offset: int) -> None:
        registry.note(digest, offset)
        if os.getpid() == ME and offset > 0:
            os.kill(ME, signal.SIGINT)

    registry.during = during
    with pytest.raises(KeyboardInterrupt):
        pull(registry, APP, store, budget=FORKS)
    assert registry.helpers_are_gone()
    assert store.refs.list() == []


class Shelf(Forking):
    """A sink that several processes see: blobs are files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "notes")
        self.folder = folder

    def has(self, descriptor: Descriptor) -> bool:
        return (self.folder / descriptor.digest.hex).exists()

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        if os.getpid() != ME:
            os.write(self.there, b".")
        elif "layer" in descriptor.media_type and self.together:
            assert select.select([self.here], [], [], 60)[0]
        super().put(descriptor, opener)  # type: ignore[arg-type]
        (self.folder / descriptor.digest.hex).write_bytes(self.blobs[descriptor.digest])
        self.note(descriptor.digest, 0)

    def layers(self) -> list[Descriptor]:
        """Those of the image, whose blobs are here, whole."""
        manifest = parse_document(self.blobs[self.tags["1"][0]])
        assert isinstance(manifest, Manifest)
        for layer in manifest.layers:
            data = (self.folder / layer.digest.hex).read_bytes()
            assert (Digest.of(data), len(data)) == (layer.digest, layer.size)
        return list(manifest.layers)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def pushed(registry: Forking, store: Store) -> Image:
    registry.together = False
    return pull(registry, APP, store).image


def test_a_push_is_divided_as_well(pushed: Image, store: Store, shelf: Shelf) -> None:
    seen = Seen()
    result = push(store, pushed.descriptor, shelf, "1", Sending(budget=FORKS), progress=seen)
    total = sum(layer.size for layer in pushed.manifest.layers)
    assert shelf.layers() == list(pushed.manifest.layers)
    assert (result.moved, result.existing) == (total + pushed.manifest.config.size, 0)
    assert (seen.bytes, seen.statuses) == (total, ["Pushed"] * COUNT)
    assert len({pid for pid, _ in shelf.noted()}) > 1
    assert all(forks == (pid != ME) for pid, forks in shelf.noted())
    assert all(shelf.where in store.layers.sources(layer.digest) for layer in pushed.manifest.layers)


def test_a_push_of_little_is_not_divided(pushed: Image, store: Store, shelf: Shelf) -> None:
    """What is there already does not count."""
    shelf.together = False
    push(store, pushed.descriptor, shelf, "1")
    lacking = pushed.manifest.layers[0]
    (shelf.folder / lacking.digest.hex).unlink()
    shelf.notes.unlink()
    result = push(store, pushed.descriptor, shelf, "2", Sending(budget=FORKS))
    assert (result.moved, shelf.noted()) == (lacking.size, [(ME, 0)])


@pytest.mark.parametrize("codec", ["zstd", "zstd:chunked"])
def test_layers_are_compressed_anew_in_every_process(
    pushed: Image, store: Store, shelf: Shelf, codec: str
) -> None:
    result = push(store, pushed.descriptor, shelf, "1", Sending(packing=Packing(codec), budget=FORKS))
    layers = shelf.layers()
    assert [form(layer) for layer in layers] == [codec] * COUNT
    assert result.moved == sum(layer.size for layer in layers) + pushed.manifest.config.size
    assert len({pid for pid, _ in shelf.noted()}) > 1
    for layer, diff_id in zip(layers, pushed.diff_ids, strict=True):
        if store.trees.can_tar(diff_id):
            assert not store.blobs.has(layer.digest)
    alone = push(store, pushed.descriptor, shelf, "2", Sending(packing=Packing(codec, force=True)))
    assert alone.digest == result.digest


def test_a_failure_of_a_push_anywhere_ends_all(pushed: Image, store: Store, shelf: Shelf) -> None:
    def refuse(descriptor: Descriptor, opener: object) -> None:
        if os.getpid() != ME:
            raise RegistryError("no room", status=507)

    shelf.put = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(RegistryError, match="no room") as caught:
        push(store, pushed.descriptor, shelf, "1", Sending(budget=FORKS))
    assert caught.value.status == 507
    assert shelf.tags == {}
