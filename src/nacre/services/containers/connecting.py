"""Containers join and leave networks, whether they run or not.

Source: moby daemon/container_operations.go, the errors.
"""

from __future__ import annotations

from ...stores.events import of_network
from ...stores.networks import BRIDGE, HOST, NONE, is_program
from ...words.errors import Conflict, NotFound
from ...words.quickjson import dumps, loads
from . import endpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.endpoint import NetworkEndpoint
    from ...stores.containers import ContainerRow
    from .service import Containers


def connect(containers: Containers, text: str, endpoint: NetworkEndpoint) -> ContainerRow:
    """A container joins one more network. Raises NotFound, Conflict, UsageError, SandboxError."""
    row = containers.get(text)
    record = _record(row, endpoint.network)
    found = endpoints.check(endpoints.networks_of(containers.store), endpoint)
    there = [each["network"] for each in record["endpoints"]]
    if found.network in there:
        raise Conflict(f"endpoint with name {row.name} already exists in network {found.network}")
    if row.state == "running":
        _tell(containers, row, {"join": endpoints.written(found)})
        of_network(containers.store.root, "connect", found.network, row.id)
    record["endpoints"].append(endpoints.written(found))
    _write(containers, row, record)
    return row


def disconnect(containers: Containers, text: str, network: str, *, force: bool = False) -> ContainerRow:
    """A container leaves a network; with `force` also one that is gone.

    Raises NotFound, Conflict, SandboxError.
    """
    row = containers.get(text)
    record = _record(row, network)
    name = _name(containers, network, record, force=force)
    left = [each for each in record["endpoints"] if each["network"] != name]
    if len(left) == len(record["endpoints"]):
        raise Conflict(f"container {row.id} is not connected to network {name}")
    if row.state == "running":
        _tell(containers, row, {"leave": name})
        of_network(containers.store.root, "disconnect", name, row.id)
    record["endpoints"] = left
    _write(containers, row, record)
    return row


def _name(containers: Containers, text: str, record: dict[str, Any], *, force: bool) -> str:
    if text == BRIDGE:
        return text
    try:
        return endpoints.networks_of(containers.store).get(text).name
    except NotFound:
        if force and any(each["network"] == text for each in record["endpoints"]):
            return text
        raise


def _record(row: ContainerRow, network: str) -> dict[str, Any]:
    record: dict[str, Any] = loads(row.config_json)
    mode = record["network"]
    if mode == NONE or network == NONE:
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) "
            "mode"
        )
    if mode == HOST or network == HOST:
        raise Conflict("container cannot be disconnected from host network or connected to host network")
    if is_program(mode):
        raise Conflict(
            f"container cannot be connected to other networks: {mode.partition(':')[0]} is its own"
        )
    if "endpoints" not in record:
        raise Conflict(
            "container sharing network namespace with another container cannot be connected to any other "
            "network"
        )
    return record


def _tell(containers: Containers, row: ContainerRow, request: dict[str, Any]) -> None:
    from .networksocket import tell

    tell(containers.folder(row.id), request)


def _write(containers: Containers, row: ContainerRow, record: dict[str, Any]) -> None:
    """In the row, and beside the container."""
    text = dumps(record)
    containers.store.containers.update(row.id, config_json=text)
    containers.store.containers.describe(containers.store.containers.get(row.id))
