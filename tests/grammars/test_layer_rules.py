"""What an entry means, without any file: decisions, and the trees that they make of dictionaries."""

from __future__ import annotations

import pytest
from memorytree import Dir, MemoryTree

from nacre.grammars.layer import rules
from nacre.grammars.layer.paths import Refused
from nacre.grammars.tar.entry import Entry


def file(path: bytes) -> Entry:
    return Entry(path)


def directory(path: bytes) -> Entry:
    return Entry(path, "dir", 0o755)


def symlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, "symlink", link=target)


def hardlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, "hardlink", link=target)


def decided(
    before: list[Entry], entry: Entry, *, full: bool = False
) -> tuple[str, bytes, tuple[bytes, ...], bytes]:
    tree = MemoryTree(full=full).add(before)
    verb, folder, missing, name = tree.decider.decide(entry)
    assert isinstance(folder, Dir)
    return verb, folder.path, missing, name


A, B = file(b"a"), directory(b"b")

# what is there already, the entry, the decision
KEPT = {
    "a file": ([], A, (rules.PUT, b"", (), b"a")),
    "a file again": ([A], A, (rules.PUT, b"", (), b"a")),
    "a file over a folder": ([B, file(b"b/x")], file(b"b"), (rules.PUT, b"", (), b"b")),
    "parents": ([B], file(b"b/c/d/x"), (rules.PUT, b"b", (b"c", b"d"), b"x")),
    "a folder": ([], B, (rules.MAKE, b"", (), b"b")),
    "a folder again": ([B], B, (rules.MERGE, b"b", (), b"")),
    "a folder over a file": ([A], directory(b"a"), (rules.MAKE, b"", (), b"a")),
    "a folder over a link to one": ([B, symlink(b"l", b"b")], directory(b"l"), (rules.MAKE, b"", (), b"l")),
    "the root": ([], directory(b""), (rules.MERGE, b"", (), b"")),
    "through a link": ([B, symlink(b"l", b"b")], file(b"l/x"), (rules.PUT, b"b", (), b"x")),
    "through a link to nothing": (
        [symlink(b"l", b"/t/u")], file(b"l/x"), (rules.PUT, b"", (b"t", b"u"), b"x"),
    ),
    "through a link and back": (
        [B, symlink(b"b/l", b"../no/../b")], file(b"b/l/x"), (rules.PUT, b"b", (), b"x"),
    ),
    "a hard link": ([A], hardlink(b"h", b"a"), (rules.LINK, b"", (), b"h")),
    "a whiteout": ([], file(b".wh.a"), (rules.WHITEOUT, b"", (), b"a")),
    "a whiteout of a file of this layer": ([A], file(b".wh.a"), (rules.HIDE, b"", (), b"a")),
    "a whiteout of a folder of this layer": ([B], file(b".wh.b"), (rules.COVER, b"", (), b"b")),
    "a whiteout where no folder is": ([], file(b"n/.wh.a"), (rules.WHITEOUT, b"", (b"n",), b"a")),
    "a whiteout beneath a file": ([A], file(b"a/.wh.x"), (rules.NOTHING, b"", (), b"")),
    "an opaque folder": ([B], file(b"b/.wh..wh..opq"), (rules.MARK_OPAQUE, b"b", (), b"")),
    "an opaque folder that is missing": ([], file(b"n/.wh..wh..opq"), (rules.MARK_OPAQUE, b"", (b"n",), b"")),
    "a device 0/0": ([], Entry(b"a", "char"), (rules.WHITEOUT, b"", (), b"a")),
    "a device": ([], Entry(b"a", "char", major=1), (rules.PUT, b"", (), b"a")),
    "a name of AUFS": ([], file(b".wh..wh.plnk/x"), (rules.NOTHING, b"", (), b"")),
    "a folder named as a whiteout": ([], file(b".wh.d/x"), (rules.PUT, b"", (b".wh.d",), b"x")),
    "a file over a whiteout": ([file(b".wh.a")], A, (rules.PUT, b"", (), b"a")),
    "a folder over a whiteout": ([file(b".wh.b")], B, (rules.MAKE, b"", (), b"b")),
    "beneath a whiteout": ([file(b".wh.b")], file(b"b/x"), (rules.PUT, b"", (b"b",), b"x")),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_a_layer_by_itself(name: str) -> None:
    before, entry, expected = KEPT[name]
    assert decided(before, entry) == expected


# what lower layers left, what the layer has, the entry, the decision
LOWER = [file(b"f"), directory(b"d"), file(b"d/x"), symlink(b"l", b"d"), symlink(b"n", b"none")]
APPLIED = {
    "a whiteout of what is lower": ([], file(b".wh.f"), (rules.REMOVE, b"", (), b"f")),
    "a whiteout of nothing": ([], file(b".wh.no"), (rules.NOTHING, b"", (), b"no")),
    "a whiteout of what is its own": ([file(b"f")], file(b".wh.f"), (rules.NOTHING, b"", (), b"f")),
    "a whiteout of its own folder": ([directory(b"d")], file(b".wh.d"), (rules.RESET, b"", (), b"d")),
    "a whiteout of a folder on its way": ([file(b"d/y")], file(b".wh.d"), (rules.RESET, b"", (), b"d")),
    "an opaque folder": ([], file(b"d/.wh..wh..opq"), (rules.PRUNE, b"d", (), b"")),
    "a file of lower layers on the way": ([], file(b"f/x"), (rules.PUT, b"", (b"f",), b"x")),
    "a link of lower layers on the way": ([], file(b"l/x"), (rules.PUT, b"", (b"l",), b"x")),
    "a link of its own on the way": ([symlink(b"l", b"d")], file(b"l/x"), (rules.PUT, b"d", (), b"x")),
    "a device 0/0": ([], Entry(b"a", "char"), (rules.PUT, b"", (), b"a")),
    "a hard link to a lower file": ([], hardlink(b"h", b"d/x"), (rules.LINK, b"", (), b"h")),
}  # fmt: skip


@pytest.mark.parametrize("name", APPLIED)
def test_a_layer_over_others(name: str) -> None:
    before, entry, expected = APPLIED[name]
    tree = MemoryTree(full=True).add(LOWER).add(before)
    verb, folder, missing, name = tree.decider.decide(entry)
    assert (verb, folder.path, missing, name) == expected


def test_links_of_lower_layers_are_followed_where_the_form_says_so() -> None:
    tree = MemoryTree(full=True).add(LOWER)
    decider = rules.ApplyRules(tree)
    assert [part.path if isinstance(part, Dir) else part for part in decider.decide(file(b"l/y"))] == [
        rules.PUT, b"d", (), b"y",
    ]  # fmt: skip
    assert decider.decide(file(b"n/.wh.x"))[0] == rules.NOTHING, "nothing is made where it leads"


def test_names_of_whiteouts_are_ordinary_where_the_form_says_so() -> None:
    decider = rules.ApplyRules(MemoryTree(full=True), whiteouts=False)
    assert decider.decide(file(b".wh.a"))[0] == rules.PUT


@pytest.mark.parametrize(
    ("before", "entry", "why"),
    [
        ([A], file(b"a/x"), "not a directory"), ([], file(b""), "has no name"),
        ([], file(b"n" * 256), "longer"),
        ([], file(b"n" * 256 + b"/x"), "longer"), ([], file(b"n/" * 2048 + b"x"), "longer"),
        ([symlink(b"a", b"b"), symlink(b"b", b"a")], file(b"a/x"), "loop"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("full", [False, True])
def test_what_cannot_be_made(before: list[Entry], entry: Entry, why: str, full: bool) -> None:
    with pytest.raises(Refused, match=why):
        decided(before, entry, full=full)


@pytest.mark.parametrize(
    ("before", "link", "why"),
    [
        ([], b"no", "does not exist in this layer"), ([B], b"b", "to a directory"),
        ([A], b"a/x", "not a directory"),
        ([file(b".wh.x")], b"x", "does not exist"), ([B], b"b/x", "does not exist"),
        ([], b"", "does not exist"),
    ],
)  # fmt: skip
def test_hard_links_to_nothing(before: list[Entry], link: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        MemoryTree().add([*before, hardlink(b"h", link)])


@pytest.mark.parametrize(
    ("entries", "marks"),
    [
        ([file(b"b/x")], rules.IMPLIED), ([B], 0), ([file(b"b/x"), B], 0),
        ([file(b"b/.wh..wh..opq")], rules.IMPLIED | rules.OPAQUE),
        ([B, file(b"b/.wh..wh..opq")], rules.OPAQUE),
        ([file(b".wh.b"), B], rules.OPAQUE), ([B, file(b".wh.b")], rules.OPAQUE),
        ([file(b"b/x"), file(b".wh.b")], rules.OPAQUE), ([file(b".wh.b"), file(b"b/x")], rules.OPAQUE),
        ([B, file(b"b/.wh.x")], rules.ORIGIN),
    ],
)  # fmt: skip
def test_marks_of_folders(entries: list[Entry], marks: int) -> None:
    tree = MemoryTree().add(entries)
    assert tree.child(tree.root, b"b").marks == marks


def test_a_folder_that_gives_way_takes_the_source_of_a_link_with_it() -> None:
    with pytest.raises(Refused, match="does not exist"):
        MemoryTree().add([file(b"a/b"), hardlink(b"a", b"a/b")])


def test_leftovers() -> None:
    tree = MemoryTree(full=True).add([*LOWER, file(b"d/e/old"), file(b"d/e/f/old")])
    tree.add([file(b"d/e/new"), file(b"d/y"), file(b".wh.d")])
    assert {path for path in tree.kinds() if path.startswith(b"d/")} == {b"d/e", b"d/e/new", b"d/y"}
    tree.add([file(b".wh..wh..opq"), file(b"z")])
    assert tree.kinds() == {b"z": "file"}


def test_what_a_layer_does_to_those_beneath() -> None:
    class Item:
        def __init__(self, name: str, kind: str, opaque: bool = False) -> None:
            self.name, self.kind, self.opaque = name, kind, opaque

    items = [Item("a", "file"), Item("b", "whiteout"), Item("c", "dir"), Item("d", "dir", opaque=True)]
    assert [(verb, item.name) for verb, item in rules.over_lower(items)] == [
        (rules.REMOVE, "b"), (rules.PRUNE, "d"), (rules.PUT, "a"), (rules.MERGE, "c"), (rules.MERGE, "d"),
    ]  # fmt: skip
