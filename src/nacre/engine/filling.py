"""The process that fills layers which were laid lazily: it outlives the command that laid them.

    nacre pull ──fork──► holder ──fork──► filler      answers who reads, fetches the rest
    keeper of a container: holds as well              (stores.shared)

The holder only waits: when the filler dies, it starts another, and who reads has seen no more than a delay.
When both have died, readers wait as long as a container holds the layers.

The first filler goes on with the connections of the command, and with what its client knows: nobody waits
for another handshake, nor for another token.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ..ground.fork import start
from ..stores.layout import has_lazy
from ..words.errors import ContentError, DigestMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..grammars.accessprofile import AccessProfile
    from ..ground.fork import ChildReport
    from ..images.arrows.pull import LazyPull
    from ..images.layers.lazy import LazyLayer
    from ..images.model.source import Ranged
    from ..services.client import Client
    from ..stores.store import Store
    from ..words.reference import Reference
    from .wiring import Wiring

_TRIES = 100
_PATIENCE = 300.0
"""Seconds without the registry after which nothing is tried any more, unless a container needs it."""
_SWITCH = 0.0005
"""Seconds that a thread of the filler keeps the interpreter from one that somebody waits for."""


def obstacle(store: Store) -> str:
    """Why no image can come lazily into this store, one phrase; "" where it can."""
    if store.keeping.policy == "keep":
        return "the compressed form of layers is to be kept"
    return store.trees.lazy.obstacle


def fill(engine: Wiring, reference: Reference, source: Ranged, pulled: LazyPull) -> None:
    """Have the layers filled from `source`, the repository of a reference; they are held when this returns.

    Raises SandboxError, after which they are not here.
    """
    from ..services.containers.supervisor import begin
    from ..stores.trees.lazy import hold

    store, layers = engine.store, pulled.layers
    held = [fd for layer in layers for fd in (layer.tree.tar, *layer.tree.content.descriptors)]
    filling = _FillerProcess(engine, reference, source, pulled)

    def work(report: ChildReport) -> None:
        os.chdir("/")
        for layer in layers:
            hold(store.root, layer.tree)
        report.tell(True)
        report.close()
        filling.attend(held)

    store.rest()
    try:
        begin(work, "the process that fills the layers", (*held, *filling.connections))
    finally:
        filling.leave()
        for layer in layers:
            store.trees.lazy.let_go(layer.tree)


class _FillerProcess:
    """Fillers, one after the other until one has ended in order."""

    def __init__(self, engine: Wiring, reference: Reference, source: Ranged, pulled: LazyPull) -> None:
        self._engine, self._store, self._reference, self._pulled = engine, engine.store, reference, pulled
        self._driver = engine.store.driver.name
        self._client: Client | None = None
        self._source = source
        self.connections: list[int] = []
        if _is_alone():  # else another thread may be at work with the client
            self._client = engine.client
            self.connections = engine.client.descriptors()

    def leave(self) -> None:
        """The connections are those of a child from now on."""
        self.connections = []
        if self._client:
            self._client.leave()

    def attend(self, held: Sequence[int]) -> None:
        """In the process that holds the layers."""
        for _ in range(_TRIES):
            pid = start(self._fill, keep=[*held, *self.connections])
            self.leave()
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
                return

    def _fill(self) -> None:
        from .network import client_of

        sys.setswitchinterval(_SWITCH)
        if self._client:
            return self._fill_from(self._source)
        with client_of(self._engine.config, self._engine.network) as client:
            return self._fill_from(client.repository(self._reference))

    def _fill_from(self, source: Ranged) -> None:
        from ..images.layers.filler import Filler

        with suppress(ContentError):  # a tree that is not what its image says is gone, and will be no other
            pulled = self._pulled
            filler = Filler(pulled.layers, source, self._complete, self._wanted, pulled.profile)
            filler.run()
            self._keep(filler.profile)

    def _complete(self, layer: LazyLayer, proven: bool) -> None:
        """With a store opened anew: that of the parent must not be used on this side."""
        from ..services.containers.ending import kill_users
        from ..services.containers.service import Containers

        store = self._store
        with type(store).open(store.root, driver=self._driver, create=False) as fresh:
            try:
                fresh.trees.lazy.complete(layer.tree, proven=proven)
            except DigestMismatch:
                kill_users(Containers(fresh), layer.tree.folder)
                raise

    def _keep(self, profile: AccessProfile) -> None:
        """What was read meanwhile, for `nacre optimize --recorded`."""
        store, own = self._store, {layer.tree.diff_id for layer in self._pulled.layers}
        topmost = [diff_id for diff_id in self._pulled.result.image.diff_ids if diff_id in own][-1]
        if profile.reads:
            with type(store).open(store.root, driver=self._driver, create=False) as fresh:
                fresh.trees.keep_reads(topmost, profile.encode())

    def _wanted(self, layer: LazyLayer, seconds: float) -> bool:
        return layer.tree.is_here and (seconds < _PATIENCE or has_lazy(self._store.root))


def _is_alone() -> bool:
    """Whether this process has one thread."""
    from threading import active_count

    return active_count() == 1
