"""Compressed pieces of known length: as the stream has them, or not at all."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from nacre.grammars.codecs.piece import PieceDecoder


def unpack_piece(packed: bytes | memoryview, codec: str, size: int) -> bytes:
    return PieceDecoder(codec).unpack(packed, size)


PLAIN = bytes(range(256)) * 40


def zstd(plain: bytes = PLAIN, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(plain)


def test_a_frame_and_a_member() -> None:
    assert unpack_piece(memoryview(zstd()), "zstd", len(PLAIN)) == PLAIN
    assert unpack_piece(memoryview(gzip.compress(PLAIN)), "gzip", len(PLAIN)) == PLAIN


def test_the_beginning_of_a_longer_member() -> None:
    assert unpack_piece(gzip.compress(PLAIN), "gzip", 1000) == PLAIN[:1000]


@pytest.mark.parametrize("size", [len(PLAIN) - 1, len(PLAIN) + 1])
def test_a_frame_of_another_length(size: int) -> None:
    assert unpack_piece(zstd(), "zstd", size) == b""


def test_a_frame_that_does_not_tell_its_length_is_for_the_stream() -> None:
    assert unpack_piece(zstd(write_content_size=False), "zstd", len(PLAIN)) == b""


@pytest.mark.parametrize("codec", ["zstd", "gzip", "xz"])
@pytest.mark.parametrize("data", [b"", b"neither of the two", zstd()[:-5], gzip.compress(PLAIN)[:50]])
def test_anything_else_is_nothing(codec: str, data: bytes) -> None:
    assert unpack_piece(data, codec, len(PLAIN)) == b""


def test_a_length_that_is_a_lie_takes_no_memory() -> None:
    frame = bytearray(zstd(bytes(1 << 20)))
    assert unpack_piece(bytes(frame), "zstd", 100) == b""


def test_one_that_has_failed_goes_on() -> None:
    decoder = PieceDecoder("zstd")
    assert decoder.unpack(zstd()[:-5], len(PLAIN)) == b""
    assert [decoder.unpack(zstd(), len(PLAIN)) for _ in range(3)] == [PLAIN] * 3
