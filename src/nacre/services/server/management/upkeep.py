"""Audit, storage, webhooks, and what takes long: collection, check and retention."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import UNSET

from ....grammars.management import records as r
from ....grammars.wire.errors import Code, refusal
from ....stores.accounts.model import audit_entry
from ....stores.activity import ActivityQuery
from ....stores.garbage import Garbage
from ....stores.integrity import CheckOptions, ContentFiles, ContentObjects, IntegrityCheck
from ....stores.retention import Retention
from ....words.errors import NotFound, UsageError
from ..counting import StorageCount
from ..documents import read
from .content import numbered
from .people import AccountCalls, moment
from .running import RunningJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....stores.accounts.model import AuditEntry
    from ....stores.catalog import Document
    from ....stores.rows import WrongValue
    from ....stores.runs import Run
    from ....stores.storage.objects import ObjectStorage
    from ....words.progress import Task
    from ..app import Registry
    from ..webhooks import Webhook
    from .call import ManagementCall
    from .running import Heartbeat

_PAUSE = 0.02
MOST_TOLD = 1000
"""Of what a run found."""


class UpkeepCalls(AccountCalls):
    """The handlers of one registry. `close` them."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.state)
        self._registry, self._count = registry, StorageCount(registry.state)
        self.running = RunningJobs(registry.state, registry.note)
        self.handlers = {
            "listAudit": self.audit, "getStorage": self.storage, "collect": self.collect,
            "check": self.check, "retain": self.retain, "listRuns": self.list_runs, "getRun": self.get_run,
            "listWebhooks": self.webhooks, "testWebhook": self.test_webhook,
        }  # fmt: skip

    async def close(self) -> None:
        """End what goes on beside the requests."""
        self._count.close()
        await self.running.close()

    # ── what is known ──

    async def audit(self, call: ManagementCall) -> object:
        """A page of both records, of activity and of accounts, the newest first."""
        query, state = call.query, self.state
        since = 0.0 if query.since is UNSET else query.since.timestamp()
        wanted = ActivityQuery(query.repository, query.user, query.action, since)
        done, settled = map(numbered, (query.last.partition(".")[::2]))
        most = query.n + 1
        did = await state.work.run(state.activity.page, done, most, wanted)
        set_ = await self.ask(call, lambda accounts: accounts.audited(settled, most, wanted))
        both = [(each.at, 0, each.id, audit_entry(each)) for each in did]
        both += [(entry.at, 1, number, entry) for number, entry in set_]
        both.sort(key=lambda each: each[:3], reverse=True)
        lasts = [done, settled]
        for _, which, number, _ in both[: query.n]:
            lasts[which] = number
        following = f"{lasts[0]}.{lasts[1]}" if len(both) > query.n else ""
        return r.AuditPage(entries=[_audited(each[3]) for each in both[: query.n]], next=following)

    async def storage(self, call: ManagementCall) -> object:
        """How much there is, as it was within the last minute."""
        counted = await self._count.get()
        assert counted is not None
        totals = counted.totals
        return r.StorageRecord(
            logical=totals.logical, stored=totals.stored, contents=totals.contents,
            unused=_garbage(counted.unused), due=_garbage(counted.due),
        )  # fmt: skip

    # ── what takes long ──

    async def collect(self, call: ManagementCall) -> object:
        """Begin a collection by the operator's rules. Raises Conflict."""
        dry_run = call.body.dry_run
        act = partial(self._collected, dry_run=dry_run)
        return run_record(await self.running.begin("gc", call.user, act, dry_run=dry_run))

    def _collected(self, beat: Heartbeat, *, dry_run: bool) -> Any:
        garbage = self.state.garbage
        if dry_run:
            unused, gone = garbage.look()
        else:
            gone = Garbage()
            for so_far in garbage.steps():
                gone = so_far
                beat()
                time.sleep(_PAUSE)
            unused = garbage.look()[0]
        result = r.GarbageResult(unused=_garbage(unused), gone=_garbage(gone))
        return {"gc": msgspec.to_builtins(result)}

    async def check(self, call: ManagementCall) -> object:
        """Begin a check. Raises Conflict."""
        how = CheckOptions(call.body.read, self.state.rules.sparse, call.body.rate)
        return run_record(await self.running.begin("check", call.user, partial(self._checked, how=how)))

    def _checked(self, beat: Heartbeat, how: CheckOptions) -> Any:
        storage, root = self.state.storage, self.state.store.root
        objects = cast("ObjectStorage", storage) if storage.is_shared else None
        content = ContentObjects(objects) if objects else ContentFiles(root)
        report = IntegrityCheck(self.state.catalog, content, _beating(beat), how, _Beats(beat)).run()
        damaged = [
            r.DamagedRecord(**(each._asdict() | {"references": list(each.references)}))
            for each in report.damaged[:MOST_TOLD]
        ]
        result = r.CheckResult(
            repositories=report.repositories, manifests=report.manifests, blobs=report.blobs,
            bytes=report.bytes, read=how.read, damaged=damaged, damaged_count=len(report.damaged),
            unneeded=list(report.unneeded[:MOST_TOLD]),
            rows=[r.WrongValueRecord(**_wrong(each)) for each in report.rows[:MOST_TOLD]],
        )  # fmt: skip
        return {"check": msgspec.to_builtins(result)}

    async def retain(self, call: ManagementCall) -> object:
        """Begin to remove tags by the operator's rules. Raises Conflict, UsageError."""
        if not self.state.rules.retention:
            raise UsageError("the configuration of this registry has no rule of retention")
        dry_run = call.body.dry_run
        act = partial(self._retained, dry_run=dry_run)
        return run_record(await self.running.begin("retention", call.user, act, dry_run=dry_run))

    def _retained(self, beat: Heartbeat, *, dry_run: bool) -> Any:
        state, count = self.state, 0
        retention = Retention(state.catalog, state.rules.retention, state.store.accounts)
        told: list[r.ExpiredRecord] = []
        for each in retention.look() if dry_run else retention.remove():
            beat()
            count += 1
            if len(told) < MOST_TOLD:
                told.append(r.ExpiredRecord(**(each._asdict() | {"updated": moment(each.updated)})))
        return {"retention": msgspec.to_builtins(r.RetentionResult(tags=told, count=count))}

    async def list_runs(self, call: ManagementCall) -> object:
        """All that are known, without what they found."""
        found = await self.state.work.run(self.running.runs.list)
        return r.RunPage(runs=[run_record(each._replace(result=None)) for each in found])

    async def get_run(self, call: ManagementCall) -> object:
        """One of them, with what it found. Raises NotFound."""
        found = await self.state.work.run(self.running.runs.list)
        run = next((each for each in found if each.id == call.parameters["run"]), None)
        if run is None:
            raise NotFound(f"no such run: {call.parameters['run']}")
        return run_record(run)

    # ── webhooks ──

    def _webhooks(self) -> list[Webhook]:
        if not self.state.rules.webhooks:
            return []
        from ..webhooks import Webhook

        post = self._registry.outgoing.post
        assert post is not None
        state = self.state
        return [Webhook(rule, state.catalog, state.activity, post) for rule in state.rules.webhooks]

    async def webhooks(self, call: ManagementCall) -> object:
        """How far each is."""
        found = [await self.state.work.run(each.state) for each in self._webhooks()]
        records = [
            r.WebhookRecord(
                name=one.name, place=one.place, events=list(one.events), signed=one.signed, behind=one.behind,
                tries=one.tries, error=one.error,
            )
            for one in found
        ]  # fmt: skip
        return r.WebhookPage(webhooks=records)

    async def test_webhook(self, call: ManagementCall) -> None:
        """Raises NotFound, RegistryError (409) if it fails."""
        name = call.parameters["webhook"]
        found = next((each for each in self._webhooks() if each.rule.name == name), None)
        if found is None:
            raise NotFound(f"no webhook {name} in the configuration")
        if error := await self.state.work.run(found.test):
            raise refusal(Code.CONFLICT, f"webhook {name}: {error}")


class _Beats:
    """Progress that beats, of any number of tasks."""

    def __init__(self, beat: Heartbeat) -> None:
        self._beat = beat

    def task(self, key: str) -> Task:
        return self

    def line(self, text: str) -> None:
        self._beat()

    def phase(self, name: str, total: int | None = None) -> None:
        self._beat()

    def advance(self, count: int) -> None:
        self._beat()

    def done(self, status: str) -> None:
        self._beat()


def _beating(beat: Heartbeat) -> Callable[[bytes, str], Document]:
    def parse(data: bytes, media_type: str) -> Document:
        beat()
        return read(data, media_type)

    return parse


def _garbage(one: Garbage) -> r.GarbageCount:
    return r.GarbageCount(manifests=one.manifests, blobs=one.blobs, bytes=one.bytes)


def _audited(one: AuditEntry) -> r.AuditRecord:
    return r.AuditRecord(
        at=moment(one.at), actor=one.actor, client=one.client, action=one.action, subject=one.subject
    )


def run_record(run: Run) -> r.RunRecord:
    """As it is told."""
    found = {
        "id": run.id, "kind": run.kind, "state": run.state, "by": run.by, "dry_run": run.dry_run,
        "began": moment(run.began), "ended": moment(run.ended) if run.ended else None, "error": run.error,
        **(run.result or {}),
    }  # fmt: skip
    return msgspec.convert(found, r.RunRecord)


def _wrong(found: WrongValue) -> dict[str, str]:
    return {name: getattr(found, name) for name in ("table", "row", "column", "value")}
