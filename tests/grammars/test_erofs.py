"""An index read back is the tree that was written, and damage is found, never followed."""

from __future__ import annotations

import random
import stat
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.grammars.erofs import format as erofs
from nacre.grammars.erofs.format import BLOCK, MAX_LINK, MAX_XATTRS, SLOT, SUPER, crc32c, device_number
from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.erofs.write import encode
from nacre.grammars.layer.nodes import Inode, walk
from nacre.words.errors import InvalidArchive

SIZES = [10 * BLOCK, (3 << 40) + 1]
"""Lengths of two devices, the second beyond what 32 bits of blocks can name."""

names = st.binary(min_size=1, max_size=40).map(lambda n: n.replace(b"/", b"-").replace(b"\0", b"0"))
names = names.filter(lambda name: name not in (b".", b".."))
long_names = st.integers(200, 255).flatmap(
    lambda n: st.binary(min_size=1, max_size=3).map(lambda b: b.hex().encode().ljust(n, b"n"))
)
xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.\xff\n", b"trusted.t", b"security.s", b"system.posix_acl_access"]),
    st.binary(max_size=700), max_size=3,
).map(lambda found: tuple(sorted(found.items())))  # fmt: skip
looks = st.tuples(
    st.integers(0, 0o7777), st.integers(0, (1 << 32) - 2), st.integers(0, (1 << 32) - 2),
    st.integers(-(1 << 62), 1 << 62),
)  # fmt: skip


def file(size: int = 0, device: int = 1, block: int = 0, mode: int = 0o644) -> Inode:
    return Inode(stat.S_IFREG | mode, size=size, device=device, block=block)


def folder(**children: Inode) -> Inode:
    node = Inode(stat.S_IFDIR | 0o755)
    node.children = {name.encode(): child for name, child in children.items()}
    return node


@st.composite
def leaves(draw: st.DrawFn) -> Inode:
    mode, uid, gid, mtime = draw(looks)
    kind = draw(st.sampled_from(["file", "empty", "link", "char", "block", "fifo"]))
    node = Inode(mode, uid, gid, mtime, xattrs=draw(xattrs))
    if kind == "file":
        node.mode |= stat.S_IFREG
        node.size = draw(st.integers(1, 3 * BLOCK) | st.integers(1 << 33, 1 << 40) | st.just(70_000))
        node.device, node.block = (
            (1, draw(st.integers(0, 7))) if node.size <= 3 * BLOCK else (2, draw(st.integers(0, 1 << 31)))
        )
        if node.size == 70_000 and draw(st.booleans()):
            node.head = draw(st.sampled_from([(1, 2), (2, 12), (2, node.block + 1)]))
    elif kind == "link":
        node.mode = stat.S_IFLNK | 0o777
        node.link = draw(st.integers(1, MAX_LINK)) * b"x" if draw(st.booleans()) else draw(names)
    elif kind == "empty":
        node.mode |= stat.S_IFREG
    else:
        node.mode |= {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[kind]
        node.rdev = (
            0
            if kind == "fifo"
            else device_number(draw(st.integers(0, 4095)), draw(st.integers(0, (1 << 20) - 1)))
        )
    return node


@st.composite
def trees(draw: st.DrawFn) -> Inode:
    """A tree with some files under several names."""
    made: list[Inode] = []

    def grow(depth: int) -> Inode:
        mode, uid, gid, mtime = draw(looks)
        node = Inode(stat.S_IFDIR | mode, uid, gid, mtime, xattrs=draw(xattrs), implied=draw(st.booleans()))
        node.children = {}
        for name in draw(st.sets(names | long_names, max_size=6)):
            if depth and draw(st.booleans()):
                node.children[name] = grow(depth - 1)
            elif made and draw(st.integers(0, 4)) == 0:
                node.children[name] = draw(st.sampled_from(made))
            else:
                made.append(draw(leaves()))
                node.children[name] = made[-1]
        return node

    return grow(3)


def facts(root: Inode) -> dict[bytes, tuple[object, ...]]:
    """All of a tree but the numbers that encoding gives, and the sets of names that mean one file."""
    groups: dict[Inode, bytes] = {}
    return {path: (
        groups.setdefault(node, path), node.mode, node.uid, node.gid, node.mtime_ns, node.xattrs,
        node.link, node.rdev, node.implied,
        node.children is None and (node.size, node.device, node.block, node.head),
    ) for path, node in walk(root)}  # fmt: skip


def contents_as_read(root: Inode) -> dict[bytes, tuple[object, ...]]:
    found = facts(root)
    for path, node in walk(root):
        if not stat.S_ISREG(node.mode) or not node.size:
            found[path] = (*found[path][:-1], False if node.children is not None else (0, 0, 0, None))
    return found


@given(trees())
@settings(max_examples=100)
def test_what_is_written_is_read_back(root: Inode) -> None:
    before = contents_as_read(root)
    data = encode(root, SIZES)
    assert len(data) % BLOCK == 0
    index = ErofsIndex(bytes(data))
    assert contents_as_read(index.tree()) == before
    assert index.devices == tuple(-(-size // BLOCK) for size in SIZES)
    assert index.count == len({node for _, node in walk(root)})


@given(trees())
@settings(max_examples=60)
def test_every_path_is_found_in_place(root: Inode) -> None:
    index = ErofsIndex(encode(root, SIZES))
    for path, node in walk(root):
        nid: int | None = index.root
        for name in path.split(b"/") if path else []:
            assert nid is not None
            assert index.lookup(nid, name + b"-") is None
            nid = index.lookup(nid, name)
        assert nid == node.nid
        if node.children is not None:
            assert [name for name, _ in index.names(node.nid)] == sorted(node.children)
        else:
            assert index.lookup(node.nid, b"x") is None


def test_the_same_tree_gives_the_same_bytes() -> None:
    trees = [folder(b=file(3), a=folder(c=file()), z=file(1, 1, 2)) for _ in range(2)]
    assert encode(trees[0], SIZES) == encode(trees[1], SIZES)


def test_slots_are_moved_when_trees_are_put_together() -> None:
    index = ErofsIndex(encode(folder(a=file(5, 1, 1), b=file(5, 2, 3)), SIZES))
    children = index.tree((9, 4)).children or {}
    assert [(n.device, n.block) for n in children.values()] == [(9, 1), (4, 3)]
    with pytest.raises(InvalidArchive):
        index.tree((9, 4, 1))


def test_a_device_that_is_not_there_has_no_slot() -> None:
    index = ErofsIndex(encode(folder(a=file(5, 1, 1), b=file(5, 3, 3)), [SIZES[0], None, SIZES[1]]))
    assert len(index.devices) == 2
    assert [(n.device, n.block) for n in (index.tree().children or {}).values()] == [(1, 1), (2, 3)]
    with pytest.raises(InvalidArchive):
        encode(folder(a=file(5, 2, 1)), [SIZES[0], None, SIZES[1]])


def test_a_folder_of_many_names_is_searched_and_not_read() -> None:
    root = folder()
    root.children = {b"%06d" % number: file() for number in range(30_000)}
    index = ErofsIndex(encode(root, []))
    assert index.lookup(index.root, b"029999") == root.children[b"029999"].nid
    assert index.lookup(index.root, b"000000") == root.children[b"000000"].nid
    assert index.lookup(index.root, b"030000") is None
    assert sum(1 for _ in index.names(index.root)) == 30_000


def test_names_around_the_dots_are_in_order() -> None:
    root = folder()
    root.children = {name: file() for name in (b"\x01", b"-", b".-", b"..a", b".a", b"/"[:0] + b"0", b"...")}
    index = ErofsIndex(encode(root, []))
    for name, node in root.children.items():
        assert index.lookup(index.root, name) == node.nid
    assert index.lookup(index.root, b"..") is None


def test_a_file_over_a_terabyte_has_several_chunks() -> None:
    data = encode(folder(a=file((1 << 40) + 5, 2, 17)), SIZES)
    [(name, nid)] = ErofsIndex(data).names(ErofsIndex(data).root)
    assert name == b"a"
    at = nid * SLOT + 64
    chunks = [struct.unpack_from("<HHI", data, at + 8 * n) for n in range(2)]
    assert chunks == [(0, 2, 17), (0, 2, 17 + (1 << 31))]


def beheaded(device: int, block: int) -> Inode:
    node = file(9000, 2, 17)
    node.head = device, block
    return node


def test_a_file_whose_beginning_lies_apart_has_chunks_of_a_page() -> None:
    data = encode(folder(a=beheaded(1, 2)), SIZES)
    [(_, nid)] = ErofsIndex(data).names(ErofsIndex(data).root)
    chunks = [struct.unpack_from("<HHI", data, nid * SLOT + 64 + 8 * n) for n in range(3)]
    assert chunks == [(0, 1, 2), (0, 2, 25), (0, 2, 33)]
    for number, field in ((1, 18), (1, 0xFFFFFFF0), (2, 34)):
        damaged = bytearray(data)
        struct.pack_into("<I", damaged, nid * SLOT + 68 + 8 * number, field)
        with pytest.raises(InvalidArchive):
            ErofsIndex(damaged).node(nid)


@pytest.mark.parametrize(
    "node",
    [
        beheaded(1, 3), beheaded(3, 0), beheaded(0, 0),
        file(BLOCK + 1, 1, 9), file(1, 1, 10), file(1, 0), file(1, 3), file(1, -1), file(1, 1, -1),
        file(1, 2, (1 << 32) - 2), file(11 * BLOCK), Inode(stat.S_IFLNK | 0o777),
        Inode(stat.S_IFLNK | 0o777, link=b"x" * 4096), Inode(stat.S_IFLNK | 0o777, link=b"a\0b"),
        Inode(stat.S_IFREG, xattrs=((b"user." + b"x" * 256, b""),)),
        Inode(stat.S_IFREG, xattrs=((b"user.x", bytes(65536)),)),
        Inode(stat.S_IFREG, xattrs=tuple((b"user.%d" % n, bytes(65000)) for n in range(5))),
    ],
    ids=repr,
)  # fmt: skip
def test_what_the_format_cannot_hold_is_refused(node: Inode) -> None:
    with pytest.raises(InvalidArchive):
        encode(folder(a=node), SIZES)


@pytest.mark.parametrize("name", [b"", b"x" * 256, b"a/b", b"a\0b", b"/"])
def test_impossible_names_are_refused(name: bytes) -> None:
    root = folder()
    root.children = {name: file()}
    with pytest.raises(InvalidArchive):
        encode(root, [])


def test_what_just_fits_is_kept() -> None:
    large = tuple((b"user.%d" % n, bytes(65_000)) for n in range(4))
    room = MAX_XATTRS - sum(4 + 1 + 65_000 + 3 & ~3 for _ in large) - 8
    node = Inode(stat.S_IFREG, xattrs=(*large, (b"user.rest", bytes(room & ~3))))
    root = folder()
    root.children = {b"n" * 255: node, b"last": file(BLOCK, 1, 9)}
    assert facts(ErofsIndex(encode(root, SIZES)).tree())[b"n" * 255][5] == node.xattrs


def test_attributes_of_unknown_namespaces_are_left_out() -> None:
    kept = ((b"system.posix_acl_default", b"d"), (b"trusted.a", b""))
    lost = ((b"com.apple.x", b"1"), (b"system.posix_acl_defaults", b"d"), (b"user.", b"2"), (b"user", b"3"))
    root = folder(a=Inode(stat.S_IFREG, xattrs=(*lost, *kept)), b=Inode(stat.S_IFREG, xattrs=lost))
    found = facts(ErofsIndex(encode(root, [])).tree())
    assert (found[b"a"][5], found[b"b"][5]) == (kept, ())


def test_too_many_devices_are_refused() -> None:
    assert len(ErofsIndex(encode(folder(), [1] * erofs.MAX_DEVICES)).devices) == erofs.MAX_DEVICES
    with pytest.raises(InvalidArchive):
        encode(folder(), [1] * (erofs.MAX_DEVICES + 1))


def test_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283  # RFC 3720, B.4 names the polynomial


def _sample() -> bytearray:
    root = folder(link=Inode(stat.S_IFLNK | 0o777, link=b"t" * 700), a=file(5), sub=folder(b=file(600, 2, 1)))
    root.children = {**(root.children or {}), **{b"%03d" % n: file() for n in range(100)}}
    (root.children or {})[b"noted"] = Inode(stat.S_IFREG, xattrs=((b"user.a", b"value"),))
    return encode(root, SIZES)


def _read_all(data: bytes) -> None:
    index = ErofsIndex(data)
    for path, _ in walk(index.tree()):
        nid: int | None = index.root
        for name in path.split(b"/"):
            nid = index.lookup(nid, name) if nid is not None else None


def test_damage_is_an_error_of_ours() -> None:
    """Bytes changed anywhere: all that may come of it is another tree or InvalidArchive."""
    good, chance = bytes(_sample()), random.Random(5)
    for _ in range(600):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(SUPER, len(data))
            data[at] = chance.choice([0, 1, 0xFF, 0x7F, chance.randrange(256)])
        head = bytearray(data[SUPER : SUPER + BLOCK])
        head[4:8] = bytes(4)
        data[SUPER + 4 : SUPER + 8] = struct.pack("<I", crc32c(head))
        with suppress(InvalidArchive):
            _read_all(bytes(data))


@pytest.mark.parametrize("length", [0, 1000, 1152, 1536, 2048])
def test_a_short_index_is_damaged(length: int) -> None:
    with pytest.raises(InvalidArchive):
        ErofsIndex(bytes(_sample()[:length]))


def test_a_head_with_a_wrong_checksum_is_damaged() -> None:
    data = _sample()
    data[SUPER + 100] ^= 1
    with pytest.raises(InvalidArchive, match="checksum"):
        ErofsIndex(data)
