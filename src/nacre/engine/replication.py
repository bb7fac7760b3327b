"""Registries to and from which one of ours replicates, spoken to by the client: what the server is handed."""

from __future__ import annotations

import os
from functools import lru_cache

from .. import __version__
from ..stores.paths import Paths
from ..words.errors import Conflict
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
    from ..stores.replicationrules import ReplicationFailure, ReplicationRules, ReplicationState
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


class ReplicationDifference(Value):
    """A tag that a rule would bring, and what it names."""

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

    @property
    def _known(self) -> ReplicationRules:
        from ..stores.replicationrules import ReplicationRules

        return ReplicationRules(self._catalog, self._rules)

    def states(self) -> list[ReplicationState]:
        """How far each rule is."""
        return self._known.states()

    def failures(self, names: Sequence[str] = (), limit: int = 100) -> list[ReplicationFailure]:
        """What waits or was given up, of these rules or of all; of each at most `limit`. Raises NotFound."""
        return self._known.failures(names, limit)

    def add(self, rule: ReplicationRule) -> None:
        """Keep a rule, in the place of one of its name: whoever serves the registry follows it at once.

        The database of the registry has its password as it is. Raises UsageError.
        """
        self._known.add(rule)

    def remove(self, name: str) -> None:
        """Drop a rule that was added. What it brought stays. Raises NotFound."""
        self._known.remove(name)

    def compare(self, name: str, tell: Callable[[ReplicationDifference], object]) -> tuple[int, int]:
        """How many tags a rule would bring now, and how many are the same; `tell` hears of each that it would
        bring. Nothing is changed. Raises NotFound, RegistryError.
        """
        from ..services.server.replication import compared
        from ..services.server.replication.model import Sides

        rule, queue = self._known.rule(name), self._known.queue(name)
        remote = ReplicationRegistry(rule, self._engine)
        try:
            sides = Sides(rule, self._catalog, queue, remote)
            return compared(sides, lambda *place: tell(ReplicationDifference(*place)))
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

        rule = self._known.rule(name)
        self._known.queue(name).want()
        try:
            store = RegistryStore(self._folder, self._rules.storage, self._rules.metadata.url)
        except Conflict:
            return None
        with closing(store):
            if not self._run(rule, store, tell, warn):
                return None
        return self._known.state(name)

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
