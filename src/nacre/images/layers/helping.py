"""Layers that are moved by several processes, where this one may fork."""

from __future__ import annotations

import pickle
from contextlib import suppress
from itertools import chain
from time import monotonic

from ...ground.work.forks import MAX_ITEMS, Fork, ForkPool, is_single_threaded
from ...ground.work.threads import in_parallel
from ...words.processors import processors
from ...words.value import Value
from ..model.source import Divisible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event
    from typing import TypeVar

    from ...ground.work.forks import Send
    from ...stores.store import Store
    from ...words.progress import Task

    T = TypeVar("T")

WORTH = 16 << 20
"""Compressed bytes beside the largest layer from which on a second process pays."""

_MOST = 8
_PAUSE = 0.05


class Share(Value):
    """How many processes, and layers at once in each."""

    processes: int
    at_once: int


ALONE = Share(1, 1)


def share(far: object, sizes: Sequence[int], at_once: int) -> Share:
    """How to divide layers of these compressed sizes, the largest first, that move from or to `far`.

    `processes` is 1 where that cannot be or does not pay.
    """
    may = isinstance(far, Divisible) and far.divisible and len(sizes) <= MAX_ITEMS and is_single_threaded()
    count = min(processors(), len(sizes), at_once, _MOST) if may and sum(sizes[1:]) >= WORTH else 1
    return Share(max(1, count), max(1, at_once // max(1, count)))


def divided(
    store: Store, far: Divisible, tasks: Sequence[Task], work: Callable[[int, Task, Event], T], parts: Share,
    tidy: Callable[[], object] = bool,
) -> list[T]:  # fmt: skip
    """What `work(number, task, stop)` gives for the number of each of `tasks`, done in any of the processes.

    `work` reports to the task that it is given; what it gives goes through pickle. In each fork `tidy` is
    called at the end. Raises what they raise, wherever; then all have ended. What `work` has changed in
    memory is seen in its own process only.
    """
    found: dict[int, T] = {}

    with ForkPool(len(tasks), parts.processes - 1) as team:

        def here(item: int | Fork, stop: Event) -> None:
            if isinstance(item, Fork):
                item.follow(stop, heard)
            else:
                found[item] = _counted(team, lambda: work(item, tasks[item], stop))

        def heard(number: int, what: str, *values: object) -> None:
            if what == "found":
                found[number] = pickle.loads(*values)  # type: ignore[arg-type]  # of our own child
            else:
                getattr(tasks[number], what)(*values)

        def there(tell: Send) -> None:
            def one(number: int, stop: Event) -> None:
                result = _counted(team, lambda: work(number, _Afar(number, tell), stop))
                tell(number, "found", pickle.dumps(result))

            far.forked()
            try:
                in_parallel(one, team, parts.at_once, 1)
            finally:
                tidy()

        store.rest()
        helpers: list[Fork] = []
        with suppress(OSError):  # no more processes are allowed: those that are there do it all
            for _ in range(parts.processes - 1):
                helpers.append(team.fork(there))
        items: Iterable[int | Fork] = chain(helpers, team)
        in_parallel(here, items, parts.at_once + len(helpers), 1 + len(helpers))
    return [found[number] for number in range(len(tasks))]


def _counted(team: ForkPool, work: Callable[[], T]) -> T:
    team.working(1)
    try:
        return work()
    finally:
        team.working(-1)


class _Afar:
    """A task of the parent's."""

    def __init__(self, number: int, tell: Send) -> None:
        self._number, self._tell = number, tell
        self._count, self._told = 0, 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        self._flush()
        self._tell(self._number, "phase", name, total)

    def advance(self, count: int) -> None:
        """Not each piece: every packet takes the interpreter's lock from the parent's own work."""
        self._count += count
        if monotonic() - self._told >= _PAUSE:
            self._flush()

    def _flush(self) -> None:
        if self._count:
            self._tell(self._number, "advance", self._count)
            self._count, self._told = 0, monotonic()

    def done(self, status: str) -> None:
        self._flush()
        self._tell(self._number, "done", status)
