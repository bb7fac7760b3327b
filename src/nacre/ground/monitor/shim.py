"""The shim: what a supervisor is while its container runs and nothing is to be decided.

It passes output to the log, obeys the control, waits; while nothing happens it is not even loaded (`idle`).
When the container has ended it leaves the exit code in the lock, which it goes on holding, and the supervisor
takes its place again to do the rest. Where that cannot be started any more (nacre was removed or is broken),
the code in the lock is what others go by. What the shim is told may come from an older version of nacre.
"""

from __future__ import annotations

import os
from time import monotonic, time

from .handover import become, let_signals_in, received
from .logfile import LogWriter
from .relay import Flow, Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PLACE = __name__, "main"
_SOON, _STILL = 0.5, 5.0
"""Seconds until it waits unloaded: at first, and after something has happened. To load it takes 15 ms."""


class _Program:
    """The first process of the container, which is a child of this one."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd = pid, pidfd

    def pidfd(self) -> int:
        """A descriptor of it, to be closed."""
        return self._pidfd

    def wait(self) -> int | None:
        """Its status, as `Child.wait` gives it."""
        try:
            return os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            return None


def main(fd: int) -> None:
    """Stay with the container that the supervisor told of, then be the supervisor again."""
    told = received(fd)
    log = LogWriter.adopt(told["log"]) if told["log"] else None
    signals: list[int] = told.get("signals", [])
    relay = _relay(told, log, signals)
    closing = _time(relay, told)
    try:
        code = relay.run(signals=True)
    finally:
        for close in closing:
            close()
    if log:
        log.close()
    os.pwrite(told["lock"], str(code).encode(), 0)
    descriptors = _without_log(told)
    ended = {"code": code, "ended": time(), "signals": signals, "descriptors": descriptors}
    become(tuple(told["back"]), {**told, **ended}, descriptors, told["id"])


def wait(told: dict[str, Any]) -> None:
    """Be the shim of what is told, as soon as there is something to do. Raises OSError."""
    until = [*told["watched"], *(told["network"]["watched"] if told.get("network") else ())]
    become(PLACE, told, {*told["descriptors"], *until}, told["id"], until, told["due"])


def _without_log(told: dict[str, Any]) -> list[int]:
    log = told["log"]["fd"] if told["log"] else -1
    return [fd for fd in told["descriptors"] if fd != log]


def _rest(told: dict[str, Any], log: LogWriter | None, signals: list[int], left: dict[str, Any]) -> None:
    """Nothing has happened for some time: wait for less."""
    written = log.describe() if log else None
    now = {**told, **left}
    descriptors = [*_without_log(now), *([written["fd"]] if written else [])]
    wait({**now, "descriptors": descriptors, "log": written, "signals": signals})


def _relay(told: dict[str, Any], log: LogWriter | None, signals: list[int]) -> Relay:
    outputs = [Flow(fd, _writer(log, name), name=name) for fd, name in told["outputs"]]
    relay = Relay(_Program(told["pid"], told["pidfd"]), outputs, [], told["control"])
    relay.settled, relay.still = _SOON, _STILL
    relay.leave = lambda left: _rest(told, log, signals, left)
    relay.deadly, relay.on_signal = told["deadly"], signals.append
    relay.on_ready = let_signals_in
    relay.input, relay.once, relay.attachable = told["input"], told["once"], True
    if told.get("network"):
        _watch(relay, told)
    if told.get("memory"):
        _watch_memory(relay, told)
    return relay


def _watch(relay: Relay, told: dict[str, Any]) -> None:
    """What serves the network is loaded by the first who asks for something."""
    (module, name), watched = told["network"]["place"], told["network"]["watched"]

    def wake() -> None:
        for fd in watched:
            relay.loop.forget(fd)
        relay.leave = getattr(__import__(module, fromlist=[name]), name)(told, relay.leave)

    for fd in watched:
        relay.loop.watch_for_others(fd, wake)


def _watch_memory(relay: Relay, told: dict[str, Any]) -> None:
    """Who tells that memory has run out is loaded when it has."""
    (module, name), fd = told["memory"]["place"], told["memory"]["watch"][1][0]

    def wake() -> None:
        relay.loop.forget(fd)  # what cannot be loaded is not tried again
        watch = getattr(__import__(module, fromlist=[name]), name)(told)
        told["memory"] = {**told["memory"], "watch": watch}
        relay.loop.watch_for_others(fd, wake)

    relay.loop.watch_for_others(fd, wake)


def _time(relay: Relay, told: dict[str, Any]) -> list[Callable[[], object]]:
    """The next health check is made by what is loaded then; what is to be called at the end."""
    closing: list[Callable[[], object]] = []
    if told.get("health"):
        (module, name), due = told["health"]["place"], told["due"]

        def wake() -> None:
            closing.append(getattr(__import__(module, fromlist=[name]), name)(relay.loop, told))

        relay.loop.call_later(due - monotonic(), wake, apart=True)
    return closing


def _writer(log: LogWriter | None, name: str) -> Callable[[bytes], object]:
    def write(data: bytes) -> None:
        if log:
            log.write(name, data)

    return write
