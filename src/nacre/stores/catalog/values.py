"""What the values of a catalog's rows must be: a bit that flips on the disk makes them others.

What can be seen of a value alone is looked at wherever a client is answered with it, and in every row by
`registry check`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...words.digest import Digest
from ...words.errors import DamagedStore, InvalidName
from ...words.oci import DOCUMENT_TYPES
from .model import Referrer, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 60


def damaged(table: str, row: str, column: str, value: object) -> DamagedStore:
    """What a request says that meets such a row, in the log of the registry."""
    what = f"registry database: in the row of {table} {row} {column} cannot be {shown(value)}"
    return DamagedStore(what, hint="`nacre registry check` looks at all rows")


def shown(value: object) -> str:
    """In a line, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def is_size(value: object) -> bool:
    """Of content, in bytes?"""
    return type(value) is int and value >= 0


def is_digest(value: object) -> bool:
    """Is it text, and a digest of a registered algorithm?"""
    try:
        return isinstance(value, str) and bool(Digest(value))
    except InvalidName:
        return False


def is_media_type(value: object) -> bool:
    """Of a manifest or an index?"""
    return isinstance(value, str) and value in DOCUMENT_TYPES


def is_record(value: object) -> bool:
    """Is it text, and a JSON object?"""
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def stored(name: str, row: Sequence[Any]) -> Stored:
    """A manifest of repository `name`: digest, media type, size. Raises DamagedStore."""
    digest, media_type, size = row
    _check("manifests", f"{name} {digest}", digest=(digest, is_digest(digest)),
           media_type=(media_type, is_media_type(media_type)), size=(size, is_size(size)))  # fmt: skip
    return Stored(Digest(digest), media_type, size)


def referrer(name: str, row: Sequence[Any]) -> Referrer:
    """One of a list of repository `name`, with its annotations. Raises DamagedStore."""
    found = stored(name, row[:3])
    kind, notes = row[3:]
    _check("manifests", f"{name} {found.digest}", artifact_type=(kind, isinstance(kind, str)),
           annotations=(notes, is_record(notes)))  # fmt: skip
    return Referrer(found.digest, found.media_type, found.size, kind, json.loads(notes))


def _check(table: str, row: str, **values: tuple[object, bool]) -> None:
    for column, (value, is_right) in values.items():
        if not is_right:
            raise damaged(table, row, column, value)
