"""Compressed streams: every codec, in pieces of every size, damaged, truncated and hostile."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.grammars.codecs.gzip import BLOCK
from nacre.grammars.codecs.recipe import ingredients, is_current, recipe
from nacre.grammars.codecs.stream import Compressor, decompress, media_codec, sniff
from nacre.grammars.tar.entry import Reader
from nacre.ground.work.budget import Budget
from nacre.words.errors import InvalidArchive, Unsupported, UsageError

ONE = Budget(1)
CONTENT = b"".join(b"line %d of a file that repeats itself\n" % n for n in range(20_000))
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
CODECS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
every_codec = pytest.mark.parametrize("codec", CODECS)


class Slow:
    """Gives at most `step` bytes at a time, as a network may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, count: int = -1) -> bytes:
        return self._data.read(min(count, self._step) if count >= 0 else self._step)


def whole(stream: Reader, count: int = 1 << 16) -> bytes:
    return b"".join(iter(lambda: stream.read(count), b""))


@every_codec
def test_reads_what_others_wrote(codec: str) -> None:
    packed = CODECS[codec](CONTENT)
    assert sniff(packed[:6]) == codec
    assert whole(decompress(io.BytesIO(packed))) == CONTENT
    assert whole(decompress(io.BytesIO(packed), codec)) == CONTENT


@every_codec
@pytest.mark.parametrize("step", [1, 7, 4096])
def test_reads_all_members_in_pieces_of_any_size(codec: str, step: int) -> None:
    packed = CODECS[codec](CONTENT[:9000])
    assert whole(decompress(Slow(packed * 3, step)), 999) == CONTENT[:9000] * 3


@every_codec
def test_refuses_every_truncation(codec: str) -> None:
    packed = CODECS[codec](CONTENT[:5000])
    for end in range(6, len(packed)):
        with pytest.raises(InvalidArchive, match=r"truncated|damaged"):
            whole(decompress(io.BytesIO(packed[:end])))


@every_codec
def test_never_gives_wrong_content_for_a_flipped_bit(codec: str) -> None:
    packed = CODECS[codec](CONTENT[:5000])
    for at in range(6, len(packed)):
        damaged = packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :]
        try:
            assert whole(decompress(io.BytesIO(damaged), codec)) in (CONTENT[:5000], b"")
        except InvalidArchive:
            continue


@pytest.mark.parametrize("codec", ["xz", "zstd"])
def test_refuses_rubbish_after_the_last_member(codec: str) -> None:
    with pytest.raises(InvalidArchive, match="damaged"):
        whole(decompress(io.BytesIO(CODECS[codec](CONTENT) + b"rubbish and more of it")))


@every_codec
def test_refuses_an_empty_stream_that_is_said_to_be_compressed(codec: str) -> None:
    with pytest.raises(InvalidArchive, match="truncated"):
        whole(decompress(io.BytesIO(b""), codec))


@pytest.mark.parametrize("codec", ["gzip", "xz", "bzip2"])
def test_takes_zeros_after_the_last_member_for_padding(codec: str) -> None:
    assert whole(decompress(io.BytesIO(CODECS[codec](CONTENT) + bytes(512)))) == CONTENT


def test_skips_zstd_frames_that_are_to_be_skipped() -> None:
    packed = SKIPPABLE + CODECS["zstd"](CONTENT) + SKIPPABLE
    assert whole(decompress(io.BytesIO(packed))) == CONTENT
    with pytest.raises(InvalidArchive, match="truncated"):
        whole(decompress(io.BytesIO(packed[:-1])))


def test_bounds_the_window_of_zstd() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    encoder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = encoder.compress(bytes(1 << 20)) + encoder.flush()
    with pytest.raises(InvalidArchive, match="damaged"):
        whole(decompress(io.BytesIO(packed)))


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_takes_no_memory(codec: str) -> None:
    packed = CODECS[codec](bytes(1 << 20) * 48)
    tracemalloc.start()
    stream = decompress(io.BytesIO(packed))
    total = sum(len(piece) for piece in iter(lambda: stream.read(1 << 16), b""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 48 << 20
    assert peak < 16 << 20


def test_a_flood_of_empty_members_takes_linear_time() -> None:
    flood = gzip.compress(b"", mtime=0) * 20_000
    assert whole(decompress(io.BytesIO(flood + gzip.compress(b"end")))) == b"end"


def test_plain_content_passes_unchanged() -> None:
    assert whole(decompress(io.BytesIO(b"abc"))) == b"abc"
    assert whole(decompress(Slow(CONTENT, 3))) == CONTENT
    assert whole(decompress(io.BytesIO(b""))) == b""
    assert whole(decompress(io.BytesIO(b"\x1f\x8babc"), "none")) == b"\x1f\x8babc"


@pytest.mark.parametrize("head", [b"PK\x03\x04..", b"\x04\x22\x4d\x18..", b"\x1f\x9d....", b"Rar!.."])
def test_names_what_it_does_not_read(head: bytes) -> None:
    with pytest.raises(InvalidArchive, match="not supported"):
        decompress(io.BytesIO(head))


def test_refuses_an_unknown_codec() -> None:
    with pytest.raises(Unsupported, match="rar"):
        decompress(io.BytesIO(b""), "rar")
    with pytest.raises(Unsupported, match="xz"):
        Compressor("xz", lambda data: None, None)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=6))
def test_compresses_to_the_same_bytes_whatever_the_pieces(codec: str, cuts: list[int]) -> None:
    def packed(cuts: list[int]) -> bytes:
        out: list[bytes] = []
        compressor = Compressor(codec, out.append, ONE)
        for start, end in zip([0, *cuts], [*cuts, len(CONTENT)], strict=True):
            compressor.write(CONTENT[start:end])
        compressor.close()
        return b"".join(out)

    assert packed(sorted(cuts)) == packed([])
    assert whole(decompress(io.BytesIO(packed([])), codec)) == CONTENT


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, (1 << 20) - 1, 1 << 20, (1 << 21) + 5])
def test_compresses_every_size_for_others_to_read(codec: str, size: int) -> None:
    out: list[bytes] = []
    compressor = Compressor(codec, out.append, ONE)
    compressor.write((CONTENT * 4)[:size])
    compressor.close()
    packed = b"".join(out)
    plain = (
        gzip.decompress(packed)
        if codec == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    )
    assert plain == (CONTENT * 4)[:size]


def packed_as(codec: str, data: bytes, level: int | None = None, threads: Budget | None = ONE) -> bytes:
    out: list[bytes] = []
    compressor = Compressor(codec, out.append, threads, level)
    compressor.write(data)
    compressor.close()
    return b"".join(out)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_threads_do_not_change_the_bytes(codec: str) -> None:
    data = b"".join(b"%d " % (n * n) for n in range(400_000))
    results = {packed_as(codec, data, threads=Budget(count)) for count in (1, 2, 5)}
    assert len(results) == 1
    assert whole(decompress(io.BytesIO(results.pop()), codec)) == data


@pytest.mark.parametrize("level", range(10))
def test_every_level_of_gzip_is_one_member(level: int) -> None:
    data = (CONTENT * 2)[: 3 * BLOCK + 7]
    packed = packed_as("gzip", data, level)
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(packed) == data
    assert decoder.eof
    assert not decoder.unused_data


def test_blocks_know_what_came_before() -> None:
    """Random bytes that repeat across the cut are found again: the window is primed."""
    half = random.Random(1).randbytes(20_000)
    data = bytes(BLOCK - 20_000) + half + half
    assert len(packed_as("gzip", data)) < 25_000


@pytest.mark.parametrize(("codec", "level"), [("gzip", 10), ("gzip", -1), ("zstd", 0), ("zstd", 23)])
def test_refuses_levels_that_a_codec_has_not(codec: str, level: int) -> None:
    with pytest.raises(UsageError, match=f"no compression level {level}"):
        Compressor(codec, lambda data: None, None, level)


def test_a_failing_writer_ends_the_compressor() -> None:
    def refuse(_data: bytes) -> None:
        raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        Compressor("gzip", refuse, ONE).close()


@pytest.mark.parametrize(
    ("codec", "level"),
    [("gzip", None), ("gzip", 1), ("gzip", 9), ("zstd", 3), ("zstd:chunked", None), ("none", None)],
)
def test_a_recipe_says_how_to_make_it_again(codec: str, level: int | None) -> None:
    name = recipe(codec, level)
    assert is_current(name)
    assert ingredients(name)[0] == codec
    assert recipe(*ingredients(name)) == name
    assert ingredients(name)[1] == level or level is None


@pytest.mark.parametrize(
    "name", ["", "rar/x-1/2/3", "gzip/isa-l-0.0/2/262144", "gzip/x", "gzip/a/99/1", "gzip/a/b/c"]
)
def test_recipes_of_others_are_not_current(name: str) -> None:
    assert not is_current(name)


def test_a_gzip_header_carries_neither_time_nor_name() -> None:
    out: list[bytes] = []
    Compressor("gzip", out.append, None).close()
    header = b"".join(out)[:10]
    assert header[3] == 0
    assert header[4:8] == bytes(4)


def test_small_reads_of_large_content_are_right() -> None:
    packed = CODECS["gzip"](CONTENT)
    stream = decompress(io.BytesIO(packed))
    assert zlib.crc32(whole(stream, 100)) == zlib.crc32(CONTENT)
    assert stream.read(100) == b""


@pytest.mark.parametrize(
    ("media_type", "codec"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
        ("application/vnd.oci.image.layer.v1.tar", ""),
        ("application/octet-stream", ""),
    ],
)
def test_media_types_name_their_codec(media_type: str, codec: str) -> None:
    assert media_codec(media_type) == codec
