"""Another name for a container."""

from __future__ import annotations

from ...words.errors import Conflict, UsageError
from ...words.quickjson import loads
from . import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow
    from .service import Containers


def rename(containers: Containers, text: str, name: str) -> ContainerRow:
    """Give a container another name, running or not; the row as it was.

    Raises NotFound, UsageError, InvalidName; Conflict when it is taken or its own.
    """
    if not text or not name:
        raise UsageError("Neither old nor new names may be empty")
    row = containers.get(text)
    name = name.removeprefix("/")
    if name == row.name:
        raise Conflict("renaming a container with the same name as its current name")
    names.check_name(name)
    containers.make_way(name)
    containers.store.containers.update(row.id, name=name)
    containers.store.containers.describe(row.replace(name=name))
    containers.tell(row.replace(name=name), "rename", oldName=f"/{row.name}")
    if "endpoints" in loads(row.config_json):
        _rename_member(containers, row, name)
    return row


def _rename_member(containers: Containers, row: ContainerRow, name: str) -> None:
    """Neighbours find it by the new name."""
    from .endpoints import networks_of

    networks = networks_of(containers.store)
    for network in networks.every():
        for member in networks.members(network.name):
            if member.container == row.id:
                known = [name if each == row.name else each for each in member.names]
                networks.join(network.name, member.replace(names=tuple(known)))
