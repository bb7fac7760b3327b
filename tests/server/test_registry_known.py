"""Answers that need no event loop: the same as those that come from it, and never older than a change."""

from __future__ import annotations

import base64
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.services.server.known import KnownAnswers
from nacre.stores.accounts.model import Role
from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.oci import OCI_INDEX
from nacre.words.rules import ActivityRules, RateRules, RegistryRules

PATIENCE = 30
LARGE = b"x" * (300 << 10)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many requests of each method were answered without the event loop."""
    count: Counter[str] = Counter()
    usual = KnownAnswers.send

    def send(self: KnownAnswers, scope: Any, send: Any) -> bool:
        done = usual(self, scope, send)
        count[scope["method"]] += done
        return done

    monkeypatch.setattr(KnownAnswers, "send", send)
    return count


@pytest.fixture
def serving(
    folder: str, known: Counter[str], rules: RegistryRules, log: list[str], lines: list[str]
) -> Iterator[RunningServer]:
    with RunningServer(folder, rules=rules, log=log.append, access=lines.append) as running:
        yield running
    assert log == []


def until_known(
    api: Any, known: Counter[str], method: str, path: str, status: int = 200, **headers: str
) -> Any:
    """Ask until the answer is a known one, of this status."""
    deadline = time.monotonic() + PATIENCE
    while True:
        before = known[method]
        found = api(method, path, **headers)
        assert found.status == status
        if known[method] > before:
            return found
        assert time.monotonic() < deadline


def told(answer: Any) -> tuple[Any, ...]:
    """What tells an answer from others."""
    own = ("x-request-id", "date")
    return answer.body, sorted((k.lower(), v) for k, v in answer.headers.items() if k.lower() not in own)


def paths(image: Any, large: str) -> dict[str, tuple[str, str]]:
    layer = Digest.of(image.layer)
    return {
        "blob": ("GET", f"app/blobs/{layer}"), "blob there": ("HEAD", f"app/blobs/{layer}"),
        "large blob there": ("HEAD", f"app/blobs/{large}"), "by tag": ("GET", "app/manifests/1"),
        "by tag there": ("HEAD", "app/manifests/1"), "by digest": ("GET", f"app/manifests/{image.digest}"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what", ["blob", "blob there", "large blob there", "by tag", "by tag there", "by digest"]
)
def test_it_says_what_the_event_loop_says(api: Any, known: Counter[str], what: str) -> None:
    image = api.push_image("app", "1")
    method, path = paths(image, api.push_blob("app", LARGE))[what]
    usual = api(method, f"{path}?x=1")
    assert known[method] == 0
    assert told(until_known(api, known, method, path)) == told(usual)


def test_its_id_and_its_line(api: Any, known: Counter[str], lines: list[str], serving: RunningServer) -> None:
    digest = api.push_blob("app", b"content")
    ids = {until_known(api, known, "GET", f"app/blobs/{digest}").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3
    found = until_known(api, known, "GET", f"app/blobs/{digest}", X_Request_Id="from-a.proxy:1")
    assert found.headers["X-Request-Id"] == "from-a.proxy:1"
    assert re.fullmatch(rf'127\.0\.0\.1 "GET /v2/app/blobs/{digest}" 200 7 [\d.]+ms', lines[-1])
    counts = serving.registry.metrics.counts["GET", "/v2/{name}/blobs/{reference}", 200]
    assert counts.sent == 7 * counts.count == 7 * len([line for line in lines if "GET" in line])


def test_what_is_not_there(api: Any, known: Counter[str], lines: list[str]) -> None:
    """A push begins with that question; it is asked again when it was pushed."""
    digest = Digest.of(b"content")
    path, deadline = f"app/blobs/{digest}", time.monotonic() + PATIENCE
    usual = api("HEAD", f"{path}?x=1")
    while not known["HEAD"]:
        found = api("HEAD", path)
        assert time.monotonic() < deadline
    assert (found.status, told(found)) == (404, told(usual))
    assert re.search(rf'"HEAD /v2/{path}" 404 {found.headers["Content-Length"]} ', lines[-1])
    api.push_blob("app", b"content")
    assert api("HEAD", path).status == 200


@pytest.mark.parametrize("given", [{"Range": "bytes=0-1"}, {"If_None_Match": "*"}])
def test_who_wants_less_gets_less(api: Any, known: Counter[str], given: dict[str, str]) -> None:
    digest = api.push_blob("app", b"content")
    until_known(api, known, "GET", f"app/blobs/{digest}")
    assert api("GET", f"app/blobs/{digest}", **given).status in (206, 304)


def test_an_index_is_not_for_everybody(api: Any, known: Counter[str], make: Any) -> None:
    image = api.push_image("app", "1")
    index = json.dumps(make.index((image.data, "application/vnd.oci.image.manifest.v1+json"))).encode()
    assert api.put_manifest("app", "all", index, OCI_INDEX).status == 201
    accepted = {"Accept": OCI_INDEX}
    assert until_known(api, known, "GET", "app/manifests/all", **accepted).body == index
    before = known["GET"]
    assert api("GET", "app/manifests/all", Accept="application/vnd.oci.image.manifest.v1+json").body == index
    assert known["GET"] == before


def test_what_this_process_changes_holds_at_once(api: Any, known: Counter[str]) -> None:
    first, second = (api.push_image("app", "1", content) for content in (b"first", b"second"))
    for number in range(20):
        image = (first, second)[number % 2]
        assert api.put_manifest("app", "1", image.data).status == 201
        assert api("GET", "app/manifests/1").body == image.data
        assert api("HEAD", "app/manifests/1").headers["Docker-Content-Digest"] == image.digest
    digest = api.push_blob("app", b"content")
    until_known(api, known, "GET", f"app/blobs/{digest}")
    assert api("DELETE", f"app/blobs/{digest}").status == 202
    assert api("GET", f"app/blobs/{digest}").status == api("HEAD", f"app/blobs/{digest}").status == 404
    assert known["GET"] > 1


def settled(ask: Callable[[], Any], status: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while ask().status != status:
        assert time.monotonic() < deadline


def test_what_another_process_changes(api: Any, known: Counter[str], folder: str) -> None:
    digest = api.push_blob("app", b"content")
    until_known(api, known, "HEAD", f"app/blobs/{digest}")
    with closing(
        Catalog(SqliteDatabase(f"{folder}/registry.db"), FolderContents(lambda _digest: None))
    ) as other:
        assert other.delete_blob("app", Digest(digest))
    settled(lambda: api("HEAD", f"app/blobs/{digest}"), 404)


def test_a_file_that_is_gone(api: Any, known: Counter[str], folder: str) -> None:
    digest = api.push_blob("app", b"content")
    until_known(api, known, "HEAD", f"app/blobs/{digest}")
    Path(folder, "blobs", "sha256", Digest(digest).hex).unlink()
    settled(lambda: api("HEAD", f"app/blobs/{digest}"), 404)


def test_what_is_about_to_go_is_not_known(api: Any, known: Counter[str], serving: RunningServer) -> None:
    digest = api.push_blob("app", b"content")
    mentions = serving.registry.state.mentions
    with mentions.condemned([("app", digest)]) as going:
        assert going == {("app", digest)}
        assert api("HEAD", f"app/blobs/{digest}").status == 404
    assert api("HEAD", f"app/blobs/{digest}").status == 200


def test_telling_keeps_it(api: Any, known: Counter[str], serving: RunningServer) -> None:
    digest = api.push_blob("app", b"content")
    until_known(api, known, "HEAD", f"app/blobs/{digest}")
    with serving.registry.state.mentions.condemned([("app", digest)]) as going:
        assert going == set()


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


class TestClosed:
    @pytest.fixture
    def image(self, api: Any, folder: str) -> Any:
        """Of a registry that is closed then; `reader` may read it with the password "x"."""
        pytest.importorskip("sqlalchemy")
        from nacre.services.server.access.passwords import encoded
        from nacre.stores.accounts.administration import Administration

        image = api.push_image("app", "1")
        with Administration(f"{folder}/registry.db", "test") as accounts:
            accounts.users.add("root", encoded("x"), administrator=True)
            accounts.users.add("reader", encoded("x"))
            accounts.rights.grant("app", Role.READ, user="reader")
        settled(lambda: api("GET", "app/manifests/1"), 401)
        return image

    @pytest.mark.parametrize("way", ["Basic", "Bearer"])
    def test_who_may(self, api: Any, known: Counter[str], image: Any, way: str, lines: list[str]) -> None:
        headers = basic("reader", "x")
        if way == "Bearer":
            token = api("GET", "/token?scope=repository:app:pull", **headers).json["token"]
            headers = {"Authorization": f"Bearer {token}"}
        assert until_known(api, known, "GET", "app/manifests/1", **headers).body == image.data
        assert lines[-1].endswith("ms reader")

    @pytest.mark.parametrize("headers", [{}, basic("reader", "y"), basic("nobody", "x")])
    def test_who_may_not(self, api: Any, known: Counter[str], image: Any, headers: dict[str, str]) -> None:
        until_known(api, known, "GET", "app/manifests/1", **basic("reader", "x"))
        before = known["GET"]
        assert api("GET", "app/manifests/1", **headers).status == 401
        assert known["GET"] == before

    def test_a_right_that_is_taken_back(self, api: Any, known: Counter[str], image: Any, folder: str) -> None:
        from nacre.stores.accounts.administration import Administration

        headers = basic("reader", "x")
        until_known(api, known, "GET", "app/manifests/1", **headers)
        with Administration(f"{folder}/registry.db", "test") as accounts:
            accounts.rights.revoke("app", user="reader")
        settled(lambda: api("GET", "app/manifests/1", **headers), 403)

    def test_another_repository(self, api: Any, known: Counter[str], image: Any) -> None:
        headers = basic("reader", "x")
        until_known(api, known, "GET", "app/manifests/1", **headers)
        assert api("GET", "secret/manifests/1", **headers).status == 403


@pytest.mark.parametrize(
    "rules",
    [RegistryRules(rates=RateRules(pulls=1000)), RegistryRules(activity=ActivityRules(pulls=("app",)))],
)
def test_what_looks_at_each_request_sees_it(api: Any, known: Counter[str]) -> None:
    image = api.push_image("app", "1")
    for _ in range(3):
        assert api("GET", "app/manifests/1").body == image.data
    assert known["GET"] == 0


def test_a_warning_is_in_it(folder: str, known: Counter[str], api_of: Any) -> None:
    with RunningServer(folder, rules=RegistryRules(warning="moves soon")) as serving:
        api = api_of(serving.url)
        digest = api.push_blob("app", b"content")
        found = until_known(api, known, "HEAD", f"app/blobs/{digest}")
        assert "moves soon" in found.headers["Warning"]
        missing = until_known(api, known, "HEAD", f"app/blobs/sha256:{'0' * 64}", 404)
        assert "Warning" not in missing.headers
