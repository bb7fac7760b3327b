"""The list of cuts is read back as it was written, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.erofs.cuts import RECORD, Cuts
from nacre.words.errors import InvalidArchive

DATA = Cuts(100 * 512 + 7, RECORD.pack(1, 3, 0, 0) + RECORD.pack(4, 5, 2, 9)).encode()


def test_there_and_back() -> None:
    cuts = Cuts.parse(DATA)
    assert list(cuts) == [(1, 3, 0, 0), (4, 5, 2, 9)]
    assert (cuts.length, cuts.left, cuts.count) == (100 * 512 + 7, 92 * 512 + 7, 2)
    cuts.check([3 * 512, 0, 14 * 512])


@pytest.mark.parametrize("lengths", [[3 * 512, 0], [3 * 512 - 1, 0, 14 * 512], [3 * 512, 0, 14 * 512 - 1]])
def test_donors_that_are_too_short(lengths: list[int]) -> None:
    with pytest.raises(InvalidArchive):
        Cuts.parse(DATA).check(lengths)


@pytest.mark.parametrize(
    ("length", "cuts"),
    [
        (512, [(0, 2, 1, 0)]),
        (9999, [(5, 1, 1, 0), (4, 1, 1, 0)]),
        (9999, [(1, 2, 1, 0), (2, 1, 1, 0)]),
        (9999, [(1, 0, 1, 0)]),
    ],
)
def test_cuts_that_cannot_be(length: int, cuts: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(InvalidArchive):
        Cuts(length, b"".join(RECORD.pack(*cut) for cut in cuts))


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_damage_is_found(at: int, flip: int) -> None:
    damaged = DATA[:at] + bytes([DATA[at] ^ flip]) + DATA[at + 1 :]
    for data in (damaged, DATA[:at], DATA + b"x"):
        with pytest.raises(InvalidArchive):
            Cuts.parse(data)
