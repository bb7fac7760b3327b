"""What goes on beside the requests: jobs of small steps with pauses, again and again.

    due? ── take the lock ── step, pause, step, … ── end ── wait

Each job has a task on the event loop and its steps run in threads of their own, so that a slow one keeps
neither requests nor the others waiting. An error ends one round of one job: it is noted, and the job comes
again. Of several processes with one catalog one at a time does a job, unless each has to do its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from .work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...stores.joblocks import JobLocks

_ASK_AGAIN = 15.0
"""Seconds after which a job that another process does is asked for again at the latest."""
_RENEW = 20.0
_LONGEST = 10.0
_WHILE_BUSY = 2.0
"""How much longer a job rests while requests are under way."""
_LATER = 50
"""Jobs that can be added when the others have begun: a thread each, when it is needed."""
_END = object()


def _always() -> bool:
    return True


def _nothing(_last: Any) -> None:
    pass


class Job(NamedTuple):
    """Something to do every so often.

    `steps` gives what is to be done, a little at each step, some milliseconds long; `ended` is called on the
    event loop with what the last step gave, if there was any. `every`: seconds from the end of one round to
    the next, 0.0 for one round alone. `due` is asked before, in a thread: it should only read. `pause`: after
    each step in seconds, and `rest`: so many times as long as the step took, twice that while requests
    are under way, up to ten seconds: others keep their share however slow the disk is. `each`: every process
    does it for itself.
    """

    name: str
    steps: Callable[[], Iterator[object]]
    every: float
    ended: Callable[[Any], object] = _nothing
    due: Callable[[], bool] = _always
    pause: float = 0.02
    each: bool = False
    rest: float = 0.0

    def pause_after(self, seconds: float, *, busy: bool = False) -> float:
        """In seconds, after a step that took so long."""
        rest = self.rest * (_WHILE_BUSY if busy else 1.0)
        return max(self.pause, min(rest * seconds, _LONGEST))


class Jobs:
    """Does jobs from `begin` to `close`, both on the same event loop. `note` takes what went wrong; `busy`
    says whether requests are under way.
    """

    def __init__(
        self, locks: JobLocks, note: Callable[[Exception], object], busy: Callable[[], bool]
    ) -> None:
        self._locks, self._note, self._busy = locks, note, busy
        self._jobs: list[Job] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended = set[asyncio.Task[None]]()
        self._woken: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: Work | None = None

    def add(self, job: Job) -> None:
        """Do it as well. Once they have begun, from any thread; of these there can be `_LATER`."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._start, job)
        else:
            self._jobs.append(job)

    def end(self, name: str) -> None:
        """Do a job no more, after the step that it is at. From any thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._stop, name)

    def _stop(self, name: str) -> None:
        if task := self._tasks.pop(name, None):
            self._ended.add(task)
            task.add_done_callback(self._ended.discard)
            task.cancel()

    def _start(self, job: Job) -> None:
        assert self._work is not None
        self._woken[job.name] = asyncio.Event()
        self._tasks[job.name] = asyncio.create_task(self._repeat(job, self._work))

    def begin(self) -> None:
        """Begin all of them."""
        self._loop = asyncio.get_running_loop()
        self._work = Work(len(self._jobs) + _LATER, "nacre-job")
        for job in self._jobs:
            self._start(job)

    def wake(self, name: str) -> None:
        """Do a job now, although it is not yet time. From any thread; nothing happens if it is unknown."""
        event = self._woken.get(name)
        if self._loop and event and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)

    def is_over(self, name: str) -> bool:
        """Has a job that is done once been done?"""
        return self._tasks[name].done()

    async def close(self) -> None:
        """End each after the step that it is at."""
        tasks = {*self._tasks.values(), *self._ended}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._work:
            self._work.close()

    async def _repeat(self, job: Job, work: Work) -> None:
        event, wait = self._woken[job.name], 0.0
        while True:
            woken = event.is_set()
            event.clear()
            try:
                wait = await self._turn(job, work, 0.0 if woken else job.every)
            except Exception as error:
                self._note(error)
                wait = job.every or _ASK_AGAIN
            if wait < 0:
                return
            await _first(event, wait)

    async def _turn(self, job: Job, work: Work, every: float) -> float:
        """One round if it is time. Gives the seconds until the next question, below 0 for never."""
        if not await work.run(job.due):
            return job.every
        if not job.each and (wait := await work.run(self._locks.take, job.name, every)):
            return min(wait, max(job.every, _ASK_AGAIN))
        done = False
        try:
            last = await self._round(job, work)
            done = True
        finally:
            if not job.each:
                await work.run(self._locks.end, job.name, done=done)
        if last is not _END:
            job.ended(last)
        return job.every or -1.0

    async def _round(self, job: Job, work: Work) -> object:
        last, steps, loop = _END, job.steps(), asyncio.get_running_loop()
        renewed = began = loop.time()
        while (step := await work.run(next, steps, _END)) is not _END:
            last = step
            await asyncio.sleep(job.pause_after(loop.time() - began, busy=self._busy()))
            began = loop.time()
            if not job.each and loop.time() - renewed > _RENEW:
                renewed = loop.time()
                if not await work.run(self._locks.renew, job.name):
                    break
        return last


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
