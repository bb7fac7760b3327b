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
    from .model import ReplicationLook, Sides

    Remotes = Callable[[ReplicationRule], RemoteRegistry]

__all__ = ["comparison", "replicator", "replicator_job"]

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


def comparison(sides: Sides) -> ReplicationLook:
    """What only looks at what a rule would do."""
    return PushComparison(sides) if sides.rule.direction == PUSH else PullComparison(sides)
