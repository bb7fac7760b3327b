"""What changes in the other registry comes here, every so often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....grammars.wire.conditions import Conditions, etag
from ....grammars.wire.errors import Code, refusal
from ....grammars.wire.routes import is_name, is_tag
from ....ground.work.threads import in_parallel
from ....images.arrows.copying import Choice, copy
from ....images.arrows.mirroring import is_referrers_tag
from ....stores.activity import Author
from ....stores.catalog import WriteConditions
from ....words.digest import Digest
from ....words.errors import InvalidName, NotFound, RegistryError, TooLarge
from ..repository import LocalSink
from .model import COPIED, DELETED, SKIPPED, UNCHANGED, ReplicationOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from ....stores.activity import Action
    from ....stores.replication import ReplicationRow
    from ....words.oci import Descriptor
    from .model import RemoteRepository, ReplicationPace, ReplicationPlace, Sides

MOST_REPOSITORIES, MOST_TAGS = 10_000, 100_000
"""That one rule looks at: a list without an end must not fill the memory."""
_AT_ONCE, _SIDE_BY_SIDE = 40, 4
_PATTERN = frozenset("*?[")


class PullComparison:
    """What is there against what is here."""

    def __init__(self, sides: Sides) -> None:
        self._rule, self._catalog, self._queue, self._registry = sides

    def differences(self) -> Iterator[tuple[str, str, str]]:
        """Tags that name something else there than here, and those that are the same."""
        for name in self._repositories():
            tags = self._tags(name)
            for start in range(0, len(tags), _AT_ONCE):
                for tag, digest in self._compared(name, tags[start : start + _AT_ONCE]):
                    yield name, tag, digest

    def _repositories(self) -> Iterator[str]:
        """Those that are named need not be listed. Raises TooLarge, RegistryError."""
        patterns = self._rule.repositories
        if not any(_PATTERN & set(pattern) for pattern in patterns):
            yield from (name for name in patterns if self._rule.wants(name))
            return
        count = 0
        for name in self._registry.repositories():
            if not self._rule.wants(name) or not is_name(name):
                continue
            count += 1
            if count > MOST_REPOSITORIES:
                raise TooLarge(f"more than {MOST_REPOSITORIES} repositories match: narrow the patterns")
            yield name

    def _tags(self, name: str) -> list[str]:
        found = []
        try:
            for tag in self._remote(name).tags():
                if is_tag(tag) and self._rule.wants(name, tag) and not is_referrers_tag(tag):
                    found.append(tag)
                if len(found) > MOST_TAGS:
                    raise TooLarge(f"more than {MOST_TAGS} tags of {name} match: narrow the patterns")
        except NotFound:
            return []
        return found

    def _compared(self, name: str, tags: list[str]) -> list[tuple[str, str]]:
        """Tags, with the digest that they have there where it is to be brought, else ""."""
        target, found = self._remote(name), dict[str, str]()

        def look(tag: str, _stop: Event) -> None:
            found[tag] = self._differing(target, name, tag)

        in_parallel(look, tags, _SIDE_BY_SIDE)
        return list(found.items())

    def _differing(self, target: RemoteRepository, name: str, tag: str) -> str:
        try:
            said = self._said(target, name, tag)
        except NotFound:  # it went meanwhile
            return ""
        here = self._rule.renamed(name)
        stored = self._catalog.manifest(here, tag)
        if stored is None or stored.digest != said.digest:
            return str(said.digest)
        return str(said.digest) if self._lacks_referrers(target, here, said.digest) else ""

    def _lacks_referrers(self, target: RemoteRepository, here: str, digest: Digest) -> bool:
        """Of an index they may refer to its images as well: those come with the index alone."""
        if not self._rule.referrers:
            return False
        return any(self._catalog.manifest(here, one.digest) is None for one in target.referrers(digest))

    def _remote(self, name: str) -> RemoteRepository:
        return self._registry.repository(name)

    def _said(self, target: RemoteRepository, name: str, tag: str) -> Descriptor:
        reference = self._registry.reference(name, tag)
        return target.head(reference) or target.resolve(reference)[0]


class Pulling(PullComparison):
    """By asking: a registry tells nobody what changed."""

    def __init__(self, place: ReplicationPlace) -> None:
        super().__init__(place.sides)
        self._place = place

    # ── what is to be done ──

    def changes(self) -> Iterator[object]:
        """None: the other side tells of nothing."""
        return iter(())

    def everything(self) -> Iterator[object]:
        """Tags that name something else there than here, and what is not there any more."""
        for name in self._repositories():
            tags = self._tags(name)
            for start in range(0, len(tags), _AT_ONCE):
                found = self._compared(name, tags[start : start + _AT_ONCE])
                yield self._queue.add((name, tag) for tag, digest in found if digest)
            yield self._queue.add((name, tag) for tag in self._gone(name, tags))

    def _gone(self, name: str, tags: list[str]) -> list[str]:
        """Tags that came from there and are there no more. If all of them are, somebody made a mistake."""
        if not self._rule.deletes or not tags:
            return []
        there = set(tags)
        return [row.reference for row in self._queue.brought(name) if row.reference not in there]

    # ── doing it ──

    def bring(self, row: ReplicationRow, pace: ReplicationPace) -> ReplicationOutcome:
        """Let the tag here name what it names there now. Raises NacreError."""
        rule, name = self._rule, self._rule.renamed(row.repository)
        if not is_name(name):
            raise InvalidName(f"{name[:200]!r} is no name of a repository here")
        self._check_ours(name)
        target = self._remote(row.repository)
        try:
            said = self._said(target, row.repository, row.reference)
        except NotFound:
            return self._remove(row, name)
        # by digest: what the HEAD spoke of, whatever the tag means by now
        reference = self._registry.reference(row.repository, row.reference, said.digest)
        sink = LocalSink(self._place.own, name, pace, self._place.author, said.digest)
        choice = Choice(all=True, exact=True, referrers=rule.referrers)
        done = copy(target, reference, sink, row.reference, choice)
        status = COPIED if done.changed or done.referrers else UNCHANGED
        return ReplicationOutcome(status, str(said.digest), done.moved)

    def _check_ours(self, repository: str) -> None:
        if self._queue.is_copy(repository):
            raise refusal(Code.UNSUPPORTED, f"{repository} holds copies of an upstream")

    def note(self, row: ReplicationRow, outcome: ReplicationOutcome) -> Action | None:
        """Nothing: the push and the deletion are noted as such."""
        return None

    def _remove(self, row: ReplicationRow, name: str) -> ReplicationOutcome:
        """What is not there any more, if it came from there and is still the same here."""
        if not row.digest or not self._rule.deletes:
            return ReplicationOutcome(SKIPPED, why="it is gone")
        if self._place.own.store.accounts.is_immutable(name, row.reference):
            return ReplicationOutcome(SKIPPED, why="it is immutable here, so it stays")
        guard = WriteConditions(row.reference, Conditions(etag(Digest(row.digest)), ""))
        try:
            gone = self._catalog.delete_tag(name, row.reference, guard, Author(self._place.author))
        except RegistryError:
            return ReplicationOutcome(SKIPPED, why="it names something else here, so it stays")
        return ReplicationOutcome(
            DELETED if gone else SKIPPED, why="" if gone else "it is gone on both sides"
        )
