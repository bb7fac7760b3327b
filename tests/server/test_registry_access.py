"""Who may do what at a registry with accounts: every role and every action, tokens, failures."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")
from joserfc import jwt
from joserfc.jwk import OctKey

from nacre.services.server import RunningServer
from nacre.services.server.access.authentication import Failures
from nacre.services.server.access.passwords import NOBODY, encoded, matches
from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.model import Role
from nacre.words.errors import RegistryError

SECRET = "correct horse"
STORED = encoded(SECRET)
SOMEBODY = "root", "reader", "writer", "deleter", "owner", "member", "stranger", "gone"


def basic(name: str, secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def accounts(tmp_path: Path, api: Any) -> Iterator[Administration]:
    """Of the registry that runs; four repositories have an image, pushed while it was open."""
    for name in ("shop/app", "public/app", "owner/app", "secret/app"):
        api.push_image(name, "1", name.encode())
    with Administration(str(tmp_path / "registry" / "registry.db"), "test") as found:
        found.users.add("root", STORED, administrator=True)
        for name in SOMEBODY[1:]:
            found.users.add(name, STORED)
        for name, role in (("reader", Role.READ), ("writer", Role.WRITE), ("deleter", Role.DELETE)):
            found.rights.grant("shop", role, user=name)
        found.teams.add("crew")
        found.teams.join("crew", ["member"])
        found.rights.grant("shop/app", Role.WRITE, team="crew")
        found.rights.grant("*", Role.ADMIN, user="gone")
        found.users.change("gone", disabled=True)
        found.rights.set_namespace("public", public=True)
        await_closed(api)
        yield found


def await_closed(api: Any) -> None:
    """Changes hold within 50 ms."""
    deadline = time.monotonic() + 30
    while api("GET", "").status != 401:
        assert time.monotonic() < deadline


def settled(api: Any, path: str, wanted: int, **headers: str) -> None:
    deadline = time.monotonic() + 30
    while api("GET", path, **headers).status != wanted:
        assert time.monotonic() < deadline


ACTIONS = {
    "read": ("GET", "{}/manifests/1"),
    "blob": ("HEAD", "{}/blobs/sha256:" + "0" * 64),
    "tags": ("GET", "{}/tags/list"),
    "referrers": ("GET", "{}/referrers/sha256:" + "0" * 64),
    "upload": ("POST", "{}/blobs/uploads/"),
    "put": ("PUT", "{}/manifests/2"),
    "delete": ("DELETE", "{}/manifests/none"),
    "delete blob": ("DELETE", "{}/blobs/sha256:" + "0" * 64),
}
READS, WRITES = ("read", "blob", "tags", "referrers"), ("upload", "put")
ALL = tuple(ACTIONS)
MAY = {
    "shop/app": {
        "root": ALL, "reader": READS, "writer": READS + WRITES, "deleter": ALL, "member": READS + WRITES,
        "owner": (), "stranger": (), "gone": (), "": (),
    },
    "shop/other": {"member": (), "writer": READS + WRITES},
    "shopping/app": {"deleter": (), "root": ALL},
    "public/app": {"": READS, "stranger": READS, "root": ALL},
    "owner/app": {"owner": ALL, "stranger": (), "root": ALL},
    "secret/app": {"owner": (), "writer": (), "": ()},
    "nowhere/app": {"writer": (), "": ()},
}  # fmt: skip


@pytest.mark.usefixtures("accounts")
def test_each_role_and_each_action(api: Any) -> None:
    """Whoever may not learns nothing, not even whether it is there."""
    for repository, people in MAY.items():
        for name, allowed in people.items():
            for action, (method, path) in ACTIONS.items():
                answer = api(method, path.format(repository), b"{}", **(basic(name) if name else {}))
                known = name not in ("", "gone")
                wanted = {401, 403} - {403 if not known else 401}
                assert (answer.status not in (401, 403)) == (action in allowed), (repository, name, action)
                assert action in allowed or answer.status in wanted, (repository, name, action)


@pytest.mark.usefixtures("accounts")
def test_the_catalog_shows_what_one_may_read(api: Any) -> None:
    def shown(**headers: str) -> Any:
        return api("GET", "_catalog?n=1", **headers).json["repositories"]

    whole = api("GET", "_catalog", **basic("root")).json["repositories"]
    assert whole == ["owner/app", "public/app", "secret/app", "shop/app"]
    asked = api("GET", "_catalog")
    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"].endswith('scope="registry:catalog:*"')
    assert shown(**bearer(token_of(api, "scope=registry:catalog:*"))) == ["public/app"]
    assert api("GET", "_catalog", **basic("reader")).json["repositories"] == ["public/app", "shop/app"]
    for name, scope, found in (
        ("reader", "registry:catalog:*", ["public/app", "shop/app"]),
        ("reader", "repository:shop/app:pull", ["shop/app"]),
        ("root", "repository:shop/app:pull", ["shop/app"]),
        ("root", "registry:catalog:*", whole),
    ):
        token = bearer(token_of(api, f"scope={scope}", **basic(name)))
        assert api("GET", "_catalog", **token).json["repositories"] == found
        assert (api("GET", "secret/app/tags/list", **token).status == 200) is False
    page = api("GET", "_catalog?n=1", **basic("reader"))
    assert 'rel="next"' in page.headers["Link"]


def test_a_mount_reveals_nothing(api: Any, accounts: Administration) -> None:
    secret = json.loads(api("GET", "secret/app/manifests/1", **basic("root")).body)["layers"][0]["digest"]
    query = f"owner/app/blobs/uploads/?mount={secret}&from="
    assert api("POST", query + "secret/app", **basic("owner")).status == 202
    assert api("HEAD", f"owner/app/blobs/{secret}", **basic("owner")).status == 404
    accounts.rights.grant("secret", Role.READ, user="owner")
    settled(api, "secret/app/manifests/1", 200, **basic("owner"))
    assert api("POST", query + "secret/app", **basic("owner")).status == 201


def test_tags_that_stay(api: Any, accounts: Administration) -> None:
    accounts.rights.set_namespace("shop", immutable=("v*",))
    deadline = time.monotonic() + 30
    old = api("GET", "shop/app/manifests/1", **basic("writer"))
    kind = old.headers["Content-Type"]
    new = json.dumps(json.loads(old.body) | {"annotations": {"a": "b"}}).encode()

    def put(tag: str, data: bytes) -> Any:
        return api("PUT", f"shop/app/manifests/{tag}", data, Content_Type=kind, **basic("root"))

    assert [put("v1", old.body).status, put("v1", old.body).status] == [201, 201]
    while (answer := put("v1", new)).status == 201:
        assert time.monotonic() < deadline
        put("v1", old.body)
    assert (answer.status, answer.code) == (409, "DENIED")
    assert put("w1", old.body).status == put("w1", new).status == 201


@pytest.mark.usefixtures("accounts")
def test_uploads_count_for_a_user(api: Any, tmp_path: Path) -> None:
    for name in ("writer", "member"):
        assert api("POST", "shop/app/blobs/uploads/", **basic(name)).status == 202
    with closing(sqlite3.connect(f"file:{tmp_path / 'registry' / 'registry.db'}?mode=ro", uri=True)) as db:
        assert sorted(db.execute("SELECT owner FROM uploads")) == [("user member",), ("user writer",)]


@pytest.mark.usefixtures("accounts")
def test_the_challenge(api: Any) -> None:
    answer = api("PUT", "shop/app/manifests/2", b"{}")
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="{api.url}/token",service="nacre-registry",scope="repository:shop/app:pull,push"'
    )
    proxied = api("GET", "", X_Forwarded_Proto="https", Host="hub.example")
    assert 'realm="https://hub.example/token"' in proxied.headers["WWW-Authenticate"]
    assert api("GET", "", **basic("reader")).status == 200
    assert api("GET", "", **basic("reader", "wrong")).status == 401
    assert api("GET", "", Authorization="Digest x").status == 401


def token_of(api: Any, query: str, **headers: str) -> str:
    answer = api("GET", f"/token?service=nacre-registry&{query}", **headers)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    return str(answer.json["token"])


def test_a_token_is_for_what_was_asked(api: Any, accounts: Administration) -> None:
    pull = bearer(token_of(api, "scope=repository:shop/app:pull", **basic("writer")))
    assert api("GET", "shop/app/manifests/1", **pull).status == 200
    more = api("POST", "shop/app/blobs/uploads/", **pull)
    assert more.status == 401  # the client asks for another token
    assert api("GET", "shop/other/tags/list", **pull).status == 401
    both = bearer(token_of(api, "scope=repository:shop/app:pull,push,delete", **basic("writer")))
    assert api("POST", "shop/app/blobs/uploads/", **both).status == 202
    assert api("DELETE", "shop/app/manifests/1", **both).status == 403
    anybody = bearer(token_of(api, "scope=repository:public/app:pull"))
    assert api("GET", "public/app/manifests/1", **anybody).status == 200
    assert api("GET", "shop/app/manifests/1", **anybody).status == 401
    assert api("GET", "/token?service=other", **basic("writer")).status == 400
    assert api("GET", "/token", **basic("writer", "wrong")).status == 401
    accounts.rights.revoke("shop", user="writer")
    settled(api, "shop/app/manifests/1", 403, **basic("writer"))
    assert api("GET", "shop/app/manifests/1", **pull).status == 403  # a right that is lost is lost at once


@pytest.mark.usefixtures("accounts")
def test_a_token_for_everything_that_one_may(api: Any) -> None:
    """As skopeo asks for one to delete."""
    for name, allowed in (
        ("deleter", (200, 202, 404)),
        ("writer", (200, 202, 403)),
        ("stranger", (403,) * 3),
    ):
        token = bearer(token_of(api, "scope=repository:shop/app:*", **basic(name)))
        for action, status in zip(("read", "upload", "delete"), allowed, strict=True):
            method, path = ACTIONS[action]
            assert api(method, path.format("shop/app"), b"", **token).status == status, (name, action)


@pytest.mark.usefixtures("accounts")
def test_who_may_not_is_told_what(api: Any, accounts: Administration) -> None:
    _, secret = accounts.tokens.add("deleter", role=Role.READ)
    settled(api, "shop/app/manifests/1", 200, **basic("deleter", secret))
    for method, path, who, said in (
        ("GET", "shop/app/manifests/1", {}, "log in to pull from shop/app"),
        ("GET", "secret/app/manifests/1", basic("reader"), "reader may not pull from secret/app"),
        ("POST", "shop/app/blobs/uploads/", basic("reader"), "reader may not push to shop/app"),
        ("DELETE", "shop/app/manifests/1", basic("writer"), "writer may not delete from shop/app"),
        (
            "PUT",
            "shop/app/manifests/2",
            basic("deleter", secret),
            "this token of deleter may not push to",
        ),
    ):
        answer = api(method, path, b"{}" if method == "PUT" else b"", **who)
        assert answer.json["errors"][0]["message"].startswith(said)


@pytest.mark.usefixtures("accounts")
def test_a_token_by_oauth(api: Any) -> None:
    form = f"grant_type=password&service=nacre-registry&username=reader&password={SECRET.replace(' ', '+')}"
    answer = api("POST", "/token", (form + "&scope=repository:shop/app:pull").encode())
    assert api("GET", "shop/app/manifests/1", **bearer(answer.json["access_token"])).status == 200
    assert api("POST", "/token", f"{form}&username={'x' * 9000}".replace("reader", "").encode()).status == 401
    assert api("POST", "/token", b"grant_type=refresh_token").status == 400
    assert api("PUT", "/token", b"").status == 405


def test_forged_tokens(api: Any, accounts: Administration, tmp_path: Path) -> None:
    good = token_of(api, "scope=repository:shop/app:pull", **basic("reader"))
    path = f"file:{tmp_path / 'registry' / 'registry.db'}?mode=ro"
    with sqlite3.connect(path, uri=True) as db:
        (value,) = db.execute("SELECT value FROM settings WHERE name = 'signing_key'").fetchone()
    db.close()
    key, other = OctKey.import_key(base64.b64decode(value)), OctKey.import_key(b"x" * 32)
    claims: dict[str, Any] = jwt.decode(good, key, algorithms=["HS256"]).claims

    def sign(with_key: OctKey = key, algorithm: str = "HS256", **changed: Any) -> str:
        return jwt.encode({"alg": algorithm}, claims | changed, with_key, algorithms=[algorithm])

    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    forged = {
        "none": f"{head}.{good.split('.')[1]}.", "other key": sign(other),
        "other algorithm": sign(algorithm="HS512"),
        "over": sign(exp=int(time.time()) - 1), "not yet": sign(nbf=int(time.time()) + 600),
        "for another": sign(aud="other"), "by another": sign(iss="other"), "of nobody": sign(sub="nobody"),
        "of a disabled user": sign(sub="gone"), "of no token": sign(token=99), "cut": good[:-3], "empty": "",
        "no access": sign(access=[{"name": "shop/app"}]), "odd": sign(token="x", access="y"),
    }  # fmt: skip
    assert api("GET", "shop/app/manifests/1", **bearer(sign())).status == 200
    for why, text in forged.items():
        assert api("GET", "shop/app/manifests/1", **bearer(text)).status == 401, why


def test_tokens_in_the_place_of_passwords(api: Any, accounts: Administration) -> None:
    number, secret = accounts.tokens.add("deleter", role=Role.WRITE, namespace="shop/app")
    _, over = accounts.tokens.add("deleter", seconds=1e-9)
    settled(api, "shop/app/manifests/1", 200, **basic("deleter", secret))
    assert api("POST", "shop/app/blobs/uploads/", **basic("deleter", secret)).status == 202
    assert api("DELETE", "shop/app/manifests/1", **basic("deleter", secret)).status == 403
    assert api("GET", "shop/other/tags/list", **basic("deleter", secret)).status == 403
    assert api("GET", "shop/app/manifests/1", **basic("reader", secret)).status == 401  # another's
    assert api("GET", "shop/app/manifests/1", **basic("deleter", over)).status == 401
    made = bearer(token_of(api, "scope=repository:shop/app:pull,delete", **basic("deleter", secret)))
    assert api("GET", "shop/app/manifests/1", **made).status == 200
    assert api("DELETE", "shop/app/manifests/1", **made).status == 403
    accounts.tokens.remove(number)
    settled(api, "shop/app/manifests/1", 401, **basic("deleter", secret))
    assert api("GET", "shop/app/manifests/1", **made).status == 401


def test_a_token_says_when_it_ends(api: Any, accounts: Administration) -> None:
    _, secret = accounts.tokens.add("reader", seconds=60)
    settled(api, "", 200, **basic("reader", secret))
    assert api("GET", "/token", **basic("reader")).json["expires_in"] == 300
    assert 0 < api("GET", "/token", **basic("reader", secret)).json["expires_in"] <= 60


@pytest.mark.usefixtures("accounts")
def test_guessing_is_slow(api: Any) -> None:
    answers = [api("GET", "", **basic("reader", str(number))).status for number in range(11)]
    assert answers == [401] * 10 + [429]
    assert api("GET", "", **basic("reader")).status == 429
    assert api("GET", "", **basic("writer")).status == 200


@pytest.mark.usefixtures("accounts")
def test_guessing_at_once_is_as_slow(api: Any) -> None:
    with ThreadPoolExecutor(40) as threads:
        guesses = [threads.submit(api, "GET", "", **basic("reader", str(number))) for number in range(40)]
        answers = sorted(guess.result().status for guess in guesses)
    assert answers == [401] * 10 + [429] * 30


@pytest.mark.usefixtures("accounts")
def test_who_is_right_only_waits_for_the_guesses_of_others(api: Any) -> None:
    with ThreadPoolExecutor(40) as threads:
        logins = [threads.submit(api, "GET", "", **basic("reader")) for _ in range(40)]
        assert {login.result().status for login in logins} == {200}


@pytest.mark.usefixtures("accounts")
def test_who_has_logged_in_is_not_kept_out_by_others(api: Any) -> None:
    assert api("GET", "", **basic("reader")).status == 200
    for number in range(11):
        api("GET", "", **basic("reader", str(number)))
    assert api("GET", "", **basic("reader")).status == 200


def test_failures_are_counted_for_each_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("nacre.services.server.access.authentication.time.monotonic", lambda: clock.now)
    failures = Failures()
    for _ in range(10):
        failures.add("::1", "a")
    failures.check("::1", "b")
    failures.check("::2", "a")
    with pytest.raises(RegistryError, match="too many failed logins"):
        failures.check("::1", "a")
    for number in range(90):
        failures.add("::1", str(number))
    with pytest.raises(RegistryError) as caught:
        failures.check("::1", "b")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "60")
    clock.now += 61
    failures.check("::1", "a")


def test_passwords() -> None:
    assert matches(STORED, SECRET)
    assert not matches(STORED, SECRET + "x")
    assert not matches(NOBODY, "")
    assert not matches("", SECRET)
    assert not matches("no hash", SECRET)


def test_without_accounts_it_is_open(serving: RunningServer, api: Any) -> None:
    assert api("GET", "").status == 200
    assert api("GET", "/token").status == 404
    assert api("GET", "", **basic("anybody", "anything")).status == 200


NOBODY_S = ("", "stranger", "reader", "writer", "member", "owner", "robot", "scoped")
"""Who may not see `secret`: also a robot, and a token of the administrator that is for another namespace."""


def test_what_one_may_not_see_is_as_what_is_not_there(api: Any, accounts: Administration) -> None:
    """By every way there is: the same status and text, but for the name. Nothing tells that it exists."""
    found = json.loads(api("GET", "secret/app/manifests/1", **basic("root")).body)
    layer = found["layers"][0]["digest"]
    digest = str(api("HEAD", "secret/app/manifests/1", **basic("root")).headers["Docker-Content-Digest"])
    upload = str(api("POST", "secret/app/blobs/uploads/", **basic("root")).headers["Location"])
    accounts.users.add("robot", "", robot=True)
    accounts.rights.grant("shop", Role.ADMIN, user="robot")
    _, robot = accounts.tokens.add("robot")
    _, scoped = accounts.tokens.add("root", namespace="shop")
    who = {name: basic(name) for name in NOBODY_S} | {"": {}, "robot": basic("robot", robot)}
    who["scoped"] = basic("root", scoped)
    deadline = time.monotonic() + 30
    while api("GET", "", **who["scoped"]).status != 200:
        assert time.monotonic() < deadline
    ways = [
        ("GET", "{}/manifests/1"), ("HEAD", "{}/manifests/1"), ("GET", "{}/manifests/" + digest),
        ("GET", "{}/blobs/" + layer), ("HEAD", "{}/blobs/" + layer), ("GET", "{}/tags/list"),
        ("GET", "{}/tags/list?n=1"), ("GET", "{}/referrers/" + digest), ("PUT", "{}/manifests/2"),
        ("DELETE", "{}/manifests/" + digest), ("DELETE", "{}/blobs/" + layer), ("POST", "{}/blobs/uploads/"),
        ("POST", "{}/blobs/uploads/?mount=" + layer + "&from=public/app"),
        ("GET", "/r/{}"), ("GET", "/r/{}/1"),
        ("GET", "{}" + upload.partition("secret/app")[2]),
        ("PATCH", "{}" + upload.partition("secret/app")[2]),
        ("GET", "/token?service=nacre-registry&scope=repository:{}:pull,push"),
        ("GET", "/api/v1/repositories/{}"),
    ]  # fmt: skip
    for name, fields in who.items():
        for method, path in ways:
            answers = []
            for repository in ("secret/app", "absent/app"):
                answer = api(method, path.format(repository), b"" if method != "GET" else None, **fields)
                challenge = str(answer.headers.get("WWW-Authenticate", ""))
                answers.append((answer.status, _without_name(answer.body, repository),
                                challenge.replace(repository, "NAME")))  # fmt: skip
            assert answers[0] == answers[1], (name, method, path)
            assert answers[0][0] != 500


def _without_name(body: bytes, repository: str) -> bytes:
    """Tokens are signed anew each time."""
    try:
        document = json.loads(body)
    except ValueError:
        return body.replace(repository.encode(), b"NAME").replace(repository.split("/")[0].encode(), b"PART")
    if isinstance(document, dict) and "token" in document:
        claims = json.loads(base64.urlsafe_b64decode(document["token"].split(".")[1] + "=="))
        document = {"access": claims["access"]}
    return json.dumps(document).replace(repository, "NAME").encode()


@pytest.mark.usefixtures("accounts")
def test_content_of_others_is_not_to_be_had_through_one_s_own(api: Any) -> None:
    """By digest, as a part of a manifest, as a subject, by an upload of theirs."""
    secret = json.loads(api("GET", "secret/app/manifests/1", **basic("root")).body)
    digest = str(api("HEAD", "secret/app/manifests/1", **basic("root")).headers["Docker-Content-Digest"])
    layer, config = secret["layers"][0]["digest"], secret["config"]["digest"]
    mine = basic("owner")
    for path in (f"manifests/{digest}", f"blobs/{layer}", f"blobs/{config}", f"blobs/{digest}"):
        assert api("GET", f"owner/app/{path}", **mine).status == 404
    kind = secret["mediaType"]
    stolen = api("PUT", "owner/app/manifests/stolen", json.dumps(secret).encode(), Content_Type=kind, **mine)
    assert (stolen.status, stolen.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert api("GET", f"owner/app/referrers/{digest}", **mine).json["manifests"] == []
    upload = str(api("POST", "secret/app/blobs/uploads/", **basic("root")).headers["Location"])
    theirs = upload.replace("secret/app", "owner/app")
    for method in ("GET", "PATCH", "DELETE"):
        assert api(method, theirs, b"x" if method == "PATCH" else None, **mine).status == 404
    assert api("GET", upload, **basic("root")).status == 204


@pytest.mark.parametrize("skew", [-3600, -30, 30, 3600])
@pytest.mark.usefixtures("accounts")
def test_clocks_of_replicas_that_differ(api: Any, skew: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of a replica whose clock is wrong lives no longer for that."""
    from nacre.services.server.access import bearer, claims

    real = time.time
    for module in (bearer, claims):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: real() + skew))
    token = token_of(api, "scope=repository:shop/app:pull", **basic("reader"))
    monkeypatch.undo()
    said = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert said["exp"] - said["iat"] <= 300
    status = api("GET", "shop/app/manifests/1", Authorization=f"Bearer {token}").status
    assert status == (200 if abs(skew) == 30 else 401)
