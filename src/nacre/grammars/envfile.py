"""docker's files of variables and labels.

    file = [ BOM ] *( blank / comment / item LF )
    item = NAME [ "=" VALUE ]       NAME without blanks, VALUE as it stands, nothing is quoted

Blanks before an item or a comment's "#" do not count. Source: docker/cli pkg/kvfile.
"""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.lines import lines


def read_variables(data: bytes, file: str) -> list[str]:
    """`NAME=VALUE`, or `NAME` where no value stands. Raises UsageError with `file:line`."""
    found = []
    for number, raw in enumerate(lines(_text(data, file)), 1):
        line = raw.lstrip()
        if line and not line.startswith("#"):
            _check(line, f"{file}:{number}")
            found.append(line)
    return found


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}:{number}: not UTF-8 text") from None


def _check(line: str, place: str) -> None:
    name = line.partition("=")[0]
    if not name:
        raise UsageError(f"{place}: no variable name on line {line[:80]!r}")
    if " " in name or "\t" in name:
        raise UsageError(f"{place}: variable {name[:80]!r} contains whitespaces")
    if "\0" in line:
        raise UsageError(f"{place}: variable {name[:80]!r} contains a NUL byte")
