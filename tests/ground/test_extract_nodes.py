"""The index and `extract` follow the same rules: whatever a layer says, both make the same tree."""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from treemaker import (
    CAPABILITY,
    OPAQUE,
    ROOT,
    Item,
    directory,
    file,
    folder,
    hardlink,
    pack,
    symlink,
    tangles,
    trees,
    unpack,
    white,
)

from nacre.grammars.erofs.tree import LayerTree
from nacre.grammars.layer.nodes import walk
from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.words.errors import InvalidArchive

Facts = dict[bytes, tuple[Any, ...]]
_MARKS = OPAQUE.removesuffix(b"opaque")
_slow = settings(max_examples=200, suppress_health_check=list(HealthCheck))


def extracted(items: list[Item], where: Path) -> Facts | None:
    """What is on disk afterwards; None when the layer is refused."""
    with folder(where) as (path, fd):
        path.chmod(0o755)
        try:
            unpack(items, fd)
        except InvalidArchive:
            return None
        top = os.fsencode(path)
        found: dict[tuple[int, int], bytes] = {}
        facts = {}
        for above, folders, files in sorted(os.walk(top)):
            for name in [b"."] * (above == top) + sorted(folders) + sorted(files):
                full = os.path.join(above, name)
                inner = os.path.relpath(full, top)
                facts[b"" if inner == b"." else inner] = _facts_on_disk(full, found, inner)
        return _with_first_names(facts)


def _facts_on_disk(path: bytes, found: dict[tuple[int, int], bytes], name: bytes) -> tuple[Any, ...]:
    info = os.lstat(path)
    whiteout = stat.S_ISCHR(info.st_mode) and not info.st_rdev
    names = [] if stat.S_ISLNK(info.st_mode) else os.listxattr(path)
    xattrs = {os.fsencode(key).replace(_MARKS, b"trusted.overlay."): os.getxattr(path, key) for key in names}
    return _facts(
        found.setdefault((info.st_dev, info.st_ino), name), info.st_mode, info.st_uid, info.st_gid,
        info.st_mtime_ns, xattrs, os.readlink(path) if stat.S_ISLNK(info.st_mode) else b"",
        info.st_size if stat.S_ISREG(info.st_mode) else 0, whiteout, name == b".",
    )  # fmt: skip


def _facts(
    first: object, mode: int, uid: int, gid: int, mtime: int, xattrs: dict[bytes, bytes], link: bytes,
    size: int, whiteout: bool, root: bool,
) -> tuple[Any, ...]:  # fmt: skip
    if whiteout:
        return (first, "whiteout")
    owner = (uid, gid) if ROOT else ()
    return (first, mode, owner, 0 if root else mtime, sorted(xattrs.items()), link, size)


def _with_first_names(facts: Facts) -> Facts:
    """The set of names of one file is named by the least of them, however they were found."""
    least: dict[Any, bytes] = {}
    for path, fact in sorted(facts.items()):
        least.setdefault(fact[0], path)
    return {path: (least[fact[0]], *fact[1:]) for path, fact in facts.items()}


def imagined(items: list[Item]) -> Facts | None:
    """What `LayerTree` makes of the same entries."""
    tree = LayerTree()
    try:
        for entry, _ in read_tar(io.BytesIO(pack(items))):
            tree.add(entry)
    except InvalidArchive:
        return None
    return _with_first_names({
        path: _facts(
            id(node), node.mode, node.uid, node.gid, node.mtime_ns, dict(node.xattrs), node.link, node.size,
            stat.S_ISCHR(node.mode) and not node.rdev, path == b"",
        )
        for path, node in walk(tree.nodes())
    })  # fmt: skip


def without_attributes_of_the_file_system(facts: Facts | None) -> Facts | None:
    """An ordinary user's files cannot have all attributes."""
    if facts is None or ROOT:
        return facts
    return {path: fact[:4] + fact[5:] if len(fact) > 2 else fact for path, fact in facts.items()}


def same(items: list[Item], where: Path) -> None:
    disk, nodes = extracted(items, where), imagined(items)
    assert without_attributes_of_the_file_system(nodes) == without_attributes_of_the_file_system(disk)


@given(tangles())
@example([white(b"a"), file(b"a/b"), file(b"a"), directory(b"a")])
@example(
    [symlink(b"a", b"b"), directory(b"b"), file(b"a/c"), symlink(b"a", b"c"), directory(b"c"), file(b"a/x")]
)
@example([file(b"a/b"), hardlink(b"a", b"a/b")])
@example([directory(b"b"), file(b"b/c"), symlink(b"a", b"b"), hardlink(b"a", b"a/c")])
@example([file(b"a/a"), file(b"a"), symlink(b"a", b"a")])
@_slow
def test_tangled_layers(tmp_path_factory: Any, items: list[Item]) -> None:
    same(items, tmp_path_factory.getbasetemp())


@given(trees())
@_slow
def test_plain_layers(tmp_path_factory: Any, items: list[Item]) -> None:
    same(items, tmp_path_factory.getbasetemp())


def test_attributes(tmp_path: Path) -> None:
    rules = ((1, 7, -1), (2, 5, 70_000), (4, 1, -1), (16, 7, -1), (32, 0, -1))
    acl = b"\2\0\0\0" + b"".join(struct.pack("<HHi", *rule) for rule in rules)
    xattrs = [
        (b"system.posix_acl_access", acl), (b"user.note", b"x" * 900), (b"user.overlay.opaque", b"y"),
    ]  # fmt: skip
    if ROOT:
        xattrs += [
            (b"security.capability", CAPABILITY),
            (b"trusted.note", b""),
            (b"trusted.overlay.opaque", b"y"),
        ]
    pairs = tuple(sorted(xattrs))
    items: list[Item] = [
        (Entry(b"f", size=1, mode=0o777, xattrs=pairs), b"f"), (Entry(b"d", "dir", 0o777, xattrs=pairs), b""),
    ]  # fmt: skip
    if ROOT:
        items += [
            (
                Entry(b"p", "fifo", 0o777, xattrs=tuple(pair for pair in pairs if pair[0] != b"user.note")),
                b"",
            ),
            (Entry(b"n", "char", 0o777, major=4095, minor=(1 << 20) - 1), b""),
        ]
    same(items, tmp_path)
