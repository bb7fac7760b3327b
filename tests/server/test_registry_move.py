"""A registry moves from a folder into a bucket, from SQLite into PostgreSQL, by a backup that is restored."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from s3server import BadProxy, S3Server, serving_s3

from nacre.engine.accounts import RegistryAccounts
from nacre.ground.files import install_trace
from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores import activity
from nacre.stores.backup import FolderSource, RegistryBackup
from nacre.stores.catalog import Catalog
from nacre.stores.catalog.opening import open_database
from nacre.stores.integrity import CheckOptions
from nacre.stores.registry import catalog_of, checked
from nacre.stores.restoring import RegistryRestore, RestoreTarget
from nacre.words.errors import Conflict, Unavailable
from nacre.words.rules import MetadataRules, RegistryRules, StorageRules

PASSING = {"uploads", "upload_parts", "jobs", "sqlite_sequence"}
LARGE = os.urandom(9 << 20)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from serving_s3(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def saved(tmp_path: Path, folder: str, accounts: RegistryAccounts, api_of: Any) -> str:
    """The backup of a registry that has something of everything."""
    image = None
    with RunningServer(folder) as serving:
        api, catalog = api_of(serving.url), serving.registry.state.catalog
        image = api.push_image("team/app", "1", LARGE)
        api.push_image("team/app", "2", b"other", annotations={"word": "naïve ☃"})
        api.push_image("gone/app", "1", b"third")
        api("DELETE", "team/app/manifests/2")
        list(catalog.delete_repository("gone/app", activity.Author("somebody")))
        api.begin("team/app")
    accounts.add_user("root", "a password", admin=True)
    accounts.add_user("bob", "a password")
    accounts.add_user("ci", robot=True)
    accounts.add_team("crew")
    accounts.join("crew", ["bob"])
    accounts.grant("team", "write", team="crew")
    accounts.set_namespace("team", public=True, immutable=["v*"], quota=10**9)
    accounts.add_token("ci", expires="1d")
    accounts.add_trust("https://issuer.example", {"job": "a*"}, namespace="team")
    accounts.update_user("bob", disabled=True)
    target = str(tmp_path / "backup")
    with closing(catalog_of(folder)) as found:
        RegistryBackup(FolderSource(found, folder), target).run()
    assert image
    return target


def tables(saved: str) -> dict[str, list[Any]]:
    """Every row of the backup."""
    with closing(sqlite3.connect(f"file:{saved}/catalog.db?mode=ro", uri=True)) as db:
        named = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in named}


def moved(url: str, names: set[str]) -> dict[str, list[Any]]:
    with closing(open_database(url)) as database:
        found = {name: database.listed(f'SELECT * FROM "{name}"') for name in names}
    return {name: sorted(map(tuple, rows), key=repr) for name, rows in found.items()}


def number(rows: list[Any]) -> list[Any]:
    """With 1 and 0 for what is true and false, as SQLite has it."""
    return sorted((tuple(int(v) if isinstance(v, bool) else v for v in row) for row in rows), key=repr)


def test_every_row_comes_into_a_server(saved: str, tmp_path: Path, postgresql: Any, api_of: Any) -> None:
    root, url = str(tmp_path / "new"), postgresql.new_database()
    RegistryRestore(saved, root, target=RestoreTarget(database=url)).run()
    before = tables(saved)
    names = set(before) - PASSING
    after = moved(url, names)
    for name in names:
        assert number(after[name]) == before[name], name
    full = {"users", "tokens", "grants", "trusts", "namespaces", "members", "settings", "audit", "activity",
            "removed", "tags", "parts", "quotas", "blobs", "manifests"}  # fmt: skip
    assert all(before[name] for name in full)
    assert checked(root, parse, StorageRules(), CheckOptions(read=True)).damaged == ()
    assert not {"restoring.db", "registry.db"}.intersection(os.listdir(root))
    rules = RegistryRules(metadata=MetadataRules(url))
    with RunningServer(root, rules=rules) as serving:
        catalog = serving.registry.state.catalog
        api = api_of(serving.url)
        assert api("GET", "team/app/manifests/1").status == 200
        last = catalog.listed("SELECT max(id) FROM activity")[0][0]
        note(catalog)
        assert catalog.listed("SELECT max(id) FROM activity")[0][0] > last, "numbers go on"
    with RegistryAccounts(root, "test") as accounts:
        accounts.add_user("carol", "a password")
        assert [user.name for user in accounts.users()] == ["bob", "carol", "ci", "root"]


def test_numbers_of_rows_that_are_gone_are_not_given_again(
    saved: str, tmp_path: Path, postgresql: Any
) -> None:
    with closing(sqlite3.connect(f"{saved}/catalog.db")) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'activity'")
        db.commit()
    root, url = str(tmp_path / "new"), postgresql.new_database()
    RegistryRestore(saved, root, target=RestoreTarget(database=url)).run()
    with closing(catalog_of(root)) as catalog:
        note(catalog)
        assert catalog.listed("SELECT max(id) FROM activity")[0][0] == 1001


def test_content_comes_into_a_bucket(saved: str, tmp_path: Path, s3: S3Server, api_of: Any) -> None:
    root, storage = str(tmp_path / "new"), s3.rules()
    RegistryRestore(saved, root, target=RestoreTarget(storage)).run()
    assert checked(root, parse, storage, CheckOptions(read=True)).damaged == ()
    before = tables(saved)
    with closing(sqlite3.connect(f"{root}/registry.db")) as db:
        assert db.execute("SELECT count(*) FROM marks WHERE name = 'restore'").fetchone() == (0,)
        digests = {row[0] for name in ("blobs", "manifests", "removed") for row in
                   db.execute(f"SELECT digest FROM {name} WHERE digest LIKE 'sha256:%'")}  # fmt: skip
        assert {row[0] for row in db.execute("SELECT digest FROM contents")} == digests
        assert sorted(db.execute("SELECT * FROM tags")) == before["tags"]
    assert len(s3.objects()) == len(digests)
    with RunningServer(root, rules=RegistryRules(storage=storage)) as serving:
        api = api_of(serving.url)
        basic = {"Authorization": "Basic cm9vdDphIHBhc3N3b3Jk"}
        manifest = api("GET", "team/app/manifests/1", **basic).json
        layer = api("GET", f"team/app/blobs/{manifest['layers'][0]['digest']}", **basic)
        assert len(layer.body) == manifest["layers"][0]["size"]
        assert api("POST", "team/app/blobs/uploads/", **basic).status == 202


def test_both_at_once_by_command(
    nacre: Any, saved: str, tmp_path: Path, s3: S3Server, postgresql: Any
) -> None:
    root, storage, url = str(tmp_path / "new"), s3.rules(), postgresql.new_database()
    config = tmp_path / "registry.toml"
    config.write_text(f"""
        [database]
        url = "{url}"
        [storage]
        url = "{storage.url}"
        endpoint = "{storage.endpoint}"
        region = "us-east-1"
        access-key = "{storage.access_key}"
        secret-key = "{storage.secret_key}"
        """)
    done = nacre("registry", "restore", saved, "--root", root, "--config", str(config))
    assert "Restored 1 repositories, 2 manifests" in done.out
    assert "No problems found" in done.out
    again = nacre("registry", "check", "--read", "--root", root, "--config", str(config))
    assert "No problems found" in again.out
    users = nacre("registry", "user", "ls", "--root", root, "--format", "{{.Name}}")
    assert users.lines == ["bob", "ci", "root"]
    refused = nacre("registry", "restore", saved, "--root", root, "--config", str(config), check=False)
    assert (refused.code, "is not empty" in refused.err) == (1, True)


def test_a_database_with_a_registry_is_left_alone(
    saved: str, tmp_path: Path, postgresql: Any, api_of: Any
) -> None:
    url = postgresql.new_database()
    with RunningServer(str(tmp_path / "other"), rules=RegistryRules(metadata=MetadataRules(url))) as serving:
        api_of(serving.url).push_image("theirs", "1")
    root = str(tmp_path / "new")
    with pytest.raises(Conflict, match="has a registry already"):
        RegistryRestore(saved, root, target=RestoreTarget(database=url)).run()
    assert moved(url, {"users"}) == {"users": []}
    with closing(open_database(url)) as database:
        assert database.listed("SELECT name FROM repositories") == [("theirs",)]
    RegistryRestore(saved, root, target=RestoreTarget(database=postgresql.new_database())).run()


def note(catalog: Catalog) -> None:
    catalog.change(lambda db: activity.note(db, activity.Author("somebody"), activity.Action("login", "")))


class _Killed(BaseException):
    pass


@pytest.fixture
def killed_at() -> Iterator[Callable[[str], None]]:
    def install(point: str) -> None:
        def hook(name: str) -> None:
            if name == point:
                raise _Killed

        install_trace(hook)

    yield install
    install_trace(None)


def test_who_was_killed_after_the_move_comes_to_the_same_end(
    saved: str, tmp_path: Path, postgresql: Any, killed_at: Callable[[str], None]
) -> None:
    root, url = str(tmp_path / "new"), postgresql.new_database()
    killed_at("restore:moved")
    with pytest.raises(_Killed):
        RegistryRestore(saved, root, target=RestoreTarget(database=url)).run()
    with pytest.raises(Conflict, match="not restored yet"):
        RunningServer(root, rules=RegistryRules(metadata=MetadataRules(url)))
    install_trace(None)
    RegistryRestore(saved, root, target=RestoreTarget(database=url)).run()
    before = tables(saved)
    names = set(before) - PASSING
    assert {name: number(rows) for name, rows in moved(url, names).items()} == {
        name: before[name] for name in names
    }


def test_what_was_broken_off_sends_nothing_twice(
    saved: str, tmp_path: Path, s3: S3Server, api_of: Any
) -> None:
    root, proxy = str(tmp_path / "new"), BadProxy(s3.port)
    try:
        storage = s3.rules(proxy.port)
        stop = [3]

        def trouble(line: str) -> bytes | None:
            if line.startswith("PUT"):
                stop[0] -= 1
            return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" if stop[0] < 0 else None

        proxy.trouble = trouble
        with pytest.raises(Unavailable):
            RegistryRestore(saved, root, target=RestoreTarget(storage)).run()
        proxy.trouble = lambda line: None
        RegistryRestore(saved, root, target=RestoreTarget(storage)).run()
        assert checked(root, parse, storage, CheckOptions(read=True)).damaged == ()
        with closing(sqlite3.connect(f"{root}/registry.db")) as db:
            (count,) = db.execute("SELECT count(*) FROM contents").fetchone()
        assert len(s3.objects()) == count
    finally:
        proxy.close()


def test_what_is_damaged_in_the_backup_is_named(saved: str, tmp_path: Path, s3: S3Server) -> None:
    with closing(sqlite3.connect(f"{saved}/catalog.db")) as db:
        (digest,) = db.execute("SELECT digest FROM blobs ORDER BY size DESC LIMIT 1").fetchone()
    path = Path(saved, "blobs", *digest.split(":"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    root, storage = str(tmp_path / "new"), s3.rules()
    RegistryRestore(saved, root, target=RestoreTarget(storage)).run()
    (found,) = checked(root, parse, storage, CheckOptions()).damaged
    assert (found.part, found.names) == (digest, ["team/app:1"])
