# ruff: noqa: E501 - tables of layers are read by the line
"""Malicious and odd layers, made by code, and what a driver makes of them. `outcomes` is called by `zygote`."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parents[1] / room) for room in (".", "threats")]

from evil import Layer
from rawtar import END, extension, header, padded, pax

from nacre.stores import Store
from nacre.words.errors import NacreError

OUT = "../" * 20 + "tmp"
SECONDS = 60.0
"""Of CPU, for one layer: how long it takes says more of what else the machine does."""
MEMORY = 96 << 10
"""KiB that a driver may take beyond what an empty layer takes, whatever the layer says of itself."""
MANY = int(os.environ.get("NACRE_MANY", "2000"))
"""Tiny files in one layer; a million takes a while."""


def sparse(real: int, *segments: tuple[int, int], stored: int = -1) -> bytes:
    """A PAX 1.0 sparse member."""
    table = b"".join(b"%d\n" % number for number in (len(segments), *(n for pair in segments for n in pair)))
    content = padded(table) + bytes(sum(length for _, length in segments) if stored < 0 else stored)
    said = pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % real)
    )
    return said + header(b"sparse", size=len(content)) + padded(content) + END


def long_name(length: int) -> bytes:
    return extension(b"L", b"n" * length + b"\0") + header(b"short") + END


def deep(levels: int) -> bytes:
    return b"".join(pax((b"path", b"d/" * level + b"f")) + header() for level in (levels, levels)) + END


def named(*names: str) -> bytes:
    layer = Layer()
    for name in names:
        layer.file(name, name.encode()[:40])
    return layer.bytes()


TINY = Layer().folder("a").file("a/b", b"b" * 600).link("a/l", "b").hard("h", "a/b").file("n" * 120).bytes()


def layers() -> dict[str, bytes | Callable[[], bytes]]:
    """By name, the large ones to be made. Every one is refused, or harmless and the same with every driver."""
    found: dict[str, bytes | Callable[[], bytes]] = {
        "plain": TINY,
        "climbing": Layer().file(f"{OUT}/x").bytes(),
        "climbing inside": Layer().folder("a").file("a/../../../b").bytes(),
        "absolute": Layer().file("/etc/x").folder("/a").file("/a/../b").bytes(),
        "a link out": Layer().link("l", "/tmp").file("l/x").bytes(),
        "a link up": Layer().link("l", OUT).file("l/x").bytes(),
        "chained links": Layer().link("a", ".").link("a/b", "..").link("c", "a/b/a/b").file("c/x").bytes(),
        "a loop of links": Layer().link("a", "b").link("b", "a").file("a/x").bytes(),
        "hard through a link": Layer().folder("d").file("d/f").link("l", "d").hard("h", "l/f").bytes(),
        "hard through a link out": Layer().link("l", "/").hard("h", "l/etc/passwd").bytes(),
        "hard to a link": Layer().link("l", "/etc/passwd").hard("h", "l").bytes(),
        "hard to itself": Layer().hard("h", "h").bytes(),
        "hard to a folder": Layer().folder("d").hard("h", "d").bytes(),
        "hard to nothing": Layer().hard("h", "/etc/passwd").bytes(),
        "whiteout of the root": Layer().file(".wh.", b"").bytes(),
        "whiteout of the folder": Layer().folder("a").file("a/.wh..", b"").bytes(),
        "whiteout of the parent": Layer().folder("a").file("a/.wh...", b"").bytes(),
        "whiteout through a link": Layer().link("l", "/").file("l/.wh.etc", b"").bytes(),
        "opaque root": Layer().file(".wh..wh..opq", b"").file("f").bytes(),
        "opaque as a folder": Layer().folder(".wh..wh..opq").file(".wh..wh..opq/f").bytes(),
        "opaque as a link": Layer().link("a/.wh..wh..opq", "/").bytes(),
        "whiteout as a folder": Layer().folder(".wh.x").file(".wh.x/f").bytes(),
        "whiteout and file": Layer().file("x").file(".wh.x", b"").file("y/.wh.z", b"").file("y/z").bytes(),
        "aufs": Layer().folder(".wh..wh.plnk").file(".wh..wh.plnk/x").file(".wh..wh.aufs").bytes(),
        "devices": Layer().add("c", tarfile.CHRTYPE, devmajor=1, devminor=3).add(
            "b", tarfile.BLKTYPE, devmajor=8, devminor=0).add("w", tarfile.CHRTYPE).fifo("p").bytes(),
        "huge device": pax((b"SCHILY.devmajor", b"99999"), (b"SCHILY.devminor", b"1")) + header(flag=b"3") + END,
        "the root as a file": header(b"./") + END,
        "the root as a link": header(b"/", b"2", link=b"/tmp") + END,
        "the root as a folder": header(b"./", b"5", mode=b"0000700\0") + END,
        "duplicates": named("a", "a", "b", "a"),
        "a file, then a folder": Layer().file("x").folder("x").file("x/y").bytes(),
        "a folder, then a file": Layer().folder("x").file("x/y").file("x").bytes(),
        "a folder, then a link": Layer().folder("x").file("x/y").link("x", "/tmp").file("x/z").bytes(),
        "a file used as a folder": Layer().file("x").file("x/y").bytes(),
        "size too large": header(size=1 << 32) + b"x" * 512,
        "size too small": header(size=1) + b"x" * 512 + b"y" * 512 + END,
        "size below zero": header(size=b"\xff" * 12) + END,
        "size of 8 EiB": header(size=b"\x80" + b"\x7f" + b"\xff" * 10) + END,
        "size not octal": header(size=b"99999999999\0") + END,
        "size of a link": header(flag=b"2", size=1 << 30, link=b"t") + header(b"f") + END,
        "size in zeros": pax((b"size", b"0" * 9000 + b"3")) + header(b"f") + padded(b"abc") + END,
        "ids beyond 32 bits": pax((b"uid", b"4294967296")) + header() + END,
        "the id that means none": pax((b"gid", b"4294967295")) + header() + END,
        "time beyond the world": pax((b"mtime", b"9" * 19)) + header() + END,
        "sparse": sparse(9000, (0, 512), (4096, 100)),
        "sparse that overlaps": sparse(9000, (0, 512), (100, 512)),
        "sparse backwards": sparse(9000, (4096, 512), (0, 512)),
        "sparse beyond the end": sparse(1000, (0, 512), (4096, 512)),
        "sparse of other length": sparse(9000, (0, 512), stored=100),
        "sparse of 2^62": sparse(1 << 62, (0, 1), ((1 << 62) - 1, 1)),
        "sparse of nothing": sparse(1 << 20),
        "sparse in 10^5 pieces": lambda: sparse(100_000 * 3, *((3 * n, 1) for n in range(100_000))),
        "sparse with a count that lies": pax(
            (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"5")
        ) + header(size=512) + padded(b"9999999999\n") + END,
        "sparse map of odd length": pax((b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"9")) + header() + END,
        "a flood of long names": lambda: extension(b"L", b"n" * 900_000) * 120 + header() + END,
        "a flood of records": lambda: pax((b"comment", b"c" * 500_000)) * 120 + header() + END,
        "a flood of globals": lambda: pax((b"comment", b"c" * 500_000), flag=b"g") * 120 + header() + END,
        "a header of 2 GiB": header(b"x", b"x", 1 << 31) + bytes(4096),
        "records only": pax((b"path", b"x")),
        "a name of 100 kB": long_name(100_000),
        "a path of 100 kB": lambda: pax((b"path", b"a/" * 50_000 + b"f")) + header() + END,
        "a link of 100 kB": extension(b"K", b"t" * 100_000) + header(flag=b"2") + END,
        "a name of 256": long_name(256),
        "a name of 255": long_name(255),
        "150 folders deep": lambda: deep(150),
        "3000 folders deep": lambda: deep(3000),
        "names of bytes": header(b"\xff\xfe\x01\n") + header(b"a\\b") + header(b" ") + END,
        "overlay's own attributes": pax(
            (b"SCHILY.xattr.trusted.overlay.redirect", b"/etc"), (b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
            (b"SCHILY.xattr.user.overlay.metacopy", b""), (b"SCHILY.xattr.user.mine", b"1"),
        ) + header(b"d/", b"5") + END,
        "an attribute of 64 KiB": pax((b"SCHILY.xattr.user.big", b"v" * 65_537)) + header() + END,
        "an access list of nonsense": pax((b"SCHILY.xattr.system.posix_acl_access", b"\2\0\0\0x")) + header() + END,
        "capabilities of nonsense": pax((b"SCHILY.xattr.security.capability", b"x")) + header() + END,
        "unknown types": header(flag=b"Z") + END,
        "after a lone zero block": header() + bytes(512) + header(b"g") + bytes(2048),
        "no end": header(size=3) + padded(b"abc"),
        "nothing": b"",
        "zeros": bytes(10240),
        "text": b"this is no tar\n" * 100,
        "many links to one": lambda: header(b"f", size=1) + padded(b"f") + b"".join(
            header(b"l%d" % n, b"1", link=b"f") for n in range(500)) + END,
        "many tiny files": lambda: b"".join(header(b"d%d/f%d" % (n % 50, n), size=1) + padded(b"x") for n in range(MANY)) + END,
    }  # fmt: skip
    cuts = {f"cut at {at}": TINY[:at] for at in range(512, len(TINY), 512)}
    return found | cuts


def layer(name: str) -> bytes:
    made = layers()[name]
    return made if isinstance(made, bytes) else made()


class Pieces:
    """A stream that has the layer in memory only once."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = memoryview(data), 0

    def read(self, count: int = -1, /) -> bytes:
        piece = self._data[self._at : self._at + (count if count >= 0 else 1 << 18)]
        self._at += len(piece)
        return bytes(piece)


class Million:
    """A layer of 10⁶ empty files, made as it is read."""

    def __init__(self) -> None:
        self._at, self._left = 0, b""

    def read(self, count: int = -1, /) -> bytes:
        while not self._left and self._at <= 1000:
            names = range(1000) if self._at < 1000 else ()
            self._left = b"".join(_empty(b"d%03d/%05d" % (self._at, n)) for n in names) or END
            self._at += 1
        piece, self._left = self._left[:count], self._left[count:]
        return piece


_EMPTY = header(b"d000/00000", size=0)
_SUM = sum(b"d000/00000")


def _empty(name: bytes) -> bytes:
    total = int(_EMPTY[148:154], 8) + sum(name) - _SUM
    return b"%s%s%06o%s" % (name, _EMPTY[len(name) : 148], total, _EMPTY[154:])


def million(root: str, driver: str) -> list[Any]:
    """What became of that layer, as `outcome` says it, and how many names one of its folders has."""
    with Store.open(root, driver=driver) as store:
        before = _peak()
        diff_id = store.trees.ingest(Million())
        taken = _peak() - before
        with store.trees.open([diff_id]) as view:
            return [taken, len(list(view.names(b""))), len(list(view.names(b"d999")))]


def outcomes(root: str, driver: str) -> dict[str, list[Any]]:
    """By name of the layer."""
    found = {}
    with Store.open(root, driver=driver) as store:
        for name in layers():
            print("at", name, file=sys.stderr)
            found[name] = outcome(store, layer(name))
    return found


def outcome(store: Store, data: bytes) -> list[Any]:
    """[what became of it, seconds of CPU, KiB of memory]. Text: the sentence, or a digest of all."""
    before, begun = _peak(), _cpu()
    try:
        diff_id = store.trees.ingest(Pieces(data))
        said = "ok " + hashlib.sha256(repr(list(_listing(store, diff_id))).encode()).hexdigest()
    except NacreError as error:
        said = f"refused: {error.message}"
    return [said, _cpu() - begun, _peak() - before]


def _cpu() -> float:
    """Seconds that this process and its helpers have used."""
    return sum(os.times()[:4])


def _peak() -> int:
    """The larger of ours and of a helper's, which begins with ours: a process keeps its peak over exec."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose)


def listing(root: str, driver: str, name: str) -> list[str]:
    """What a layer that is here looks like: to say where two drivers differ."""
    with Store.open(root, driver=driver) as store:
        diff_id = store.trees.ingest(Pieces(layer(name)))
        return [repr(row) for row in _listing(store, diff_id)]


def _listing(store: Store, diff_id: Any) -> Iterator[Any]:
    with store.trees.open([diff_id]) as view:
        pending = [b""]
        while pending:
            path = pending.pop()
            found = view.lookup(path, follow=False)
            assert found is not None, path
            content = _digest(found) if found.kind == "file" else ""
            size = found.size if found.kind == "file" else 0
            time_ns = found.mtime_ns if path else 0  # no layer here says when its root was changed
            yield (
                path, found.kind, found.mode, found.uid, found.gid, time_ns, content, found.link,
                found.major, found.minor, found.xattrs, size,
            )  # fmt: skip
            if found.kind == "dir":
                pending += [path + b"/" + child if path else child for child in sorted(view.names(path))]


def _digest(found: Any) -> str:
    with found.open() as file:
        return hashlib.sha256(file.read(1 << 20)).hexdigest()
