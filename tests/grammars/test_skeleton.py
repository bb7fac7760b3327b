"""Skeletons: a tar without its contents, and back; bounded on damaged input."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.codecs.stream import Compressor
from nacre.grammars.tar.entry import Entry, Reader
from nacre.grammars.tar.read import read_tar
from nacre.grammars.tar.skeleton import MAGIC, FileRange, Recording, SkeletonWriter, read_skeleton
from nacre.grammars.tar.write import TarWriter
from nacre.words.errors import InvalidArchive


class Trickle:
    """A stream in pieces of odd sizes."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data, self._chance = io.BytesIO(data), random.Random(seed)

    def read(self, count: int, /) -> bytes:
        return self._data.read(min(count, self._chance.choice([1, 511, 512, 4096, 1 << 20])))


def everything(payload: Reader) -> bytes:
    return b"".join(iter(lambda: payload.read(1000), b""))


def record(tar: bytes, seed: int = 0) -> tuple[bytes, dict[bytes, bytes]]:
    """Skeleton and files of a tar, as an extraction has them."""
    out = io.BytesIO()
    recording = Recording(Trickle(tar, seed), SkeletonWriter(out.write))
    files: dict[bytes, bytes] = {}
    for entry, payload in read_tar(recording):
        if entry.kind != "file" or b".wh." in entry.path:
            continue
        recording.file(entry, entry.path)
        data = everything(payload)
        whole = bytearray(entry.size)
        at = 0
        for offset, length in entry.sparse if entry.sparse is not None else ((0, entry.size),):
            whole[offset : offset + length] = data[at : at + length]
            at += length
        files[entry.path] = bytes(whole)
    recording.drain()
    return out.getvalue(), files


def remake(skeleton: bytes, files: dict[bytes, bytes]) -> bytes:
    parts = []
    for item in read_skeleton(io.BytesIO(skeleton)):
        if isinstance(item, FileRange):
            item = files[item.path][item.offset : item.offset + item.length]
        parts.append(item)
    return b"".join(parts)


def tar(sizes: list[int], tail: bytes = b"") -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for number, size in enumerate(sizes):
        data = bytes([number % 256]) * size
        writer.add(
            Entry(b"d%d/f%d" % (number % 3, number) + b"n" * (number % 200), size=size), io.BytesIO(data)
        )
        writer.add(Entry(b"d%d/.wh.%d" % (number % 3, number), size=3), io.BytesIO(b"abc"))
    sparse = Entry(b"holes", size=10_000, sparse=((0, 5), (4096, 100)))
    writer.add(sparse, io.BytesIO(b"s" * 105))
    writer.add(Entry(b"void", size=5000, sparse=()))
    writer.close()
    return out.getvalue() + tail


@given(
    sizes=st.lists(st.integers(0, 5000), max_size=8), tail=st.binary(max_size=2000), seed=st.integers(0, 99)
)
def test_there_and_back(sizes: list[int], tail: bytes, seed: int) -> None:
    data = tar(sizes, tail)
    assert remake(*record(data, seed)) == data


@pytest.mark.parametrize("tail", [b"", b"x" * (20 << 20)])
def test_large_pieces(tail: bytes) -> None:
    data = tar([3 << 20, 1, 9 << 20], tail)
    skeleton, files = record(data, 1)
    assert remake(skeleton, files) == data
    assert len(skeleton) < 5000


def test_an_archive_without_end_or_padding() -> None:
    cut = tar([700])[: 512 + 700]
    assert remake(*record(cut)) == cut


def test_a_skeleton_is_small() -> None:
    data = tar([4096] * 3000)
    assert len(record(data)[0]) < 3000 * 30


def broken(records: bytes, magic: bytes = MAGIC) -> bytes:
    out = io.BytesIO()
    out.write(magic)
    compressor = Compressor("zstd", out.write, None)
    compressor.write(records)
    compressor.close()
    return out.getvalue()


@pytest.mark.parametrize(
    "skeleton",
    [
        b"",
        MAGIC,
        MAGIC + b"no zstd at all",
        broken(b"E" + bytes(8), b"nacre skeleton 9\n"),
        broken(b""),
        broken(b"Z"),
        broken(b"L\xff\xff\xff\xff"),
        broken(b"P\xff\xff\xff\xff"),
        broken(b"L\x05\0\0\0abc"),
        broken(b"E" + b"\x01" + bytes(7)),
        broken(b"E" + bytes(8))[:-3],
    ],
)
def test_damage_is_named(skeleton: bytes) -> None:
    with pytest.raises(InvalidArchive):
        list(read_skeleton(io.BytesIO(skeleton)))


@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_any_other_byte_is_damage_or_harmless(at: int, value: int) -> None:
    skeleton, files = record(tar([10, 600]))
    wrong = bytearray(skeleton)
    wrong[at % len(wrong)] = value
    try:
        remake(bytes(wrong), files)
    except (InvalidArchive, KeyError):
        return
