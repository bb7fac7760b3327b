"""The header of a tar member as Go's archive/tar sees it: tables of contents are written in its terms.

Readers of containers/storage compare table and headers field by field and refuse a layer that differs, so
what cannot be said exactly is not said at all: such a layer gets no table.
"""

from __future__ import annotations

import time
from base64 import b64encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..tar.entry import Entry

    Fields = dict[str, object]

_KINDS = {
    b"0": "reg", b"\0": "reg", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir",
    b"6": "fifo",
}  # fmt: skip
_BLOCK = 512
_XATTR = b"SCHILY.xattr."
_SECOND = 1_000_000_000
_YEARS = (-62135596800, 253402300800)  # what RFC 3339 can say: years 1 to 9999


def describe(raw: bytes, entry: Entry) -> Fields | None:
    """The fields of a table's entry; None when they cannot be said exactly.

    `raw` are the header blocks of the member, extensions first; `entry` is what `read_tar` made of them.
    """
    try:
        return _describe(raw, entry)
    except (ValueError, IndexError):  # fields that only a lenient reader understands
        return None


def _describe(raw: bytes, entry: Entry) -> Fields | None:
    records, long_name, long_link, header = _split(raw)
    kind = _KINDS.get(header[156:157])
    if kind is None or entry.sparse is not None or (records and (long_name or long_link)):
        return None
    if kind != "reg" and (_octal(header[124:136]) or b"size" in records):
        return None
    name = long_name or records.get(b"path") or _ustar_name(header)
    if header[156:157] == b"\0" and name.endswith(b"/"):
        kind = "dir"
    link = long_link or records.get(b"linkpath") or _text(header[157:257])
    fields: Fields = {"type": kind, "name": name.decode()}
    rest: Fields = {
        "linkName": link.decode(), "mode": _octal(header[100:108]),
        "size": entry.size,
        "uid": entry.uid, "gid": entry.gid,
        "modtime": _when(entry.mtime_ns), **_times(header, records), **_device(header), **_xattrs(records),
    }  # fmt: skip
    return fields | {key: value for key, value in rest.items() if value}


def _split(raw: bytes) -> tuple[dict[bytes, bytes], bytes, bytes, bytes]:
    """PAX records, GNU long name and link, and the header itself. Raises ValueError for other extensions."""
    records: dict[bytes, bytes] = {}
    long = {b"L": b"", b"K": b""}
    at = 0
    while at + _BLOCK < len(raw):
        header, at = raw[at : at + _BLOCK], at + _BLOCK
        size, flag = _octal(header[124:136]), header[156:157]
        data, at = raw[at : at + size], at + size + -size % _BLOCK
        if flag == b"x":
            records |= _records(data)
        elif flag in long:
            long[flag] = _text(data)
        else:
            raise ValueError
    if at + _BLOCK != len(raw):
        raise ValueError
    return records, long[b"L"], long[b"K"], raw[at:]


def _records(data: bytes) -> dict[bytes, bytes]:
    found = {}
    while data:
        length = int(data[: data.index(b" ")])
        key, _, value = data[data.index(b" ") + 1 : length - 1].partition(b"=")
        found[key] = value
        data = data[length:]
    if b"hdrcharset" in found or any(key.startswith(b"GNU.sparse.") for key in found):
        raise ValueError
    return found


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if digits and not digits.isdigit():
        raise ValueError
    return int(digits or b"0", 8)


def _ustar_name(header: bytes) -> bytes:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else b""
    if header[508:512] == b"tar\0":
        raise ValueError
    return prefix + b"/" + name if prefix else name


def _times(header: bytes, records: dict[bytes, bytes]) -> Fields:
    """Times of access and change: from PAX records, or from where GNU keeps them."""
    found: Fields = {}
    for key, name, at in ((b"atime", "accesstime", 345), (b"ctime", "changetime", 357)):
        if records.get(key):
            found[name] = _when(_nanoseconds(records[key]))
        elif header[257:265] == b"ustar  \0" and header[at]:
            found[name] = _when(_octal(header[at : at + 12]) * _SECOND)
    return found


def _nanoseconds(value: bytes) -> int:
    whole, _, fraction = value.partition(b".")
    if whole.startswith(b"-"):
        raise ValueError
    return int(whole) * _SECOND + int(fraction[:9].ljust(9, b"0") or b"0")


def _when(nanoseconds: int) -> str:
    """RFC 3339 in UTC."""
    seconds, fraction = divmod(nanoseconds, _SECOND)
    if not _YEARS[0] <= seconds < _YEARS[1]:
        raise ValueError
    parts = time.gmtime(seconds)
    text = time.strftime(f"{parts.tm_year:04}-%m-%dT%H:%M:%S", parts)
    return text + (f".{fraction:09}".rstrip("0") if fraction else "") + "Z"


def _device(header: bytes) -> Fields:
    if header[257:262] != b"ustar":
        return {}
    return {"devMajor": _octal(header[329:337]), "devMinor": _octal(header[337:345])}


def _xattrs(records: dict[bytes, bytes]) -> Fields:
    found = {
        key[len(_XATTR) :].decode(): b64encode(value).decode()
        for key, value in records.items()
        if key.startswith(_XATTR)
    }
    return {"xattrs": found} if found else {}
