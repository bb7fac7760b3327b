"""Waiting for descriptors and for times, in one thread.

What a container needs of its supervisor while it runs is called from here: see `Relay`. A supervisor leaves
for the shim only while nothing is watched and no timer runs, so whoever adds something keeps the
larger one for as long as it is needed.
"""

from __future__ import annotations

import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Call = Callable[[], object]


class Timer:
    """Calls something once, at a time that `cancel` forgets. `apart`: see `EventLoop.is_idle`."""

    def __init__(self, due: float, call: Call, *, apart: bool = False) -> None:
        self.due, self.call, self.apart = due, call, apart


class EventLoop:
    """Calls what is watched, and timers, one after the other. One that fails does not end the others."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[int, Call]] = {}
        self._timers: list[Timer] = []
        self.others: set[int] = set()

    @property
    def is_idle(self) -> bool:
        """Whether another program of this process can wait instead, for what is watched by `watch_for_others`
        and for timers that are `apart`.
        """
        return self._watched.keys() <= self.others and all(timer.apart for timer in self._timers)

    @property
    def due(self) -> float | None:
        """When the next timer ends."""
        return min((timer.due for timer in self._timers), default=None)

    def watch(self, fd: int, call: Call, events: int = select.POLLIN) -> None:
        """Call `call()` whenever `fd` is ready, or hung up, until `forget`; once for a descriptor."""
        self._watched[fd] = events, call

    def watch_for_others(self, fd: int, call: Call) -> None:
        """As `watch`, until another program of this process watches it: see `is_idle`."""
        self.others.add(fd)
        self.watch(fd, call)

    def forget(self, fd: int) -> None:
        """Before it is closed. Idempotent."""
        self._watched.pop(fd, None)
        self.others.discard(fd)

    def call_later(self, seconds: float, call: Call, *, apart: bool = False) -> Timer:
        """Call `call()` once, in `seconds`."""
        timer = Timer(monotonic() + seconds, call, apart=apart)
        self._timers.append(timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer. Idempotent."""
        if timer in self._timers:
            self._timers.remove(timer)

    def wait(self, others: Mapping[int, int]) -> dict[int, int]:
        """Until something happens; also for `others`, events by descriptor, of which those that are ready
        are given back.
        """
        poll = select.poll()
        for fd, events in {**{fd: events for fd, (events, _) in self._watched.items()}, **others}.items():
            poll.register(fd, events)
        ready = dict(poll.poll(self._patience()))
        self._call(ready)
        return ready

    def _patience(self) -> float | None:
        """Milliseconds until the next timer, rounded up."""
        return None if self.due is None else max(0.0, self.due - monotonic()) * 1000 + 1

    def _call(self, ready: Mapping[int, int]) -> None:
        for fd in ready:
            if fd in self._watched:
                _attempt(self._watched[fd][1])
        now = monotonic()
        for timer in [timer for timer in self._timers if timer.due <= now]:
            self.cancel(timer)
            _attempt(timer.call)


def _attempt(call: Call) -> None:
    """A program of the container may be the reason of a failure."""
    try:
        call()
    except Exception:
        return
