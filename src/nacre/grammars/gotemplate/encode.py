"""Values as JSON, as encoding/json writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .printf import shortest
from .values import INVALID, Struct, is_empty, is_nil


def to_json(value: Any) -> str:
    """As encoding/json without HTML escapes: no spaces, keys of maps in order, fields as declared."""
    if isinstance(value, Struct):
        shown = (item for item in value.items() if not (item[0] in value.omitted and is_empty(item[1])))
        return _object(shown)
    if value is INVALID or is_nil(value):
        return "null"
    if isinstance(value, Mapping):
        return _object(sorted((str(name), item) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return f"[{','.join(map(to_json, value))}]"
    return _scalar(value)


def _object(items: Any) -> str:
    return "{" + ",".join(f"{_quoted(name)}:{to_json(item)}" for name, item in items) + "}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool | int):
        return json.dumps(value)
    return _float(value) if isinstance(value, float) else _quoted(str(value))


def _quoted(text: str) -> str:
    safe = text.encode("utf-8", "replace").decode() if text.isascii() else "".join(map(_valid, text))
    return json.dumps(safe, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _valid(char: str) -> str:
    return "\ufffd" if "\ud800" <= char <= "\udfff" else char


def _float(value: float) -> str:
    """JSON numbers as JavaScript writes them: an exponent below 1e-6 and from 1e21 on."""
    if value != value or value in (float("inf"), float("-inf")):
        return "null"
    small = value != 0 and not 1e-6 <= abs(value) < 1e21
    return shortest(value, "e").replace("e-0", "e-") if small else shortest(value, "f")
