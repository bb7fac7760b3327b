"""What replication needs of another registry: protocols, which the engine fills, and the values of both ways.

Nothing that another registry says is believed: what comes is verified, as long as it takes is bounded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ....images.model.source import Referring, TagAwareSink
from ....words.errors import RegistryError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ....stores.activity import Action
    from ....stores.catalog import Catalog
    from ....stores.replication import ReplicationQueue, ReplicationRow
    from ....words.digest import Digest
    from ....words.oci import Descriptor
    from ....words.reference import Reference
    from ....words.replication import ReplicationRule
    from ..repository import OwnRegistry

COPIED, UNCHANGED, DELETED, SKIPPED = "copied", "unchanged", "deleted", "skipped"
"""What can become of a tag."""
_JUDGED = 60.0
"""Seconds after which the speed of the other side counts."""


class RemoteRepository(Referring, TagAwareSink, Protocol):
    """A repository of another registry. Safe to use from many threads.

    Each method raises NotFound for what is not there, and RegistryError.
    """

    def head(self, reference: Reference) -> Descriptor | None:
        """What a tag or digest is said to name; None when it does not say all."""

    def tags(self) -> Iterator[str]:
        """All of them, page by page."""

    def delete(self, target: str) -> None:
        """Remove a tag, or a manifest by digest."""


class RemoteRegistry(Protocol):
    """Another registry, with credentials of its own."""

    def repository(self, name: str) -> RemoteRepository:
        """One of its repositories; it is not asked for anything."""

    def repositories(self) -> Iterable[str]:
        """Those that it tells of."""

    def reference(self, repository: str, tag: str = "", digest: Digest | None = None) -> Reference:
        """The full name of something there."""

    def close(self) -> None:
        """End what other threads wait for."""


class ReplicationOutcome(NamedTuple):
    """What became of a tag. `digest`: what the side to which it goes has now, "" for nothing; `moved`: bytes
    that were sent; `why` it was skipped.
    """

    status: str
    digest: str = ""
    moved: int = 0
    why: str = ""


class Sides(NamedTuple):
    """What is needed to compare both sides of a rule; nothing is changed."""

    rule: ReplicationRule
    catalog: Catalog
    queue: ReplicationQueue
    remote: RemoteRegistry


class ReplicationPlace(NamedTuple):
    """Where a rule is at work."""

    rule: ReplicationRule
    own: OwnRegistry
    queue: ReplicationQueue
    remote: RemoteRegistry

    @property
    def sides(self) -> Sides:
        """What both sides are compared by."""
        return Sides(self.rule, self.own.store.catalog, self.queue, self.remote)

    @property
    def author(self) -> str:
        """Who the record of activity says did it."""
        return f"replication {self.rule.name}"


class ReplicationWay(Protocol):
    """One of the two ways: push or pull."""

    def changes(self) -> Iterator[object]:
        """What changed since the last time becomes rows, a little at each step."""

    def everything(self) -> Iterator[object]:
        """What differs, of all that the rule is for, becomes rows."""

    def bring(self, row: ReplicationRow, pace: ReplicationPace) -> ReplicationOutcome:
        """Do what a row needs. In a thread. Raises NacreError."""

    def note(self, row: ReplicationRow, outcome: ReplicationOutcome) -> Action | None:
        """What the record of activity is to say."""


class ReplicationStopped(Unreachable):
    """It was to end; nothing is wrong."""


class ReplicationTooSlow(RegistryError):
    """A tag, or one of its blobs, takes too long."""


class ReplicationPace:
    """How long one tag may take. `stop` from any thread."""

    def __init__(self, seconds: float, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._rate = clock, rate
        self._end, self.seconds = clock() + seconds, seconds
        self._stopped = False

    def stop(self) -> None:
        """End it at the next step."""
        self._stopped = True

    def check(self) -> None:
        """Ends it if it must end. Raises ReplicationStopped, ReplicationTooSlow."""
        if self._stopped:
            raise ReplicationStopped("replication ends")
        if self._clock() > self._end:
            raise ReplicationTooSlow(f"it takes longer than {self.seconds:g} seconds")

    def meter(self) -> Callable[[int], None]:
        """For one stream: told of the bytes that passed, it raises as `check`, and if it is too slow."""
        began, count = self._clock(), 0

        def passed(more: int) -> None:
            nonlocal count
            count += more
            self.check()
            seconds = self._clock() - began
            if seconds > _JUDGED and count < seconds * self._rate:
                raise ReplicationTooSlow(f"it moves slower than {self._rate} bytes per second")

        return passed
