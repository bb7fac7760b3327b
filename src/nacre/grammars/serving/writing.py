"""The file that says what holds: every key of tables that come once, and all that was said of the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .table import NAME, Occurrence, found_at
from .tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...words.rules import ServingConfig
    from ...words.value import Value
    from .table import ConfigTable


def written(config: ServingConfig) -> str:
    """TOML that is taken again, but for secrets, which are not shown."""
    return "\n".join(block for table in TABLES for block in _blocks(config, table))


def _blocks(config: ServingConfig, table: ConfigTable) -> Iterator[str]:
    found: Any = found_at(config, table.at)
    if table.occurrence is not Occurrence.ONCE:
        for value in found:
            listed = table.occurrence is Occurrence.LISTED
            name = "" if listed else json.dumps(getattr(value, NAME), ensure_ascii=False)
            yield _block(f"[[{table.name}]]" if listed else f"[{table.name}.{name}]", table, value)
    elif found is not None:
        yield _block(f"[{table.name}]", table, config)


def _block(title: str, table: ConfigTable, value: Value) -> str:
    """`value` is that of the table; of one that comes once the whole configuration."""
    lines = [title]
    for key in table.keys:
        holder = found_at(value, table.place(key)) if table.occurrence is Occurrence.ONCE else value
        said = getattr(holder, key.target)
        if said is not None and not (key.is_secret and not said):
            lines.append(f"{key.name} = {key.kind.write(said)}")
    return "\n".join(lines) + "\n"
