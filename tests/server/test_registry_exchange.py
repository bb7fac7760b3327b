"""CI without secrets: tokens of other issuers, right and wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")
from fakeissuer import FakeIssuer, by_secret, issuing
from joserfc.jwk import ECKey, RSAKey

from nacre.engine.network import fetched
from nacre.services.client import Client
from nacre.services.server import RunningServer
from nacre.services.server.access.exchange import Exchange
from nacre.services.server.access.issuers import Issuers
from nacre.services.server.outgoing import Outgoing
from nacre.services.server.work import Work
from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.model import Role, Trust
from nacre.stores.accounts.reading import Accounts
from nacre.stores.accounts.sources import SqliteSource
from nacre.words.errors import NotFound, UsageError

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
KIND = "urn:ietf:params:oauth:token-type:id_token"
CLAIMS = {"repository": "org/app", "ref": "refs/heads/*"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with issuing() as found:
        yield found


@pytest.fixture
def serving(tmp_path: Path, log: list[str]) -> Iterator[RunningServer]:
    with (
        Client() as client,
        RunningServer(
            str(tmp_path / "r"), log=log.append, outgoing=Outgoing(partial(fetched, client))
        ) as running,
    ):
        yield running


@pytest.fixture
def accounts(
    tmp_path: Path, serving: RunningServer, issuer: FakeIssuer, api: Any
) -> Iterator[Administration]:
    """Jobs of org/app may push to shop for a minute."""
    api.push_image("shop/app", "1")
    api.push_image("other/app", "1", b"other")
    with Administration(str(tmp_path / "r" / "registry.db"), "test") as found:
        found.users.add("root", "$no", administrator=True)
        found.trusts.add(Trust(0, issuer.url, "nacre-registry", CLAIMS, "shop", Role.WRITE, 60))
        deadline = time.monotonic() + 30
        while api("GET", "").status != 401:
            assert time.monotonic() < deadline
        yield found


def exchange(api: Any, token: str, **more: str) -> Any:
    form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": KIND} | more
    return api("POST", "/token", urlencode(form).encode())


def basic(secret: str, name: str = "oidc") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.usefixtures("accounts")
def test_a_job_exchanges_its_token(api: Any, issuer: FakeIssuer) -> None:
    """For what its rule says, and nothing else; as a bearer token, and as a password of docker login."""
    answer = exchange(api, issuer.token())
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    given = answer.json
    assert given["token_type"] == "Bearer"
    assert 50 <= given["expires_in"] <= 60
    token = given["access_token"]
    for who in (bearer(token), basic(token)):
        assert api("GET", "shop/app/manifests/1", **who).status == 200
        assert api("POST", "shop/app/blobs/uploads/", **who).status == 202
        assert api("DELETE", "shop/app/manifests/1", **who).status == 403
        assert api("GET", "other/app/manifests/1", **who).status == 403
        assert api("GET", "_catalog", **who).json == {"repositories": ["shop/app"]}
    scoped = api("GET", "/token?scope=repository:shop/app:pull", **basic(token)).json["token"]
    assert api("GET", "shop/app/manifests/1", **bearer(scoped)).status == 200
    assert api("POST", "shop/app/blobs/uploads/", **bearer(scoped)).status == 401
    assert api("GET", "", **basic(scoped)).status == 401  # a token for one scope is no password
    assert api("GET", "", **basic(token, "root")).status == 401


@pytest.mark.usefixtures("accounts")
def test_a_token_as_a_password(api: Any, issuer: FakeIssuer) -> None:
    """docker sends it again with every command, so it comes more than once; also when it has ended since."""
    for algorithm, key in (("ES256", issuer.ec), ("Ed25519", issuer.ed), ("PS256", issuer.rsa)):
        token = issuer.token(key, algorithm)
        assert api("GET", "shop/app/manifests/1", **basic(token)).status == 200
        assert api("GET", "/token?scope=repository:shop/app:push,pull", **basic(token)).status == 200
    assert exchange(api, token).status == 403  # used already


@pytest.mark.usefixtures("accounts")
def test_the_log_says_why(api: Any, issuer: FakeIssuer, log: list[str]) -> None:
    """The operator's alone: a job is told nothing about the rules."""
    forged = RSAKey.generate_key(2048, {"kid": "rsa"})
    for token, why in (
        (issuer.token(repository="evil/app\n"), r"rule 1 wants repository 'org/app', not 'evil/app\n'"),
        (issuer.token(ref=None), "rule 1 wants ref 'refs/heads/*', not None"),
        (issuer.token(aud=["x", "y" * 500]), "rule 1 wants aud 'nacre-registry', not ['x', 'yyy"),
        (issuer.token(exp=int(time.time()) - 100), "it ended 10"),
        (issuer.token(forged), "it has no signature of its issuer"),
        (issuer.token(iss="https://other.example"), "no rule is for this issuer"),
    ):
        assert "rule 1" not in exchange(api, token).body.decode()
        assert f"was refused: {why}" in log[-1]
        assert len(log[-1]) < 400
    token = issuer.token()
    assert [exchange(api, token).status for _ in range(2)] == [200, 403]
    assert log[-1].endswith("it was used before, or has ended")


@pytest.mark.usefixtures("accounts")
def test_a_token_is_exchanged_once(api: Any, issuer: FakeIssuer) -> None:
    token, unnamed = issuer.token(), issuer.token(jti=None)
    for text in (token, unnamed):
        assert exchange(api, text).status == 200
        again = exchange(api, text)
        assert (again.status, again.code) == (403, "DENIED")
        assert api("GET", "", **basic(text)).status == 401
    assert exchange(api, issuer.token(jti=json.loads(_payload(token))["jti"])).status == 403


def _payload(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[1] + "==")


def wrong(issuer: FakeIssuer) -> dict[str, str]:
    now, good = int(time.time()), issuer.token()
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    embedded = RSAKey.generate_key(2048, {"kid": "rsa"})
    return {
        "unsigned": f"{none}.{body}.",
        "unsigned, with a signature": f"{none}.{body}.{signature}",
        "signed with the public key as a secret": by_secret(good, issuer.rsa.as_pem(private=False)),
        "signed with nothing": by_secret(good, b""),
        "another key of that name": issuer.token(embedded, "RS256", "rsa"),
        "another key": issuer.token(ECKey.generate_key("P-256"), "ES256", "new"),
        "the algorithm of another key": issuer.token(issuer.rsa, "RS256", "ec"),
        "no key named among several": issuer.token(kid=None),
        "a key of odd name": issuer.token(issuer.rsa, "RS256", "../../keys"),
        "another body": f"{head}.{issuer.token(repository='org/app2').split('.')[1]}.{signature}",
        "no signature": f"{head}.{body}.",
        "cut": good[:-4],
        "over": issuer.token(exp=now - 120),
        "without an end": issuer.token(exp=None),
        "an end that is text": issuer.token(exp="never"),
        "an end that is true": issuer.token(exp=True),
        "not yet": issuer.token(nbf=now + 600),
        "of the future": issuer.token(iat=now + 600),
        "for another": issuer.token(aud="https://github.com/org"),
        "for nobody": issuer.token(aud=None),
        "for others": issuer.token(aud=["a", "b"]),
        "without a subject": issuer.token(sub=None),
        "of another repository": issuer.token(repository="org/app2"),
        "of an owner that ends the same": issuer.token(repository="evil/org/app"),
        "without the claim": issuer.token(repository=None),
        "of another kind of claim": issuer.token(repository={"a": "org/app"}),
        "of a pull request": issuer.token(ref="refs/pull/7/merge"),
        "of another issuer": issuer.token(iss="https://token.actions.githubusercontent.com"),
        "of an issuer with a slash": issuer.token(iss=issuer.url + "/"),
        "of no issuer": issuer.token(iss=None),
        "nothing": "",
        "no token": "a.b.c",
        "deep": "ey" + "[" * 4000 + "..",
        "too long": issuer.token(more="x" * 20000),
    }


@pytest.mark.usefixtures("accounts")
def test_wrong_tokens(api: Any, issuer: FakeIssuer, tmp_path: Path) -> None:
    """Neither exchanged nor taken as passwords, whatever is wrong; and the answer tells nothing."""
    cases = wrong(issuer)
    for number, (why, text) in enumerate(cases.items()):
        assert exchange(api, text).status in (400, 403, 429), why
        answer = api("GET", "shop/app/manifests/1", **basic(text))
        assert answer.status in (401, 429), why
        assert number < 5 or answer.status == 429  # guessing is slow
    with closing(sqlite3.connect(f"file:{tmp_path / 'r' / 'registry.db'}?mode=ro", uri=True)) as db:
        assert db.execute("SELECT count(*) FROM spent").fetchone() == (0,)


async def none_of(cases: dict[str, str], exchange: Any) -> dict[str, Any]:
    return {
        why: found for why, text in cases.items() if (found := await exchange.identity(text, "")) is not None
    }


def test_each_wrong_token_by_itself(tmp_path: Path, issuer: FakeIssuer) -> None:
    """Without the limit of guesses in between."""
    path = str(tmp_path / "registry.db")
    with Administration(path, "test") as found:
        found.trusts.add(Trust(0, issuer.url, "nacre-registry", CLAIMS, "shop", Role.WRITE, 60))
    reader, work = Accounts(SqliteSource(path)), Work()
    try:
        with Client() as client:
            made = Exchange(reader, Issuers(partial(fetched, client), work), work)
            cases = wrong(issuer)
            assert asyncio.run(none_of(cases, made)) == {}
            assert set(asyncio.run(none_of({"right": issuer.token()}, made))) == {"right"}
            lists = {"one of several": issuer.token(aud=["a", "nacre-registry"], repository=["a", "org/app"])}
            assert set(asyncio.run(none_of(lists, made))) == set(lists)
    finally:
        work.close()
        reader.close()


def test_a_rule_that_is_gone(api: Any, issuer: FakeIssuer, accounts: Administration) -> None:
    token = exchange(api, issuer.token()).json["access_token"]
    scoped = api("GET", "/token?scope=repository:shop/app:pull", **basic(token)).json["token"]
    assert api("GET", "shop/app/manifests/1", **bearer(token)).status == 200
    accounts.trusts.remove(accounts.trusts.list()[0].id)
    deadline = time.monotonic() + 30
    while api("GET", "shop/app/manifests/1", **bearer(token)).status != 401:
        assert time.monotonic() < deadline
    assert api("GET", "shop/app/manifests/1", **bearer(scoped)).status == 401
    assert exchange(api, issuer.token()).status == 403


@pytest.mark.usefixtures("accounts")
def test_what_is_no_exchange(api: Any, issuer: FakeIssuer) -> None:
    assert exchange(api, "").status == 400
    assert (
        exchange(api, issuer.token(), subject_token_type="urn:ietf:params:oauth:token-type:saml2").status
        == 400
    )


def test_issuers_that_misbehave(api: Any, accounts: Administration, log: list[str]) -> None:
    """One request in ten seconds; the operator is told why, the client is not."""
    odd = {
        "another name": (
            b'{"issuer": "https://elsewhere.example", "jwks_uri": "https://e.example"}',
            "says that it",
        ),
        "no JSON": (b"<html>", "something else than a JSON object"),
        "deep JSON": (b"[" * 60000, "something else than a JSON object"),
        "too much": (b"{" + b" " * (1 << 20), "is over|too|65536"),
    }
    for document, said in odd.values():
        with issuing() as other:
            other.answers["/.well-known/openid-configuration"] = document
            accounts.trusts.add(Trust(0, other.url, "nacre-registry", CLAIMS, "shop", Role.WRITE, 60))
            deadline = time.monotonic() + 30
            while (answer := exchange(api, other.token())).status == 403:
                assert time.monotonic() < deadline
            assert (answer.status, answer.code) == (503, "UNAVAILABLE")
            assert "cannot be asked now" in answer.json["errors"][0]["message"]
            assert exchange(api, other.token()).status == 503
            assert len(other.asked) == 1
            assert any(part in log[0] for part in said.split("|")), log
            log.clear()


def test_keys_that_are_no_good_and_keys_that_are_new(api: Any, accounts: Administration) -> None:
    with issuing() as other:
        accounts.trusts.add(Trust(0, other.url, "nacre-registry", CLAIMS, "shop", Role.WRITE, 60))
        short, secret = other.rsa.as_dict(private=False), {"kty": "oct", "k": "AAAA", "kid": "s"}
        sealed = other.ec.as_dict(private=False) | {"use": "enc"}
        entries = [
            secret,
            sealed,
            {"kty": "RSA", "kid": "x"},
            {"kty": "new"},
            "text",
            short | {"n": "AQAB", "kid": "t"},
        ]
        other.answers["/keys"] = json.dumps({"keys": [*entries, other.ed.as_dict(private=False)]}).encode()
        deadline = time.monotonic() + 30
        while exchange(api, other.token(other.ed, "Ed25519")).status != 200:
            assert time.monotonic() < deadline
        assert exchange(api, other.token(other.ed, "Ed25519", kid=None)).status == 200  # the only key
        assert exchange(api, other.token(other.ec, "ES256")).status == 403
        assert len(other.asked) == 2  # a key that is not known does not make us ask again at once


def test_rules_that_make_no_sense(accounts: Administration) -> None:
    good = Trust(0, "https://a.example", "b", {"c": "d"}, "shop", Role.WRITE, 60)
    for change, said in (
        ({"issuer": "a.example"}, "invalid issuer"),
        ({"issuer": "https://a.example/?b"}, "invalid issuer"),
        ({"audience": ""}, "invalid audience"),
        ({"claims": {}}, "anybody may have a token of that issuer"),
        ({"claims": {"repository": "*"}}, "the claim repository matches everything"),
        ({"namespace": "A"}, "invalid namespace"),
        ({"seconds": 0}, "at most 24 hours"),
        ({"seconds": 1e9}, "at most 24 hours"),
    ):
        with pytest.raises(UsageError, match=said):
            accounts.trusts.add(good._replace(**change))
    with pytest.raises(NotFound, match="no such trust: 99"):
        accounts.trusts.remove(99)


def test_the_commands(nacre: Any, tmp_path: Path) -> None:
    root = "--root", str(tmp_path / "registry")
    issuer = "https://token.actions.githubusercontent.com"
    add = "registry", "trust", "add", issuer, "--claim", "repository=org/app", "--namespace", "shop", *root
    assert nacre(*add, "--role", "write", "--for", "10m").out == "1\n"
    shown = nacre("registry", "trust", "ls", *root).out
    assert "repository=org/app" in shown
    assert "600s" in shown
    for words, said in (
        ((*add, "--claim", "x"), "invalid claim 'x': expected NAME=PATTERN"),
        (("registry", "trust", "add", issuer, "--claim", "a=b", *root), "say where the jobs may act"),
        (("registry", "trust", "rm", "x", *root), "invalid trust 'x'"),
    ):
        assert said in nacre(*words, check=False).err
    nacre("registry", "trust", "rm", "1", *root)
    assert "trust rm" in nacre("registry", "audit", *root).out
