"""What a program needs to start: the dynamic section of an ELF file, and the loader's cache.

Sources: System V ABI, chapters 4 and 5 (ELF header, program header, dynamic section);
glibc sysdeps/generic/dl-cache.h (`/etc/ld.so.cache`). Every offset comes from the file and is bounded
by it; a damaged file raises InvalidArchive.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct, error, unpack_from

from ..words.errors import InvalidArchive
from ..words.value import Value

MAGIC = b"\x7fELF"
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_ENTRY = Struct("<iIIIQ")


class Elf(Value):
    """The part of an ELF file that the dynamic loader acts on.

    `kind` is (class, byte order, machine): only files of one kind can be loaded together. `interp` is
    "" for a library or a static program; `rpath` and `runpath` are folders, still with `$ORIGIN`.
    """

    kind: tuple[int, int, int]
    interp: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


def parse_elf(data: bytes | mmap) -> Elf:
    """Read a whole ELF file. Raises InvalidArchive when it is none or damaged."""
    if data[:4] != MAGIC or len(data) < 52 or data[4] not in (1, 2) or data[5] not in (1, 2):
        raise InvalidArchive("not an ELF file")
    try:
        return _ElfParser(data).parse()
    except (error, OverflowError):
        raise InvalidArchive("ELF file is damaged or truncated") from None


class _ElfParser:
    def __init__(self, data: bytes | mmap) -> None:
        self.data = data
        self.wide = data[4] == 2
        self.order = "<" if data[5] == 1 else ">"

    def parse(self) -> Elf:
        segments = self._segments()
        kind = (self.data[4], self.data[5], unpack_from(self.order + "H", self.data, 18)[0])
        interp = next((self._bytes(s[1], s[3]) for s in segments if s[0] == _PT_INTERP), b"")
        tags = self._dynamic(segments)
        strings = self._offset(segments, next((v for t, v in tags if t == _DT_STRTAB), 0))
        names = {tag: [self._string(strings, v) for t, v in tags if t == tag] for tag in _NAMED}
        folders = {tag: tuple(f for text in names[tag] for f in text.split(":") if f) for tag in _NAMED}
        return Elf(
            kind, interp.rstrip(b"\0").decode("utf-8", "surrogateescape"), tuple(names[_DT_NEEDED]),
            folders[_DT_RPATH], folders[_DT_RUNPATH],
        )  # fmt: skip

    def _segments(self) -> list[tuple[int, int, int, int]]:
        """Program headers as (type, offset, virtual address, size in the file)."""
        if self.wide:
            (table,) = unpack_from(self.order + "Q", self.data, 32)
            size, count = unpack_from(self.order + "HH", self.data, 54)
            layout, picks = self.order + "IIQQQQ", (0, 2, 3, 5)
        else:
            (table,) = unpack_from(self.order + "I", self.data, 28)
            size, count = unpack_from(self.order + "HH", self.data, 42)
            layout, picks = self.order + "IIIII", (0, 1, 2, 4)
        rows = [unpack_from(layout, self.data, table + i * size) for i in range(count)]
        return [(row[picks[0]], row[picks[1]], row[picks[2]], row[picks[3]]) for row in rows]

    def _dynamic(self, segments: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
        pair = Struct(self.order + ("qQ" if self.wide else "iI"))
        tags = []
        for kind, offset, _, size in segments:
            if kind != _PT_DYNAMIC:
                continue
            for at in range(offset, min(offset + size, len(self.data)) - pair.size + 1, pair.size):
                tag, value = pair.unpack_from(self.data, at)
                if tag == _DT_NULL:
                    break
                tags.append((tag, value))
        return tags

    def _offset(self, segments: list[tuple[int, int, int, int]], address: int) -> int:
        """Where in the file a virtual address lies; the end of the file if nowhere."""
        for kind, offset, start, size in segments:
            if kind == _PT_LOAD and start <= address < start + size:
                return address - start + offset
        return len(self.data)

    def _string(self, table: int, offset: int) -> str:
        start = table + offset
        end = self.data.find(b"\0", start, start + 4096)
        if end < 0:
            raise InvalidArchive("ELF file has a string outside the file")
        return self.data[start:end].decode("utf-8", "surrogateescape")

    def _bytes(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + min(size, 4096)]


_NAMED = (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH)


def parse_cache(data: bytes) -> dict[str, list[str]]:
    """`/etc/ld.so.cache`: library name → its paths, those for every processor first. {} if unreadable.

    Offsets count from the header of the new format, which in files of glibc before 2.32 comes after a
    table in the old one.
    """
    start = data.find(_CACHE_MAGIC)
    if start < 0 or len(data) < start + 48:
        return {}
    body = data[start:]
    (count,) = unpack_from("=I", body, 20)
    rows = []
    for index in range(min(count, (len(body) - 48) // _CACHE_ENTRY.size)):
        _, key, value, _, hwcap = _CACHE_ENTRY.unpack_from(body, 48 + index * _CACHE_ENTRY.size)
        rows.append((hwcap != 0, _text(body, key), _text(body, value)))
    found: dict[str, list[str]] = {}
    for _, name, path in sorted(rows, key=lambda row: row[0]):
        found.setdefault(name, []).append(path)
    return found


def _text(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else len(data)].decode("utf-8", "surrogateescape")
