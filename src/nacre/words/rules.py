"""What the operator of a registry decides."""

from __future__ import annotations

from .errors import UsageError
from .reference import is_loopback
from .replication import ReplicationRule, check_replication
from .telemetry import TelemetryRules
from .upstreams import CacheRules, UpstreamRules, check_upstreams
from .value import Value


class GarbageRules(Value):
    """What a registry removes by itself, in seconds.

    `interval`: from one look to the next, 0 for never. `grace`: how long a blob stays that no manifest needs,
    and whatever was pushed. `untagged`: how long a manifest stays that nothing names, 0 for ever.
    """

    interval: float = 3600.0
    grace: float = 24 * 3600.0
    untagged: float = 30 * 24 * 3600.0


class OidcRules(Value):
    """Who signs people in on the page (OpenID Connect): `issuer` is its URL, "" for nobody.

    `client` and `secret` are the registry's own there, `title` what the button says. The claim `name` becomes
    the user's name, `groups` has their groups: `teams` are pairs GROUP=TEAM that are kept in step at each
    sign-in, `administrators` groups whose members administer the registry.
    """

    issuer: str = ""
    client: str = ""
    secret: str = ""
    title: str = "Single sign-on"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name: str = "preferred_username"
    groups: str = "groups"
    teams: tuple[str, ...] = ()
    administrators: tuple[str, ...] = ()

    def _check(self) -> None:
        if self.issuer and not self.client:
            raise UsageError("sign-in by OpenID Connect needs the client that the issuer knows")
        _check_teams(self.teams)


def _check_teams(pairs: tuple[str, ...]) -> None:
    for pair in pairs:
        group, equals, team = pair.rpartition("=")
        if not (group and equals and team):
            raise UsageError(f"invalid pair {pair[:200]!r}: expected GROUP=TEAM")


class LdapRules(Value):
    """Which LDAP server knows passwords: `url` is `ldaps://HOST[:PORT]` or `ldap://HOST[:PORT]`, "" for none.

    Either `user_dn` gives the name of an entry, or `filter` finds it below `base`, asked as `bind_dn`, as
    nobody without one; `{user}` stands for who logs in. The attribute `groups` has the groups of an entry:
    `teams` are pairs GROUP=TEAM, `administrators` groups whose members administer the registry.
    `certificates` are those of authorities. An answer must come within `timeout` seconds.
    """

    url: str = ""
    start_tls: bool = False
    certificates: str = ""
    bind_dn: str = ""
    password: str = ""
    base: str = ""
    filter: str = "(uid={user})"
    user_dn: str = ""
    groups: str = "memberOf"
    teams: tuple[str, ...] = ()
    administrators: tuple[str, ...] = ()
    timeout: float = 5.0

    @property
    def issuer(self) -> str:
        """Under what its users are known here, also when another server has the same directory."""
        return f"ldap:{self.base or self.user_dn}"

    def _check(self) -> None:
        if not self.url:
            return
        scheme, host, _ = ldap_address(self.url)
        if self.start_tls and scheme == "ldaps":
            raise UsageError("start-tls is for ldap://: ldaps:// is TLS from the start")
        if scheme == "ldap" and not self.start_tls and not is_loopback(host):
            raise UsageError(
                f"passwords would go to {host} in the clear", hint="use ldaps://, or set start-tls = true"
            )
        self._check_entry()
        _check_teams(self.teams)
        if not 1 <= self.timeout <= 60:
            raise UsageError(f"invalid timeout {self.timeout:g}: expected 1 to 60 seconds")

    def _check_entry(self) -> None:
        if bool(self.base) == bool(self.user_dn):
            raise UsageError("sign-in by LDAP needs either base, to search below, or user-dn")
        where, what = ("user-dn", self.user_dn) if self.user_dn else ("filter", self.filter)
        if "{user}" not in what:
            raise UsageError(f"{where} must hold {{user}}, in the place of which the name comes")
        if self.base and not (self.filter.startswith("(") and self.filter.endswith(")")):
            raise UsageError(f"invalid filter {self.filter[:200]!r}: expected (…)")
        if bool(self.bind_dn) != bool(self.password):
            raise UsageError("bind-dn and its password go together")
        if self.user_dn and self.bind_dn:
            raise UsageError("with user-dn nobody searches: bind-dn has no effect")


def ldap_address(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of `ldap://` or `ldaps://`. Raises UsageError."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in ("ldap", "ldaps") or not host or more:
        raise UsageError(f"invalid URL {url[:200]!r}: expected ldaps://HOST[:PORT]")
    return parts.scheme, host, port or (636 if parts.scheme == "ldaps" else 389)


_FIELDS = "cn", "dns", "email", "uri", "sha256"
"""What a rule can ask for in the certificate of a client; the last is the checksum of the whole."""


class ClientCertificateRules(Value):
    """By which certificates clients log in: those that the `authorities` in a file have signed, "" for none.

    `revoked`: a file with lists of those that do not count any more, one of each authority, "" for none.
    `required`: no client comes without one. `users` are rules `FIELD:PATTERN=USER`, of which the first that
    matches says who it is; `*` in the pattern is any text, and `{user}` a name that USER may be as well.
    """

    authorities: str = ""
    revoked: str = ""
    required: bool = False
    users: tuple[str, ...] = ("cn:{user}={user}",)

    def _check(self) -> None:
        if not self.authorities and (self.revoked or self.required):
            raise UsageError("client certificates need the authorities that sign them")
        for rule in self.users:
            _check_certificate_rule(rule)


def _check_certificate_rule(rule: str) -> None:
    field, _, rest = rule.partition(":")
    pattern, _, user = rest.rpartition("=")
    if not (pattern and user):
        raise UsageError(f"invalid rule {rule[:200]!r}: expected FIELD:PATTERN=USER")
    if field not in _FIELDS:
        raise UsageError(f"rule {rule[:200]!r}: unknown field, expected {', '.join(_FIELDS)}")
    if ("{" in user or "}" in user) and user != "{user}":
        raise UsageError(f"rule {rule[:200]!r}: expected a name or {{user}} after the =")
    if pattern.count("{user}") != (user == "{user}"):
        raise UsageError(f"rule {rule[:200]!r}: {{user}} must stand once on each side, or on none")


class AccessRules(Value):
    """Who may come in. `accounts`: one must log in, also while there is no account yet. `url`: where people
    reach the registry, "" for where they say. `oidc`: who signs them in. `ldap`: who knows their passwords.
    `certificates`: those of clients.
    """

    accounts: bool = False
    url: str = ""
    oidc: OidcRules = OidcRules()
    ldap: LdapRules = LdapRules()
    certificates: ClientCertificateRules = ClientCertificateRules()

    @property
    def is_closed(self) -> bool:
        """Must one log in, also while there is no account? A certificate that is required lets one in."""
        found = self.certificates
        return self.accounts or bool(self.ldap.url) or bool(found.authorities and not found.required)

    def _check(self) -> None:
        if self.url and not self.url.startswith(("https://", "http://")):
            raise UsageError(f"invalid URL {self.url[:200]!r}: expected https://HOST[:PORT]")


class RateRules(Value):
    """How often a user, or an address without one, may ask; 0 for as often as they like.

    `pulls` and `pushes` of manifests within `window` seconds, `anonymous_pulls` by who did not log in (0: as
    `pulls`), `requests` of any kind within a minute.
    """

    pulls: int = 0
    anonymous_pulls: int = 0
    pushes: int = 0
    window: float = 6 * 3600.0
    requests: int = 0

    def _check(self) -> None:
        if self.window < 1:
            raise UsageError("the window of a rate limit is a second at least")


class TlsRules(Value):
    """Files of a certificate with its chain, and of its key (PEM); both "" for plain HTTP."""

    cert: str = ""
    key: str = ""

    def _check(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise UsageError("TLS needs a certificate and its key", hint="give --tls-cert and --tls-key")


class ActivityRules(Value):
    """What a registry remembers of who did what: `age` in seconds, and how many entries at `most`.

    `pulls`: the namespaces of which pulls are remembered, too.
    """

    age: float = 90 * 24 * 3600.0
    most: int = 500_000
    pulls: tuple[str, ...] = ()


_HOUR = 3600.0
"""As long as an object stays that nobody needs any more."""


class StorageRules(Value):
    """Where a registry keeps content. `url`: "" for its own folder, or `s3://BUCKET/PREFIX`, `gs://…`,
    `az://…`.

    `endpoint`: where the store is, "" for its usual place, and `region`. `virtual_hosts`: the bucket is part
    of the host's name. `certificates`: a file with authorities of the store's TLS. `redirect`: clients fetch
    large blobs there themselves, by URLs that hold for `expires` seconds. `access_key`, `secret_key`: of S3,
    "" for what the environment says. `options`: further ones of the store, as `NAME=VALUE`.
    """

    url: str = ""
    endpoint: str = ""
    region: str = ""
    virtual_hosts: bool = False
    certificates: str = ""
    redirect: bool = False
    expires: float = 900.0
    access_key: str = ""
    secret_key: str = ""
    options: tuple[str, ...] = ()

    def _check(self) -> None:
        scheme, _, rest = self.url.partition("://")
        if self.url and (scheme not in ("s3", "gs", "az") or not rest.strip("/")):
            raise UsageError(f"invalid storage {self.url!r}: expected s3://, gs:// or az:// and a bucket")
        if not 1 <= self.expires <= _HOUR:
            raise UsageError(f"URLs of storage can hold for 1 second to 1 hour, not {self.expires:g} seconds")
        if scheme != "s3" and (self.virtual_hosts or self.region or self.access_key or self.secret_key):
            raise UsageError("a region, keys, and buckets in the host's name are for storage in s3:// only")
        if not self.url and (self.endpoint or self.certificates or self.redirect or self.options):
            raise UsageError("storage needs a URL", hint="say which bucket, such as s3://images/registry")
        if wrong := [each for each in self.options if not each.partition("=")[1]]:
            raise UsageError(f"invalid option of storage {wrong[0]!r}: expected NAME=VALUE")


class StopRules(Value):
    """How a registry ends, in seconds. `delay`: how long it still takes requests when it is not ready any
    more. `patience`: how long requests that are under way may then take.
    """

    delay: float = 0.0
    patience: float = 8.0


class LogRules(Value):
    """The log of a registry: `form` is `text` or `json`."""

    form: str = "text"


class MetricsRules(Value):
    """Who may read the metrics: this machine, administrators, and whoever sends `token`, "" for none."""

    token: str = ""


class RegistryLimits(Value):
    """What a client may ask for. Sizes in bytes, times in seconds.

    blob           most bytes of one
    uploads        most unfinished ones, all together
    uploads_each   most of one user, or of one address without one
    upload_idle    one that nobody used for so long gives way to a new one where there are too many
    upload_age     one that nobody used for so long is dropped
    chunk          least size of a chunk that clients are asked for; each costs a transaction
    patience       a body of which nothing comes for so long is given up
    rate           bytes per second that a body must come at in the long run, and an answer be taken at
    """

    blob: int = 1 << 40
    uploads: int = 10_000
    uploads_each: int = 1000
    upload_idle: float = 3600.0
    upload_age: float = 24 * 3600.0
    chunk: int = 64 << 10
    patience: float = 30.0
    rate: int = 1024


class ScrubRules(Value):
    """How content is read again to find damage: seconds from the end of one reading of all to the next, 0 for
    never; bytes per second at most.
    """

    interval: float = 30 * 24 * 3600.0
    rate: int = 16 << 20

    def _check(self) -> None:
        if self.rate < 1024:
            raise UsageError("content is read at 1024 bytes per second at least")


class LazyRules(Value):
    """Whether images that were pushed get indexes of their layers, so that they can be pulled lazily; bytes
    per second that are read of layers for that at most.
    """

    indexes: bool = False
    rate: int = 64 << 20

    def _check(self) -> None:
        if self.rate < 1024:
            raise UsageError("layers are read at 1024 bytes per second at least")


class RetentionRule(Value):
    """Which tags stay, of repositories and tags that match the patterns (`*` and `?`), `exclude` not.

    The `newest` so many, and those pushed less than `age` seconds ago; the others go.
    """

    repositories: tuple[str, ...] = ("*",)
    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    newest: int = 0
    age: float = 0.0

    def _check(self) -> None:
        if self.newest < 1 and self.age <= 0:
            raise UsageError("a rule of retention says how many tags or for how long it keeps them")
        if not self.repositories or not self.tags:
            raise UsageError("a rule of retention is for no repository or no tag")


_EVENTS = ("push", "tag", "mount", "delete", "restore", "replicate")


class WebhookRule(Value):
    """Tell `url` of `events` in repositories that match a pattern, signed with `secret`; `name` is for us.

    `format`: "docker" for the envelope of docker's registry, or "cloudevents". `nearby`: also where it leads
    to addresses that are not public.
    """

    name: str
    url: str
    secret: str = ""
    events: tuple[str, ...] = ("push", "tag", "delete", "restore")
    repositories: tuple[str, ...] = ("*",)
    format: str = "docker"
    nearby: bool = False

    def _check(self) -> None:
        if not self.name or len(self.name) > 100:
            raise UsageError("a webhook needs a name of at most 100 characters")
        for event in self.events:
            if event not in _EVENTS:
                hint = f"there are {', '.join(_EVENTS)}"
                raise UsageError(f"webhook {self.name}: unknown event {event!r}", hint=hint)
        scheme, _, rest = self.url.partition("://")
        if scheme not in ("http", "https") or not rest.partition("/")[0] or "@" in rest.partition("/")[0]:
            hint = "write https://HOST/PATH, without a password"
            raise UsageError(f"webhook {self.name}: invalid URL", hint=hint)


class MetadataRules(Value):
    """Where a registry keeps names and accounts. `url`: "" for the database that its folder has, which is a
    file in it at first, or `postgresql://…`, which several processes may share.
    """

    url: str = ""

    def _check(self) -> None:
        scheme, colon, _ = self.url.partition("://")
        if self.url and (not colon or scheme not in ("postgresql", "postgres")):
            raise UsageError(f"unknown kind of database {scheme[:100]!r}: expected postgresql://…")


class RegistryRules(Value):
    """What a registry does where the protocol leaves the choice, and what surrounds that.

    `sparse`: manifests are taken although content that they name is not there (part of the platforms of an
    index, say). `connections`: most of one address at a time; those that moved least give way. `children`:
    an index that is deleted takes those of its manifests that no tag and no other index names. `warning`:
    what clients should tell their users, "" for nothing. `plain_http`: addresses that other machines reach
    are served without a certificate. `stop`: how it ends. `metadata`: where names and accounts are, `storage`
    where content is. `telemetry`: what goes to OpenTelemetry, which variables say. Each of the others is what
    the table of its name says in the configuration (`grammars.serving`).
    """

    sparse: bool = False
    connections: int = 256
    children: bool = False
    warning: str = ""
    garbage: GarbageRules = GarbageRules()
    tls: TlsRules = TlsRules()
    plain_http: bool = False
    stop: StopRules = StopRules()
    log: LogRules = LogRules()
    metrics: MetricsRules = MetricsRules()
    activity: ActivityRules = ActivityRules()
    limits: RegistryLimits = RegistryLimits()
    rates: RateRules = RateRules()
    access: AccessRules = AccessRules()
    retention: tuple[RetentionRule, ...] = ()
    storage: StorageRules = StorageRules()
    upstreams: tuple[UpstreamRules, ...] = ()
    cache: CacheRules = CacheRules()
    webhooks: tuple[WebhookRule, ...] = ()
    metadata: MetadataRules = MetadataRules()
    scrub: ScrubRules = ScrubRules()
    replication: tuple[ReplicationRule, ...] = ()
    telemetry: TelemetryRules = TelemetryRules()
    lazy: LazyRules = LazyRules()

    def _check(self) -> None:
        if self.connections < 1:
            raise UsageError(f"an address must be allowed one connection at least, not {self.connections}")
        if self.access.certificates.authorities and not self.tls.cert:
            raise UsageError(
                "client certificates need TLS: the registry has no certificate of its own",
                hint="give --tls-cert and --tls-key",
            )
        if self.plain_http and self.tls.cert:
            raise UsageError("--plain-http and --tls-cert exclude each other")
        check_upstreams(self.upstreams)
        check_replication(self.replication, [upstream.namespace for upstream in self.upstreams])
        names = [webhook.name for webhook in self.webhooks]
        if len(set(names)) < len(names):
            raise UsageError("two webhooks have one name")


class ServingConfig(Value):
    """Where a registry is served, and by which rules: all that its configuration says.

    `address` is `HOST:PORT`, port 0 any free one. `folder` keeps its content, "" for the usual one. `quiet`:
    only failures of the registry itself are logged.
    """

    address: str = "127.0.0.1:5000"
    folder: str = ""
    quiet: bool = False
    rules: RegistryRules = RegistryRules()

    def _check(self) -> None:
        host_and_port(self.address)


def host_and_port(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `:PORT` (every interface) or `[IPV6]:PORT`. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise UsageError(f"invalid address {text!r}: expected HOST:PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise UsageError(f"invalid address {text!r}: write an IPv6 address as [{host}]:{port}")
    return host.strip("[]") or "0.0.0.0", int(port)
