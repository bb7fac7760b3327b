"""What replicates of a registry elsewhere, with the methods of `RegistryReplication`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..stores.replicationrules import ReplicationFailure, ReplicationState
from .remoteapi import RemotePart
from .replication import ReplicationDifference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..grammars.management import records as r
    from ..words.replication import ReplicationRule


class RemoteReplication(RemotePart):
    """What an administrator of that registry may. Raises as `RegistryApi.ask`."""

    def states(self) -> list[ReplicationState]:
        """How far each rule is."""
        return [_state(one) for one in self._api.ask("listReplications").replications]

    def failures(self, names: Sequence[str] = (), limit: int = 100) -> list[ReplicationFailure]:
        """What waits or was given up, of these rules or of all; of each at most `limit` and 1000."""
        return [
            ReplicationFailure(
                name, one.repository, one.reference, one.tries, one.again.timestamp() if one.again else 0.0,
                one.error,
            )
            for name in names or [state.name for state in self.states()]
            for one in self._api.ask(
                "listReplicationFailures", None, {"n": min(limit, 1000)}, replication=name
            ).failures
        ]  # fmt: skip

    def add(self, rule: ReplicationRule) -> None:
        """Keep a rule, in the place of one of its name that was added."""
        said: dict[str, Any] = {
            name: list(value) if isinstance(value := getattr(rule, name), tuple) else value
            for name in rule._fields
            if name != "name"
        }
        self._api.ask("setReplication", said, replication=rule.name)

    def remove(self, name: str) -> None:
        """Drop a rule that was added. What it brought stays."""
        self._api.ask("removeReplication", replication=name)

    def compare(self, name: str, tell: Callable[[ReplicationDifference], object]) -> tuple[int, int]:
        """How many tags a rule would bring now, and how many are the same. `tell` hears of the first
        thousand that it would bring; nothing is changed.
        """
        found = self._finished("compareReplication", replication=name).comparison
        assert found is not None
        for one in found.differences:
            tell(ReplicationDifference(one.repository, one.tag, one.digest))
        return found.count, found.unchanged

    def run(
        self, name: str, tell: Callable[[str], object], warn: Callable[[str], object]
    ) -> ReplicationState | None:
        """Ask the registry to compare everything and bring what differs; it does so by and by: None."""
        self._api.ask("runReplication", replication=name)
        return None


def _state(one: r.ReplicationRecord) -> ReplicationState:
    since = one.since.timestamp() if one.since else 0.0
    how = (one.added, one.waiting, one.failed, one.done, since, one.error)
    return ReplicationState(one.name, one.direction, one.registry, *how)
