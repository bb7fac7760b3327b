"""One record of comma-separated values, as Go's encoding/csv reads it (RFC 4180 with its strictness).

    record  = field *( "," field )
    field   = bare | quoted
    bare    = *any but "," and DQUOTE
    quoted  = DQUOTE *( any but DQUOTE | DQUOTE DQUOTE ) DQUOTE

Python's `csv` accepts quotes in the middle of a bare field and after a quoted one.
Source: encoding/csv, Reader.Read.
"""

from __future__ import annotations

from ..words.errors import UsageError


def read_record(text: str) -> list[str]:
    """The fields of the first record in `text`; what follows its line is not read. Raises UsageError."""
    text = text.replace("\r\n", "\n").lstrip("\n")
    fields: list[str] = []
    at = 0
    while True:
        value, at = _quoted(text, at) if text[at : at + 1] == '"' else _bare(text, at)
        fields.append(value)
        if text[at : at + 1] != ",":
            return fields
        at += 1


def write_record(fields: list[str]) -> str:
    """The line that `read_record` reads these fields from."""
    return ",".join(f'"{field.replace(chr(34), chr(34) * 2)}"' if set(field) & set(',"\n\r') else field
                    for field in fields)  # fmt: skip


def _bare(text: str, start: int) -> tuple[str, int]:
    ends = (at for at in (text.find(",", start), text.find("\n", start)) if at >= 0)
    end = min(ends, default=len(text))
    value = text[start:end]
    if '"' in value:
        raise _error(text, start + value.index('"'), 'bare " in non-quoted-field')
    return value, end


def _quoted(text: str, start: int) -> tuple[str, int]:
    """The value of a field that begins with a quote, and where it ends."""
    at, parts = start + 1, []
    while (end := text.find('"', at)) >= 0:
        parts.append(text[at:end])
        at = end + 1
        if text[at : at + 1] != '"':
            break
        parts.append('"')
        at += 1
    if end < 0 or text[at : at + 1] not in ("", ",", "\n"):
        raise _error(text, len(text) if end < 0 else end, 'extraneous or missing " in quoted-field')
    return "".join(parts), at


def _error(text: str, at: int, what: str) -> UsageError:
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return UsageError(f"parse error on line {line}, column {column}: {what}")
