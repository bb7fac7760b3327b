"""A map over the tasks of a transfer, in several processes."""

from __future__ import annotations

import pickle
from contextlib import suppress
from itertools import chain

from ...words.value import Value
from .forks import Fork, ForkPool
from .task import RemoteTask
from .threads import paced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event
    from typing import TypeVar

    from ...words.progress import Task
    from .budget import Budget
    from .forks import Send

    T = TypeVar("T")


def _nothing() -> None:
    pass


class AtFork(Value):
    """What is called `before` the first fork, in each fork first and last of all, and in the parent `then`,
    after the last fork: from then on it may have threads.
    """

    before: Callable[[], object] = staticmethod(_nothing)
    after_in_child: Callable[[], object] = staticmethod(_nothing)
    at_exit: Callable[[], object] = staticmethod(_nothing)
    then: Callable[[], object] = staticmethod(_nothing)


def fork_map(
    work: Callable[[int, Task, Event], T], tasks: Sequence[Task], budget: Budget, at_fork: AtFork
) -> list[T]:
    """What `work(number, task, stop)` gives for the number of each task, in the processes of the budget.

    `work` reports to the task that it is given; what it gives goes through pickle. Raises what is raised,
    wherever; then all have ended. What `work` has changed in memory is seen in its own process only. There
    must be one thread.
    """
    found: dict[int, T] = {}

    with ForkPool(len(tasks), budget) as pool:
        each = budget.limited(transfers=max(1, budget.transfers // budget.processes))

        def here(item: int | Fork, stop: Event) -> None:
            if isinstance(item, Fork):
                item.follow(stop, receive)
            else:
                found[item] = _counted(pool, lambda: work(item, tasks[item], stop))

        def receive(number: int, what: str, *values: object) -> None:
            if what == "found":
                found[number] = pickle.loads(*values)  # type: ignore[arg-type]  # of our own child
            else:
                getattr(tasks[number], what)(*values)

        def there(send: Send) -> None:
            def one(number: int, stop: Event) -> None:
                result = _counted(pool, lambda: work(number, RemoteTask(number, send), stop))
                send(number, "found", pickle.dumps(result))

            at_fork.after_in_child()
            try:
                paced(one, pool, each)
            finally:
                at_fork.at_exit()

        at_fork.before()
        forks: list[Fork] = []
        with suppress(OSError):  # no more processes are allowed: those that are there do it all
            for _ in range(budget.processes - 1):
                forks.append(pool.fork(there))
        at_fork.then()
        items: Iterable[int | Fork] = chain(forks, pool)
        paced(here, items, each, waiting=len(forks))
    return [found[number] for number in range(len(tasks))]


def _counted(pool: ForkPool, work: Callable[[], T]) -> T:
    pool.working(1)
    try:
        return work()
    finally:
        pool.working(-1)
