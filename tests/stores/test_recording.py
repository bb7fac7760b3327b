"""Which layer a part of a file belongs to, when contents of several layers lie in one file."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.erofs.cuts import RECORD, Cuts
from nacre.stores.trees.model import StoredTree
from nacre.stores.trees.recording import FileParts, ReadPlaces
from nacre.words.digest import Digest
from nacre.words.mount import Erofs

PARTS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(0, 500)), max_size=12)


@given(parts=PARTS, offset=st.integers(0, 70), count=st.integers(1, 30))
def test_parts_that_overlap(parts: list[tuple[int, int, int]], offset: int, count: int) -> None:
    wanted = sorted(
        whole + at - here
        for here, length, whole in parts
        for at in range(max(here, offset), min(here + length, offset + count))
    )
    found = [
        at for start, length in FileParts(parts).within(offset, count) for at in range(start, start + length)
    ]
    assert sorted(found) == wanted


def tree(folder: Path, tar: bytes) -> StoredTree:
    folder.mkdir()
    (folder / "layer.tar").write_bytes(tar)
    (folder / "index.erofs").write_bytes(b"")
    return StoredTree(Digest.of(str(folder).encode()), str(folder), None)  # type: ignore[arg-type]


def borrowing(tmp_path: Path) -> tuple[StoredTree, StoredTree]:
    """A layer, and one above it of which blocks 2 and 3 of 5 lie in the first, from its block 6."""
    lower, upper = tree(tmp_path / "lower", bytes(512 * 10)), tree(tmp_path / "upper", bytes(512 * 3))
    os.link(f"{lower.folder}/layer.tar", f"{upper.folder}/lent-00")
    Path(upper.folder, "cuts").write_bytes(Cuts(512 * 5, RECORD.pack(2, 2, 1, 6)).encode())
    return lower, upper


def test_what_was_cut_is_of_the_layer_that_is_read(tmp_path: Path) -> None:
    lower, upper = borrowing(tmp_path)
    own, lent = f"{upper.folder}/layer.tar", f"{upper.folder}/lent-00"
    lowers = [
        Erofs(f"{upper.folder}/index.erofs", (own, lent)),
        Erofs(f"{lower.folder}/index.erofs", (f"{lower.folder}/layer.tar",)),
    ]
    places = ReadPlaces(lowers, (lower, upper))
    assert list(places.reads([(lent, 512 * 6, 512)])) == [(1, 512 * 2, 512)]
    assert list(places.reads([(f"{lower.folder}/layer.tar", 512 * 6, 512)])) == [(0, 512 * 6, 512)]
    assert list(places.reads([(own, 512, 1024)])) == [(1, 512, 512), (1, 512 * 4, 512)]
    assert list(places.reads([("/elsewhere", 0, 512), (lent, 0, 512)])) == []


def test_in_a_merged_index_it_is_of_all_that_may_be_meant(tmp_path: Path) -> None:
    lower, upper = borrowing(tmp_path)
    file = f"{lower.folder}/layer.tar"
    places = ReadPlaces(
        [Erofs(f"{upper.folder}/merged-2-x.erofs", (file, f"{upper.folder}/layer.tar"))], (lower, upper)
    )
    assert list(places.reads([(file, 512 * 5, 1024)])) == [(0, 512 * 5, 1024), (1, 512 * 2, 512)]
