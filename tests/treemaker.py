"""Trees for extract and scan: as hypothesis draws them, and helpers to make and read them back."""

from __future__ import annotations

import io
import os
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import strategies as st

from nacre.grammars.tar.entry import Entry, Reader
from nacre.grammars.tar.read import read_tar
from nacre.grammars.tar.write import TarWriter
from nacre.ground.beneath import remove
from nacre.ground.extract import Form, Stats, extract
from nacre.ground.scan import scan

ROOT = os.geteuid() == 0
OPAQUE = b"trusted.overlay.opaque" if ROOT else b"user.overlay.opaque"
OVERLAY = Form("overlay", OPAQUE, ROOT, ROOT)
DELETE = OVERLAY.replace(whiteouts="delete")
SECOND = 1_000_000_000
MIB = 1 << 20
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

Item = tuple[Entry, bytes]


@contextmanager
def folder(where: Path) -> Iterator[tuple[Path, int]]:
    """A new folder and a descriptor of it; removed afterwards, whatever the modes in it."""
    path = Path(tempfile.mkdtemp(dir=where))
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield path, fd
    finally:
        os.close(fd)
        above = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(FileNotFoundError):
            remove(above, path.name)
        os.close(above)


def pack(items: Iterable[Item]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, data in items:
        writer.add(entry, io.BytesIO(data))
    writer.close()
    return out.getvalue()


def unpack(items: Iterable[Item], fd: int, form: Form = OVERLAY) -> Stats:
    return extract(read_tar(io.BytesIO(pack(items))), fd, form)


def content(reader: Reader) -> bytes:
    return b"".join(iter(lambda: reader.read(1 << 16), b""))


def seen(fd: int, form: Form = OVERLAY) -> list[Item]:
    """What scan finds, contents read."""
    return [(entry, content(opener()) if opener else b"") for entry, opener in scan(fd, form)]


def paths(fd: int, form: Form = OVERLAY) -> list[bytes]:
    return [entry.path for entry, _opener in scan(fd, form) if entry.path]


def file(path: bytes, data: bytes = b"data", **looks: int) -> Item:
    return Entry(path, size=len(data))._replace(**looks), data  # type: ignore[arg-type]


def directory(path: bytes, **looks: int) -> Item:
    return Entry(path, "dir", 0o755)._replace(**looks), b""  # type: ignore[arg-type]


def symlink(path: bytes, target: bytes) -> Item:
    return Entry(path, "symlink", 0o777, link=target), b""


def hardlink(path: bytes, target: bytes) -> Item:
    return Entry(path, "hardlink", link=target), b""


def white(path: bytes) -> Item:
    return Entry(path, "file", 0), b""


# --- strategies

parts = st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"/", b"-").replace(b"\0", b"0"))
names = parts.filter(lambda name: name not in (b".", b"..") and not name.startswith(b".wh."))
owners = st.integers(0, 70_000) if ROOT else st.just(0)
times = st.integers(1 - (1 << 31), 1 << 33).flatmap(
    lambda second: st.sampled_from([0, 1, 999_999_999]).map(lambda fraction: second * SECOND + fraction)
)
user_xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b=c", b"user.\xff"]), st.binary(max_size=50), max_size=2
)
root_xattrs = st.dictionaries(
    st.sampled_from([b"trusted.a", b"trusted.b"]), st.binary(max_size=50), max_size=2
)


@st.composite
def nodes(draw: st.DrawFn, path: bytes, whiteouts: bool) -> Item:
    kinds = ["file", "file", "sparse", "symlink", "fifo", "hardlink"]
    kinds += ["char", "block"] if ROOT else []
    kinds += ["white"] if whiteouts else []
    kind = draw(st.sampled_from(kinds))
    entry = Entry(path, kind, draw(st.integers(0, 0o7777)) | 0o400, draw(owners), draw(owners), draw(times))
    if kind == "white":
        above, slash, name = path.rpartition(b"/")
        return white(above + slash + b".wh." + name)
    if kind == "symlink":
        return entry._replace(mode=0o777, link=draw(names)), b""
    if kind in ("char", "block"):
        return entry._replace(major=draw(st.integers(1, 4095)), minor=draw(st.integers(0, 255))), b""
    if kind in ("file", "sparse"):
        return draw(contents(entry))
    return entry, b""


@st.composite
def contents(draw: st.DrawFn, entry: Entry) -> Item:
    found = draw(user_xattrs) | (draw(root_xattrs) if ROOT else {})
    if ROOT and draw(st.booleans()):
        found[b"security.capability"] = CAPABILITY
    xattrs = tuple(sorted(found.items()))
    if entry.kind == "file":
        data = draw(st.binary(max_size=300))
        return entry._replace(size=len(data), xattrs=xattrs), data
    sparse = draw(st.sampled_from([(), ((0, 4096),), ((2 * MIB, 4096),), ((MIB, 4096), (3 * MIB, 8192))]))
    end = sum(sparse[-1]) if sparse else 0
    entry = entry._replace(kind="file", size=end + 2 * MIB, sparse=sparse, xattrs=xattrs)
    return entry, b"x" * entry.stored


@st.composite
def trees(draw: st.DrawFn, whiteouts: bool = True) -> list[Item]:
    """A sorted list as scan gives it: root first, hard links resolved."""
    found = draw(subtree(b"", 3, whiteouts))
    return with_links(sorted(found, key=order), draw(st.randoms(use_true_random=False)))


@st.composite
def subtree(draw: st.DrawFn, path: bytes, depth: int, whiteouts: bool) -> list[Item]:
    looks = draw(st.integers(0, 0o7777)) | 0o500, draw(owners), draw(owners), draw(times)
    found = draw(user_xattrs)
    items: list[Item] = [(Entry(path, "dir", *looks, xattrs=tuple(sorted(found.items()))), b"")]
    prefix = path + b"/" if path else b""
    if whiteouts and draw(st.booleans()):
        items.append(white(prefix + b".wh..wh..opq"))
    for name in draw(st.sets(names, max_size=4)):
        if depth and draw(st.booleans()):
            items += draw(subtree(prefix + name, depth - 1, whiteouts))
        else:
            items.append(draw(nodes(prefix + name, whiteouts)))
    return items


def order(item: Item) -> list[bytes]:
    return item[0].path.split(b"/") if item[0].path else []


def with_links(items: list[Item], chance: random.Random) -> list[Item]:
    """Turn what was drawn as a hard link into one to something before it."""
    out: list[Item] = []
    firsts: list[Entry] = []
    for entry, data in items:
        if entry.kind == "hardlink":
            if not firsts:
                continue
            first = chance.choice(firsts)
            entry = first._replace(
                path=entry.path,
                kind="hardlink",
                link=first.path,
                size=0,
                major=0,
                minor=0,
                xattrs=(),
                sparse=None,
            )
        elif entry.kind != "dir" and b".wh." not in entry.path:
            firsts.append(entry)
        out.append((entry, data))
    return out


# Few names and many links between them: what is drawn keeps meeting itself.
_few = st.sampled_from([b"a", b"b", b"c", b".wh.a", b".wh.b", b".wh..wh..opq"])
_paths = st.lists(_few, min_size=1, max_size=3).map(b"/".join)
_targets = st.lists(st.sampled_from([b"a", b"b", b"c", b"..", b"."]), min_size=1, max_size=3).map(b"/".join)
_looks = st.fixed_dictionaries(
    {"mode": st.integers(0, 0o7777), "mtime_ns": st.integers(0, 3).map(SECOND.__mul__)}
)


@st.composite
def tangles(draw: st.DrawFn) -> list[Item]:
    items: list[Item] = []
    for path in draw(st.lists(_paths, max_size=12)):
        looks = draw(_looks)
        kind = draw(st.sampled_from(["file", "dir", "symlink", "hardlink", "fifo", "hidden"]))
        if kind == "file":
            items.append(file(path, draw(st.binary(max_size=3)), **looks))
        elif kind == "dir":
            # An ordinary user could not look into a folder that forbids its owner to.
            items.append(directory(path, **looks | {"mode": looks["mode"] | (0 if ROOT else 0o700)}))
        elif kind == "symlink":
            items.append(symlink(path, draw(st.sampled_from([b"", b"/"])) + draw(_targets)))
        elif kind == "hardlink":
            items.append(hardlink(path, draw(_paths)))
        else:
            items.append((Entry(path, "char" if kind == "hidden" else kind, looks["mode"]), b""))
    return items
