"""Which content a registry brings to another one, or from there, by itself."""

from __future__ import annotations

from fnmatch import fnmatchcase

from .errors import UsageError
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PUSH, PULL = "push", "pull"
_HOUR = 3600.0
_MOST_TIMES = 2
"""How often the prefix may stand in a name: rules that feed each other would make names longer and longer."""
_LEAST_INTERVAL, _LEAST_TIMEOUT, _LEAST_RATE = 10.0, 60.0, 64 << 10


class ReplicationRule(Value):
    """What goes to or comes from `registry`, `[SCHEME://]HOST[:PORT]`. `name` is for us. Times in seconds.

    `direction`: "push" what changes here, or "pull" what changes there. `repositories` and `tags` are
    patterns (`*` and `?`) of the side from which content comes, `exclude` of tags that are left out. There,
    the namespace `strip` is taken from the beginning of a name, and repositories that are not in it are left
    out; then `prefix` is put before it. `referrers`: what refers to an image (signatures, SBOMs) goes with
    it. `deletes`: what is deleted on one side goes on the other, if it was brought there. `interval`: from
    one comparison of everything to the next, 0 for an hour with pull and for never with push. A tag that
    takes longer than `timeout` is broken off and tried again. `rate`: bytes per second at most, 0 for any.
    `user` and `password` are for that registry alone.
    """

    name: str
    registry: str
    direction: str = PUSH
    repositories: tuple[str, ...] = ("*",)
    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    strip: str = ""
    prefix: str = ""
    referrers: bool = False
    deletes: bool = False
    interval: float = 0.0
    timeout: float = 6 * _HOUR
    rate: int = 0
    user: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        """The registry as names of images have it."""
        return self.registry.rpartition("://")[2]

    @property
    def every(self) -> float:
        """Seconds from one comparison of everything to the next, 0 for never."""
        return self.interval or (_HOUR if self.direction == PULL else 0.0)

    @property
    def what(self) -> str:
        """What it brings where, as one text: a rule that says something else begins anew."""
        shown = (self.registry, self.direction, self.repositories, self.tags, self.exclude, self.strip)
        return repr((*shown, self.prefix, self.referrers))

    def wants(self, repository: str, tag: str = "") -> bool:
        """Is it for a repository, and for a tag there?"""
        if self.strip and not repository.startswith(f"{self.strip}/"):
            return False
        if self.prefix and _count(self.prefix, self.renamed(repository)) > _MOST_TIMES:
            return False
        return _matches(repository, self.repositories) and (not tag or self._wants_tag(tag))

    def _wants_tag(self, tag: str) -> bool:
        return _matches(tag, self.tags) and not _matches(tag, self.exclude)

    def renamed(self, repository: str) -> str:
        """What a repository of one side is called on the other."""
        rest = repository.removeprefix(f"{self.strip}/") if self.strip else repository
        return f"{self.prefix}/{rest}" if self.prefix else rest

    def __repr__(self) -> str:
        return f"ReplicationRule({self.name!r})"  # not the password

    def _check(self) -> None:
        if not self.name or len(self.name) > 100 or not self.name.isprintable():
            raise UsageError("a rule of replication needs a name of at most 100 characters")
        if self.direction not in (PUSH, PULL):
            raise self._wrong(f"unknown direction {self.direction[:100]!r}: expected push or pull")
        scheme, separator, host = self.registry.rpartition("://")
        if not host or set(host) & set("/@ ?#") or (separator and scheme not in ("http", "https")):
            hint = "write registry.example.com:5000, a namespace there is its prefix or in its repositories"
            raise self._wrong(f"invalid registry {self.registry[:200]!r}", hint)
        if bool(self.user) != bool(self.password):
            raise self._wrong("both a user and a password are needed, or neither")
        self._check_names()
        self._check_numbers()

    def _check_names(self) -> None:
        if not self.repositories or not self.tags:
            raise self._wrong("it is for no repository or no tag")
        for name in (self.strip, self.prefix):
            if name.strip("/") != name:
                raise self._wrong(f"invalid namespace {name[:200]!r}: write it without a slash at its ends")

    def _check_numbers(self) -> None:
        if 0 < self.interval < _LEAST_INTERVAL:
            raise self._wrong(f"the interval is {_LEAST_INTERVAL:g} seconds at least")
        if self.timeout < _LEAST_TIMEOUT:
            raise self._wrong(f"the timeout is {_LEAST_TIMEOUT:g} seconds at least")
        if 0 < self.rate < _LEAST_RATE:
            raise self._wrong(f"the rate is {_LEAST_RATE} bytes per second at least")

    def _wrong(self, why: str, hint: str = "") -> UsageError:
        return UsageError(f"replication {self.name[:100]}: {why}", hint=hint)


def _count(namespace: str, name: str) -> int:
    """How often a namespace stands in a name."""
    wanted, parts = namespace.split("/"), name.split("/")
    return sum(parts[start : start + len(wanted)] == wanted for start in range(len(parts)))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_replication(rules: Iterable[ReplicationRule], namespaces: Iterable[str]) -> None:
    """Raises UsageError for rules that cannot be told apart, or that would pull into a namespace that holds
    copies of an upstream.
    """
    found, taken = list(rules), list(namespaces)
    names = [rule.name for rule in found]
    if len(set(names)) < len(names):
        raise UsageError("two rules of replication have one name")
    for rule in found:
        for namespace in taken if rule.direction == PULL else ():
            if f"{rule.prefix}/".startswith(f"{namespace}/"):
                raise UsageError(f"replication {rule.name}: {namespace} holds copies of an upstream")
