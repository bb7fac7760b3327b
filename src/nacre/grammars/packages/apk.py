"""Alpine's packages: /lib/apk/db/installed.

    record = 1*( letter ":" value )        records are apart by an empty line

Source: apk-tools, the page "Apk spec" of Alpine's wiki.
"""

from __future__ import annotations

from .package import Package, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_WANTED = frozenset(b"PVALmoU")


def parse_installed(data: bytes, path: str) -> Iterator[Package]:
    """The packages; a record without name or version is left out."""
    fields: dict[int, str] = {}
    for line in [*data.split(b"\n"), b""]:
        if not line.strip():
            if fields.get(ord("P")) and fields.get(ord("V")):
                yield _package(fields, path)
            fields = {}
        elif line[1:2] == b":" and line[0] in _WANTED:
            fields[line[0]] = text(line[2:])


def _package(fields: dict[int, str], path: str) -> Package:
    def said(letter: str) -> str:
        return fields.get(ord(letter), "")

    source = said("o") if said("o") != said("P") else ""
    return Package(
        "apk", said("P"), said("V"), architecture=said("A"), license=said("L"), supplier=said("m"),
        source=source, path=path,
    )  # fmt: skip
