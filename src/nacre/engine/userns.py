"""Where a container of an ordinary user belongs that shares another's network: in its user namespace."""

from __future__ import annotations

import os

from ..ground.linux import parent
from ..services.containers.listing import ContainerListing
from ..services.containers.program import Program
from ..stores.containers import CONTAINER
from ..words.errors import NotFound
from ..words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores.store import Store
    from .wiring import Wiring


class UserNamespaceOf:
    """`with UserNamespaceOf(engine, network) as beside:` what `Wiring.inside` takes; -1 for a new one.

    `network` is that of a container, as its options have it. What is wrong with it is said when it starts.
    """

    def __init__(self, engine: Wiring, network: str) -> None:
        self._engine, self._name = engine, network.removeprefix(CONTAINER)
        self._fd = -1

    def __enter__(self) -> int:
        try:
            if self._name:
                with self._engine.outside() as store:
                    self._fd = _keeper(store, self._name)
        except NotFound:
            return -1
        return self._fd

    def __exit__(self, *_exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _keeper(store: Store, name: str) -> int:
    """A pidfd of the process that keeps a container, -1 for one that does not run.

    Its programs may let nobody look into them.
    """
    row = ContainerListing(store).get(name)
    if row.state != "running":
        return -1
    with Program(row):
        return os.pidfd_open(parent(row.pid))


def shared_by(engine: Wiring, name: str) -> str:
    """The network of a container of an ordinary user if it is another's, else ""."""
    if engine.is_root:
        return ""
    try:
        with engine.outside() as store:
            network = str(loads(ContainerListing(store).get(name).config_json)["network"])
    except NotFound:
        return ""
    return network if network.startswith(CONTAINER) else ""


def enter(engine: Wiring, name: str) -> None:
    """As `Wiring.enter`, for who starts a container: where that belongs."""
    with UserNamespaceOf(engine, shared_by(engine, name)) as beside:
        engine.enter(beside)
