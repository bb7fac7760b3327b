"""Undo, retention, webhooks and scrub of a registry whose names are in PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from postgreskit import PostgresServer

from nacre.services.server import RunningServer
from nacre.services.server.webhooks import Webhook
from nacre.stores.removed import RemovedContent
from nacre.stores.retention import Retention
from nacre.stores.scrub import Scrubber
from nacre.words.rules import MetadataRules, RegistryRules, RetentionRule, ScrubRules, WebhookRule


def test_the_same_statements_hold(
    postgresql: PostgresServer, nacre: Any, api_of: Any, tmp_path: Path
) -> None:
    root, heard = str(tmp_path / "r"), list[str]()
    rules = RegistryRules(metadata=MetadataRules(postgresql.new_database()))
    with RunningServer(root, rules=rules) as serving:
        api, state = api_of(serving.url), serving.registry.state

        def post(url: str, headers: Any, body: bytes, nearby: bool) -> int:
            heard.append(headers["webhook-id"])
            return 200

        webhook = Webhook(WebhookRule("hook", "https://x/"), state.catalog, state.activity, post)
        webhook.progress()
        first = api.push_image("app", "1", b"first")
        api.push_image("app", "1", b"second")
        api.push_image("app", "2", b"third")
        command = lambda *words: nacre("registry", *words, "--root", root)  # noqa: E731
        command("undelete", "app:1")
        assert api("GET", "app/manifests/1").body == first.data
        assert [*Retention(state.catalog, [RetentionRule(newest=1)], state.store.accounts).steps()] == [1]
        assert api("GET", "app/tags/list").json["tags"] == ["1"]
        command("repo", "rm", "app")
        assert api("GET", "app/manifests/1").status == 404
        command("undelete", "app")
        assert api("GET", "app/manifests/1").body == first.data
        assert command("check", "--read").lines[-1] == "No problems found"
        assert list(Scrubber(state.catalog, state.storage, ScrubRules()).steps())[-1] == []
        api("DELETE", f"app/manifests/{first.digest}")
        command("purge", f"app@{first.digest}")
        list(state.garbage.expire())
        assert state.storage.locate(first.digest, len(first.data)) is None
        assert state.garbage.look()[0].manifests
        list(webhook.steps())
        assert len(heard) == 9
        removed = RemovedContent(state.catalog).page()
        assert {entry.repository for entry in removed} == {"app"}
