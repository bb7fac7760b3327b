"""A layer in columns: names are found again, folders come out sorted, and an entry takes few bytes."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from nacre.grammars.erofs.inodes import ROOT, Inodes
from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.erofs.tree import LayerTree
from nacre.grammars.erofs.write import write_index
from nacre.grammars.tar.entry import Entry


def index(tree: LayerTree) -> bytes:
    image = bytearray()

    def put(data: bytearray, offset: int) -> None:
        image.extend(bytes(max(0, offset + len(data) - len(image))))
        image[offset : offset + len(data)] = data

    write_index(tree.inodes, [1 << 20], put)
    return bytes(image)


def test_names_are_found_again() -> None:
    inodes = Inodes()
    folders = [inodes.add(0o40755), inodes.add(0o40755)]
    assert folders[0] == ROOT
    names = [b"%d" % n for n in range(20_000)] + [b"n" * 255, b"n" * 254, b"\xff\n"]
    for folder in folders:
        for name in names:
            inodes.inode[inodes.entry(folder, name)] = inodes.add(0o100644, size=len(name))
    assert all(inodes.entry(f, name) == inodes.entry(f, name) for f in folders for name in names[::7])
    found = [inodes.find(folder, name) for folder in folders for name in names]
    assert len(set(found)) == 2 * len(names)
    assert inodes.find(ROOT, b"n" * 253) == inodes.find(ROOT, b"n" * 300) == 0
    inodes.seal()
    listed = [inodes.name(entry) for entry in inodes.sorted_names(ROOT)]
    assert listed == sorted(names)


def test_a_large_folder_is_sorted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"%d" % n for n in range(1000)] + [b"-", b".-", b"..x", b"\x01"]
    random.Random(1).shuffle(names)
    made = []
    for run in (1 << 16, 37):
        monkeypatch.setattr("nacre.grammars.erofs.inodes._RUN", run)
        tree = LayerTree()
        for name in names:
            tree.add(Entry(b"d/" + name))
        made.append(index(tree))
    assert made[0] == made[1]
    read = ErofsIndex(made[0])
    folder = read.lookup(read.root, b"d")
    assert folder is not None
    assert [name for name, _ in read.names(folder)] == sorted(names)


def test_what_an_entry_takes() -> None:
    """A million entries are to fit into 150 MB with everything else that a pull has in memory."""
    entries = [Entry(b"usr/lib/pkg%d/module_%d.py" % (n // 50, n), mtime_ns=n << 40) for n in range(40_000)]
    tracemalloc.start()
    try:
        tree = LayerTree()
        for entry in entries:
            tree.add(entry)
        write_index(tree.inodes, [1 << 20], lambda _data, _offset: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(entries) * 110 + (2 << 20)
