"""Who may do what over the management API: a table of operation × role, each cell a request."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("msgspec")

from nacre.engine.accounts import RegistryAccounts
from nacre.grammars.management.operations import BY_NAME, OPERATIONS
from nacre.services.server import RunningServer

PASSWORD = "long enough"
ROLES = (
    "administrator", "admin", "delete", "write", "read", "stranger", "anybody", "limited", "placed",
    "bearer", "robot",
)  # fmt: skip
"""`limited`: an administrator by a token for reading; `placed`: by one for the namespace `other`; `bearer`:
by a token of `/token`, which says nothing of management; `robot`: a robot that may read.
"""
EVERYBODY, NOBODY = frozenset(ROLES), frozenset[str]()
ADMINISTRATORS = frozenset({"administrator"})
ADMIN = ADMINISTRATORS | {"admin"}
DELETE, WRITE = ADMIN | {"delete"}, ADMIN | {"delete", "write"}
THEMSELVES = ADMIN | {"delete", "write", "read", "stranger"}
READ = WRITE | {"read", "limited", "robot"}
MAY: dict[str, frozenset[str]] = {
    "getDocument": EVERYBODY,
    **dict.fromkeys(("listUsers", "addUser", "getUser", "updateUser", "removeUser"), ADMINISTRATORS),
    **dict.fromkeys(("listTeams", "addTeam", "getTeam", "removeTeam"), ADMINISTRATORS),
    **dict.fromkeys(("joinTeam", "leaveTeam"), ADMINISTRATORS),
    **dict.fromkeys(("listTokens", "addToken", "removeToken"), ADMINISTRATORS),
    **dict.fromkeys(("getAccount", "setOwnPassword", "listOwnTokens"), THEMSELVES),
    **dict.fromkeys(("addOwnToken", "removeOwnToken"), THEMSELVES),
    **dict.fromkeys(("listTrusts", "addTrust", "removeTrust"), ADMINISTRATORS),
    **dict.fromkeys(("listGrants", "listNamespaces", "setQuota"), ADMINISTRATORS),
    **dict.fromkeys(("getNamespace", "updateNamespace", "listMembers"), ADMIN),
    **dict.fromkeys(("grantUser", "revokeUser", "grantTeam", "revokeTeam"), ADMIN),
    "listRepositories": EVERYBODY, "getRepository": READ, "updateRepository": WRITE,
    "removeRepository": ADMIN, "listTags": READ, "removeTag": DELETE, "removeManifest": DELETE,
    "undelete": DELETE, "purge": ADMIN,
    **dict.fromkeys(("listRemoved", "listAudit", "getStorage", "collect", "check", "retain"), ADMINISTRATORS),
    **dict.fromkeys(("listRuns", "getRun", "listWebhooks", "testWebhook"), ADMINISTRATORS),
    **dict.fromkeys(("listReplications", "setReplication", "removeReplication"), ADMINISTRATORS),
    **dict.fromkeys(("listReplicationFailures", "runReplication", "compareReplication"), ADMINISTRATORS),
    **dict.fromkeys(("getBackupNames", "getBackupContent"), ADMINISTRATORS),
}  # fmt: skip
OPEN = {
    "getDocument", "listRepositories", "getRepository", "updateRepository", "removeRepository", "listTags",
    "removeTag", "removeManifest", "undelete", "getStorage",
}  # fmt: skip
"""What everybody may in a registry without accounts: what they may there by the protocol and on the page."""
PLACE = {
    "user": "nobody", "team": "noteam", "token": 9999, "trust": 9999, "tag": "v9", "namespace": "shop/none",
    "repository": "shop/none", "run": "0-0", "webhook": "none",
    "digest": f"sha256:{'0' * 64}", "replication": "none",
}  # fmt: skip
"""Nothing of that is there: who may is told so, and who may not is not."""
BODIES: dict[str, dict[str, Any]] = {
    "addUser": {"name": "alice", "password": PASSWORD}, "updateUser": {}, "addTeam": {"name": "alice"},
    "joinTeam": {"users": ["alice"]}, "leaveTeam": {"users": ["alice"]}, "addToken": {"user": "nobody"},
    "setOwnPassword": {"password": PASSWORD}, "addOwnToken": {"seconds": 60},
    "addTrust": {"issuer": "https://issuer", "claims": {"sub": "*"}, "namespace": "shop"},
    "updateNamespace": {}, "setQuota": {"bytes": 0}, "grantUser": {"role": "read"},
    "grantTeam": {"role": "read"}, "updateRepository": {}, "undelete": {}, "purge": {},
    "collect": {"dry_run": True}, "check": {}, "retain": {}, "testWebhook": {},
    "setReplication": {"registry": "x", "user": "half"}, "runReplication": {}, "compareReplication": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = str(tmp_path_factory.mktemp("shop") / "registry")
    with RegistryAccounts(folder, "test") as accounts:
        accounts.add_user("alice", PASSWORD, admin=True)
        for role in ("admin", "delete", "write", "read"):
            accounts.add_user(role, PASSWORD)
            accounts.grant("shop", role, user=role)
        accounts.add_user("stranger", PASSWORD)
        accounts.add_user("robot", robot=True)
        accounts.grant("shop", "read", user="robot")
        robot = accounts.add_token("robot")[1]
        limited = accounts.add_token("alice", role="read")[1]
        placed = accounts.add_token("alice", namespace="other")[1]
    with RunningServer(folder) as serving:
        yield SimpleNamespace(url=serving.url, secrets={"limited": limited, "placed": placed, "robot": robot})


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a registry without accounts."""
    with RunningServer(str(tmp_path_factory.mktemp("open") / "registry")) as serving:
        yield serving.url


def basic(name: str, secret: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def credentials(shop: SimpleNamespace, api: Any, role: str) -> dict[str, str]:
    if role == "anybody":
        return {}
    if role == "bearer":
        scope = "scope=repository:other:pull"
        answer = api("GET", f"/token?service=nacre-registry&{scope}", Authorization=basic("alice"))
        return {"Authorization": f"Bearer {answer.json['token']}"}
    name = "alice" if role in ("administrator", "limited", "placed") else role
    return {"Authorization": basic(name, shop.secrets.get(role, PASSWORD))}


def asked(api: Any, name: str, **headers: str) -> Any:
    operation, body = BY_NAME[name], None
    if operation.body:
        body, headers["Content_Type"] = json.dumps(BODIES[name]), "application/json"
    return api(operation.method, operation.target(**PLACE), body, **headers)


def test_the_table_has_every_operation() -> None:
    assert set(MAY) == {each.name for each in OPERATIONS}
    assert {each.name for each in OPERATIONS if each.open} == OPEN


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", MAY)
def test_who_may(shop: SimpleNamespace, api_of: Any, name: str, role: str) -> None:
    api = api_of(shop.url)
    answer = asked(api, name, **credentials(shop, api, role))
    if role in MAY[name]:
        assert answer.status in (200, 201, 202, 204, 400, 404, 409), answer.body
    elif role == "anybody":
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    else:
        assert (answer.status, answer.code) == (403, "DENIED")


@pytest.mark.parametrize("name", MAY)
def test_wrong_credentials_let_nobody_in(shop: SimpleNamespace, api_of: Any, name: str) -> None:
    answer = asked(api_of(shop.url), name, Authorization="Bearer nonsense")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", MAY)
def test_a_registry_without_accounts(unguarded: str, api_of: Any, name: str) -> None:
    """Nobody may make themselves its administrator."""
    answer = asked(api_of(unguarded), name)
    if name in OPEN:
        assert answer.status in (200, 204, 404), answer.body
    else:
        assert (answer.status, answer.code) == (403, "DENIED")
        assert "nacre registry user add --admin" in answer.json["errors"][0]["detail"]["hint"]


@pytest.mark.parametrize("name", [each.name for each in OPERATIONS if each.method != "GET"])
def test_a_page_of_another_site_changes_nothing(shop: SimpleNamespace, api_of: Any, name: str) -> None:
    """Also where a browser adds the password that it remembers."""
    api = api_of(shop.url)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://elsewhere"}):
        assert asked(api, name, Authorization=basic("alice"), **headers).status == 403
    if BY_NAME[name].body:
        answer = api(
            BY_NAME[name].method, BY_NAME[name].target(**PLACE), "a=b", Authorization=basic("alice"),
            Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip
        assert answer.status == 415


def test_an_administrator_of_one_namespace_reaches_no_other(shop: SimpleNamespace, api_of: Any) -> None:
    api, headers = api_of(shop.url), {"Authorization": basic("admin"), "Content_Type": "application/json"}
    for namespace in ("shopping", "*", "other/shop", "sho"):
        target = BY_NAME["grantUser"].target(namespace=namespace, user="admin")
        assert api("PUT", target, json.dumps({"role": "admin"}), **headers).status == 403
    target = BY_NAME["grantUser"].target(namespace="shop/new", user="read")
    assert api("PUT", target, json.dumps({"role": "write"}), **headers).status == 200
