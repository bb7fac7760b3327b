"""Signing in with passwords that an LDAP server knows: who comes in, as whom, and who never does."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("ldap3")
from fakeldap import REFERRAL, FakeLdap, ldap_server
from pagekit import Site
from postgreskit import PostgresServer
from selfsigned import certificate

from nacre.engine.accounts import RegistryAccounts
from nacre.grammars.serving import ConfigSources, read_config
from nacre.services.server.access import signin
from nacre.services.server.access.ldap import LdapServer, escaped, matching, normal
from nacre.stores.registry import RegistryStore
from nacre.words.errors import Unavailable, UsageError
from nacre.words.rules import AccessRules, LdapRules, RegistryRules

BASE = "ou=people,dc=example,dc=org"
STAFF = "cn=Staff,ou=groups,dc=example,dc=org"
OPS = "cn=ops,ou=groups,dc=example,dc=org"
SEARCHER = "cn=registry,dc=example,dc=org"
ALICE = f"uid=alice,{BASE}"


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.fixture
def ldap() -> Iterator[FakeLdap]:
    with ldap_server() as found:
        found.entries[SEARCHER] = {"userPassword": ["search"]}
        add(found, "alice", "wonderland", STAFF.replace("Staff", "staff").replace(",", ", "))
        add(found, "bob", "builder")
        add(found, "root", "from ldap")
        yield found


def add(ldap: FakeLdap, name: str, password: str, *groups: str, number: str = "") -> None:
    ldap.entries[f"uid={name},{BASE}"] = {
        "uid": [name], "userPassword": [password], "entryUUID": [number or f"id of {name}"],
        "memberOf": list(groups),
    }  # fmt: skip


@pytest.fixture
def accounts(accounts: RegistryAccounts) -> RegistryAccounts:
    accounts.add_user("root", "correct horse", admin=True)
    accounts.add_team("crew")
    return accounts


def rules_for(ldap: FakeLdap, **more: Any) -> LdapRules:
    usual: dict[str, Any] = {
        "url": f"ldap://127.0.0.1:{ldap.port}", "bind_dn": SEARCHER, "password": "search", "base": BASE,
        "teams": (f"{STAFF}=crew",), "administrators": (OPS,), "timeout": 1,
    }  # fmt: skip
    return LdapRules(**(usual | more))


@pytest.fixture
def site(folder: str, ldap: FakeLdap, accounts: RegistryAccounts) -> Iterator[Site]:
    rules = RegistryRules(access=AccessRules(ldap=rules_for(ldap)))
    with Site(folder, rules=rules) as found:
        yield found


def status(site: Site, name: str, secret: str, target: str = "/v2/") -> int:
    return int(site.get(target, authorization=basic(name, secret)).status)


def test_the_ways_in(site: Site, ldap: FakeLdap, accounts: RegistryAccounts) -> None:
    assert status(site, "alice", "wonderland") == 200
    assert accounts.teams()[0].members == ("alice",)
    assert status(site, "bob", "builder", "/token?service=nacre-registry") == 200, site.log
    answer = site.post("/-/sign-in", {"name": "alice", "password": "wonderland", "to": "/r"})
    assert (answer.status, answer.headers["location"]) == (303, "/r")
    assert status(site, "alice", "wonderland", "/v2/alice/app/tags/list") == 404
    assert status(site, "bob", "builder", "/v2/alice/app/tags/list") == 403
    assert ldap.binds.count((ALICE, b"wonderland")) == 1
    assert accounts.audit(action="sign in")[0].subject == f"bob of ldap:{BASE}"


def test_the_first_login_with_accounts_in_postgresql(
    folder: str, ldap: FakeLdap, postgresql: PostgresServer
) -> None:
    """Nobody has told the registry yet that there is somebody new."""
    RegistryStore(folder, database=postgresql.new_database()).close()
    with RegistryAccounts(folder, "test") as accounts:
        accounts.add_user("root", "correct horse", admin=True)
    rules = RegistryRules(access=AccessRules(ldap=rules_for(ldap)))
    with Site(folder, rules=rules) as site:
        assert [status(site, name, "x") for name in ("alice", "bob")] == [401] * 2
        assert status(site, "alice", "wonderland") == status(site, "bob", "builder") == 200


def test_wrong_passwords(site: Site, ldap: FakeLdap) -> None:
    assert status(site, "alice", "wonderland") == 200
    for name, secret in (("alice", "x"), ("nobody", "x"), ("Alice", "wonderland"), ("alice", "wonderland ")):
        assert status(site, name, secret) == 401
    for _ in range(10):
        status(site, "bob", "x")
    assert status(site, "bob", "builder") == 429
    assert status(site, "alice", "wonderland") == 200


def test_what_proves_nothing_is_not_sent(site: Site, ldap: FakeLdap) -> None:
    """The server takes a bind without password."""
    for secret in ("", "\0", "\0builder", "\u00ad", "\u200b"):
        assert status(site, "bob", secret) == 401
    assert site.post("/-/sign-in", {"name": "bob", "password": "", "to": "/"}).status == 401
    assert ldap.connections == 0


def test_local_users_are_not_asked_about(site: Site, ldap: FakeLdap, accounts: RegistryAccounts) -> None:
    accounts.add_user("robot", robot=True)
    add(ldap, "robot", "from ldap")
    for name in ("root", "robot"):
        assert status(site, name, "from ldap") == 401
    assert status(site, "root", "correct horse") == 200
    assert ldap.connections == 0


def test_nobody_comes_to_what_others_have(site: Site, ldap: FakeLdap, accounts: RegistryAccounts) -> None:
    accounts.grant("shop", "read", team="crew")
    accounts.add_user("gone", "its password")
    accounts.update_user("gone", disabled=True)
    for name in ("shop", "gone"):
        add(ldap, name, "chosen")
        assert status(site, name, "chosen") == 401
    assert any("the namespace shop belongs to others" in line for line in site.log)
    assert status(site, "bob", "builder") == 200
    add(ldap, "bob", "another", number="a later bob")
    assert status(site, "bob", "another") == 401
    assert any("there is a user bob already" in line for line in site.log)


def test_groups_are_followed(
    site: Site, ldap: FakeLdap, accounts: RegistryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(site, "alice", "wonderland") == 200
    monkeypatch.setattr(signin, "HOLDS", 0.0)
    ldap.entries[ALICE]["memberOf"] = [OPS.upper()]
    assert status(site, "alice", "wonderland") == 200
    assert accounts.teams()[0].members == ()
    assert [one.name for one in accounts.users() if one.administrator] == ["alice", "root"]
    ldap.entries[ALICE]["userPassword"] = ["changed"]
    assert status(site, "alice", "wonderland") == 401


def test_a_server_that_is_down_lets_nobody_in(site: Site, ldap: FakeLdap) -> None:
    ldap.close()
    answer = site.get("/v2/", authorization=basic("alice", "wonderland"))
    assert answer.status == 503
    assert "the server that knows this password cannot be asked now" in answer.text
    page = site.post("/-/sign-in", {"name": "alice", "password": "wonderland", "to": "/"})
    assert page.status == 503
    assert "set-cookie" not in page.headers
    assert sum("cannot be asked" in line for line in site.log) == 1  # it is left alone for a while
    assert status(site, "root", "correct horse") == 200


def test_a_server_that_says_nothing(ldap: FakeLdap) -> None:
    ldap.silent = True
    for scheme in ("ldap", "ldaps"):
        server = LdapServer(rules_for(ldap, url=f"{scheme}://127.0.0.1:{ldap.port}"))
        with pytest.raises(Unavailable, match="cannot be asked"):
            server.entry("alice", "wonderland")


def test_referrals_are_not_followed(site: Site, ldap: FakeLdap) -> None:
    with ldap_server() as other:
        ldap.references = [f"ldap://127.0.0.1:{other.port}/{BASE}??sub"]
        assert status(site, "alice", "wonderland") == 200
        assert status(site, "nobody", "x") == 401
        ldap.answers[f"uid=bob,{BASE}"] = REFERRAL
        assert status(site, "bob", "builder") == 503
        assert status(site, "alice", "wrong") == 401, site.log  # others are still asked about
        assert other.connections == 0


def test_two_entries_are_nobody(ldap: FakeLdap) -> None:
    ldap.entries["uid=alice,ou=other," + BASE] = ldap.entries[ALICE]
    assert LdapServer(rules_for(ldap)).entry("alice", "wonderland") is None


def test_the_searcher_is_refused(ldap: FakeLdap) -> None:
    with pytest.raises(Unavailable, match="bind-dn with its password is refused"):
        LdapServer(rules_for(ldap, password="x")).entry("alice", "wonderland")


def test_the_entry_by_its_name(ldap: FakeLdap) -> None:
    rules = rules_for(ldap, bind_dn="", password="", base="", user_dn=f"uid={{user}},{BASE}")
    found = LdapServer(rules).entry("alice", "wonderland")
    assert found is not None
    assert matching([STAFF, OPS], found.groups) == {STAFF}
    assert found.subject == "entryuuid " + b"id of alice".hex()
    assert LdapServer(rules).entry("alice", "x") is None
    del ldap.entries[ALICE]["entryUUID"]
    found = LdapServer(rules).entry("alice", "wonderland")
    assert found is not None
    assert found.subject == f"dn {ALICE}"


HOSTILE = [
    "*",
    "a*",
    "alice)(uid=*",
    "*)(|(uid=*",
    "\\2a",
    "a\0",
    "alice,ou=x",
    "a+b=c",
    '"',
    "#a",
    " a ",
    "ä",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_names(ldap: FakeLdap, name: str) -> None:
    assert LdapServer(rules_for(ldap)).entry(name, "wonderland") is None
    (asked,) = ldap.filters
    assert asked.getName() == "equalityMatch"
    assert bytes(asked["equalityMatch"]["assertionValue"]) == name.encode()
    assert normal(f"uid={escaped(name)},{BASE}").count("=") == BASE.count("=") + 1


def test_names_that_no_user_can_have_are_not_asked_about(site: Site, ldap: FakeLdap) -> None:
    for name in (*HOSTILE, "../x", "a" * 65):
        assert status(site, name, "wonderland") == 401
    assert ldap.connections == 0


def tls_of(path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
def test_tls_is_verified(tmp_path: Path, scheme: str) -> None:
    right = certificate(tmp_path, "DNS:localhost", file="right.pem")
    wrong = certificate(tmp_path, "DNS:elsewhere", file="wrong.pem")
    for shown, trusted, good in ((right, right, True), (right, wrong, False), (wrong, wrong, False)):
        kind = "tls" if scheme == "ldaps" else "starts_tls"
        with ldap_server(**{kind: tls_of(shown)}) as ldap:
            add(ldap, "alice", "wonderland")
            more = {"bind_dn": "", "password": "", "start_tls": scheme == "ldap"}
            url = f"{scheme}://localhost:{ldap.port}"
            server = LdapServer(rules_for(ldap, url=url, certificates=str(trusted), **more))
            if good:
                assert server.entry("alice", "wonderland")
            else:
                with pytest.raises(Unavailable, match=r"(?i)certificate"):
                    server.entry("alice", "wonderland")
                assert not ldap.binds


def test_a_server_that_begins_no_tls_gets_no_password(ldap: FakeLdap) -> None:
    server = LdapServer(rules_for(ldap, start_tls=True))
    with pytest.raises(Unavailable, match="cannot be asked"):
        server.entry("alice", "wonderland")
    assert not ldap.binds


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"url": "ldap://ldap.example"}, "passwords would go to ldap.example in the clear"),
        ({"url": "ldaps://ldap.example", "start-tls": True}, "start-tls is for ldap://"),
        ({"url": "https://ldap.example"}, "expected ldaps://HOST"),
        ({"url": "ldaps://ldap.example/dc=x"}, "expected ldaps://HOST"),
        ({"url": "ldaps://ldap.example:x"}, "expected ldaps://HOST"),
        ({"base": ""}, "either base, to search below, or user-dn"),
        ({"user-dn": "uid={user}"}, "either base, to search below, or user-dn"),
        ({"filter": "(uid=alice)"}, "filter must hold {user}"),
        ({"filter": "uid={user}"}, "invalid filter"),
        ({"bind-dn": "cn=x"}, "bind-dn and its password go together"),
        ({"teams": ["staff"]}, "expected GROUP=TEAM"),
        ({"timeout": "1h"}, "invalid timeout"),
    ],
)
def test_settings_that_make_no_sense(said: dict[str, Any], why: str) -> None:
    lines = {"url": "ldaps://ldap.example", "base": BASE} | said
    text = "[ldap]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in lines.items())
    with pytest.raises(UsageError) as caught:
        read_config(ConfigSources(text, "registry.toml"), lambda _path: "")
    assert why in caught.value.message
    assert caught.value.message.startswith("registry.toml:")


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_what_is_said(tmp_path: Path) -> None:
    text = f"""
    [ldap]
    url = "ldap://ldap.example"
    start-tls = true
    bind-dn = "cn=registry"
    password-file = "secret"
    base = "{BASE}"
    """
    access = read_config(ConfigSources(text, "registry.toml"), lambda _path: "search\n").rules.access
    assert (access.ldap.password, access.ldap.start_tls) == ("search", True)
    assert access.is_closed


def test_a_registry_that_asks_ldap_is_never_open(tmp_path: Path, ldap: FakeLdap) -> None:
    with RegistryAccounts(str(tmp_path / "empty"), "test") as accounts:
        accounts.invite()  # as `registry serve` does
    rules = RegistryRules(access=AccessRules(ldap=rules_for(ldap)))
    with Site(str(tmp_path / "empty"), rules=rules) as site:
        assert site.get("/v2/").status == 401
        assert status(site, "alice", "wonderland") == 401  # while nobody administers it
        ldap.entries[ALICE]["memberOf"] = [OPS]
        assert status(site, "alice", "wonderland") == 200
