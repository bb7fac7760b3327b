"""Rate limits: how often one may pull, push and ask."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.services.server.rates import Rate
from nacre.words.errors import UsageError
from nacre.words.rules import RateRules, RegistryRules


def test_as_many_at_once_as_may_be_then_one_by_one() -> None:
    clock = SimpleNamespace(now=100.0)
    rate = Rate(3, 30.0, lambda: clock.now)
    assert [rate.take("a") for _ in range(3)] == [(2, 0.0), (1, 0.0), (0, 0.0)]
    assert rate.take("a") == (0, 10.0)
    assert rate.take("b") == (2, 0.0)
    clock.now += 9
    assert rate.take("a") == (0, 1.0)
    clock.now += 1
    assert rate.take("a") == (0, 0.0)
    clock.now += 1000
    assert rate.take("a") == (2, 0.0)


def test_what_it_remembers_is_bounded() -> None:
    rate = Rate(1, 30.0, remembered=2)
    for key in "abc":
        rate.take(key)
    assert rate.take("a")[1] == 0
    assert rate.take("c")[1] > 0


@pytest.fixture
def rules() -> RegistryRules:
    return RegistryRules(rates=RateRules(pulls=2, pushes=1, window=600, requests=12))


def test_limits_of_an_address(api: Any) -> None:
    """The first image takes three requests; HEAD is no pull."""
    answer = api.push_image("app", "1").answer
    assert answer.headers["RateLimit-Limit"] == "1;w=600"
    assert answer.headers["RateLimit-Remaining"] == "0;w=600"
    refused = api.put_manifest("app", "2", b"{}")
    assert (refused.status, refused.code) == (429, "TOOMANYREQUESTS")
    assert 590 < int(refused.headers["Retry-After"]) <= 601
    for left in (1, 0):
        assert api("HEAD", "app/manifests/1").headers["RateLimit-Limit"] is None
        answer = api("GET", "app/manifests/1")
        assert answer.headers["RateLimit-Remaining"] == f"{left};w=600"
        assert answer.headers["Docker-RateLimit-Source"] == "127.0.0.1"
    refused = api("GET", "app/manifests/1")
    assert refused.status == 429
    assert "more than 2 pulls in 600 seconds" in refused.json["errors"][0]["message"]
    assert 290 < int(refused.headers["Retry-After"]) <= 301
    assert [api("GET", "app/tags/list").status for _ in range(4)] == [200] * 3 + [429]
    assert int(api("GET", "").headers["Retry-After"]) <= 6


def test_users_have_their_own(tmp_path: Any, api_of: Any) -> None:
    pytest.importorskip("sqlalchemy")
    from nacre.engine.accounts import RegistryAccounts

    with RegistryAccounts(str(tmp_path / "r"), "test") as accounts:
        accounts.add_user("alice", "long enough", admin=True)
        accounts.add_user("bob", "long enough")
        accounts.set_namespace("*", public=True)
    rules = RegistryRules(rates=RateRules(pulls=3, anonymous_pulls=1))
    with RunningServer(str(tmp_path / "r"), rules=rules) as serving:
        api = api_of(serving.url)

        def pulls(name: str) -> list[int]:
            who = base64.b64encode(f"{name}:long enough".encode()).decode()
            headers = {"Authorization": f"Basic {who}"} if name else {}
            return [api("GET", "app/manifests/1", **headers).status for _ in range(4)]

        assert pulls("") == [404] + [429] * 3
        assert pulls("alice") == pulls("bob") == [404] * 3 + [429]


def test_rules_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="a second at least"):
        RateRules(window=0.5)
