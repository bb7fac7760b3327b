"""Tags that go by the rules of the operator.

For each tag the first rule decides that is for its repository and for it. The rule keeps the newest of its
tags, and those that were pushed not long ago; what it keeps by neither goes. Immutable tags and those that no
rule is for stay, and so does a tag that moves meanwhile.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from ..grammars.wire.conditions import Conditions, etag
from ..words.digest import Digest
from ..words.errors import RegistryError
from .activity import Author
from .catalog import WriteConditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..words.rules import RetentionRule
    from .accounts.reading import Accounts
    from .catalog import Catalog

_AT_ONCE = 500
_TAGS = """
    SELECT t.tag, t.digest, t.updated FROM tags t JOIN repositories r ON r.id = t.repository
    WHERE r.name = ? AND (t.updated, t.tag) < (?, ?) ORDER BY t.updated DESC, t.tag DESC LIMIT ?"""


class AgedTag(NamedTuple):
    """A tag and when it was pushed, in seconds since 1970."""

    tag: str
    digest: str
    updated: float


class ExpiredTag(NamedTuple):
    """A tag that goes, and the number of the rule by which, from 1."""

    repository: str
    tag: str
    digest: str
    updated: float
    rule: int


def expired(
    rules: Sequence[RetentionRule], repository: str, tags: Iterable[AgedTag], immutable: Sequence[str],
    now: float,
) -> Iterator[ExpiredTag]:  # fmt: skip
    """Those of `tags`, which come newest first, that go. `immutable`: patterns of tags that stay."""
    known = [
        (number, rule) for number, rule in enumerate(rules, 1) if _matches(repository, rule.repositories)
    ]
    kept = dict.fromkeys(range(1, len(rules) + 1), 0)
    for each in tags if known else ():
        number, rule = next(((number, rule) for number, rule in known if _is_for(rule, each.tag)), (0, None))
        if rule is None or _matches(each.tag, immutable):
            continue
        if kept[number] < rule.newest:
            kept[number] += 1
        elif now - each.updated >= rule.age:
            yield ExpiredTag(repository, *each, number)


def _is_for(rule: RetentionRule, tag: str) -> bool:
    return _matches(tag, rule.tags) and not _matches(tag, rule.exclude)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Retention:
    """In a catalog; `accounts` say which tags of a repository are immutable."""

    def __init__(self, catalog: Catalog, rules: Sequence[RetentionRule], accounts: Accounts) -> None:
        self._catalog, self._rules, self._accounts = catalog, rules, accounts

    def look(self) -> Iterator[ExpiredTag]:
        """What would go now."""
        last = ""
        while names := self._catalog.repositories(last, _AT_ONCE):
            for name in names:
                yield from self._of(name)
            last = names[-1]

    def _of(self, name: str) -> Iterator[ExpiredTag]:
        self._accounts.version()  # there may be no requests that find out what has changed
        immutable = self._accounts.immutable(name) if self._accounts.is_closed else ()
        return expired(self._rules, name, self._tags(name), immutable, self._catalog.now())

    def _tags(self, name: str) -> Iterator[AgedTag]:
        last: tuple[float, str] = (float("inf"), "")
        while rows := self._catalog.listed(_TAGS, name, *last, _AT_ONCE):
            yield from map(AgedTag._make, rows)
            last = (rows[-1][2], rows[-1][0])

    def steps(self) -> Iterator[int]:
        """Remove them, one at each step; how many so far. What goes can be restored for a while."""
        count = 0
        for each in self.look():
            count += self._remove(each)
            yield count

    def remove(self) -> Iterator[ExpiredTag]:
        """Remove them; those that went, each after it has."""
        return (each for each in self.look() if self._remove(each))

    def _remove(self, each: ExpiredTag) -> bool:
        """Unless somebody has moved it."""
        guard = WriteConditions(each.tag, Conditions(etag(Digest(each.digest)), ""))
        author = Author(f"retention rule {each.rule}")
        try:
            return self._catalog.delete_tag(each.repository, each.tag, guard, author)
        except RegistryError:
            return False
