"""Webhooks: what is sent, signed, in order, again after failures, and not told too much."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from nacre.services.client import Client
from nacre.services.server import RunningServer
from nacre.services.server.outgoing import Outgoing
from nacre.services.server.webhooks import Webhook, cloud_event, docker_event, signed
from nacre.stores.activity import Action, Activity, ActivityEntry, Author, note
from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.storage.local import FolderContents
from nacre.words.errors import RegistryError, Unreachable, UsageError
from nacre.words.rules import RegistryRules, WebhookRule

DAY = 86400.0
ENTRY = ActivityEntry(7, 1e9, "alice", "192.0.2.1", "push", "team/app", "1", "sha256:a", "")


class Receiver:
    """What a webhook told, and what to answer: a status or an error."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.answers: list[int | str] = []
        self.headers: Mapping[str, str] = {}

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, nearby: bool) -> int:
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, str):
            raise Unreachable(answer)
        target = json.loads(body)["events"][0]["target"]
        if answer < 300:
            self.told.append(target.get("tag", "") or target["digest"])
        self.headers = headers
        return answer


class Lab:
    """A catalog whose time is `now`."""

    def __init__(self, path: Path) -> None:
        self.now, self.receiver = 1e9, Receiver()
        database = SqliteDatabase(str(path), lambda: self.now)
        self.catalog = Catalog(database, FolderContents(lambda digest: None))

    def webhook(self, **fields: Any) -> Webhook:
        rule = WebhookRule("hook", "https://ci.example/hook", **fields)
        return Webhook(rule, self.catalog, Activity(self.catalog), self.receiver)

    def happen(self, *tags: str, name: str = "push", repository: str = "app") -> None:
        actions = [Action(name, repository, tag, "sha256:a") for tag in tags]
        self.catalog.change(lambda db: note(db, Author("alice"), *actions))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "registry.db")
    with closing(made.catalog):
        yield made


def test_from_its_beginning_in_order(lab: Lab) -> None:
    lab.happen("before")
    webhook = lab.webhook()
    assert not webhook.is_due()
    lab.happen("1", "2")
    lab.happen("3")
    assert webhook.is_due()
    assert list(webhook.steps()) == [1, 2, 3]
    assert lab.receiver.told == ["1", "2", "3"]
    assert not webhook.is_due()
    assert list(lab.webhook().steps()) == []


def test_only_what_the_rule_says(lab: Lab) -> None:
    webhook = lab.webhook(events=("delete",), repositories=("team/*",))
    webhook.progress()
    lab.happen("push", repository="team/app")
    lab.happen("other", name="delete", repository="other")
    lab.happen("gone", name="delete", repository="team/app")
    list(webhook.steps())
    assert lab.receiver.told == ["gone"]
    assert webhook.behind == 0


def test_a_failure_waits_longer_each_time(lab: Lab) -> None:
    webhook = lab.webhook()
    webhook.progress()
    lab.happen("1", "2")
    lab.receiver.answers = [503, "no route", 200, 302, 200]
    waits = []
    while lab.receiver.told != ["1", "2"]:
        list(webhook.steps())
        waits.append(webhook.progress().again - lab.now if webhook.progress().tries else 0.0)
        lab.now += max(waits[-1], 1)
    assert waits == [5.0, 10.0, 5.0, 0.0]
    assert webhook.progress().error == ""


def test_what_failed_is_not_due_before(lab: Lab) -> None:
    webhook = lab.webhook()
    webhook.progress()
    lab.happen("1")
    lab.receiver.answers = [404]
    list(webhook.steps())
    assert (webhook.progress().error, webhook.is_due()) == ("it answered 404", False)
    lab.now += 5
    assert webhook.is_due()


def test_after_days_it_is_given_up(lab: Lab) -> None:
    webhook = lab.webhook()
    webhook.progress()
    lab.happen("1")
    lab.now += 3 * DAY
    lab.happen("2")
    lab.receiver.answers = ["gone"]
    list(webhook.steps())
    assert lab.receiver.told == ["2"]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification, and a secret in plain text."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    mac = hmac.new(b"plain", b"a.1.x", hashlib.sha256).digest()
    assert signed("plain", "a", 1, b"x")["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    assert "webhook-signature" not in signed("", "a", 1, b"x")


def test_the_two_formats() -> None:
    (event,) = docker_event(ENTRY)["events"]
    assert event["target"] == {"digest": "sha256:a", "repository": "team/app", "tag": "1"}
    assert (event["action"], event["actor"]) == ("push", {"name": "alice"})
    assert event["timestamp"] == "2001-09-09T01:46:40Z"
    event = cloud_event(ENTRY)
    assert event["type"] == "dev.nacre.registry.push"
    assert event["subject"] == "team/app:1"
    assert event["data"]["digest"] == "sha256:a"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "ftp://x/"}, "invalid URL"), ({"url": "https://user:secret@x/"}, "invalid URL"),
        ({"url": "https://"}, "invalid URL"), ({"events": ("pull",)}, "unknown event 'pull'"),
        ({"name": ""}, "needs a name"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        WebhookRule(**({"name": "hook", "url": "https://x/"} | fields))
    assert "secret" not in str(caught.value) + caught.value.hint


def test_two_of_one_name() -> None:
    hook = WebhookRule("hook", "https://x/")
    with pytest.raises(UsageError, match="one name"):
        RegistryRules(webhooks=(hook, hook))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254"])
def test_this_machine_and_its_link_are_not_told(host: str) -> None:
    with Client() as client, pytest.raises(RegistryError, match="is not allowed"):
        client.post(f"http://{host}:9/", {}, b"")


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "[fd00::1]", "172.16.0.1"])
def test_private_networks_are_not_told(host: str) -> None:
    with Client() as client, pytest.raises(RegistryError, match="no public address"):
        client.post(f"http://{host}:9/", {}, b"")


def test_a_name_that_means_another_address_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up once, and what counts is where the connection goes; nothing is sent there."""
    with socket.create_server(("127.0.0.1", 0)) as server, Client() as client:
        port, asked = server.getsockname()[1], list[str]()

        def lookup(host: str, *_more: object, **_named: object) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        with pytest.raises(RegistryError, match=r"rebind.example \(127\.0\.0\.1\) is not allowed"):
            client.post(f"http://rebind.example:{port}/hook", {"webhook-signature": "v1,x"}, b"secret")
        assert asked == ["rebind.example"]
        connected, _ = server.accept()
        with connected:
            assert connected.recv(100) == b""


def test_over_a_socket(nacre: Any, tmp_path: Path, api_of: Any) -> None:
    heard: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(
                (self.headers["webhook-signature"], self.rfile.read(int(self.headers["Content-Length"])))
            )
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as receiver:
        Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}/hidden"
        rule = WebhookRule("hook", url, "secret", format="cloudevents", nearby=True)
        config, root = tmp_path / "registry.toml", str(tmp_path / "registry")
        config.write_text(f'[[webhook]]\nname = "hook"\nurl = "{url}"\nsecret = "secret"\nnearby = true\n')
        with (
            Client() as client,
            RunningServer(
                root, rules=RegistryRules(webhooks=(rule,)),
                outgoing=Outgoing(None, lambda *args: client.post(*args[:3], nearby=args[3])),
            ) as serving,
        ):  # fmt: skip
            words = "--config", str(config), "--root", root
            assert nacre("registry", "webhook", "test", *words, "hook").lines == ["hook"]
            shown = nacre("registry", "webhook", "ls", *words)
            assert "hidden" not in shown.out
            assert shown.lines[1].split()[:2] == ["hook", url.removesuffix("/hidden")]
            api_of(serving.url).push_image("app", "1")
            deadline = time.monotonic() + 30
            while len(heard) < 2:
                assert time.monotonic() < deadline
        receiver.shutdown()
    assert json.loads(heard[1][1])["subject"] == "app:1"
    assert all(signature.startswith("v1,") for signature, _ in heard)
