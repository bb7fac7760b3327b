"""Several processes with one database: what is acknowledged stays, whoever deletes and collects meanwhile."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path

import pytest
from postgreskit import PostgresServer

pytest.importorskip("psycopg")

from nacre.stores.catalog import Catalog, Document, SqliteDatabase, Upload, UploadLimits, WriteConditions
from nacre.stores.catalog.postgresql import PostgresDatabase, numbered
from nacre.stores.garbage import Garbage, GarbageCollector, Mentions
from nacre.stores.storage.protocol import Placed
from nacre.stores.storage.rows import BucketContents
from nacre.words.digest import Digest
from nacre.words.errors import RegistryError, Unavailable
from nacre.words.oci import OCI_LAYER, OCI_MANIFEST, Descriptor
from nacre.words.rules import GarbageRules

HOUR, DAY = 3600.0, 86400.0
REPOSITORIES = ("a", "b")
LAYERS = ["layer 1", "layer 2"]
LOST = """
    SELECT digest FROM (SELECT digest FROM blobs UNION SELECT digest FROM manifests) x
    WHERE NOT EXISTS (SELECT 1 FROM contents c WHERE c.digest = x.digest)"""
BROKEN = """
    SELECT p.digest FROM parts p
    WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.repository = p.repository AND b.digest = p.digest)
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = p.repository AND m.digest = p.digest)"""


class Replica:
    """A process of the registry, with objects of its own names in the bucket."""

    _numbers = count()

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self.catalog = Catalog(PostgresDatabase(url, clock), BucketContents())
        self.catalog.keeps_removed = False

    def placed(self, text: str) -> Placed:
        return Placed(Digest.of(text.encode()), len(text), f"object {next(self._numbers)}")

    def push(self, name: str, text: str, layers: list[str], *tags: str) -> Digest:
        """As a client does; raises RegistryError when what it relied on went."""
        parts = []
        for layer in layers:
            placed = self.placed(layer)
            if self.catalog.blob(name, placed.digest) is None:
                self.catalog.add_blob(name, placed)
            parts.append(Descriptor(OCI_LAYER, placed.digest, placed.size))
        placed = self.placed(text)
        document = Document(OCI_MANIFEST, len(text), tuple(parts), "", "", ())
        self.catalog.put_manifest(name, placed, document, tags)
        return placed.digest

    def collect(self) -> Garbage:
        rules = GarbageRules(grace=HOUR, untagged=HOUR)
        return [Garbage(), *GarbageCollector(self.catalog, rules, Mentions()).steps()][-1]


class Fleet:
    """Two replicas; the time of both is `now`."""

    def __init__(self, url: str) -> None:
        self.now = 1e9
        self.url, self.one, self.two = url, Replica(url, self.time), Replica(url, self.time)

    def time(self) -> float:
        return self.now


@pytest.fixture
def fleet(postgresql: PostgresServer) -> Iterator[Fleet]:
    made = Fleet(postgresql.new_database())
    with closing(made.one.catalog), closing(made.two.catalog):
        yield made


class Client(threading.Thread):
    """Pushes images of its own, which nobody else deletes; pushes, deletes and collects others."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__()
        self.fleet, self.number, self.random = fleet, number, random.Random(number)
        self.replica = (fleet.one, fleet.two)[number % 2]
        self.acknowledged: dict[tuple[str, str], Digest] = {}
        self.failures: list[BaseException] = []

    def run(self) -> None:
        for turn in range(100):
            try:
                self.act(turn)
            except RegistryError:
                pass
            except BaseException as error:
                self.failures.append(error)

    def act(self, turn: int) -> None:
        name, layers = (
            self.random.choice(REPOSITORIES),
            self.random.sample(LAYERS, self.random.choice((1, 1, 2))),
        )
        catalog = self.replica.catalog
        what = self.random.randrange(6)
        if what <= 1:
            tag = f"t{self.number}"
            digest = self.replica.push(name, f"image {self.number}", layers, tag)
            assert catalog.manifest(name, tag)
            assert all(catalog.blob(name, Digest.of(layer.encode())) for layer in layers)
            self.acknowledged[name, tag] = digest
            if turn < 70 and self.acknowledged.pop((name, tag)):
                catalog.delete_manifest(name, digest)
        elif what == 2:
            self.replica.push(name, "prey", layers[:1], "prey")
        elif what == 3:
            catalog.delete_manifest(name, Digest.of(b"prey"))
            catalog.delete_blob(name, Digest.of(layers[0].encode()))
        elif what == 4:
            catalog.mount(name, Digest.of(layers[0].encode()), self.random.choice(REPOSITORIES))
        else:
            self.fleet.now += HOUR / 2
            self.replica.collect()


def test_nothing_acknowledged_is_lost(fleet: Fleet) -> None:
    clients = [Client(fleet, number) for number in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [failure for client in clients for failure in client.failures] == []
    catalog = fleet.one.catalog
    for client in clients:
        assert client.acknowledged
        for (name, tag), digest in client.acknowledged.items():
            found = catalog.manifest(name, tag)
            assert found
            assert found.digest == digest
    assert catalog.listed(LOST) == []
    assert catalog.listed(BROKEN) == []
    objects = [row[0] for row in catalog.listed("SELECT key FROM contents")]
    discarded = {row[0] for row in catalog.listed("SELECT key FROM discarded")}
    assert discarded.isdisjoint(objects)


def test_what_another_process_told_a_client_of_stays(fleet: Fleet) -> None:
    fleet.one.catalog.add_blob("a", fleet.one.placed("layer"))
    layer = Digest.of(b"layer")
    fleet.now += DAY
    assert fleet.one.collect() == Garbage()
    fleet.now += DAY
    assert fleet.two.catalog.blob("a", layer) == 5, "a client asks the other one"
    assert fleet.one.collect() == Garbage()
    assert fleet.two.catalog.blob("a", layer) == 5
    fleet.now += DAY
    assert fleet.one.collect() == Garbage()
    fleet.now += DAY
    assert fleet.one.collect() == Garbage(0, 1, 5)
    assert fleet.two.catalog.blob("a", layer) is None


def test_one_of_two_changes_wins(fleet: Fleet) -> None:
    """Immutable tags and limits of uploads hold over both."""
    won, begun = [], threading.Barrier(2)

    def push(replica: Replica, text: str) -> None:
        placed, document = replica.placed(text), Document(OCI_MANIFEST, len(text), (), "", "", ())
        begun.wait()
        with suppress(RegistryError):
            replica.catalog.put_manifest("a", placed, document, ("v1",), WriteConditions(frozen=("v1",)))
            won.append(placed.digest)
        limits = UploadLimits(most=10, each=1, idle=HOUR)
        replica.catalog.begin_upload(text, Upload("a", "alice"), limits)

    threads = [threading.Thread(target=push, args=pair) for pair in ((fleet.one, "one"), (fleet.two, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    found = fleet.one.catalog.manifest("a", "v1")
    assert found
    assert found.digest == won[0]
    assert len(fleet.one.catalog.listed("SELECT id FROM uploads")) == 1


def test_processes_that_start_together_make_the_tables_once(postgresql: PostgresServer) -> None:
    url, opened = postgresql.new_database(), list[PostgresDatabase]()
    threads = [threading.Thread(target=lambda: opened.append(PostgresDatabase(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ExitStack() as closed:
        for database in opened:
            closed.callback(database.close)
        assert len({database.registry for database in opened}) == 1
        assert len(opened) == 4


def test_a_deadlock_is_resolved(fleet: Fleet) -> None:
    met, tries = threading.Barrier(2), count()

    def cross(replica: Replica, first: str, second: str) -> None:
        def change(db: object) -> None:
            db.lock(first)  # type: ignore[attr-defined]
            if next(tries) < 2:
                met.wait()
            db.lock(second)  # type: ignore[attr-defined]

        replica.catalog.change(change)

    other = threading.Thread(target=cross, args=(fleet.two, "y", "x"))
    other.start()
    cross(fleet.one, "x", "y")
    other.join()
    assert next(tries) == 3


def test_a_commit_whose_answer_is_lost(fleet: Fleet) -> None:
    """It is not done again: it may be there."""
    calls = []

    def change(db: object) -> None:
        calls.append(1)
        db.execute("INSERT INTO repositories (name) VALUES ('app')")  # type: ignore[attr-defined]
        db._connection.pgconn.finish()  # type: ignore[attr-defined]

    with pytest.raises(Unavailable):
        fleet.one.catalog.change(change)
    assert calls == [1]
    assert not fleet.one.catalog.exists("app")


def columns_of_file(path: Path) -> set[tuple[str, str, bool]]:
    SqliteDatabase(str(path)).close()
    with closing(sqlite3.connect(path)) as db:
        names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {
            (f"{table}.{row[1]}", KINDS[row[2]], bool(row[3] or row[5]))
            for (table,) in names.fetchall()
            for row in db.execute(f"PRAGMA table_info({table})")
        }


KINDS = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text", "BLOB": "bytea"}
COLUMNS = """
    SELECT table_name || '.' || column_name, data_type, is_nullable = 'NO' FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name != 'catalog_version'"""


def test_both_engines_have_the_same_tables(fleet: Fleet, tmp_path: Path) -> None:
    assert {*fleet.one.catalog.listed(COLUMNS)} == columns_of_file(tmp_path / "registry.db")
    sql = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
    found = {row[0] for row in fleet.one.catalog.listed(sql)}
    with closing(sqlite3.connect(tmp_path / "registry.db")) as db:
        named = db.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        assert {row[0] for row in named} <= found


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [("a = ? AND b = ?", "a = $1 AND b = $2"), ("?2 ?1 ?2", "$2 $1 $2"), ("?1 ? ?1 ?", "$1 $2 $1 $3")],
)
def test_values_are_numbered_as_sqlite_does(sql: str, wanted: str) -> None:
    assert numbered(sql) == wanted
