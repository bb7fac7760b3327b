"""A registry whose names and accounts are in PostgreSQL."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgreskit import PostgresServer

from nacre.services.server import RunningServer
from nacre.stores.catalog.opening import is_registry, without_password
from nacre.stores.registry import RegistryStore
from nacre.words.errors import Conflict, StoreError, Unavailable
from nacre.words.rules import GarbageRules, MetadataRules, RegistryRules

PATIENCE = 30.0


@pytest.fixture
def url(postgresql: PostgresServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def rules(url: str) -> RegistryRules:
    return RegistryRules(metadata=MetadataRules(url), garbage=GarbageRules(0.0))


def until(ask: Any, wanted: int) -> Any:
    """The first answer with that status."""
    end = time.monotonic() + PATIENCE
    while (answer := ask()).status != wanted:
        assert time.monotonic() < end, (answer.status, answer.body)
    return answer


def test_push_pull_and_delete(api: Any, serving: RunningServer, tmp_path: Path, make: Any) -> None:
    image = api.push_image("app", "1")
    assert api("GET", "app/manifests/1").body == image.data
    assert api("GET", f"app/blobs/{make.digest(image.layer)}").body == image.layer
    assert api("GET", "app/tags/list").json == {"name": "app", "tags": ["1"]}
    assert api("GET", "_catalog").json == {"repositories": ["app"]}
    assert api("POST", f"other/blobs/uploads/?mount={make.digest(image.layer)}&from=app").status == 201
    assert api("POST", f"third/blobs/uploads/?mount={make.digest(b'?')}&from=app").status == 202
    assert api("GET", "_catalog").json == {"repositories": ["app", "other"]}, "an upload makes none"
    assert api("DELETE", f"app/blobs/{make.digest(image.layer)}").status == 405
    assert api("DELETE", f"app/manifests/{image.digest}").status == 202
    for blob in (image.config, image.layer):
        assert api("DELETE", f"app/blobs/{make.digest(blob)}").status == 202
    assert api("HEAD", f"other/blobs/{make.digest(image.layer)}").status == 200
    assert api("DELETE", f"other/blobs/{make.digest(image.layer)}").status == 202
    assert api("HEAD", f"other/blobs/{make.digest(image.layer)}").status == 404
    assert not (tmp_path / "registry" / "registry.db").exists()


@pytest.mark.parametrize("path", ["app/tags/list?last=%00", "_catalog?last=%00&n=5", "app/manifests/%00"])
def test_text_that_it_cannot_hold(api: Any, path: str) -> None:
    api.push_image("app", "1")
    assert api("GET", path).status in (200, 400, 404)


def test_accounts_are_there_too(api: Any, serving: RunningServer, tmp_path: Path) -> None:
    pytest.importorskip("alembic")
    pytest.importorskip("argon2")
    from nacre.engine.accounts import RegistryAccounts

    api.push_image("shop/app", "1")
    with RegistryAccounts(str(tmp_path / "registry"), "test") as accounts:
        accounts.add_user("root", "correct horse", admin=True)
        accounts.add_user("reader", "correct horse")
        accounts.grant("shop", "read", user="reader")
        _, secret = accounts.add_token("reader")
        accounts.set_namespace("shop", immutable=["v*"])
        accounts.add_team("crew")
        accounts.join("crew", ["reader"])
        assert [entry.action for entry in accounts.audit()][:1] == ["team join"]
        with pytest.raises(Conflict, match="last administrator"):
            accounts.remove_user("root")

    def ask(name: str, secret: str = "correct horse", method: str = "GET") -> Any:
        field = base64.b64encode(f"{name}:{secret}".encode()).decode()
        return lambda: api(method, "shop/app/manifests/1", Authorization=f"Basic {field}")

    until(lambda: api("GET", "shop/app/manifests/1"), 401)
    for right in (ask("reader"), ask("reader", secret), ask("root")):
        assert right().status == 200
    for wrong in (ask("reader", "wrong password"), ask("nobody"), ask("reader", secret + "x")):
        assert wrong().status == 401
    assert ask("reader", method="DELETE")().status == 403
    with RegistryAccounts(str(tmp_path / "registry"), "test") as accounts:
        accounts.update_user("reader", disabled=True)
    until(ask("reader", secret), 401)


def test_it_goes_on_when_the_server_is_back(
    api: Any, serving: RunningServer, log: list[str], postgresql: PostgresServer
) -> None:
    image = api.push_image("app", "1")
    location = api.begin("app")
    postgresql.kill()
    try:
        answer = api("GET", "app/manifests/1")
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
        assert api("PUT", "app/manifests/2", image.data).status == 503
        assert api("PATCH", location, b"12345").status == 503
    finally:
        postgresql.start()
    assert until(lambda: api("GET", "app/manifests/1"), 200).body == image.data
    assert api("GET", "app/manifests/2").status == 404
    assert api.put_manifest("app", "2", image.data).status == 201
    assert api("GET", location).status == 204
    assert log
    assert not any("Traceback" in line for line in log)
    log.clear()


def test_a_change_is_made_again_on_another_connection(
    api: Any, serving: RunningServer, postgresql: PostgresServer
) -> None:
    """After a short break all connections are lost, and nobody notices."""
    image = api.push_image("app", "1")
    postgresql.kill()
    postgresql.start()
    assert api.put_manifest("app", "2", image.data).status == 201
    assert api("GET", "app/manifests/2").status == 200


def test_the_folder_remembers_its_server(postgresql: PostgresServer, tmp_path: Path) -> None:
    root, url = str(tmp_path / "r"), postgresql.new_database()
    with pytest.raises(Unavailable):
        RegistryStore(root, database="postgresql://nobody@127.0.0.1:1/x")
    assert not is_registry(root), "nothing was made"
    with closing(RegistryStore(root, database=url)) as store:
        store.catalog.change(lambda db: db.execute("INSERT INTO repositories (name) VALUES ('app')"))
        with pytest.raises(Conflict, match="served by another process"):
            RegistryStore(root)
    with closing(RegistryStore(root)) as store:
        assert store.catalog.exists("app")
    with pytest.raises(Conflict, match="belongs to a registry that this database does not have"):
        RegistryStore(root, database=postgresql.new_database())
    RegistryStore(str(tmp_path / "file")).close()
    with pytest.raises(Conflict, match="has a database of its own"):
        RegistryStore(str(tmp_path / "file"), database=url)


def test_a_database_of_a_newer_version(postgresql: PostgresServer) -> None:
    from nacre.stores.catalog.postgresql import PostgresDatabase

    url = postgresql.new_database()
    with closing(PostgresDatabase(url)) as database:
        database.change(lambda db: db.execute("UPDATE catalog_version SET version = 1000000"))
    with pytest.raises(StoreError, match="written by a newer nacre"):
        PostgresDatabase(url)


def test_no_password_is_kept() -> None:
    url = "postgresql://me:secret@a:1,b:2/db?sslmode=require&password=secret&options=-cx%3Dy"
    assert without_password(url) == "postgresql://me@a:1,b:2/db?sslmode=require&options=-cx%3Dy"
    assert without_password("postgresql:///db") == "postgresql:///db"


def test_nobody_who_signs_in_keeps_the_event_loop_waiting(
    rules: RegistryRules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("alembic")
    pytest.importorskip("jinja2")
    from pagekit import Site

    from nacre.engine.accounts import RegistryAccounts
    from nacre.stores.catalog.postgresql import PostgresDatabase

    asked: list[str] = []
    read = PostgresDatabase.read

    def watched(self: PostgresDatabase, sql: str, *values: object) -> list[Any]:
        if threading.current_thread() is threading.main_thread():
            asked.append(sql)
        return read(self, sql, *values)

    root = str(tmp_path / "registry")
    RegistryStore(root, rules.storage, rules.metadata.url).close()
    with RegistryAccounts(root, "test") as accounts:
        accounts.add_user("reader", "correct horse", admin=True)
        accounts.grant("shop", "read", user="reader")
        _, secret = accounts.add_token("reader")

    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"reader:{password}".encode()).decode()

    monkeypatch.setattr(PostgresDatabase, "read", watched)
    with Site(root, rules=rules) as site:
        assert site.get("/healthz").status == 200
        assert site.registry.authorization.is_closed
        asked.clear()
        for password in ("correct horse", secret):
            given = site.get("/token?scope=repository:shop/app:pull", authorization=basic(password))
            assert given.status == 200
        signed = site.post("/-/sign-in", {"name": "reader", "password": "correct horse"})
        assert signed.status == 303
        assert asked == []
    with Site(root, rules=rules) as other:
        other.cookie = signed.headers["set-cookie"].partition(";")[0]
        assert other.registry.authorization.is_closed
        asked.clear()
        assert other.get("/").status == 200
        assert other.get("/r/shop/app").status == 404
    assert asked == []


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[str]]:
    """What each thread asks the database."""
    from nacre.stores.catalog.postgresql import PostgresDatabase

    asked: dict[int, list[str]] = {}

    def watch(name: str) -> None:
        real = getattr(PostgresDatabase, name)

        def wrapped(self: Any, *values: Any, **more: Any) -> Any:
            asked.setdefault(threading.get_ident(), []).append(f"{name} {values[0]}")
            return real(self, *values, **more)

        monkeypatch.setattr(PostgresDatabase, name, wrapped)

    for name in ("read", "listed", "change"):
        watch(name)
    return asked


def loop_of(serving: RunningServer) -> int:
    return serving.registry.state.store.accounts.serving


@pytest.fixture
def people(rules: RegistryRules, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Fields of those who have accounts in `registry`."""
    pytest.importorskip("alembic")
    from nacre.engine.accounts import RegistryAccounts

    root = str(tmp_path / "registry")
    RegistryStore(root, rules.storage, rules.metadata.url).close()
    with RegistryAccounts(root, "test") as accounts:
        accounts.add_user("root", "a password", admin=True)
        accounts.add_user("ci", robot=True)
        accounts.grant("shop", "write", user="ci")
        _, secret = accounts.add_token("ci")
    fields = {"root": "root:a password", "ci": f"ci:{secret}"}
    return {name: "Basic " + base64.b64encode(text.encode()).decode() for name, text in fields.items()}


def test_no_request_keeps_the_event_loop_waiting(
    rules: RegistryRules, tmp_path: Path, api_of: Any, watched: dict[int, list[str]], people: dict[str, str]
) -> None:
    """Also right after accounts have changed, and for whoever is not known yet."""
    from nacre.engine.accounts import RegistryAccounts

    root = str(tmp_path / "registry")
    with RunningServer(root, rules=rules) as serving, RegistryAccounts(root, "test") as accounts:
        api, loop = api_of(serving.url), loop_of(serving)
        assert loop in {thread.ident for thread in threading.enumerate()}
        for number in range(3):
            accounts.set_namespace(f"space{number}", public=True)
            known = serving.registry.state.store.accounts.version()
            for field in (*people.values(), "Basic bm9ib2R5OnB3", "Bearer x.y.z", ""):
                headers = {"Authorization": field} if field else {}
                api("GET", "/v2/", **headers)
                api("GET", "_catalog", **headers)
                api("GET", "shop/app/tags/list", **headers)
                api("GET", "shop/app/referrers/sha256:" + "0" * 64, **headers)
                api("HEAD", "shop/app/manifests/1", **headers)
                api("POST", "shop/app/blobs/uploads/?mount=sha256:" + "0" * 64 + "&from=other", **headers)
                api("DELETE", "shop/app/manifests/none", **headers)
                api("GET", "/token?scope=repository:shop/app:pull,push", **headers)
            deadline = time.monotonic() + 30
            while serving.registry.state.store.accounts.version() == known:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        asked = watched.pop(loop, [])
    assert asked == []
    assert watched, "other threads have asked"


def test_a_change_between_the_question_and_its_use(
    rules: RegistryRules, tmp_path: Path, api_of: Any, watched: dict[int, list[str]], people: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Accounts change just when a thread has read who asks: the event loop goes by what was read."""
    from nacre.stores.accounts.reading import Accounts

    prepare = Accounts.prepare

    def changed(self: Accounts, *values: str) -> None:
        prepare(self, *values)
        self._replace({})

    with RunningServer(str(tmp_path / "registry"), rules=rules) as serving:
        api, loop = api_of(serving.url), loop_of(serving)
        assert api("GET", "/v2/").status == 401
        monkeypatch.setattr(Accounts, "prepare", changed)
        for field in people.values():
            assert api("GET", "/v2/", Authorization=field).status == 200
            assert api("POST", "shop/app/blobs/uploads/", Authorization=field).status == 202
        asked = watched.get(loop, [])
    assert asked == []


def test_what_is_read_before_a_change_holds_for_a_moment_only(
    rules: RegistryRules, people: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nacre.stores.accounts import reading
    from nacre.stores.registry import accounts_of

    with closing(accounts_of(str(tmp_path / "registry"))) as accounts:
        accounts.serve()
        accounts.prepare("root")
        asked: list[str] = []
        real = accounts._rows
        monkeypatch.setattr(accounts, "_rows", lambda sql, *values: asked.append(sql) or real(sql, *values))
        accounts._replace({})
        assert accounts.account("root")
        assert asked == []
        later = time.monotonic() + reading.STALE
        monkeypatch.setattr(reading.time, "monotonic", lambda: later)
        assert accounts.account("root")
        assert asked


def test_many_names_do_not_push_out_what_holds_for_everybody(
    rules: RegistryRules, people: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nacre.stores.accounts import reading
    from nacre.stores.registry import accounts_of

    monkeypatch.setattr(reading, "MOST", 8)
    with closing(accounts_of(str(tmp_path / "registry"))) as accounts:
        for number in range(20):
            accounts.prepare(f"nobody{number}")
            assert accounts.is_ready
