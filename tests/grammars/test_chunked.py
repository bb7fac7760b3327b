"""zstd:chunked: what is written is a plain zstd stream, and the tar again by its table; tables that lie."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from rawtar import END, header, padded, pax, write

from nacre.grammars.chunked import crc64
from nacre.grammars.chunked import write as writing
from nacre.grammars.chunked.crc64 import Crc64
from nacre.grammars.chunked.forms import open_layout
from nacre.grammars.chunked.layout import MAX_TABLE, MAX_TARSPLIT, Chunk, TableOfContents
from nacre.grammars.chunked.tarsplit import read_tarsplit
from nacre.grammars.chunked.toc import CHECKSUM, POSITION, TARSPLIT, ChunkedTable, Where
from nacre.grammars.codecs.pack import pack
from nacre.grammars.codecs.stream import decompress
from nacre.grammars.tar.entry import Entry
from nacre.ground.work.budget import Budget
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive, InvalidDocument, UsageError
from nacre.words.oci import OCI_LAYER_ZSTD, Descriptor

CHUNKED = "zstd:chunked"


def chunked(
    tar: bytes, level: int | None = None, threads: Budget | None = None
) -> tuple[bytes, dict[str, str]]:
    out = io.BytesIO()
    notes = pack(io.BytesIO(tar), out.write, CHUNKED, threads, level)
    return out.getvalue(), notes


def described(blob: bytes, notes: dict[str, str]) -> Descriptor:
    return Descriptor(OCI_LAYER_ZSTD, Digest.of(blob), len(blob), annotations=tuple(sorted(notes.items())))


def layout(blob: bytes, notes: dict[str, str]) -> TableOfContents | None:
    return open_layout(described(blob, notes), lambda start, end: blob[start:end])


def unpacked(blob: bytes, chunk: Chunk, codec: str) -> bytes:
    stream = decompress(io.BytesIO(blob[chunk.start : chunk.end]), codec)
    data = b"".join(iter(lambda: stream.read(1 << 16), b""))
    return data[: chunk.size]


def rebuilt(blob: bytes, table: TableOfContents, variant: int = 0) -> bytes:
    def parts() -> Iterator[bytes]:
        for segment in table.segments(variant):
            if isinstance(segment, bytes):
                yield segment
            else:
                yield from (unpacked(blob, chunk, table.codec) for chunk in segment.chunks)

    return b"".join(parts())


def plain(blob: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob), read_across_frames=True).read()


# --- round trips

NAMES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    st.tuples(NAMES, st.just("file"), st.binary(max_size=2000)),
    st.tuples(NAMES, st.just("dir"), st.just(b"")),
    st.tuples(NAMES, st.just("symlink"), st.just(b"")),
)
XATTRS = st.dictionaries(st.sampled_from([b"user.a", b"user.b"]), st.binary(max_size=9), max_size=2)
TARS = st.lists(
    st.tuples(ENTRIES, st.integers(0, 1 << 40), XATTRS), max_size=12, unique_by=lambda item: item[0][0]
)


def tar_of(items: list[tuple[tuple[str, str, bytes], int, dict[bytes, bytes]]]) -> bytes:
    return write(
        (
            Entry(
                name.encode(), kind, 0o640, 7, 8, mtime_ns=when * 1_000_000, size=len(data),
                link=b"target" if kind == "symlink" else b"", xattrs=tuple(sorted(xattrs.items())),
            ),
            data,
        )
        for (name, kind, data), when, xattrs in items
    )  # fmt: skip


@settings(max_examples=40)
@given(TARS, st.integers(0, 3))
def test_any_tar_comes_back_bit_for_bit(
    items: list[tuple[tuple[str, str, bytes], int, dict[bytes, bytes]]], trailing: int
) -> None:
    tar = tar_of(items) + bytes(512 * trailing)
    blob, notes = chunked(tar)
    table = layout(blob, notes)
    assert table is not None
    assert plain(blob) == tar
    assert rebuilt(blob, table) == tar


@given(st.binary(max_size=3000))
@settings(max_examples=40)
def test_what_is_no_tar_is_still_compressed(data: bytes) -> None:
    assert plain(chunked(data)[0]) == data


def test_large_files_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(writing.PIECE * 2 + 5)
    blob, notes = chunked(write([(Entry(b"big", size=len(data)), data)]))
    table = layout(blob, notes)
    assert table is not None
    (file,) = table.files
    assert [chunk.size for chunk in file.chunks] == [writing.PIECE, writing.PIECE, 5]
    assert [unpacked(blob, chunk, "zstd") for chunk in file.chunks][2] == data[-5:]
    assert {len(chunk.digest) for chunk in file.chunks} == {64}


def test_threads_do_not_change_the_bytes() -> None:
    tar = write([(Entry(b"f%d" % n, size=5000), os.urandom(5000)) for n in range(200)])
    results = set()
    for count in (1, 2, 7):
        blob, notes = chunked(tar, threads=Budget(count))
        results.add((blob, tuple(sorted(notes.items()))))
    assert len(results) == 1


def test_levels_are_those_of_zstd() -> None:
    tar = write([(Entry(b"f", size=90000), b"some words that repeat" * 4090 + bytes(20))])
    assert len(chunked(tar, 19)[0]) <= len(chunked(tar, 1)[0])
    with pytest.raises(UsageError, match="level 23"):
        chunked(tar, 23)


PLAIN_FILE = header(b"file", size=3) + padded(b"abc")


@pytest.mark.parametrize(
    "tar",
    [
        PLAIN_FILE + PLAIN_FILE + END,
        header(b"\xff", size=3) + padded(b"abc") + END,
        pax((b"comment", b"x"), flag=b"g") + PLAIN_FILE + END,
        header(b"link", b"1", link=b"file", size=3) + END,
        header(b"file", b"7", size=3) + padded(b"abc") + END,
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
        + header(b"s", size=512)
        + padded(b"0\n")
        + END,
        PLAIN_FILE + b"rubbish" * 100,
    ],
    ids=["twice", "name", "global", "sized-link", "contiguous", "sparse", "damaged"],
)
def test_a_tar_that_no_table_describes_gets_none(tar: bytes) -> None:
    blob, notes = chunked(tar)
    assert notes == {}
    assert plain(blob) == tar


def test_the_table_speaks_of_headers_as_go_does() -> None:
    tar = (
        pax(
            (b"path", "./dir/é".encode()), (b"mtime", b"12.5"), (b"atime", b"7"),
            (b"SCHILY.xattr.user.x", b"\0\1"),
        )
        + header(b"short", size=3, mode=b"0100755\0", uid=b"0000012\0")
        + padded(b"abc")
        + header(b"./d/", b"5", mtime=b"00000000144\0")
        + END
    )  # fmt: skip
    blob, notes = chunked(tar)
    start, size, *_ = map(int, notes[POSITION].split(":"))
    first, second = json.loads(plain(blob[start : start + size]))["entries"]
    assert first | {"digest": "", "offset": 0, "endOffset": 0} == {
        "type": "reg", "name": "./dir/é", "mode": 0o100755, "size": 3, "uid": 10,
        "modtime": "1970-01-01T00:00:12.5Z", "accesstime": "1970-01-01T00:00:07Z",
        "xattrs": {"user.x": "AAE="}, "digest": "", "offset": 0, "endOffset": 0,
    }  # fmt: skip
    assert second == {"type": "dir", "name": "./d/", "mode": 0o644, "modtime": "1970-01-01T00:01:40Z"}


# --- tables that lie

TAR = write([(Entry(b"a", size=6), b"abcdef"), (Entry(b"b", size=3), b"xyz")])
BLOB, NOTES = chunked(TAR)


def test_only_what_is_announced_rightly_is_read() -> None:
    def asked(start: int, end: int) -> bytes:
        raise AssertionError

    for key in (POSITION, TARSPLIT, CHECKSUM):
        assert open_layout(described(BLOB, {**NOTES, key: ""}), asked) is None
    for value in (
        "1:2:3",
        "1:2:3:2",
        "0:9:9:1",
        "-1:9:9:1",
        "9:9:9:1:1",
        "1:99999999999:9:1",
        f"1:9:{1 << 40}:1",
    ):
        assert open_layout(described(BLOB, {**NOTES, POSITION: value}), asked) is None
    assert open_layout(described(BLOB[:99], NOTES), asked) is None


def forged(change: Callable[[list[dict[str, object]]], object], split: bytes | None = None) -> ChunkedTable:
    """The table of BLOB with changed entries, its digests right."""
    start, size, *_ = map(int, NOTES[POSITION].split(":"))
    fields = json.loads(plain(BLOB[start : start + size]))
    change(fields["entries"])
    at, length, whole = map(int, NOTES[TARSPLIT].split(":"))
    packed = BLOB[at : at + length] if split is None else zstandard.ZstdCompressor().compress(split)
    fields["tarSplitDigest"] = str(Digest.of(packed))
    return table_of(json.dumps(fields).encode(), packed, whole if split is None else len(split), start)


def table_of(table: bytes, split: bytes = b"", whole: int = 0, start: int = 1000) -> ChunkedTable:
    packed = zstandard.ZstdCompressor().compress(table)
    where = Where(
        Digest.of(packed), (start, len(packed), len(table)), (start + len(packed), len(split), whole)
    )
    return ChunkedTable(where, packed + split)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].update(offset=1 << 30, endOffset=(1 << 30) + 5),
        lambda rows: rows[0].update(endOffset=rows[0]["offset"]),
        lambda rows: rows[0].update(offset=-1),
        lambda rows: rows[0].update(offset=True),
        lambda rows: rows[0].update(offset="1"),
        lambda rows: rows[0].update(size=1 << 60),
        lambda rows: rows[0].update(digest="sha256:../../etc"),
        lambda rows: rows[0].update(digest=7),
        lambda rows: rows[0].pop("name"),
        lambda rows: rows.append(dict(rows[0])),
        lambda rows: rows.append(7),
        lambda rows: rows.insert(1, {"type": "chunk", "name": "a", "chunkOffset": 3, "offset": 1}),
        lambda rows: rows.insert(1, {"type": "chunk", "name": "a", "chunkOffset": 6, "chunkSize": 1 << 50}),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(
    change: Callable[[list[dict[str, object]]], object],
) -> None:
    with pytest.raises(InvalidDocument):
        forged(change)


def test_paths_that_climb_are_looked_up_nowhere() -> None:
    for name in ("../../etc/shadow", "a/../../b", "x\0y"):
        table = forged(lambda rows, name=name: rows[0].update(name=name))
        assert [file.path for file in table.files] == [b"", b"b"]


@pytest.mark.parametrize(
    "document",
    [
        b"[]", b"{}", b'{"version":2}', b'{"version":1}', b'{"version":1,"entries":7}', b"nonsense",
        b"[" * 100_000, b'{"version":1,"entries":[{"name":"a"}]}',
    ],
)  # fmt: skip
def test_documents_of_another_form_are_refused(document: bytes) -> None:
    with pytest.raises(InvalidDocument):
        table_of(document)


@pytest.mark.parametrize(("note", "most"), [(POSITION, MAX_TABLE), (TARSPLIT, MAX_TARSPLIT)])
def test_a_table_that_would_be_endless_is_none(note: str, most: int) -> None:
    start, size, _, *rest = NOTES[note].split(":")
    assert layout(BLOB, {**NOTES, note: ":".join([start, size, str(most + 1), *rest])}) is None


def test_a_table_has_the_digest_and_the_length_announced() -> None:
    start, size, whole, _ = map(int, NOTES[POSITION].split(":"))
    with pytest.raises(InvalidDocument, match="does not match the digest"):
        layout(BLOB[:start] + bytes([BLOB[start] ^ 1]) + BLOB[start + 1 :], NOTES)
    for wrong in (whole - 1, whole + 1):
        with pytest.raises(InvalidArchive, match="announced length"):
            layout(BLOB, {**NOTES, POSITION: f"{start}:{size}:{wrong}:1"})
    at, length, whole = map(int, NOTES[TARSPLIT].split(":"))
    with pytest.raises(InvalidDocument, match="tar-split"):
        layout(BLOB[:at] + bytes([BLOB[at] ^ 1]) + BLOB[at + 1 :], NOTES)
    with pytest.raises(InvalidDocument, match="longer than announced"):
        rebuilt(BLOB, layout(BLOB, {**NOTES, TARSPLIT: f"{at}:{length}:{whole - 1}"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "split",
    [
        b'{"type":1,"name":"c","size":6}\n', b'{"type":1,"name":"a","size":7}\n',
        b'{"type":1,"name":7,"size":6}\n',
        b'{"type":3}\n', b'{"type":2,"payload":"?"}\n', b"[]\n", b"{\n", b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_tarsplit_that_lies_is_refused(split: bytes) -> None:
    table = forged(lambda rows: None, split)
    with pytest.raises(InvalidDocument):
        list(table.segments())


def test_lines_of_a_tarsplit_end() -> None:
    with pytest.raises(InvalidDocument, match="without end"):
        list(read_tarsplit(io.BytesIO(b" " * (5 << 20))))


@settings(max_examples=60)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_changed_byte_is_never_more_than_refused(at: int, change: int) -> None:
    start, end = int(NOTES[POSITION].split(":")[0]), len(BLOB)
    at = start + at % (end - start)
    blob = BLOB[:at] + bytes([BLOB[at] ^ change]) + BLOB[at + 1 :]
    try:
        table = layout(blob, NOTES)
        assert table is None or rebuilt(blob, table) == TAR
    except (InvalidDocument, InvalidArchive):
        pass


# --- CRC-64

TABLE = []
for number in range(256):
    value = number
    for _ in range(8):
        value = (value >> 1) ^ 0xD800000000000000 if value & 1 else value >> 1
    TABLE.append(value)


def by_table(data: bytes) -> bytes:
    state = (1 << 64) - 1
    for byte in data:
        state = TABLE[(state ^ byte) & 255] ^ (state >> 8)
    return (state ^ ((1 << 64) - 1)).to_bytes(8, "big")


WAYS = pytest.mark.parametrize("way", [None, crc64.folded, crc64.library()])
"""None is whichever is the fastest; a library that is not here would be that again."""


@WAYS
def test_the_known_crc(way: Any) -> None:
    crc = Crc64(way)
    assert crc.digest() == bytes(8)
    crc.update(b"123456789")
    assert crc.digest().hex() == "b90956c775a41001"  # CRC-64/GO-ISO in the catalogue of RevEng


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_crcs_are_those_of_the_table(parts: list[bytes]) -> None:
    for way in (None, crc64.folded):
        crc = Crc64(way)
        for part in parts:
            crc.update(part)
        assert crc.digest() == by_table(b"".join(parts))


@WAYS
@pytest.mark.parametrize("size", [16383, 16384, 16385, 40000])
def test_crcs_of_long_pieces(way: Any, size: int) -> None:
    data = os.urandom(size)
    crc = Crc64(way)
    crc.update(data)
    assert crc.digest() == by_table(data)


def test_a_library_without_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isal.igzip_lib.__file__", zlib_file())
    assert crc64.library() is None


def zlib_file() -> str:
    """Some other extension module."""
    import isal._isal

    return isal._isal.__file__
