"""What is fetched from an upstream, once for all who want it meanwhile.

    Joined        an answer: whoever asks for it while it is found waits for the same
    BlobFlight    a blob: those who wait read what has come so far from one file, while a thread fetches

The last bytes of a blob are handed out when its digest is right and the catalog has it: until then nobody
has all of it. It goes on when a client goes away, and ends when nobody has waited for it for a while.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from typing import IO, Any

    from ....words.digest import Digest
    from .model import UpstreamRepository

    T = TypeVar("T")

_HELD_BACK = 64 << 10
_ABANDONED = 300.0
"""Seconds after which a blob that nobody waits for is given up."""


class Joined:
    """Answers that are being found, by key. Of one event loop; `await close()` it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, key: Hashable, find: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of the one `find` that runs for `key`; it runs on when who waits is cancelled."""
        if key not in self._running:
            self.begin(key, find)
        return await asyncio.shield(self._running[key])

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it

    def begin(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run `work` without anybody who waits."""
        task = self._running[key] = asyncio.create_task(work())
        task.add_done_callback(lambda done: self._ended(key, done))

    async def close(self) -> None:
        """Wait for all of them: what they wait for was ended before."""
        if self._running:
            await asyncio.wait(set(self._running.values()))


class BlobFlight:
    """One blob on its way. `file` is unbuffered, without a name, and closed by whoever made the flight.

    The thread that fetches calls `advance` and `end`, and asks `is_abandoned`; the loop does the rest.
    """

    def __init__(self, place: UpstreamRepository, digest: Digest, file: IO[bytes]) -> None:
        self.place, self.digest, self._file = place, digest, file
        self.size, self.available, self.waiting = -1, 0, 0
        self.is_over = False
        self._error: Exception | None = None
        self._left = time.monotonic()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    # on the loop

    def join(self) -> int:
        """A descriptor of the file for one who waits; `leave` with it."""
        self.waiting += 1
        return os.dup(self._file.fileno())

    def leave(self, fd: int) -> None:
        """One waits no longer."""
        os.close(fd)
        self.waiting -= 1
        self._left = time.monotonic()

    async def until(self, offset: int) -> int:
        """Wait for more bytes than `offset`, or for the end; how many there are. Raises what went wrong."""
        while self._error is None and self.available <= offset and not self.is_over:
            await self._changed.wait()
        if self._error is not None and self.available <= offset:
            raise self._error
        return self.available

    def _update(self, size: int, available: int, error: Exception | None, is_over: bool) -> None:
        self.size, self.available, self._error, self.is_over = size, available, error, is_over
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def fail(self, error: Exception) -> None:
        """It will not come."""
        self._update(self.size, self.available, error, True)

    # in the thread that fetches

    def fileno(self) -> int:
        """Where what comes is written to."""
        return self._file.fileno()

    @property
    def is_abandoned(self) -> bool:
        """Has nobody waited for it for a while?"""
        return not self.waiting and time.monotonic() - self._left > _ABANDONED

    def advance(self, size: int, count: int) -> None:
        """`count` bytes of `size` are in the file; the last of them are held back."""
        self._tell(size, max(0, min(count, size - _HELD_BACK)), is_over=False)

    def end(self, size: int) -> None:
        """All is verified and recorded."""
        self._tell(size, size, is_over=True)

    def _tell(self, size: int, available: int, *, is_over: bool) -> None:
        self._loop.call_soon_threadsafe(self._update, size, available, None, is_over)
