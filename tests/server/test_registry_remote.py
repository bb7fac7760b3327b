"""`nacre registry … --url`: the commands of a registry's folder, over the management API of one elsewhere."""

from __future__ import annotations

import base64
import inspect
import json
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("msgspec")

from replicationkit import until

from nacre.engine import Config, Engine
from nacre.engine.accounts import RegistryAccounts
from nacre.engine.network import NetworkSettings
from nacre.engine.registrycontent import RegistryContent
from nacre.engine.remoteaccounts import RemoteAccounts
from nacre.engine.remotecontent import RemoteContent
from nacre.engine.remotereplication import RemoteReplication
from nacre.engine.replication import RegistryReplication, remotes_of
from nacre.engine.wiring import Wiring
from nacre.grammars.wire.auth import Credentials
from nacre.services.server import RunningServer
from nacre.services.server.outgoing import Outgoing
from nacre.words.errors import Conflict, NotFound, Unsupported, UsageError
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST
from nacre.words.rules import GarbageRules, RegistryRules, RetentionRule, WebhookRule

PASSWORD = "long enough"


@pytest.fixture
def rules() -> RegistryRules:
    return RegistryRules(
        garbage=GarbageRules(interval=0.0),
        retention=(RetentionRule(tags=("v*",), newest=1),),
        webhooks=(WebhookRule(name="deploy", url="https://hooks.example/"),),
    )


@pytest.fixture
def shop(folder: str, accounts: RegistryAccounts, rules: RegistryRules, api_of: Any) -> Iterator[Any]:
    """A registry with something of everything, served; `url` and `folder` are where it is."""
    accounts.add_user("alice", PASSWORD, admin=True)
    accounts.add_user("bob", PASSWORD)
    accounts.add_user("ci", robot=True)
    accounts.add_team("crew")
    accounts.join("crew", ["bob"])
    accounts.grant("shop", "write", team="crew")
    accounts.grant("*", "read", user="ci")
    accounts.set_namespace("shop", public=True, immutable=["v*"], quota=10_000_000)
    accounts.add_token("ci", "build", role="write", namespace="shop", expires="30d")
    accounts.add_token("bob")
    accounts.add_trust("https://issuer.example", {"repository": "org/app"}, namespace="shop")
    outgoing = Outgoing(post=lambda *_: 204, remote=remotes_of(Wiring(Config(f"{folder}-store"))))
    with RunningServer(folder, rules=rules, outgoing=outgoing) as serving:
        token = accounts.add_token("alice", "api")[1]
        basic = "Basic " + base64.b64encode(f"alice:{token}".encode()).decode()
        api = api_of(serving.url, Authorization=basic)
        for tag in ("latest", "v1", "v2"):
            api.push_image("web/app", tag, tag.encode())
        api("DELETE", "web/app/manifests/latest")
        yield SimpleNamespace(url=serving.url, folder=folder, token=token, api=api)


@pytest.fixture
def remote(shop: Any, tmp_path: Any) -> Any:
    """As alice."""
    users = ((shop.url.removeprefix("http://"), Credentials("alice", shop.token)),)
    settings = NetworkSettings(users=users)
    with Engine(Config(str(tmp_path / "store"), network=lambda: settings)) as engine:
        yield engine.registries.remote(shop.url)


LISTS = (
    "user ls", "repo ls", "repo tags web/app", "repo inspect web/app", "undelete", "namespace ls",
    "gc --dry-run", "check --read",
)  # fmt: skip


def test_the_same_commands_show_the_same(nacre: Any, shop: Any, tmp_path: Any) -> None:
    """In the folder and over the API."""
    nacre.env["DOCKER_CONFIG"] = str(tmp_path / "docker")
    place = shop.url.removeprefix("http://")
    nacre("login", "-u", "alice", "--password-stdin", place, input=shop.token.encode())
    for words in LISTS:
        command = ["registry", *words.split()]
        here = nacre(*command, "--root", shop.folder)
        there = nacre(*command, "--url", place)
        assert (there.code, there.out) == (here.code, here.out), words
        assert len(there.out) > 2


def test_changes(nacre: Any, shop: Any, tmp_path: Any, accounts: RegistryAccounts) -> None:
    place = shop.url.removeprefix("http://").replace(".", "_").replace(":", "___")
    nacre.env["NACRE_AUTH_" + place] = f"alice:{shop.token}"
    there = ("--url", shop.url)
    nacre("registry", "user", "add", "carol", "--password-stdin", *there, input=PASSWORD.encode())
    nacre("registry", "user", "update", "carol", "--disabled", *there)
    assert [(one.name, one.disabled) for one in accounts.users() if one.name == "carol"] == [("carol", True)]
    secret = nacre("registry", "token", "add", "ci", "--expires", "1h", *there).out.strip()
    assert secret.startswith("nacre_")
    nacre("registry", "repo", "rm", "web/app", *there)
    assert nacre("registry", "undelete", "web/app", *there).out == "web/app\n"
    missing = nacre("registry", "team", "rm", "crew", "none", *there, check=False)
    assert (missing.code, missing.out) == (1, "crew\n")
    assert missing.err == "nacre: no such team: none\n"
    assert nacre("registry", "webhook", "test", "deploy", *there).out == "deploy\n"


@pytest.fixture
def place(nacre: Any, shop: Any, request: pytest.FixtureRequest, tmp_path: Any) -> list[str]:
    """The words for the registry: in its folder, or over the API."""
    if request.param == "root":
        return ["--root", shop.folder]
    variable = "NACRE_AUTH_" + shop.url.removeprefix("http://").replace(".", "_").replace(":", "___")
    nacre.env[variable] = f"alice:{shop.token}"
    return ["--url", shop.url]


both = pytest.mark.parametrize("place", ["root", "url"], indirect=True)


@both
def test_a_repository_is_described_and_what_is_in_it_deleted(
    nacre: Any, place: list[str], tmp_path: Any
) -> None:
    def repo(*words: str, **how: Any) -> Any:
        return nacre("registry", "repo", *words, *place, **how)

    (tmp_path / "README.md").write_text("# Shop ☃\n")
    repo("set", "web/app", "--description", "The  shop\n", "--readme", "README.md")
    said = json.loads(repo("inspect", "web/app").out)[0]
    assert (said["Description"], said["Readme"], said["Tags"]) == ("The shop", "# Shop ☃\n", 2)
    assert said["DescribedBy"] == ("alice" if "--url" in place else f"uid {os.getuid()}")
    repo("set", "web/app", "--readme", "-", input="other")
    said = json.loads(repo("inspect", "web/app").out)[0]
    assert (said["Description"], said["Readme"]) == ("The shop", "other")
    repo("set", "web/app", "--description", "")
    assert json.loads(repo("inspect", "web/app").out)[0]["Description"] == ""
    tags = dict(line.split()[:2] for line in repo("tags", "web/app").lines[1:])
    assert sorted(tags) == ["v1", "v2"]
    assert repo("rm", "web/app:v1").out == "web/app:v1\n"
    assert repo("rm", f"web/app@{tags['v2']}").lines == [f"web/app@{tags['v2']}"]
    assert repo("tags", "web/app", "-q").out == ""
    nacre("registry", "undelete", "web/app:v1", *place)
    assert repo("tags", "web/app", "--quiet").out == "v1\n"


@both
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rm", "web/app:none"], "no tag none in web/app"),
        (["rm", f"web/app@sha256:{'0' * 64}"], f"no manifest sha256:{'0' * 64} in web/app"),
        (["rm", f"web/app:v1@sha256:{'0' * 64}"], "name either the tag or the digest"),
        (["rm", "none"], "no repository none"),
        (["rm", "none:v1"], "no repository none"),
        (["tags", "none"], "no repository none"),
        (["tags", "web/app:v1"], "expected REPOSITORY"),
        (["inspect", "none"], "no repository none"),
        (["set", "none", "--description", "x"], "no repository none"),
        (["set", "web/app"], "nothing to change"),
        (["set", "web/app", "--readme", "missing.md"], "cannot read missing.md"),
    ],
)
def test_what_is_not_there(nacre: Any, place: list[str], words: list[str], said: str) -> None:
    done = nacre("registry", "repo", *words, *place, check=False)
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err


@both
def test_a_description_is_bounded(nacre: Any, place: list[str], tmp_path: Any) -> None:
    (tmp_path / "README.md").write_text("x" * 70_000)
    for words in (["--description", "x" * 201], ["--readme", "README.md"]):
        assert nacre("registry", "repo", "set", "web/app", *words, *place, check=False).code == 1


@both
def test_a_manifest_that_an_index_needs_stays(nacre: Any, shop: Any, place: list[str], make: Any) -> None:
    image = shop.api.push_image("web/app", "child", b"child")
    index = json.dumps(make.index((image.data, OCI_MANIFEST))).encode()
    assert shop.api.put_manifest("web/app", "index", index, OCI_INDEX).status == 201
    done = nacre("registry", "repo", "rm", f"web/app@{image.digest}", *place, check=False)
    assert done.code == 1
    assert "delete that first" in done.err


@both
def test_rules_of_replication(nacre: Any, place: list[str], api_of: Any, tmp_path: Any) -> None:
    """Added, looked at, run and removed while the registry is served, here and from elsewhere."""

    def replication(*words: str, **how: Any) -> Any:
        return nacre("registry", "replication", *words, *place, **how)

    with RunningServer(str(tmp_path / "other")) as other:
        there = api_of(other.url)
        words = ("--registry", f"http://{there.address}", "--prefix", "copies", "--tag", "v2")
        secret = ("--user", "me", "--password-stdin")
        assert replication("add", *words, *secret, "off", input="hidden").out == "off\n"
        wrong = replication("add", *words, "--user", "me", "off", check=False)
        assert wrong.code == 1
        assert "both a user and a password are needed" in wrong.err
        (row,) = map(json.loads, replication("ls", "--format", "json").lines)
        assert (row["Name"], row["Direction"], row["Added"]) == ("off", "push", True)
        assert "hidden" not in json.dumps(row)
        replication("add", *words, "off")
        said = replication("run", "--dry-run", "off").lines
        assert said[-1] in ("off: 1 to copy, 0 unchanged", "off: 0 to copy, 1 unchanged")
        assert replication("run", "off").out == "off: the registry is served: it compares everything now\n"
        until(lambda: there("HEAD", "copies/web/app/manifests/v2").status == 200)
        until(lambda: json.loads(replication("ls", "--format", "json").out)["Done"] == 1)
        assert replication("run", "--dry-run", "off").out == "off: 0 to copy, 1 unchanged\n"
        assert replication("status").lines == ["RULE      NAME      TRIES     NEXT      ERROR"]
        assert replication("rm", "off").out == "off\n"
    assert replication("ls", "-q").out == ""
    missing = replication("rm", "off", check=False)
    assert (missing.code, missing.err) == (1, "nacre: no rule of replication off was added by command\n")
    for words in (["run", "off"], ["run", "--dry-run", "off"], ["status", "off"]):
        failed = replication(*words, check=False)
        assert failed.code == 1
        assert "no rule of replication off" in failed.err


@both
def test_what_failed_is_told(nacre: Any, place: list[str]) -> None:
    words = ("--registry", "http://127.0.0.1:9", "--tag", "v2", "off")
    nacre("registry", "replication", "add", *words, *place)

    def rows() -> list[Any]:
        told = nacre("registry", "replication", "status", *place, "--format", "json")
        return [row for row in map(json.loads, told.lines) if row["Tries"]]

    until(rows)
    (row,) = rows()
    assert (row["Rule"], row["Name"]) == ("off", "web/app:v2")
    assert "127.0.0.1:9" in row["Error"]
    assert row["Next"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["user", "ls", "--root", "x", "--url", "y"], "--root and --url exclude each other"),
        (["gc", "--gc-grace", "1h", "--url", "y"], "--gc-grace cannot be given with it"),
        (["check", "--sparse", "--url", "y"], "--sparse cannot be given with it"),
        (["backup", "d", "--config", "c", "--url", "y"], "--config cannot be given with it"),
        (["replication", "ls", "--config", "c", "--url", "y"], "--config cannot be given with it"),
        (["retention", "--keep-newest", "1", "--url", "y"], "--keep-newest cannot be given with it"),
        (["user", "ls", "--url", "https://h/x"], "expected https://HOST[:PORT]"),
        (["user", "ls", "--url", "ftp://h"], "expected https://HOST[:PORT]"),
        (["user", "ls", "--url", "http://registry.example"], "registry.example is not spoken to by http"),
    ],
)
def test_bad_input(nacre: Any, words: list[str], said: str) -> None:
    done = nacre("registry", *words, check=False)
    assert done.code == 1
    assert said in done.err


def test_one_s_own_account(nacre: Any, shop: Any, tmp_path: Any) -> None:
    """As bob, who administers nothing."""
    place = shop.url.removeprefix("http://")
    variable = "NACRE_AUTH_" + place.replace(".", "_").replace(":", "___")
    nacre.env[variable] = f"bob:{PASSWORD}"
    mine = ("--mine", "--url", place)
    made = nacre("registry", "token", "add", "--label", "laptop", "--expires", "1h", *mine)
    assert made.out.startswith("nacre_")
    rows = [json.loads(line) for line in nacre("registry", "token", "ls", *mine, "--format", "json").lines]
    assert [(row["User"], row["Label"]) for row in rows] == [("bob", ""), ("bob", "laptop")]
    number = str(rows[1]["ID"])
    assert nacre("registry", "token", "rm", number, *mine).out == number + "\n"
    changed = nacre("registry", "user", "passwd", "--password-stdin", "--url", place, input="another one\n")
    assert changed.err == f"log in again: nacre login -u bob {place}\n"
    nacre.env[variable] = "bob:another one"
    for words, said in (
        (["token", "add", "bob", *mine], "name either USER or --mine"),
        (["token", "add", "--url", place], "name either USER or --mine"),
        (["token", "ls", "--mine"], "--url https://HOST"),
        (["token", "rm", number, *mine], f"you have no such token: {number}"),
    ):
        assert said in nacre("registry", *words, check=False).err


def test_who_has_not_logged_in(nacre: Any, shop: Any, tmp_path: Any) -> None:
    nacre.env["DOCKER_CONFIG"] = nacre.env["XDG_RUNTIME_DIR"] = str(tmp_path / "docker")
    place = shop.url.removeprefix("http://")
    done = nacre("registry", "user", "ls", "--url", shop.url, check=False)
    assert done.code == 1
    assert f"nacre login {place}" in done.err
    nacre("login", "-u", "bob", "--password-stdin", place, input=PASSWORD.encode())
    assert "only administrators" in nacre("registry", "user", "ls", "--url", shop.url, check=False).err


def rounded(rows: list[Any]) -> list[list[Any]]:
    """Times travel in microseconds."""
    return [[round(value, 3) if isinstance(value, float) else value for value in row] for row in rows]


def test_accounts(remote: Any, accounts: RegistryAccounts) -> None:
    """What is read over the API is what the folder has."""
    there: RemoteAccounts = remote.accounts
    for name in ("users", "teams", "grants", "namespaces", "tokens", "trusts"):
        assert rounded(getattr(there, name)()) == rounded(getattr(accounts, name)()), name
    assert rounded(there.audit(3)) == rounded(accounts.audit(3))
    assert there.audit(0) == []
    there.join("crew", ["ci"])
    there.revoke("shop", team="crew")
    there.grant("shop", "delete", user="ci")
    there.set_namespace("web", public=False, quota=1000)
    assert there.namespaces() == accounts.namespaces()
    assert there.grants() == accounts.grants()
    with pytest.raises(Conflict, match="alice is the last administrator"):
        there.remove_user("alice")
    with pytest.raises(NotFound, match="no such user: none"):
        there.grant("shop", "read", user="none")
    with pytest.raises(UsageError, match="name either a user or a team"):
        there.grant("shop", "read")
    with pytest.raises(UsageError, match="matches everything"):
        there.add_trust("https://issuer", {"sub": "*"}, namespace="shop")


def test_content(remote: Any) -> None:
    there: RemoteContent = remote.content
    assert there.repositories() == ["web/app"]
    assert there.repositories("web/app") == []
    assert [one.tag for one in there.deleted("web/app")] == ["latest"]
    assert there.undelete("web/app:latest").startswith("web/app:latest@sha256:")
    assert [one.tag for one in there.retain(dry_run=True)] == ["v1"]
    assert [one.tag for one in there.retain()] == ["v1"]
    assert there.purge("web/app:v1") == 1
    assert there.check(read=True, rate=1 << 30).damaged == ()
    assert there.collect()[1].blobs == 0
    (webhook,) = there.webhooks()
    assert (webhook.name, webhook.place, webhook.behind > 0) == ("deploy", "https://hooks.example:443", True)


def test_what_is_no_nacre_registry(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one, or docker's, says that there is no such path."""
    from nacre.grammars.management import operations

    other = operations.BY_NAME["listUsers"]._replace(path="/../../v2/none")
    monkeypatch.setitem(operations.BY_NAME, "listUsers", other)
    with pytest.raises(Unsupported, match="does not offer the management API of registries"):
        remote.accounts.users()


def test_without_the_library(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if "remoteapi" in name or "management" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with Engine(Config(str(tmp_path))) as engine, pytest.raises(Unsupported, match="needs msgspec"):
        engine.registries.remote("registry.example")


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (RegistryAccounts, RemoteAccounts),
        (RegistryContent, RemoteContent),
        (RegistryReplication, RemoteReplication),
    ],
)
def test_both_have_the_same_methods(here: type, there: type) -> None:
    """But for the first administrator, who is made in the folder, and rules, which the other side has."""

    def shape(kind: type, name: str) -> list[tuple[str, object]]:
        signature = inspect.signature(getattr(kind, name))
        return [(one.name, one.kind) for one in signature.parameters.values() if one.name != "rules"]

    missing = {"invite"}
    for name in (name for name in vars(here) if not name.startswith("_") and name not in missing):
        assert shape(here, name) == shape(there, name), name
