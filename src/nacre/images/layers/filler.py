"""Filling layers that were laid lazily: what somebody waits for first, everything else behind it.

    read of a hole ──► event ──► its pieces, and some after them ─┐
                                 the pieces that come next ───────┴─► fetched, unpacked, verified, written
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
from hashlib import sha256
from io import BytesIO
from threading import Condition, Thread, get_native_id
from time import monotonic

from ...grammars.codecs.stream import decompress
from ...ground.files import trace, write_at
from ...ground.work.threads import raise_first
from ...words.errors import InvalidArchive, NacreError
from ...words.value import Value
from .lazy import fetched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...ground.precontent import ContentGroup, ReadEvent
    from ..model.source import Ranged
    from .lazy import LazyLayer

_FIRST, _BEHIND, _BEHIND_BUSY = 8, 6, 2
"""Fetches at once that somebody waits for; that nobody does, otherwise and while somebody has just waited."""
_AROUND, _LONGEST, _AHEAD = 1 << 20, 2 << 20, 4 << 20
"""Bytes of the blob that a read brings at least, that one fetch brings at most, and one behind the others."""
_NEAR = 1 << 15
"""Bytes between two pieces that are fetched with them."""
_JUST = 0.5
_NOTE_EVERY = 0.5
_NICE = 10
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0


class _WaitingReader:
    """Somebody who waits for pieces."""

    def __init__(self, content: ContentGroup, event: ReadEvent, left: set[int]) -> None:
        self._content, self._event, self.left = content, event, left

    def answer(self, failure: int = 0) -> None:
        """Once; whoever has died meanwhile needs none."""
        with suppress(OSError):
            self._content.answer(self._event, failure)


class _Fetch(Value):
    """Pieces of one layer that lie side by side in its blob."""

    work: _LayerWork
    numbers: tuple[int, ...]
    wanted: bool


class _LayerWork:
    """What is under way of one layer, and who waits for it."""

    def __init__(self, layer: LazyLayer) -> None:
        self.layer, self.extents = layer, layer.extents
        self.total = sum(layer.extents.size)
        self.flying = bytearray(len(layer.extents))
        self.readers: list[_WaitingReader] = []
        self.ending = self.ended = False
        self._next = 0

    def is_idle(self, number: int) -> bool:
        """Whether a piece is neither here nor on its way."""
        return not self.extents.here[number] and not self.flying[number]

    def length(self, number: int) -> int:
        """Bytes of a piece in the blob."""
        return self.extents.end[number] - self.extents.start[number]

    def around(self, numbers: list[int]) -> list[int]:
        """Those that are not on their way, and more behind: a round trip takes longer than the transfer."""
        found = [number for number in numbers if self.is_idle(number)]
        if not found:
            return []
        size = sum(map(self.length, found))
        for number in range(found[-1] + 1, len(self.extents)):
            if size >= _AROUND:
                break
            if self.is_idle(number):
                found.append(number)
                size += self.length(number)
        return found

    def following(self) -> list[int]:
        """The next ones that nobody has asked for; again from the beginning where some have failed."""
        found: list[int] = []
        size = 0
        for number in range(self._next, len(self.extents)):
            if size >= _AHEAD:
                break
            if self.is_idle(number):
                found.append(number)
                size += self.length(number)
        self._next = found[-1] + 1 if found else 0
        return found

    def runs(self, numbers: list[int], most: int, *, wanted: bool) -> Iterator[_Fetch]:
        """The pieces as fetches, which are on their way from now on."""
        run: list[int] = []
        for number in numbers:
            self.flying[number] = 1
            if run and not self._fits(run, number, most):
                yield _Fetch(self, tuple(run), wanted)
                run = []
            run.append(number)
        if run:
            yield _Fetch(self, tuple(run), wanted)

    def put_back(self, numbers: tuple[int, ...]) -> None:
        """They are not on their way, after all or any more."""
        for number in numbers:
            self.flying[number] = 0
        self._next = min(self._next, numbers[0])

    def _fits(self, run: list[int], number: int, most: int) -> bool:
        gap = self.extents.start[number] - self.extents.end[run[-1]]
        return 0 <= gap <= _NEAR and self.extents.end[number] - self.extents.start[run[0]] <= most

    def arrived(self, number: int) -> list[_WaitingReader]:
        """A piece is here; those who need not wait any more."""
        self.extents.here[number] = 1
        for reader in self.readers:
            reader.left.discard(number)
        done = [reader for reader in self.readers if not reader.left]
        self.readers = [reader for reader in self.readers if reader.left]
        return done

    def lost(self, numbers: set[int]) -> list[_WaitingReader]:
        """Some pieces cannot be had now; those who wait for one of them."""
        found = [reader for reader in self.readers if reader.left & numbers]
        self.readers = [reader for reader in self.readers if not reader.left & numbers]
        return found


class Filler:
    """For the layers of one image out of one source, in one process.

    `complete` is called for each layer that is whole; `wanted` says whether its tree is still wanted, for so
    many seconds of which nothing could be had.
    """

    def __init__(
        self, layers: Sequence[LazyLayer], source: Ranged,
        complete: Callable[[LazyLayer], object], wanted: Callable[[LazyLayer, float], bool],
    ) -> None:  # fmt: skip
        self._works = [_LayerWork(layer) for layer in layers]
        self._source, self._complete, self._wanted = source, complete, wanted
        self._ready = Condition()
        self._asked: deque[_Fetch] = deque()
        self._behind, self._last_asked, self._pause, self._not_before = 0, -_JUST, 0.0, 0.0
        self._trouble, self._since = "", 0.0
        self._failures: list[NacreError] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def _is_over(self) -> bool:
        return all(work.ended for work in self._works)

    def run(self) -> None:
        """Until every layer is whole, or is not wanted any more. Raises what `complete` raised."""
        for work in self._works:
            self._look(work)
        threads = [Thread(target=self._fetch, args=(self._take_asked,)) for _ in range(_FIRST)]
        threads += [Thread(target=self._fetch_behind) for _ in range(_BEHIND)]
        for thread in threads:
            thread.start()
        try:
            self._serve()
        finally:
            for thread in threads:
                thread.join()
            os.close(self._wake)
        raise_first(self._failures)

    # the main thread: who reads what

    def _serve(self) -> None:
        poll = select.poll()
        groups = {work.layer.tree.content.group: work for work in self._works}
        for fd in (*groups, self._wake):
            poll.register(fd, select.POLLIN)
        for work in self._works:
            for event in work.layer.tree.content.left():
                self._ask(work, event)
        noted = 0.0
        while not self._is_over:
            for fd, _ in poll.poll(_NOTE_EVERY * 1000):
                if fd in groups:
                    self._hear(groups[fd])
                else:
                    os.eventfd_read(fd)
            if monotonic() - noted >= _NOTE_EVERY:
                self._note()
                noted = monotonic()
        for work in self._works:  # whoever asked while the last piece came
            self._hear(work)

    def _hear(self, work: _LayerWork) -> None:
        for event in work.layer.tree.content.events():
            trace("lazy:asked")
            self._ask(work, event)

    def _ask(self, work: _LayerWork, event: ReadEvent) -> None:
        with self._ready:
            missing = work.extents.missing(work.extents.within(event.offset, event.count))
            reader = _WaitingReader(work.layer.tree.content, event, set(missing))
            if missing and not work.ended:
                work.readers.append(reader)
                self._last_asked = monotonic()
                self._asked.extend(work.runs(work.around(missing), _LONGEST, wanted=True))
                self._ready.notify_all()
                return
        reader.answer(errno.EIO if missing else 0)

    def _note(self) -> None:
        for work in self._works:
            with suppress(OSError):  # it is an ordinary tree by now, or gone
                work.layer.tree.note(work.extents.bytes_here, work.total, self._trouble)
            self._look(work)

    # the others: fetching

    def _fetch_behind(self) -> None:
        """What nobody waits for, at a lower priority."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)
        self._fetch(self._take_next)

    def _fetch(self, take: Callable[[], _Fetch | None]) -> None:
        while not self._is_over:
            with self._ready:
                fetch = take()
                if fetch is None:
                    self._ready.wait(_NOTE_EVERY)
                    continue
            failure = None
            try:
                self._bring(fetch)
            except Exception as error:  # whatever it is: who waits must not wait for ever
                failure = error
            self._landed(fetch, failure)

    def _take_asked(self) -> _Fetch | None:
        return self._asked.popleft() if self._asked else None

    def _take_next(self) -> _Fetch | None:
        now = monotonic()
        most = _BEHIND_BUSY if now - self._last_asked < _JUST else _BEHIND
        fetch = self._ahead() if now >= self._not_before and self._behind < most else None
        self._behind += fetch is not None
        return fetch

    def _ahead(self) -> _Fetch | None:
        """The next pieces that nobody has asked for."""
        for work in self._works:
            runs = [*work.runs(work.following(), _AHEAD, wanted=False)]
            for other in runs[1:]:
                work.put_back(other.numbers)
            if runs:
                return runs[0]
        return None

    def _bring(self, fetch: _Fetch) -> None:
        work, extents = fetch.work, fetch.work.extents
        start, end = extents.start[fetch.numbers[0]], extents.end[fetch.numbers[-1]]
        data = memoryview(fetched(self._source, work.layer.layer, start, end))
        for number in fetch.numbers:
            packed = data[extents.start[number] - start : extents.end[number] - start]
            plain = unpacked(packed, work.layer.codec, extents.size[number], extents.digests[number])
            write_at(work.layer.tree.tar, plain, extents.at[number])
            with self._ready:
                done = work.arrived(number)
            trace("lazy:arrived")
            for reader in done:
                reader.answer()
        self._pause, self._trouble = 0.0, ""

    def _landed(self, fetch: _Fetch, failure: Exception | None) -> None:
        """At once with its pieces off the way again: who asks for them later has them fetched anew."""
        with self._ready:
            lost = self._failed(fetch, failure) if failure else []
            fetch.work.put_back(fetch.numbers)
            self._behind -= not fetch.wanted
            self._ready.notify_all()
        for reader in lost:
            reader.answer(errno.EIO)
        if fetch.work.extents.is_complete:
            self._look(fetch.work)

    def _failed(self, fetch: _Fetch, error: Exception) -> list[_WaitingReader]:
        """Those who waited for one of the pieces; what nobody waits for comes after a pause."""
        self._since = self._since if self._trouble else monotonic()
        self._trouble = error.message if isinstance(error, NacreError) else str(error) or repr(error)
        self._pause = min(_LAST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
        self._not_before = monotonic() + self._pause
        return fetch.work.lost(set(fetch.numbers))

    def _look(self, work: _LayerWork) -> None:
        """Whether a layer is whole, or not wanted any more; its end comes once."""
        whole = work.extents.is_complete
        failing = monotonic() - self._since if self._trouble else 0.0
        if not whole and self._wanted(work.layer, failing):
            return
        with self._ready:
            first, work.ending = not work.ending, True
        if first:
            self._end(work, whole=whole)

    def _end(self, work: _LayerWork, *, whole: bool) -> None:
        try:
            if whole:
                self._complete(work.layer)
        except NacreError as error:
            self._failures.append(error)
        with self._ready:
            work.ended = True
            left, work.readers = work.readers, []
            self._ready.notify_all()
        for reader in left:
            reader.answer(errno.EIO)
        os.eventfd_write(self._wake, 1)


def unpacked(packed: memoryview, codec: str, size: int, digest: str) -> bytes:
    """One piece, verified. Raises InvalidArchive for anything else than it should be."""
    stream, left = decompress(BytesIO(packed), codec), size
    parts: list[bytes] = []
    while left and (data := stream.read(left)):
        parts.append(data)
        left -= len(data)
    plain = b"".join(parts)
    if left or sha256(plain).hexdigest() != digest:
        raise InvalidArchive("a piece of a layer is not what its table of contents says")
    return plain
