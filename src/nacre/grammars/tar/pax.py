"""PAX extended header records. Source: POSIX pax, "pax Extended Header"; star(5) for SCHILY.*.

records = *( length " " key "=" value newline )      length counts the whole record, in decimal
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from urllib.parse import unquote_to_bytes

from ...words.errors import InvalidArchive
from .entry import show

MAX_SECONDS = (1 << 63) - 1
MAX_XATTR_NAME = 255
MAX_XATTR_VALUE = 1 << 16
_XATTR = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."


class Records:
    """What the records of one member say; None or b"" where they say nothing."""

    __slots__ = (
        "gid",
        "link",
        "major",
        "minor",
        "mtime_ns",
        "path",
        "size",
        "sparse_major",
        "sparse_map",
        "sparse_minor",
        "sparse_name",
        "sparse_size",
        "uid",
        "weight",
        "xattrs",
    )  # fmt: skip

    def __init__(self) -> None:
        self.path = self.link = self.sparse_name = b""
        self.size: int | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.mtime_ns: int | None = None
        self.major: int | None = None
        self.minor: int | None = None
        self.sparse_major: int | None = None
        self.sparse_minor: int | None = None
        self.sparse_size: int | None = None
        self.sparse_map: list[int] | None = None
        self.xattrs: dict[bytes, bytes] = {}
        self.weight = 0

    def __bool__(self) -> bool:
        return self.weight > 0

    def copy(self) -> Records:
        """Another with the same content."""
        other = Records()
        other.merge(self)
        return other

    def merge(self, other: Records) -> None:
        """Let what `other` says win."""
        for name in self.__slots__:
            value = getattr(other, name)
            if name not in ("xattrs", "weight") and value not in (None, b""):
                setattr(self, name, value.copy() if isinstance(value, list) else value)
        self.xattrs |= other.xattrs
        self.weight += other.weight

    def sorted_xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        """As entries have them."""
        return tuple(sorted(self.xattrs.items())) if self.xattrs else ()

    def real_size(self, name: bytes) -> int:
        """The size of a sparse file with its holes. Raises InvalidArchive when it is not said."""
        if self.sparse_size is None:
            raise InvalidArchive(f"archive entry {show(name)} is sparse but has no size")
        return self.sparse_size


def parse_records(data: bytes, base: Records | None = None) -> Records:
    """The records in one extended header, on top of `base`. Raises InvalidArchive."""
    records = base.copy() if base else Records()
    records.weight += len(data)
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = _natural(data[at:space] if space > at else b"", "length")
        end = at + length
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or length < 5 or not equals or not key or data[end - 1 : end] != b"\n":
            raise InvalidArchive(f"archive has a damaged extended header at {show(data[at : at + 40])}")
        _take(records, key, value)
        at = end
    if records.sparse_name:
        records.path = records.sparse_name
    return records


def _take(records: Records, key: bytes, value: bytes) -> None:
    if b"\0" in key:
        raise InvalidArchive(f"archive has an extended header with a zero byte in the name {show(key)}")
    if key.startswith(_XATTR):
        _take_xattr(records, key[len(_XATTR) :], value)
    elif key.startswith(b"GNU.sparse."):
        _take_sparse(records, key[11:], value)
    elif key.startswith(_LIBARCHIVE):
        _take_libarchive(records, key[len(_LIBARCHIVE) :], value)
    elif key in _FIELDS:
        _FIELDS[key](records, value)
    elif key == b"SUN.holesdata":
        raise InvalidArchive("archive has a Solaris sparse file, which is not supported")


def _take_xattr(records: Records, name: bytes, value: bytes) -> None:
    if not name or len(name) > MAX_XATTR_NAME or len(value) > MAX_XATTR_VALUE:
        raise InvalidArchive(
            f"archive has the attribute {show(name)} of {len(value)} bytes, more than Linux can hold"
        )
    records.xattrs[name] = value


def _take_libarchive(records: Records, name: bytes, value: bytes) -> None:
    """A percent-encoded name and a base64 value; SCHILY's record of the same name is the same."""
    padded = value + b"=" * (-len(value) % 4)
    try:
        content = b64decode(padded, validate=True)
    except Base64Error:
        raise InvalidArchive(f"archive has the attribute {show(name)} in damaged base64") from None
    plain = unquote_to_bytes(name)
    if b"\0" in plain:
        raise InvalidArchive(f"archive has the attribute {show(name)} with a zero byte in its name")
    _take_xattr(records, plain, content)


def _take_sparse(records: Records, key: bytes, value: bytes) -> None:
    if key in (b"offset", b"numbytes"):
        records.sparse_map = [] if records.sparse_map is None else records.sparse_map
        if (key == b"offset") != (len(records.sparse_map) % 2 == 0):
            raise InvalidArchive("archive has a sparse map whose offsets and lengths do not alternate")
        records.sparse_map.append(_natural(value, "sparse map"))
    elif key == b"map":
        records.sparse_map = [_natural(part, "sparse map") for part in value.split(b",")] if value else []
    elif key == b"name":
        records.sparse_name = _text(value, "GNU.sparse.name")
    elif key in (b"size", b"realsize"):
        records.sparse_size = _natural(value, "sparse size")
    elif key == b"major":
        records.sparse_major = _natural(value, "sparse version")
    elif key == b"minor":
        records.sparse_minor = _natural(value, "sparse version")


def _set_path(records: Records, value: bytes) -> None:
    records.path = _text(value, "path")


def _set_link(records: Records, value: bytes) -> None:
    records.link = _text(value, "linkpath")


def _set_size(records: Records, value: bytes) -> None:
    records.size = _natural(value, "size") if value else None


def _set_uid(records: Records, value: bytes) -> None:
    records.uid = _natural(value, "uid") if value else None


def _set_gid(records: Records, value: bytes) -> None:
    records.gid = _natural(value, "gid") if value else None


def _set_mtime(records: Records, value: bytes) -> None:
    records.mtime_ns = parse_time(value) if value else None


def _set_major(records: Records, value: bytes) -> None:
    records.major = _natural(value, "device") if value else None


def _set_minor(records: Records, value: bytes) -> None:
    records.minor = _natural(value, "device") if value else None


def _set_selinux(records: Records, value: bytes) -> None:
    records.xattrs[b"security.selinux"] = value


_FIELDS = {
    b"path": _set_path, b"linkpath": _set_link, b"size": _set_size, b"uid": _set_uid, b"gid": _set_gid,
    b"mtime": _set_mtime, b"SCHILY.devmajor": _set_major, b"SCHILY.devminor": _set_minor,
    b"RHT.security.selinux": _set_selinux,
}  # fmt: skip


def _natural(value: bytes, what: str) -> int:
    """A decimal number of at most 63 bits, nothing but digits."""
    digits = value.lstrip(b"0") or value[:1]
    if not value.isdigit() or len(digits) > 19 or (number := int(digits)) >> 63:
        raise InvalidArchive(f"archive has an extended header with the {what} {show(value[:40])}")
    return number


def _text(value: bytes, what: str) -> bytes:
    if b"\0" in value:
        raise InvalidArchive(f"archive has a {what} with a zero byte: {show(value)}")
    return value


def parse_time(value: bytes) -> int:
    """Nanoseconds of `[-]seconds[.fraction]`; digits beyond the ninth are dropped."""
    negative = value.startswith(b"-")
    whole, dot, fraction = value[negative:].partition(b".")
    if not whole.isdigit() or len(whole) > 19 or (dot and fraction and not fraction.isdigit()):
        raise InvalidArchive(f"archive has an extended header with the time {show(value[:40])}")
    if int(whole) > MAX_SECONDS:
        raise InvalidArchive(f"archive has an extended header with the time {show(value[:40])}")
    total = int(whole) * 1_000_000_000 + int((fraction[:9] + b"000000000")[:9])
    return -total if negative else total


def seconds(number: int, name: bytes) -> int:
    """Nanoseconds from the seconds of a header, which may be any number. Raises InvalidArchive."""
    if abs(number) > MAX_SECONDS:
        raise InvalidArchive(f"archive entry {show(name)} has the impossible time {number}")
    return number * 1_000_000_000
