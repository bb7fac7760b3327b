"""Whether a running container is well: its supervisor runs a program in it now and then.

    supervisor   starts a `probe`, a process of its own, when a timer says so; reads its answer; becomes the
                 shim between two of them
    probe        runs the program in the container, kills it when its time is over
    containers/<id>/health   what is known, as docker's State.Health; replaced whole after each answer

A probe is a new interpreter because the supervisor may have threads, and a fork would copy their locks. The
first is started an interval after the container, the next an interval after the answer. One that is paused
is not probed. Source: moby daemon/health.go.
"""

from __future__ import annotations

import os
from time import time

from ...ground.files import write_atomic
from ...ground.fork import program
from ...images.model.healthcheck import HealthCheck, merged
from ...words.errors import Unsupported
from ...words.quickjson import dumps, loads
from . import probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ...ground.monitor.loop import EventLoop
    from ...ground.sandbox import Attachment
    from ...stores.containers import ContainerRow
    from .listing import ContainerListing
    from .service import CreateRequest

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
FILE = "health"
PLACE = f"{__package__}.healthshim", "wake"
_KEPT = 5
_SELDOM = 5.0
"""Seconds from one check to the next that are worth another program meanwhile."""


def wanted(request: CreateRequest) -> dict[str, Any] | None:
    """docker's document for a new container, None if nothing is to be run. Raises Unsupported."""
    document = merged(request.image.config, request.health)
    if HealthCheck.of(document) is None:
        return None
    if request.runtime != "builtin":
        raise Unsupported(
            f"health checks are not possible with the runtime {request.runtime}", hint="--no-healthcheck"
        )
    return document


def of_record(record: dict[str, Any]) -> HealthCheck | None:
    """The check of a container."""
    document = record.get("health")
    return HealthCheck.of(document, (record.get("asked") or {}).get("Shell")) if document else None


def read(path: str) -> dict[str, Any]:
    """What is known: Status, FailingStreak, Log."""
    try:
        with open(path, "rb") as file:
            found = loads(file.read())
        return {"Status": found["Status"], "FailingStreak": found["FailingStreak"], "Log": found["Log"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"Status": STARTING, "FailingStreak": 0, "Log": []}


def state(containers: ContainerListing, row: ContainerRow, record: dict[str, Any]) -> dict[str, Any] | None:
    """docker's State.Health, None without a check. One that does not run any more is not healthy."""
    if of_record(record) is None:
        return None
    found = read(containers.store.containers.file(row.id, FILE))
    ended = row.state not in ("running", "created")
    return found | ({"Status": UNHEALTHY} if ended else {})


def checked(
    containers: ContainerListing, row: ContainerRow, record: dict[str, Any], attached: Attachment
) -> Attachment:
    """The same for a container with a check."""
    leave, monitors = attached.leave, list[HealthMonitor]()

    def tell(status: str) -> None:
        tell_status(containers, row.id, status)

    def begin(loop: EventLoop) -> Callable[[], object]:
        check = of_record(record)
        assert check is not None
        monitor = HealthMonitor(loop, check, containers.folder(row.id), tell)
        monitors[:] = [monitor]
        monitor.begin(probe.told(containers, containers.store.containers.get(row.id), check))
        return monitor.close

    def leaving(told: dict[str, Any]) -> None:
        if leave:
            leave({**told, "health": monitors[0].describe()})

    return attached.replace(beside=begin, leave=leaving if leave else None)


def tell_status(containers: ContainerListing, number: str, status: str) -> None:
    """Record what its health has become, for `nacre events`."""
    containers.tell(containers.store.containers.get(number), f"health_status: {status}")


class HealthMonitor:
    """Probes a container, and writes what comes of it into its folder; `tell` hears of a new status.

    `grace`: seconds after its time-out until a probe itself is killed.
    """

    grace = 5.0

    def __init__(
        self, loop: EventLoop, check: HealthCheck, folder: str, tell: Callable[[str], object]
    ) -> None:
        self._loop, self._check, self._folder, self._tell = loop, check, folder, tell
        self._state = read(f"{folder}/{FILE}") | {"Status": STARTING, "FailingStreak": 0}
        self._started = time()
        self._told: dict[str, Any] = {}
        self._pid = self._answer = -1
        self._data = b""

    @classmethod
    def adopt(cls, loop: EventLoop, told: dict[str, Any], tell: Callable[[str], object]) -> Self:
        """The one that `describe` told of, in another program of this process."""
        command, *numbers = told["check"]
        self = cls(loop, HealthCheck(tuple(command), *numbers), told["folder"], tell)
        self._state, self._started, self._told = read(f"{self._folder}/{FILE}"), told["started"], told["told"]
        return self

    def describe(self) -> dict[str, Any]:
        """What is needed to go on, as plain values."""
        return {
            "place": PLACE, "check": self._check._astuple(), "folder": self._folder,
            "started": self._started, "told": self._told,
        }  # fmt: skip

    def begin(self, told: dict[str, Any]) -> None:
        """`told` is what a probe is told."""
        self._told = told
        self._write()
        self._plan()

    def close(self) -> None:
        """The container has ended; so has a probe."""
        if self._pid > 0:
            os.kill(self._pid, 9)
            self._reap()

    def _plan(self) -> None:
        early = self._state["Status"] == STARTING and time() - self._started < self._check.start_period
        interval = self._check.start_interval if early else self._check.interval
        self._loop.call_later(interval, self.probe, apart=interval >= _SELDOM)

    def probe(self) -> None:
        """Look now; then the next time is planned."""
        if self._is_paused:
            return self._plan()
        try:
            self._start()
        except OSError as error:
            self._data = dumps(
                {"ExitCode": -1, "Output": f"cannot start the probe: {error.strerror}"}
            ).encode()
            return self._done()
        self._loop.watch(self._answer, self._hear)
        self._limit = self._loop.call_later(self._check.timeout + self.grace, self._give_up)
        return None

    @property
    def _is_paused(self) -> bool:
        return os.path.exists(f"{self._folder}/{probe.PAUSED}")

    def _start(self) -> None:
        self._data, self._begun = b"", time()
        memory = os.memfd_create("nacre", os.MFD_CLOEXEC)
        self._answer, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            os.write(memory, dumps(self._told).encode())
            self._pid = program(probe.words(), (-1, theirs, -1, memory))
        except BaseException:
            os.close(self._answer)
            raise
        finally:
            os.close(memory)
            os.close(theirs)

    def _hear(self) -> None:
        data = os.read(self._answer, 1 << 16)
        self._data += data
        if not data:
            self._loop.cancel(self._limit)
            self._reap()
            self._done()

    def _done(self) -> None:
        try:
            if not self._is_paused:
                self._note(_read_answer(self._data))
        finally:
            self._plan()

    def _give_up(self) -> None:
        """It should have come to an end by itself; somebody else may hold the pipe."""
        os.kill(self._pid, 9)
        self._data = b""
        self._reap()
        self._done()

    def _reap(self) -> None:
        self._loop.forget(self._answer)
        os.close(self._answer)
        os.waitpid(self._pid, 0)
        self._pid = -1

    def _note(self, result: dict[str, Any]) -> None:
        """docker's rules: failures count from the start period on, or after the first success."""
        known, before = self._state, self._state["Status"]
        times = {"Start": _rfc3339(self._begun), "End": _rfc3339(time())}
        known["Log"] = [*known["Log"][1 - _KEPT :], times | result]
        if result["ExitCode"] == 0:
            known |= {"FailingStreak": 0, "Status": HEALTHY}
        elif known["Status"] != STARTING or self._begun - self._started >= self._check.start_period:
            known["FailingStreak"] += 1
            if known["FailingStreak"] >= self._check.retries:
                known["Status"] = UNHEALTHY
        self._write()
        if known["Status"] != before:
            self._tell(known["Status"])

    def _write(self) -> None:
        write_atomic(f"{self._folder}/{FILE}", dumps(self._state).encode())


def _read_answer(data: bytes) -> dict[str, Any]:
    try:
        found = loads(data)
        return {"ExitCode": int(found["ExitCode"]), "Output": str(found["Output"])}
    except (ValueError, KeyError, TypeError):
        return {"ExitCode": -1, "Output": "the health check was killed"}


def _rfc3339(moment: float) -> str:
    from ...ground.monitor.logfile import stamp

    return stamp(int(moment * 1e9))
