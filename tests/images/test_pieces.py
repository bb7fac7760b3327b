"""Pieces of a range of a blob, however it comes."""

from __future__ import annotations

import io
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.images.layers.extents import Extents
from nacre.images.layers.pieces import arriving
from nacre.words.errors import RegistryError

PIECES = st.lists(st.tuples(st.integers(-1, 6), st.integers(2, 9)), min_size=1, max_size=20)


class Trickle(io.BytesIO):
    """Gives fewer bytes than it is asked for, as connections do."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self._sizes, self._count = sizes, count()
        self.most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.most = max(self.most, size)
        return super().read(min(size, self._sizes[next(self._count) % len(self._sizes)]))


def extents_of(pieces: list[tuple[int, int]]) -> tuple[Extents, bytes]:
    """Pieces with gaps between them in the blob; two may share a byte. With the blob."""
    extents, at = Extents(), 10
    for gap, size in pieces:
        extents.add(len(extents), 1, (at + gap, at + gap + size), "digest")
        at += gap + size
    return extents, bytes(number % 251 for number in range(at))


@given(pieces=PIECES, sizes=st.lists(st.integers(1, 40), min_size=1), block=st.integers(1, 40))
def test_each_piece_comes_once_and_in_order(
    pieces: list[tuple[int, int]], sizes: list[int], block: int
) -> None:
    extents, blob = extents_of(pieces)
    numbers = range(len(extents))
    reader = Trickle(blob[extents.start[0] :], sizes)
    found = [
        (number, bytes(data)) for some in arriving(reader, extents, numbers, block) for number, data in some
    ]
    assert found == [(number, blob[extents.start[number] : extents.end[number]]) for number in numbers]
    assert reader.most <= block


@given(pieces=PIECES, missing=st.integers(1, 20))
def test_a_range_that_ends_too_early_is_an_error(pieces: list[tuple[int, int]], missing: int) -> None:
    extents, blob = extents_of(pieces)
    reader = io.BytesIO(blob[extents.start[0] : max(extents.start[0], len(blob) - missing)])
    with pytest.raises(RegistryError, match="too few bytes"):
        list(arriving(reader, extents, range(len(extents)), 7))


def test_what_came_together_is_given_together() -> None:
    extents, blob = extents_of([(0, 4)] * 8)
    reader = io.BytesIO(blob[10:])
    sizes = [len(some) for some in arriving(reader, extents, range(8), 16)]
    assert sizes == [4, 4]
