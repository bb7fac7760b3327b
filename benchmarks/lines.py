"""A line to a server that is far away, counts what comes through it, or both: netem is not in every kernel.

A TCP connection over a line with a round trip of R seconds that loses a part p of its packets carries about
MSS/R · √(3/2p) bytes a second, however many others there are (Mathis, Semke, Mahdavi, Ott: The Macroscopic
Behavior of the TCP Congestion Avoidance Algorithm, 1997). So every connection gets that rate, and what goes
into it comes out half a round trip later; one that is new has its handshake to wait for besides. Slow start
is left out, for all alike.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from math import sqrt

MSS = 1460
_PIECE = 16 * 1024
_ON_THE_WAY = 16


def mathis(trip: float, loss: float) -> float:
    """Bytes a second of one connection; `trip` in seconds, `loss` as a part of one."""
    return MSS / trip * sqrt(1.5 / loss)


class Line:
    """`host` leads to `target` (`host:port`); `down` counts bytes that came from there. Close it."""

    def __init__(self, target: str, trip: float = 0.0, rate: float = float("inf")) -> None:
        host, _, port = target.rpartition(":")
        self._target, self._trip, self._rate = (host, int(port)), trip, rate
        self.down, self.host = 0, ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Connections that are open are cut."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._join, "127.0.0.1", 0))
        self.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _join(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(*self._target)
        begins = self._loop.time() + self._trip
        up = self._carry(near, to_far, begins, lambda _count: None)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(up, self._carry(far, to_near, begins, self._count))

    def _count(self, count: int) -> None:
        self.down += count

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, free: float,
        passed: Callable[[int], None],
    ) -> None:  # fmt: skip
        """Take in at the rate, give out half a round trip later."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY)
        giving = asyncio.create_task(self._give(under_way, sink))
        try:
            while data := await source.read(_PIECE):
                passed(len(data))
                free = max(free, self._loop.time()) + len(data) / self._rate
                await under_way.put((free + self._trip / 2, data))
        finally:
            await under_way.put((0.0, b""))
            await giving

    async def _give(self, under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while (item := await under_way.get())[1]:
                await asyncio.sleep(item[0] - self._loop.time())
                sink.write(item[1])
                await sink.drain()
        sink.close()
        while item[1]:  # the other side is gone: let nobody wait for room
            item = await under_way.get()
