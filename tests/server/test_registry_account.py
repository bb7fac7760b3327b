"""The page of one's own account: the password, and tokens that stand for oneself."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("jinja2")

from pagekit import Site, tar_of
from replicationkit import until

from nacre.services.server.access.own import MOST_TOKENS
from nacre.services.server.access.passwords import encoded
from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.model import Role

SECRET, OTHER = "correct horse", "battery staple"
PATH = "/-/account"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """alice administers, bob writes to shop, carol signs in elsewhere and has no password here."""
    with Site(str(tmp_path / "registry")) as found:
        found.image("shop/app", "1", [tar_of({"etc/": None})])
        with administration(found) as accounts:
            accounts.users.add("alice", encoded(SECRET), administrator=True)
            accounts.users.add("bob", encoded(SECRET))
            accounts.users.add("carol", "")
            accounts.rights.grant("shop", Role.WRITE, user="bob")
        until(lambda: found.get("/v2/").status == 401)
        yield found
    assert found.log == []


def administration(site: Site) -> Administration:
    return Administration(f"{site.folder}/registry.db", "test")


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def sign_in(site: Site, name: str, secret: str = SECRET) -> int:
    answer = site.post("/-/sign-in", {"name": name, "password": secret})
    if answer.status == 303:
        site.cookie = answer.headers["set-cookie"].partition(";")[0]
    return int(answer.status)


def sent(site: Site, do: str, **fields: str) -> Any:
    return site.post(PATH, {"token": site.token(PATH), "do": do, **fields})


def made(site: Site, **fields: str) -> str:
    """The secret of a new token."""
    answer = sent(site, "add", **({"role": "write", "namespace": "", "days": "30", "label": "ci"} | fields))
    assert answer.status == 200, answer.words
    assert answer.headers["cache-control"] == "no-store"
    found = re.search(r'id="secret">(nacre_[\w-]+)<', answer.text)
    assert found
    return found[1]


def tags(site: Site, secret: str) -> int:
    return int(site.get("/v2/shop/app/tags/list", authorization=basic("bob", secret)).status)


def test_a_token_is_made_used_and_removed(site: Site) -> None:
    sign_in(site, "bob")
    secret = made(site)
    assert tags(site, secret) == 200
    shown = site.get(PATH)
    assert secret not in shown.text
    assert "ci write everywhere" in shown.words
    (number,) = re.findall(r'name="id" value="(\d+)"', shown.text)
    assert sent(site, "remove", id=number).status == 303
    assert "ci write" not in site.get(PATH).words
    until(lambda: tags(site, secret) == 401)
    with administration(site) as accounts:
        assert [(one.actor, one.action) for one in accounts.audit(2)] == [
            ("bob", "token rm"),
            ("bob", "token add"),
        ]


def test_a_token_has_its_limits(site: Site) -> None:
    sign_in(site, "bob")
    secret = made(site, role="read", namespace="other", label="")
    assert tags(site, secret) in (401, 403)
    with administration(site) as accounts:
        (token,) = accounts.tokens.list()
    assert (token.user, str(token.role), token.namespace) == ("bob", "read", "other")
    assert token.expires - token.created == pytest.approx(30 * 86400, abs=1)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"role": "king", "days": "30"}, "king"),
        ({"role": "read", "days": "10000"}, "How long is the token to last?"),
        ({"role": "read", "days": "30", "namespace": "No Name"}, "No Name"),
        ({"role": "read", "days": "30", "label": "a\x07b"}, "nvalid label"),
    ],
)
def test_what_is_wrong_is_said(site: Site, fields: dict[str, str], said: str) -> None:
    sign_in(site, "bob")
    answer = sent(site, "add", **fields)
    assert answer.status == 400
    assert said in answer.words
    assert sent(site, "nonsense").status == 400


def test_nobody_reaches_the_tokens_of_others(site: Site) -> None:
    with administration(site) as accounts:
        number, _ = accounts.tokens.add("alice")
    sign_in(site, "bob")
    assert "no such token" in sent(site, "remove", id=str(number)).words
    assert site.post(PATH, {"do": "add", "role": "read", "days": "30"}).status == 403
    with administration(site) as accounts:
        assert [token.id for token in accounts.tokens.list()] == [number]


def test_there_are_only_so_many(site: Site) -> None:
    with administration(site) as accounts:
        for _ in range(MOST_TOKENS):
            accounts.tokens.add("bob")
    sign_in(site, "bob")
    assert f"{MOST_TOKENS} tokens already" in sent(site, "add", role="read", days="30").words


def test_the_password_changes_and_other_sessions_end(site: Site) -> None:
    sign_in(site, "bob")
    secret, elsewhere = made(site), site.cookie
    sign_in(site, "bob")
    changed = sent(site, "password", current=SECRET, new=OTHER, again=OTHER)
    assert changed.status == 303
    site.cookie = changed.headers["set-cookie"].partition(";")[0]
    until(lambda: site.get(PATH).status == 200)
    mine, site.cookie = site.cookie, elsewhere
    until(lambda: site.get(PATH).status == 303)
    site.cookie = ""
    assert (sign_in(site, "bob"), sign_in(site, "bob", OTHER)) == (401, 303)
    assert mine
    assert tags(site, secret) == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"current": "guess", "new": OTHER, "again": OTHER}, "The current password is wrong"),
        ({"current": SECRET, "new": OTHER, "again": "another"}, "The new passwords differ"),
        ({"current": SECRET, "new": "short", "again": "short"}, "at least 8 characters"),
        ({"current": SECRET, "new": "x" * 4097, "again": "x" * 4097}, "at most 4096 characters"),
    ],
)
def test_a_password_that_does_not_change(site: Site, fields: dict[str, str], said: str) -> None:
    sign_in(site, "bob")
    answer = sent(site, "password", **fields)
    assert answer.status == 400
    assert said in answer.words
    assert sign_in(site, "bob") == 303


def test_guessing_the_current_password_ends_soon(site: Site) -> None:
    sign_in(site, "bob")
    for _ in range(10):
        assert sent(site, "password", current="guess", new=OTHER, again=OTHER).status == 400
    assert sent(site, "password", current="guess", new=OTHER, again=OTHER).status == 429


def test_only_for_who_signed_in_themselves(site: Site) -> None:
    """A token makes no other token, and nobody has no account."""
    away = site.get(PATH)
    assert (away.status, away.headers["location"]) == (303, "/-/sign-in?to=%2F-%2Faccount")
    assert site.post(PATH, {"do": "add", "role": "admin", "days": "30"}).status == 404
    with administration(site) as accounts:
        _, secret = accounts.tokens.add("bob")
        accounts.users.add("robot", "", robot=True)
        _, robot = accounts.tokens.add("robot")
    for name, known in (("bob", secret), ("robot", robot)):
        field = basic(name, known)
        until(lambda field=field: site.get("/v2/", authorization=field).status == 200)
        assert site.get(PATH, authorization=field).status == 404
        form = {"do": "add", "role": "admin", "days": "30"}
        assert site.post(PATH, form, authorization=field).status == 404
    with administration(site) as accounts:
        assert len(accounts.tokens.list()) == 2


def test_who_signs_in_elsewhere_has_tokens_that_end(site: Site) -> None:
    from nacre.services.server.page.session import COOKIE, Sessions

    accounts = site.registry.state.store.accounts
    carol = accounts.account("carol")
    assert carol is not None
    site.cookie = f"{COOKIE}={Sessions(accounts).begin(carol)}"
    shown = site.get(PATH)
    assert "have no password here" in shown.words
    assert "until it is removed" not in shown.words
    assert sent(site, "add", role="read", days="0").status == 400
    assert sent(site, "password", current="", new=OTHER, again=OTHER).status == 400
    secret = made(site, role="read", days="90")
    assert site.get("/v2/", authorization=basic("carol", secret)).status == 200


def test_a_registry_without_accounts_has_none(tmp_path: Path) -> None:
    with Site(str(tmp_path / "open")) as found:
        assert found.get(PATH).status == 404
        assert "Account" not in found.get("/").words
