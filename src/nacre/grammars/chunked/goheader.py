"""Headers as Go's archive/tar writes them, from what a table of contents says of a member.

An eStargz blob has the headers in the same compressed piece as the content before them, so whoever does not
fetch the content has to write the headers again. What the table leaves out (fractions of seconds, times of
access, other extended records) cannot be written; then the tar comes out wrong and its digest says so.
Source: Go 1.22 archive/tar, behaviour of Writer.WriteHeader.
"""

from __future__ import annotations

import calendar
import time
from base64 import b64decode

from ..tar.write import pax_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .header import Fields

STYLES = ("pax", "ustar", "gnu")
"""What becomes of a long name: an extended record, the prefix where it fits, a GNU long name."""

_FLAGS = {
    "reg": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3", "block": b"4", "dir": b"5", "fifo": b"6",
}  # fmt: skip
_LANDMARKS = (b".prefetch.landmark", b".no.prefetch.landmark")  # made by the tool, in the plainest form
_BLOCK = 512


class Names:
    """Users and groups: a table names one only where it differs from the last one of the same id."""

    def __init__(self) -> None:
        self._users: dict[object, str] = {}
        self._groups: dict[object, str] = {}

    def of(self, fields: Fields) -> tuple[bytes, bytes]:
        """User and group of the next member."""
        found = []
        for names, key, name in ((self._users, "uid", "userName"), (self._groups, "gid", "groupName")):
            number = fields.get(key, 0)
            if fields.get(name):
                names[number] = str(fields[name])
            found.append(names.get(number, "").encode())
        return found[0], found[1]


def header(fields: Fields, style: str, owner: tuple[bytes, bytes]) -> bytes:
    """All header blocks of one member. Raises ValueError, KeyError, TypeError for what makes no sense."""
    name, link = str(fields["name"]).encode(), str(fields.get("linkName") or "").encode()
    if style == "gnu" and name not in _LANDMARKS:
        return _gnu(fields, name, link, owner)
    records = _records(fields, name, link)
    prefix, base = b"", name
    if style == "ustar" and len(records) == 1 and b"path" in records and (split := _split(name)):
        records, (prefix, base) = {}, split
    block = _block(fields, base, link, owner, b"ustar\x0000", prefix)
    return _extended(name, records) + block if records else block


def _records(fields: Fields, name: bytes, link: bytes) -> dict[bytes, bytes]:
    found = {
        key: value
        for key, value in ((b"path", name), (b"linkpath", link))
        if len(value) > 100 or not value.isascii()
    }
    xattrs = fields.get("xattrs") or {}
    if not isinstance(xattrs, dict):
        raise TypeError
    return found | {b"SCHILY.xattr." + key.encode(): b64decode(value) for key, value in xattrs.items()}


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name, cut where Go cuts: at the last slash that leaves at most 155 bytes before it."""
    if not name.isascii():
        return None
    length = min(len(name), 156)
    at = name.rstrip(b"/").rfind(b"/", 0, length) if length == len(name) else name.rfind(b"/", 0, length)
    rest = len(name) - at - 1
    return (name[:at], name[at + 1 :]) if 0 < at <= 155 and 0 < rest <= 100 else None


def _gnu(fields: Fields, name: bytes, link: bytes, owner: tuple[bytes, bytes]) -> bytes:
    if fields.get("xattrs"):
        raise ValueError
    out = b""
    for flag, value in ((b"L", name), (b"K", link)):
        if len(value) > 100:
            out += _raw(b"././@LongLink", value + b"\0", flag, b"ustar  \0")
    return out + _block(fields, name, link, owner, b"ustar  \0", b"")


def _extended(name: bytes, records: dict[bytes, bytes]) -> bytes:
    folder, _, base = name.rpartition(b"/")
    parts = [part for part in folder.split(b"/") if part not in (b"", b".")]
    path = b"/".join([*parts, b"PaxHeaders.0", *([base] if base else [])])
    path = b"/" + path if name.startswith(b"/") else path
    data = b"".join(pax_record(key, records[key]) for key in sorted(records))
    return _raw(bytes(byte for byte in path if byte < 128), data, b"x", b"ustar\x0000")


def _raw(name: bytes, data: bytes, flag: bytes, magic: bytes) -> bytes:
    zero = b"0000000\0"
    block = name[:100].rstrip(b"/").ljust(100, b"\0") + zero * 3 + b"%011o\0" % len(data) + b"00000000000\0"
    return _sealed(block, flag + bytes(100) + magic) + data + bytes(-len(data) % _BLOCK)


def _block(
    fields: Fields, name: bytes, link: bytes, owner: tuple[bytes, bytes], magic: bytes, prefix: bytes
) -> bytes:
    size = _count(fields, "size") if fields["type"] == "reg" else 0
    numbers = b"".join(_number(_count(fields, key), 8) for key in ("mode", "uid", "gid"))
    head = _short(name) + numbers + _number(size, 12) + _number(_time(fields), 12)
    device = b"".join(_number(_count(fields, key), 8) for key in ("devMajor", "devMinor"))
    names = b"".join(part[:32].ljust(32, b"\0") for part in owner)
    rest = _FLAGS[str(fields["type"])] + _short(link) + magic + names + device + prefix
    return _sealed(head, rest)


def _short(text: bytes) -> bytes:
    """A name in a field of 100 bytes, without what is not ASCII. A cut name does not end in a slash."""
    plain = bytes(byte for byte in text if byte < 128)
    cut = plain[:100]
    return (cut if len(plain) <= 100 or not cut.endswith(b"/") else cut.rstrip(b"/")).ljust(100, b"\0")


def _count(fields: Fields, key: str) -> int:
    value = fields.get(key) or 0
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _number(value: int, width: int) -> bytes:
    digits = b"%0*o" % (width - 1, value)
    if len(digits) >= width:
        raise ValueError  # PAX records and base-256 fields: rare enough to come whole
    return digits + b"\0"


def _time(fields: Fields) -> int:
    text = str(fields.get("modtime") or "")
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) if text else 0


def _sealed(head: bytes, rest: bytes) -> bytes:
    block = (head + b" " * 8 + rest).ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
