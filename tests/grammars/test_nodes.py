"""Layers as trees of nodes: parents, links, whiteouts, and layers laid over one another."""

from __future__ import annotations

import stat
import struct
from copy import deepcopy

import pytest

from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.erofs.tree import LayerTree
from nacre.grammars.erofs.write import encode
from nacre.grammars.layer.nodes import Inode, walk
from nacre.grammars.layer.overlay import OPAQUE, ORIGIN
from nacre.grammars.layer.union import as_lowest, merge
from nacre.grammars.tar.entry import Entry
from nacre.words.errors import InvalidArchive


def file(path: bytes, size: int = 0, offset: int = 512, **looks: object) -> Entry:
    return Entry(path, size=size, offset=offset)._replace(**looks)  # type: ignore[arg-type]


def directory(path: bytes, mode: int = 0o755, **looks: object) -> Entry:
    return Entry(path, "dir", mode)._replace(**looks)  # type: ignore[arg-type]


def symlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, "symlink", 0o777, link=target)


def hardlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, "hardlink", link=target)


def white(path: bytes) -> Entry:
    above, slash, name = path.rpartition(b"/")
    return Entry(above + slash + b".wh." + name, "file", 0)


def opaque(path: bytes) -> Entry:
    return Entry(path + b"/.wh..wh..opq" if path else b".wh..wh..opq", "file", 0)


def layer(*entries: Entry) -> Inode:
    tree = LayerTree()
    for entry in entries:
        tree.add(entry)
    return tree.nodes()


def stack(*layers: Inode) -> Inode:
    """The layers, lowest first, as they come out of their indexes and go into one."""
    bottom, *above = [ErofsIndex(encode(deepcopy(root), [1 << 30])).tree() for root in layers]
    as_lowest(bottom)
    for root in above:
        merge(bottom, root)
    return ErofsIndex(encode(bottom, [1 << 30])).tree()


def shape(root: Inode) -> dict[str, str]:
    """What is at every path, for people."""
    return {path.decode(): _letter(node) for path, node in walk(root) if path}


def _letter(node: Inode) -> str:
    kind = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFCHR: "char"}.get(
        stat.S_IFMT(node.mode), "other"
    )
    marks = ("o" if OPAQUE in node.xattrs else "") + ("w" if ORIGIN in node.xattrs else "")
    return ("white" if kind == "char" and not node.rdev else kind) + (f" {marks}" if marks else "")


def at(root: Inode, path: str) -> Inode:
    return dict(walk(root))[path.encode()]


def test_parents_that_are_not_named_are_implied() -> None:
    root = layer(file(b"a/b/c"), directory(b"a", 0o700, uid=5))
    assert shape(root) == {"a": "dir", "a/b": "dir", "a/b/c": "file"}
    looks = [(at(root, p).implied, stat.S_IMODE(at(root, p).mode), at(root, p).uid) for p in ("", "a", "a/b")]
    assert looks == [(True, 0o755, 0), (False, 0o700, 5), (True, 0o755, 0)]


def test_what_is_implied_is_listed_and_written_down() -> None:
    tree = LayerTree()
    for entry in (file(b"a/b/c"), directory(b"x"), file(b"x/y/z"), directory(b"")):
        tree.add(entry)
    assert tree.implied() == [b"a", b"a/b", b"x/y"]
    assert tree.size == 0
    again = ErofsIndex(encode(tree.nodes(), [1 << 20])).tree()
    assert [path for path, node in walk(again) if node.implied] == [b"a", b"a/b", b"x/y"]


def test_the_last_entry_of_a_name_wins() -> None:
    root = layer(file(b"a", 1), directory(b"a", 0o700), file(b"a/b"), symlink(b"a", b"t"), file(b"a", 7))
    assert shape(root) == {"a": "file"}
    assert at(root, "a").size == 7


def test_folders_merge_and_take_the_later_looks() -> None:
    first = directory(b"d", 0o700, xattrs=((b"user.a", b"1"), (b"user.b", b"2")))
    root = layer(first, file(b"d/x"), directory(b"d", 0o711, uid=3, xattrs=((b"user.c", b"3"),)))
    assert shape(root) == {"d": "dir", "d/x": "file"}
    assert (at(root, "d").uid, at(root, "d").xattrs) == (3, ((b"user.c", b"3"),))


def test_links_are_followed_within_the_layer() -> None:
    root = layer(
        directory(b"usr"), directory(b"usr/lib"), symlink(b"lib", b"/usr/lib"), symlink(b"up", b"../../usr"),
        file(b"lib/x"), file(b"up/lib/y"), symlink(b"usr/self", b"."), file(b"usr/self/self/z"),
    )  # fmt: skip
    assert shape(root) == {
        "usr": "dir", "usr/lib": "dir", "lib": "link", "up": "link", "usr/lib/x": "file",
        "usr/lib/y": "file", "usr/self": "link", "usr/z": "file",
    }  # fmt: skip


def test_a_link_put_elsewhere_leads_elsewhere() -> None:
    root = layer(
        directory(b"a"), directory(b"b"), symlink(b"l", b"a"), file(b"l/1"), symlink(b"l", b"b"), file(b"l/2")
    )
    assert {"a/1", "b/2"} <= shape(root).keys()


@pytest.mark.parametrize(
    "entries",
    [
        (symlink(b"l", b"l"), file(b"l/x")),
        (symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")),
        (file(b"f"), file(b"f/x")),
        (file(b"f"), symlink(b"l", b"f/.."), file(b"l/x")),
        (hardlink(b"a", b"b"),),
        (directory(b"d"), hardlink(b"a", b"d")),
        (white(b"w"), hardlink(b"a", b"w")),
        (file(b"d/f"), hardlink(b"d", b"d/f")),
        (file(b"x" * 256),),
        (file(b"/".join([b"y" * 250] * 17)),),
        (symlink(b"l", b"x" * 4096),),
        (file(b"a", xattrs=((b"system.posix_acl_access", b"\2\0\0\0bad"),)),),
        (file(b"a", xattrs=((b"system.posix_acl_access", b"\2\0\0\0\3\0\7\0\0\0\0\0"),)),),
        (file(b"a", xattrs=((b"security.capability", b"x" * 20),)),),
        (file(b".wh..", size=0),),
    ],
    ids=repr,
)
def test_what_cannot_be_made_is_refused(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(InvalidArchive):
        layer(*entries)


def test_forty_links_are_followed_and_no_more() -> None:
    chain = [
        directory(b"d"),
        symlink(b"0", b"d"),
        *(symlink(b"%d" % n, b"%d" % (n - 1)) for n in range(1, 60)),
    ]
    assert "d/x" in shape(layer(*chain, file(b"39/x")))
    with pytest.raises(InvalidArchive, match="loop"):
        layer(*chain, file(b"40/x"))


def test_hard_links_are_one_file() -> None:
    root = layer(
        file(b"a", 9), hardlink(b"d/b", b"a"), symlink(b"l", b"a"), hardlink(b"m", b"l"), file(b"a", 1)
    )
    assert at(root, "d/b").size == 9
    assert at(root, "m") is at(root, "l")
    encode(root, [1 << 20])
    assert (at(root, "l").nlink, at(root, "d/b").nlink, at(root, "d").nlink, root.nlink) == (2, 1, 2, 3)


def test_overlays_own_attributes_and_what_the_kernel_would_refuse_are_left_out() -> None:
    acl = b"\2\0\0\0" + b"\2\0\7\0\x05\0\0\0"
    given = (
        (b"system.posix_acl_access", acl), (b"system.posix_acl_default", acl),
        (b"trusted.overlay.opaque", b"y"), (b"user.a", b"1"), (b"user.overlay.redirect", b"/etc"),
    )  # fmt: skip
    entries = [
        file(b"f", xattrs=given),
        directory(b"d", xattrs=given),
        symlink(b"l", b"f")._replace(xattrs=given),
    ]
    root = layer(*entries, Entry(b"p", "fifo", xattrs=given))
    kept = {path: [name.decode()[-7:] for name, _ in node.xattrs] for path, node in walk(root) if path}
    assert kept == {
        b"f": ["_access", "user.a"],
        b"d": ["_access", "default", "user.a"],
        b"l": [],
        b"p": ["_access"],
    }


def _acl(*rules: tuple[int, int, int]) -> bytes:
    return b"\2\0\0\0" + b"".join(struct.pack("<HHI", *rule) for rule in rules)


def test_access_lists_are_as_after_chmod() -> None:
    none = 0xFFFFFFFF
    plain = _acl((1, 7, none), (4, 7, none), (32, 7, none))
    masked = _acl((1, 0, none), (2, 7, 5), (4, 7, none), (16, 0, none), (32, 0, none))
    found = [
        layer(file(b"f", xattrs=((b"system.posix_acl_access", acl),), mode=0o754)) for acl in (plain, masked)
    ]
    expected = _acl((1, 7, none), (2, 7, 5), (4, 7, none), (16, 5, none), (32, 4, none))
    assert at(found[0], "f").xattrs == ()
    assert at(found[1], "f").xattrs == ((b"system.posix_acl_access", expected),)


# --- whiteouts


def test_whiteouts_are_devices_and_speak_of_lower_layers_only() -> None:
    for entries in ((white(b"d/x"), file(b"d/y")), (file(b"d/y"), white(b"d/x"))):
        assert shape(layer(*entries)) == {"d": "dir w", "d/x": "white", "d/y": "file"}
    assert shape(layer(white(b"x"), file(b"x"))) == {"x": "file"}
    assert shape(layer(file(b"x"), white(b"x"))) == {"x": "file"}
    for entries in (
        (white(b"x"), directory(b"x")),
        (directory(b"x"), white(b"x")),
        (white(b"x"), file(b"x/y")),
    ):
        assert shape(layer(*entries))["x"] == "dir o"
    assert shape(layer(Entry(b"n", "char")))["n"] == "white"
    assert shape(layer(file(b".wh..wh.plnk/x"), file(b".wh..wh.aufs"))) == {}


def test_opaque_folders_keep_what_their_layer_has() -> None:
    assert shape(layer(file(b"d/new"), opaque(b"d"))) == {"d": "dir o", "d/new": "file"}
    assert OPAQUE in layer(opaque(b"")).xattrs
    assert shape(layer(opaque(b"d"), directory(b"d", 0o700))) == {"d": "dir o"}


# --- layers on layers


def test_the_upper_layer_wins() -> None:
    lower = layer(
        file(b"same", 1), file(b"gone", 2), directory(b"d"), file(b"d/old"), file(b"swap/in"), file(b"f")
    )
    upper = layer(
        file(b"same", 9), white(b"gone"), file(b"d/new"), file(b"swap", 3), directory(b"f"), file(b"f/x")
    )
    root = stack(lower, upper)
    assert shape(root) == {
        "same": "file", "d": "dir", "d/old": "file", "d/new": "file", "swap": "file", "f": "dir",
        "f/x": "file",
    }  # fmt: skip
    assert at(root, "same").size == 9


def test_opaque_folders_hide_what_is_lower() -> None:
    lower = layer(directory(b"d"), file(b"d/old"), file(b"d/e/old"), file(b"x"))
    assert shape(stack(lower, layer(directory(b"d"), opaque(b"d"), file(b"d/new")))) == {
        "x": "file", "d": "dir", "d/new": "file",
    }  # fmt: skip
    assert shape(stack(lower, layer(opaque(b""), file(b"only")))) == {"only": "file"}
    assert shape(stack(lower, layer(white(b"d"), directory(b"d"), file(b"d/y")))) == {
        "x": "file", "d": "dir", "d/y": "file",
    }  # fmt: skip


def test_implied_folders_keep_the_looks_of_those_below() -> None:
    lower = layer(
        directory(b"d", 0o711, uid=7, mtime_ns=5, xattrs=((b"user.a", b"1"),)), directory(b"", 0o700)
    )
    looks = []
    for upper in (layer(file(b"d/e/f")), layer(directory(b"d", 0o500), file(b"d/e/f")), layer(opaque(b"d"))):
        root = stack(lower, upper)
        node = at(root, "d")
        looks.append((stat.S_IMODE(node.mode), node.uid, node.mtime_ns, node.xattrs, node.implied))
        assert stat.S_IMODE(root.mode) == 0o700
    kept = (0o711, 7, 5, ((b"user.a", b"1"),), False)
    assert looks == [kept, (0o500, 0, 0, (), False), kept]
    for again in (layer(white(b"d"), file(b"d/x")), layer(file(b"d/x"), white(b"d"))):
        node = at(stack(lower, again), "d")
        assert (stat.S_IMODE(node.mode), node.uid, node.mtime_ns, node.xattrs) == (0o755, 0, 0, ())


def test_three_layers_and_whiteouts_of_nothing() -> None:
    layers = [
        layer(white(b"never"), opaque(b"d"), file(b"d/a")), layer(white(b"d"), file(b"w")),
        layer(file(b"d/b"), white(b"w"), white(b"nothing")),
    ]  # fmt: skip
    assert shape(stack(*layers)) == {"d": "dir", "d/b": "file"}
    assert shape(stack(layer(white(b"a"), directory(b"d"), white(b"d/x")))) == {"d": "dir"}


def test_depth_does_not_matter() -> None:
    deep = b"/".join([b"d"] * 2000)
    lower, upper = [
        ErofsIndex(encode(layer(*e), [9 << 9])).tree() for e in ([file(deep)], [white(b"x"), file(deep, 4)])
    ]
    merge(as_lowest(lower), upper)
    assert sum(1 for _ in walk(lower)) == 2001
