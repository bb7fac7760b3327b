"""The page of formats names the tables and the key records that the code has."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from nacre.services.build import keys
from nacre.services.build.python import builder, pack
from nacre.stores import database, layout
from nacre.stores.accounts.database import AccountsDatabase
from nacre.stores.catalog import SqliteDatabase, steps

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    """The words in code marks of each row of the first table after `heading`."""
    table = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(heading) :], re.MULTILINE)
    assert table is not None
    return [re.findall(r"`([^`]+)`", line) for line in table[0].splitlines()[2:]]


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as opened:
        found = opened.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return {name for (name,) in found}


def test_every_table_of_a_store_is_there(tmp_path: Path) -> None:
    database.Database(str(tmp_path / "nacre.db")).close()
    assert {row[0] for row in _rows("### The database")} == _tables(tmp_path / "nacre.db")


def test_every_table_of_a_registry_is_there(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    SqliteDatabase(str(path)).close()
    AccountsDatabase(str(path)).close()
    shown = {name for row in _rows("## The registry") for name in row}
    assert shown == _tables(path) - {"alembic_version"}


def test_every_key_record_is_there() -> None:
    assert builder  # of which some are
    assert pack
    kinds = {cls.__name__: list(cls._fields) for cls in keys.Key.__subclasses__()}
    assert {row[0]: row[1:] for row in _rows("### The cache key")} == kinds


def test_every_folder_of_the_store_is_drawn() -> None:
    drawing = TEXT[TEXT.index("    ROOT/") :].split("\n\n")[0]
    for folder in layout.FOLDERS:
        assert folder.partition("/")[0] + "/" in drawing, folder


def test_format_numbers() -> None:
    assert f"{database.VERSION} for the store" in TEXT
    assert f"{steps.VERSION} for a registry" in TEXT
