# ruff: noqa: E501 - tables of layers are read by the line
"""Where mutations begin: layers of every form, small, made by code and by the archives of other projects."""

from __future__ import annotations

import io
import random
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parents[1] / "shared" / "corpus"
sys.path += [str(ROOT / room) for room in (".", "threats")]

from evil import Layer  # noqa: E402
from rawtar import END, extension, header, padded, pax  # noqa: E402

MAX_SEED = 1 << 16
KEYS = (
    b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"SCHILY.devmajor", b"SCHILY.devminor",
    b"SCHILY.xattr.user.x", b"SCHILY.xattr.trusted.overlay.opaque", b"SCHILY.xattr.system.posix_acl_default",
    b"SCHILY.xattr.security.capability", b"LIBARCHIVE.xattr.user.%41", b"GNU.sparse.map", b"GNU.sparse.size",
    b"GNU.sparse.realsize", b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.offset",
    b"GNU.sparse.numbytes", b"RHT.security.selinux", b"comment", b"\xff",
)  # fmt: skip
VALUES = (
    b"", b"0", b"1", b"-1", b"5", b"512", b"9" * 19, b"9" * 30, b"0" * 5000 + b"5", b"1.5", b"-1.999999999999",
    b"a" * 5000, b"../" * 50 + b"x", b"a/./b//c/", b"/", b".", b"..", b"\0", b"a\0b", b"0,3,900,2", b"0,9,5,1",
    b"1," * 3000 + b"1", b"y", b"\2\0\0\0", bytes(20), b"\xff\xfe", b".wh.a", b".wh..wh..opq", b"d/.wh..wh.plnk/x",
)  # fmt: skip


def made() -> list[bytes]:
    """Ours: every kind of member and every extension."""
    tree = Layer().folder("a").file("a/b", b"b" * 700).link("a/l", "b").hard("a/h", "a/b").fifo("f")
    tree.add("c", tarfile.CHRTYPE, devmajor=1, devminor=3).file("a/.wh.x", b"").file("d/.wh..wh..opq", b"")
    tree.link("u", "a").file("u/through", b"t").folder("a/deep/er").file("a/deep/er/est", b"e")
    tree.file("a/-dash").file("a/!bang").file("+plus")
    long = Layer().file("n" * 200 + "/" + "m" * 90, b"x").link("ll", "t" * 300).folder("x" * 255)
    acl = b"\2\0\0\0\1\0\7\0\xff\xff\xff\xff\4\0\5\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff"
    attributes = [
        (b"SCHILY.xattr.user.a", b"v"),
        (b"SCHILY.xattr.security.capability", bytes(3) + b"\2" + bytes(16)),
    ]
    attributes += [(b"SCHILY.xattr.system.posix_acl_access", acl), (b"mtime", b"1.5"), (b"uid", b"70000")]
    sparse = pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9000"))
    segments = b"2\n512\n512\n4096\n100\n"
    old = header(b"old", b"S", 512, magic=b"ustar  \0")
    table = b"%011o\0%011o\0" % (1024, 512)
    old = old[:386] + table + old[386 + len(table) : 483] + b"%011o\0" % 4096 + old[495:]
    return [
        tree.bytes(), long.bytes(),
        pax(*attributes) + header(size=3) + padded(b"abc") + END,
        sparse + header(b"s", b"0", 512 + 612) + padded(segments) + padded(b"s" * 612) + END,
        pax((b"GNU.sparse.map", b"0,3,900,2"), (b"GNU.sparse.size", b"1000")) + header(size=5) + padded(b"abcde") + END,
        _checked(old) + b"o" * 512 + END,
        extension(b"L", b"g" * 120 + b"\0") + extension(b"K", b"t" * 130 + b"\0") + header(flag=b"2") + END,
        pax((b"path", b"global"), flag=b"g") + header() + header(b"dir/", b"5") + header(b"dir", b"0", 1) + padded(b"x"),
        header(b"dir/f", size=1) + padded(b"f") + header(b"dir", b"2", link=b"..") + header(b"dir/g") + END,
        b"".join(header(b"f%d" % n, size=n) + padded(b"z" * n) for n in range(40)) + END, END, b"",
    ]  # fmt: skip


def _checked(block: bytes) -> bytes:
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def others() -> list[bytes]:
    """The small archives of other projects, where they are."""
    found = []
    for path in sorted(CORPUS.glob("tar-*/*.tar")):
        if path.stat().st_size <= MAX_SEED:
            found.append(path.read_bytes())
    return found


class Mutator:
    """Changes that a reader of tars has to look at: what it would refuse at once is mended mostly."""

    def __init__(self, seeds: list[bytes], random: random.Random) -> None:
        self._seeds, self._random = seeds, random
        self._steps = (
            self._byte,
            self._field,
            self._block,
            self._cut,
            self._splice,
            self._swap,
            self._number,
            self._records,
        )

    def make(self) -> bytes:
        data = bytearray(self._random.choice(self._seeds))
        for _ in range(self._random.choice((1, 1, 2, 3, 8))):
            self._random.choice(self._steps)(data)
        if self._random.random() < 0.8:
            self._mend(data)
        return bytes(data[: 4 * MAX_SEED])

    def _byte(self, data: bytearray) -> None:
        if data:
            data[self._random.randrange(len(data))] = self._random.choice(
                (0, 0xFF, 0x80, 0x2F, 0x2E, 0x30, self._random.randrange(256))
            )

    def _field(self, data: bytearray) -> None:
        """One field of one header."""
        start, end = self._random.choice(
            (
                (0, 100),
                (100, 108),
                (108, 116),
                (124, 136),
                (136, 148),
                (156, 157),
                (157, 257),
                (257, 265),
                (329, 345),
                (345, 500),
                (386, 512),
            )
        )
        at = self._header(data)
        value = self._random.choice(
            (
                bytes(500),
                b"7" * 500,
                b"\xff" * 500,
                b"\x80" + self._random.randbytes(499),
                b"../" * 170,
                b"/" * 500,
                b".wh." + b"a" * 400,
                b".wh..wh..opq" + bytes(400),
                self._random.randbytes(500),
                b"a/b" + bytes(400),
                b"x5L2g1K0S347D6"[self._random.randrange(14) :][:1] * 500,
            )
        )
        data[at + start : at + end] = value[: end - start]

    def _number(self, data: bytearray) -> None:
        """A number written in decimal or octal becomes another."""
        digits = [at for at in range(len(data)) if 48 <= data[at] <= 57]
        if digits:
            at = self._random.choice(digits)
            data[at : at + 1] = self._random.choice(
                (b"9", b"0", b"-", b"99999999999999999999", b"0" * 5000, b"", b",")
            )

    def _header(self, data: bytearray) -> int:
        return 512 * self._random.randrange(max(1, len(data) // 512)) if data else 0

    def _records(self, data: bytearray) -> None:
        """An extended header of right form and strange content before a member."""
        at = self._header(data)
        chosen = [
            (self._random.choice(KEYS), self._random.choice(VALUES))
            for _ in range(self._random.randint(1, 3))
        ]
        data[at:at] = pax(*chosen, flag=self._random.choice((b"x", b"x", b"g")))

    def _block(self, data: bytearray) -> None:
        at, other = self._header(data), self._header(data)
        block = data[other : other + 512]
        data[at:at] = block * self._random.choice((1, 1, 2, 30))

    def _cut(self, data: bytearray) -> None:
        at = self._header(data)
        del data[at : at + self._random.choice((512, 512, 1024, 100, len(data)))]

    def _splice(self, data: bytearray) -> None:
        other = self._random.choice(self._seeds)
        at = 512 * self._random.randrange(max(1, len(other) // 512))
        here = self._header(data)
        data[here:here] = other[at : at + 512 * self._random.randrange(1, 9)]

    def _swap(self, data: bytearray) -> None:
        at, other = self._header(data), self._header(data)
        data[at : at + 512], data[other : other + 512] = data[other : other + 512], data[at : at + 512]

    def _mend(self, data: bytearray) -> None:
        """Right checksums wherever something looks like a header."""
        for at in range(0, len(data) - 511, 512):
            if data[at + 257 : at + 262] == b"ustar" or data[at + 148 : at + 156].strip(b" \0").isdigit():
                data[at : at + 512] = _checked(bytes(data[at : at + 512]))


def tar_of(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)
