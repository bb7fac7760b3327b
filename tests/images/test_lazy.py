"""Layers that are here before their content is: what a reader sees, whatever the registry does."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagekit import ListsReferrers, make_tar
from machine import needs_root, served_in_userns
from test_partial import Files, Ranged, read, version

from nacre.grammars.accessprofile import AccessProfile
from nacre.grammars.codecs.pack import pack
from nacre.grammars.codecs.stream import decompress
from nacre.grammars.sideindex import LayerIndex
from nacre.ground.files import install_trace
from nacre.ground.precontent import ContentGroup
from nacre.ground.work.budget import Budget
from nacre.images.arrows.pull import PullResult, pull, pull_lazily
from nacre.images.arrows.sideindexes import attach
from nacre.images.layers import checkpoints, division, filler, readaround
from nacre.images.layers.checkpoints import make_index
from nacre.images.layers.extents import Extents
from nacre.images.layers.filler import Filler
from nacre.images.layers.lazy import LazyLayer
from nacre.images.model.edit import append_layer, make_manifest, new_config
from nacre.stores.store import Store
from nacre.stores.trees.files import missing
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, RegistryError
from nacre.words.oci import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor, Platform
from nacre.words.reference import Reference

NAME = Reference.parse("registry.test/app:1")


class Gated(Ranged):
    """Gives what is `wanted` at once, anything else when `gate` is open; `wrong` sends other bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.wanted = threading.Event(), range(0)
        self.asked, self.ranges_begun = threading.Condition(), list[tuple[int, int]]()
        self.wrong = self.down = False

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> Iterator[io.BytesIO]:
        with self.asked:
            self.ranges_begun.append((start, end))
            self.asked.notify_all()
        if not (start < self.wanted.stop and self.wanted.start < end):
            assert self.gate.wait(60)
        if self.down:
            raise RegistryError("the registry is down")
        with super().fetch_range(descriptor, start, end) as reader:
            yield io.BytesIO(bytes(end - start)) if self.wrong else reader


class Indexed(ListsReferrers, Gated):
    """The same with layers in gzip, whose indexes are attached to the image."""

    def chunked(
        self, tag: str, files: Files, notes: dict[str, str] | None = None, tar: bytes = b""
    ) -> Descriptor:
        tar = tar or make_tar(files)
        return self.compressed(tag, tar, gzip.compress(tar, 1, mtime=0))

    def compressed(self, tag: str, tar: bytes, blob: bytes) -> Descriptor:
        """An image of one layer, compressed somehow, and its index."""
        layer = self.image(tag, tar, Descriptor(OCI_LAYER_GZIP, self.add(blob), len(blob)), {})
        self.attach(tag, make_index(io.BytesIO(blob), layer, Digest.of(tar)))
        return layer

    def attach(self, tag: str, *indexes: tuple[Descriptor, bytes]) -> None:
        digest, media_type = self.tags[tag]
        attach(self, Descriptor(media_type, Digest(digest), len(self.blobs[digest])), indexes)


@pytest.fixture(params=[Gated, Indexed])
def gated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gated:
    monkeypatch.setitem(checkpoints.APART, "gzip", 1 << 18)
    made: Gated = request.param()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    needs_root()
    with Store.open(str(tmp_path / "store"), driver="erofs") as opened:
        if opened.trees.lazy.obstacle:
            pytest.skip(opened.trees.lazy.obstacle)
        yield opened


class Pulled:
    """An image that was pulled lazily, and the filler of its layers, once it is begun."""

    def __init__(self, store: Store, registry: Gated, profile: AccessProfile | None = None) -> None:
        self.store, self.registry, self.profile = store, registry, profile
        registry.gate.set()
        pulled = pull_lazily(registry, NAME, store)
        self.result, self.layers = pulled.result, pulled.layers
        registry.gate.clear()
        self.failure: BaseException | None = None
        self.proven = list[bool]()
        self._driver = store.driver.name
        self._thread = threading.Thread(target=self._fill)

    def _fill(self) -> None:
        with Store.open(self.store.root, driver=self._driver) as store:

            def complete(layer: LazyLayer, proven: bool) -> None:
                self.proven.append(proven)
                store.trees.lazy.complete(layer.tree, proven=proven)

            filling = Filler(
                self.layers, self.registry, complete, lambda one, _: one.tree.is_here, self.profile
            )
            try:
                filling.run()
            except DigestMismatch as error:
                self.failure = error
            self.read = filling.profile

    def begin(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def end(self) -> None:
        """Everything comes."""
        self.registry.down = self.registry.wrong = False
        self.registry.gate.set()
        self.join()
        for layer in self.layers:
            self.store.trees.lazy.let_go(layer.tree)
        self.layers = ()


@contextmanager
def pulled(store: Store, registry: Gated, wanted: bytes = b"") -> Iterator[Pulled]:
    """Nothing comes but where the content `wanted` lies, until the gate opens."""
    made = Pulled(store, registry)
    if wanted:
        registry.wanted = place_of(made.layers[0], registry, wanted)
    made.begin()
    try:
        yield made
    finally:
        if made.layers:
            made.end()


def digest_of(content: bytes | None) -> str:
    return sha256(content or b"").hexdigest()


def place_of(layer: LazyLayer, registry: Gated, content: bytes | None) -> range:
    """Where the blob has the pieces of a content."""
    tar = decompress(io.BytesIO(registry.blobs[layer.layer.digest]))
    offset = b"".join(iter(lambda: tar.read(1 << 20), b"")).index(content or b"")
    numbers = layer.extents.within(offset, len(content or b""))
    return range(layer.extents.start[numbers[0]], layer.extents.end[numbers[-1]])


def test_what_is_read_comes_first(store: Store, gated: Gated) -> None:
    files = version(count=200)
    gated.chunked("1", files)
    path, content = "lib/part150/file", files["lib/part150/file"]
    assert content is not None
    with pulled(store, gated, content) as made:
        assert read(store, made.result, path) == content
        assert not made.layers[0].extents.is_complete
        here, total, trouble = missing(made.layers[0].tree.folder) or (0, 0, "-")
        assert (here < total or not total, trouble) == (True, "")


def test_in_the_end_it_is_an_ordinary_tree(store: Store, gated: Gated) -> None:
    files = version()
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        (layer,) = made.layers
        assert store.trees.rows.lazy() == [layer.tree.diff_id]
        made.end()
    assert (store.trees.rows.lazy(), missing(layer.tree.folder)) == ([], None)
    assert store.trees.repair.prove(layer.tree.diff_id) == ""
    assert all(read(store, made.result, path) == content for path, content in files.items())
    assert {*os.listdir(layer.tree.folder)} - {"implied"} == {"layer.tar", "index.erofs"}


def test_nobody_waits_for_the_proof(store: Store, gated: Gated) -> None:
    """Once all contents are here the kernel tells of no read any more."""
    gated.chunked("1", version())
    with pulled(store, gated) as made:
        (layer,) = made.layers
        told = Path(f"/proc/self/fdinfo/{layer.tree.content.group}")
        marks = [told.read_text().count("fanotify ino:")]
        install_trace(
            lambda name: (
                marks.append(told.read_text().count("fanotify ino:")) if name == "lazy:unmarked" else 0
            )
        )
        try:
            made.end()
        finally:
            install_trace(None)
    assert marks == [1, 0]


def read_again(store: Store, result: PullResult, path: str) -> bytes:
    """What was under way before may fail yet."""
    for _ in range(20):
        with suppress(OSError):
            return read(store, result, path)
    return read(store, result, path)


def test_wrong_bytes_are_an_error_and_never_seen(store: Store, gated: Gated) -> None:
    files = version()
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        gated.wrong = True
        gated.gate.set()
        with pytest.raises(OSError, match="Input/output error"):
            read(store, made.result, "lib/part7/file")
        gated.wrong = False
        assert read_again(store, made.result, "lib/part7/file") == files["lib/part7/file"]


def test_a_registry_that_is_down_is_an_error_until_it_is_back(store: Store, gated: Gated) -> None:
    files = version()
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        gated.down = True
        gated.gate.set()
        with pytest.raises(OSError, match="Input/output error"):
            read(store, made.result, "lib/part7/file")
        gated.down = False
        assert read_again(store, made.result, "lib/part7/file") == files["lib/part7/file"]


def test_who_waits_for_what_was_removed_is_told(store: Store, gated: Gated) -> None:
    gated.chunked("1", version())
    with pulled(store, gated) as made:
        (layer,) = made.layers
        fd = os.open(f"{layer.tree.folder}/layer.tar", os.O_RDONLY)
        os.rename(layer.tree.folder, f"{store.root}/trash/removed")
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(fd, 1 << 20, layer.extents.at[len(layer.extents) // 2])
        os.close(fd)
        os.rename(f"{store.root}/trash/removed", layer.tree.folder)


def test_without_a_holder_it_is_not_here(store: Store, gated: Gated) -> None:
    files = version()
    gated.chunked("1", files)
    made = Pulled(store, gated)
    (layer,) = made.layers
    assert store.trees.has(layer.tree.diff_id)
    store.trees.lazy.let_go(layer.tree)
    assert not store.trees.has(layer.tree.diff_id)
    assert store.trees.repair.prove(layer.tree.diff_id) == "its content did not all come"
    gated.gate.set()
    again: PullResult = pull(gated, NAME, store)
    assert store.trees.rows.lazy() == []
    assert read(store, again, "lib/part7/file") == files["lib/part7/file"]


def test_a_pull_that_fails_holds_nothing(store: Store, gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    gated.chunked("1", version())
    gated.gate.set()
    monkeypatch.setattr(store.refs, "set", lambda *_arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pull_lazily(gated, NAME, store)
    (diff_id,) = store.trees.rows.lazy()
    assert not store.trees.has(diff_id)


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_a_tree_that_is_not_what_the_config_says_goes_in_the_end(store: Store, gated: Gated) -> None:
    files = version()
    layer = gated.chunked("1", files)
    other = dict(layer.annotations)
    gated.image("1", b"another tar", layer, other)
    with pulled(store, gated) as made:
        diff_id = made.layers[0].tree.diff_id
        assert diff_id == Digest.of(b"another tar")
        made.end()
    assert isinstance(made.failure, DigestMismatch)
    assert not store.trees.has(diff_id)


POINTS = ("held", "asked", "arrived", "passed", "unmarked", "proven", "whole")


@pytest.mark.parametrize("point", [f"lazy:{point}" for point in POINTS])
def test_a_kill_leaves_nothing_that_is_believed(
    store: Store, gated: Gated, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(filler, "QUICK", 0.0 if point == "lazy:passed" else filler.QUICK)
    files = version()
    gated.chunked("1", files)
    gated.gate.set()
    store.rest()
    pid = os.fork()
    if not pid:
        install_trace(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
        try:
            with Store.open(store.root, driver="erofs") as own:
                made = Pulled(own, gated)
                gated.gate.set()
                made.begin()
                read(own, made.result, "lib/part39/file")
                made.end()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    result = pull(gated, NAME, store)
    assert all(read(store, result, path) == content for path, content in files.items())
    assert store.trees.rows.lazy() == []


BECOMING = ("lazy:whole", "tree:begun", "tree:renamed", "tree:published", "lazy:unpacked")


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_a_user_has_the_right_tree_wherever_the_filler_is_killed(gated: Gated, tmp_path: Path) -> None:
    """While a proven layer becomes a tree of the driver: then the next pull just works."""
    files = version(count=20)
    gated.chunked("1", files)
    found = served_in_userns(lambda: [_becomes(gated, tmp_path / point, point) for point in BECOMING])
    assert found == [(-signal.SIGKILL, {path: digest_of(data) for path, data in files.items()})] * len(found)


def _becomes(gated: Gated, root: Path, point: str) -> tuple[int, dict[str, str]]:
    pid = os.fork()
    if not pid:
        try:
            with Store.open(str(root), driver="overlay") as own:
                made = Pulled(own, gated)
                install_trace(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
                made.begin()
                made.end()
        finally:
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    gated.gate.set()
    with Store.open(str(root), driver="overlay") as store:
        result = pull(gated, NAME, store)
        assert store.trees.rows.lazy() == []
        return code, {path: digest_of(read(store, result, path)) for path in version(count=20)}


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_for_a_user_a_tree_that_is_not_what_it_should_be_goes(gated: Gated, tmp_path: Path) -> None:
    """What reads it before it is whole asks for content; nothing reads it afterwards."""
    files = version(count=20)
    layer = gated.chunked("1", files)
    gated.image("1", b"another tar", layer, dict(layer.annotations))

    def work() -> tuple[str, bool, bool]:
        with Store.open(str(tmp_path / "user"), driver="overlay") as store:
            with pulled(store, gated, files["lib/part9/file"]) as made:
                seen = digest_of(read(store, made.result, "lib/part9/file"))
            here = store.trees.has(Digest.of(b"another tar"))
            return seen, here, isinstance(made.failure, DigestMismatch)

    assert served_in_userns(work) == (digest_of(files["lib/part9/file"]), False, True)


@pytest.mark.parametrize("kind", ["no table", "small", "no digests"])
def test_what_cannot_be_lazy_comes_whole(
    store: Store, gated: Gated, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = version(count=2 if kind == "small" else 40)
    if kind == "no table":
        gated.add_image("1", files)
    else:
        gated.chunked("1", files)
    if kind == "no digests":
        add = Extents.add

        def bare(extents: Extents, at: int, size: int, blob: tuple[int, int], _digest: str) -> None:
            add(extents, at, size, blob, "")

        monkeypatch.setattr(Extents, "add", bare)
    made = Pulled(store, gated)
    assert made.layers == ()
    assert read(store, made.result, "lib/part1/file") == files["lib/part1/file"]


class Forking(Gated):
    """It may be used in forks, which it counts."""

    fork_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.forks = mmap.mmap(-1, 1)

    def forked(self) -> None:
        self.forks[0] += 1

    def layers(self, tag: str, *contents: Files) -> None:
        """An image of these layers in zstd:chunked."""
        config, layers = new_config(Platform.host(), created="2024-01-01T00:00:00Z"), []
        for files in contents:
            tar, out = make_tar(files), io.BytesIO()
            notes = pack(io.BytesIO(tar), out.write, "zstd:chunked", None)
            blob = Descriptor(OCI_LAYER_ZSTD, self.add(out.getvalue()), len(out.getvalue()))
            layers.append(blob.replace(annotations=tuple(sorted(notes.items()))))
            config = append_layer(config, Digest.of(tar), "step")
        manifest, data = make_manifest(config, layers)
        self.add(data)
        self.tag(tag, manifest.encode(), manifest.media_type)


@pytest.mark.parametrize("processes", [1, 2])
def test_layers_are_laid_by_several_processes(
    store: Store, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(division, "WORTH", 0)
    monkeypatch.setattr(division, "is_single_threaded", lambda: True)  # but for those that tests have left
    budget = Budget(2, processes=processes)
    monkeypatch.setattr(Store, "budget", property(lambda _store: budget))
    registry, contents = Forking(), [version(seed) for seed in (0, 50, 100)]
    registry.layers("1", *contents)
    with pulled(store, registry) as made:
        assert (registry.forks[0], len(made.layers)) == (processes - 1, 3)
        made.end()
    assert store.trees.rows.lazy() == []
    for files in contents:
        assert all(read(store, made.result, path) == content for path, content in files.items())


def test_what_another_process_lays_is_left_to_it(store: Store) -> None:
    with store.leases.hold():
        first = store.trees.lazy.begin(Digest.of(b"a layer"))
        assert first is not None
        assert store.trees.lazy.begin(Digest.of(b"a layer")) is None
        first.end()
        again = store.trees.lazy.begin(Digest.of(b"a layer"))
        assert again is not None
        again.end()


def test_who_reads_does_not_wait_for_what_comes_behind(store: Store, gated: Gated) -> None:
    """Its piece is asked for once more if it is on its way with others that nobody waits for."""
    files = version(count=200)
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        (layer,) = made.layers
        with gated.asked:
            assert gated.asked.wait_for(lambda: len(gated.ranges_begun) > 0, 30)
        content = files["lib/part150/file"]
        assert content is not None
        gated.wanted = place_of(layer, gated, content)
        assert read(store, made.result, "lib/part150/file") == content
        assert not layer.extents.is_complete


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_whoever_wants_much_has_the_rest_stream(
    store: Store, gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow line it comes in order from there on, in long ranges, without a wait for another read."""
    monkeypatch.setattr(filler, "QUICK", float("inf"))
    files = version(count=200, size=40_000)
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        gated.gate.set()
        assert all(read(store, made.result, path) == content for path, content in files.items())
        made.end()
    lengths = [end - start for start, end in gated.ranges[1:]]
    assert len(lengths) < 30
    assert max(lengths) > 2 << 20


@pytest.mark.parametrize(("gated", "one_of"), [(Gated, 8), (Gated, 1)], indirect=["gated"])
def test_whoever_reads_much_has_the_rest_stream(
    store: Store, gated: Gated, monkeypatch: pytest.MonkeyPatch, one_of: int
) -> None:
    """Also where little more was fetched than was read."""
    monkeypatch.setattr(filler, "QUICK", float("inf"))
    monkeypatch.setattr(filler, "MUCH_WANTED", 1)  # never
    monkeypatch.setattr(filler, "MUCH_READ", one_of)
    monkeypatch.setattr(filler, "AHEAD", 1 << 18)
    for bound in ("LEAST", "MOST", "WIDEST"):
        monkeypatch.setattr(readaround, bound, 1 << 16)
    files = version(count=200, size=40_000)
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        gated.gate.set()
        for path in sorted(files)[:30]:
            assert read(store, made.result, path) == files[path]
        made.end()
    longest = max(end - start for start, end in gated.ranges[1:])
    assert (longest > 2 << 20) == (one_of > 1)


def profile_of(made: Pulled, *contents: bytes | None) -> AccessProfile:
    """One that names these contents."""
    (layer,) = made.layers
    numbers = [layer.extents.digests.index(digest_of(content)) for content in contents]
    reads = tuple((0, layer.extents.at[number], layer.extents.size[number]) for number in numbers)
    return AccessProfile((layer.tree.diff_id,), reads)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_what_the_profile_names_comes_though_nobody_asks(store: Store, gated: Gated) -> None:
    files = version(count=200)
    gated.chunked("1", files)
    made, content = Pulled(store, gated), files["lib/part150/file"]
    (layer,) = made.layers
    made.profile, gated.wanted = profile_of(made, content), place_of(layer, gated, content)
    made.begin()
    try:
        wait_for(lambda: layer.extents.here[layer.extents.digests.index(digest_of(content))] == 1)
        assert not layer.extents.is_complete
    finally:
        made.end()


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_whoever_asks_does_not_wait_for_the_profile(store: Store, gated: Gated) -> None:
    files = version(count=200)
    gated.chunked("1", files)
    made = Pulled(store, gated)
    (layer,) = made.layers
    path = next(path for path in files if digest_of(files[path]) == layer.extents.digests[150])
    made.profile = AccessProfile((layer.tree.diff_id,), ((0, 0, layer.extents.at[100]),))
    gated.wanted, before = place_of(layer, gated, files[path]), len(gated.ranges_begun)
    made.begin()
    try:
        wait_for(lambda: len(gated.ranges_begun) > before)
        assert read(store, made.result, path) == files[path]
        assert not layer.extents.is_complete
    finally:
        made.end()


@pytest.mark.parametrize("kind", ["outside", "everything again and again", "other layers", "none"])
def test_a_profile_that_is_wrong_does_no_harm(store: Store, gated: Gated, kind: str) -> None:
    files = version()
    gated.chunked("1", files)
    made = Pulled(store, gated)
    (layer,) = made.layers
    end = layer.extents.at[-1] + layer.extents.size[-1]
    reads = {
        "outside": ((0, end - 1, 1 << 30), *((0, (1 << 40) - 1 - number, 1) for number in range(500))),
        "everything again and again": tuple((0, number, (1 << 40) - number) for number in range(20_000)),
        "other layers": ((1, 0, end),),
        "none": (),
    }[kind]
    made.profile = AccessProfile((layer.tree.diff_id, Digest.of(b"another")), reads)
    gated.ranges_begun.clear()
    made.begin()
    made.end()
    assert all(read(store, made.result, path) == content for path, content in files.items())
    spans = sorted(gated.ranges_begun)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize("gated", [Gated], indirect=True)
def test_what_is_read_meanwhile_is_a_profile(store: Store, gated: Gated) -> None:
    files = version(count=200)
    gated.chunked("1", files)
    with pulled(store, gated) as made:
        gated.gate.set()
        layer, content = made.layers[0], files["lib/part150/file"]
        assert content is not None
        wanted = profile_of(made, content).reads[0]
        read(store, made.result, "lib/part150/file")
        made.end()
    assert made.read.layers == (layer.tree.diff_id,)
    assert any(offset <= wanted[1] < offset + length for _, offset, length in made.read.reads)


def test_a_filler_that_cannot_hear_ends(store: Store, gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that another one takes its place."""
    gated.chunked("1", version())
    made = Pulled(store, gated)

    def broken(_content: ContentGroup) -> None:
        raise OSError("no events")

    monkeypatch.setattr(ContentGroup, "left", broken)
    gated.gate.set()
    with pytest.raises(OSError, match="no events"):
        Filler(made.layers, gated, print, lambda *_: True).run()
    for layer in made.layers:
        store.trees.lazy.let_go(layer.tree)


PIECES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=20)


@given(pieces=PIECES, offset=st.integers(0, 150), count=st.integers(0, 60))
def test_the_pieces_that_a_read_touches(pieces: list[tuple[int, int]], offset: int, count: int) -> None:
    extents, at = Extents(), 0
    for gap, size in pieces:
        extents.add(at + gap, size, (at, at + size), "digest")
        at += gap + size
    spans = [(start, start + size) for start, size in zip(extents.at, extents.size, strict=True)]
    touched = [
        number for number, (start, end) in enumerate(spans)
        if not count or (start < offset + count and end > offset)
    ]  # fmt: skip
    assert list(extents.within(offset, count)) == touched


class Hostile(Indexed):
    """Its indexes say what `change` makes of them."""

    change: Callable[[LayerIndex], LayerIndex | bytes] = staticmethod(lambda index: index)

    def attach(self, tag: str, *indexes: tuple[Descriptor, bytes]) -> None:
        changed = []
        for descriptor, data in indexes:
            made = self.change(LayerIndex.decode(data))
            new = made if isinstance(made, bytes) else made.encode()
            changed.append((descriptor.replace(digest=Digest.of(new), size=len(new)), new))
        super().attach(tag, *changed)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Hostile:
    monkeypatch.setitem(checkpoints.APART, "gzip", 1 << 18)
    return Hostile()


def test_an_index_that_lies_about_names_does_not_last(store: Store, hostile: Hostile) -> None:
    files, false = version(), {}
    for path, content in files.items():
        false[path.replace("part", "fake")] = content
    tar = make_tar(false)
    _, other = make_index(io.BytesIO(tar), Descriptor.of(tar, OCI_LAYER_GZIP), Digest.of(tar))
    hostile.change = lambda index: index.replace(skeleton=LayerIndex.decode(other).skeleton)
    hostile.chunked("1", files)
    with pulled(store, hostile) as made:
        (layer,) = made.layers
        made.end()
    assert isinstance(made.failure, DigestMismatch)
    assert not store.trees.has(layer.tree.diff_id)
    assert (missing(layer.tree.folder) or ("",))[-1] == (
        f"layer {layer.tree.diff_id.short} is not what its image says"
    )
    assert os.path.getsize(f"{layer.tree.folder}/layer.tar") == 0
    whole = pull(hostile, NAME, store)
    assert all(read(store, whole, path) == content for path, content in files.items())


LIES: dict[str, Callable[[LayerIndex], LayerIndex | bytes]] = {
    "of another layer": lambda index: index.replace(layer=Digest.of(b"another")),
    "of another size": lambda index: index.replace(size=index.size + 1),
    "of another tar": lambda index: index.replace(diff_id=Digest.of(b"another")),
    "damaged": lambda index: index.encode()[:-1],
    "longer": lambda index: index.replace(
        tar=index.tar + 1, spans=(*index.spans[:-1], index.spans[-1].replace(size=index.spans[-1].size + 1))
    ),
    "no tar": lambda index: index.replace(skeleton=bytes(len(index.skeleton))),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_with_an_index_that_does_not_fit_it_comes_whole(store: Store, hostile: Hostile, lie: str) -> None:
    files = version()
    hostile.change = LIES[lie]
    hostile.chunked("1", files)
    made = Pulled(store, hostile)
    assert not made.layers
    assert read(store, made.result, "lib/part1/file") == files["lib/part1/file"]


def test_the_next_index_is_taken_when_one_does_not_fit(store: Store, hostile: Hostile) -> None:
    files = version()
    hostile.change = LIES["damaged"]
    layer = hostile.chunked("1", files)
    hostile.change = lambda index: index
    tar = gzip.decompress(hostile.blobs[layer.digest])
    hostile.attach("1", make_index(io.BytesIO(hostile.blobs[layer.digest]), layer, Digest.of(tar)))
    with pulled(store, hostile) as made:
        assert len(made.layers) == 1


def test_what_was_named_by_digest_is_not_read_by_what_no_digest_covers(store: Store, gated: Gated) -> None:
    gated.chunked("1", version())
    gated.gate.set()
    name = NAME.replace(tag="", digest=Digest(gated.tags["1"][0]))
    pulled = pull_lazily(gated, name, store)
    for layer in pulled.layers:
        store.trees.lazy.let_go(layer.tree)
    assert len(pulled.layers) == (0 if isinstance(gated, Indexed) else 1)
    assert pulled.result.image.digest == name.digest


def test_without_a_list_of_what_is_attached_it_comes_whole(store: Store, hostile: Hostile) -> None:
    hostile.chunked("1", version())
    hostile.refuses = True
    assert not Pulled(store, hostile).layers


@pytest.mark.parametrize("bad", ["digest", "window"])
def test_a_span_that_is_a_lie_is_an_error_and_the_others_are_read(
    store: Store, hostile: Hostile, bad: str
) -> None:
    files: Files = {f"lib/part{n}/file": os.urandom(30_000).hex().encode() for n in range(40)}

    def change(index: LayerIndex) -> LayerIndex:
        spans = list(index.spans)
        change = {"sha256": bytes(32)} if bad == "digest" else {"window": spans[1].window}
        spans[5] = spans[5].replace(**change)
        return index.replace(spans=tuple(spans))

    hostile.change = change
    hostile.chunked("1", files)
    made = Pulled(store, hostile)
    (layer,) = made.layers
    hostile.gate.set()
    made.begin()
    fd = os.open(f"{layer.tree.folder}/layer.tar", os.O_RDONLY)
    with pytest.raises(OSError, match="Input/output error"):
        os.pread(fd, 1 << 10, layer.extents.at[5])
    tar = gzip.decompress(hostile.blobs[layer.layer.digest])
    assert os.pread(fd, 1000, layer.extents.at[4]) == tar[layer.extents.at[4] :][:1000]
    os.close(fd)
    os.rename(layer.tree.folder, f"{store.root}/trash/removed")
    made.join()
