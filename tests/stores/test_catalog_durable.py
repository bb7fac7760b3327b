"""When a catalog in a file waits for the disk, for whom, and how its log is moved into the database."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.stores.catalog import Catalog, SqliteDatabase, Upload, UploadLimits
from nacre.stores.storage import Placed
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.errors import StoreError

PATIENCE = 30
LIMITS = UploadLimits(10, 10, 60.0)
BLOB = Digest.of(b"layer")


class Disk:
    """Counts syncs of the log, and fails when it is told to; `gone` are files that went, after so many."""

    def __init__(self) -> None:
        self.syncs, self.fails = 0, False
        self.gone: list[tuple[Digest, int]] = []

    def fdatasync(self, fd: int) -> None:
        assert os.readlink(f"/proc/self/fd/{fd}").endswith("registry.db-wal")
        self.syncs += 1
        if self.fails:
            raise OSError(5, "Input/output error")

    def remove(self, digest: Digest) -> None:
        self.gone.append((digest, self.syncs))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr("nacre.stores.catalog.sqlite.os.fdatasync", found.fdatasync)
    return found


@pytest.fixture
def catalog(tmp_path: Path, disk: Disk) -> Iterator[Catalog]:
    database = SqliteDatabase(str(tmp_path / "registry.db"))
    with closing(Catalog(database, FolderContents(disk.remove))) as found:
        yield found


def test_what_is_acknowledged_is_on_the_disk(catalog: Catalog, disk: Disk) -> None:
    catalog.add_blob("app", Placed(BLOB, 5))
    assert disk.syncs == 1
    assert catalog.mount("web", BLOB, "app")
    assert disk.syncs == 2


def test_uploads_do_not_wait(catalog: Catalog, disk: Disk) -> None:
    catalog.begin_upload("one", Upload("app"), LIMITS)
    assert catalog.touch_upload("one", 5)
    catalog.end_upload("one")
    assert disk.syncs == 0


def test_nothing_written_is_nothing_to_wait_for(catalog: Catalog, disk: Disk) -> None:
    with catalog.pinned(BLOB):
        assert not catalog.delete_blob("app", BLOB)
    assert disk.syncs == 0


def test_a_file_goes_when_its_row_is_gone_for_good(catalog: Catalog, disk: Disk) -> None:
    catalog.keeps_removed = False
    catalog.add_blob("app", Placed(BLOB, 5))
    catalog.change(
        lambda db: db.orphans.append(BLOB) or db.execute("DELETE FROM blobs"),  # type: ignore[func-returns-value]
        durable=False,
    )
    assert disk.gone == [(BLOB, 2)]


def test_after_a_failure_of_the_disk_nothing_is_taken(catalog: Catalog, disk: Disk) -> None:
    """What the log holds nobody knows then, so what comes after it might be lost."""
    disk.fails = True
    with pytest.raises(StoreError, match="input/output error"):
        catalog.add_blob("app", Placed(BLOB, 5))
    disk.fails = False
    with pytest.raises(StoreError, match="start the registry again"):
        catalog.add_blob("app", Placed(BLOB, 5))
    assert disk.syncs == 1


def test_a_long_question_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered, connect = threading.Event(), threading.Event(), sqlite3.connect

    def slow(path: str, factory: Any, **more: Any) -> sqlite3.Connection:
        class Slow(factory):  # type: ignore[misc]
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql == "SELECT 1":
                    asked.set()
                    assert answered.wait(PATIENCE)
                return super().execute(sql, *values)

        return connect(path, factory=Slow, **more)

    monkeypatch.setattr("nacre.stores.catalog.sqlite.sqlite3.connect", slow)
    with closing(SqliteDatabase(str(tmp_path / "registry.db"))) as database:
        thread = threading.Thread(target=database.listed, args=("SELECT 1",))
        thread.start()
        assert asked.wait(PATIENCE)
        assert database.listed("SELECT 2") == [(2,)]
        answered.set()
        thread.join(PATIENCE)


def test_many_at_once(tmp_path: Path) -> None:
    """Each is there in the end, also for who opens the database then."""
    path = str(tmp_path / "registry.db")
    with closing(Catalog(SqliteDatabase(path), FolderContents(lambda _digest: None))) as catalog:

        def push(number: int) -> None:
            for each in range(20):
                data = b"%d %d" % (number, each)
                catalog.add_blob(f"app{number}", Placed(Digest.of(data), len(data)))

        threads = [threading.Thread(target=push, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    with closing(SqliteDatabase(path)) as database:
        assert database.read("SELECT count(*) FROM blobs") == [(120,)]


def test_the_log_is_moved_beside_the_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.stores.catalog.checkpoints.ROWS", 20)
    monkeypatch.setattr("nacre.stores.catalog.checkpoints.LONG", 1)
    path = tmp_path / "registry.db"
    with closing(SqliteDatabase(str(path))) as database:
        before, deadline = path.read_bytes(), time.monotonic() + PATIENCE
        while path.read_bytes() == before:
            database.change(lambda db: db.execute("INSERT INTO marks VALUES (hex(randomblob(99)), '')"))
            assert time.monotonic() < deadline
