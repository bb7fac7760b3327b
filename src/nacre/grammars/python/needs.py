"""The fields of METADATA and WHEEL, and what a package says that it needs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def needs(metadata: bytes) -> tuple[str, list[str]]:
    """The name of the package, and each Requires-Dist. Source: PyPA, "Core metadata specifications"."""
    found = list(fields(metadata))
    name = dict(reversed(found)).get("name", "a package")
    return name, [value for field, value in found if field == "requires-dist"]


def fields(data: bytes) -> Iterator[tuple[str, str]]:
    """The fields before a description, their names in lower case; a long one goes on after a space."""
    head = data.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    for row in head.replace("\n ", " ").replace("\n\t", " ").split("\n"):
        name, _, value = row.partition(":")
        yield name.strip().lower(), " ".join(value.split())
