"""Detached containers: a process of ours that keeps one container, writes its log and its end.

    supervisor              starts the program; stays for a second
    ground.monitor.shim    takes its place while the program runs and nothing else is to be done
    supervisor              takes its place again once the program has ended: records, restarts, removes

It is one process throughout, so the lock stays held and the program stays its child. A container with more to
do than the shim can keeps its supervisor: a network of its own, a root that is laid out, another
runtime, a terminal of a user.
"""

from __future__ import annotations

import os

from ...ground.fork import fork_detached
from ...ground.sandbox import Attachment, Stdio
from ...words.errors import SandboxError
from ...words.quickjson import loads
from .logdrivers import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.fork import ChildReport, Work
    from ...ground.monitor.logfile import Log
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import Containers

_BACK = f"{__package__}.resume", "resume"
"""Where the supervisor goes on after the shim."""


def launch(service: type[Containers], store: Store, row: ContainerRow) -> None:
    """Start `row` under a supervisor of its own; returns once its program runs, raises what went wrong.

    The supervisor opens the store anew: `store` is the parent's and must not be used on that side.
    """

    def work(report: ChildReport) -> None:
        os.chdir("/")
        _supervise(service, store, row, report)

    store.rest()
    begin(work, "the supervisor of the container")


def attend(service: type[Containers], store: Store, row: ContainerRow, stdio: Stdio) -> int:
    """As `launch`, with streams of ours that are no terminal, and wait; the exit code.

    A signal ends only the waiting.
    """

    def work(report: ChildReport) -> None:
        os.chdir("/")
        _supervise(service, store, row, report, stdio)

    store.rest()
    keep = [fd for fd in (stdio.stdin, stdio.stdout, stdio.stderr) if fd >= 0]
    try:
        with fork_detached(work, what="the supervisor of the container", keep=keep) as child:
            child.answer()
            child.wait()
            (code,) = child.answer()
    except OSError as error:
        raise SandboxError(f"cannot start the supervisor of the container: {error.strerror}") from None
    return int(code)


def begin(work: Work, what: str) -> None:
    """Have `work` go on in the background once it has told that its program runs. Raises what it met."""
    try:
        with fork_detached(work, what=what) as child:
            child.answer()
            child.wait()
    except OSError as error:
        raise SandboxError(f"cannot start {what}: {error.strerror}") from None


def _supervise(
    service: type[Containers],
    store: Store,
    row: ContainerRow,
    report: ChildReport,
    attached: Stdio | None = None,
) -> None:
    def running() -> None:
        report.tell(True)
        if not attached:
            report.close()

    with type(store).open(store.root, create=False) as fresh:
        containers, record = service(fresh), loads(row.config_json)
        log = open_log(fresh.containers.file(row.id, "log"), row, record)
        kept: list[int] = []
        stdio = (attached or _nobody(record, kept)).replace(log=log.write if log else None)
        leave = None if attached else _leaving(store.root, row, log, kept)
        attachment = Attachment(stdio, on_running=running, leave=leave)
        code = containers.keep(row, attachment, log.close if log else None)
    if attached:
        report.tell(code)


def _leaving(
    root: str, row: ContainerRow, log: Log | None, kept: list[int]
) -> Callable[[dict[str, Any]], None] | None:
    """Has the shim take our place, unless it cannot write the log; `kept` stay open as well."""
    if log and log.describe() is None:
        return None

    def leave(told: dict[str, Any]) -> None:
        from ...ground.monitor import handover, shim

        written = log.describe() if log else None
        open_for_log = [written["fd"]] if written else []
        shared = [held[0] for held in told["shared"]]
        descriptors = [*told["descriptors"], *kept, *shared, *open_for_log, told["lock"], told["control"]]
        told |= {"descriptors": descriptors, "log": written}
        told |= {"root": root, "id": row.id, "back": _BACK}
        handover.become(shim.PLACE, told, descriptors, row.id)

    return leave


def _nobody(record: dict[str, Any], kept: list[int]) -> Stdio:
    """Streams where nobody is attached; with `-i` standard input stays open all the same."""
    tty = bool(record.get("tty"))
    return Stdio(_open_pipe(kept) if record.get("interactive") and not tty else -1, -1, -1, tty=tty)


def _open_pipe(kept: list[int]) -> int:
    """A standard input that never ends, as long as what is added to `kept` is open."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    kept.append(writer)
    return reader
