"""Rules of replication: what they are, how far they are, and what they would bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ....grammars.management import records as r
from ....stores.replicationrules import ReplicationRules
from ....words.errors import Unsupported
from ....words.replication import ReplicationRule
from .people import moment
from .upkeep import MOST_TOLD, run_record

if TYPE_CHECKING:
    from ....stores.replicationrules import ReplicationFailure, ReplicationState
    from ..app import Registry
    from .call import Handler, ManagementCall
    from .running import Heartbeat, RunningJobs


class ReplicationCalls:
    """The handlers of one registry; what takes long is done by `running`."""

    def __init__(self, registry: Registry, running: RunningJobs) -> None:
        self._registry, self._running, self._run = registry, running, registry.state.work.run
        self._rules = ReplicationRules(registry.state.catalog, registry.state.rules)
        self.handlers: dict[str, Handler] = {
            "listReplications": self.rules, "setReplication": self.set, "removeReplication": self.remove,
            "listReplicationFailures": self.failures, "runReplication": self.run,
            "compareReplication": self.compare,
        }  # fmt: skip

    async def rules(self, call: ManagementCall) -> object:
        """All of them: there are few."""
        return r.ReplicationPage(replications=await self._run(self._records))

    def _records(self) -> list[r.ReplicationRecord]:
        known = self._rules.all()
        return [_record(known[state.name], state) for state in self._rules.states() if state.name in known]

    def _record(self, name: str) -> r.ReplicationRecord:
        return _record(self._rules.rule(name), self._rules.state(name))

    async def set(self, call: ManagementCall) -> object:
        """Add a rule, or replace one. Raises UsageError."""
        name = call.parameters["replication"]
        fields: dict[str, Any] = {
            field: tuple(value) if isinstance(value, list) else value
            for field, value in msgspec.structs.asdict(call.body).items()
        }
        rule = ReplicationRule(name, **fields)

        def add() -> r.ReplicationRecord:
            self._rules.add(rule)
            return self._record(name)

        return await self._run(add)

    async def remove(self, call: ManagementCall) -> None:
        """What was brought stays. Raises NotFound."""
        await self._run(self._rules.remove, call.parameters["replication"])

    async def failures(self, call: ManagementCall) -> object:
        """What waits or was given up. Raises NotFound."""
        found = await self._run(self._rules.failures, [call.parameters["replication"]], call.query.n)
        return r.ReplicationFailurePage(failures=[_failure(each) for each in found])

    async def run(self, call: ManagementCall) -> object:
        """Whoever does the rule's work compares everything, and tries again what was given up. Raises
        NotFound.
        """
        name = call.parameters["replication"]

        def want() -> r.ReplicationRecord:
            self._rules.queue(name).want()
            return self._record(name)

        found = await self._run(want)
        self._registry.jobs.wake(f"replication {name}")
        return found

    async def compare(self, call: ManagementCall) -> object:
        """Begin to look at what a rule would bring. Raises NotFound, Conflict, Unsupported."""
        rule = await self._run(self._rules.rule, call.parameters["replication"])
        if self._registry.outgoing.remote is None:
            raise Unsupported("this registry cannot ask others")
        return run_record(
            await self._running.begin("comparison", call.user, lambda beat: self._compared(rule, beat))
        )

    def _compared(self, rule: ReplicationRule, beat: Heartbeat) -> Any:
        from ..replication import compared
        from ..replication.model import Sides

        told: list[r.DifferenceRecord] = []

        def tell(*place: str) -> None:
            if len(told) < MOST_TOLD:
                told.append(r.DifferenceRecord(*map(str, place)))

        open_remote, catalog = self._registry.outgoing.remote, self._registry.state.catalog
        assert open_remote is not None
        remote = open_remote(rule)
        try:
            sides = Sides(rule, catalog, self._rules.queue(rule.name), remote)
            count, unchanged = compared(sides, tell, beat)
        finally:
            remote.close()
        result = r.ComparisonResult(rule=rule.name, differences=told, count=count, unchanged=unchanged)
        return {"comparison": msgspec.to_builtins(result)}


def _record(rule: ReplicationRule, state: ReplicationState) -> r.ReplicationRecord:
    fields: dict[str, Any] = {
        name: list(value) if isinstance(value := getattr(rule, name), tuple) else value
        for name in rule._fields
        if name != "password"
    }
    return r.ReplicationRecord(
        **fields, added=state.added, waiting=state.waiting, failed=state.failed, done=state.done,
        since=moment(state.since) if state.since else None, error=state.error,
    )  # fmt: skip


def _failure(one: ReplicationFailure) -> r.ReplicationFailureRecord:
    return r.ReplicationFailureRecord(
        repository=one.repository, reference=one.reference, tries=one.tries,
        again=moment(one.again) if one.again else None, error=one.error,
    )  # fmt: skip
