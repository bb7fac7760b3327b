"""Tars from descriptions: what a member is, written in each dialect of tar that can say it.

A `Member` is what a reader must find. Each of DIALECTS writes it, as v7, ustar, star, GNU or PAX, or gives
None where it has no words for it; `archive` makes a whole of some. No code of nacre is used for it.
Sources: POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format", "Storing Sparse Files";
star(5).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from rawtar import END, extension, header, padded, pax

SECOND = 1_000_000_000
FLAGS = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
}
OCTAL = (1 << 21) - 1
"""The largest owner that fits into seven octal digits."""
Segments = tuple[tuple[int, int], ...]
Records = list[tuple[bytes, bytes]]


class Member(NamedTuple):
    """What is to be found. `data` is what is stored: of a sparse file, its `segments` one after the other."""

    path: bytes = b"file"
    kind: str = "file"
    data: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    segments: Segments | None = None
    size: int = 0

    @property
    def real_size(self) -> int:
        """With holes."""
        return len(self.data) if self.segments is None else self.size


def _octal(number: int, width: int) -> bytes | None:
    return b"%0*o\0" % (width - 1, number) if 0 <= number < 8 ** (width - 1) else None


def _binary(number: int, width: int) -> bytes:
    """GNU's form: a first bit, then two's complement."""
    plain = _octal(number, width)
    lead = b"\xff" if number < 0 else b"\x80"
    return plain or lead + (number % (1 << (8 * width - 8))).to_bytes(width - 1, "big")


def _block(
    member: Member, name: bytes, number: Callable[[int, int], bytes | None], magic: bytes, tail: bytes = b"",
    flag: bytes = b"",
) -> bytes | None:  # fmt: skip
    """One header, None if a number does not fit. `tail` follows the device."""
    numbers = [number(member.uid, 8), number(member.gid, 8), number(member.mtime_ns // SECOND, 12)]
    numbers += [number(len(member.data), 12), *(number(part, 8) for part in member.device)]
    if None in numbers or member.mtime_ns % SECOND:
        return None
    uid, gid, mtime, size, major, minor = (field or b"" for field in numbers)
    return header(
        name, flag or FLAGS[member.kind], size, member.link[:100], mode=b"%07o\0" % member.mode, uid=uid,
        gid=gid,
        mtime=mtime, magic=magic or bytes(8), tail=bytes(64) + major + minor + tail if magic else b"",
    )  # fmt: skip


def _with_data(block: bytes | None, member: Member) -> bytes | None:
    return block + padded(member.data) if block else None


def _named(member: Member) -> bytes:
    return member.path + (b"/" if member.kind == "dir" else b"")


def _plain(member: Member) -> bool:
    """Neither attributes nor holes nor a link too long for a header."""
    return not member.xattrs and member.segments is None and len(member.link) <= 100


def v7(member: Member) -> bytes | None:
    name = _named(member)
    if not _plain(member) or len(name) > 100 or member.kind not in ("file", "dir", "hardlink", "symlink"):
        return None
    flag = b"\0" if member.kind in ("file", "dir") else b""
    return _with_data(_block(member, name, _octal, b"", flag=flag), member)


def ustar(member: Member) -> bytes | None:
    return _prefixed(member, 155, b"")


def star(member: Member) -> bytes | None:
    """As star writes it: a shorter prefix, times of access and change behind it, and its own mark."""
    return _prefixed(member, 131, b"00000000001\x0000000000002\0" + bytes(8) + b"tar\0")


def _prefixed(member: Member, room: int, rest: bytes) -> bytes | None:
    parts = _split(_named(member), room)
    if not _plain(member) or parts is None:
        return None
    return _with_data(
        _block(member, parts[1], _octal, b"ustar\x0000", parts[0].ljust(room, b"\0") + rest), member
    )


def _split(name: bytes, room: int) -> tuple[bytes, bytes] | None:
    """A prefix and a name that are the path with a slash between."""
    if len(name) <= 100:
        return b"", name
    cuts = [at for at, byte in enumerate(name[:-1]) if byte == 0x2F and at <= room and len(name) - at <= 101]
    return (name[: cuts[0]], name[cuts[0] + 1 :]) if cuts else None


def gnu(member: Member) -> bytes | None:
    """Long names before the member, large and negative numbers in binary, the map of holes in the header."""
    if member.xattrs:
        return None
    name, before = _named(member), b""
    if len(name) > 100:
        before += extension(b"L", name + b"\0")
    if len(member.link) > 100:
        before += extension(b"K", member.link + b"\0")
    if member.segments is not None:
        block = _gnu_sparse(member, name)
    else:
        block = _block(member, name, _binary, b"ustar  \0")
    return before + whole if (whole := _with_data(block, member)) else None


def gnu_always(member: Member) -> bytes | None:
    """Long names for short ones as well."""
    if member.xattrs or member.segments is not None:
        return None
    before = extension(b"K", member.link + b"\0") if member.link else b""
    before += extension(b"L", _named(member) + b"\0")
    whole = _with_data(_block(member._replace(link=b"other"), b"other", _binary, b"ustar  \0"), member)
    return before + whole if whole else None


def _gnu_sparse(member: Member, name: bytes) -> bytes | None:
    table = [_binary(at, 12) + _binary(length, 12) for at, length in member.segments or ()]
    first, more, blocks = table[:4], table[4:], b""
    while more:
        blocks += b"".join(more[:21]).ljust(504, b"\0") + bytes([len(more) > 21]) + bytes(7)
        more = more[21:]
    tail = bytes(41) + b"".join(first).ljust(96, b"\0") + bytes([len(table) > 4]) + _binary(member.size, 12)
    block = _block(member, name, _binary, b"ustar  \0", tail, b"S")
    return block + blocks if block else None


def pax_needed(member: Member) -> bytes | None:
    """Records for what a header cannot hold."""
    return _recorded(member, _schily(member)) if _sayable(member) else None


def pax_always(member: Member) -> bytes | None:
    """Records for everything, and a header that says otherwise."""
    if not _sayable(member):
        return None
    records = [(b"path", _named(member)), (b"mtime", _time(member.mtime_ns)), (b"comment", b"=\n= x")]
    records += [(b"uid", b"%d" % member.uid), (b"gid", b"%d" % member.gid), *_schily(member)]
    records += [(b"linkpath", member.link)] if member.link else []
    records += [(b"size", b"%d" % len(member.data))] if member.kind == "file" else []
    other = member._replace(link=b"other", uid=7, gid=7, mtime_ns=7 * SECOND, data=b"")
    return pax(*records) + (_block(other, b"other", _octal, b"ustar\x0000") or b"") + padded(member.data)


def libarchive(member: Member) -> bytes | None:
    """Attributes as libarchive writes them: names by percent, values in base64 without padding."""
    if not member.xattrs:
        return None
    return _recorded(member, [
        (b"LIBARCHIVE.xattr." + quote_from_bytes(key, safe="").encode(), b64encode(value).rstrip(b"="))
        for key, value in member.xattrs
    ])  # fmt: skip


def _sayable(member: Member) -> bool:
    """The name of a record ends at its first `=`."""
    return member.segments is None and not any(b"=" in key for key, _ in member.xattrs)


def _schily(member: Member) -> Records:
    return [(b"SCHILY.xattr." + key, value) for key, value in member.xattrs]


def _time(nanoseconds: int) -> bytes:
    whole, fraction = divmod(abs(nanoseconds), SECOND)
    sign = b"-" if nanoseconds < 0 else b""
    return sign + b"%d" % whole + (b".%09d" % fraction).rstrip(b"0").rstrip(b".")


def _recorded(member: Member, records: Records) -> bytes | None:
    """The records, and those that the header needs besides."""
    owners = {b"uid": member.uid, b"gid": member.gid}
    records = records + [(key, b"%d" % number) for key, number in owners.items() if number > OCTAL]
    seldom = not 0 <= member.mtime_ns < SECOND << 33 or member.mtime_ns % SECOND
    records += [(b"mtime", _time(member.mtime_ns))] if seldom else []
    fits = member._replace(
        uid=member.uid & OCTAL, gid=member.gid & OCTAL, mtime_ns=0 if seldom else member.mtime_ns
    )
    parts = _split(_named(member), 155)
    records += [(b"path", _named(member))] if parts is None else []
    records += [(b"linkpath", member.link)] if len(member.link) > 100 else []
    prefix, name = parts or (b"", b"cut")
    block = _block(fits, name, _octal, b"ustar\x0000", prefix.ljust(155, b"\0"))
    return (pax(*records) if records else b"") + block + padded(member.data) if block else None


def sparse_0_0(member: Member) -> bytes | None:
    """PAX 0.0: a record for each end of each segment."""
    keys = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
    ends = [pair for segment in member.segments or () for pair in zip(keys, segment, strict=True)]
    return _sparse(member, [(b"GNU.sparse.size", b"%d" % member.size), *((k, b"%d" % n) for k, n in ends)])


def sparse_0_1(member: Member) -> bytes | None:
    """PAX 0.1: one record for the map, and the name beside it."""
    numbers = b",".join(b"%d" % number for segment in member.segments or () for number in segment)
    records = [(b"GNU.sparse.name", member.path), (b"GNU.sparse.size", b"%d" % member.size)]
    return _sparse(member._replace(path=b"GNUSparseFile/x"), [*records, (b"GNU.sparse.map", numbers)])


def sparse_1_0(member: Member) -> bytes | None:
    """PAX 1.0: the map is in front of the content."""
    numbers = [number for segment in member.segments or () for number in segment]
    text = b"".join(b"%d\n" % number for number in (len(numbers) // 2, *numbers))
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", member.path)]
    other = member._replace(path=b"GNUSparseFile/x", data=padded(text) + member.data)
    return _sparse(other, [*records, (b"GNU.sparse.realsize", b"%d" % member.size)])


def _sparse(member: Member, records: Records) -> bytes | None:
    """None for what has no holes, or no map where its absence would mean that there are none."""
    if member.segments is None or (not member.segments and len(records) == 1):
        return None
    return _recorded(member._replace(segments=None), records)


DIALECTS: dict[str, Callable[[Member], bytes | None]] = {
    "v7": v7, "ustar": ustar, "star": star, "gnu": gnu, "gnu, long names always": gnu_always,
    "pax where needed": pax_needed, "pax always": pax_always, "pax of libarchive": libarchive,
    "pax 0.0": sparse_0_0, "pax 0.1": sparse_0_1, "pax 1.0": sparse_1_0,
}  # fmt: skip
NAMES = (
    b"a", b"a b\n\t*", "äö/漢".encode(), b"\xff\xfe/\x80", b"n" * 99, b"n" * 100, b"n" * 101,
    b"d/" * 60 + b"f",
    b"p" * 150 + b"/" + b"n" * 90, b"p" * 90 + b"/" + b"n" * 150, b"x/" + b"n" * 250 + b"/y",
    b"-dash/..a/b..",
)  # fmt: skip
LINKS = (b"t", b"../../a b", b"/abs/olute", "ä".encode(), b"t" * 100, b"t" * 101, b"u/" * 200 + b"v")
SIZES = (0, 1, 511, 512, 513, 1024, 5000)
IDS = (1, OCTAL, OCTAL + 1, 1 << 31, (1 << 32) - 2)
TIMES = (1, (1 << 33) - 1, 1 << 33, -1, -(1 << 31), 1 << 40)
FRACTIONS = (1, 999_999_999, SECOND + 1, -1, -SECOND - 500_000_000, 1_600_000_000_123_456_789)
XATTRS = (
    ((b"user.a", b"v"),), ((b"user.a", b""), (b"user.b=c", b"\0\n=\xff")), ((b"user.\xc3\xa9", b"x" * 3000),),
    ((b"security.capability", b"\1\0\0\2\0\x20" + bytes(14)), (b"trusted.t", b"1"), (b"user.%41", b"2")),
)  # fmt: skip
HOLES: tuple[tuple[Segments, int], ...] = (
    ((), 1000), ((), 0), (((0, 5),), 5), (((0, 5),), 5000), (((995, 5),), 1000),
    (((512, 512), (2048, 1)), 4096),
    (tuple((1000 * n, n + 1) for n in range(4)), 9000), (tuple((1000 * n, 7) for n in range(5)), 9000),
    (tuple((1000 * n, 7) for n in range(26)), 30_000), (tuple((10 * n, 3) for n in range(400)), 4000),
    (((1 << 33, 3),), (1 << 33) + 3), (((0, 1), (1 << 38, 1)), 1 << 39),
)  # fmt: skip


def members() -> dict[str, Member]:
    """What is to be written, by a name: each quality with each kind of member that it matters for."""
    made = {f"file of {size}": Member(data=(b"content " * 700)[:size]) for size in SIZES}
    made |= {f"{kind} {number}": _of(kind, path=path) for kind in FLAGS for number, path in enumerate(NAMES)}
    made |= {f"symlink to {number}": Member(kind="symlink", link=link) for number, link in enumerate(LINKS)}
    made |= {
        f"hard link to {number}": Member(kind="hardlink", link=path) for number, path in enumerate(NAMES)
    }
    made |= {f"mode {mode:o}": Member(mode=mode) for mode in (0, 0o400, 0o755, 0o4755, 0o2711, 0o7777)}
    made |= {f"owner {uid}": Member(uid=uid, gid=IDS[-1 - n], data=b"x") for n, uid in enumerate(IDS)}
    made |= {f"time {time}": Member(mtime_ns=time * SECOND) for time in TIMES}
    made |= {f"nanoseconds {time}": Member(mtime_ns=time) for time in FRACTIONS}
    made |= {
        f"device {one}:{two}": _of("char", device=(one, two)) for one, two in ((0, 0), (1, 3), (511, 4095))
    }
    made |= {f"attributes {n}": Member(xattrs=xattrs, data=b"y") for n, xattrs in enumerate(XATTRS)}
    made |= {f"attributes of a folder {n}": _of("dir", xattrs=xattrs) for n, xattrs in enumerate(XATTRS)}
    made |= {f"holes {n}": sparse(segments, size) for n, (segments, size) in enumerate(HOLES)}
    return made


def sparse(segments: Segments, size: int) -> Member:
    stored = sum(length for _, length in segments)
    return Member(b"dir/holes", data=(b"between " * 1000)[:stored], segments=segments, size=size)


def _of(kind: str, **qualities: object) -> Member:
    """A member of a kind, with what that kind needs."""
    member = Member(kind=kind, link=b"target" if kind in ("symlink", "hardlink") else b"", mode=0o755)
    member = member._replace(device=(8, 1)) if kind in ("char", "block") else member
    return member._replace(**qualities)  # type: ignore[arg-type]


def archive(dialect: str, chosen: Iterable[Member]) -> tuple[bytes, list[Member]]:
    """All of them that the dialect can say, and which these are."""
    written = [(DIALECTS[dialect](member), member) for member in chosen]
    said = [(data, member) for data, member in written if data is not None]
    return b"".join(data for data, _ in said) + END, [member for _, member in said]


def apart(dialect: str) -> bytes:
    """All that a dialect can say, each in a folder of its own, so that it can become a tree on ext4."""
    lasting = [each for each in members().values() if each.mtime_ns < SECOND << 34]
    placed = [each._replace(path=b"%d/%s" % (n, each.path)) for n, each in enumerate(lasting)]
    first = Member(b"first", data=b"first")
    linked = [each._replace(link=b"first") if each.kind == "hardlink" else each for each in placed]
    return archive(dialect, [first, *linked])[0]


Damage = Callable[[bytes], bytes]
"""What is done to an archive that ends in a header."""


def spoil(at: int, text: bytes, *, summed: bool = True) -> Damage:
    """`text` at a place of the last header, with a right checksum unless told otherwise."""

    def change(data: bytes) -> bytes:
        start = len(data) - 512
        block = data[start:][:at] + text + data[start:][at + len(text) :]
        total = sum(block[:148] + b" " * 8 + block[156:])
        return data[:start] + (block[:148] + b"%06o\0 " % total + block[156:] if summed else block)

    return change


HEADERS: dict[str, Damage] = {
    "a checksum of another header": spoil(0, b"z", summed=False),
    "no checksum": spoil(148, bytes(8), summed=False),
    "a checksum that is no number": spoil(148, b"checksum", summed=False),
    "an unknown type": spoil(156, b"Z"),
    "a continuation of another volume": spoil(156, b"M"), "a size below zero": spoil(124, b"\xff" * 12),
    "a size of 2^80": spoil(124, b"\x80\x01" + bytes(10)), "a size in decimal": spoil(124, b"00000000099\0"),
    "a size in letters": spoil(124, b"0x000000010\0"), "an owner in letters": spoil(108, b"root\0\0\0\0"),
    "an owner below zero": spoil(108, b"\xff" * 8), "a mode in letters": spoil(100, b"rw-r--r\0"),
    "a time in letters": spoil(136, b"yesterday\0\0\0"),
    "a time of 2^80": spoil(136, b"\x80\x01" + bytes(10)),
    "a size that goes on": spoil(124, b"00000004000\0"),
}  # fmt: skip
RECORDS = {
    "a length too short": b"5 path=a\n", "a length too long": b"99 path=a\n", "no length": b" path=a\n",
    "a length in letters": b"ten path=a\n", "no line end": b"9 path=ab", "no blank": b"9path=a\n",
    "no equals": b"7 path\n",
    "no key": b"5 =a\n", "nothing": b"\n", "zeros": bytes(30),
}  # fmt: skip
_VALUES = {
    "path": (b"a\0b", b"../a", b"a/../../b", b"p" * 70_000), "linkpath": (b"a\0b",),
    "size": (b"-1", b"x", b"1.5", b"9" * 20, b"2000"), "uid": (b"-1", b"x", b"4294967295", b"9" * 30),
    "gid": (b"-1", b"1 ", b"4294967295"), "mtime": (b"now", b"1.x", b"--1", b"9" * 25, b"1e5", b" 1"),
    "GNU.sparse.map": (b"0", b"a,b", b"0,9", b"0,1,0,1", b"-1,1", b"9" * 30 + b",1"),
    "GNU.sparse.offset": (b"0",),
    "GNU.sparse.numbytes": (b"5",), "GNU.sparse.major": (b"x", b"-1"), "SCHILY.xattr.": (b"v",),
    "SCHILY.xattr." + "n" * 300: (b"v",), "SCHILY.xattr.user.big": (b"v" * 70_000,),
    "LIBARCHIVE.xattr.user.a": (b"*", b"a", b"ab=cd"), "LIBARCHIVE.xattr.user.%00": (b"YQ",),
    "SUN.holesdata": (b" 0 5",),
}  # fmt: skip
VALUES = [(key.encode(), value) for key, values in _VALUES.items() for value in values]
"""Records that say what cannot be."""


def damaged() -> dict[str, bytes]:
    """Every damage, behind a good member."""
    good, _ = archive("ustar", [Member(b"good", data=b"good")])
    whole = header(b"bad")
    made = {name: good[:-1024] + damage(whole) + END for name, damage in HEADERS.items()}
    made |= {name: extension(b"x", text) + whole + END for name, text in RECORDS.items()}
    return made | {
        f"{key.decode()[:20]} {number}": good[:-1024]
        + pax((key, value), (b"GNU.sparse.size", b"5"))
        + whole
        + END
        for number, (key, value) in enumerate(VALUES)
    }
