"""Which process of a running container is entered."""

from __future__ import annotations

from ...ground.sandbox.plan import shares_processes
from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow


def entered(row: ContainerRow) -> int:
    """The pid of one whose namespaces its owner may join.

    An init or a watcher lets nobody look into it, so that the kernel does not even show its namespaces to an
    ordinary user; its child, the program, has the same.
    """
    config = loads(row.config_json)["config"]
    if not (config["process"].get("init") or shares_processes(config)):
        return row.pid
    try:
        with open(f"/proc/{row.pid}/task/{row.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])
    except (OSError, IndexError):  # it ends just now, or the kernel lists no children
        return row.pid
