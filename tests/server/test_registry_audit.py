"""Who did what: logins, pulls by rule, pushes and deletions in one list."""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from nacre.engine.accounts import RegistryAccounts
from nacre.services.server import RunningServer
from nacre.services.server.journal import Journal
from nacre.services.server.work import Work
from nacre.stores.activity import Activity, ActivityQuery
from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.storage.local import FolderContents
from nacre.words.errors import DiskFull, NacreError, Unavailable
from nacre.words.rules import ActivityRules, RegistryRules


def basic(name: str, secret: str = "correct horse") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


@pytest.mark.parametrize("error", [DiskFull, Unavailable])
def test_a_login_is_written_when_the_database_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[NacreError]
) -> None:
    def fail(*_args: object) -> None:
        raise error("not now")

    async def log_in(catalog: Catalog) -> None:
        work = Work()
        journal = Journal(catalog, work)
        journal.login("alice", "::1", "password")
        with monkeypatch.context() as patched:
            patched.setattr(catalog, "change", fail)
            await journal.close()
        await journal.close()
        work.close()

    database = SqliteDatabase(str(tmp_path / "registry.db"))
    with closing(Catalog(database, FolderContents(lambda digest: None))) as catalog:
        asyncio.run(log_in(catalog))
        assert [entry.actor for entry in Activity(catalog).page(0, 10, ActivityQuery())] == ["alice"]


def test_everything_in_one_list(folder: str, api_of: Any, nacre: Any) -> None:
    began = time.time()
    with RegistryAccounts(folder, "uid 0") as accounts:
        accounts.add_user("alice", "correct horse", admin=True)
        _, token = accounts.add_token("alice")
        rules = RegistryRules(activity=ActivityRules(pulls=("shop",)))
        with RunningServer(folder, rules=rules) as serving:
            call = api_of(serving.url)
            who = basic("alice")
            api = type("As", (api_of,), {"__call__": lambda self, *a, **k: call(*a, **(who | k))})(
                serving.url
            )
            image = api.push_image("shop/app", "1")
            api.push_image("other", "1")
            for name in ("shop/app", "other"):
                assert api("GET", f"{name}/manifests/1").status == 200
                assert api("HEAD", f"{name}/manifests/1").status == 200
            assert api("GET", f"shop/app/manifests/{image.digest}").status == 200
            assert api("DELETE", "shop/app/manifests/1").status == 202
            for _ in range(3):
                assert call("GET", "", **basic("alice", "wrong")).status == 401
                assert call("GET", "", **basic("alice", token)).status == 200
                assert call("GET", "", **basic("x\ny", "wrong")).status == 401
        found = [(one.actor, one.action, one.subject) for one in accounts.audit(since=began)]
        tagged = f"shop/app:1@{image.digest}"
        expected = [
            ("alice", "login", "password"), ("alice", "login", "token"), ("alice", "refused", "password"),
            ("x?y", "refused", "password"), ("alice", "pull", tagged), ("alice", "push", tagged),
            ("alice", "pull", f"shop/app@{image.digest}"), ("alice", "delete", tagged),
            ("uid 0", "user add", "alice"), ("uid 0", "token add", "alice: admin in *"),
        ]  # fmt: skip
        for entry in expected:
            assert found.count(entry) == 1, entry
        assert not any("other" in subject for _, action, subject in found if action == "pull")
        (refused, *_) = accounts.audit(user="alice", action="refused")
        assert refused.client == "127.0.0.1"
        assert {one.action for one in accounts.audit(repository="other")} == {"push"}
        assert {one.action for one in accounts.audit(user="uid 0")} == {"user add", "token add"}
        assert accounts.audit(since=time.time() + 60) == []
        times = [one.at for one in accounts.audit(4)]
        assert times == sorted(times, reverse=True)
        assert len(times) == 4
    out = nacre("registry", "audit", "--root", folder, "--action", "pull", "--since", "1h").out
    assert len(out.splitlines()) == 3
    assert "127.0.0.1" in out
