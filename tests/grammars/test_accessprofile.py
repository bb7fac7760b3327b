"""Access profiles: what is written is read again, and whatever else comes is refused or harmless."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.accessprofile import MOST_BYTES, MOST_READS, AccessProfile, distinct
from nacre.words.digest import Digest
from nacre.words.errors import ContentError, InvalidDocument, TooLarge, Unsupported

LAYERS = (Digest.of(b"one"), Digest.of(b"two"))
READS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(1, 20)), max_size=30)
GOOD: dict[str, Any] = {"version": 1, "layers": [str(each) for each in LAYERS], "reads": [[0, 512, 4096]]}


@given(reads=READS)
def test_what_is_written_is_read_again(reads: list[tuple[int, int, int]]) -> None:
    profile = AccessProfile(LAYERS, tuple(reads))
    assert AccessProfile.parse(profile.encode()) == profile
    assert profile.size == sum(length for _, _, length in reads)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"version": 2}, Unsupported, "another version"),
        ({"version": True}, Unsupported, "another version"),
        ({"more": 1}, InvalidDocument, "is not an object with version, layers and reads"),
        ({"layers": "sha256:1"}, InvalidDocument, "layers that are not a list"),
        ({"layers": ["sha256:1"]}, InvalidDocument, "a layer that is not a digest"),
        ({"layers": [7]}, InvalidDocument, "a layer that is not a digest"),
        ({"layers": [str(LAYERS[0])] * 1001}, TooLarge, "1001 layers, more than the 1000 allowed"),
        ({"reads": None}, InvalidDocument, "reads that are not a list"),
        ({"reads": [[0, 0, 1]] * (MOST_READS + 1)}, TooLarge, f"more than the {MOST_READS} allowed"),
        ({"reads": [[0, 0]]}, InvalidDocument, "a read that is not three numbers"),
        ({"reads": [[0, 0, 1.0]]}, InvalidDocument, "a read that is not three numbers"),
        ({"reads": [[0, 0, True]]}, InvalidDocument, "a read that is not three numbers"),
        ({"reads": [{}]}, InvalidDocument, "a read that is not three numbers"),
        ({"reads": [[2, 0, 1]]}, InvalidDocument, "an impossible read"),
        ({"reads": [[-1, 0, 1]]}, InvalidDocument, "an impossible read"),
        ({"reads": [[0, -1, 1]]}, InvalidDocument, "an impossible read"),
        ({"reads": [[0, 0, 0]]}, InvalidDocument, "an impossible read"),
        ({"reads": [[0, 1 << 40, 1]]}, InvalidDocument, "an impossible read"),
        ({"reads": [[0, 10**300, 1]]}, InvalidDocument, "an impossible read"),
    ],
)
def test_what_is_refused(change: dict[str, Any], error: type[ContentError], said: str) -> None:
    with pytest.raises(error, match=said):
        AccessProfile.parse(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 100_000, b'{"version": 1}'])
def test_what_is_no_profile(data: bytes) -> None:
    with pytest.raises(InvalidDocument):
        AccessProfile.parse(data)


def test_one_that_is_too_long_is_not_looked_into() -> None:
    with pytest.raises(TooLarge, match="more than the 1048576 allowed"):
        AccessProfile.parse(b" " * (MOST_BYTES + 1))
    with pytest.raises(TooLarge, match="an access profile of 20001 reads"):
        AccessProfile(LAYERS, ((0, 0, 1),) * (MOST_READS + 1)).encode()


@given(reads=READS)
def test_each_byte_is_named_once_where_it_is_read_first(reads: list[tuple[int, int, int]]) -> None:
    def bytes_of(several: Any) -> list[tuple[int, int]]:
        return [(layer, at) for layer, offset, length in several for at in range(offset, offset + length)]

    assert bytes_of(distinct(reads)) == list(dict.fromkeys(bytes_of(reads)))


def test_reads_that_follow_each_other_are_one() -> None:
    assert distinct([(0, 0, 10), (0, 10, 5), (1, 15, 1), (0, 12, 8)]) == ((0, 0, 15), (1, 15, 1), (0, 15, 5))


def test_the_first_are_kept() -> None:
    assert distinct([(0, 10 * number, 1) for number in range(9)], 2) == ((0, 0, 1), (0, 10, 1))
