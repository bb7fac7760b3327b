"""Debian's packages: /var/lib/dpkg/status, and the files of /var/lib/dpkg/status.d that images without
dpkg have.

    stanza = 1*( field *( " " continued ) )        stanzas are apart by an empty line

Source: deb822(5), dpkg-query(1).
"""

from __future__ import annotations

from .package import Package, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_WANTED = frozenset((b"package", b"version", b"architecture", b"status", b"maintainer", b"source"))


def parse_status(data: bytes, path: str) -> Iterator[Package]:
    """The packages that are installed; a stanza without name or version is left out."""
    for fields in _stanzas(data):
        state = fields.get(b"status", b"install ok installed").split()
        if state[-1:] == [b"installed"] and fields.get(b"package") and fields.get(b"version"):
            yield _package(fields, path)


def _stanzas(data: bytes) -> Iterator[dict[bytes, bytes]]:
    fields: dict[bytes, bytes] = {}
    for line in data.replace(b"\r\n", b"\n").split(b"\n"):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[:1] not in b" \t":
            name, _, value = line.partition(b":")
            if name.lower() in _WANTED:
                fields[name.lower()] = value.strip()
    if fields:
        yield fields


def _package(fields: dict[bytes, bytes], path: str) -> Package:
    def said(name: bytes) -> str:
        return text(fields.get(name, b""))

    source, _, version = said(b"source").partition(" ")
    version = version.strip("()")
    if source and version:
        source = f"{source}@{version}"
    return Package(
        "deb", said(b"package"), said(b"version"), architecture=said(b"architecture"),
        supplier=said(b"maintainer"), source=source, path=path,
    )  # fmt: skip
