"""What a profile has fetched: which pieces, in which fetches, in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.accessprofile import AccessProfile
from nacre.images.layers.foreseen import foreseen
from nacre.images.layers.lazy import Extents
from nacre.words.digest import Digest

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
LONGEST = 2 << 20


def layer(diff_id: Digest, size: int, count: int) -> Any:
    """Pieces of one size, each behind a header in the tar, and side by side in the blob."""
    extents = Extents()
    for number in range(count):
        extents.add(number * (size + 512) + 512, size, (number * size, (number + 1) * size), "digest")
    return SimpleNamespace(tree=SimpleNamespace(diff_id=diff_id), extents=extents)


def planned(reads: list[tuple[int, int, int]], *layers: Any) -> list[tuple[int, list[int]]]:
    profile = AccessProfile(tuple(each.tree.diff_id for each in layers), tuple(reads))
    return list(foreseen(profile, layers, LONGEST))


def test_reads_of_one_place_are_one_fetch_though_they_are_in_another_order() -> None:
    one = layer(ONE, 100_000, 100)
    at = one.extents.at
    assert planned([(0, at[number] + 9000, 1) for number in (9, 7, 8)], one) == [(0, [7, 8, 9])]


def test_what_is_read_first_is_fetched_first() -> None:
    one, two = layer(ONE, 1 << 20, 30), layer(TWO, 1 << 20, 30)
    places = [(0, one, 20), (1, two, 9), (0, one, 4)]
    reads = [(place, which.extents.at[number] + 9000, 1) for place, which, number in places]
    assert planned(reads, one, two) == [(0, [20]), (1, [9]), (0, [4])]


def test_small_gaps_come_along_and_large_ones_do_not() -> None:
    one = layer(ONE, 100_000, 100)
    reads = [(0, one.extents.at[number] + 9000, 1) for number in (10, 13, 17)]
    assert planned(reads, one) == [(0, [10, 11, 12, 13]), (0, [17])]


def test_fetches_have_a_length() -> None:
    one = layer(ONE, 1 << 20, 12)
    runs = planned([(0, 0, 20 << 20)], one)
    assert [len(numbers) for _, numbers in runs] == [2] * 6
    large = layer(ONE, 3 << 20, 3)
    assert planned([(0, 0, 20 << 20)], large) == [(0, [0]), (0, [1]), (0, [2])]


def test_whole_pages_are_read() -> None:
    one = layer(ONE, 1500, 20)
    assert planned([(0, one.extents.at[2], 10)], one) == [(0, [2, 3])]


READS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1 << 25), st.integers(1, 1 << 22)), max_size=20)


@given(reads=READS)
def test_each_piece_is_foreseen_once(reads: list[tuple[int, int, int]]) -> None:
    one, two = layer(ONE, 300_000, 80), layer(TWO, 5000, 900)
    profile = AccessProfile((ONE, TWO, Digest.of(b"another")), tuple(reads))
    runs = list(foreseen(profile, [one, two], LONGEST))
    named = {
        (place, piece)
        for place, offset, length in reads
        if place < 2
        for piece in (one, two)[place].extents.within(offset, length)
    }
    assert named <= {(number, piece) for number, pieces in runs for piece in pieces}
    assert all(pieces == [*range(pieces[0], pieces[-1] + 1)] for _, pieces in runs)
