"""Detached containers: a small process of ours that keeps one container, writes its log and its end."""

from __future__ import annotations

import os

from ...ground.fork import fork_detached
from ...ground.sandbox import Stdio
from ...words.errors import SandboxError
from ...words.quickjson import loads
from .log import LogWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...ground.fork import Report, Work
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import Containers


def launch(service: type[Containers], store: Store, row: ContainerRow) -> None:
    """Start `row` under a supervisor of its own; returns once its program runs, raises what went wrong.

    The supervisor opens the store anew: `store` is the parent's and must not be used on that side.
    """

    def work(report: Report) -> None:
        os.chdir("/")
        _supervise(service, store, row, report)

    store.rest()
    begin(work, "the supervisor of the container")


def begin(work: Work, what: str) -> None:
    """Have `work` go on in the background once it has told that its program runs. Raises what it met."""
    try:
        with fork_detached(work, what=what) as child:
            child.answer()
            child.wait()
    except OSError as error:
        raise SandboxError(f"cannot start {what}: {error.strerror}") from None


def _supervise(service: type[Containers], store: Store, row: ContainerRow, report: Report) -> None:
    def running() -> None:
        report.tell(True)
        report.close()

    with type(store).open(store.root, create=False) as fresh:
        containers = service(fresh)
        log = None
        record = loads(row.config_json)
        stdin = _open_pipe() if record.get("interactive") and not record.get("tty") else -1
        if record.get("log_driver") != "none":
            log = LogWriter(f"{containers.folder(row.id)}/log")
        stdio = Stdio(stdin, -1, -1, tty=bool(record.get("tty")), log=log.write if log else None)
        containers.keep(row, stdio, running, log.close if log else None)


def _open_pipe() -> int:
    """A standard input that never ends: with `-i` it stays open though nobody is attached."""
    reader, _kept = os.pipe2(os.O_CLOEXEC)
    return reader
