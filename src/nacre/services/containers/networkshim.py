"""The network of a container while its supervisor is the shim.

The shim watches what belongs to the network, and loads what serves it when somebody asks for the first time.
Packets that rules redirect need nobody.
"""

from __future__ import annotations

from ...ground import userns
from ...stores.networks import is_program
from ...stores.store import Store
from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...stores.containers import ContainerRow
    from .networking import Networking


def networking(record: dict[str, Any]) -> type[Networking]:
    """How a container gets its network here: links are for root of the machine."""
    if is_program(record["network"]):
        from .externalnetwork import ExternalNetworking

        return ExternalNetworking
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
    network = _adopted(store, store.containers.get(told["id"]), told["network"])
    network.begin()
    others = [fd for fd in told["descriptors"] if fd not in told["network"]["descriptors"]]
    leaving = network.leaving(lambda left: leave({**left, "descriptors": [*others, *left["descriptors"]]}))

    def still(left: dict[str, Any]) -> None:
        if not network.moved():
            leaving(left)

    return still


def clean(store: Store, row: ContainerRow, told: dict[str, Any]) -> None:
    """In the supervisor: the container has ended. Raises OSError."""
    _adopted(store, row, told).close()


def _adopted(store: Store, row: ContainerRow, told: dict[str, Any]) -> Networking:
    return networking(loads(row.config_json)).adopt(store, row, told)
