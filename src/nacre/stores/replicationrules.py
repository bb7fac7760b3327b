"""The rules of replication that a registry follows, and how far each is.

Rules stand in the configuration, or were added by command (`replication.AddedRules`); a name is one of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..words.errors import NotFound, UsageError
from ..words.replication import check_replication
from ..words.value import Value
from .replication import AddedRules, ReplicationQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..words.replication import ReplicationRule
    from ..words.rules import RegistryRules
    from .catalog import Catalog


class ReplicationState(Value):
    """How far a rule is: how many tags wait, were given up, and are done; why the other registry is not asked
    for now, "" if it is. `added`: by command.
    """

    name: str
    direction: str
    registry: str
    added: bool
    waiting: int
    failed: int
    done: int
    since: float
    error: str


class ReplicationFailure(Value):
    """A tag of a rule that waits, or was given up; `tries` of it have failed. `again`, in seconds since 1970,
    is when it is tried again, 0.0 for never.
    """

    rule: str
    repository: str
    reference: str
    tries: int
    again: float
    error: str


class ReplicationRules:
    """Of the registry with this catalog; `rules` are those of its configuration. Raises StoreError."""

    def __init__(self, catalog: Catalog, rules: RegistryRules) -> None:
        self._catalog, self._rules = catalog, rules
        self._added = AddedRules(catalog)

    def all(self) -> dict[str, ReplicationRule]:
        """By name; what the configuration says comes before what was added."""
        return {rule.name: rule for rule in (*self._added.all(), *self._rules.replication)}

    def rule(self, name: str) -> ReplicationRule:
        """The one of that name. Raises NotFound."""
        found = self.all().get(name)
        if found is None:
            hint = "name the configuration with --config" if not self._rules.replication else ""
            raise NotFound(f"no rule of replication {name[:100]}", hint=hint)
        return found

    def queue(self, name: str) -> ReplicationQueue:
        """The rows of a rule. Raises NotFound."""
        return ReplicationQueue(self._catalog, self.rule(name).name)

    def states(self) -> list[ReplicationState]:
        """How far each rule is."""
        return [self._state(rule) for rule in self.all().values()]

    def state(self, name: str) -> ReplicationState:
        """How far one is. Raises NotFound."""
        return self._state(self.rule(name))

    def _state(self, rule: ReplicationRule) -> ReplicationState:
        queue = ReplicationQueue(self._catalog, rule.name)
        progress = queue.progress
        added = all(said.name != rule.name for said in self._rules.replication)
        error = progress.error if progress.tries else ""
        return ReplicationState(rule.name, rule.direction, rule.registry, added, *queue.counts(), error)

    def failures(self, names: Sequence[str] = (), limit: int = 100) -> list[ReplicationFailure]:
        """What waits or was given up, of these rules or of all; of each at most `limit`. Raises NotFound."""
        return [
            ReplicationFailure(
                name, row.repository, row.reference, row.tries, row.again if row.number else 0.0, row.error
            )
            for name in names or self.all()
            for row in self.queue(name).unfinished(limit)
        ]

    def add(self, rule: ReplicationRule) -> None:
        """Keep a rule, in the place of one of its name: whoever serves the registry follows it at once.

        The database of the registry has its password as it is. Raises UsageError.
        """
        if any(each.name == rule.name for each in self._rules.replication):
            raise UsageError(f"the configuration has a rule of replication {rule.name}")
        check_replication([rule], [upstream.namespace for upstream in self._rules.upstreams])
        self._added.add(rule)

    def remove(self, name: str) -> None:
        """Drop a rule that was added. What it brought stays. Raises NotFound."""
        if not self._added.remove(name):
            raise NotFound(f"no rule of replication {name[:100]} was added by command")
