"""The modules that a Go program was linked from, in its section .go.buildinfo.

    since 1.18   magic[14] pointer-size flags(2) 16*OCTET, varint version, varint modules
    before       magic[14] pointer-size flags(1: big endian), two pointers to strings, each a pointer and a
    length
    modules      16*OCTET *( kind TAB path TAB version TAB sum LF ) 16*OCTET

Only headers and that section are read, never the whole program. Source: Go's debug/buildinfo and
runtime/debug.
"""

from __future__ import annotations

from struct import error, iter_unpack, unpack, unpack_from

from .package import Package, line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadAt = Callable[[int, int], bytes]
    """Called with an offset and a count; fewer bytes at the end of the file."""

ELF = b"\x7fELF"
_MAGIC = b"\xff Go buildinf:"
_SECTION = b".go.buildinfo"
_HEAD, _ALIGN, _SEARCHED = 32, 16, 64 << 10
_MOST = 4 << 20
_MOST_HEADERS = 4096
_PT_LOAD, _WRITE = 1, 2


def parse_program(read: ReadAt, path: str) -> Iterator[Package]:
    """The modules of a program, with Go's own library; none for a program of anything else."""
    try:
        version, modules = _GoProgram(read).info()
    except (error, ValueError, OverflowError, IndexError):
        return
    if version.startswith("go"):
        number = version.split(" ")[0].removeprefix("go")
        yield Package("golang", "stdlib", number, license="BSD-3-Clause", path=path)
    yield from _modules(modules, path)


def _modules(said: str, path: str) -> Iterator[Package]:
    found: list[list[str]] = []
    for line in said.split("\n"):
        kind, *words = line.split("\t")
        if kind in ("mod", "dep") and words:
            found.append(words)
        elif kind == "=>" and words and found:
            found[-1] = words
    for name, *rest in found:
        namespace, _, short = line_of(name).rpartition("/")
        version = line_of(rest[0]) if rest else ""
        yield Package("golang", short, "" if version == "(devel)" else version, namespace, path=path)


class _GoProgram:
    """An ELF file, read at offsets that it says itself, each bounded."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        head = read(0, 64)
        if head[:4] != ELF or len(head) < 52:
            raise ValueError("not an ELF file")
        self._wide, self._order = head[4] == 2, "<" if head[5] == 1 else ">"
        form = "16xHHIQQQIHHHHHH" if self._wide else "16xHHIIIIIHHHHHH"
        fields = unpack_from(self._order + form, head)
        self._programs = self._table(fields[4], fields[8], fields[9])
        self._sections = self._table(fields[5], fields[10], fields[11])
        self._names = fields[12]

    def _table(self, offset: int, size: int, count: int) -> list[bytes]:
        if count > _MOST_HEADERS or size > 256 or not size:
            return []
        data = self._read(offset, size * count)
        return [data[at : at + size] for at in range(0, len(data) - size + 1, size)]

    def info(self) -> tuple[str, str]:
        """Go's version and the text about modules. Raises ValueError."""
        address, data = self._buildinfo()
        if data[15] & 2:
            offset = self._offset(address)
            more = self._read(offset + _HEAD, _MOST)
            version, used = _prefixed(more)
            modules, _ = _prefixed(more[used:])
            return version.decode("utf-8", "replace"), _framed(modules)
        order = ">" if data[15] else "<"
        size = data[14]
        form = order + ("Q" if size == 8 else "I")
        (first,), (second,) = (
            unpack(form, data[16 : 16 + size]),
            unpack(form, data[16 + size : 16 + 2 * size]),
        )
        version, modules = self._string(first, form, size), self._string(second, form, size)
        return version.decode("utf-8", "replace"), _framed(modules)

    def _buildinfo(self) -> tuple[int, bytes]:
        for address, size in self._places():
            data = self._read(self._offset(address), min(size, _SEARCHED))
            at = data.find(_MAGIC)
            while at >= 0 and at % _ALIGN:
                at = data.find(_MAGIC, at + 1)
            if at >= 0 and len(data) >= at + _HEAD:
                return address + at, data[at : at + _HEAD]
        raise ValueError("no build information")

    def _places(self) -> Iterator[tuple[int, int]]:
        """Addresses where it may begin: its section, else the data of the program."""
        form = self._order + ("IIQQQQ" if self._wide else "IIIIII")
        rows = [unpack_from(form, section) for section in self._sections]
        if self._names < len(rows):
            names = self._read(rows[self._names][4], min(rows[self._names][5], _SEARCHED))
            for row in rows:
                if names[row[0] :].partition(b"\0")[0] == _SECTION:
                    yield row[3], row[5]
        yield from ((address, size) for flags, _, address, size in self._segments() if flags & _WRITE)

    def _segments(self) -> Iterator[tuple[int, int, int, int]]:
        """(flags, offset, address, bytes in the file) of what is loaded."""
        for header in self._programs:
            if self._wide:
                kind, flags, offset, address, _, size = unpack_from(self._order + "IIQQQQ", header)
            else:
                kind, offset, address, _, size, _, flags = unpack_from(self._order + "IIIIIII", header)
            if kind == _PT_LOAD:
                yield flags, offset, address, size

    def _offset(self, address: int) -> int:
        for _, offset, begin, size in self._segments():
            if begin <= address < begin + size:
                return offset + address - begin
        raise ValueError("an address outside of the program")

    def _string(self, address: int, form: str, size: int) -> bytes:
        head = self._read(self._offset(address), 2 * size)
        ((begin,), (length,)) = iter_unpack(form, head)
        return self._read(self._offset(begin), min(length, _MOST)) if length else b""


def _prefixed(data: bytes) -> tuple[bytes, int]:
    """A string after its length, as Go's encoding/binary has it, and how many bytes both are."""
    length = shift = at = 0
    while True:
        byte = data[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
        if shift > 63:
            raise ValueError("a length that is no number")
    if length > len(data) - at:
        raise ValueError("a string that goes beyond the file")
    return data[at : at + length], at + length


def _framed(modules: bytes) -> str:
    return modules[16:-16].decode("utf-8", "replace") if len(modules) > 33 else ""
