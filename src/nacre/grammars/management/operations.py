"""The operations of the management API: the one table from which the server dispatches, the client asks, and
the document is made.

    path   = "/api/v1" *( "/" ( word / "{" parameter "}" ) )

A parameter is one part of a path, percent-encoded: the repository `shop/app` is `shop%2Fapp`. Who may is said
by a role in the repository or namespace of the path, by `administrator`, or by
`oneself`: a user with their own password. "" is whoever may come in.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from . import records as r

PREFIX = "/api/v1"
ADMINISTRATOR, ONESELF = "administrator", "oneself"
MOST_PATH = 2048
SQLITE, OCTETS = "application/vnd.sqlite3", "application/octet-stream"
PARAMETERS: dict[str, Any] = {
    "user": r.UserName, "team": r.TeamName, "token": r.Number, "trust": r.Number, "tag": r.TagName,
    "namespace": r.NamespaceName, "repository": r.RepositoryName, "run": r.RunId, "webhook": r.WebhookName,
    "digest": r.DigestText, "replication": r.ReplicationName,
}  # fmt: skip
"""Their types, by name."""


class ApiOperation(NamedTuple):
    """`needs` says who may; `open`: also in a registry without accounts, where nobody is an administrator.
    `media`: the type of an answer that is no record.
    """

    name: str
    method: str
    path: str
    summary: str
    needs: str = ADMINISTRATOR
    status: int = 200
    query: Any = None
    body: Any = None
    answer: Any = None
    open: bool = False
    media: str = ""

    @property
    def group(self) -> str:
        """The first word of the path."""
        return self.path.split("/")[1]

    def target(self, **parameters: str | int) -> str:
        """The path with these values."""
        parts = (
            quote(str(parameters[part[1:-1]]), "") if part.startswith("{") else part
            for part in self.path.split("/")
        )
        return PREFIX + "/".join(parts)


_RULE = "/replications/{replication}"
_USER, _TEAM, _TOKEN, _TRUST = "/users/{user}", "/teams/{team}", "/tokens/{token}", "/trusts/{trust}"
_SPACE, _REPOSITORY = "/namespaces/{namespace}", "/repositories/{repository}"
_GRANT = f"{_SPACE}/grants"
_Page = r.PageQuery
_Endpoint = ApiOperation

OPERATIONS = (
    _Endpoint("getDocument", "GET", "/openapi.json", "This API as an OpenAPI document", "", answer=dict,
              open=True),

    _Endpoint("listUsers", "GET", "/users", "List users", query=_Page, answer=r.UserPage),
    _Endpoint("addUser", "POST", "/users", "Add a user or a robot", status=201, body=r.NewUser,
              answer=r.UserRecord),
    _Endpoint("getUser", "GET", _USER, "Show a user", answer=r.UserRecord),
    _Endpoint("updateUser", "PATCH", _USER, "Change a user", body=r.UserChange, answer=r.UserRecord),
    _Endpoint("removeUser", "DELETE", _USER, "Remove a user with tokens and rights", status=204),

    _Endpoint("listTeams", "GET", "/teams", "List teams with their members", query=_Page, answer=r.TeamPage),
    _Endpoint("addTeam", "POST", "/teams", "Add a team", status=201, body=r.NewTeam, answer=r.TeamRecord),
    _Endpoint("getTeam", "GET", _TEAM, "Show a team", answer=r.TeamRecord),
    _Endpoint("removeTeam", "DELETE", _TEAM, "Remove a team with its rights", status=204),
    _Endpoint("joinTeam", "POST", f"{_TEAM}/join", "Make users members", body=r.TeamMembers,
              answer=r.TeamRecord),
    _Endpoint("leaveTeam", "POST", f"{_TEAM}/leave", "Let members leave", body=r.TeamMembers,
              answer=r.TeamRecord),

    _Endpoint("listTokens", "GET", "/tokens", "List tokens, without their secrets", query=_Page,
              answer=r.TokenPage),
    _Endpoint("addToken", "POST", "/tokens", "Make a token; its secret is told once", status=201,
              body=r.NewToken, answer=r.MadeToken),
    _Endpoint("removeToken", "DELETE", _TOKEN, "Remove a token", status=204),

    _Endpoint("getAccount", "GET", "/account", "Show one's own account", ONESELF, answer=r.AccountRecord),
    _Endpoint("setOwnPassword", "PUT", "/account/password", "Change one's own password", ONESELF, status=204,
              body=r.NewPassword),
    _Endpoint("listOwnTokens", "GET", "/account/tokens", "List one's own tokens, without their secrets",
              ONESELF, query=_Page, answer=r.TokenPage),
    _Endpoint("addOwnToken", "POST", "/account/tokens", "Make a token for oneself; its secret is told once",
              ONESELF, status=201, body=r.NewOwnToken, answer=r.MadeToken),
    _Endpoint("removeOwnToken", "DELETE", "/account/tokens/{token}", "Remove a token of one's own", ONESELF,
              status=204),

    _Endpoint("listTrusts", "GET", "/trusts", "List by what rules tokens of others are exchanged",
              query=_Page, answer=r.TrustPage),
    _Endpoint("addTrust", "POST", "/trusts", "Let jobs of an issuer act in a namespace", status=201,
              body=r.NewTrust, answer=r.MadeTrust),
    _Endpoint("removeTrust", "DELETE", _TRUST, "Remove a rule, and what was given by it", status=204),

    _Endpoint("listGrants", "GET", "/grants", "List all grants", query=_Page, answer=r.GrantPage),
    _Endpoint("listNamespaces", "GET", "/namespaces", "List what was said of namespaces", query=_Page,
              answer=r.NamespacePage),
    _Endpoint("getNamespace", "GET", _SPACE, "Show what was said of a namespace", "admin",
              answer=r.NamespaceRecord),
    _Endpoint("updateNamespace", "PATCH", _SPACE, "Make a namespace public, or tags immutable", "admin",
              body=r.NamespaceChange, answer=r.NamespaceRecord),
    _Endpoint("setQuota", "PUT", f"{_SPACE}/quota", "Bound what a namespace holds", body=r.NewQuota,
              answer=r.NamespaceRecord),
    _Endpoint("listMembers", "GET", _GRANT, "List the grants that hold in a namespace", "admin", query=_Page,
              answer=r.GrantPage),
    _Endpoint("grantUser", "PUT", f"{_GRANT}/users/{{user}}", "Give a user a role", "admin", body=r.NewGrant,
              answer=r.GrantRecord),
    _Endpoint("revokeUser", "DELETE", f"{_GRANT}/users/{{user}}", "Take a role back", "admin", status=204),
    _Endpoint("grantTeam", "PUT", f"{_GRANT}/teams/{{team}}", "Give a team a role", "admin", body=r.NewGrant,
              answer=r.GrantRecord),
    _Endpoint("revokeTeam", "DELETE", f"{_GRANT}/teams/{{team}}", "Take a role back", "admin", status=204),

    _Endpoint("listRepositories", "GET", "/repositories", "Search repositories that may be read", "",
              query=r.RepositoryQuery, answer=r.RepositoryPage, open=True),
    _Endpoint("getRepository", "GET", _REPOSITORY, "Describe a repository", "read",
              answer=r.RepositoryRecord, open=True),
    _Endpoint("updateRepository", "PATCH", _REPOSITORY, "Write what it is for", "write",
              body=r.RepositoryChange, answer=r.RepositoryRecord, open=True),
    _Endpoint("removeRepository", "DELETE", _REPOSITORY, "Delete a repository; it can be restored", "admin",
              status=204, open=True),
    _Endpoint("listTags", "GET", f"{_REPOSITORY}/tags", "List tags", "read", query=r.TagQuery,
              answer=r.TagPage, open=True),
    _Endpoint("removeTag", "DELETE", f"{_REPOSITORY}/tags/{{tag}}", "Delete a tag; it can be restored",
              "delete", status=204, open=True),
    _Endpoint("removeManifest", "DELETE", f"{_REPOSITORY}/manifests/{{digest}}",
              "Delete a manifest with its tags; it can be restored", "delete", status=204, open=True),
    _Endpoint("undelete", "POST", f"{_REPOSITORY}/undelete", "Restore what was deleted or moved", "delete",
              body=r.RemovedReference, answer=r.NamedEntry, open=True),
    _Endpoint("purge", "POST", f"{_REPOSITORY}/purge", "Remove for good what was deleted", "admin",
              body=r.RemovedReference, answer=r.PurgedCount),
    _Endpoint("listRemoved", "GET", "/removed", "List what can be restored", query=r.RemovedQuery,
              answer=r.RemovedPage),

    _Endpoint("listAudit", "GET", "/audit", "List who did what", query=r.AuditQuery, answer=r.AuditPage),
    _Endpoint("getStorage", "GET", "/storage", "Show how much is stored, shared and unused",
              answer=r.StorageRecord, open=True),
    _Endpoint("collect", "POST", "/gc", "Collect what nothing names", status=202, body=r.NewCollection,
              answer=r.RunRecord),
    _Endpoint("check", "POST", "/check", "Prove that every image can be pulled", status=202, body=r.NewCheck,
              answer=r.RunRecord),
    _Endpoint("retain", "POST", "/retention", "Remove tags by the rules of the configuration", status=202,
              body=r.NewCollection, answer=r.RunRecord),
    _Endpoint("getBackupNames", "GET", "/backup/names", "Copy all names and accounts as they are now",
              media=SQLITE),
    _Endpoint("getBackupContent", "GET", "/backup/contents/{digest}", "Read content of any repository",
              media=OCTETS),
    _Endpoint("listRuns", "GET", "/runs", "List what takes long and was asked for", answer=r.RunPage),
    _Endpoint("getRun", "GET", "/runs/{run}", "Show how far one is", answer=r.RunRecord),
    _Endpoint("listWebhooks", "GET", "/webhooks", "List who is told what happens", answer=r.WebhookPage),
    _Endpoint("testWebhook", "POST", "/webhooks/{webhook}/test", "Send a test event", status=204,
              body=r.EmptyRequest),
    _Endpoint("listReplications", "GET", "/replications", "List what replicates, and how far it is",
              answer=r.ReplicationPage),
    _Endpoint("setReplication", "PUT", _RULE, "Add a rule of replication, or replace one that was added",
              body=r.NewReplication, answer=r.ReplicationRecord),
    _Endpoint("removeReplication", "DELETE", _RULE, "Remove a rule that was added", status=204),
    _Endpoint("listReplicationFailures", "GET", f"{_RULE}/failures", "List what waits or was given up",
              query=r.FailureQuery, answer=r.ReplicationFailurePage),
    _Endpoint("runReplication", "POST", f"{_RULE}/run", "Compare and replicate everything now", status=202,
              body=r.EmptyRequest, answer=r.ReplicationRecord),
    _Endpoint("compareReplication", "POST", f"{_RULE}/compare", "Say what a rule would bring", status=202,
              body=r.EmptyRequest, answer=r.RunRecord),
)  # fmt: skip
BY_NAME = {each.name: each for each in OPERATIONS}


class FoundOperations(NamedTuple):
    """The operations of a path by method, and the values of its parameters as text."""

    methods: dict[str, ApiOperation]
    parameters: dict[str, str]


def _shapes() -> dict[tuple[str, ...], dict[str, ApiOperation]]:
    """Operations by method, by the parts of their path."""
    found: dict[tuple[str, ...], dict[str, ApiOperation]] = {}
    for each in OPERATIONS:
        found.setdefault(tuple(each.path.split("/")[1:]), {})[each.method] = each
    return found


_SHAPES = _shapes()


def find(path: str) -> FoundOperations | None:
    """What a path as it was sent, percent-encoded, is about; None if it is nothing's."""
    if len(path) > MOST_PATH or not path.startswith(f"{PREFIX}/"):
        return None
    parts = path.removeprefix(f"{PREFIX}/").split("/")
    for shape, methods in _SHAPES.items():
        values = _values(shape, parts)
        if values is not None:
            return FoundOperations(methods, values)
    return None


def _values(shape: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    if len(shape) != len(parts):
        return None
    found: dict[str, str] = {}
    for part, given in zip(shape, parts, strict=True):
        if part.startswith("{"):
            found[part[1:-1]] = unquote(given, errors="replace")
        elif part != given:
            return None
    return found
