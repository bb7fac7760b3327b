"""The threads that do what would make the event loop wait: files, hashes, database writes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 16
THREADS_AWAY = 48
"""For content that is not on this machine."""


class Work:
    """A bounded pool of threads. No task in it ever waits for a client, so a slow one holds none.

    `is_remote`: the catalog's database is another process, which the event loop must not wait for.
    """

    def __init__(
        self, threads: int = THREADS, name: str = "nacre-registry", *, is_remote: bool = False
    ) -> None:
        self.ask = self.run if is_remote else _at_once
        """`ask(function, …)`: as `run`, a question to the catalog."""
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(...)` in a thread. Once begun it is waited for, also when the caller is cancelled:
        half-made changes must not outlive the request that makes them.
        """
        future = asyncio.get_running_loop().run_in_executor(self.pool, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        finally:
            if not future.done():
                await asyncio.wait({future})

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self.pool.shutdown()


async def _at_once(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(...)`: a file answers faster than a thread would begin."""
    return function(*args, **kwargs)
