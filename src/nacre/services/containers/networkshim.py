"""The network of a container while its supervisor is the shim.

The shim watches what belongs to the network, and loads what serves it when somebody asks for the first time.
Packets that rules redirect need nobody.
"""

from __future__ import annotations

from ...ground import userns
from ...stores.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...stores.containers import ContainerRow
    from .networking import Networking


def networking() -> type[Networking]:
    """How containers get a network here: links are for root of the machine."""
    if userns.is_first():
        from .networking import Networking

        return Networking
    from .switching import SwitchedNetworking

    return SwitchedNetworking


def wake(told: dict[str, Any], leave: Callable[[dict[str, Any]], object]) -> Any:
    """In the shim: serve the network from now on; how to leave it, if nobody has asked lately.

    Raises NacreError, OSError.
    """
    store = Store.open(told["root"], create=False)
    network = networking().adopt(store, store.containers.get(told["id"]), told["network"])
    network.begin()
    others = [fd for fd in told["descriptors"] if fd not in told["network"]["descriptors"]]
    leaving = network.leaving(lambda left: leave({**left, "descriptors": [*others, *left["descriptors"]]}))

    def still(left: dict[str, Any]) -> None:
        if not network.moved():
            leaving(left)

    return still


def clean(store: Store, row: ContainerRow, told: dict[str, Any]) -> None:
    """In the supervisor: the container has ended. Raises OSError."""
    networking().adopt(store, row, told).close()
