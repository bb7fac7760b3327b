"""npm's packages: package.json in node_modules, and package-lock.json of a project.

A lock counts for what is to be installed in production; `dev` entries are left out. Source: npm's
package.json and package-lock.json.
"""

from __future__ import annotations

import json

from ...words.errors import InvalidDocument
from .package import Package, line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LOCK = b"package-lock.json"
_MODULES = "node_modules/"


def is_manifest(path: bytes) -> bool:
    """Whether a file of an image by this path is the package.json of an installed package."""
    parts = path.split(b"/")
    if parts[-1] != b"package.json" or len(parts) < 3:
        return False
    scope = 1 if len(parts) > 3 and parts[-3].startswith(b"@") else 0
    return parts[-3 - scope] == b"node_modules"


def parse_manifest(data: bytes, path: str) -> Package | None:
    """The package, None where it has no name or version. Raises InvalidDocument."""
    fields = _decoded(data, path)
    if not isinstance(fields, dict):
        return None
    name, version = line_of(fields.get("name")), line_of(fields.get("version"))
    if not name or not version:
        return None
    return _package(name, version, path).replace(
        license=_license(fields), supplier=_author(fields.get("author"))
    )


def parse_lock(data: bytes, path: str) -> Iterator[Package]:
    """What a lock has in production. Raises InvalidDocument."""
    fields = _decoded(data, path)
    if not isinstance(fields, dict):
        return
    rows = fields.get("packages")
    if not isinstance(rows, dict):
        rows = _nested(fields.get("dependencies"))
    for key, row in rows.items():
        if not isinstance(row, dict) or row.get("dev") or row.get("link") or not key:
            continue
        name = line_of(row.get("name")) or key.rpartition(_MODULES)[2]
        version = line_of(row.get("version"))
        if name and version:
            yield _package(name, version, path).replace(license=_license(row))


def _nested(rows: Any) -> dict[str, Any]:
    """The dependencies of a lock of version 1, which may hold others; a fixed number of levels."""
    found: dict[str, Any] = {}
    level = [("", rows)]
    while level:
        prefix, here = level.pop()
        for name, row in here.items() if isinstance(here, dict) else ():
            if isinstance(row, dict):
                key = f"{prefix}{_MODULES}{name}"
                found[key] = row
                level.append((f"{key}/"[-256:], row.get("dependencies")))
    return found


def _package(name: str, version: str, path: str) -> Package:
    namespace, _, short = name.rpartition("/")
    return Package("npm", short, version, namespace, path=path)


def _license(fields: dict[str, Any]) -> str:
    said = fields.get("license")
    return line_of(said.get("type")) if isinstance(said, dict) else line_of(said)


def _author(said: Any) -> str:
    return line_of(said.get("name")) if isinstance(said, dict) else line_of(said)


def _decoded(data: bytes, path: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidDocument(f"{path} is not valid JSON") from None
