"""What changes here goes to the other registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....images.arrows.copying import Choice, copy
from ....images.arrows.mirroring import is_referrers_tag
from ....stores.activity import Action
from ....words.digest import Digest
from ....words.errors import NotFound, RegistryError, Unauthorized, Unreachable, Unsupported
from ....words.reference import Reference
from ..repository import LocalSource
from .model import COPIED, DELETED, SKIPPED, UNCHANGED, ReplicationOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ....stores.activity import ActivityEntry
    from ....stores.replication import ReplicationRow
    from .model import RemoteRepository, ReplicationPace, ReplicationPlace, Sides

_AT_ONCE = 200
_MOST_TAGS = 500
"""Tags of a repository there that are looked at before a manifest is deleted."""
_TOLD = ("push", "tag", "restore", "delete")
_ORIGINS = 3
"""Repositories of the other side from which it is asked to take a blob over."""


class PushComparison:
    """What is here against what is there."""

    def __init__(self, sides: Sides) -> None:
        self._rule, self._catalog, self._queue, self._registry = sides

    def _wants(self, name: str, tag: str) -> bool:
        return self._rule.wants(name, tag) and not is_referrers_tag(tag)

    def _remote(self, name: str) -> RemoteRepository:
        return self._registry.repository(self._rule.renamed(name))

    def _there(self, name: str, tag: str = "", digest: str = "") -> Reference:
        named = Digest(digest) if digest else None
        return self._registry.reference(self._rule.renamed(name), tag, named)

    def _repositories(self) -> Iterator[str]:
        last = ""
        while names := self._catalog.repositories(last, _AT_ONCE):
            yield from (name for name in names if self._rule.wants(name) and not self._queue.is_copy(name))
            last = names[-1]

    def _tags(self, name: str) -> Iterator[list[str]]:
        last = ""
        while tags := self._catalog.tags(name, last, _AT_ONCE):
            yield [tag for tag in tags if self._wants(name, tag)]
            last = tags[-1]

    def differences(self) -> Iterator[tuple[str, str, str]]:
        """What the other side has not, or under another digest."""
        for name in self._repositories():
            target = self._remote(name)
            for tag in (tag for tags in self._tags(name) for tag in tags):
                found = self._catalog.manifest(name, tag)
                there = _head(target, self._there(name, tag))
                differs = found is not None and there != found.digest
                yield name, tag, found.digest if found and differs else ""


class Pushing(PushComparison):
    """By the record of activity, in its order. What it no longer has is made up for by comparing all."""

    def __init__(self, place: ReplicationPlace) -> None:
        super().__init__(place.sides)
        self._place = place

    # ── what is to be done ──

    def changes(self) -> Iterator[object]:
        """Entries of the record become rows."""
        while entries := self._place.own.activity.after(self._queue.progress.position, _AT_ONCE):
            self._queue.add(key for entry in entries for key in self._told(entry))
            self._queue.keep(self._queue.progress._replace(position=entries[-1].id))
            yield entries[-1].id

    def _told(self, entry: ActivityEntry) -> Iterable[tuple[str, str]]:
        rule, name = self._rule, entry.repository
        if entry.action not in _TOLD or not rule.wants(name) or self._queue.is_copy(name):
            return ()
        if entry.reference:
            return [(name, entry.reference)] if self._wants(name, entry.reference) else ()
        if entry.action == "delete":
            return [(name, row.reference) for row in self._queue.brought(name, entry.digest)]
        refers = rule.referrers and entry.digest and self._queue.subject(name, entry.digest)
        return [(name, entry.digest)] if refers else ()

    def everything(self) -> Iterator[object]:
        """All tags, since the other side alone knows what it has; and those that are not here any more."""
        for name in self._repositories():
            for tags in self._tags(name):
                yield self._queue.add((name, tag) for tag in tags)
        for name in self._queue.brought_of():
            gone = (row.reference for row in self._queue.brought(name) if self._is_gone(name, row.reference))
            yield self._queue.add((name, reference) for reference in gone)

    def _is_gone(self, name: str, reference: str) -> bool:
        return self._catalog.manifest(name, reference) is None

    # ── doing it ──

    def bring(self, row: ReplicationRow, pace: ReplicationPace) -> ReplicationOutcome:
        """Let the tag there name what it names here now. Raises NacreError."""
        found = self._catalog.manifest(row.repository, row.reference)
        if found is None:
            return self._remove(row)
        target, by_digest = self._remote(row.repository), ":" in row.reference
        if by_digest and not self._is_wanted_there(row, target):
            return ReplicationOutcome(SKIPPED, why="what it refers to is not there")
        choice = Choice(all=True, exact=True, referrers=self._rule.referrers)
        reference = Reference("here", row.repository, "" if by_digest else row.reference, found.digest)
        source = PushedRepository(self._place, row.repository, pace)
        done = copy(source, reference, target, row.reference, choice)
        status = COPIED if done.changed or done.referrers else UNCHANGED
        return ReplicationOutcome(status, str(found.digest), done.moved)

    def note(self, row: ReplicationRow, outcome: ReplicationOutcome) -> Action | None:
        """What went there, or was deleted there."""
        if outcome.status not in (COPIED, DELETED):
            return None
        tag = "" if ":" in row.reference else row.reference
        return Action("replicate", row.repository, tag, outcome.digest, "" if outcome.digest else row.digest)

    def _is_wanted_there(self, row: ReplicationRow, target: RemoteRepository) -> bool:
        """A referrer follows its subject: without that it would be lost there, and it comes with it."""
        subject = self._queue.subject(row.repository, row.reference)
        return bool(subject) and _head(target, self._there(row.repository, digest=subject)) != ""

    def _remove(self, row: ReplicationRow) -> ReplicationOutcome:
        """What is not here any more, if it is there by us and still the same."""
        if not row.digest or not self._rule.deletes:
            return ReplicationOutcome(SKIPPED, why="it is gone")
        target, by_digest = self._remote(row.repository), ":" in row.reference
        place = self._there(
            row.repository, "" if by_digest else row.reference, row.digest if by_digest else ""
        )
        there = _head(target, place)
        if not there:
            return ReplicationOutcome(SKIPPED, why="it is gone on both sides")
        if there != row.digest:
            return ReplicationOutcome(SKIPPED, why="it names something else there, so it stays")
        self._delete(target, row, there)
        return ReplicationOutcome(DELETED)

    def _delete(self, target: RemoteRepository, row: ReplicationRow, digest: str) -> None:
        """Where a registry deletes by digest only, so that no other tag loses its manifest."""
        try:
            target.delete(row.reference)
        except (Unauthorized, Unreachable, NotFound):
            raise
        except RegistryError as error:
            if ":" in row.reference or error.status not in (400, 405):
                raise
            self._check_alone(target, row, digest)
            target.delete(digest)

    def _check_alone(self, target: RemoteRepository, row: ReplicationRow, digest: str) -> None:
        for number, tag in enumerate(target.tags()):
            same = tag != row.reference and _head(target, self._there(row.repository, tag)) == digest
            if same or number >= _MOST_TAGS:
                why = "another tag has" if same else "too many other tags may have"
                raise Unsupported(f"the other registry deletes only by digest, and {why} the same one")


def _head(target: RemoteRepository, reference: Reference) -> str:
    """What it names there, "" for nothing."""
    try:
        found = target.head(reference) or target.resolve(reference)[0]
    except NotFound:
        return ""
    return str(found.digest)


class PushedRepository(LocalSource):
    """What a rule pushes of."""

    def __init__(self, place: ReplicationPlace, name: str, pace: ReplicationPace) -> None:
        super().__init__(place.own, name, pace)
        self._place, self._target = place, place.remote.reference(place.rule.renamed(name))

    def origins(self, digest: Digest) -> list[str]:
        """Full names of what, at the other side, may have a blob already."""
        rule, host = self._place.rule, self._target.registry
        names = self._place.queue.holders(digest, self.name, _ORIGINS)
        return [f"{host}/{rule.renamed(name)}" for name in names if rule.wants(name)]
