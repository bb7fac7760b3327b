"""The page of formats names the tables and the key records that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nacre.services.build import keys
from nacre.stores import catalog, database, layout

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    """The words in code marks of each row of the first table after `heading`."""
    table = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(heading) :], re.MULTILINE)
    assert table is not None
    return [re.findall(r"`([^`]+)`", line) for line in table[0].splitlines()[2:]]


def _tables(schema: str) -> set[str]:
    return set(re.findall(r"CREATE TABLE (\w+)", schema))


@pytest.mark.parametrize(
    ("heading", "schema"),
    [("### The database", database._SCHEMA), ("## The registry", catalog._SCHEMA)],
)
def test_every_table_is_there(heading: str, schema: str) -> None:
    assert {row[0] for row in _rows(heading)} == _tables(schema)


def test_every_key_record_is_there() -> None:
    kinds = {cls.__name__: list(cls._fields) for cls in keys.Key.__subclasses__()}
    assert {row[0]: row[1:] for row in _rows("### The cache key")} == kinds


def test_every_folder_of_the_store_is_drawn() -> None:
    drawing = TEXT[TEXT.index("    ROOT/") :].split("\n\n")[0]
    for folder in layout.FOLDERS:
        assert folder.partition("/")[0] + "/" in drawing, folder


def test_format_numbers() -> None:
    assert f"{database.VERSION} for the store" in TEXT
    assert f"{catalog.VERSION} for a registry" in TEXT
