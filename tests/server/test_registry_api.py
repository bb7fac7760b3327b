"""The management API: what each operation does, and that refusals are those of the protocol."""

from __future__ import annotations

import base64
import json
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("msgspec")

from replicationkit import until

from nacre.engine.accounts import RegistryAccounts
from nacre.grammars.management.operations import BY_NAME, OPERATIONS, find
from nacre.services.server import RunningServer
from nacre.services.server.access.own import DAY, OwnTokens, check_own_password
from nacre.services.server.management.app import Management
from nacre.services.server.outgoing import Outgoing
from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.model import Role
from nacre.stores.accounts.reading import KnownUser
from nacre.words.errors import Conflict, UsageError
from nacre.words.rules import GarbageRules, RegistryRules, RetentionRule, WebhookRule

PASSWORD = "long enough"
ROOT = Path(__file__).resolve().parents[2]
Ask = Callable[..., Any]


def basic(name: str, secret: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.fixture
def closed(accounts: RegistryAccounts) -> None:
    """There is an administrator from the start."""
    accounts.add_user("alice", PASSWORD, admin=True)


@pytest.fixture
def ask(closed: None, api: Any) -> Ask:
    """Ask for an operation, as alice unless it is said otherwise; gives what JSON says."""

    def ask(name: str, body: Any = None, query: str = "", status: int = 0, by: str = "", **place: Any) -> Any:
        operation = BY_NAME[name]
        headers = {"Authorization": by or basic("alice")}
        data = None
        if operation.body:
            data, headers["Content_Type"] = json.dumps(body or {}), "application/json"
        answer = api(operation.method, operation.target(**place) + query, data, **headers)
        assert answer.status == (status or operation.status), answer.body
        if answer.status >= 400:
            return answer.json["errors"][0]
        return answer.json if operation.answer else answer.body

    return ask


def ended(ask: Ask, run: dict[str, Any]) -> Any:
    """A run when it is over."""
    while run["state"] == "running":
        run = ask("getRun", run=run["id"])
    return run


# ── the document ──


def test_the_document_is_kept_in_the_docs() -> None:
    """`python tools/openapi.py` writes it."""
    tool = runpy.run_path(str(ROOT / "tools" / "openapi.py"))
    assert tool["PAGE"].read_bytes() == tool["encoded"]()


def test_the_document_is_served(api: Any, serving: RunningServer) -> None:
    answer = api("GET", "/api/v1/openapi.json")
    assert answer.body == (ROOT / "docs" / "registry-openapi.json").read_bytes()
    said = {
        (path, method.upper())
        for path, methods in answer.json["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert said == {("/api/v1" + each.path, each.method) for each in OPERATIONS}


def test_every_operation_has_a_handler(serving: RunningServer) -> None:
    assert Management(serving.registry).operations == set(BY_NAME)


def test_the_page_says_what_there_is() -> None:
    who = {"administrator": "administrator", "": "everybody", "oneself": "oneself"}
    page = (ROOT / "docs" / "registry-api.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{each.method} {each.path}` | {who.get(each.needs, f'`{each.needs}`')} | {each.summary} |"
        for each in OPERATIONS
    ]


def test_paths() -> None:
    found = find("/api/v1/repositories/shop%2Fapp/tags/v1")
    assert found is not None
    assert found.parameters == {"repository": "shop/app", "tag": "v1"}
    assert BY_NAME["removeTag"].target(repository="shop/app", tag="v1") == (
        "/api/v1/repositories/shop%2Fapp/tags/v1"
    )
    assert find("/api/v1/users/a/b") is None
    assert find("/api/v1/" + "x" * 4000) is None


# ── people ──


def test_users(ask: Ask) -> None:
    made = ask("addUser", {"name": "bob", "password": PASSWORD})
    assert (made["name"], made["robot"], made["created"][-1]) == ("bob", False, "Z")
    assert ask("addUser", {"name": "bob", "password": PASSWORD}, status=409)["code"] == "CONFLICT"
    ask("addUser", {"name": "ci", "robot": True})
    assert [user["name"] for user in ask("listUsers")["users"]] == ["alice", "bob", "ci"]
    assert ask("listRepositories", by=basic("bob"))["repositories"] == []
    assert ask("updateUser", {"password": "another one", "disabled": False}, user="bob")["disabled"] is False
    assert ask("listRepositories", by=basic("bob"), status=401)["code"] == "UNAUTHORIZED"
    assert ask("updateUser", {"disabled": True}, user="bob")["disabled"] is True
    ask("listRepositories", by=basic("bob", "another one"), status=401)
    ask("removeUser", user="bob")
    assert ask("getUser", user="bob", status=404)["message"] == "no such user: bob"
    refused = ask("updateUser", {"administrator": False}, user="alice", status=409)
    assert refused["detail"] == {"hint": "make another one first"}


def test_one_s_own_account(ask: Ask) -> None:
    ask("addUser", {"name": "bob", "password": PASSWORD})
    bob, other = basic("bob"), {"namespace": "shop", "role": "read", "seconds": 60, "label": "ci"}
    assert ask("getAccount", by=bob) == {"name": "bob", "administrator": False, "has_password": True}
    theirs, mine = ask("addToken", {"user": "alice"}), ask("addOwnToken", other, by=bob)
    (shown,) = ask("listOwnTokens", by=bob)["tokens"]
    assert (shown["id"], shown["label"], shown["role"]) == (mine["id"], "ci", "read")
    refused = ask("addOwnToken", by=basic("bob", mine["secret"]), status=403)
    assert "own password alone" in refused["message"]
    ask("removeOwnToken", token=theirs["id"], by=bob, status=404)
    ask("setOwnPassword", {"password": "another one"}, by=bob)
    ask("getAccount", by=bob, status=401)
    ask("removeOwnToken", token=mine["id"], by=basic("bob", "another one"))
    assert [each["actor"] for each in ask("listAudit", query="?action=token%20rm")["entries"]] == ["bob"]


def test_who_has_no_password_here_gets_tokens_that_end(accounts: RegistryAccounts, folder: str) -> None:
    """They come over LDAP."""
    account = KnownUser(2, "carol", "", False, False, {})
    accounts.add_user("alice", PASSWORD, admin=True)
    accounts.add_user("carol")
    with Administration(f"{folder}/registry.db", "carol") as opened:
        own = OwnTokens(opened, account)
        for seconds in (0, 91 * DAY):
            with pytest.raises(UsageError, match="90 days at most"):
                own.add("", role=Role.READ, namespace="*", seconds=seconds)
        assert own.add("", role=Role.READ, namespace="*", seconds=DAY)[1].startswith("nacre_")
    with pytest.raises(Conflict, match="no password here"):
        check_own_password(account, PASSWORD)


def test_a_right_holds_at_once_and_is_gone_at_once(ask: Ask, api: Any) -> None:
    ask("addUser", {"name": "bob", "password": PASSWORD})
    bob, image = {"Authorization": basic("bob")}, "shop/app/tags/list"
    assert api("GET", image, **bob).status == 403
    assert ask("grantUser", {"role": "read"}, namespace="shop", user="bob")["role"] == "read"
    assert api("GET", image, **bob).status == 404
    ask("revokeUser", namespace="shop", user="bob")
    assert api("GET", image, **bob).status == 403
    assert ask("revokeUser", namespace="shop", user="bob", status=404)["code"] == "NOT_FOUND"


def test_teams(ask: Ask) -> None:
    ask("addTeam", {"name": "crew"})
    ask("addUser", {"name": "bob", "password": PASSWORD})
    assert ask("joinTeam", {"users": ["bob", "alice"]}, team="crew")["members"] == ["alice", "bob"]
    ask("leaveTeam", {"users": ["alice", "nobody"]}, team="crew", status=404)
    assert ask("getTeam", team="crew")["members"] == ["alice", "bob"], "all or nobody"
    assert ask("leaveTeam", {"users": ["alice"]}, team="crew")["members"] == ["bob"]
    ask("grantTeam", {"role": "write"}, namespace="shop", team="crew")
    grants = ask("listMembers", namespace="shop/app")["grants"]
    assert grants == [{"namespace": "shop", "role": "write", "user": "", "team": "crew"}]
    assert ask("listMembers", namespace="other")["grants"] == []
    ask("removeTeam", team="crew")
    assert ask("listGrants")["grants"] == []


def test_tokens(ask: Ask) -> None:
    ask("addUser", {"name": "ci", "robot": True})
    new = {"user": "ci", "label": "build", "role": "write", "namespace": "shop", "seconds": 3600}
    made = ask("addToken", new)
    assert made["secret"].startswith("nacre_")
    (token,) = ask("listTokens")["tokens"]
    assert (token["id"], token["label"], token["role"]) == (made["id"], "build", "write")
    assert token["expires"] > token["created"]
    ask("listRepositories", by=basic("ci", made["secret"]))
    ask("removeToken", token=made["id"])
    ask("listRepositories", by=basic("ci", made["secret"]), status=401)


def test_trusts(ask: Ask) -> None:
    claims = {"repository": "org/app"}
    made = ask("addTrust", {"issuer": "https://issuer", "claims": claims, "namespace": "shop"})
    (trust,) = ask("listTrusts")["trusts"]
    assert (trust["id"], trust["claims"], trust["seconds"]) == (made["id"], claims, 900.0)
    body = {"issuer": "https://issuer", "claims": {"sub": "*"}, "namespace": "shop"}
    assert "matches everything" in ask("addTrust", body, status=400)["message"]
    ask("removeTrust", trust=made["id"])
    assert ask("listTrusts")["trusts"] == []


# ── namespaces and content ──


def test_namespaces(ask: Ask, api: Any) -> None:
    said = ask("updateNamespace", {"public": True, "immutable": ["v*"]}, namespace="shop")
    assert (said["public"], said["immutable"], said["quota"]) == (True, ["v*"], 0)
    assert ask("updateNamespace", {"public": False}, namespace="shop")["immutable"] == ["v*"]
    assert ask("setQuota", {"bytes": 10}, namespace="shop")["quota"] == 10
    blob = "shop/app/blobs/uploads/?digest=sha256:" + "0" * 64
    assert api("POST", blob, b"x" * 20, Authorization=basic("alice")).code == "DENIED"
    assert ask("getNamespace", namespace="other")["public"] is None
    assert [one["name"] for one in ask("listNamespaces")["namespaces"]] == ["shop"]
    assert ask("setQuota", {"bytes": 0}, namespace="shop")["quota"] == 0


def pushed(api: Any, name: str, *tags: str) -> Any:
    """An image under each tag, by alice; the last of them."""
    pusher = type(api)(api.url, Authorization=basic("alice"))
    return [pusher.push_image(name, tag) for tag in tags][-1]


def names(page: Any) -> list[str]:
    return [one["name"] for one in page["repositories"]]


def test_repositories(ask: Ask, api: Any) -> None:
    for name in ("a", "shop/app", "shop/web"):
        pushed(api, name, "1", "2", "3")
    page = ask("listRepositories", query="?n=2")
    assert (names(page), page["next"]) == (["a", "shop/app"], "shop/app")
    assert names(ask("listRepositories", query="?last=shop/app")) == ["shop/web"]
    assert ask("updateRepository", {"summary": "a  shop"}, repository="shop/app")["summary"] == "a shop"
    found = ask("updateRepository", {"readme": "# Shop"}, repository="shop/app")
    assert (found["summary"], found["readme"], found["described_by"]) == ("a shop", "# Shop", "alice")
    assert (found["tags"], found["contents"]) == (3, 3)
    assert names(ask("listRepositories", query="?q=A%20SHOP")) == ["shop/app"]
    tags = ask("listTags", query="?n=2", repository="shop/app")
    assert ([one["tag"] for one in tags["tags"]], tags["next"]) == (["1", "2"], "2")
    assert ask("getRepository", repository="none", status=404)["message"] == "no repository none"


def test_a_list_tells_nothing_of_what_may_not_be_read(ask: Ask, api: Any) -> None:
    for name in ("a/secret", "b/open", "c/secret"):
        pushed(api, name, "1")
    ask("updateNamespace", {"public": True}, namespace="b")
    answer = api("GET", "/api/v1/repositories?n=1")
    assert names(answer.json) == ["b/open"]
    assert b"secret" not in answer.body + str(answer.headers).encode()


def test_deleting_and_undeleting(ask: Ask, api: Any) -> None:
    image = pushed(api, "shop/app", "1", "2")
    ask("removeTag", repository="shop/app", tag="1")
    assert ask("removeTag", repository="shop/app", tag="1", status=404)["message"] == "no tag 1 in shop/app"
    (entry,) = ask("listRemoved", query="?repository=shop/app")["removed"]
    assert (entry["kind"], entry["tag"], entry["actor"]) == ("tag", "1", "alice")
    back = ask("undelete", {"tag": "1"}, repository="shop/app")
    assert back["name"] == f"shop/app:1@{image.digest}"
    ask("removeRepository", repository="shop/app")
    ask("getRepository", repository="shop/app", status=404)
    assert ask("undelete", repository="shop/app")["name"] == "shop/app"
    assert ask("getRepository", repository="shop/app")["tags"] == 2
    ask("removeRepository", repository="shop/app")
    assert ask("purge", repository="shop/app")["entries"] > 3
    ask("undelete", repository="shop/app", status=404)


# ── upkeep ──


def test_the_audit_in_pages(ask: Ask, api: Any) -> None:
    ask("addUser", {"name": "bob", "password": PASSWORD})
    pushed(api, "app", "1")
    ask("addTeam", {"name": "crew"})
    ask("removeTag", repository="app", tag="1")
    until(lambda: ask("listAudit", query="?action=login")["entries"])  # it is written a second later
    everything = [(each["action"], each["subject"]) for each in ask("listAudit")["entries"]]
    paged: list[tuple[str, str]] = []
    page = {"next": ""}
    while page["next"] or not paged:
        page = ask("listAudit", query=f"?n=1&last={page['next']}")
        paged += [(each["action"], each["subject"]) for each in page["entries"]]
    assert paged == everything
    assert {"user add", "team add", "push", "delete"} <= {action for action, _ in everything}
    assert ask("listAudit", query="?action=team%20add")["entries"][0]["actor"] == "alice"
    assert ask("listAudit", query="?since=2999-01-01T00:00:00Z")["entries"] == []


class TestUpkeep:
    @pytest.fixture
    def rules(self) -> RegistryRules:
        kept = RetentionRule(tags=("v*",), newest=1)
        return RegistryRules(garbage=GarbageRules(grace=0.0, interval=0.0), retention=(kept,))

    def test_collection(self, ask: Ask, api: Any) -> None:
        pushed(api, "app", "1")
        blob = f"app/blobs/uploads/?digest={DIGEST}"
        assert api("POST", blob, b"", Authorization=basic("alice")).status == 201
        assert ask("getStorage")["stored"] > 0
        dry = ended(ask, ask("collect", {"dry_run": True}))
        assert (dry["state"], dry["dry_run"], dry["gc"]["unused"]["blobs"]) == ("done", True, 1)
        run = ended(ask, ask("collect"))
        assert (run["state"], run["by"], run["kind"]) == ("done", "alice", "gc")
        assert [each["id"] for each in ask("listRuns")["runs"]] == [run["id"], dry["id"]]
        assert ask("getRun", run="0-0", status=404)["code"] == "NOT_FOUND"

    def test_check(self, ask: Ask, api: Any, serving: RunningServer) -> None:
        image = pushed(api, "app", "1")
        run = ended(ask, ask("check", {"read": True}))
        assert (run["check"]["manifests"], run["check"]["damaged"]) == (1, [])
        hexadecimal = image.digest.removeprefix("sha256:")
        blob = Path(serving.registry.state.store.root, "blobs", "sha256", hexadecimal)
        blob.unlink()  # it is read-only
        blob.write_bytes(b"damage")
        (found,) = ended(ask, ask("check"))["check"]["damaged"]
        assert (found["repository"], found["references"], found["digest"]) == ("app", ["1"], image.digest)

    def test_retention(self, ask: Ask, api: Any) -> None:
        pushed(api, "app", "v1", "v2", "other")
        dry = ended(ask, ask("retain", {"dry_run": True}))
        assert [each["tag"] for each in dry["retention"]["tags"]] == ["v1"]
        assert ended(ask, ask("retain"))["retention"]["count"] == 1
        assert [each["tag"] for each in ask("listTags", repository="app")["tags"]] == ["other", "v2"]


DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_without_rules_there_is_no_retention(ask: Ask) -> None:
    assert ask("retain", status=400)["code"] == "REQUEST_INVALID"


def test_one_of_a_kind_runs_at_a_time(ask: Ask, serving: RunningServer) -> None:
    from nacre.stores.runs import Runs

    runs = Runs(serving.registry.state.catalog)
    run = runs.begin("gc", "bob", dry_run=False)
    assert ask("collect", status=409)["message"] == "gc is running already"
    runs.end(run)
    ended(ask, ask("collect", {"dry_run": True}))


def test_webhooks(folder: str, closed: None, api_of: Any) -> None:
    told: list[bytes] = []
    answers = iter((204, 500))

    def post(url: str, headers: Any, body: bytes, nearby: bool) -> int:
        told.append(body)
        return next(answers)

    rule = WebhookRule(name="deploy", url="https://hooks.example/secret")
    rules = RegistryRules(webhooks=(rule,))
    with RunningServer(folder, rules=rules, outgoing=Outgoing(post=post)) as serving:
        api = api_of(serving.url)
        headers = {"Authorization": basic("alice"), "Content_Type": "application/json"}
        (found,) = api("GET", "/api/v1/webhooks", **headers).json["webhooks"]
        assert (found["name"], found["place"]) == ("deploy", "https://hooks.example:443")
        assert api("POST", "/api/v1/webhooks/deploy/test", "{}", **headers).status == 204
        answer = api("POST", "/api/v1/webhooks/deploy/test", "{}", **headers)
        assert answer.status == 409
        assert answer.json["errors"][0]["message"] == "webhook deploy: it answered 500"
        assert len(told) == 2


def test_a_run_ends_with_the_registry(folder: str, closed: None, api_of: Any, monkeypatch: Any) -> None:
    """And whoever looks later is told so."""
    from nacre.stores.garbage import GarbageCollector

    begun = threading.Event()

    def steps(_self: Any) -> Any:
        while True:
            begun.set()
            yield None

    headers = {"Authorization": basic("alice"), "Content_Type": "application/json"}
    with monkeypatch.context() as patched:
        patched.setattr(GarbageCollector, "steps", steps)
        with RunningServer(folder, rules=RegistryRules(garbage=GarbageRules(interval=0.0))) as serving:
            run = api_of(serving.url)("POST", "/api/v1/gc", "{}", **headers).json
            assert begun.wait(60)
    with RunningServer(folder) as serving:
        found = api_of(serving.url)("GET", f"/api/v1/runs/{run['id']}", **headers).json
    assert (found["state"], found["error"]) == ("failed", "the registry was stopped")


# ── the form of requests and refusals ──


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a registry of which alice is the administrator."""
    folder = str(tmp_path_factory.mktemp("governed") / "registry")
    with RegistryAccounts(folder, "test") as accounts:
        accounts.add_user("alice", PASSWORD, admin=True)
    with RunningServer(folder) as serving:
        yield serving.url


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/none", None, 404),
        ("GET", "/api/v1/users?n=0", None, 400),
        ("GET", "/api/v1/users?n=x", None, 400),
        ("GET", "/api/v1/users?n=1&n=2", None, 400),
        ("GET", "/api/v1/users?more=1", None, 400),
        ("GET", "/api/v1/runs?n=1", None, 400),
        ("GET", "/api/v1/users/Alice", None, 400),
        ("GET", "/api/v1/repositories/%00", None, 400),
        ("GET", "/api/v1/repositories?q=%00", None, 400),
        ("DELETE", "/api/v1/tokens/x", None, 400),
        ("DELETE", "/api/v1/tokens/-1", None, 400),
        ("PUT", "/api/v1/users", None, 405),
        ("POST", "/api/v1/users", "", 400),
        ("POST", "/api/v1/users", "[]", 400),
        ("POST", "/api/v1/users", '{"name": "bob", "admin": true}', 400),
        ("POST", "/api/v1/users", '{"name": "bob", "password": "short"}', 400),
        ("POST", "/api/v1/teams", '{"name": "a/b"}', 400),
        ("POST", "/api/v1/teams", '{"name": "a\\n"}', 400),
        ("POST", "/api/v1/tokens", '{"user": "alice", "label": "\\ud800"}', 400),
        ("POST", "/api/v1/tokens", '{"user": "alice", "label": "\\u0000"}', 400),
        ("POST", "/api/v1/tokens", '{"user": "alice", "seconds": 1e300}', 400),
        ("POST", "/api/v1/users", "[" * 100_000, 400),
        ("POST", "/api/v1/users", " " * (2 << 20), 413),
    ],
)
def test_what_is_not_understood(
    governed: str, api_of: Any, method: str, path: str, body: str | None, status: int
) -> None:
    headers = {"Authorization": basic("alice"), "Content_Type": "application/json"}
    answer = api_of(governed)(method, path, body, **headers)
    assert answer.status == status
    assert answer.code
    assert answer.status != 405 or answer.headers["Allow"] == "GET, HEAD, POST"


def test_pages_are_linked_as_the_protocol_does(ask: Ask, api: Any) -> None:
    for name in ("bob", "carol"):
        ask("addUser", {"name": name, "password": PASSWORD})
    answer = api("GET", "/api/v1/users?n=2", Authorization=basic("alice"))
    assert answer.headers["Link"] == '</api/v1/users?n=2&last=bob>; rel="next"'
    last = api("GET", "/api/v1/users?n=2&last=bob", Authorization=basic("alice"))
    assert ([one["name"] for one in last.json["users"]], last.headers["Link"]) == (["carol"], None)


def test_head_is_get_without_the_body(closed: None, api: Any) -> None:
    answer = api("HEAD", "/api/v1/users", Authorization=basic("alice"))
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 10
    assert answer.headers["Cache-Control"] == "no-store"


def test_it_is_loaded_when_it_is_asked_for() -> None:
    """A registry at rest has neither the API nor what it needs in memory."""
    code = """if True:
        import sys, nacre.services.server
        print([name for name in sys.modules if "management" in name or name == "msgspec"])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
