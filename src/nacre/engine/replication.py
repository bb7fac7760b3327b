"""Registries to and from which one of ours replicates, spoken to by the client: what the server is handed."""

from __future__ import annotations

import os
from functools import lru_cache

from .. import __version__
from ..stores.paths import Paths
from ..words.errors import Conflict, NotFound, UsageError
from ..words.reference import Reference
from ..words.upstreams import UpstreamRules
from ..words.value import Value
from .database import OpenedCatalog
from .upstreams import client_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..services.client import Repository
    from ..stores.joblocks import JobLocks
    from ..stores.registry import RegistryStore
    from ..words.digest import Digest
    from ..words.replication import ReplicationRule
    from ..words.rules import RegistryRules
    from .wiring import Wiring

_KEPT = 1000
"""Repositories whose tokens are kept."""
_RENEW = 20.0


class ReplicationRegistry:
    """A `RemoteRegistry` with a client, and so with credentials, of its own. It keeps how far uploads are, so
    that the next process goes on with them.
    """

    def __init__(self, rule: ReplicationRule, engine: Wiring) -> None:
        from ..services.client.uploadrecords import UploadFolder

        self._rule = rule
        known = UpstreamRules(rule.host, rule.registry, user=rule.user, password=rule.password)
        uploads = UploadFolder(Paths(os.path.abspath(engine.config.root)).uploads)
        agent = f"nacre/{__version__} (replication)"
        self._client = client_for(known, engine, agent, rate=rule.rate, uploads=uploads)
        self._repository = lru_cache(_KEPT)(self._open)

    def repository(self, name: str) -> Repository:
        """As `RemoteRegistry.repository` of the server."""
        return self._repository(name)

    def repositories(self) -> Iterable[str]:
        """As `RemoteRegistry.repositories` of the server."""
        return self._client.catalog(self._rule.host)

    def reference(self, repository: str, tag: str = "", digest: Digest | None = None) -> Reference:
        """As `RemoteRegistry.reference` of the server."""
        return Reference(self._rule.host, repository, tag, digest)

    def close(self) -> None:
        """End what other threads wait for."""
        self._client.close()

    def _open(self, repository: str) -> Repository:
        return self._client.repository(self.reference(repository))


def remotes_of(engine: Wiring) -> Callable[[ReplicationRule], ReplicationRegistry]:
    """What opens the other registry of a rule."""
    return lambda rule: ReplicationRegistry(rule, engine)


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


class ReplicationDifference(Value):
    """A tag that a rule would bring, with what it names; `digest` is "" when both sides are the same."""

    repository: str
    tag: str
    digest: str


class RegistryReplication(OpenedCatalog):
    """What replicates of the registry in `folder`, served at the moment or not. Use it with `with`.

    `rules` are those of its configuration. Raises Conflict where there is no registry, StoreError.
    """

    def __init__(self, folder: str, rules: RegistryRules, engine: Wiring) -> None:
        super().__init__(folder)
        self._rules, self._engine = rules, engine

    def _all(self) -> dict[str, ReplicationRule]:
        from ..stores.replication import AddedRules

        return {rule.name: rule for rule in (*AddedRules(self._catalog).all(), *self._rules.replication)}

    def _rule(self, name: str) -> ReplicationRule:
        if name not in self._all():
            hint = "name the configuration with --config" if not self._rules.replication else ""
            raise NotFound(f"no rule of replication {name[:100]}", hint=hint)
        return self._all()[name]

    def states(self) -> list[ReplicationState]:
        """How far each rule is."""
        from ..stores.replication import ReplicationQueue

        said = {rule.name for rule in self._rules.replication}
        found = []
        for name, rule in self._all().items():
            queue = ReplicationQueue(self._catalog, name)
            progress = queue.progress
            error = progress.error if progress.tries else ""
            waiting, failed, done, since = queue.counts()
            what = name, rule.direction, rule.registry, name not in said
            found.append(ReplicationState(*what, waiting, failed, done, since, error))
        return found

    def failures(self, names: Sequence[str] = (), limit: int = 100) -> list[ReplicationFailure]:
        """What waits or was given up, of these rules or of all; of each at most `limit`. Raises NotFound."""
        from ..stores.replication import ReplicationQueue

        return [
            ReplicationFailure(
                name, row.repository, row.reference, row.tries, row.again if row.number else 0.0, row.error
            )
            for name in names or self._all()
            for row in ReplicationQueue(self._catalog, self._rule(name).name).unfinished(limit)
        ]

    def add(self, rule: ReplicationRule) -> None:
        """Keep a rule, in the place of one of its name: whoever serves the registry follows it at once.

        The database of the registry has its password as it is. Raises UsageError.
        """
        from ..stores.replication import AddedRules
        from ..words.replication import check_replication

        if any(each.name == rule.name for each in self._rules.replication):
            raise UsageError(f"the configuration has a rule of replication {rule.name}")
        check_replication([rule], [upstream.namespace for upstream in self._rules.upstreams])
        AddedRules(self._catalog).add(rule)

    def remove(self, name: str) -> None:
        """Drop a rule that was added. What it brought stays. Raises NotFound."""
        from ..stores.replication import AddedRules

        if not AddedRules(self._catalog).remove(name):
            raise NotFound(f"no rule of replication {name[:100]} was added by command")

    def compare(self, name: str) -> Iterator[ReplicationDifference]:
        """What a rule would bring now, tag by tag; nothing is changed. Raises NotFound, RegistryError."""
        from ..services.server.replication import comparison
        from ..services.server.replication.model import Sides
        from ..stores.replication import ReplicationQueue

        rule = self._rule(name)
        remote = ReplicationRegistry(rule, self._engine)
        try:
            sides = Sides(rule, self._catalog, ReplicationQueue(self._catalog, name), remote)
            for found in comparison(sides).differences():
                yield ReplicationDifference(*found)
        finally:
            remote.close()

    def run(
        self, name: str, tell: Callable[[str], object], warn: Callable[[str], object]
    ) -> ReplicationState | None:
        """Compare everything and bring what differs, also what was given up; how far the rule is then.

        Where the registry is served, whoever serves it is asked to do it, and the answer is None. Raises
        NotFound, StoreError.
        """
        from contextlib import closing

        from ..stores.registry import RegistryStore
        from ..stores.replication import ReplicationQueue

        rule = self._rule(name)
        ReplicationQueue(self._catalog, name).want()
        try:
            store = RegistryStore(self._folder, self._rules.storage, self._rules.metadata.url)
        except Conflict:
            return None
        with closing(store):
            if not self._run(rule, store, tell, warn):
                return None
        return next(state for state in self.states() if state.name == name)

    def _run(
        self, rule: ReplicationRule, store: RegistryStore, tell: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> bool:  # fmt: skip
        """False if another process is at it."""
        from ..services.server.replication import replicator
        from ..services.server.repository import OwnRegistry
        from ..stores.activity import Activity
        from ..stores.garbage import Mentions
        from ..stores.joblocks import JobLocks

        remote = ReplicationRegistry(rule, self._engine)
        own = OwnRegistry(store, Activity(store.catalog), Mentions(), self._rules.limits)
        made, locks = replicator(rule, own, remote, tell, warn), JobLocks(store.catalog, store.replica)
        try:
            if locks.take(made.place.author, 0.0):
                return False
            _until_done(made.steps(), locks, made.place.author)
        finally:
            locks.end(made.place.author)
            made.close()
        return True


def _until_done(steps: Iterator[int], locks: JobLocks, job: str) -> None:
    from time import monotonic

    renewed = monotonic()
    for _ in steps:
        if monotonic() - renewed > _RENEW:
            renewed = monotonic()
            locks.renew(job)
