"""What the supervisor of a detached container does: runs it, and again as its restart policy has it.

    containers/<id>/stopped     there once a user has stopped the container: it is not started again by itself
    containers/<id>/restarts    how often it was, since a user started it, and the exit code before

Between two runs the container is `restarting`, the lock stays held and has the code of the last run.
"""

from __future__ import annotations

import os
import time

from ...grammars.restart import RestartPolicy, next_delay
from ...ground.files import unlink
from ...ground.sandbox import Attachment, Stdio
from ...stores.shared import release
from ...words.errors import NacreError
from ...words.quickjson import loads
from .logdrivers import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.monitor.logfile import Log
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .keeper import Keeper
    from .service import Containers
    from .signalbuffer import SignalBuffer

_SIGKILL = 9
STOPPED, RESTARTS = "stopped", "restarts"
_BACK = f"{__package__}.resume", "resume"
"""Where the supervisor goes on after the shim."""


class Supervision:
    """One container, by the process that keeps it. Call `end` at the end in any case."""

    def __init__(self, containers: Containers, row: ContainerRow, kept: Keeper, shield: SignalBuffer) -> None:
        self._containers, self._row, self.kept, self._shield = containers, row, kept, shield
        self._stdin: list[int] = []
        self._delay, self._signalled = 0.0, False
        self.code, self.goes_on = 0, False

    def begin(self) -> None:
        """A user has started it: what was before does not count."""
        for name in (STOPPED, RESTARTS):
            unlink(self._file(name))

    def run(
        self, running: Callable[[], object] | None = None, stdio: Stdio | None = None,
        detachable: Callable[[Attachment], Attachment] | None = None,
    ) -> int:  # fmt: skip
        """Once; the exit code. Raises as `start`.

        With `stdio` that is a caller's no shim takes over, unless it is `detachable` and was left alone.
        """
        record = loads(self._row.config_json)
        log = open_log(self._file("log"), self._row, record)
        streams = self._with_input(stdio or Stdio(-1, -1, -1, tty=bool(record.get("tty"))), record)
        attached = Attachment(
            streams.replace(log=log.write if log else _nowhere), on_running=running, on_signal=self.signalled,
            leave=self._leaving(log) if detachable or not stdio else None,
        )  # fmt: skip
        attached = detachable(attached) if detachable else attached
        try:
            code = self._containers.attempt(self._row, attached, self.kept, self._shield)
        except NacreError as error:
            self.code = error.exit_code
            raise
        finally:
            if log:
                log.close()
        return self.ended(code)

    def resume(self, told: dict[str, Any]) -> None:
        """The shim has seen the end of the program: clean up and record."""
        self._clean(told)
        release(told["shared"])
        if told.get("network"):
            from .networkshim import clean

            clean(self._containers.store, self._row, told["network"])
        self._delay, self._signalled = told["delay"], told["signalled"]
        for number in told["signals"]:
            self.signalled(number)
        watched = told["memory"]["watch"][1] if told.get("memory") else []
        for fd in [*told["stdin"], *watched]:
            os.close(fd)
        self.ended(told["code"], told["ended"])

    def _clean(self, told: dict[str, Any]) -> None:
        store = self._containers.store
        if loads(self._row.config_json)["runtime"] != "builtin":
            from .runtime import end_runtime

            return end_runtime(store, self._row)
        active = store.actives.find(self._row.id)
        if active is not None:
            from ...ground.sandbox import process

            process.clean(active.mount, told["made"], volatile=told["volatile"])
        return None

    def ended(self, code: int, moment: float = 0.0) -> int:
        """Record an end, and whether it is to go on; the code."""
        self.code = code
        self._row = self._containers.store.containers.get(self._row.id)
        self._containers.lift_limits(self._row)
        self._containers.tell_end(self._row, code, moment)
        if not self._row.auto_remove:
            policy = policy_of(loads(self._row.config_json))
            self.goes_on = policy.wants(code, self._restarts()) and not self._is_stopped()
            self._update("restarting" if self.goes_on else "exited", finished=moment or time.time())
        return code

    def take_over(self, before: Supervision) -> None:
        """Be in the place of another, which has recorded the end."""
        self.code, self.goes_on, self._row = before.code, before.goes_on, before._row
        self._signalled = before._signalled

    def go_on(self) -> None:
        """Start the container again, and again, until its policy or somebody says otherwise."""
        while self.goes_on:
            self._delay = next_delay(self._delay, time.time() - self._row.started)
            self.kept.record(self.code)
            if not self._waited() or self._is_stopped():
                self.goes_on = False
                self._update("exited")
            else:
                self._count()
                self._again()

    def _waited(self) -> bool:
        """A signal that comes meanwhile ends the waiting, as one for the container does."""
        self._shield.to_control = True
        try:
            return self.kept.wait_to_restart(self._delay)
        finally:
            self._shield.to_control = False

    def _again(self) -> None:
        """A container that cannot be started again stays as it had ended."""
        before = self.code
        self.kept.forget()
        try:
            self.run()
        except NacreError:
            self.code, self.goes_on = before, False
            self._update("exited")

    def _is_stopped(self) -> bool:
        return self._signalled or os.path.exists(self._file(STOPPED))

    def signalled(self, number: int) -> None:
        """A signal that was passed on counts as one of `kill`."""
        if ends_restarts(loads(self._row.config_json), number):
            self._signalled = True

    def _restarts(self) -> int:
        return restarts(self._file(RESTARTS))

    def _count(self) -> None:
        count = self._restarts() + 1
        with open(self._file(RESTARTS), "w", encoding="ascii") as file:
            file.write(f"{count} {self.code}")

    def _update(self, state: str, **more: float) -> None:
        store = self._containers.store
        store.containers.update(self._row.id, state=state, pid=0, exit_code=self.code, **more)

    def _file(self, name: str) -> str:
        return self._containers.store.containers.file(self._row.id, name)

    def _leaving(self, log: Log | None) -> Callable[[dict[str, Any]], None] | None:
        """Has the shim take our place, unless it cannot write the log."""
        if log and log.describe() is None:
            return None

        def leave(told: dict[str, Any]) -> None:
            from ...ground.monitor import shim

            written = log.describe() if log else None
            held = [each[0] for each in told["shared"]]
            own = [self.kept.lock, self.kept.control, *([written["fd"]] if written else [])]
            told |= {
                "descriptors": [*told["descriptors"], *self._stdin[1:], *held, *own], "log": written,
                "root": self._containers.store.root, "id": self._row.id, "back": _BACK,
                "lock": self.kept.lock, "stdin": self._stdin[1:], "delay": self._delay,
                "signalled": self._signalled,
            }  # fmt: skip
            shim.wait(told)

        return leave

    def _with_input(self, stdio: Stdio, record: dict[str, Any]) -> Stdio:
        """With `-i` standard input stays open while nobody is attached, for who attaches later."""
        while self._stdin:
            os.close(self._stdin.pop())
        if stdio.stdin >= 0 or not record.get("interactive"):
            return stdio
        self._stdin += os.pipe2(os.O_CLOEXEC)
        reader, writer = self._stdin
        os.set_blocking(writer, False)
        once = bool(record.get("stdin_once"))
        return stdio.replace(stdin=-1 if stdio.tty else reader, input=writer, once=once)

    def end(self) -> None:
        """Let go of it: whoever waits learns the code, and nothing of a `--rm` container is left."""
        try:
            self._containers.let_go(self._row, self.kept, self.code)
        finally:
            self._shield.close()


def _nowhere(_name: str, _data: bytes) -> None:
    """Nothing is kept of what a container writes, but who attaches later sees it."""


def policy_of(record: dict[str, Any]) -> RestartPolicy:
    """The policy of a container, by what its row keeps."""
    name, maximum = record.get("restart") or ("no", 0)
    return RestartPolicy(name, maximum)


def ends_restarts(record: dict[str, Any], number: int) -> bool:
    """Whether the restart policy of a container is over once a user has sent it this signal.

    Any signal says so, of a container with a stop signal of its own that one and SIGKILL; with unless-stopped
    any in any case. Source: moby daemon/kill.go, restartmanager.
    """
    policy, _ = record.get("restart") or ("no", 0)
    own = record.get("stop_signal")
    return policy == "unless-stopped" or not own or number in (own, _SIGKILL)


def is_held_back(store: Store, row: ContainerRow) -> bool:
    """Whether its policy is to run it unless somebody stops it, and somebody has."""
    unless = policy_of(loads(row.config_json)).name == "unless-stopped"
    return unless and os.path.exists(store.containers.file(row.id, STOPPED))


def restarts(path: str) -> int:
    """How often a container was started again, as its file says."""
    return _numbers(path)[0]


def last_code(path: str) -> int:
    """The exit code before it was started again."""
    return _numbers(path)[1]


def _numbers(path: str) -> tuple[int, int]:
    try:
        with open(path, "rb") as file:
            count, code = file.read(32).split()
        return int(count), int(code)
    except (OSError, ValueError):
        return 0, 0
