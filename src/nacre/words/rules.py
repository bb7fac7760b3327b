"""What the operator of a registry decides."""

from __future__ import annotations

from .errors import UsageError
from .value import Value


class GarbageRules(Value):
    """What a registry removes by itself, in seconds.

    `interval`: from one look to the next, 0 for never. `grace`: how long a blob stays that no manifest needs,
    and whatever was pushed. `untagged`: how long a manifest stays that nothing names, 0 for ever.
    """

    interval: float = 3600.0
    grace: float = 24 * 3600.0
    untagged: float = 30 * 24 * 3600.0


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


class StorageRules(Value):
    """Where a registry keeps content. `url`: "" for its own folder, or `s3://BUCKET/PREFIX`, `gs://…`,
    `az://…`.

    `endpoint`: where the store is, "" for its usual place, and `region`. `virtual_hosts`: the bucket is part
    of the host's name. `certificates`: a file with authorities of the store's TLS. `redirect`: clients fetch
    large blobs there themselves, by URLs that hold for `expires` seconds. `options`: further ones of the
    store, as (name, value).
    """

    url: str = ""
    endpoint: str = ""
    region: str = ""
    virtual_hosts: bool = False
    certificates: str = ""
    redirect: bool = False
    expires: int = 900
    options: tuple[tuple[str, str], ...] = ()

    def _check(self) -> None:
        scheme, _, rest = self.url.partition("://")
        if self.url and (scheme not in ("s3", "gs", "az") or not rest.strip("/")):
            raise UsageError(f"invalid storage {self.url!r}: expected s3://, gs:// or az:// and a bucket")
        if not 1 <= self.expires <= _WEEK:
            raise UsageError(f"URLs of storage can hold for 1 to {_WEEK} seconds, not {self.expires}")
        if scheme != "s3" and (self.virtual_hosts or self.region):
            raise UsageError("a region, and buckets in the host's name, are for storage in s3:// only")

    def config(self) -> dict[str, str]:
        """The settings of the store, as obstore names them; the environment's hold besides."""
        where = "base_url" if self.url.startswith("gs:") else "endpoint"
        named = {where: self.endpoint} if self.endpoint else {}
        named |= {"region": self.region} if self.region else {}
        named |= {"virtual_hosted_style_request": "true"} if self.virtual_hosts else {}
        return named | dict(self.options)


_WEEK = 7 * 24 * 3600


class RegistryRules(Value):
    """What a registry does where the protocol leaves the choice.

    `sparse`: manifests are taken although content that they name is not there (part of the platforms of an
    index, say). `connections`: most of one address at a time; those that moved least give way. `children`:
    an index that is deleted takes those of its manifests that no tag and no other index names. `warning`:
    what clients should tell their users, "" for nothing. `garbage`: what nothing names any more. `tls`: the
    certificate. `plain_http`: addresses that other machines reach are served without one. `activity`: what is
    remembered of who did what.
    """

    sparse: bool = False
    connections: int = 256
    children: bool = False
    warning: str = ""
    garbage: GarbageRules = GarbageRules()
    tls: TlsRules = TlsRules()
    plain_http: bool = False
    activity: ActivityRules = ActivityRules()

    def _check(self) -> None:
        if self.connections < 1:
            raise UsageError(f"an address must be allowed one connection at least, not {self.connections}")
        if self.plain_http and self.tls.cert:
            raise UsageError("--plain-http and --tls-cert exclude each other")
