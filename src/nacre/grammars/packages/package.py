"""An installed package, whatever manager knows of it."""

from __future__ import annotations

from ...words.value import Value

MOST = 4096
"""Bytes of one field; what is longer is cut."""


class Package(Value):
    """One package. `kind` is the type of its package URL: deb, apk, rpm, pypi, npm or golang.

    `namespace` is the part of an npm or Go name before the last "/". `source` is the name of the source
    package, where that is another one, and with its version where that differs. `license` is as it was
    written, `path` the file that tells of it.
    """

    kind: str
    name: str
    version: str = ""
    namespace: str = ""
    architecture: str = ""
    epoch: str = ""
    license: str = ""
    supplier: str = ""
    source: str = ""
    path: str = ""


def text(data: bytes) -> str:
    """A field as text, cut where it is too long, without what no document may hold."""
    return "".join(one for one in data[:MOST].decode("utf-8", "replace").strip() if one.isprintable())


def line_of(value: object) -> str:
    """A string of a JSON document, "" for anything else."""
    return text(value.encode("utf-8", "replace")) if isinstance(value, str) else ""
