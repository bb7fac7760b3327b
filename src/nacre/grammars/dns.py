"""Questions to a name server and answers to them, as far as a resolver for containers needs them. Pure.

Names are lower case and without the dot at the end. Source: RFC 1035, RFC 3596.
"""

from __future__ import annotations

from struct import Struct

from ..words.value import Value

A, PTR, AAAA = 1, 12, 28
_IN = 1
_HEADER, _QUESTION, _RECORD = Struct(">HHHHHH"), Struct(">HH"), Struct(">HHIH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _ASKED, _AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPERATION = 0x7800
_NAME_OF_QUESTION = b"\xc0\x0c"
_SECONDS = 600
_LONGEST_NAME, _LONGEST_LABEL = 255, 63
OK, FAILED = 0, 2
MOST = 512
"""Bytes of an answer over UDP for who asks for no more."""


class Question(Value):
    """The one question of a query; `end` is where it ends. `number` is the id of the query."""

    number: int
    flags: int
    name: str
    kind: int
    end: int


def read_question(data: bytes) -> Question:
    """Raises ValueError for what is no query with one question about names of the internet."""
    if len(data) < _HEADER.size:
        raise ValueError("too short")
    number, flags, questions, *_ = _HEADER.unpack_from(data)
    if flags & (_RESPONSE | _OPERATION) or questions != 1:
        raise ValueError("no query")
    name, place = _read_name(data, _HEADER.size)
    if place + _QUESTION.size > len(data):
        raise ValueError("no question")
    kind, family = _QUESTION.unpack_from(data, place)
    if family != _IN:
        raise ValueError("not of the internet")
    return Question(number, flags, name, kind, place + _QUESTION.size)


def _read_name(data: bytes, place: int) -> tuple[str, int]:
    """Without compression, which a question has nothing to refer to for."""
    labels, start = [], place
    while place < len(data) and (length := data[place]):
        if length > _LONGEST_LABEL or place + length - start > _LONGEST_NAME:
            raise ValueError("bad name")
        labels.append(data[place + 1 : place + 1 + length])
        place += 1 + length
    if place >= len(data):
        raise ValueError("bad name")
    return b".".join(labels).decode("latin-1").lower(), place + 1


def answer(query: bytes, question: Question, records: list[bytes], *, code: int = OK, most: int = 0) -> bytes:
    """An answer of our own. `records` are addresses, or a name as `name_data` makes it, of the kind asked.

    With `most` it is cut to that many bytes, and says so.
    """
    flags = _RESPONSE | _AVAILABLE | (question.flags & _ASKED) | code
    flags |= _AUTHORITATIVE if records else 0
    head, body = query[_HEADER.size : question.end], b""
    given = 0
    for record in records:
        more = _NAME_OF_QUESTION + _RECORD.pack(question.kind, _IN, _SECONDS, len(record)) + record
        if most and _HEADER.size + len(head) + len(body) + len(more) > most:
            flags |= _TRUNCATED
            break
        body, given = body + more, given + 1
    return _HEADER.pack(question.number, flags, 1, given, 0, 0) + head + body


def name_data(name: str) -> bytes:
    """A name as the data of a record. Raises ValueError for one that is too long."""
    labels = [label.encode() for label in name.split(".") if label]
    if any(len(label) > _LONGEST_LABEL for label in labels) or len(name) > _LONGEST_NAME - 2:
        raise ValueError(f"the name {name[:80]!r} is too long")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reversed_address(name: str) -> str:
    """The address that a PTR question asks about; "" for any other name."""
    if name.endswith(".in-addr.arpa"):
        parts = name.removesuffix(".in-addr.arpa").split(".")
        good = len(parts) == 4 and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts)
        return ".".join(reversed(parts)) if good else ""
    digits = name.removesuffix(".ip6.arpa").split(".") if name.endswith(".ip6.arpa") else []
    if len(digits) != 32 or not all(len(digit) == 1 and digit in "0123456789abcdef" for digit in digits):
        return ""
    text = "".join(reversed(digits))
    from ..words.addresses import shown

    return shown(bytes.fromhex(text))
