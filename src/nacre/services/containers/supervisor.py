"""Detached containers: a process of ours that keeps one container, writes its log and its end.

    supervisor              starts the program; stays for a second
    ground.monitor.shim    takes its place while the program runs and nothing else is to be done
    supervisor              takes its place again once the program has ended: records, restarts, removes

It is one process throughout, so the lock stays held and the program stays its child. A container with more to
do than the shim can keeps its supervisor: a root that is laid out, another runtime, a terminal of a user.
"""

from __future__ import annotations

import os

from ...ground.fork import fork_detached
from ...ground.sandbox import Stdio
from ...words.errors import SandboxError
from .keeper import Keeper
from .signalbuffer import SignalBuffer
from .supervision import Supervision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...ground.fork import ChildReport, Work
    from ...ground.sandbox import Attachment
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
        raise SandboxError.of_start("the supervisor of the container", error) from None
    return int(code)


def attend_terminal(service: type[Containers], store: Store, row: ContainerRow, stdio: Stdio) -> int | None:
    """Stay with a container on a terminal of ours; its exit code, None when the user has left it alone.

    The process that keeps it is a child of this one, so that it may go on without it. With `stdio.forward` it
    gets the signals that come here, and does not outlive a kill; otherwise those end only this.
    """
    from .foreground import Foreground

    def work(report: ChildReport) -> None:
        _supervise(service, store, row, report, stdio)

    store.rest()
    return Foreground(stdio).attend(work, "the process that keeps the container")


def begin(work: Work, what: str, keep: tuple[int, ...] = ()) -> None:
    """Have `work` go on in the background once it has told that its program runs. Raises what it met."""
    try:
        with fork_detached(work, what=what, keep=keep) as child:
            child.answer()
            child.wait()
    except OSError as error:
        raise SandboxError.of_start(what, error) from None


def _supervise(
    service: type[Containers],
    store: Store,
    row: ContainerRow,
    report: ChildReport,
    attached: Stdio | None = None,
) -> None:
    apart = _beside(attached, report)

    def running() -> None:
        report.tell(True)
        if not attached:
            report.close()

    with type(store).open(store.root, create=False) as fresh:
        supervision = supervised(service(fresh), row)
        try:
            supervision.begin()
            code = supervision.run(running, attached, apart)
            if attached and supervision.goes_on and report.fd >= 0:
                report.tell(code)
                report.close()
            supervision.go_on()
        finally:
            supervision.end()
    if attached and report.fd >= 0:
        report.tell(code)


def _beside(attached: Stdio | None, report: ChildReport) -> Callable[[Attachment], Attachment] | None:
    """What makes a container on a terminal one that the user may leave alone."""
    if not (attached and attached.is_detachable):
        return None
    from .foreground import detachable

    return lambda attachment: detachable(attachment, report)


def supervised(containers: Containers, row: ContainerRow) -> Supervision:
    """What keeps a container from now on. Raises Conflict when another process does."""
    kept = Keeper(containers.folder(row.id))
    return Supervision(containers, row, kept, SignalBuffer(kept.control))


def go_on_apart(before: Supervision, service: type[Containers], store: Store, row: ContainerRow) -> None:
    """Have another process start a container again; it holds the same lock."""
    kept = before.kept

    def work(report: ChildReport) -> None:
        os.chdir("/")
        with type(store).open(store.root, create=False) as fresh:
            supervision = Supervision(service(fresh), row, kept, SignalBuffer(kept.control))
            supervision.take_over(before)
            report.tell(True)
            report.close()
            try:
                supervision.go_on()
            finally:
                supervision.end()

    store.rest()
    begin(work, "the supervisor of the container", (kept.lock, kept.control))
