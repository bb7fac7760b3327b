"""Indexes of layers in any compression: each span gives what the tar has, and what is wrong is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagekit import make_tar
from tarmaker import archive, sparse

from nacre.grammars.chunked.estargz import DIGEST
from nacre.grammars.codecs.checkpoints import aligned
from nacre.grammars.codecs.stream import Compressor
from nacre.grammars.sideindex import LAYER, LayerIndex, TarSpan, window_of
from nacre.images.layers import checkpoints
from nacre.images.layers.checkpoints import IndexLimits, make_index
from nacre.images.layers.spans import IndexedExtents
from nacre.images.model.edit import append_layer, make_manifest, new_config
from nacre.words.digest import Digest
from nacre.words.errors import (
    ContentError,
    DigestMismatch,
    InvalidArchive,
    InvalidDocument,
    TooLarge,
    Unsupported,
)
from nacre.words.oci import OCI_LAYER, OCI_LAYER_GZIP, Descriptor, Manifest, Platform


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for codec in ("gzip", "none"):
        monkeypatch.setitem(checkpoints.APART, codec, 1 << 17)


@cache
def sample() -> bytes:
    """A tar of what compresses well, badly, and not at all, in files of many sizes."""
    some, out = random.Random(7), io.BytesIO()
    words = [some.randbytes(some.randint(3, 30)) for _ in range(300)]
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(40):
            size = some.choice((0, 1, 511, 512, 20_000, 200_000))
            text = b"".join(some.choice(words) for _ in range(size // 15))
            data = some.choice((some.randbytes(size), bytes(size), text))
            info = tarfile.TarInfo(f"folder/{number}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def program(*words: str) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        if not shutil.which(words[0]):
            pytest.skip(f"{words[0]} is not installed")
        return subprocess.run(words, input=data, capture_output=True, check=True).stdout

    return compress


def own(level: int) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        out: list[bytes] = []
        compressor = Compressor("gzip", out.append, None, level)
        compressor.write(data)
        compressor.close()
        return b"".join(out)

    return compress


def members(size: int, padding: int = 0) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        cuts = range(0, len(data), size)
        return b"".join(gzip.compress(data[at : at + size]) + bytes(padding) for at in cuts)

    return compress


def by_go(data: bytes) -> bytes:
    """What skopeo makes of a plain layer: Go's gzip, by way of klauspost/pgzip."""
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    config = append_layer(new_config(Platform.host()), Digest.of(data), "step")
    manifest, config_data = make_manifest(config, [Descriptor.of(data, OCI_LAYER)])
    with tempfile.TemporaryDirectory() as folder:
        _write_layout(f"{folder}/from", manifest, (config_data, data))
        words = ("skopeo", "--insecure-policy", "copy", "-q", "--dest-compress")
        subprocess.run((*words, f"oci:{folder}/from:1", f"dir:{folder}/to"), check=True)
        (layer,) = json.loads(Path(folder, "to", "manifest.json").read_text())["layers"]
        return Path(folder, "to", layer["digest"].partition(":")[2]).read_bytes()


def _write_layout(folder: str, manifest: Manifest, blobs: tuple[bytes, ...]) -> None:
    os.makedirs(f"{folder}/blobs/sha256")
    for data in (*blobs, manifest.encode()):
        Path(folder, "blobs", "sha256", Digest.of(data).hex).write_bytes(data)
    entry = Descriptor.of(manifest.encode(), manifest.media_type).to_json()
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    Path(folder, "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    Path(folder, "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


WAYS: dict[str, Callable[[bytes], bytes]] = {
    **{f"zlib {level}": partial(gzip.compress, compresslevel=level) for level in (0, 1, 6, 9)},
    **{f"gzip -{level}": program("gzip", f"-{level}") for level in (1, 9)},
    "gzip --rsyncable": program("gzip", "--rsyncable"),
    "pigz": program("pigz", "-b", "128"), "pigz -i": program("pigz", "-i"), "Go": by_go,
    "nacre": own(2), "nacre 9": own(9), "members": members(300_000), "small members": members(3_000),
    "padded members": members(200_000, 5),
    "something behind": lambda data: gzip.compress(data) + b"no gzip", "plain": bytes,
}  # fmt: skip


def layer_of(blob: bytes) -> Descriptor:
    return Descriptor.of(blob, OCI_LAYER_GZIP)


def made(blob: bytes, tar: bytes) -> LayerIndex:
    descriptor, data = make_index(io.BytesIO(blob), layer_of(blob), Digest.of(tar))
    assert dict(descriptor.annotations) == {LAYER: str(Digest.of(blob))}
    return LayerIndex.decode(data)


def filled(index: LayerIndex, blob: bytes) -> bytes:
    """The tar as a filler makes it, in no order."""
    extents = IndexedExtents(index)
    literal = b"".join(
        piece if isinstance(piece, bytes) else bytes(piece) for piece in extents.following(index.pieces())
    )
    with open(os.memfd_create("tar"), "r+b", buffering=0) as tar:
        tar.write(literal)
        for number in random.Random(1).sample(range(len(extents)), len(extents)):
            packed = memoryview(blob)[extents.start[number] : extents.end[number]]
            extents.write(tar.fileno(), number, extents.unpack(number, packed))
        tar.seek(0)
        return tar.read()


@pytest.mark.parametrize("way", WAYS)
def test_every_span_gives_its_part_of_the_tar(way: str) -> None:
    tar = sample()
    blob = WAYS[way](tar)
    index = made(blob, tar)
    assert (index.is_of(layer_of(blob), Digest.of(tar)), len(index.spans) > 5) == (True, True)
    assert filled(index, blob) == tar


def test_an_index_is_the_same_however_the_blob_comes() -> None:
    tar = sample()
    blob = gzip.compress(tar, mtime=0)

    class Slow(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            return super().read(min(1000, count or 1000))

    one, two = (
        make_index(stream, layer_of(blob), Digest.of(tar)) for stream in (io.BytesIO(blob), Slow(blob))
    )
    assert one == two


@given(data=st.binary(min_size=1, max_size=4000), level=st.integers(0, 9), skip=st.integers(0, 7))
def test_deflate_may_begin_within_a_byte(data: bytes, level: int, skip: int) -> None:
    from isal import isal_zlib

    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    raw = packer.compress(data) + packer.flush()
    if raw[0] & 6:  # no stored block, which would begin on a byte
        shifted = (int.from_bytes(raw, "little") << skip | (1 << skip) - 1).to_bytes(len(raw) + 1, "little")
        for library in (zlib, isal_zlib):
            assert library.decompressobj(-15).decompress(aligned(shifted, skip)) == data


def wrong(index: LayerIndex, number: int, **changes: object) -> LayerIndex:
    spans = list(index.spans)
    spans[number] = spans[number].replace(**changes)
    return index.replace(spans=tuple(spans))


@pytest.mark.parametrize("what", ["digest", "window", "skip", "start"])
def test_a_span_that_is_not_what_it_says_is_an_error(what: str) -> None:
    tar = sample()
    blob = gzip.compress(tar, mtime=0)
    index = made(blob, tar)
    number = next(n for n, span in enumerate(index.spans) if n and span.skip)
    span, other = index.spans[number], index.spans[number - 1]
    changes: dict[str, dict[str, object]] = {
        "digest": {"sha256": bytes(32)}, "window": {"window": other.window or index.spans[-1].window},
        "skip": {"skip": span.skip ^ 1}, "start": {"start": span.start + 1},
    }  # fmt: skip
    with pytest.raises(InvalidArchive):
        filled(LayerIndex.decode(wrong(index, number, **changes[what]).encode()), blob)


def test_a_window_that_is_too_long_is_cut() -> None:
    bomb: list[bytes] = []
    packer = Compressor("zstd", bomb.append, None)
    packer.write(bytes(200 << 20))
    packer.close()
    tar = sample()
    index = wrong(made(gzip.compress(tar, mtime=0), tar), 3, window=b"".join(bomb))
    assert window_of(LayerIndex.decode(index.encode()).spans[3]) == bytes(1 << 15)


CONTRADICTIONS: dict[str, Callable[[TarSpan], dict[str, object]]] = {
    "behind the blob": lambda span: {"end": 1 << 40},
    "empty": lambda span: {"end": span.start},
    "too large": lambda span: {"size": 1 << 30},
    "of no size": lambda span: {"size": 0},
    "bits without a window": lambda span: {"window": b"", "skip": 3},
    "too many bits": lambda span: {"skip": 8},
    "back": lambda span: {"start": 0},
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_an_index_that_contradicts_itself_is_refused(kind: str) -> None:
    tar = sample()
    index = made(gzip.compress(tar, mtime=0), tar)
    with pytest.raises(InvalidDocument):
        LayerIndex.decode(wrong(index, 3, **CONTRADICTIONS[kind](index.spans[3])).encode())


@cache
def encoded() -> bytes:
    tar = make_tar({f"file{number}": bytes([number]) * 900 for number in range(9)})
    blob = gzip.compress(tar, mtime=0)
    return make_index(io.BytesIO(blob), layer_of(blob), Digest.of(tar))[1]


@given(at=st.integers(0, 4000), value=st.binary(max_size=9), cut=st.integers(0, 4000))
def test_damage_is_told_and_nothing_else_happens(at: int, value: bytes, cut: int) -> None:
    data = bytearray(encoded())
    data[at : at + len(value)] = value
    try:
        index = LayerIndex.decode(bytes(data[: len(data) - cut]))
        assert sum(span.size for span in index.spans) == index.tar
        length = sum(piece if isinstance(piece, int) else len(piece) for piece in index.pieces())
        assert length == index.tar
    except ContentError:
        pass


@pytest.mark.parametrize("length", [-1, 1])
def test_a_skeleton_of_another_length_is_refused(length: int) -> None:
    tar = sample()
    index = made(gzip.compress(tar, mtime=0), tar)
    with pytest.raises(InvalidDocument, match=r"too (long|short)"):
        list(index.replace(tar=index.tar + length).pieces())


def test_no_index_is_made_of_another_layer() -> None:
    tar = sample()
    blob = gzip.compress(tar, mtime=0)
    with pytest.raises(DigestMismatch):
        make_index(io.BytesIO(blob), layer_of(blob), Digest.of(b"another"))
    with pytest.raises(DigestMismatch):
        make_index(io.BytesIO(blob), layer_of(blob).replace(digest=Digest.of(b"another")), Digest.of(tar))
    with pytest.raises(TooLarge):
        make_index(io.BytesIO(blob), layer_of(blob).replace(size=1000), Digest.of(tar))


@pytest.mark.parametrize("limits", [IndexLimits(bytes=100_000), IndexLimits(entries=3)])
def test_what_is_read_is_bounded(limits: IndexLimits) -> None:
    tar = sample()
    blob = gzip.compress(tar, mtime=0)
    with pytest.raises((TooLarge, InvalidArchive), match="more than"):
        make_index(io.BytesIO(blob), layer_of(blob), Digest.of(tar), limits)


@pytest.mark.parametrize(
    "blob", [gzip.compress(b"")[:-1], gzip.compress(bytes(5000))[:-9], b"\x1f\x8b" + bytes(99)]
)
def test_a_damaged_layer_has_no_index(blob: bytes) -> None:
    with pytest.raises(InvalidArchive, match="gzip stream is"):
        make_index(io.BytesIO(blob), layer_of(blob), Digest.of(b""))


def test_what_has_a_table_needs_none() -> None:
    layer = layer_of(bytes(100)).replace(annotations=((DIGEST, str(Digest.of(b""))),))
    with pytest.raises(Unsupported, match="table of contents of its own"):
        make_index(io.BytesIO(bytes(100)), layer, Digest.of(b""))


def test_zstd_can_be_read_from_its_beginning_only() -> None:
    blob: list[bytes] = []
    packer = Compressor("zstd", blob.append, None)
    packer.write(sample())
    packer.close()
    data = b"".join(blob)
    with pytest.raises(Unsupported, match="zstd"):
        make_index(io.BytesIO(data), layer_of(data), Digest.of(sample()))


def test_sparse_files_cannot_be_shown_before_they_are_here() -> None:
    tar, _ = archive("gnu", [sparse(((0, 512), (4096, 512)), 8192)])
    blob = gzip.compress(tar, mtime=0)
    with pytest.raises(Unsupported, match="sparse"):
        make_index(io.BytesIO(blob), layer_of(blob), Digest.of(tar))
