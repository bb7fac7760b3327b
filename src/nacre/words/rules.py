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
    """What a registry remembers of who did what: `age` in seconds, and how many entries at `most`."""

    age: float = 90 * 24 * 3600.0
    most: int = 500_000


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
