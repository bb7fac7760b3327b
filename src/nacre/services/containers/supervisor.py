"""Detached containers: a small process of ours that keeps one container, writes its log and its end."""

from __future__ import annotations

import os

from ...ground.fork import fork_detached
from ...ground.sandbox import Stdio
from ...words.errors import SandboxError
from ...words.quickjson import loads
from .logdrivers import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...ground.fork import ChildReport, Work
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import Containers


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
        stdio = (attached or _nobody(record)).replace(log=log.write if log else None)
        code = containers.keep(row, stdio, running, log.close if log else None)
    if attached:
        report.tell(code)


def _nobody(record: dict[str, Any]) -> Stdio:
    """Streams where nobody is attached; with `-i` standard input stays open all the same."""
    tty = bool(record.get("tty"))
    return Stdio(_open_pipe() if record.get("interactive") and not tty else -1, -1, -1, tty=tty)


def _open_pipe() -> int:
    """A standard input that never ends."""
    reader, _kept = os.pipe2(os.O_CLOEXEC)
    return reader
