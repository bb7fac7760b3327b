"""Which process of a running container is entered."""

from __future__ import annotations

import os

from ...ground.files import os_errors
from ...ground.linux import start_time
from ...ground.sandbox.program import shares_processes
from ...words.errors import Conflict
from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow
    from ...stores.store import Store


class Program:
    """`with Program(row) as (pid, pidfd):` a process of a running container to enter, surely of this one.

    Raises Conflict when the container does not run, StoreError.
    """

    def __init__(self, row: ContainerRow) -> None:
        self._row, self._pidfd = row, -1

    def __enter__(self) -> tuple[int, int]:
        row, pid = self._row, entered(self._row)
        with os_errors(f"look at the program of container {row.id}"):
            try:
                self._pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                raise Conflict(f"container {row.id} is not running") from None
        try:
            if start_time(row.pid) != row.pid_start:  # asked now: the descriptor holds on to what it is
                raise Conflict(f"container {row.id} is not running")
            return pid, self._pidfd
        except BaseException:
            os.close(self._pidfd)
            raise

    def __exit__(self, *_exc: object) -> None:
        os.close(self._pidfd)


def first_process(store: Store, row: ContainerRow) -> int:
    """The pid of a running container's first process, 0 of any other; that of the row may be its watcher."""
    if row.state != "running":
        return 0
    runtime = loads(row.config_json).get("runtime", "builtin")
    if runtime == "builtin":
        return row.pid
    from ...ground.sandbox import external
    from .runtime import runtime_of

    return external.first_process(runtime_of(store, row, {"runtime": runtime})) or row.pid


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
