"""Containers that stand still until they are let go on: `ground.monitor.freezer`, by way of their keeper."""

from __future__ import annotations

import os

from ...ground.monitor.paused import ALREADY, MARK, PREFIX, UNABLE, stopped
from ...words.errors import Conflict, Unsupported
from . import keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow
    from .listing import ContainerListing


def pause(containers: ContainerListing, text: str) -> ContainerRow:
    """All processes of a container stand still. Raises NotFound, Conflict, Unsupported."""
    row = containers.get(text)
    if row.state != "running":
        raise Conflict(f"container {row.id} is not running")
    answer = _ask(containers.folder(row.id), freeze=True)
    if answer == ALREADY:
        raise Conflict(f"container {row.id} is already paused")
    if answer == UNABLE:
        raise Unsupported(
            f"container {row.name} cannot be paused: it has no pid namespace and no control group of its own"
        )
    containers.tell(row, "pause")
    return row


def unpause(containers: ContainerListing, text: str) -> ContainerRow:
    """They go on. Raises NotFound, Conflict."""
    row = containers.get(text)
    if row.state != "running" or _ask(containers.folder(row.id), freeze=False) == ALREADY:
        raise Conflict(f"container {row.id} is not paused")
    containers.tell(row, "unpause")
    return row


def resume(containers: ContainerListing, row: ContainerRow) -> bool:
    """Let a container go on if it is paused; whether it was."""
    was = is_paused(containers, row) and _ask(containers.folder(row.id), freeze=False) != ALREADY
    if was:
        containers.tell(row, "unpause")
    return was


def is_paused(containers: ContainerListing, row: ContainerRow) -> bool:
    """Whether a container stands still."""
    if row.state != "running":
        return False
    return stopped(containers.store.containers.file(row.id, MARK), row.pid, row.pid_start) is not None


def check_not_paused(containers: ContainerListing, row: ContainerRow, message: str) -> None:
    """Raise Conflict, with that message, for a container that stands still."""
    if is_paused(containers, row):
        raise Conflict(message)


def _ask(folder: str, *, freeze: bool) -> bytes:
    """What the keeper says; b"" when there is none any more. Raises SandboxError."""
    from ...ground.monitor.relay import FREEZE, THAW

    fd = keeper.ask(folder, FREEZE if freeze else THAW, PREFIX)
    try:
        return os.read(fd, 1)
    except BlockingIOError:
        return b""
    finally:
        os.close(fd)
