"""A program on a terminal of ours, which the user may leave alone by some keys: then it goes on without us.

    this process     waits; passes signals on; ends when the keys were typed, or the program has ended
    its child        keeps the program as any keeper does, in the same session, so that it has the terminal;
                     at the keys it restores that, begins a session of its own and goes on in the background

Where signals are passed on, the death of the first ends the second, and the container with it. Otherwise the
second takes it for the keys.
"""

from __future__ import annotations

import os

from ...ground import linux
from ...ground.fork import BLOCKED, fork
from ...ground.monitor.handover import let_signals_in
from ...ground.monitor.relay import give_back, take_signals
from ...words.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from ...ground.fork import Child, ChildReport, Work
    from ...ground.sandbox import Attachment, Stdio

_DETACHED = "detached"


class Foreground:
    """Waits for a program that its child keeps, on the terminal of `stdio`."""

    def __init__(self, stdio: Stdio) -> None:
        self._stdio = stdio

    def attend(self, work: Work, what: str) -> int | None:
        """Have a child do `work`, which tells the exit code at last; None when the user has left it alone.

        Raises what the child met.
        """
        stdio = self._stdio
        keep = [fd for fd in (stdio.stdin, stdio.stdout, stdio.stderr) if fd >= 0]

        def begin(report: ChildReport) -> None:
            if stdio.forward:
                linux.die_with_parent()
            work(report)

        try:
            with (
                Forwarding(stdio.forward) as forwarding,
                fork(begin, what=what, keep=keep, signals=BLOCKED) as child,
            ):
                forwarding.begin(child)
                return self._wait(child)
        except OSError as error:
            raise SandboxError.of_start(what, error) from None

    def _wait(self, child: Child) -> int | None:
        try:
            while told := child.hear():
                if told[0] == _DETACHED:
                    return None
                if told[0] is not True:
                    child.wait()
                    return int(told[0])
        except BaseException:
            if not self._stdio.forward:
                child.pid = 0  # it goes on
            raise
        raise child.died()


class Forwarding:
    """`with` it signals go to a child, from `begin` on; those that came before follow then."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._child: Child | None = None
        self._noted: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = take_signals(self._pass) if self._wanted else {}
        return self

    def begin(self, child: Child) -> None:
        """Pass on what has come, and what comes."""
        self._child = child
        for number in self._noted:
            child.send(number)

    def _pass(self, number: int, _frame: object) -> None:
        if self._child:
            self._child.send(number)
        else:
            self._noted.append(number)

    def __exit__(self, *_exc: object) -> None:
        give_back(self._before)


def detachable(attached: Attachment, report: ChildReport) -> Attachment:
    """In the child: as `attached`, and the keys, or the end of who waits, have it go on alone."""
    running = attached.on_running

    def ready() -> None:
        let_signals_in()
        if running:
            running()

    def alone() -> None:
        linux.prctl(linux.PR_SET_PDEATHSIG, 0)
        os.setsid()
        os.chdir("/")
        try:
            report.tell(_DETACHED)
        except OSError:  # nobody waits any more
            return
        finally:
            report.close()

    user = -1 if attached.stdio.forward else report.fd
    return attached.replace(on_running=ready, on_detach=alone, user=user)
