"""What a client can ask for again and again must not read a repository as a whole: SQLite's plans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nacre.stores.catalog import SqliteDatabase, statements

ONE = (
    "BY_TAG", "BY_DIGEST", "BLOB_SIZE", "FIND", "CHILDREN", "NAMED", "NEEDED_BY", "PART_SIZE", "TAGGED",
    "TAGGED_OTHERWISE", "TAGS", "UPLOAD",
)  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    SqliteDatabase(str(tmp_path / "registry.db")).close()
    with closing(sqlite3.connect(tmp_path / "registry.db")) as found:
        yield found


def plan(database: sqlite3.Connection, sql: str) -> list[str]:
    """How SQLite finds the rows, a line for each table."""
    count = sum(f"?{number}" in sql for number in range(1, 10)) or sql.count("?")
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", ["1"] * count)]


@pytest.mark.parametrize("name", ONE)
def test_rows_are_found_by_an_index(database: sqlite3.Connection, name: str) -> None:
    steps = plan(database, getattr(statements, name))
    assert steps
    assert not [step for step in steps if step.startswith("SCAN") or step.endswith("(repository=?)")]


@pytest.mark.parametrize("name", ["REFERRERS", "REFERRING"])
def test_referrers_are_found_by_their_subject(database: sqlite3.Connection, name: str) -> None:
    """The index has only manifests with a subject: SQLite uses it where the statement says so, too."""
    (first, *_) = plan(database, getattr(statements, name))
    assert "manifests_subject (repository=? AND subject=?" in first
