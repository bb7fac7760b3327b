"""Filling layers that were laid lazily: what somebody waits for first, everything else behind it.

    read of a hole ──► event ──► its pieces, and some around them ─┐
              what the profile of the image names (`foreseen`) ────┤
                                 the pieces that come next ────────┴─► fetched, unpacked, verified, written
                                                                       └─► the readers go on

What a registry sends is written only when it has the digest that the table of contents gives. Where it
cannot be had, the read fails with EIO, and the next one tries again. Events are answered here alone; who
takes the place of a filler that died finds those that were left.
"""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from contextlib import suppress
from functools import partial
from threading import Condition, Lock, Thread, get_native_id
from time import monotonic

from ...grammars.accessprofile import AccessProfile, distinct
from ...ground.files import trace
from ...ground.work.budget import Budget
from ...ground.work.threads import raise_first
from ...words.errors import NacreError
from ...words.value import Value
from .foreseen import foreseen
from .lazytar import LazyTar
from .pieces import arriving
from .readaround import ReadAround, Throughput, ThroughputReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...ground.asking import AwaitedRead, ReadQueue
    from ..model.source import Ranged
    from .lazy import LazyLayer
    from .pieces import Piece

_FIRST, _BESIDES, _BEHIND, _BEHIND_BUSY = 8, 6, 6, 2
"""Fetches at once that somebody waits for, and those of them that only lie around or are foreseen; those that
nobody waits for, otherwise and while somebody has just waited.
"""
_LONGEST, _FORESEEN, AHEAD = 1 << 20, 2 << 20, 4 << 20
"""Bytes of the blob that one fetch brings at most, one that is foreseen, and one behind the others."""
_NEAR = 1 << 15
"""Bytes between two pieces that are fetched with them."""
_BLOCK, _LONG_BLOCK = 1 << 17, 1 << 20
"""Bytes that are asked of a connection at once, by what somebody waits for and otherwise."""
_JUST, _START = 0.25, 3.0
"""Seconds after a read in which there are likely more, and those at the start that are for these alone."""
MUCH_WANTED, MUCH_READ = 3, 8
"""When more than one byte of so many was wanted, or read, all of it is: the rest comes at once, in order."""
_STRETCH, QUICK, _FEW = 16 << 20, 16e6, 4
"""Then the bytes of a fetch at most, and where a connection carries so many in a second, how many fetches at
once keep the processors busy.
"""
_PATIENCE, _STREAMS = 0.25, 4
"""Seconds after which a read does not wait any more for a layer that comes as a stream, and how many layers
do so at once where there are processors for them.
"""
_NOTE_EVERY = 0.5
_NICE = 10
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
_ASKED, _BESIDE, _PROFILE, _REST, _WHOLE = "asked", "beside", "profile", "rest", "whole"
"""Why something is fetched: it is waited for, lies around that or is foreseen, is foreseen and comes by those
behind, or comes in any case, in a range or as all of a layer.
"""
_MOST_READS = 200_000
_IDLE, _FLYING, _WANTED, _HERE = range(4)
"""Of a piece: nobody has asked for it, it is on its way behind the others, or somebody waits for it."""


class _WaitingReader:
    """Somebody who waits for pieces."""

    def __init__(self, content: ReadQueue, event: AwaitedRead, left: set[int]) -> None:
        self._content, self._event, self.left = content, event, left
        self.until = monotonic() + _PATIENCE
        """When it has waited long enough for a stream."""

    def answer(self, failure: int = 0) -> None:
        """Let it go on, or fail with an errno; once."""
        _answer(self._content, self._event, failure)


def _answer(content: ReadQueue, event: AwaitedRead, failure: int = 0) -> None:
    """Whoever has died meanwhile needs none."""
    with suppress(OSError):
        content.answer(event, failure)


class _Fetch(Value):
    """Pieces of one layer that lie side by side in its blob."""

    work: _LayerWork
    numbers: tuple[int, ...]
    why: str


class _LayerWork:
    """What is under way of one layer, and who waits for it."""

    def __init__(self, layer: LazyLayer, place: int) -> None:
        """`place` among the layers of the filler."""
        self.layer, self.extents, self.place = layer, layer.extents, place
        self.total = sum(layer.extents.size)
        self.size = sum(layer.extents.end) - sum(layer.extents.start)
        self.states = bytearray(_HERE if here else _IDLE for here in layer.extents.here[:])
        self.tar = LazyTar(layer)
        self.readers: list[_WaitingReader] = []
        self.is_whole = self.is_passing = self._is_judged = False
        """Whether all of it comes as a stream, and has begun to."""
        self.ending = self.ended = False
        self._next, self._around = 0, ReadAround(layer.extents)

    def is_idle(self, number: int) -> bool:
        """Whether a piece is neither here nor on its way."""
        return self.states[number] == _IDLE

    def length(self, number: int) -> int:
        """Bytes of a piece in the blob."""
        return self.extents.end[number] - self.extents.start[number]

    def around(self, numbers: list[int], trip: int) -> list[int]:
        """Those that nobody waits for yet, and what comes with them (`readaround`)."""
        found = [number for number in numbers if self.states[number] < _WANTED]
        if not found:
            return []
        asked = set(found)
        more = self._around.of(found[0], found[-1], trip)
        return [number for number in more if number in asked or self.is_idle(number)]

    def following(self, most: int, near: int) -> list[int]:
        """The next ones that nobody has asked for, as far as they make one fetch; again from the beginning
        where some have failed.
        """
        number = self.states.find(_IDLE, self._next)
        found = self._run_from([number], most, near) if number >= 0 else []
        self._next = found[-1] + 1 if found else 0
        return found

    def streamed(self, numbers: list[int], most: int, near: int) -> list[int]:
        """Those that nobody has asked for, and the next ones; what comes next begins behind them."""
        found = [*filter(self.is_idle, numbers)]
        if found:
            self._next = self._run_from(found, most, near)[-1] + 1
        return found

    def _run_from(self, run: list[int], most: int, near: int) -> list[int]:
        while (number := self.states.find(_IDLE, run[-1] + 1)) >= 0 and self._fits(run, number, most, near):
            run.append(number)
        return run

    def judge(self) -> bool:
        """Whether the layer comes as a stream, which is decided once: where that would pass what is here once
        more it may be less work to fetch the rest.
        """
        if not self._is_judged:
            self._is_judged = True
            missing = self.extents.missing(range(len(self.states)))
            self.is_whole = self.extents.has_borders or 2 * sum(map(self.length, missing)) > self.size
        return self.is_whole

    def runs(self, numbers: list[int], most: int, why: str, near: int = _NEAR) -> Iterator[_Fetch]:
        """The pieces as fetches, which are on their way from now on."""
        run: list[int] = []
        for number in numbers:
            self.states[number] = _FLYING if why is _REST else _WANTED
            if run and not self._fits(run, number, most, near):
                yield _Fetch(self, tuple(run), why)
                run = []
            run.append(number)
        if run:
            yield _Fetch(self, tuple(run), why)

    def put_back(self, numbers: tuple[int, ...]) -> None:
        """They are not on their way, after all or any more."""
        missing = self.extents.missing(numbers)
        for number in missing:
            self.states[number] = _IDLE
        self._next = min([self._next, *missing[:1]])

    def _fits(self, run: list[int], number: int, most: int, near: int) -> bool:
        gap = self.extents.start[number] - self.extents.end[run[-1]]
        return -1 <= gap <= near and self.extents.end[number] - self.extents.start[run[0]] <= most

    def arrived(self, numbers: list[int]) -> list[_WaitingReader]:
        """Pieces are here; those who need not wait any more."""
        here, states = self.extents.here, self.states
        for number in numbers:
            here[number], states[number] = 1, _HERE
        if not self.readers:
            return []
        for reader in self.readers:
            reader.left.difference_update(numbers)
        done = [reader for reader in self.readers if not reader.left]
        self.readers = [reader for reader in self.readers if reader.left]
        return done

    def passed(self) -> list[_WaitingReader]:
        """All of it is here; who need not wait any more."""
        self.extents.here[:] = b"\1" * len(self.states)
        self.states[:] = bytes((_HERE,)) * len(self.states)
        done, self.readers = self.readers, []
        return done

    def impatient(self, now: float) -> list[int]:
        """Pieces for which somebody has waited long enough, and that nobody has asked for."""
        late = [reader for reader in self.readers if reader.until <= now] if self.is_whole else []
        return sorted(filter(self.is_idle, set().union(*(reader.left for reader in late))))

    def lost(self, numbers: set[int]) -> list[_WaitingReader]:
        """Some pieces cannot be had now; those who wait for one of them."""
        found = [reader for reader in self.readers if reader.left & numbers]
        self.readers = [reader for reader in self.readers if not reader.left & numbers]
        return found


class Filler:
    """For the layers of one image out of one source, in one process.

    `complete` is called for each layer that is whole, with whether its diff id is proven; `wanted` says
    whether its tree is still wanted, for so many seconds of which nothing could be had. `profile` says what
    comes first, unless somebody waits.
    """

    def __init__(
        self, layers: Sequence[LazyLayer], source: Ranged,
        complete: Callable[[LazyLayer, bool], object], wanted: Callable[[LazyLayer, float], bool],
        profile: AccessProfile | None = None,
    ) -> None:  # fmt: skip
        self._works = [_LayerWork(layer, place) for place, layer in enumerate(layers)]
        self._source, self._complete, self._wanted = source, complete, wanted
        self._lock = Lock()
        self._ready, self._spare = Condition(self._lock), Condition(self._lock)
        self._asked: deque[_Fetch] = deque()
        self._beside: deque[_Fetch] = deque()
        self._foreseen = deque(foreseen(profile, layers, _FORESEEN) if profile else ())
        self._reads: list[tuple[int, int, int]] = []
        self._flying = {_ASKED: 0, _BESIDE: 0, _PROFILE: 0, _REST: 0, _WHOLE: 0}
        self._budget = Budget.of_machine()
        self._throughput, self._size = Throughput(), sum(work.size for work in self._works)
        self._plain, self._read = sum(work.total for work in self._works), 0
        self._came_wanted, self._current = 0, self._works[0]
        self._began = self._last_asked = monotonic()
        self._pause, self._not_before = 0.0, 0.0
        self._trouble, self._since = "", 0.0
        self._failures: list[NacreError] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def _is_over(self) -> bool:
        return all(work.ended for work in self._works)

    @property
    def profile(self) -> AccessProfile:
        """What was read while it came."""
        return AccessProfile(tuple(work.layer.tree.diff_id for work in self._works), distinct(self._reads))

    def run(self) -> None:
        """Until every layer is whole, or is not wanted any more. Raises what `complete` raised."""
        for work in self._works:
            self._look(work)
        first = (self._take_asked, self._ready)
        threads = [Thread(target=self._fetch, args=first) for _ in range(_FIRST)]
        threads += [Thread(target=self._fetch_behind) for _ in range(_BEHIND)]
        for thread in threads:
            thread.start()
        try:
            self._serve()
        except BaseException:
            self._give_up()
            raise
        finally:
            for thread in threads:
                thread.join()
            os.close(self._wake)
        raise_first(self._failures)

    def _give_up(self) -> None:
        """Another filler takes the place of this one; who waits goes on waiting for that."""
        with self._lock:
            for work in self._works:
                work.ended = True
            self._ready.notify_all()
            self._spare.notify_all()

    # the main thread: who reads what

    def _serve(self) -> None:
        poll = select.poll()
        groups = {work.layer.tree.content.group: work for work in self._works}
        for fd in (*groups, self._wake):
            poll.register(fd, select.POLLIN)
        for work in self._works:
            for event in work.layer.tree.content.left():
                self._ask(work, event, work.extents.within(event.offset, event.count))
        noted = hurried = 0.0
        while not self._is_over:
            for fd, _ in poll.poll(_PATIENCE * 1000):
                if fd in groups:
                    self._hear_one(groups[fd])
                else:
                    os.eventfd_read(fd)
            if monotonic() - hurried >= _PATIENCE:
                self._hurry()
                hurried = monotonic()
            if monotonic() - noted >= _NOTE_EVERY:
                self._note()
                noted = monotonic()
        for work in self._works:  # whoever asked while the last piece came
            self._hear(work)

    def _hear(self, work: _LayerWork) -> None:
        while self._hear_one(work):
            pass

    def _hear_one(self, work: _LayerWork) -> bool:
        """Nearly always there is one at a time: asking for another one would take as long as to poll."""
        event = work.layer.tree.content.event()
        if event is None:
            return False
        trace("lazy:asked")
        if event.count and len(self._reads) < _MOST_READS:
            self._reads.append((work.place, event.offset, event.count))
        self._read += event.count
        numbers = work.extents.within(event.offset, event.count)
        if work.extents.are_here(numbers):
            _answer(work.layer.tree.content, event)
        else:
            self._ask(work, event, numbers)
        return True

    def _ask(self, work: _LayerWork, event: AwaitedRead, numbers: range) -> None:
        with self._lock:
            missing = work.extents.missing(numbers)
            reader = _WaitingReader(work.layer.tree.content, event, set(missing))
            if missing and not work.ended:
                work.readers.append(reader)
                self._last_asked = monotonic()
                self._want(work, missing)
                self._ready.notify(_FIRST)
                return
        reader.answer(errno.EIO if missing else 0)

    def _want(self, work: _LayerWork, missing: list[int]) -> None:
        """What a read needs, before all else; only a stream is waited for."""
        if self._streams:
            self._current = work
            if self._comes_whole(work):
                return
            numbers = work.streamed(missing, _LONGEST, self._near)
            self._asked += work.runs(numbers, _LONGEST, _ASKED, self._near)
            return
        numbers = work.around(missing, self._throughput.trip)
        fetches = [*work.runs(numbers, _LONGEST, _ASKED)]
        asked = set(missing)
        for fetch in fetches:
            self._came_wanted += sum(map(work.length, fetch.numbers))
            if asked.isdisjoint(fetch.numbers):
                self._beside.append(fetch.replace(why=_BESIDE))
            else:
                self._asked.append(fetch)

    def _hurry(self) -> None:
        """Who has waited long for a stream is not left to it."""
        now = monotonic()
        with self._lock:
            for work in self._works:
                if numbers := work.impatient(now):
                    self._asked += work.runs(numbers, _LONGEST, _ASKED, self._near)
                    self._ready.notify(_FIRST)

    def _comes_whole(self, work: _LayerWork) -> bool:
        return work.is_whole or (self._is_quick and work.judge())

    @property
    def _is_quick(self) -> bool:
        """Whether a layer may come as one stream: on a slow line a piece by itself is sooner."""
        return self._throughput.rate >= QUICK

    @property
    def _streams(self) -> bool:
        """So much was wanted that all will be."""
        return self._came_wanted * MUCH_WANTED > self._size or self._read * MUCH_READ > self._plain

    @property
    def _near(self) -> int:
        """Bytes that a stream passes over rather than ask again."""
        return self._throughput.trip // 4

    def _note(self) -> None:
        for work in self._works:
            with suppress(OSError):  # it is an ordinary tree by now, or gone
                if not work.ending:
                    work.layer.tree.note(work.tar.bytes_here, work.total, self._trouble)
            self._look(work)

    # the others: fetching

    def _fetch_behind(self) -> None:
        """What nobody waits for, at a lower priority: until all of it is wanted."""
        nice = _nice(_NICE)

        def take() -> _Fetch | None:
            nonlocal nice
            if nice and self._streams:
                nice = _nice(0)
            return self._take_next()

        self._fetch(take, self._spare)

    def _fetch(self, take: Callable[[], _Fetch | None], turn: Condition) -> None:
        while not self._is_over:
            with self._lock:
                fetch = take()
                if fetch is None:
                    turn.wait(_JUST)
                    continue
                self._flying[fetch.why] += 1
            failure = None
            try:
                self._bring(fetch)
            except Exception as error:  # whatever it is: who waits must not wait for ever
                failure = error
            self._landed(fetch, failure)

    def _take_asked(self) -> _Fetch | None:
        if self._asked:
            return self._asked.popleft()
        if self._flying[_BESIDE] < _BESIDES and (found := self._take_foreseen(_BESIDE)):
            return found
        if self._beside and self._flying[_BESIDE] < _BESIDES:
            return self._beside.popleft()
        return self._ahead(self._most_streams) if self._streams else None

    def _take_next(self) -> _Fetch | None:
        if found := self._take_foreseen(_PROFILE):
            return found
        return self._ahead(self._most_behind(monotonic()))

    def _take_foreseen(self, why: str) -> _Fetch | None:
        """What is left of the next run of the profile; it may be on its way since somebody asked."""
        while self._foreseen and monotonic() >= self._not_before:
            number, pieces = self._foreseen.popleft()
            work = self._works[number]
            fetches = [*work.runs([*filter(work.is_idle, pieces)], _FORESEEN, why)]
            for other in reversed(fetches[1:]):
                work.put_back(other.numbers)
                self._foreseen.appendleft((number, list(other.numbers)))
            if fetches:
                return fetches[0]
        return None

    def _most_behind(self, now: float) -> int:
        """At the start a program has line and processors for itself, until it pauses."""
        if self._streams:
            return self._most_streams
        if now - self._last_asked >= _JUST:
            return _BEHIND
        return 0 if now - self._began < _START else _BEHIND_BUSY

    @property
    def _most_streams(self) -> int:
        """Where a line is slow more connections carry more."""
        return _FEW if self._is_quick else _BEHIND + _BESIDES

    def _ahead(self, at_once: int) -> _Fetch | None:
        """The next layer that comes whole, or the next pieces that nobody has asked for."""
        left = at_once - self._flying[_REST] - self._flying[_WHOLE]
        if left <= 0 or monotonic() < self._not_before:
            return None
        return (self._take_whole() if self._is_quick else None) or self._take_range()

    def _take_whole(self) -> _Fetch | None:
        """The layer that somebody waits for, else the largest."""
        if self._flying[_WHOLE] < min(_STREAMS, self._budget.processors):
            for work in (self._current, *sorted(self._works, key=lambda work: -work.size)):
                if not work.is_passing and work.judge():
                    work.is_passing = True
                    return _Fetch(work, (), _WHOLE)
        return None

    def _take_range(self) -> _Fetch | None:
        most, near = AHEAD, _NEAR
        if self._streams:
            most, near = min(_STRETCH, max(AHEAD, int(self._throughput.rate / 2))), self._near
        for work in (self._current, *self._works):
            if not self._comes_whole(work):
                for found in work.runs(work.following(most, near), most, _REST, near):
                    return found
        return None

    def _bring(self, fetch: _Fetch) -> None:
        if fetch.why is _WHOLE:
            self._pass(fetch.work)
        elif not (fetch.work.is_passing and self._has_passed(fetch)):
            self._bring_range(fetch)
        self._pause, self._trouble = 0.0, ""

    def _pass(self, work: _LayerWork) -> None:
        """A layer as a stream; then all who wait for any of it go on."""
        self._budget.begin_thread()
        try:
            fetch = partial(self._source.fetch_range, work.layer.layer)
            work.tar.stream(fetch, self._budget, lambda: not work.ended)
        finally:
            self._budget.end_thread()
        with self._lock:
            done = work.passed() if work.tar.is_proven else []
        for reader in done:
            reader.answer()

    def _has_passed(self, fetch: _Fetch) -> bool:
        """Whether the stream of their layer has brought all of the pieces; they are verified one by one."""
        found = fetch.work.tar.verify(fetch.numbers)
        with self._lock:
            done = fetch.work.arrived(found)
        for reader in done:
            reader.answer()
        return len(found) == len(fetch.numbers)

    def _bring_range(self, fetch: _Fetch) -> None:
        extents, numbers, began = fetch.work.extents, fetch.numbers, monotonic()
        start, end = extents.start[numbers[0]], extents.end[numbers[-1]]
        block = _LONG_BLOCK if fetch.why is _REST else _BLOCK
        with self._source.fetch_range(fetch.work.layer.layer, start, end) as reader:
            answered, timed = monotonic(), ThroughputReader(reader)
            for pieces in arriving(timed, extents, numbers, block):
                self._put(fetch.work, pieces)
        self._throughput.took(answered - began, end - start, timed.seconds)

    def _put(self, work: _LayerWork, pieces: list[Piece]) -> None:
        """Into the tar, each when it is verified; then those who wait for them go on."""
        numbers: list[int] = []
        try:
            for number, packed in pieces:
                if work.tar.put(number, packed):
                    numbers.append(number)
        finally:
            with self._lock:
                done = work.arrived(numbers)
            trace("lazy:arrived")
            for reader in done:
                reader.answer()

    def _landed(self, fetch: _Fetch, failure: Exception | None) -> None:
        """At once with its pieces off the way again: who asks for them later has them fetched anew."""
        with self._lock:
            lost = self._failed(fetch, failure) if failure else []
            fetch.work.put_back(fetch.numbers)
            if fetch.why is _WHOLE:
                self._end_stream(fetch.work)
            self._flying[fetch.why] -= 1
            (self._spare if fetch.why is _REST else self._ready).notify()
        for reader in lost:
            reader.answer(errno.EIO)
        if fetch.work.extents.is_complete:
            self._look(fetch.work)

    def _end_stream(self, work: _LayerWork) -> None:
        """Where it has failed the layer comes in pieces, first those that are waited for."""
        work.is_whole = work.is_passing = False
        missing = {number for reader in work.readers for number in reader.left}
        if missing:
            self._want(work, sorted(missing))
            self._ready.notify(_FIRST)

    def _failed(self, fetch: _Fetch, error: Exception) -> list[_WaitingReader]:
        """Those whose pieces come in no other way; what nobody waits for comes after a pause."""
        self._since = self._since if self._trouble else monotonic()
        self._trouble = error.message if isinstance(error, NacreError) else str(error) or repr(error)
        if monotonic() >= self._not_before:  # several that fail at once are one failure
            self._pause = min(_LAST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
            self._not_before = monotonic() + self._pause
        states, behind = fetch.work.states, fetch.why is _REST
        return fetch.work.lost({n for n in fetch.numbers if not (behind and states[n] == _WANTED)})

    def _look(self, work: _LayerWork) -> None:
        """Whether a layer is whole, or not wanted any more; its end comes once."""
        whole = work.extents.is_complete
        failing = monotonic() - self._since if self._trouble else 0.0
        if not whole and self._wanted(work.layer, failing):
            return
        with self._lock:
            first, work.ending = not work.ending, True
        if first:
            self._end(work, whole=whole)

    def _end(self, work: _LayerWork, *, whole: bool) -> None:
        try:
            if whole:
                self._complete(work.layer, work.tar.is_proven)
        except NacreError as error:
            self._failures.append(error)
        with self._lock:
            work.ended = True
            left, work.readers = work.readers, []
            self._ready.notify_all()
            self._spare.notify_all()
        for reader in left:
            reader.answer(errno.EIO)
        os.eventfd_write(self._wake, 1)


def _nice(value: int) -> int:
    """Give this thread a priority, where that is allowed; the same value."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), value)
    return value
