"""Reading a tar stream: v7, ustar, GNU, star and PAX, bounded and safe on hostile input.

    archive    = *( *extension member ) [ zero-block zero-block ] *any
    extension  = header( x X g L K V A ) payload       describes the member that follows, or nothing
    member     = header [ sparse map ] [ payload padded to 512 ]

Where tars are ambiguous this reads what Go's archive/tar reads, because docker, containerd and podman do:
links, devices and folders have no payload whatever their size says, a lone zero block before more
members is damage, a missing end marker is not. Sources: POSIX pax "ustar interchange format"; GNU tar
manual "Basic Tar Format" and "Storing Sparse Files"; star(5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from zlib import adler32

from ...words.errors import InvalidArchive
from .entry import Entry, Reader, show
from .pax import Records, parse_records, seconds
from .sparse import pax_map, read_gnu, read_pax_1_0

MAX_ENTRIES = 10_000_000
"""Most members of one archive, unless the caller says otherwise."""
MAX_EXTENSION = 1 << 20
"""Most bytes of one extended header or long name (Go's limit too)."""
MAX_PATH = 1 << 16
"""Most bytes of a path or link target."""
MAX_ID = (1 << 32) - 2
"""Largest user or group id; one more means "leave as it is" to chown(2), and above that ids would wrap."""

_BLOCK = 512
_CHUNK = 1 << 18
_STREAMED = 1 << 20
"""Bytes that are read at once of what cannot be sought: all of it passes, so fewer steps count."""
_MAX_EXTENSIONS = 100
_ZEROS = bytes(_BLOCK)
_PLAIN, _ENDS = 0x30, b"\0 "
_new = tuple.__new__
"""Makes an `Entry` in half of the time that its own `__new__` takes, which is Python."""
_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink",
    b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo", b"D": "dir",
}  # fmt: skip
_EXTENSIONS = frozenset((b"x", b"X", b"g", b"L", b"K", b"V", b"A"))


def read_tar(
    stream: Reader | TarSource, max_entries: int = MAX_ENTRIES, *, apply_globals: bool = False
) -> Iterator[tuple[Entry, Reader]]:
    """The members of an archive in its order, each with its payload.

    The payload must be read before the next member is asked for; what is left is skipped. For a sparse
    file it gives the data segments only, one after the other. Large payloads are skipped by seeking where
    `stream` can. Ends at the end marker; up to 1 MiB beyond it may have been taken from `stream`, the rest
    is left there. Global PAX records are checked and, as docker does, not applied unless `apply_globals`.
    Raises InvalidArchive, which names the entry, for anything damaged, truncated, hostile or over a bound.
    Does not close `stream`, which may as well be a `TarSource`.
    """
    source = stream if isinstance(stream, TarSource) else _Source(stream)
    extras = _Extras(apply_globals)
    count = 0
    while (header := _member_header(source, extras)) is not None:
        count += 1
        if count > max_entries:
            raise InvalidArchive(f"archive has more than the {max_entries} entries allowed")
        plain = header[156] == _PLAIN and not extras.count and extras.records is None
        entry, payload, pad = (_plain_member if plain else _rare_member)(header, source, extras)
        yield entry, payload
        left, payload.left = payload.left, 0
        if source.skip(left + pad) > pad:  # padding may be missing at the very end, as for Go
            raise _truncated(payload.path)


class TarSource:
    """The bytes of an archive from front to back; `position` is how many have passed."""

    __slots__ = ("position",)
    position: int

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, fewer only at the end. For small counts."""
        raise NotImplementedError

    def some(self, count: int) -> bytes:
        """Up to `count` bytes, at least one unless at the end."""
        raise NotImplementedError

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; gives how many were missing."""
        raise NotImplementedError


class _Source(TarSource):
    """A stream read in large pieces."""

    __slots__ = ("_at", "_chunk", "_data", "_read", "_seek")

    def __init__(self, stream: Reader) -> None:
        self._read = stream.read
        seekable = getattr(stream, "seekable", lambda: hasattr(stream, "seek"))()
        self._seek: Callable[[int, int], int] | None = getattr(stream, "seek", None) if seekable else None
        self._chunk = _STREAMED if self._seek is None else _CHUNK
        self._data = b""
        self._at = 0
        self.position = 0

    def take(self, count: int) -> bytes:
        at, end = self._at, self._at + count
        if end > len(self._data):
            self._fill(count)
            at, end = 0, min(count, len(self._data))
        self._at = end
        self.position += end - at
        return self._data[at:end]

    def some(self, count: int) -> bytes:
        if self._at >= len(self._data):
            if count >= self._chunk:
                data = self._read(count)
                self.position += len(data)
                return data
            self._data, self._at = self._read(self._chunk), 0
        return self.take(min(count, len(self._data) - self._at))

    def skip(self, count: int) -> int:
        if self._at + count <= len(self._data):
            self._at += count
            self.position += count
            return 0
        if self._seek is not None and count > 4 * _CHUNK:
            count -= self._leap(
                self._seek, count - 1
            )  # the last byte is read: it proves that the rest exists
        count -= len(self._data) - self._at
        self.position += len(self._data) - self._at
        self._at = len(self._data)
        while count > 0 and (data := self._read(self._chunk)):
            self._data, self._at = data, min(count, len(data))
            self.position += self._at
            count -= self._at
        return count

    def _leap(self, seek: Callable[[int, int], int], count: int) -> int:
        seek(count - (len(self._data) - self._at), 1)
        self._data, self._at = b"", 0
        self.position += count
        return count

    def _fill(self, count: int) -> None:
        pieces = [self._data[self._at :]]
        have = len(pieces[0])
        while have < count and (data := self._read(self._chunk)):
            pieces.append(data)
            have += len(data)
        self._data, self._at = b"".join(pieces), 0


class _Payload:
    """The content of one member; counts down."""

    __slots__ = ("_source", "left", "path")

    def __init__(self, source: TarSource, left: int, path: bytes) -> None:
        self._source = source
        self.left = left
        self.path = path

    def read(self, count: int) -> bytes:
        """Up to `count` of the bytes left (a negative count: as many as come at once)."""
        wanted = self.left if count < 0 or count > self.left else count
        if not wanted:
            return b""
        data = self._source.some(wanted)
        if not data:
            raise _truncated(self.path)
        self.left -= len(data)
        return data


class _Extras:
    """What extension headers say about the next member."""

    __slots__ = ("_keep", "count", "globals", "link", "path", "pending", "records")

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self.globals = Records()
        self.clear()

    def clear(self) -> None:
        """Forget everything but the global records."""
        self.path = self.link = b""
        self.records: Records | None = self.globals.copy() if self.globals else None
        self.count = 0
        self.pending = False

    def take(self, flag: bytes, header: bytes, source: TarSource) -> None:
        """Read one extended header of type `flag`. Raises InvalidArchive."""
        self.count += 1
        if self.count > _MAX_EXTENSIONS:
            raise InvalidArchive("archive has over 100 consecutive extended headers")
        data = _extension(header, source)
        self.pending = self.pending or flag in b"xXLK"
        if flag == b"L":
            self.path = data.partition(b"\0")[0]
        elif flag == b"K":
            self.link = data.partition(b"\0")[0]
        elif flag == b"g":
            self._take_globals(parse_records(data))
        elif flag in b"xX":
            self.records = parse_records(data, self.globals)

    def _take_globals(self, records: Records) -> None:
        if not self._keep:
            return
        self.globals.merge(records)
        if self.globals.weight > MAX_EXTENSION:
            raise InvalidArchive("global headers of the archive are larger than 1 MiB")
        self.records = self.globals.copy() if self.records is None else self.records


def _extension(header: bytes, source: TarSource) -> bytes:
    size = _number(header[124:136], "size", header[:100])
    if not 0 <= size <= MAX_EXTENSION:
        raise InvalidArchive(f"archive has an extended header of {size} bytes, more than {MAX_EXTENSION}")
    data = source.take(size)
    if len(data) < size:
        raise _truncated(header[:100].partition(b"\0")[0])
    source.skip(-size % _BLOCK)
    return data


def _member_header(source: TarSource, extras: _Extras) -> bytes | None:
    """The header of the next member, extensions taken; None at the end."""
    while True:
        header = source.take(_BLOCK)
        if len(header) < _BLOCK:
            _end(header, extras, source.position)
            return None
        stored = header[148:156]
        if adler32(header) & 0xFFFF != _expected(stored):
            if header == _ZEROS:
                _end_marker(source, extras)
                return None
            _check_signed(header, source.position - _BLOCK)
        flag = header[156:157]
        if flag not in _EXTENSIONS:
            return header
        extras.take(flag, header, source)


@lru_cache(maxsize=4096)
def _expected(stored: bytes) -> int:
    # adler32's low half is 1 + the byte sum modulo 65521: far quicker than sum(). The checksum counts its own
    # field as 8 spaces.
    digits = stored.strip(b" \0").partition(b"\0")[0]
    if not digits.isdigit():
        return -1
    try:
        return (1 + int(digits, 8) - 256 + sum(stored)) % 65521
    except ValueError:
        return -1


def _check_signed(header: bytes, position: int) -> None:
    """Some old writers summed signed bytes. Raises InvalidArchive if that does not fit either."""
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:]) + 256
    digits = header[148:156].strip(b" \0").partition(b"\0")[0]
    try:
        good = digits.isdigit() and int(digits, 8) == signed
    except ValueError:
        good = False
    if not good and not position:
        raise InvalidArchive("content is not a tar archive: it does not start with a header")
    if not good:
        raise InvalidArchive(f"archive has no valid header at byte {position}: its checksum is wrong")


def _end_marker(source: TarSource, extras: _Extras) -> None:
    following = source.take(_BLOCK)
    if following.strip(b"\0"):
        raise InvalidArchive(f"archive continues after a single zero block at byte {source.position}")
    _end(b"", extras)


def _end(rest: bytes, extras: _Extras, position: int = -1) -> None:
    if rest and position == len(rest):
        raise InvalidArchive("content is not a tar archive: it is shorter than a header")
    if rest:
        raise InvalidArchive("archive is truncated: it ends within a header")
    if extras.pending:
        raise InvalidArchive("archive is truncated: it ends after an extended header")


def _plain_member(header: bytes, source: TarSource, _extras: object) -> tuple[Entry, _Payload, int]:
    """A plain file with a plain header, as most are: a layer has so many that each step counts."""
    name = _name(header)
    path = _normal(name)
    if not path:
        raise _rootless(name)
    size = _size(header, name)
    mode, uid, gid = _owner(header, name)
    made = (path, "file", mode, uid, gid, _mtime(header, name), size, b"", 0, 0, (), source.position, None)
    return _new(Entry, made), _Payload(source, size, path), -size % _BLOCK


def _rare_member(header: bytes, source: TarSource, extras: _Extras) -> tuple[Entry, _Payload, int]:
    """Everything but a plain file with a plain header."""
    flag, records = header[156:157], extras.records or Records()
    name = records.path or extras.path or _name(header)
    kind = _KINDS.get(flag)
    if kind is None:
        raise InvalidArchive(f"archive entry {show(name)} has the unknown type {flag!r}")
    if flag == b"\0" and name.endswith(b"/"):
        kind = "dir"
    stored = _size(header, name) if records.size is None else records.size
    segments: list[tuple[int, int]] | None = None
    real = stored
    if kind == "file":
        segments, real, stored = _sparse(flag, header, records, stored, name, source)
    elif flag != b"D":
        stored = 0
    link = records.link or extras.link or header[157:257].partition(b"\0")[0]
    content = real if kind == "file" else 0, source.position
    entry = _rare_entry(header, name, kind, records, link, content)
    if segments is not None:
        entry = entry._replace(sparse=_checked(segments, real, stored, name))
    extras.clear()
    return entry, _Payload(source, stored, entry.path), -stored % _BLOCK


def _rare_entry(
    header: bytes, name: bytes, kind: str, records: Records, link: bytes, content: tuple[int, int]
) -> Entry:
    """`content` is its size and offset."""
    path, (size, offset) = _normal(name), content
    if not path and kind != "dir":
        raise _rootless(name)
    mode, uid, gid = _owner(header, name)
    uid = uid if records.uid is None else _checked_id(records.uid, name)
    gid = gid if records.gid is None else _checked_id(records.gid, name)
    mtime = _mtime(header, name) if records.mtime_ns is None else records.mtime_ns
    link = _link(link, kind, name)
    major, minor = _device(header, records, name) if kind in ("char", "block") else (0, 0)
    xattrs = records.sorted_xattrs()
    return Entry(path, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs, offset)


def _sparse(
    flag: bytes, header: bytes, records: Records, stored: int, name: bytes, source: TarSource
) -> tuple[list[tuple[int, int]] | None, int, int]:
    """Data segments (None: not sparse), real size and bytes of payload left after the map."""
    before = source.position
    if flag == b"S":
        if header[257:265] != b"ustar  \0":
            raise InvalidArchive(f"archive entry {show(name)} is sparse, but not in GNU's format")
        segments, real = read_gnu(header, source.take, name)
        return segments, real, stored
    if records.sparse_major == 1 and records.sparse_minor == 0:
        segments = read_pax_1_0(source.take, stored, name)
        return segments, records.real_size(name), stored - (source.position - before)
    found = pax_map(records, name)
    return found, stored if found is None else records.real_size(name), stored


def _checked(
    segments: list[tuple[int, int]], real: int, stored: int, name: bytes
) -> tuple[tuple[int, int], ...]:
    """Raises InvalidArchive unless the segments are in order, apart, inside and as long as the payload."""
    end = total = 0
    for offset, length in segments:
        if offset < end or length < 0 or offset + length > real:
            raise InvalidArchive(f"archive entry {show(name)} has a contradictory sparse map")
        end, total = offset + length, total + length
    if total != stored:
        raise InvalidArchive(
            f"archive entry {show(name)} has {stored} bytes of content, its sparse map says {total}"
        )
    return tuple(segment for segment in segments if segment[1])


def _name(header: bytes) -> bytes:
    end = header.find(0)
    name = header[: end if 0 <= end < 100 else 100]
    if header[345] and header[257:262] == b"ustar":
        prefix = _prefix(header)
        if prefix:
            return prefix + b"/" + name
    return name


def _prefix(header: bytes) -> bytes:
    if header[257:263] == b"ustar\0":
        return header[345 : 476 if header[508:512] == b"tar\0" else 500].partition(b"\0")[0]
    # GNU keeps times here, but Go before 1.8 wrote prefixes into it: what is no number is such a prefix.
    try:
        _number(header[345:357], "atime", b"")
        _number(header[357:369], "ctime", b"")
    except InvalidArchive:
        prefix = header[345:500].partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""


def _normal(name: bytes) -> bytes:
    """A path as entries have it. Raises InvalidArchive when it leads above the root or is too long."""
    path = name[2:] if name.startswith(b"./") else name
    if path.endswith(b"/"):
        path = path.rstrip(b"/")
    if path and path[0] not in b"./" and not path.count(b"/.") and not path.count(b"//") and len(path) < 4096:
        return path
    if len(name) > MAX_PATH:
        raise InvalidArchive(f"archive entry {show(name)} has a name of {len(name)} bytes")
    if b"\0" in name:
        raise InvalidArchive(f"archive entry {show(name)} has a zero byte in its name")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArchive(f"archive entry {show(name)} leads above the root")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _link(target: bytes, kind: str, name: bytes) -> bytes:
    if kind not in ("symlink", "hardlink"):
        return b""
    if not target or len(target) > MAX_PATH:
        raise InvalidArchive(f"archive entry {show(name)} is a link with a target of {len(target)} bytes")
    if kind == "symlink":
        return target
    path = _normal(target)
    if not path:
        raise InvalidArchive(f"archive entry {show(name)} is a hard link to the root")
    return path


def _size(header: bytes, name: bytes) -> int:
    digits = header[124:135]
    try:
        if digits.isdigit() and header[135] in _ENDS:  # as nearly all writers fill it
            return int(digits, 8)
    except ValueError:
        pass
    size = _number(header[124:136], "size", name)
    if not 0 <= size < 1 << 63:
        raise InvalidArchive(f"archive entry {show(name)} has the size {size}")
    return size


def _mtime(header: bytes, name: bytes) -> int:
    time = _common_time(header[136:148])
    return seconds(_number(header[136:148], "mtime", name), name) if time is None else time


@lru_cache(maxsize=4096)
def _common_time(field: bytes) -> int | None:
    """Nanoseconds, of which a layer has few values; None for what is not filled as nearly all writers do."""
    try:
        return int(field[:11], 8) * 1_000_000_000 if field[:11].isdigit() and field[11] in _ENDS else None
    except ValueError:
        return None


def _owner(header: bytes, name: bytes) -> tuple[int, int, int]:
    """Mode, user and group."""
    try:
        return _ids(header[100:124])
    except InvalidArchive:
        return _parse_ids(header[100:124], name)


def _parse_ids(fields: bytes, name: bytes) -> tuple[int, int, int]:
    uid = _checked_id(_number(fields[8:16], "uid", name), name)
    gid = _checked_id(_number(fields[16:24], "gid", name), name)
    return _number(fields[:8], "mode", name) & 0o7777, uid, gid


@lru_cache(maxsize=1024)
def _ids(fields: bytes) -> tuple[int, int, int]:
    return _parse_ids(fields, b"")


def _checked_id(number: int, name: bytes) -> int:
    if not 0 <= number <= MAX_ID:
        raise InvalidArchive(f"archive entry {show(name)} belongs to the impossible user or group {number}")
    return number


def _device(header: bytes, records: Records, name: bytes) -> tuple[int, int]:
    """Device numbers within what Linux has: 12 bits of major, 20 of minor."""
    has_own = header[257:262] == b"ustar"
    major = _number(header[329:337], "device", name) if has_own else 0
    minor = _number(header[337:345], "device", name) if has_own else 0
    major = major if records.major is None else records.major
    minor = minor if records.minor is None else records.minor
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise InvalidArchive(f"archive entry {show(name)} is the impossible device {major}:{minor}")
    return major, minor


def _number(field: bytes, what: str, name: bytes) -> int:
    """Octal text or, with the first bit set, a big-endian two's complement number (GNU, star)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field) - 1
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass  # digits, but not octal ones: damaged, as anything else that is no number
    raise InvalidArchive(f"archive entry {show(name.partition(bytes(1))[0])} has a damaged {what} field")


def _rootless(name: bytes) -> InvalidArchive:
    return InvalidArchive(
        f"archive entry {show(name)} would replace the root with a file that is not a directory"
    )


def _truncated(path: bytes) -> InvalidArchive:
    return InvalidArchive(f"archive is truncated: it ends within {show(path)}")
