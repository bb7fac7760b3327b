"""A JSON object in a file that somebody else writes."""

from __future__ import annotations

from ..words import quickjson
from ..words.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_FILE = 4 << 20
"""Most bytes of a file that is read."""


def read_object(path: str) -> dict[str, Any]:
    """The object that the file holds, {} where there is no file. Raises StoreError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
        fields = quickjson.loads(data) if len(data) <= MAX_FILE else None
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise StoreError(f"{path} is not valid JSON", hint="fix or remove the file")
    return fields
