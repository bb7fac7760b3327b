"""A tar that is read from its pieces while its contents are still to come."""

from __future__ import annotations

import os
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.stores.trees.forms.hollow import HollowTar

LITERALS = st.binary(max_size=2000) | st.integers(0, 255).map(lambda byte: bytes([byte]) * 300_000)
CONTENTS = st.integers(1, 600) | st.integers(16_000, 40_000)
STEPS = st.tuples(st.sampled_from(["take", "some", "skip"]), st.integers(0, 700) | st.integers(0, 400_000))


def whole(pieces: list[bytes | int]) -> bytes:
    """The tar with zeros for contents."""
    return b"".join(bytes(piece) if isinstance(piece, int) else piece for piece in pieces)


@settings(max_examples=40, deadline=None)
@given(st.lists(LITERALS | CONTENTS, max_size=12), st.lists(STEPS, max_size=20))
def test_it_is_read_and_written_as_its_pieces_say(
    pieces: list[bytes | int], steps: list[tuple[str, int]]
) -> None:
    tar = whole(pieces)
    with tempfile.TemporaryFile() as file:
        stream = HollowTar(iter(pieces), file.fileno())
        at = 0
        for verb, count in steps:
            expected = tar[at : at + count]
            if verb == "take":
                assert stream.take(count) == expected
                at += len(expected)
            elif verb == "skip":
                assert stream.skip(count) == count - len(expected)
                at += len(expected)
            elif count:
                found = stream.some(count)
                assert expected.startswith(found)
                assert found or not expected
                at += len(found)
            assert stream.position == at
        while not stream.skip(1 << 30):
            pass
        assert stream.close() == len(tar)
        assert os.pread(file.fileno(), len(tar) + 1, 0) == tar


def test_long_contents_stay_holes() -> None:
    with tempfile.TemporaryFile() as file:
        stream = HollowTar(iter([b"head", 64 << 20, b"tail"]), file.fileno())
        stream.skip(1 << 30)
        assert stream.close() == 8 + (64 << 20)
        assert os.fstat(file.fileno()).st_blocks * 512 < 1 << 20
