"""Tar archives by hand, for what no sane writer writes."""

from __future__ import annotations

import io
from collections.abc import Iterable

from nacre.grammars.tar.entry import Entry, Reader
from nacre.grammars.tar.read import read_tar
from nacre.grammars.tar.write import TarWriter

END = bytes(1024)


def header(
    name: bytes = b"file", flag: bytes = b"0", size: int | bytes = 0, link: bytes = b"", *,
    mode: bytes = b"0000644\0", uid: bytes = b"0000000\0", gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0", magic: bytes = b"ustar\x0000", tail: bytes = b"",
) -> bytes:  # fmt: skip
    """One header block with a right checksum; `tail` begins at byte 265."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = name.ljust(100, b"\0")[:100] + mode + uid + gid + field + mtime + b" " * 8 + flag
    block = (block + link.ljust(100, b"\0")[:100] + magic + tail).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def extension(flag: bytes, data: bytes) -> bytes:
    return header(b"extension", flag, len(data)) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    while size != len(key) + len(value) + 3 + len(b"%d" % size):
        size = len(key) + len(value) + 3 + len(b"%d" % size)
    return b"%d %s=%s\n" % (size, key, value)


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    return extension(flag, b"".join(record(key, value) for key, value in records))


def content(reader: Reader) -> bytes:
    return b"".join(iter(lambda: reader.read(1 << 16), b""))


def read(data: bytes, **options: bool) -> list[tuple[Entry, bytes]]:
    return [(entry, content(payload)) for entry, payload in read_tar(io.BytesIO(data), **options)]


def entries(data: bytes) -> list[Entry]:
    return [entry for entry, _payload in read(data)]


def write(items: Iterable[tuple[Entry, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, data in items:
        writer.add(entry, io.BytesIO(data))
    writer.close()
    assert out.tell() == writer.offset
    return out.getvalue()
