"""Writing a tar, the same bytes for the same entries: ustar where it fits, PAX records where not.

Nothing but the entries decides the bytes: no user names, no access times, records sorted by key. Names are
written as they are, in ustar headers too; a PAX record that is not UTF-8 is announced by
`hdrcharset=BINARY` (POSIX pax, "pax Extended Header").
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from urllib.parse import quote_from_bytes
from zlib import adler32

from ...words.errors import InvalidArchive
from .entry import Entry, Reader, show

_CHUNK = 1 << 18
_FLAGS = {
    "file": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3", "block": b"4", "dir": b"5", "fifo": b"6",
}  # fmt: skip
_SECOND = 1_000_000_000
_MAX_SHORT = 0o7777777
_MAX_LONG = 0o77777777777
_Records = dict[bytes, bytes]


class TarWriter:
    """Writes members one after the other through `write`; never closes anything."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.offset = 0
        """Bytes written so far."""

    def add(self, entry: Entry, payload: Reader | None = None) -> Entry:
        """Write one member; `payload` gives exactly its data (a sparse file: its segments).

        Returns the entry with its `offset` set. Raises InvalidArchive when the payload is shorter or longer
        than the entry says.
        """
        sparse_map = _sparse_map(entry)
        stored = entry.stored + len(sparse_map) if entry.kind == "file" else 0
        self._put(_headers(entry, stored) + sparse_map)
        entry = entry._replace(offset=self.offset)
        if stored or payload is not None:
            self._copy(entry, stored - len(sparse_map), payload or BytesIO())
            self._put(bytes(-stored % 512))
        return entry

    def close(self) -> None:
        """Write the end marker, two blocks of zeros."""
        self._put(bytes(1024))

    def _put(self, data: bytes) -> None:
        if data:
            self._write(data)
            self.offset += len(data)

    def _copy(self, entry: Entry, left: int, payload: Reader) -> None:
        while left and (data := payload.read(min(left, _CHUNK))):
            self._put(data)
            left -= len(data)
        if left or payload.read(1):
            raise InvalidArchive(f"the content of {show(entry.path)} is not as long as announced")


def _headers(entry: Entry, stored: int) -> bytes:
    """The header of one member, with an extended header before it where needed."""
    records: _Records = {}
    name = entry.path + b"/" if entry.kind == "dir" and entry.path else entry.path or b"./"
    prefix, name = _split(name, entry, records)
    link = _fit(entry.link, 100, b"linkpath", records)
    seconds = _seconds(entry.mtime_ns, records)
    block = b"".join((
        name.ljust(100, b"\0"), b"%07o\0" % (entry.mode & 0o7777),
        _short(entry.uid, b"uid", records), _short(entry.gid, b"gid", records),
        _long(stored, b"size", records), b"%011o\0" % seconds, b"        ", _FLAGS[entry.kind],
        link.ljust(100, b"\0"), b"ustar\x0000", bytes(64),
        b"%07o\0%07o\0" % (entry.major, entry.minor), prefix.ljust(155, b"\0"), bytes(12),
    ))  # fmt: skip
    for key, value in entry.xattrs:
        _put_xattr(key, value, records)
    header = _sealed(block)
    return _extended(entry, records) + header if records else header


def _split(name: bytes, entry: Entry, records: _Records) -> tuple[bytes, bytes]:
    """Prefix and name fields; a PAX path where the name cannot be split at a slash."""
    if entry.sparse is not None:
        records |= {
            b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": name,
            b"GNU.sparse.realsize": b"%d" % entry.size,
        }  # fmt: skip
        return b"", (b"GNUSparseFile.0/" + name.rpartition(b"/")[2])[:100]
    if len(name) <= 100:
        return b"", name
    at = name.rfind(b"/", 0, min(156, len(name) - 1))
    if at > 0 and len(name) - at - 1 <= 100:
        return name[:at], name[at + 1 :]
    records[b"path"] = name
    return b"", name[:100]


def _fit(value: bytes, room: int, key: bytes, records: _Records) -> bytes:
    if len(value) > room:
        records[key] = value
    return value[:room]


def _seconds(mtime_ns: int, records: _Records) -> int:
    whole, fraction = divmod(mtime_ns, _SECOND)
    if fraction or not 0 <= whole <= _MAX_LONG:
        records[b"mtime"] = _decimal_time(mtime_ns)
    return min(max(whole, 0), _MAX_LONG)


def _decimal_time(mtime_ns: int) -> bytes:
    whole, fraction = divmod(abs(mtime_ns), _SECOND)
    text = b"%s%d" % (b"-" if mtime_ns < 0 else b"", whole)
    return text + (b".%09d" % fraction).rstrip(b"0") if fraction else text


def _short(number: int, key: bytes, records: _Records) -> bytes:
    if number > _MAX_SHORT:
        records[key] = b"%d" % number
        return b"%07o\0" % 0
    return b"%07o\0" % number


def _long(number: int, key: bytes, records: _Records) -> bytes:
    if number > _MAX_LONG:
        records[key] = b"%d" % number
        return b"%011o\0" % 0
    return b"%011o\0" % number


def _put_xattr(key: bytes, value: bytes, records: _Records) -> None:
    if b"=" in key:  # no PAX key may hold one; libarchive's form escapes it
        quoted = quote_from_bytes(key, safe="").encode()
        records[b"LIBARCHIVE.xattr." + quoted] = b64encode(value).rstrip(b"=")
    else:
        records[b"SCHILY.xattr." + key] = value


def _extended(entry: Entry, records: _Records) -> bytes:
    names = [records.get(key, b"") for key in (b"path", b"linkpath", b"GNU.sparse.name")]
    charset = pax_record(b"hdrcharset", b"BINARY") if not all(_is_utf8(name) for name in names) else b""
    data = charset + b"".join(pax_record(key, records[key]) for key in sorted(records))
    name = (b"PaxHeaders.0/" + entry.path.rpartition(b"/")[2])[:100]
    block = b"".join((
        name.ljust(100, b"\0"), b"0000644\x000000000\x000000000\0", b"%011o\0" % len(data),
        b"00000000000\0        x", bytes(100), b"ustar\x0000", bytes(64), b"0000000\x000000000\0", bytes(167),
    ))  # fmt: skip
    return _sealed(block) + data + bytes(-len(data) % 512)


def pax_record(key: bytes, value: bytes) -> bytes:
    """`length key=value`, the length counting its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(b"%d" % rest)
    length = rest + len(b"%d" % length)
    return b"%d %s=%s\n" % (length, key, value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _sealed(block: bytes) -> bytes:
    # adler32's low half is 1 + the sum, if that stays below 65521: certain for ASCII.
    total = (adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
    return b"%s%06o\0 %s" % (block[:148], total, block[156:])


def _sparse_map(entry: Entry) -> bytes:
    """The map of PAX 1.0 at the head of the payload, ended by an empty segment as GNU tar does."""
    if entry.sparse is None:
        return b""
    segments = (*entry.sparse, (entry.size, 0))
    text = b"%d\n" % len(segments) + b"".join(b"%d\n%d\n" % segment for segment in segments)
    return text + bytes(-len(text) % 512)
