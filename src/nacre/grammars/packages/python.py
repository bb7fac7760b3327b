"""Python's packages: METADATA of a .dist-info folder, PKG-INFO of an .egg-info.

The head alone is read: lines `Name: value` up to the first empty one. Source: PyPA, "Core metadata
specifications".
"""

from __future__ import annotations

from .package import Package, text

_WANTED = frozenset(
    (b"name", b"version", b"license", b"license-expression", b"home-page", b"author", b"author-email")
)


def is_metadata(path: bytes) -> bool:
    """Whether a file of an image by this path tells of a Python package."""
    folder, _, name = path.rpartition(b"/")
    return (
        (name == b"METADATA" and folder.endswith(b".dist-info"))
        or (name == b"PKG-INFO" and folder.endswith(b".egg-info"))
        or name.endswith(b".egg-info")
    )


def parse_metadata(data: bytes, path: str) -> Package | None:
    """The package, None where its name or version is missing."""
    fields: dict[bytes, str] = {}
    for line in data.replace(b"\r\n", b"\n").partition(b"\n\n")[0].split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() in _WANTED:
            fields.setdefault(name.lower(), text(value))
    if not fields.get(b"name") or not fields.get(b"version"):
        return None
    return Package(
        "pypi", fields[b"name"], fields[b"version"],
        license=fields.get(b"license-expression") or fields.get(b"license", ""),
        supplier=fields.get(b"author") or fields.get(b"author-email", ""),
        path=path,
    )  # fmt: skip
