"""Which rules of replication a registry has: those of its configuration, and those that come by command.

Who has none loads nothing of what does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...stores.replication import AddedRules
from .jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ...stores.replication import ReplicationCounts
    from ...words.replication import ReplicationRule
    from .jobs import Jobs
    from .replication import Remotes
    from .replication.runner import Replicator
    from .state import RegistryState

_EVERY = 3.0
REPLICATION = {
    "waiting": "Tags that wait for a rule of replication",
    "failed": "Tags that a rule of replication gave up",
    "done": "Tags that both sides of a rule of replication have",
    "lag_seconds": "How long the oldest tag of a rule of replication waits",
    "tags_total": "Tags that were looked at, by what became of them",
    "sent_bytes_total": "Bytes that were moved",
}
"""Metrics of rules, without the beginnings of their names, and what they say."""


class ReplicationLine(NamedTuple):
    """A rule in a list; `error`: why the other registry is not asked for now."""

    name: str
    direction: str
    host: str
    counts: ReplicationCounts
    error: str


class ReplicationJobs:
    """Those of one registry: a job for each rule, begun and ended while it is served."""

    def __init__(
        self, state: RegistryState, remotes: Remotes, jobs: Jobs, tell: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> None:  # fmt: skip
        self._state, self._remotes, self._jobs, self._tell, self._warn = state, remotes, jobs, tell, warn
        self._added = AddedRules(state.catalog)
        self._followed: str | None = None
        self._replicators: dict[str, Replicator] = {}

    @property
    def replicators(self) -> Mapping[str, Replicator]:
        """By the names of their rules."""
        return dict(self._replicators)

    def samples(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Metrics by name: labels and values."""
        found: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in REPLICATION}
        now = self._state.catalog.now()
        for name, each in sorted(self._replicators.items()):
            label, totals = {"rule": name}, each.totals
            waiting, failed, done, since = each.queue.counts()
            lag = max(0.0, now - since) if waiting else 0.0
            for metric, value in zip(
                ("waiting", "failed", "done", "lag_seconds"), (waiting, failed, done, lag), strict=True
            ):
                found[metric].append((label, value))
            found["sent_bytes_total"].append((label, totals.moved))
            for result, count in sorted(totals.tags.items()):
                found["tags_total"].append(({**label, "result": result}, count))
        return {name: samples for name, samples in found.items() if samples}

    def lines(self) -> list[ReplicationLine]:
        """How far each rule is."""
        found = []
        for name, each in sorted(self._replicators.items()):
            progress, rule = each.queue.progress, each.place.rule
            error = progress.error if progress.tries else ""
            found.append(ReplicationLine(name, rule.direction, rule.host, each.queue.counts(), error))
        return found

    def following(self) -> Job:
        """What looks for rules that came or went: every process does for itself."""
        return Job("replication rules", self._follow, _EVERY, due=self._is_due, each=True)

    def _is_due(self) -> bool:
        return self._followed != self._added.text

    def _follow(self) -> Iterator[int]:
        """End what changed or went, and begin what is new."""
        text = self._added.text
        rules = {rule.name: rule for rule in (*self._added.all(), *self._state.rules.replication)}
        for name in list(self._replicators):
            if self._replicators[name].place.rule != rules.get(name):
                self._jobs.end(f"replication {name}")
                self._replicators.pop(name).close()
        for name, rule in rules.items():
            if name not in self._replicators:
                self._begin(name, rule)
        self._followed = text
        yield len(rules)

    def _begin(self, name: str, rule: ReplicationRule) -> None:
        from .replication import replicator, replicator_job
        from .repository import OwnRegistry

        own = OwnRegistry.of(self._state)
        made = self._replicators[name] = replicator(rule, own, self._remotes(rule), self._tell, self._warn)
        self._jobs.add(replicator_job(made))

    def close(self) -> None:
        """End what is under way; may take some seconds."""
        for each in self._replicators.values():
            each.close()
