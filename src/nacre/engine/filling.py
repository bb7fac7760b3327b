"""The process that fills layers which were laid lazily: it outlives the command that laid them.

    nacre pull ──fork──► holder ──fork──► filler      answers who reads, fetches the rest
    keeper of a container: holds as well              (stores.shared)

The holder only waits: when the filler dies, it starts another, and who reads has seen no more than a delay.
When both have died, readers wait as long as a container holds the layers.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ..ground.fork import start
from ..stores.shared import has_lazy
from ..words.errors import ContentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..ground.fork import ChildReport
    from ..images.layers.lazy import LazyLayer
    from ..stores.store import Store
    from ..words.reference import Reference
    from .wiring import Wiring

_TRIES = 100
_PATIENCE = 300.0
"""Seconds without the registry after which nothing is tried any more, unless a container needs it."""


def obstacle(store: Store) -> str:
    """Why no image can come lazily into this store, one phrase; "" where it can."""
    if store.keeping.policy == "keep":
        return "the compressed form of layers is to be kept"
    return store.trees.lazy.obstacle


def fill(engine: Wiring, reference: Reference, layers: Sequence[LazyLayer]) -> None:
    """Have the layers filled from the repository of a reference; they are held when this returns.

    Raises SandboxError, after which they are not here.
    """
    from ..services.containers.supervisor import begin

    store = engine.store
    held = [fd for layer in layers for fd in (layer.tree.tar, layer.tree.content.group)]

    def work(report: ChildReport) -> None:
        os.chdir("/")
        with _opened(store) as fresh:
            for layer in layers:
                fresh.trees.lazy.hold(layer.tree)
        report.tell(True)
        report.close()
        _hold(lambda: _fill(engine, store, reference, layers), held)

    store.rest()
    try:
        begin(work, "the process that fills the layers", tuple(held))
    finally:
        for layer in layers:
            store.trees.lazy.let_go(layer.tree)


def _opened(store: Store) -> Store:
    """Anew: that of the parent must not be used on this side."""
    return type(store).open(store.root, driver="erofs", create=False)


def _hold(work: Callable[[], object], held: Sequence[int]) -> None:
    """Until a filler has ended in order."""
    for _ in range(_TRIES):
        pid = start(work, keep=held)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            return


def _fill(engine: Wiring, store: Store, reference: Reference, layers: Sequence[LazyLayer]) -> None:
    from ..images.layers.filler import Filler
    from .network import client_of

    with _opened(store) as fresh, client_of(engine.config, engine.network) as client:
        lazy = fresh.trees.lazy

        def wanted(layer: LazyLayer, seconds: float) -> bool:
            return layer.tree.is_here and (seconds < _PATIENCE or has_lazy(store.root))

        repository = client.repository(reference)
        with suppress(ContentError):  # a tree that is not what its image says is gone, and will be no other
            Filler(layers, repository, lambda layer: lazy.complete(layer.tree), wanted).run()
