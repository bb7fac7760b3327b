"""What comes with the pieces that a read waits for."""

from __future__ import annotations

from nacre.images.layers.extents import Extents
from nacre.images.layers.readaround import LEAST, MOST, WIDEST, ReadAround, Throughput

_PIECE = 1 << 16


def layer(*files: int) -> Extents:
    """Files of so many pieces, one after the other, as a tar has them."""
    extents, at, place = Extents(), 0, 0
    for count in files:
        at += 512
        for _ in range(count):
            extents.add(at, _PIECE, (place, place + _PIECE), "digest")
            at += _PIECE
            place += _PIECE
    extents.seal()
    return extents


def test_the_whole_file_comes_with_any_part_of_it() -> None:
    around = [*ReadAround(layer(1, 40, 60)).of(20, 20, LEAST)]
    assert around[:21] == [*range(20, 41)]
    assert {*range(1, 41)} <= {*around}


def test_of_a_large_file_only_what_follows_and_a_little_before() -> None:
    around = [*ReadAround(layer(400)).of(200, 201, LEAST)]
    assert around == [*range(200, 206), 198, 199]


def test_what_a_round_trip_is_worth_lies_around() -> None:
    files = [1] * 300
    around = [*ReadAround(layer(*files)).of(150, 150, 32 * _PIECE)]
    assert around == [*range(150, 183), *range(134, 150)]


def test_reads_of_one_place_bring_more_each_time() -> None:
    extents = layer(*[1] * 2000)
    reads = ReadAround(extents)
    sizes = []
    at = 500
    for _ in range(8):
        found = [*reads.of(at, at, LEAST)]
        sizes.append(max(found) - at)
        for number in found:
            extents.here[number] = 1
        at = max(found) + 1
    least = LEAST // _PIECE
    assert sizes[:3] == [least, 2 * least, 4 * least]
    assert max(sizes) == WIDEST // _PIECE
    assert max([*reads.of(10, 10, LEAST)]) == 10 + least


def test_what_is_here_does_not_count() -> None:
    extents = layer(*[1] * 100)
    for number in range(11, 50):
        extents.here[number] = 1
    assert max([*ReadAround(extents).of(10, 10, LEAST)]) == 49 + LEAST // _PIECE


def test_the_throughput_has_bounds() -> None:
    throughput = Throughput()
    for _ in range(50):
        throughput.took(0.00001, 1 << 20, 0.001)
    assert throughput.trip == LEAST
    for _ in range(50):
        throughput.took(0.2, 1 << 20, 0.001)
    assert throughput.trip == MOST
    for _ in range(50):
        throughput.took(0.03, 1 << 20, 0.3)
    assert LEAST < throughput.trip < MOST
