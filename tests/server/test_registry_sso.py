"""Signing in on the page by OpenID Connect: what must match, and what a forged answer gets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("jinja2")
from fakeissuer import FakeIssuer, by_secret, issuing
from joserfc.jwk import RSAKey
from pagekit import Site

from nacre.engine.accounts import RegistryAccounts
from nacre.engine.network import fetched
from nacre.services.client import Client
from nacre.services.server.outgoing import Outgoing
from nacre.words.errors import UsageError
from nacre.words.rules import AccessRules, OidcRules, RegistryRules


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with issuing() as found:
        yield found


@pytest.fixture
def accounts(accounts: RegistryAccounts) -> RegistryAccounts:
    accounts.add_user("root", "correct horse", admin=True)
    accounts.add_team("crew")
    return accounts


@pytest.fixture
def site(folder: str, issuer: FakeIssuer, accounts: RegistryAccounts) -> Iterator[Site]:
    oidc = OidcRules(
        issuer=issuer.url, client="registry", secret="s3cret", teams=("staff=crew",), administrators=("ops",)
    )
    rules = RegistryRules(access=AccessRules(oidc=oidc))
    with (
        Client() as client,
        Site(folder, rules=rules, outgoing=Outgoing(partial(fetched, client))) as found,
    ):
        yield found


def begun(site: Site, to: str = "/") -> tuple[dict[str, str], str]:
    """What the issuer is asked, and the cookie."""
    answer = site.get("/-/oidc?" + urlencode({"to": to}))
    assert answer.status == 303
    assert {"HttpOnly", "SameSite=lax"} <= set(answer.headers["set-cookie"].split("; "))
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query)), cookie_of(answer)


def cookie_of(answer: Any) -> str:
    return str(answer.headers["set-cookie"].partition(";")[0])


def signed_in(site: Site, issuer: FakeIssuer, to: str = "/", **claims: Any) -> Any:
    """The whole way; claims that are not as usual are given."""
    asked, cookie = begun(site, to)
    usual = {
        "aud": "registry",
        "nonce": asked["nonce"],
        "sub": "1",
        "preferred_username": "Alice@example.com",
    }
    key = {name: claims.pop(name) for name in ("key", "algorithm") if name in claims}
    issuer.redeem = lambda _form: {"id_token": issuer.token(**key, **(usual | claims))}
    return site.get(f"/-/callback?code=c&state={asked['state']}", cookie=cookie)


def test_the_way_in(site: Site, issuer: FakeIssuer, accounts: RegistryAccounts) -> None:
    page = site.get("/-/sign-in?to=/r/a")
    assert "Single sign-on" in page.words
    asked, _ = begun(site)
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "registry"
    assert asked["redirect_uri"] == "http://registry.example/-/callback"
    answer = signed_in(site, issuer, "/?a=b", groups=["staff", "other"])
    assert (answer.status, answer.headers["location"]) == (303, "/?a=b")
    form = issuer.posted[-1]
    assert (form["client_secret"], form["grant_type"]) == ("s3cret", "authorization_code")
    assert [(one.name, one.administrator) for one in accounts.users()] == [
        ("alice", False),
        ("root", True),
    ]
    assert accounts.teams()[0].members == ("alice",)
    again = signed_in(site, issuer, groups=["ops"], preferred_username="renamed")
    assert again.status == 303
    assert [one.administrator for one in accounts.users()] == [True, True]
    assert accounts.teams()[0].members == ()
    assert accounts.audit(action="sign in")[0].subject.endswith(issuer.url)


def test_the_code_is_bound_by_pkce(site: Site, issuer: FakeIssuer) -> None:
    asked, cookie = begun(site)
    site.get(f"/-/callback?code=c&state={asked['state']}", cookie=cookie)
    digest = hashlib.sha256(issuer.posted[-1]["code_verifier"].encode()).digest()
    assert asked["code_challenge_method"] == "S256"
    assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    other, _ = begun(site)
    assert not {asked[name] for name in ("state", "nonce", "code_challenge")} & set(other.values())


def test_only_the_browser_that_began(site: Site, issuer: FakeIssuer) -> None:
    """Nobody signs another in (CSRF), nor uses what another began."""
    asked, cookie = begun(site)
    other, its_cookie = begun(site)
    posted = len(issuer.posted)
    state = f"/-/callback?code=c&state={asked['state']}"
    session = site.post("/-/sign-in", {"name": "root", "password": "correct horse", "to": "/"})
    for target, given in (
        (state, ""), (state, its_cookie), (f"/-/callback?code=c&state={other['state']}", cookie),
        ("/-/callback?code=c&state=", cookie), ("/-/callback?code=c", cookie), (state, cookie + "x"),
        (state, cookie_of(session).replace("nacre-session", "nacre-oidc")),
    ):  # fmt: skip
        assert site.get(target, cookie=given).status == 400
    assert site.get(f"{state}&iss=https://evil.example", cookie=cookie).status == 403
    assert site.get(f"/-/callback?error=access_denied&state={asked['state']}", cookie=cookie).status == 403
    assert len(issuer.posted) == posted
    site.cookie = cookie.replace("nacre-oidc", "nacre-session")
    assert site.get("/-/sign-in").status == 200
    assert "root" not in site.get("/").words


def test_tokens_that_do_not_hold(site: Site, issuer: FakeIssuer, accounts: RegistryAccounts) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "another nonce": {"nonce": "x"}, "no nonce": {"nonce": None}, "for another client": {"aud": "other"},
        "for two, by another": {"aud": ["registry", "other"], "azp": "other"},
        "for two, by nobody": {"aud": ["registry", "other"]}, "of another issuer": {"iss": "https://e.example"},
        "by another key": {"key": RSAKey.generate_key(2048, {"kid": "rsa"}), "algorithm": "RS256"},
        "over": {"exp": 1}, "without an end": {"exp": None}, "without a subject": {"sub": None},
        "without a name": {"preferred_username": None}, "of others": {"preferred_username": "root"},
        "no name": {"preferred_username": "a b"}, "of a team": {"preferred_username": "crew"},
    }  # fmt: skip
    for why, claims in wrong.items():
        answer = signed_in(site, issuer, **claims)
        assert answer.status == 403, why
        assert "set-cookie" not in answer.headers, why
    asked, cookie = begun(site)
    good = issuer.token(aud="registry", nonce=asked["nonce"], sub="1", preferred_username="alice")
    for text in (by_secret(good, issuer.rsa.as_pem(private=False)), good[:-4], "", None):
        issuer.redeem = lambda _form, text=text: {"id_token": text}
        assert site.get(f"/-/callback?code=c&state={asked['state']}", cookie=cookie).status == 403
    assert [one.name for one in accounts.users()] == ["root"]


def test_nobody_comes_to_a_namespace_by_its_name(
    site: Site, issuer: FakeIssuer, accounts: RegistryAccounts
) -> None:
    accounts.grant("shop/app", "read", user="root")
    accounts.set_namespace("open", public=True)
    basic = "Basic " + base64.b64encode(b"root:correct horse").decode()
    data = b"x"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = f"/v2/filled/app/blobs/uploads/?digest={digest}"
    assert site("POST", path, data, authorization=basic).status == 201
    for name in ("shop", "open", "filled"):
        answer = signed_in(site, issuer, preferred_username=name, sub=name)
        assert answer.status == 403
        assert f"the namespace {name} belongs to others" in answer.words
    assert signed_in(site, issuer, preferred_username="filler", sub="filler").status == 303


def test_a_session_is_new_and_ends(site: Site, issuer: FakeIssuer, accounts: RegistryAccounts) -> None:
    """A cookie that somebody planted before is not taken over (fixation)."""
    planted = "nacre-session=planted"
    site.cookie = planted
    asked, cookie = begun(site)
    issuer.redeem = lambda _form: {
        "id_token": issuer.token(aud="registry", nonce=asked["nonce"], sub="2", preferred_username="bob")
    }
    answer = site.get(f"/-/callback?code=c&state={asked['state']}", cookie=f"{planted}; {cookie}")
    assert answer.status == 303
    assert site.get("/", cookie=planted).words.count("bob") == 0
    accounts.update_user("bob", disabled=True)
    assert signed_in(site, issuer, sub="2", preferred_username="bob").status == 403


def test_an_issuer_that_cannot_be_asked(folder: str, accounts: RegistryAccounts) -> None:
    rules = RegistryRules(access=AccessRules(oidc=OidcRules(issuer="http://127.0.0.1:1", client="a")))
    with (
        Client() as client,
        Site(folder, rules=rules, outgoing=Outgoing(partial(fetched, client))) as site,
    ):
        assert site.get("/-/oidc").status == 503


def test_without_an_issuer_there_is_no_such_page(folder: str, accounts: RegistryAccounts) -> None:
    with Site(folder) as site:
        assert site.get("/-/oidc").status == site.get("/-/callback").status == 404
        assert "Single sign-on" not in site.get("/-/sign-in").words


def test_rules_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="needs the client"):
        OidcRules("https://a.example")
    with pytest.raises(UsageError, match="expected GROUP=TEAM"):
        OidcRules(teams=("a",))
