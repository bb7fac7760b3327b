"""What travels over the management API.

Requests refuse fields that they do not know; answers may get more in a later version. Times are RFC 3339.
"""

# Annotations are read when the module is loaded: no `TYPE_CHECKING` here.
from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
MOST_README = 64 << 10
MOST_SUMMARY = 200
MOST_ENTRIES = 1000
"""Entries of a page."""
_EVER = 100 * 366 * 24 * 3600

UserName = Annotated[str, Meta(min_length=1, max_length=64, pattern=f"^{_COMPONENT}$")]
TeamName = UserName
RepositoryName = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=f"^{_COMPONENT}(?:/{_COMPONENT})*$")
]
NamespaceName = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=rf"^(?:\*|{_COMPONENT}(?:/{_COMPONENT})*)$")
]
TagName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
DigestText = Annotated[str, Meta(max_length=135, pattern=r"^sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})$")]
Number = Annotated[int, Meta(ge=0, le=10**15)]
"""Of a token or a trust."""
RunId = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[0-9a-f-]+$")]
WebhookName = Annotated[str, Meta(min_length=1, max_length=100)]
ReplicationName = Annotated[str, Meta(min_length=1, max_length=100)]
RoleName = Literal["read", "write", "delete", "admin"]
Secret = Annotated[str, Meta(min_length=8, max_length=4096)]
Label = Annotated[str, Meta(max_length=255)]
Cursor = Annotated[str, Meta(max_length=512)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 60)]
Seconds = Annotated[float, Meta(ge=0, le=_EVER)]


class Asked(Struct, kw_only=True, forbid_unknown_fields=True):
    """What somebody sends to us."""


class Answered(Struct, kw_only=True):
    """What comes back to them."""


class PageQuery(Asked):
    """A page of a list: at most `n` entries after `last`, which is the `next` of the page before."""

    n: Annotated[int, Meta(ge=1, le=MOST_ENTRIES)] = 100
    last: Cursor = ""


class NamedEntry(Answered):
    """The name of what there is now."""

    name: str


# ── people ──


class UserRecord(Answered):
    """Somebody who may log in; a robot does so by tokens alone."""

    id: int
    name: str
    administrator: bool
    robot: bool
    disabled: bool
    created: datetime


class UserPage(Answered):
    """A page of users, by name."""

    users: list[UserRecord]
    next: str = ""


class NewUser(Asked):
    """A user with a password, or a robot, which has none."""

    name: UserName
    password: Secret | UnsetType = UNSET
    administrator: bool = False
    robot: bool = False


class UserChange(Asked):
    """What is not here stays."""

    password: Secret | UnsetType = UNSET
    administrator: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class AccountRecord(Answered):
    """Who asks. Without a password here they sign in elsewhere."""

    name: str
    administrator: bool
    has_password: bool


class NewPassword(Asked):
    """In place of the one that it is sent with."""

    password: Secret


class TeamRecord(Answered):
    """A group of users."""

    name: str
    members: list[str]


class TeamPage(Answered):
    """A page of teams, by name."""

    teams: list[TeamRecord]
    next: str = ""


class NewTeam(Asked):
    """A team that has no members yet."""

    name: TeamName


class TeamMembers(Asked):
    """Who joins or leaves, all or none."""

    users: Annotated[list[UserName], Meta(min_length=1, max_length=MOST_ENTRIES)]


class TokenRecord(Answered):
    """A secret that stands for a user, up to a role and within a namespace; `expires` null for never."""

    id: int
    user: str
    label: str
    role: RoleName
    namespace: str
    created: datetime
    expires: datetime | None


class TokenPage(Answered):
    """A page of tokens, by number."""

    tokens: list[TokenRecord]
    next: str = ""


class NewOwnToken(Asked):
    """A token that ends after `seconds`, 0 for never."""

    label: Label = ""
    role: RoleName = "admin"
    namespace: NamespaceName = "*"
    seconds: Seconds = 0.0


class NewToken(NewOwnToken, kw_only=True):
    """As that, for a user."""

    user: UserName


class MadeToken(Answered):
    """Its number, and the secret, which nobody can ask for again."""

    id: int
    secret: str


class TrustRecord(Answered):
    """Whoever shows a token of `issuer` for `audience` with these claims gets a role for so many seconds."""

    id: int
    issuer: str
    audience: str
    claims: dict[str, str]
    namespace: str
    role: RoleName
    seconds: float
    created: datetime


class TrustPage(Answered):
    """A page of trusts, by number."""

    trusts: list[TrustRecord]
    next: str = ""


class NewTrust(Asked):
    """A rule by which tokens of others are exchanged. The values of `claims` are patterns that all match."""

    issuer: Annotated[str, Meta(min_length=8, max_length=1000)]
    claims: Annotated[dict[str, str], Meta(min_length=1, max_length=64)]
    namespace: NamespaceName
    audience: Annotated[str, Meta(min_length=1, max_length=1000)] = "nacre-registry"
    role: RoleName = "write"
    seconds: Annotated[float, Meta(gt=0, le=24 * 3600)] = 900.0


class MadeTrust(Answered):
    """The number of a trust."""

    id: int


# ── rights ──


class GrantRecord(Answered):
    """A role in a namespace, for a user or a team: one of the two is ""."""

    namespace: str
    role: RoleName
    user: str
    team: str


class GrantPage(Answered):
    """A page of grants, by namespace."""

    grants: list[GrantRecord]
    next: str = ""


class NewGrant(Asked):
    """A role in place of the one that they have there."""

    role: RoleName


class NamespaceRecord(Answered):
    """What was said of a namespace: `public` null for nothing; `quota` in bytes, 0 for no bound."""

    name: str
    public: bool | None
    immutable: list[str]
    quota: int
    used: int


class NamespacePage(Answered):
    """Namespaces that something was said of, by name."""

    namespaces: list[NamespaceRecord]
    next: str = ""


class NamespaceChange(Asked):
    """What is not here stays. `immutable`: patterns of tags that stay as they are once they are set."""

    public: bool | UnsetType = UNSET
    immutable: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=100)] | UnsetType
    ) = UNSET


class NewQuota(Asked):
    """Most bytes that a namespace may hold, 0 for no bound."""

    bytes: Bytes


# ── content ──


class RepositoryQuery(PageQuery):
    """Repositories with `q` in their name or description."""

    q: Annotated[str, Meta(max_length=255)] = ""


class RepositoryEntry(Answered):
    """A repository in a list: `tags` counted up to 10,000, `updated` null if nothing was pushed."""

    name: str
    summary: str
    tags: int
    updated: datetime | None


class RepositoryPage(Answered):
    """Repositories by name, those that may be read."""

    repositories: list[RepositoryEntry]
    next: str = ""


class RepositoryRecord(Answered):
    """A repository: `tags` counted up to 10,000; `contents` and `bytes` of what it holds, each once."""

    name: str
    summary: str
    readme: str
    described: datetime | None
    described_by: str
    tags: int
    contents: int
    bytes: int


class RepositoryChange(Asked):
    """What is not here stays."""

    summary: Annotated[str, Meta(max_length=MOST_SUMMARY)] | UnsetType = UNSET
    readme: Annotated[str, Meta(max_length=MOST_README)] | UnsetType = UNSET


class TagQuery(PageQuery):
    """Tags with `q` in them."""

    q: Annotated[str, Meta(max_length=128)] = ""


class TagEntry(Answered):
    """A tag, and when it was set."""

    tag: str
    digest: str
    media_type: str
    updated: datetime


class TagPage(Answered):
    """A page of tags, by name."""

    tags: list[TagEntry]
    next: str = ""


class RemovedQuery(PageQuery):
    """What was deleted, of one repository or of all."""

    repository: RepositoryName | UnsetType = UNSET


class RemovedRecord(Answered):
    """Something that can be restored: `kind` is tag, manifest or repository."""

    id: int
    at: datetime
    actor: str
    repository: str
    kind: str
    tag: str
    digest: str
    size: int


class RemovedPage(Answered):
    """What can be restored, the newest first."""

    removed: list[RemovedRecord]
    next: str = ""


class RemovedReference(Asked):
    """A tag, a manifest, or with neither the repository; with both what the tag named some time before."""

    tag: TagName | UnsetType = UNSET
    digest: DigestText | UnsetType = UNSET


class PurgedCount(Answered):
    """How many entries are gone for good."""

    entries: int


class AuditQuery(PageQuery):
    """Which entries: "" for any."""

    user: Annotated[str, Meta(max_length=255)] = ""
    action: Annotated[str, Meta(max_length=64)] = ""
    repository: Annotated[str, Meta(max_length=255)] = ""
    since: datetime | UnsetType = UNSET


class AuditRecord(Answered):
    """Somebody did something, and when."""

    at: datetime
    actor: str
    client: str
    action: str
    subject: str


class AuditPage(Answered):
    """Who did what, the newest first."""

    entries: list[AuditRecord]
    next: str = ""


# ── upkeep ──


class GarbageCount(Answered):
    """How many, and of how many bytes."""

    manifests: int
    blobs: int
    bytes: int


class StorageRecord(Answered):
    """Bytes: of all images as if each were stored alone, and of what is stored once."""

    logical: int
    stored: int
    contents: int
    unused: GarbageCount
    due: GarbageCount


class NewCollection(Asked):
    """Remove what nothing names, or say only what would go."""

    dry_run: bool = False


class NewCheck(Asked):
    """Prove that every manifest can be pulled; with `read` all content is read and hashed.

    `rate`: bytes per second at most, 0 for no bound.
    """

    read: bool = False
    rate: Bytes = 0


class GarbageResult(Answered):
    """What nothing names, and what of it went, or would go."""

    unused: GarbageCount
    gone: GarbageCount


class DamagedRecord(Answered):
    """A manifest that cannot be pulled, and the digest of what is wrong with it."""

    repository: str
    references: list[str]
    digest: str
    part: str
    problem: str


class WrongValueRecord(Answered):
    """A value in the database that cannot be; without a column it is said of the whole row."""

    table: str
    row: str
    column: str
    value: str


class CheckResult(Answered):
    """What was looked at. Of what is damaged the first thousand are named, `damaged_count` has all."""

    repositories: int
    manifests: int
    blobs: int
    bytes: int
    read: bool
    damaged: list[DamagedRecord]
    damaged_count: int
    unneeded: list[str]
    rows: list[WrongValueRecord] = []


class ExpiredRecord(Answered):
    """A tag that goes, and the number of the rule by which, from 1."""

    repository: str
    tag: str
    digest: str
    updated: datetime
    rule: int


class RetentionResult(Answered):
    """Tags that went, or would go: the first thousand, `count` has all."""

    tags: list[ExpiredRecord]
    count: int


class DifferenceRecord(Answered, kw_only=False):
    """A tag that a rule of replication would bring, and what it names."""

    repository: str
    tag: str
    digest: str


class ComparisonResult(Answered):
    """What a rule of replication would bring: the first thousand, `count` has all; others are the same."""

    rule: str
    differences: list[DifferenceRecord]
    count: int
    unchanged: int


class RunRecord(Answered):
    """Something long that an administrator began; `state` lost: its process ended before it did.

    One of the results is there when it is done.
    """

    id: str
    kind: Literal["gc", "check", "retention", "comparison"]
    state: Literal["running", "done", "failed", "lost"]
    by: str
    dry_run: bool
    began: datetime
    ended: datetime | None = None
    error: str = ""
    gc: GarbageResult | None = None
    check: CheckResult | None = None
    retention: RetentionResult | None = None
    comparison: ComparisonResult | None = None


class RunPage(Answered):
    """A page of runs, the newest first."""

    runs: list[RunRecord]
    next: str = ""


class WebhookRecord(Answered):
    """How far a webhook is: `behind` so many entries; why the last try failed, "" if it did not."""

    name: str
    place: str
    events: list[str]
    signed: bool
    behind: int
    tries: int
    error: str


class WebhookPage(Answered):
    """Webhooks in the order of the configuration."""

    webhooks: list[WebhookRecord]
    next: str = ""


_Patterns = Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(max_length=100)]
_Namespace = Annotated[str, Meta(max_length=255)]


class ReplicationRecord(Answered):
    """A rule of replication, and how far it is; `added` by command or over this API, not configured.

    Tags that wait (`since` then, null for none), were given up, and are done; `error` says why the other
    registry is not asked for now, "" if it is. A password is never told.
    """

    name: str
    registry: str
    direction: Literal["push", "pull"]
    repositories: list[str]
    tags: list[str]
    exclude: list[str]
    strip: str
    prefix: str
    referrers: bool
    deletes: bool
    interval: float
    timeout: float
    rate: int
    user: str
    added: bool
    waiting: int
    failed: int
    done: int
    since: datetime | None
    error: str


class ReplicationPage(Answered):
    """Rules, all of them."""

    replications: list[ReplicationRecord]
    next: str = ""


class NewReplication(Asked):
    """What goes to `registry`, `[SCHEME://]HOST[:PORT]`, or comes from there; times in seconds.

    `repositories`, `tags` and `exclude` are patterns. `interval` 0: an hour with pull, never with push;
    `rate` 0 for any. The password is kept as it is.
    """

    registry: Annotated[str, Meta(min_length=1, max_length=300)]
    direction: Literal["push", "pull"] = "push"
    repositories: _Patterns = field(default_factory=lambda: ["*"])
    tags: _Patterns = field(default_factory=lambda: ["*"])
    exclude: _Patterns = field(default_factory=list)
    strip: _Namespace = ""
    prefix: _Namespace = ""
    referrers: bool = False
    deletes: bool = False
    interval: Seconds = 0.0
    timeout: Seconds = 6 * 3600.0
    rate: Bytes = 0
    user: Annotated[str, Meta(max_length=255)] = ""
    password: Annotated[str, Meta(max_length=4096)] = ""


class ReplicationFailureRecord(Answered):
    """A tag that waits, or was given up (`again` null), after so many tries."""

    repository: str
    reference: str
    tries: int
    again: datetime | None
    error: str


class ReplicationFailurePage(Answered):
    """What waits comes first: the first `n`."""

    failures: list[ReplicationFailureRecord]
    next: str = ""


class FailureQuery(Asked):
    """At most `n` of them."""

    n: Annotated[int, Meta(ge=1, le=MOST_ENTRIES)] = 100


class EmptyRequest(Asked):
    """Nothing is to be said: `{}`."""


class ErrorDetail(Answered):
    """What may help whoever asks."""

    hint: str = ""
    request: str = ""


class ErrorEntry(Answered):
    """An error as the distribution protocol has it."""

    code: str
    message: str
    detail: ErrorDetail | None = None


class ErrorAnswer(Answered):
    """What every refusal says."""

    errors: list[ErrorEntry]
