"""Ranges of bytes, in the three spellings that meet in a registry.

    Range: bytes=0-9 | bytes=10- | bytes=-5        a request for part of a blob (RFC 9110, 14.1)
    Content-Range: bytes 0-9/100 | bytes */100     the answer to it (RFC 9110, 14.4)
    Content-Range: 0-9, Range: 0-9                 a chunk of an upload, and how much is there
                                                   (distribution-spec v1.1, "Pushing a blob in chunks")

Both ends count. The registry's spelling cannot say "nothing": `0-0` stands for no byte and for one,
as docker's registry has it.
"""

from __future__ import annotations

from ...words.value import Value
from .errors import Code, refusal

_MAX_DIGITS = 18


class Span(Value):
    """Bytes `start` up to and with `last`."""

    start: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes in the range."""
        return self.last - self.start + 1


def format_range(start: int, last: int | None = None) -> str:
    """`bytes=start-last`, or to the end: the value of a client's Range."""
    return f"bytes={start}-{'' if last is None else last}"


def parse_range(text: str, size: int) -> Span | None:
    """The one span of a `Range` over content of `size` bytes; None means "send everything".

    What is not understood, other units and lists of ranges are ignored, as RFC 9110 allows. Raises
    RegistryError RANGE_INVALID (416) when the range is clear but lies outside.
    """
    unit, equals, spec = text.partition("=")
    first, dash, last = (part.strip() for part in spec.partition("-"))
    if not equals or not dash or unit.strip().lower() != "bytes":
        return None
    if not first:
        return _suffix(last, size)
    if not _is_number(first) or (last and not _is_number(last)):
        return None
    return _clamp(int(first), int(last) if last else size - 1, size, open_end=not last)


def _suffix(last: str, size: int) -> Span | None:
    if not _is_number(last):
        return None
    if not int(last) or not size:
        raise refusal(Code.RANGE_INVALID, f"the last {int(last)} of {size} bytes are empty")
    return Span(max(0, size - int(last)), size - 1)


def _clamp(start: int, last: int, size: int, *, open_end: bool) -> Span | None:
    if start >= size:
        raise refusal(Code.RANGE_INVALID, f"range begins at {start}, but there are {size} bytes")
    if last < start and not open_end:
        return None
    return Span(start, min(last, size - 1))


def format_content_range(span: Span | None, size: int | None) -> str:
    """The Content-Range of a 206, or with span None of a 416."""
    what = f"{span.start}-{span.last}" if span else "*"
    return f"bytes {what}/{'*' if size is None else size}"


def parse_content_range(text: str) -> tuple[Span | None, int | None]:
    """Span and full size as far as the header of a 206 or 416 says them. Raises RegistryError."""
    unit, _, rest = text.strip().partition(" ")
    spec, slash, total = rest.partition("/")
    first, dash, last = spec.strip().partition("-")
    size = int(total) if _is_number(total) else None
    if unit.lower() == "bytes" and slash and (size is not None or total == "*"):
        if spec == "*":
            return None, size
        if dash and _is_number(first) and _is_number(last) and int(first) <= int(last):
            return Span(int(first), int(last)), size
    raise refusal(Code.RANGE_INVALID, f"no valid Content-Range: {text[:100]!r}")


def format_chunk(span: Span) -> str:
    """The Content-Range of a chunk that is sent."""
    return f"{span.start}-{span.last}"


def parse_chunk(text: str) -> Span:
    """The Content-Range of a chunk that is received; HTTP's spelling is taken too.

    Raises RegistryError RANGE_INVALID (416).
    """
    plain = text.strip().lower().removeprefix("bytes").lstrip(" =").partition("/")[0]
    first, dash, last = plain.partition("-")
    if not dash or not _is_number(first) or not _is_number(last) or int(last) < int(first):
        raise refusal(Code.RANGE_INVALID, f"no valid Content-Range: {text[:100]!r}")
    return Span(int(first), int(last))


def format_received(count: int) -> str:
    """The `Range` by which a registry says that `count` bytes of an upload are there."""
    return f"0-{max(0, count - 1)}"


def parse_received(text: str) -> int:
    """How many bytes of an upload a registry says it has: the inverse, with `0-0` read as none.

    Reading it as none is the safe side: a byte sent twice is refused with 416, a byte left out is not
    noticed before the end. Raises RegistryError RANGE_INVALID.
    """
    span = parse_chunk(text)
    if span.start:
        raise refusal(Code.RANGE_INVALID, f"an upload's Range must begin at 0: {text[:100]!r}")
    return span.length if span.last else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
