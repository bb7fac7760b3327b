"""Serving on a socket: granian, embedded in an event loop of this process.

Granian's own command forks workers and prints what it likes; a registry needs one process (sessions
and pins live in its memory), port 0 and a notice when it listens. Its embedded server runs on our loop
but binds by itself and never says on which port, so the listening socket is made here and handed to it
(`_init_shared_socket`, a private name; granian's versions are pinned for it). A socket made
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
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as Embedded

from ...stores.registry import RegistryStore
from ...words.addresses import in_brackets
from ...words.errors import Conflict, Unsupported, UsageError
from ...words.rules import StopRules
from .app import Registry
from .connections import ConnectionLimits, Connections
from .handover import spawning
from .tls import OLDEST, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from starlette.types import ASGIApp

    from ...words.rules import RegistryRules
    from .relay import TlsRelay

CONNECTIONS = 4096
"""Most connections at a time, fewer if this process may not open so many files; more wait in the backlog."""
_LOOK_EVERY = 0.1
_DRAIN_EVERY = 0.02
_RENEW_EVERY = 1.0
_SHUT_AFTER = 0.2
"""Seconds in which granian stops to accept. On a socket that is shut down before that it tries for ever."""
_BACKLOG = 1024
_GRACE = 1.0
_STALLED_MS = 300_000
HEAD_MS = 30_000
"""Within which the head of a request must come."""
_HEAD_BYTES = 64 * 1024


class _Granian(Embedded):
    """The embedded server on a socket that listens already; `tls`: files of a certificate and its key."""

    def __init__(
        self, target: object, listening: socket.socket, connections: int, tls: tuple[str, str] | None
    ) -> None:
        self._listening = listening
        super().__init__(
            target, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False, log_enabled=False,
            backlog=_BACKLOG, backpressure=connections,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_MS, max_buffer_size=_HEAD_BYTES * 8),
        )  # fmt: skip
        if tls:
            self.ssl_ctx: Any = (True, *tls, None, OLDEST, None, [], False)

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder
        self._shd: Any = holder(os.dup(self._listening.fileno()), False, _BACKLOG)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises Conflict, Unsupported, UsageError."""
    try:
        name = host.encode() if host.isascii() else host  # a text takes the tables of IDNA
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
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


def url_of(listening: socket.socket, scheme: str) -> str:
    """The URL of a listening socket, like `http://127.0.0.1:5001`."""
    host, port = listening.getsockname()[:2]
    return f"{scheme}://{in_brackets(host)}:{port}"


def _store_of(root: str, rules: RegistryRules | None) -> RegistryStore:
    return RegistryStore(root, rules.storage, rules.metadata.url) if rules else RegistryStore(root)


def _tls_of(rules: RegistryRules | None) -> TlsFiles | None:
    """The operator's certificate, if any. Raises UsageError."""
    return TlsFiles(rules.tls, rules.access.certificates) if rules and rules.tls.cert else None


class _HttpServer:
    """Serves on a socket. When the certificate is renewed, another server takes over the socket, and the one
    before ends what it is at. Where clients show certificates, a relay has the socket. `ended` is set when it
    has stopped for good.
    """

    def __init__(
        self, registry: Registry, listening: socket.socket, connections: int, tls: TlsFiles | None
    ) -> None:
        self._registry, self._listening, self._connections = registry, listening, connections
        self._tls, self._relay, self._app = tls, None, registry
        if tls and tls.asks_clients:
            self._use_relay(tls)
        self._serving: dict[_Granian, asyncio.Task[None]] = {}
        self.ended, self._refusing = asyncio.Event(), False
        self._begin()

    _app: ASGIApp
    _relay: TlsRelay | None

    def _use_relay(self, tls: TlsFiles) -> None:
        from .relay import Behind, TlsRelay

        loop, note = asyncio.get_running_loop(), self._registry.note

        def told(line: str) -> None:
            loop.call_soon_threadsafe(note, line)

        self._relay = TlsRelay(self._listening, tls.context(), self._connections, told)
        self._app = Behind(self._registry, self._relay, self._listening.getsockname()[:2])

    def _begin(self) -> None:
        held, before = ExitStack(), list(self._serving)
        tls = held.enter_context(self._tls.opened()) if self._tls and not self._relay else None
        listening = self._relay.inside if self._relay else self._listening
        self._newest = server = _Granian(self._app, listening, self._connections, tls)
        spawn = spawning(self._app, None if self._relay else self._registry.known)
        self._serving[server] = asyncio.create_task(self._serve(server, held, spawn))
        for each in before:
            each.stop()  # type: ignore[no-untyped-call]

    async def _serve(self, server: _Granian, held: ExitStack, spawn: Any) -> None:
        try:
            with held:
                await server.serve(spawn)
        finally:
            del self._serving[server]
            if server is self._newest:
                self.ended.set()

    async def renew(self) -> None:
        """Take a renewed certificate, again and again; what cannot be used is told and changes nothing."""
        while self._tls:
            await asyncio.sleep(_RENEW_EVERY)
            trust = self._tls.trust
            try:
                if self._tls.changed():
                    self._take_up(self._tls, verify_again=self._tls.trust != trust)
            except UsageError as error:
                self._registry.note(f"error: {error.message}; the certificate of before stays")

    def _take_up(self, tls: TlsFiles, *, verify_again: bool) -> None:
        if self._relay:
            self._relay.renew(tls.context(), verify_again=verify_again)
        else:
            self._begin()
        what = "what decides on client certificates" if verify_again else "the certificate"
        self._registry.note(f"{what} was renewed")

    def is_sending(self) -> bool:
        """Is there anything that was not passed on? From any thread."""
        return self._relay is not None and self._relay.is_sending()

    def refuse(self) -> None:
        """Accept nothing more; whoever connects now is refused, and not kept waiting."""
        if self._relay:
            self._relay.refuse()
        for each in self._serving:
            each.stop()  # type: ignore[no-untyped-call]
        if not self._refusing:
            self._refusing = True
            asyncio.get_running_loop().call_later(_SHUT_AFTER, self._shut)

    def _shut(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        if self._relay:
            with suppress(OSError):
                self._relay.inside.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break off what the relay still has."""
        if self._relay:
            self._relay.close()

    async def stop(self, seconds: float) -> bool:
        """Accept nothing more; did what was under way end in time?"""
        self.refuse()
        tasks = set(self._serving.values())
        return not tasks or not (await asyncio.wait(tasks, timeout=seconds))[1]


async def _run(
    listening: socket.socket, registry: Registry, tls: TlsFiles | None, rules: StopRules,
    started: Callable[[Callable[[], None]], object],
) -> None:  # fmt: skip
    """Serve until the function given to `started` is called; then end by the operator's rules, or within two
    seconds when it is called again.

    What is still running then is cancelled, and its uploads can be resumed.
    """
    limits, most = registry.state.limits, _most_connections(5 if tls and tls.asks_clients else 2)
    server, stopping, hurry = _HttpServer(registry, listening, most, tls), asyncio.Event(), asyncio.Event()
    each = ConnectionLimits(most, min(registry.state.rules.connections, most // 2), limits.rate)
    connections = Connections(listening, each)
    beside = [
        asyncio.create_task(_look_after(connections)),
        asyncio.create_task(server.renew()),
    ]
    registry.begin()
    started(lambda: hurry.set() if stopping.is_set() else stopping.set())
    waits: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait()) for event in (stopping, server.ended)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if server.ended.is_set():
            raise Unsupported("the HTTP server stopped unexpectedly")
        drained = asyncio.create_task(_drain(registry, server, connections, rules.delay))
        waits += [drained, asyncio.create_task(hurry.wait())]
        seconds = rules.delay + rules.patience
        await asyncio.wait(waits[-2:], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not drained.done() or not await server.stop(_GRACE):
            registry.interrupt()
            await server.stop(_GRACE)
    finally:
        for task in (*waits, *beside):
            task.cancel()
        server.close()
        await registry.close()


async def _drain(registry: Registry, server: _HttpServer, connections: Connections, delay: float) -> None:
    """Let what is under way end; after `delay` seconds nothing more is accepted."""
    registry.is_stopping = True
    await asyncio.sleep(delay)
    server.refuse()
    loop = asyncio.get_running_loop()
    while registry.running or server.is_sending() or await loop.run_in_executor(None, connections.is_sending):
        await asyncio.sleep(_DRAIN_EVERY)


async def _look_after(connections: Connections) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        await loop.run_in_executor(None, connections.look, time.monotonic())


def _most_connections(files: int) -> int:
    """Each may hold a socket and a file; through a relay four sockets."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(CONNECTIONS, soft // files))


def serve(host: str, port: int, root: str, ready: Callable[[str], object], **options: Any) -> None:
    """Serve the registry in the folder `root` from the main thread until SIGTERM or SIGINT, then return.

    `ready` gets the URL as soon as connections are accepted; `options` are those of Registry. Raises
    Conflict, Unsupported, UsageError, StoreError.
    """
    _allow_files()
    tls = _tls_of(options.get("rules"))
    with bind(host, port) as listening:
        registry = Registry(_store_of(root, options.get("rules")), **options)

        def started(stop: Callable[[], None]) -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            ready(url_of(listening, "https" if tls else "http"))

        asyncio.run(_run(listening, registry, tls, registry.state.rules.stop, started))


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
        self._tls = _tls_of(options.get("rules"))
        self._listening = bind(host, port)
        self.url = url_of(self._listening, "https" if self._tls else "http")
        try:
            self.registry = Registry(_store_of(root, options.get("rules")), **options)
        except BaseException:
            self._listening.close()
            raise
        self._ready = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._main, name="nacre-registry", daemon=True)

    def _main(self) -> None:
        rules = StopRules(patience=_GRACE)
        asyncio.run(_run(self._listening, self.registry, self._tls, rules, self._started))

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
