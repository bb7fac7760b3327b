"""Replication: what changes here goes to other registries, what changes there comes here, by rule.

    runner      rows of `stores.replication` ─► threads
    pushing     the record of activity ─► rows; LocalSource ─► the other registry
    pulling     lists of the other registry ─► rows; that ─► LocalSink
    model       what is needed of the other registry, which the engine fills

Each rule has a job of its own, so that a slow registry holds up no other one; of several processes with one
catalog one does it. Nothing is sent that the other side has, so a rule that is done twice, a restart and two
registries that replicate each other end in the same: nothing to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....stores.replication import ReplicationQueue
from ....words.replication import PUSH
from ..jobs import Job
from .model import RemoteRegistry, ReplicationPlace
from .pulling import PullComparison, Pulling
from .pushing import PushComparison, Pushing
from .runner import Replicator

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....words.replication import ReplicationRule
    from ..repository import OwnRegistry
    from .model import Sides

    Remotes = Callable[[ReplicationRule], RemoteRegistry]

__all__ = ["compared", "replicator", "replicator_job"]

_EVERY = 1.0


def replicator(
    rule: ReplicationRule, own: OwnRegistry, remote: RemoteRegistry, tell: Callable[[str], object],
    warn: Callable[[str], object],
) -> Replicator:  # fmt: skip
    """What does what a rule says. `remote` is closed by whoever opened it; `tell` takes a line for what was
    done, `warn` for what failed.
    """
    queue = ReplicationQueue(own.store.catalog, rule.name)
    place = ReplicationPlace(rule, own, queue, remote)
    way = Pushing(place) if rule.direction == PUSH else Pulling(place)
    return Replicator(place, way, tell, warn)


def replicator_job(made: Replicator) -> Job:
    """What a registry that is served does it by."""
    return Job(made.place.author, made.steps, _EVERY, due=made.is_due)


def compared(
    sides: Sides, tell: Callable[[str, str, str], object], beat: Callable[[], object] = lambda: None
) -> tuple[int, int]:
    """How many tags a rule would bring, and how many are the same; `beat` is called for each of them.

    `tell` hears repository, tag and digest of what it would bring. Nothing is changed. Raises RegistryError.
    """
    count = same = 0
    look = PushComparison(sides) if sides.rule.direction == PUSH else PullComparison(sides)
    for repository, tag, digest in look.differences():
        beat()
        if digest:
            count += 1
            tell(repository, tag, digest)
        else:
            same += 1
    return count, same
