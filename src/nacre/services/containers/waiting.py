"""Waiting for what becomes of a container."""

from __future__ import annotations

import os

from ...ground.files import os_errors
from ...ground.notify import CREATE, DELETE_SELF, MODIFY, FileWatch
from ...words.errors import NotFound, UsageError
from ...words.quickjson import loads
from . import keeper
from .supervision import RESTARTS, last_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow
    from .service import Containers

_SLICE = 1.0
"""Seconds between two looks at a container whose supervisor may have been killed, which changes no file."""
CONDITIONS = ("not-running", "next-exit", "removed")


def wait(containers: Containers, text: str, condition: str = CONDITIONS[0]) -> int:
    """The exit code of a container, once `condition` is met. Raises NotFound, UsageError, StoreError.

    The lock of a container tells of its end, and the file that is locked of its beginning.
    """
    if condition not in CONDITIONS:
        raise UsageError(f"invalid condition {condition!r}", hint=f"use one of {', '.join(CONDITIONS)}")
    if condition == "not-running":
        return _not_running(containers, text)
    row = containers.get(text)
    wanted = _next_exit if condition == "next-exit" else _removed
    with os_errors(f"watch container {row.name}"), FileWatch() as watch:
        try:
            watch.add(containers.folder(row.id), MODIFY | CREATE | DELETE_SELF)
        except FileNotFoundError:
            return row.exit_code
        return wanted(containers, row, watch)


def _next_exit(containers: Containers, row: ContainerRow, watch: FileWatch) -> int:
    folder = containers.folder(row.id)
    while not keeper.is_kept(folder):
        if not os.path.isdir(folder):
            raise NotFound(f"container {row.name} was removed before it ran")
        watch.wait()
        now = _now(containers, row)
        if now.state != "running" and now.started != row.started:
            return now.exit_code
    code = keeper.wait(folder)
    return _now(containers, row).exit_code if code is None else code


def next_end(containers: Containers, first: ContainerRow) -> int:
    """The exit code of this run of a container that its policy may start again, as docker tells it."""
    path = containers.store.containers.file(first.id, "lock")
    with os_errors(f"watch container {first.name}"), FileWatch() as watch:
        watch.add(path, MODIFY)
        while True:
            row = _now(containers, first)
            if not row.is_live or (row.state == "restarting" and first.state == "running"):
                return row.exit_code
            if row.started != first.started and first.state == "running":
                return last_code(containers.store.containers.file(row.id, RESTARTS))
            watch.wait(_SLICE)


def _removed(containers: Containers, row: ContainerRow, watch: FileWatch) -> int:
    folder, code = containers.folder(row.id), row.exit_code
    while os.path.isdir(folder):
        if keeper.is_kept(folder):
            code = keeper.wait(folder) or 0
        else:
            watch.wait()
    return code


def _not_running(containers: Containers, text: str) -> int:
    """The exit code of a container once it has ended; one that does not run answers at once."""
    row = containers.get(text)
    if row.is_live and loads(row.config_json).get("restart"):
        return next_end(containers, row)
    if row.is_live:
        code = keeper.wait(containers.folder(row.id))
        if code is not None:
            return code
        row = containers.get(row.id)
    return row.exit_code


def _now(containers: Containers, row: ContainerRow) -> ContainerRow:
    try:
        return containers.get(row.id)
    except NotFound:
        return row
