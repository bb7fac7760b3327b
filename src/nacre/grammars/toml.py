"""TOML from outside. Imported where a file is read: most commands have none."""

from __future__ import annotations

import tomllib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_toml(text: str) -> dict[str, Any]:
    """The table that a document is. Raises ValueError for all that is none: `tomllib` follows what is nested
    until the stack ends, and reads numbers of any length.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None
