"""docs/registry-config.md lists every key of the configuration of a registry, and shows files that are taken.

`python tests/docs/test_registry_config_page.py` writes the tables anew.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nacre.grammars.serving import ConfigSources, read_config
from nacre.grammars.serving.table import ConfigKey, ConfigTable
from nacre.grammars.serving.tables import TABLES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "registry-config.md"
KEYS, AFTER = "## Keys\n", "## Example\n"


def shown_default(table: ConfigTable, key: ConfigKey) -> str:
    found = table.default(key)
    if found is None and not hasattr(table.holder(key), key.target):
        return "must be set"
    return "" if found in (None, "", ()) or key.is_secret else f"`{key.kind.write(found)}`"


def rows(table: ConfigTable) -> str:
    lines = [f"### `{table.title}`", "", table.help, "", "| key | kind | default | |", "|---|---|---|---|"]
    for key in table.keys:
        flag = f" (`--{key.flag.replace('_', '-')}`)" if key.flag else ""
        lines.append(f"| `{key.name}` | {key.kind.name} | {shown_default(table, key)} | {key.help}{flag} |")
    return "\n".join(lines) + "\n"


def keys() -> str:
    return "\n".join(map(rows, TABLES))


def test_the_page_lists_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(KEYS) + len(KEYS) : text.index(AFTER)].strip() == keys().strip()


SHOWN = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("shown", SHOWN)
def test_what_the_page_shows_is_taken(shown: str) -> None:
    assert read_config(ConfigSources(shown, "registry.toml"), lambda _path: "secret")
    assert tomllib.loads(shown)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_key_is_a_field(table: ConfigTable) -> None:
    for key in table.keys:
        assert key.target in table.holder(key)._fields  # type: ignore[attr-defined]
    assert len({key.name for key in table.keys}) == len(table.keys)


if __name__ == "__main__":
    said = PAGE.read_text(encoding="utf-8")
    said = said[: said.index(KEYS) + len(KEYS)] + "\n" + keys() + "\n" + said[said.index(AFTER) :]
    PAGE.write_text(said, encoding="utf-8")
