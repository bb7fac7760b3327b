"""Ending containers that run, or are to run again: `stop`, `kill` and `rm -f`."""

from __future__ import annotations

import os
import select
from contextlib import contextmanager, suppress
from time import monotonic, sleep

from ...ground.files import Lock, os_errors
from ...ground.linux import process_stat, start_time
from ...stores.containers import RESTARTING
from ...stores.shared import lazy_folders
from ...words.errors import Conflict, NotFound, SandboxError
from ...words.quickjson import loads
from . import keeper
from .pausing import resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...stores.containers import ContainerRow
    from ...words.mount import Mount
    from .listing import ContainerListing
    from .service import Containers

_SIGKILL, _SIGTERM = 9, 15
_USUAL = 10.0
_PATIENCE, _MOMENT = 30.0, 0.005
"""Seconds for a container to end after SIGKILL; between two looks."""


def kill(containers: Containers, text: str, number: int) -> ContainerRow:
    """Send a signal; after SIGKILL wait for the end, as docker does, so that `rm` can follow.

    Raises NotFound; Conflict when it does not run; SandboxError when it does not end.
    """
    row = _signal(containers, text, number)
    if number == _SIGKILL:
        _wait_for_keeper(containers, row, _USUAL)
    return row


def _signal(containers: Containers, text: str, number: int) -> ContainerRow:
    row = containers.get(text)
    record = loads(row.config_json)
    if row.is_live and record.get("restart"):
        from .supervision import ends_restarts

        if ends_restarts(record, number):
            _not_again(containers, row)
    if not row.is_live or not keeper.send(containers.folder(row.id), number):
        raise Conflict(f"cannot kill container: {text}: container {row.id} is not running")
    containers.tell(row, "kill", signal=number)
    if number in (_SIGKILL, record.get("stop_signal") or number):
        resume(containers, row)
    if number == _SIGKILL:
        _fail_readers(containers, row, _USUAL)
    return row


def kill_users(containers: Containers, folder: str) -> None:
    """Kill the containers over a lazy tree that turned out to be wrong: what they have read may be false."""
    for row in containers.list(all=False):
        if folder in lazy_folders(containers.store, row.id):
            containers.tell(row, "corrupt", error="a layer of its image is not what the image says")
            with suppress(Conflict, NotFound):  # it has ended meanwhile
                _signal(containers, row.id, _SIGKILL)


def _fail_readers(containers: ContainerListing, row: ContainerRow, timeout: float) -> None:
    """A program that waits for content which nobody fetches can be killed only once its read has failed."""
    lazy = lazy_folders(containers.store, row.id)
    if not lazy:
        return
    from ...stores.trees.lazy import fail_readers

    until = monotonic() + timeout
    while monotonic() < until and not _wait_for_process(row, _MOMENT):
        for folder in lazy:
            fail_readers(containers.store.root, folder)


def stop(containers: Containers, text: str, timeout: float | None, number: int) -> ContainerRow:
    """Ask it to end (its stop signal, or `number`), kill it after `timeout` seconds or its own.

    A negative `timeout` waits for ever. A container that does not run is fine. Raises NotFound; SandboxError
    when it does not end even then.
    """
    row = containers.get(text)
    if row.is_live:
        record = loads(row.config_json)
        own = record.get("stop_timeout")
        usual = _USUAL if own is None else float(own)
        wanted = number or record.get("stop_signal") or _SIGTERM
        end(containers, row, wanted, usual if timeout is None else timeout)
        containers.tell(row, "stop")
    return row


def restart(containers: Containers, text: str, timeout: float | None, number: int) -> ContainerRow:
    """`stop` and `start_detached`, also of one that is removed when it ends. Raises as these."""
    row = containers.get(text)
    with _kept_meanwhile(containers, row):
        stop(containers, row.id, timeout, number)
        containers.start_detached(row.id)
    containers.tell(row, "restart")
    return row


@contextmanager
def _kept_meanwhile(containers: ContainerListing, row: ContainerRow) -> Iterator[None]:
    """A container of `--rm` is not removed by this end."""
    if not row.auto_remove:
        yield
        return
    with os_errors(f"restart container {row.name}"):
        lock = Lock(containers.store.containers.file(row.id, RESTARTING))
    try:
        yield
    finally:
        lock.release(remove=True)


def reuse(root: Mount) -> None:
    """Mount again what a container of `--rm` has written: it was restarted. Raises SandboxError."""
    from ...ground.mounts import reuse
    from ...words.mount import Overlay

    if isinstance(root, Overlay):
        with os_errors("mount the files of the container again"):
            reuse(root)


def end(
    containers: ContainerListing, row: ContainerRow, number: int = _SIGKILL, timeout: float = 0.0
) -> None:
    """Signal, wait at most `timeout` for the process, for ever if negative, kill, wait for the keeper.

    Raises SandboxError when that does not end, and says what holds it.
    """
    folder = containers.folder(row.id)
    _not_again(containers, row)
    keeper.send(folder, number)
    containers.tell(row, "kill", signal=number)
    resume(containers, row)
    if timeout < 0:
        keeper.wait(folder)
        return
    if not _wait_for_process(row, timeout) and number != _SIGKILL:
        keeper.send(folder, _SIGKILL)
        containers.tell(row, "kill", signal=_SIGKILL)
    _fail_readers(containers, row, _PATIENCE)
    _wait_for_keeper(containers, row, _PATIENCE)


def _wait_for_keeper(containers: ContainerListing, row: ContainerRow, seconds: float) -> None:
    """Until how it ended is recorded. Raises SandboxError that says what holds it."""
    until = monotonic() + seconds
    while keeper.is_kept(containers.folder(row.id)):
        if monotonic() > until:
            raise SandboxError(f"container {row.name} does not end: {_what_holds(row)}")
        sleep(_MOMENT)


def _not_again(containers: ContainerListing, row: ContainerRow) -> None:
    """Said before the signal is sent: the container's policy does not start it again."""
    if loads(row.config_json).get("restart"):
        from .supervision import STOPPED

        with os_errors(f"stop container {row.name}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            os.close(os.open(containers.store.containers.file(row.id, STOPPED), flags, 0o600))


def _wait_for_process(row: ContainerRow, timeout: float) -> bool:
    """True when the process has ended within `timeout` seconds."""
    if not row.pid or start_time(row.pid) != row.pid_start:
        return True
    try:
        fd = os.pidfd_open(row.pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(fd)


def _what_holds(row: ContainerRow) -> str:
    """The first process that keeps the kernel from ending the container."""
    if start_time(row.pid) != row.pid_start:
        return "its supervisor does not answer"
    for pid in (row.pid, *_members(row.pid)):
        name, state, above = _look_at(pid)
        if state == "D":
            return f"process {pid} ({name}) waits for a device or a file system"
        if state == "Z" and pid != row.pid and above:
            other = _look_at(above)[0]
            return f"process {pid} ({name}) has ended, but its parent {above} ({other}) does not wait for it"
    supervisor = _look_at(row.pid)[2]
    stopped = "is stopped" if _look_at(supervisor)[1] == "T" else "does not answer"
    return f"its supervisor, process {supervisor}, {stopped}"


def _look_at(pid: int) -> tuple[str, str, int]:
    """Name, state and parent of a process, as proc_pid_stat(5) has them."""
    try:
        name, (state, above, *_) = process_stat(pid)
    except OSError:
        return "", "", 0
    return name.decode(errors="replace"), state.decode(), int(above)


def _members(pid: int) -> list[int]:
    from ...ground.monitor.pause import members

    return sorted({*members(pid), *members(pid, standing=True)})
