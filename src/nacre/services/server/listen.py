"""Serving on a socket: granian, embedded in an event loop of this process.

Granian's own command forks workers and prints what it likes; a registry needs one process (sessions
and pins live in its memory), port 0 and a notice when it listens. Its embedded server runs on our loop
but binds by itself and never says on which port, so the listening socket is made here and handed to it
(`_init_shared_socket`, the one private name used; granian's versions are pinned for it). A socket made
here also keeps two registries off one port, which granian's SO_REUSEPORT would let share it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as Embedded

from ...stores.registry import RegistryStore
from ...words.addresses import in_brackets
from ...words.errors import Conflict, Unsupported, UsageError
from .app import Registry
from .connections import ConnectionLimits, Connections

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

CONNECTIONS = 4096
"""Most connections at a time, fewer if this process may not open so many files; more wait in the backlog."""
_LOOK_EVERY = 0.1
_BACKLOG = 1024
_GRACE = 1.0
_STALLED_MS = 300_000
_HEAD_MS = 30_000
_HEAD_BYTES = 64 * 1024


class _Granian(Embedded):
    """The embedded server on a socket that listens already."""

    def __init__(self, target: object, listening: socket.socket, connections: int) -> None:
        self._listening = listening
        super().__init__(
            target, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False, log_enabled=False,
            backlog=_BACKLOG, backpressure=connections,
            http1_settings=HTTP1Settings(header_read_timeout=_HEAD_MS, max_buffer_size=_HEAD_BYTES * 8),
        )  # fmt: skip

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder
        self._shd: Any = holder(os.dup(self._listening.fileno()), False, _BACKLOG)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises Conflict, Unsupported, UsageError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", "") or "not a host name"
        raise UsageError(f"cannot listen on {host[:255]}:{port}: {why}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # accepted sockets inherit it: a client that stops reading in the middle of a blob is let go
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        kind = Unsupported if isinstance(error, PermissionError) else Conflict
        raise kind(f"cannot listen on {host}:{port}: {error.strerror}") from error
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket) -> str:
    """The URL of a listening socket, like `http://127.0.0.1:5001`."""
    host, port = listening.getsockname()[:2]
    return f"http://{in_brackets(host)}:{port}"


async def _run(
    listening: socket.socket, registry: Registry, started: Callable[[Callable[[], None]], object]
) -> None:
    """Serve until the function given to `started` is called; then end within about two seconds.

    Requests under way get a moment to end; what is still running is cancelled, and its uploads can be
    resumed.
    """
    limits, most = registry.state.limits, _most_connections()
    server, stopping = _Granian(registry, listening, most), asyncio.Event()
    each = ConnectionLimits(most, min(registry.state.rules.connections, most // 2), limits.rate)
    serving = asyncio.create_task(server.serve())
    looking = asyncio.create_task(_look_after(Connections(listening, each)))
    registry.begin()
    started(stopping.set)
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            raise Unsupported("the HTTP server stopped unexpectedly")
        server.stop()  # type: ignore[no-untyped-call]
        if not (await asyncio.wait({serving}, timeout=_GRACE))[0]:
            registry.interrupt()
            await asyncio.wait({serving}, timeout=_GRACE)
    finally:
        stopped.cancel()
        looking.cancel()
        await registry.close()


async def _look_after(connections: Connections) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        await loop.run_in_executor(None, connections.look, time.monotonic())


def _most_connections() -> int:
    """Each may hold a socket and a file."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(CONNECTIONS, soft // 2))


def serve(host: str, port: int, root: str, ready: Callable[[str], object], **options: Any) -> None:
    """Serve the registry in the folder `root` from the main thread until SIGTERM or SIGINT, then return.

    `ready` gets the URL as soon as connections are accepted; `options` are those of Registry. Raises
    Conflict, Unsupported, UsageError, StoreError.
    """
    _allow_files()
    with bind(host, port) as listening:
        registry = Registry(RegistryStore(root), **options)

        def started(stop: Callable[[], None]) -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            ready(url_of(listening))

        asyncio.run(_run(listening, registry, started))


def _allow_files() -> None:
    """Every connection may hold a socket, a file and a lock: more than the usual 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * 4
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class RunningServer:
    """The registry in the folder `root`, in a thread of this process, as long as `with` lasts, at `url`.

    Raises as `serve` does, on entry.
    """

    def __init__(self, root: str, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        self._listening = bind(host, port)
        self.url = url_of(self._listening)
        try:
            self.registry = Registry(RegistryStore(root), **options)
        except BaseException:
            self._listening.close()
            raise
        self._ready = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._main, name="nacre-registry", daemon=True)

    def _main(self) -> None:
        asyncio.run(_run(self._listening, self.registry, self._started))

    def _started(self, stop: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop)
        self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop()
        self._thread.join()
        self._listening.close()
