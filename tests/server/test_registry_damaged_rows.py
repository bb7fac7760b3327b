"""A bit that flips in a registry's database: never an answer that is wrong, and a line that says where."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from postgreskit import PostgresServer

from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.model import Role
from nacre.stores.integrity import CheckOptions, ContentFiles, IntegrityCheck, RegistryReport
from nacre.words.digest import Digest
from nacre.words.oci import OCI_MANIFEST
from nacre.words.rules import MetadataRules, RegistryRules

Spoil = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"{tmp_path}/registry"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def serving(root: str, lines: list[str]) -> Iterator[RunningServer]:
    with RunningServer(root, log=lines.append) as running:
        yield running


@pytest.fixture
def spoil(serving: RunningServer, root: str) -> Spoil:
    def change(sql: str, *values: object) -> None:
        with closing(sqlite3.connect(f"{root}/registry.db", timeout=30)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute(sql, values)
            db.commit()

    return change


@pytest.mark.parametrize("size", [1, 1 << 20, -5, "abc"])
def test_a_size_of_a_blob_is_mended(
    spoil: Spoil, api: Any, root: str, lines: list[str], size: object
) -> None:
    """The file, which has its digest, says the right one: it must not count as damaged."""
    image = api.push_image("app", "1")
    api.push_blob("web", image.layer)
    digest = api.push_blob("app", image.layer)
    spoil("UPDATE blobs SET size = ? WHERE digest = ?", size, digest)
    assert api("GET", f"app/blobs/{digest}").body == image.layer
    assert api("GET", f"web/blobs/{digest}").body == image.layer
    assert Path(ContentFiles(root).path(digest)).read_bytes() == image.layer
    assert len(lines) == 2
    assert all(f"{digest} had the size" in line and "it was mended" in line for line in lines)
    assert api("HEAD", f"app/blobs/{digest}").headers["content-length"] == str(len(image.layer))
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("size", 3), ("size", "x"), ("media_type", OCI_MANIFEST.replace("o", "n", 1)), ("media_type", b"\xff")],
)
def test_a_row_of_a_manifest(spoil: Spoil, api: Any, lines: list[str], column: str, value: object) -> None:
    """It is refused with a line that names it, until it is pushed again."""
    image = api.push_image("app", "1")
    spoil(f"UPDATE manifests SET {column} = ?", value)
    for method, reference in (("GET", "1"), ("HEAD", "1"), ("GET", image.digest)):
        assert api(method, f"app/manifests/{reference}").status == 500
    assert len(lines) == 3
    said = f"in the row of manifests app {image.digest} {column} cannot be {value!r}"
    assert all(said in line for line in lines)
    api.put_manifest("app", "1", image.data)
    found = api("GET", "app/manifests/1")
    assert (found.status, found.body, found.headers["content-type"]) == (200, image.data, OCI_MANIFEST)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_annotations_of_a_referrer(spoil: Spoil, api: Any, make: Any, lines: list[str], text: str) -> None:
    image = api.push_image("app", "1")
    spoil("UPDATE manifests SET subject = digest, annotations = ?", text)
    assert api("GET", f"app/referrers/{image.digest}").status == 500
    assert f"in the row of manifests app {image.digest} annotations cannot be '{text[:1]}" in lines[0]
    assert len(lines[0]) < 300


Look = Callable[..., RegistryReport]


@pytest.fixture
def look(serving: RunningServer, root: str) -> Look:
    def look(**how: bool) -> RegistryReport:
        options = CheckOptions(**how)
        return IntegrityCheck(serving.registry.state.catalog, ContentFiles(root), parse, options).run()

    return look


def said(report: RegistryReport) -> set[tuple[str, str, str]]:
    return {(each.table, each.column, each.mended) for each in report.rows}


@pytest.mark.parametrize(
    ("sql", "table", "column", "mended"),
    [
        ("UPDATE manifests SET size = size + 64", "manifests", "size", "made again"),
        ("UPDATE manifests SET media_type = 'applicatiof'", "manifests", "media_type", "made again"),
        ("UPDATE manifests SET subject = digest", "manifests", "subject", "made again"),
        ("UPDATE manifests SET annotations = '{\"a\": 1'", "manifests", "annotations", "made again"),
        ("UPDATE blobs SET size = size * 2", "blobs", "size", "made again"),
        ("UPDATE blobs SET size = 'x'", "blobs", "size", "made again"),
        ("DELETE FROM blobs", "blobs", "", "made again"),
        ("UPDATE blobs SET digest = 'sha257' || substr(digest, 7)", "blobs", "digest", "removed"),
        ("UPDATE manifests SET digest = replace(digest, ':', ';')", "manifests", "digest", "removed"),
        ("DELETE FROM manifests", "manifests", "", "made again"),
        ("UPDATE tags SET tag = CAST(x'76b1' AS TEXT) WHERE tag = 'spare'", "tags", "tag", "removed"),
        ("DELETE FROM parts", "manifests", "parts", "made again"),
        ("INSERT INTO unused VALUES (1, 'sha256:x', 'blods', 0)", "unused", "kind", "removed"),
        ("INSERT INTO marks VALUES ('x', x'ff')", "marks", "value", "removed"),
    ],
)  # fmt: skip
def test_the_check_finds_and_mends(
    spoil: Spoil, api: Any, look: Look, sql: str, table: str, column: str, mended: str
) -> None:
    image = api.push_image("app", "1", annotations={"org.example": "x"})
    api.push_image("app", "spare", annotations={"org.example": "x"})
    assert said(look()) == set()
    spoil(sql)
    assert not look().is_sound
    mending = look(repair=True)
    assert (table, column, mended) in said(mending)
    assert all(each.mended for each in mending.rows)
    assert look(read=True).is_sound
    assert said(look()) == set()
    assert api("GET", "app/manifests/1").body == image.data
    for blob in (image.layer, image.config):
        assert api("GET", f"app/blobs/{Digest.of(blob)}").body == blob


def test_what_cannot_be_made_again_is_named(spoil: Spoil, api: Any, look: Look) -> None:
    api.push_image("app", "1")
    spoil("INSERT INTO tags SELECT repository, 'lost', replace(digest, 'a', 'b'), 1 FROM tags")
    spoil("INSERT INTO quotas VALUES ('app', -1, 0, 0)")
    for repair in (False, True):
        report = look(repair=repair)
        assert {each.problem.partition(":")[0] for each in report.rows} == {
            "row of tags app lost",
            "row of quotas app",
        }
        assert not report.is_sound


def spoil_schema(root: str, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(f"{root}/registry.db", isolation_level=None, timeout=30)) as db:
        ((version,),) = db.execute("PRAGMA schema_version").fetchall()
        db.execute("PRAGMA writable_schema = ON")
        db.execute(sql, values)
        db.execute(f"PRAGMA schema_version = {version + 1}")


def test_an_index_that_disagrees_with_its_table(spoil: Spoil, api: Any, look: Look, root: str) -> None:
    api.push_image("app", "1")
    row = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE name = 'tags_updated'"
    with closing(sqlite3.connect(f"{root}/registry.db", isolation_level=None, timeout=30)) as db:
        kept = db.execute(row).fetchone()
    spoil_schema(root, "DELETE FROM sqlite_schema WHERE name = 'tags_updated'")
    spoil("UPDATE tags SET updated = updated - 5")
    spoil_schema(root, "INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", *kept)
    found = look()
    assert {each.table for each in found.rows} == {"database"}
    assert said(look(repair=True)) == {("database", "", "indexes made again")}
    assert look().is_sound


def test_by_command(nacre: Any, spoil: Spoil, api: Any, root: str) -> None:
    image = api.push_image("app", "1")
    spoil("UPDATE manifests SET size = 3")
    command = ("registry", "check", "--root", root)
    found = nacre(*command, check=False)
    line = f"row of manifests app {image.digest}: size cannot be 3"
    assert (found.code, found.lines[0], found.lines[-1]) == (1, line, "1 wrong in the database")
    assert "registry check --repair" in found.err
    mended = nacre(*command, "--repair").lines
    assert (mended[0], mended[-1]) == (f"{line}: made again", "No problems left")
    assert json.loads(nacre(*command, "--format", "json").out)["Rows"] == []


def test_a_right_that_cannot_be(spoil: Spoil, api: Any, nacre: Any, lines: list[str], root: str) -> None:
    """It gives nothing, and is not made up by a repair."""
    pytest.importorskip("sqlalchemy")
    api.push_image("shop/app", "1")
    with Administration(f"{root}/registry.db", "test") as accounts:
        accounts.users.add("root", "$no", administrator=True)
        accounts.users.add("ci", "", robot=True)
        accounts.rights.grant("shop", Role.WRITE, user="ci")
        _, secret = accounts.tokens.add("ci")
    spoil("UPDATE grants SET role = 9")
    names = {"Authorization": "Basic " + base64.b64encode(f"ci:{secret}".encode()).decode()}
    assert api("GET", "shop/app/manifests/1", **names).status == 500
    assert "in the row of grants ci shop role cannot be 9" in lines[-1]
    done = nacre("registry", "check", "--repair", "--root", root, check=False)
    assert (done.code, done.lines[0]) == (1, "row of grants 1 shop: role cannot be 9")
    assert "set them again, or restore a backup" in done.err


def test_on_postgresql(postgresql: PostgresServer, api_of: Any, lines: list[str], root: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgresql.new_database()
    rules = RegistryRules(metadata=MetadataRules(url))
    with RunningServer(root, rules=rules, log=lines.append) as serving:
        api, catalog = api_of(serving.url), serving.registry.state.catalog
        image = api.push_image("app", "1")
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("UPDATE manifests SET media_type = 'x', annotations = '{'")
            db.execute("UPDATE blobs SET size = -1")
        assert api("GET", "app/manifests/1").status == 500
        assert f"in the row of manifests app {image.digest} media_type cannot be 'x'" in lines[0]
        check = partial(IntegrityCheck, catalog, ContentFiles(root), parse)
        assert len(check().run().rows) == 4
        assert {each.mended for each in check(CheckOptions(repair=True)).run().rows} == {"made again"}
        assert check().run().is_sound
        assert api("GET", "app/manifests/1").body == image.data
        assert api("GET", f"app/blobs/{Digest.of(image.layer)}").body == image.layer
