"""Other registries whose content a registry fetches when it is asked for it, and keeps for a while."""

from __future__ import annotations

from fnmatch import fnmatchcase

from .errors import UsageError
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HUB = "docker.io"
_DAY = 86400.0


class UpstreamRules(Value):
    """One of them. `name` is the registry that clients mean (`docker.io`, `ghcr.io`); times in seconds.

    `location` is where it is reached, `[SCHEME://]HOST[:PORT][/PATH]`, "" for that name. `prefix` is the
    namespace in which its repositories lie here, "" for its name. `allow` are patterns of its
    repositories, () for all. `ttl`: how long a tag is believed before it is asked for again. `minimum_age`: a
    tag moves to new content only when that was first seen here so long ago; with `trust_created` the image's
    own word on when it was made counts too. `unprefixed`: names without a registry are its, unless they are
    ours (docker's `registry-mirrors`). `user` and `password` are for it alone.
    """

    name: str
    location: str = ""
    prefix: str = ""
    allow: tuple[str, ...] = ()
    ttl: float = 300.0
    minimum_age: float = 0.0
    trust_created: bool = False
    unprefixed: bool = False
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, name: str) -> UpstreamRules:
        """A registry with what is usual; names without a registry are Docker Hub's."""
        return cls(name, unprefixed=name == HUB)

    @property
    def namespace(self) -> str:
        """Where its repositories lie here."""
        return self.prefix or self.name

    def allows(self, repository: str) -> bool:
        """May that repository of it be had here?"""
        return not self.allow or any(fnmatchcase(repository, pattern) for pattern in self.allow)

    def __repr__(self) -> str:
        return f"UpstreamRules({self.name!r})"  # not the password

    def _check(self) -> None:
        if "://" in self.name:
            hint = "write docker.io, say; its url in the configuration is where it is reached"
            raise UsageError(f"the upstream {self.name[:200]!r} is no name of a registry", hint=hint)
        if bool(self.user) != bool(self.password):
            raise UsageError(f"the upstream {self.name} needs both a user and a password, or neither")


class CacheRules(Value):
    """How much is kept of all upstreams.

    `size`: bytes, 0 for no bound; what was used least recently goes first. `unused`: seconds after which
    content that nobody asked for goes, 0 for never.
    """

    size: int = 0
    unused: float = 30 * _DAY


def check_upstreams(upstreams: Iterable[UpstreamRules]) -> None:
    """Raises UsageError for upstreams that cannot be told apart."""
    found = list(upstreams)
    places = [upstream.namespace for upstream in found]
    for place in places:
        if any(other != place and other.startswith(f"{place}/") for other in places):
            raise UsageError(f"the namespace {place} of one upstream holds that of another")
    if len(set(places)) < len(places):
        raise UsageError("two upstreams have the same namespace")
    if sum(upstream.unprefixed for upstream in found) > 1:
        raise UsageError("names without a registry can belong to one upstream only")
