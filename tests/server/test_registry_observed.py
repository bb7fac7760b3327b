"""What a registry tells its operator: lines of requests, their ids, and metrics."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.stores.accounts.administration import Administration
from nacre.stores.registry import RegistryStore
from nacre.words.rules import LogRules, MetricsRules, RegistryRules

PASSWORD = "correct horse"


@pytest.fixture
def rules() -> RegistryRules:
    return RegistryRules(metrics=MetricsRules("the token"))


class TestJson:
    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    @pytest.fixture
    def told(self, tmp_path: Path, api_of: Any, lines: list[str]) -> Iterator[Any]:
        rules = RegistryRules(log=LogRules("json"))
        root = str(tmp_path / "r")
        with RunningServer(root, rules=rules, log=lines.append, access=lines.append) as serving:
            yield api_of(serving.url)

    def test_a_request(self, told: Any, lines: list[str]) -> None:
        found = told("GET", "team/app/manifests/1?x=%7F", X_Request_Id="from-a.proxy:1")
        assert found.headers["X-Request-Id"] == "from-a.proxy:1"
        said = json.loads(lines[-1])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said.pop("time"))
        assert 0 <= said.pop("milliseconds") < 60_000
        assert said.pop("bytes") == len(found.body)
        assert said.pop("target").startswith("/v2/team/app/manifests/1?x=")
        assert said == {
            "level": "info", "message": "request", "id": "from-a.proxy:1", "client": "127.0.0.1",
            "method": "GET", "status": 404, "repository": "team/app",
        }  # fmt: skip

    def test_a_failure_of_the_registry(
        self, told: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nacre.services.server.app.check_namespace", lambda _request: 1 / 0)
        found = told("GET", "")
        assert found.status == 500
        failure, request = map(json.loads, lines[-2:])
        assert (failure["level"], request["level"]) == ("error", "error")
        assert "ZeroDivisionError" in failure["message"]
        assert found.json["errors"][0]["detail"] == {"request": request["id"]}


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, "<script>", "-x", "é"])
def test_an_id_that_is_not_sane_is_replaced(api: Any, given: str) -> None:
    found = api("GET", "", X_Request_Id=given.encode("latin-1"))
    assert re.fullmatch("[0-9a-f]{16}", found.headers["X-Request-Id"])


def test_who_asks_is_in_the_line(tmp_path: Path, api_of: Any) -> None:
    lines: list[str] = []
    with RunningServer(closed(tmp_path), access=lines.append) as serving:
        api_of(serving.url)("GET", "", Authorization=basic("admin"))
        assert re.fullmatch(r'127\.0\.0\.1 "GET /v2/" 200 2 [\d.]+ms admin', lines[-1])


def closed(folder: Path) -> str:
    """A registry with an administrator and a user."""
    from nacre.services.server.access.passwords import encoded

    root = folder / "closed"
    RegistryStore(str(root)).close()
    with Administration(str(root / "registry.db"), "test") as accounts:
        accounts.users.add("admin", encoded(PASSWORD), administrator=True)
        accounts.users.add("user", encoded(PASSWORD))
    return str(root)


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()


LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')


def samples(api: Any, **headers: str) -> dict[str, float]:
    found = api("GET", "/metrics", **headers)
    assert found.status == 200
    assert found.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in found.body.decode().split("\n") if line and not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines), lines
    pairs = [line.rpartition(" ") for line in lines]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: float(value) for name, _, value in pairs}


def test_requests_are_counted(api: Any) -> None:
    image = api.push_image("app", "1")
    api.begin("app")
    for _ in range(3):
        assert api("GET", "app/manifests/1").body == image.data
    api("HEAD", "app/manifests/1")
    api("GET", "app/manifests/none")
    api("PROPFIND", "app/manifests/1")
    api("GET", "/no/such/path")
    found = samples(api)
    manifests = 'route="/v2/{name}/manifests/{reference}"'
    assert found[f'nacre_requests_total{{method="GET",{manifests},status="200"}}'] == 3
    assert found[f'nacre_requests_total{{method="GET",{manifests},status="404"}}'] == 1
    assert found[f'nacre_requests_total{{method="other",{manifests},status="405"}}'] == 1
    assert found['nacre_requests_total{method="GET",route="other",status="404"}'] == 1
    assert found[f'nacre_sent_bytes_total{{method="GET",{manifests},status="200"}}'] == 3 * len(image.data)
    assert found[f'nacre_sent_bytes_total{{method="HEAD",{manifests},status="200"}}'] == 0
    assert found[f'nacre_received_bytes_total{{method="PUT",{manifests},status="201"}}'] == len(image.data)
    assert found[f'nacre_request_duration_seconds_count{{method="GET",{manifests}}}'] == 4
    assert found[f'nacre_request_duration_seconds_bucket{{method="GET",{manifests},le="+Inf"}}'] == 4
    assert (found["nacre_tags"], found["nacre_manifests"], found["nacre_uploads"]) == (1, 1, 1)
    assert (found["nacre_requests_running"], found["nacre_stopping"]) == (1, 0)
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert 'nacre_requests_total{method="GET",route="/metrics",status="200"}' in samples(api)


def test_who_may_read_them(api: Any, tmp_path: Path, api_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api("GET", "/metrics", X_Forwarded_For="192.0.2.1").status == 401
    assert samples(api, X_Forwarded_For="192.0.2.1", Authorization="Bearer the token")
    assert api("GET", "/metrics", Authorization="Bearer another").status == 401
    assert api("POST", "/metrics").status == 405
    with RunningServer(closed(tmp_path)) as serving:
        there = api_of(serving.url)
        assert samples(there)
        monkeypatch.setattr("nacre.services.server.exposition.is_loopback", lambda _host: False)
        for name, status in (("admin", 200), ("user", 401), ("nobody", 401)):
            assert there("GET", "/metrics", Authorization=basic(name)).status == status
        refused = there("GET", "/metrics")
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="metrics"')
