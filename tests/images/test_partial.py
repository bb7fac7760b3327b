"""Layers with a table of contents: what is here is not fetched, and what lies is fetched whole."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from imagekit import Fetch, Registry, make_tar
from stargz import stargz

from nacre.grammars.chunked.estargz import DIGEST
from nacre.grammars.chunked.toc import CHECKSUM, POSITION
from nacre.grammars.codecs.pack import pack
from nacre.ground.work.pipe import Stopped
from nacre.images.arrows.pull import PullResult, pull
from nacre.images.layers.partial import MOST_REQUESTS, coalesced, cut
from nacre.images.model.edit import append_layer, make_manifest, new_config
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import RegistryError
from nacre.words.oci import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor, Platform
from nacre.words.progress import Task
from nacre.words.reference import Reference

Files = dict[str, bytes | None]


class Ranged(Registry):
    """A registry in memory that gives ranges and counts the bytes that it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.ranges: list[tuple[int, int]] = []
        self.refuse = False

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> Iterator[io.BytesIO]:
        if self.refuse:
            raise RegistryError("the registry does not support ranges", status=200)
        self.ranges.append((start, end))
        self.sent += end - start
        yield io.BytesIO(self.blobs[descriptor.digest][start:end])

    @contextmanager
    def fetch(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Fetch]:
        self.sent += descriptor.size - offset
        with super().fetch(descriptor, offset) as reader:
            yield reader

    def chunked(
        self, tag: str, files: Files, notes: dict[str, str] | None = None, tar: bytes = b""
    ) -> Descriptor:
        """An image of one layer in zstd:chunked, under `tag`."""
        tar = tar or make_tar(files)
        out = io.BytesIO()
        found = pack(io.BytesIO(tar), out.write, "zstd:chunked", None) | (notes or {})
        blob = out.getvalue()
        return self.image(tag, tar, Descriptor(OCI_LAYER_ZSTD, self.add(blob), len(blob)), found)

    def stargz(self, tag: str, files: dict[str, bytes]) -> Descriptor:
        """An image of one layer in eStargz."""
        blob, digest, tar = stargz(files)
        return self.image(tag, tar, Descriptor(OCI_LAYER_GZIP, self.add(blob), len(blob)), {DIGEST: digest})

    def image(self, tag: str, tar: bytes, layer: Descriptor, notes: dict[str, str]) -> Descriptor:
        layer = layer.replace(annotations=tuple(sorted(notes.items())))
        empty = new_config(Platform.host(), created="2024-01-01T00:00:00Z")
        manifest, data = make_manifest(append_layer(empty, Digest.of(tar), "step"), [layer])
        self.add(data)
        self.tag(tag, manifest.encode(), manifest.media_type)
        return layer


class Seen:
    """Progress that remembers the words of the layers' ends."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def task(self, key: str) -> Task:
        return _Line(self)

    def line(self, text: str) -> None:
        pass


class _Line:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def phase(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def done(self, status: str) -> None:
        self._seen.words.append(status)


@pytest.fixture
def ranged() -> Ranged:
    return Ranged()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture(params=["overlay", "erofs"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store"), driver=request.param) as opened:
        yield opened


def get(store: Store, registry: Ranged, tag: str) -> tuple[PullResult, str, int]:
    """Pull; the result, how the layer ended, the bytes that the registry sent of it."""
    seen, before = Seen(), registry.sent
    result = pull(registry, Reference.parse(f"registry.test/app:{tag}"), store, progress=seen)
    return result, seen.words[-1], registry.sent - before


def read(store: Store, result: PullResult, path: str) -> bytes:
    found = store.trees.lookup(result.image.config.diff_ids, path.encode())
    assert found is not None
    with found.open() as file:
        return file.read()


def version(seed: int = 0, count: int = 40, size: int = 60_000) -> Files:
    return {f"lib/part{n}/file": bytes([n]) + os.urandom(size) for n in range(seed, seed + count)}


def test_only_what_changed_is_fetched(any_store: Store, ranged: Ranged) -> None:
    files = version()
    layer = ranged.chunked("1", files)
    result, status, sent = get(any_store, ranged, "1")
    assert (status, sent > layer.size) == ("Pull complete", True)
    changed = files | {"lib/part7/file": b"changed" * 100, "new": b"file", "empty": b""}
    layer = ranged.chunked("2", changed)
    result, status, sent = get(any_store, ranged, "2")
    assert status.startswith("Pull complete, ")
    assert status.endswith(" fetched")
    assert sent < layer.size / 20
    assert result.moved < layer.size / 20
    assert result.moved + result.reused > layer.size
    for path in ("lib/part7/file", "lib/part8/file", "new", "empty"):
        assert read(any_store, result, path) == changed[path]


def test_equal_places_of_a_large_file_are_taken(store: Store, ranged: Ranged) -> None:
    data = os.urandom(5 << 20)
    ranged.chunked("1", {"db": data})
    get(store, ranged, "1")
    changed = data[: 3 << 20] + b"other" + data[(3 << 20) + 5 :] + b"and more"
    layer = ranged.chunked("2", {"db": changed})
    result, _status, sent = get(store, ranged, "2")
    assert read(store, result, "db") == changed
    assert sent < layer.size / 3


def test_equal_content_in_one_layer_is_fetched_once(store: Store, ranged: Ranged) -> None:
    twice = os.urandom(300_000)
    ranged.chunked("1", version())
    get(store, ranged, "1")
    # What is here makes it pay; what is not here is there twice.
    here = {
        f"lib/part{n}/file": read(store, get(store, ranged, "1")[0], f"lib/part{n}/file") for n in range(40)
    }
    ranged.chunked("2", here | {"copy/a": twice, "copy/b": twice})
    result, _status, sent = get(store, ranged, "2")
    assert sent < 450_000
    assert read(store, result, "copy/a") == read(store, result, "copy/b") == twice


def test_too_much_missing_comes_whole(store: Store, ranged: Ranged) -> None:
    ranged.chunked("1", version(0))
    get(store, ranged, "1")
    layer = ranged.chunked("2", version(30))
    _result, status, sent = get(store, ranged, "2")
    assert status == "Pull complete"
    assert sent >= layer.size


def test_who_keeps_blobs_gets_them(tmp_path: Path, ranged: Ranged) -> None:
    files = version()
    ranged.chunked("1", files)
    layer = ranged.chunked("2", files | {"new": b"x"})
    with Store.open(str(tmp_path / "keeping"), layer_blobs="keep") as store:
        get(store, ranged, "1")
        assert get(store, ranged, "2")[1] == "Pull complete"
        assert store.blobs.has(layer.digest)


def test_small_layers_come_whole(store: Store, ranged: Ranged) -> None:
    ranged.chunked("1", {"a": b"small"})
    _result, status, _sent = get(store, ranged, "1")
    assert status == "Pull complete"
    assert ranged.ranges == []


def test_a_registry_without_ranges_gives_all(store: Store, ranged: Ranged) -> None:
    files = version()
    ranged.chunked("1", files)
    get(store, ranged, "1")
    ranged.refuse = True
    ranged.chunked("2", files | {"new": b"x"})
    result, status, _sent = get(store, ranged, "2")
    assert status == "Pull complete (full layer: the registry does not support ranges)"
    assert read(store, result, "new") == b"x"


def test_a_lying_table_gains_nothing(store: Store, ranged: Ranged) -> None:
    """The table is right by itself and describes another tar than the frames hold."""
    files = version()
    ranged.chunked("1", files)
    get(store, ranged, "1")
    good, evil = make_tar(files | {"new": b"good"}), make_tar(files | {"new": b"evil"})
    out, other = io.BytesIO(), io.BytesIO()
    pack(io.BytesIO(good), out.write, "zstd:chunked", None)
    notes = pack(io.BytesIO(evil), other.write, "zstd:chunked", None)
    start = int(notes[POSITION].split(":")[0]) - 8
    frames = out.getvalue()[: int(notes[POSITION].split(":")[0]) - 8]
    blob = frames + other.getvalue()[start:]
    ranged.image("2", good, Descriptor(OCI_LAYER_ZSTD, ranged.add(blob), len(blob)), notes)
    result, status, _sent = get(store, ranged, "2")
    assert status.startswith("Pull complete (full layer: ")
    assert read(store, result, "new") == b"good"


def test_a_wrong_digest_of_the_table_is_said(store: Store, ranged: Ranged) -> None:
    files = version()
    ranged.chunked("1", files)
    get(store, ranged, "1")
    ranged.chunked("2", files | {"new": b"x"}, {CHECKSUM: str(Digest.of(b"other"))})
    _result, status, _sent = get(store, ranged, "2")
    assert status == (
        "Pull complete (full layer: the table of contents does not match the digest in its layer's "
        "annotations)"
    )


def test_a_file_that_was_damaged_here_is_not_believed(any_store: Store, ranged: Ranged) -> None:
    files = version()
    ranged.chunked("1", files)
    first = get(any_store, ranged, "1")[0]
    content = files["lib/part3/file"]
    assert content
    folder = Path(any_store.trees.rows.folder(first.image.config.diff_ids[0]))
    path = folder / "fs" / "lib/part3/file" if (folder / "fs").exists() else folder / "layer.tar"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(content[100:200], bytes(100)))
    ranged.chunked("2", files | {"new": b"x"})
    result, status, sent = get(any_store, ranged, "2")
    assert status.endswith(" fetched")
    assert sent > 60_000
    assert read(any_store, result, "lib/part3/file") == content


def test_nothing_stays_behind(store: Store, ranged: Ranged) -> None:
    files = version()
    ranged.chunked("1", files)
    get(store, ranged, "1")
    layer = ranged.chunked("2", files | {"new": b"x"})
    get(store, ranged, "2")
    assert not store.blobs.has(layer.digest)
    assert os.listdir(f"{store.root}/ingest") == []


def test_two_at_once_fetch_it_once(store: Store, ranged: Ranged) -> None:
    files = version()
    ranged.chunked("1", files)
    get(store, ranged, "1")
    ranged.chunked("2", files | {"new": os.urandom(1000)})
    before = ranged.sent
    threads = [threading.Thread(target=get, args=(store, ranged, "2")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _result, status, _sent = get(store, ranged, "2")
    assert status.startswith("Already exists")
    assert ranged.sent - before < 100_000


def test_a_stop_ends_it(store: Store, ranged: Ranged, monkeypatch: pytest.MonkeyPatch) -> None:
    from nacre.images.layers import partial

    files = version()
    ranged.chunked("1", files)
    get(store, ranged, "1")
    ranged.chunked("2", files | {"new": b"x"})

    def stopped(*_arguments: object) -> None:
        raise Stopped("the transfer was stopped")

    monkeypatch.setattr(partial, "LocalContent", stopped)
    with pytest.raises(Stopped):
        get(store, ranged, "2")
    monkeypatch.undo()
    assert get(store, ranged, "2")[1].endswith(" fetched")


def test_estargz_of_others_is_read_too(any_store: Store, ranged: Ranged) -> None:
    files = {name: data or b"" for name, data in version().items()}
    ranged.stargz("1", files)
    get(any_store, ranged, "1")
    changed = files | {"lib/part7/file": b"changed" * 100, "new": b"file"}
    layer = ranged.stargz("2", changed)
    result, status, sent = get(any_store, ranged, "2")
    assert status.endswith(" fetched")
    assert sent < layer.size / 20
    for path in ("lib/part7/file", "lib/part8/file", "new"):
        assert read(any_store, result, path) == changed[path]


@pytest.mark.parametrize(
    ("spans", "merged"),
    [
        ([], []),
        ([(0, 5)], [(0, 5)]),
        ([(0, 5), (9, 12)], [(0, 12)]),
        ([(0, 5), (1 << 20, (1 << 20) + 4)], [(0, 5), (1 << 20, (1 << 20) + 4)]),
        ([(0, 50), (9, 12)], [(0, 50)]),
    ],
)
def test_near_ranges_become_one(spans: list[tuple[int, int]], merged: list[tuple[int, int]]) -> None:
    assert coalesced(spans, MOST_REQUESTS) == merged


def test_there_are_never_more_requests_than_allowed() -> None:
    spans: Sequence[tuple[int, int]] = [(n * 100_000, n * 100_000 + 10) for n in range(5000)]
    assert len(coalesced(spans, 64)) <= 64


def test_long_spans_are_cut() -> None:
    spans = [(0, 3), (10, 30), (30, 31)]
    assert list(cut(spans, 10)) == [(0, 3), (10, 20), (20, 30), (30, 31)]
    assert list(cut([], 10)) == []
