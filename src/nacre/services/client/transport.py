"""One HTTP exchange. The only module that knows urllib3, and the seam where its errors become nacre's.

No retries, no redirects, no credentials: those are decisions, and live in `session`. A `Response`
must be closed; closing it gives the connection back to the pool if its body was read to the end or
what is left is small, and drops the connection otherwise.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException, IncompleteRead
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from ...grammars.wire.links import origin, shown
from ...words.errors import ContentError, NacreError, RegistryError, StoreError, TooLarge, Unreachable
from .nearby import is_internal, is_nearby
from .proxies import proxy_for
from .retry import Transient
from .throttle import Grain, Slowing, pay, piece

if TYPE_CHECKING:
    from ...images.model.source import Content

BLOCK = 1024 * 1024
SEND_BLOCK = 128 * 1024
"""What goes to a socket at once. The time-out counts for all of it (`sendall`), so it must be little
enough for a slow line.
"""
_DRAIN = 64 * 1024


@dataclass(frozen=True, slots=True)
class Stream:
    """A request body of `size` bytes that can be sent again: `opener` gives the content from byte 0.

    What is sent begins at `start` and ends before `end` (-1: at the end). Each content opened is closed.
    """

    opener: Callable[[], Content]
    size: int
    start: int = 0
    end: int = -1

    @property
    def length(self) -> int:
        """How many bytes are sent."""
        return (self.size if self.end < 0 else self.end) - self.start

    def blocks(self) -> Generator[bytes]:
        """The bytes to send. Raises StoreError, and ContentError when there are fewer than `size`."""
        try:
            with self.opener() as content:
                if self.start:
                    content.seek(self.start)
                yield from self._read(content)
        except OSError as error:
            raise StoreError(f"cannot read the content to push: {error.strerror or error}") from None

    def _read(self, content: Content) -> Iterator[bytes]:
        left = self.length
        while left:
            block = content.read(min(SEND_BLOCK, left))
            if not block:
                raise ContentError(f"the content to push ends {left} bytes before its size of {self.size}")
            left -= len(block)
            yield block


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. `url` is absolute; header names are as HTTP writes them."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream | None = None

    def with_headers(self, **headers: str) -> Request:
        """With these headers too (underscores stand for hyphens); those that are "" are left out."""
        more = {name.replace("_", "-"): value for name, value in headers.items() if value}
        return replace(self, headers={**self.headers, **more})

    def without(self, *names: str) -> Request:
        """The request without the headers of these names."""
        return replace(self, headers={k: v for k, v in self.headers.items() if k not in names})


class Response:
    """What came back: `status`, `headers` (names in lower case, repeated ones joined by commas), `url`."""

    def __init__(
        self, raw: urllib3.BaseHTTPResponse, request: Request, transport: Transport,
        throttles: Slowing = (),
    ) -> None:  # fmt: skip
        self.status, self.url = raw.status, request.url
        self._throttles = throttles
        self.headers = {name.lower(): value for name, value in raw.headers.items()}
        self._raw, self._transport, self._grain = raw, transport, Grain()
        self._peer = _peer(raw)
        self._bodyless = request.method == "HEAD" or raw.status in (204, 304)

    @property
    def is_internal(self) -> bool:
        """Did it come from an address that the internet does not lead to?"""
        return is_internal(self._peer or origin(self.url)[1])

    @property
    def length(self) -> int | None:
        """Content-Length, None if there is none."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def read(self, size: int) -> bytes:
        """At most `size` bytes, b"" at the end. Raises Transient when the body is cut or stalls."""
        size, began = piece(self._throttles, min(size, self._grain.size)), self._transport.clock()
        with translated(self.url, known=True):
            data = self._raw.read(size, decode_content=False)
        self._grain.took(len(data), self._transport.clock() - began)
        pay(self._throttles, len(data))
        return data

    def read_all(self, limit: int, what: str) -> bytes:
        """The whole body. Raises TooLarge beyond `limit` bytes, Transient as `read`."""
        if (self.length or 0) > limit:
            raise TooLarge(f"{what} has {self.length} bytes, more than the {limit} allowed")
        parts, total, deadline = [], 0, self._transport.deadline()
        while block := self.read(min(BLOCK, limit + 1 - total)):
            parts.append(block)
            total += len(block)
            if total > limit:
                raise TooLarge(f"{what} has more than the {limit} bytes allowed")
            self._transport.check(deadline, self.url)
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection. Idempotent; never raises."""
        try:
            if self._bodyless or (self.length is not None and self.length <= _DRAIN):
                self._raw.read(_DRAIN + 1, decode_content=False)
        except (exceptions.HTTPError, HTTPException, OSError, ValueError):
            pass  # draining only saves the connection; one that broke is closed below all the same
        self._raw.close()
        self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Times in seconds: to connect, between two bytes, and for a whole document; connections per host."""

    connect: float = 15.0
    stall: float = 60.0
    document: float = 300.0
    connections: int = 48


@dataclass(frozen=True, slots=True)
class Special:
    """What counts for one host: files of authorities, of client certificates with keys, and its proxy
    ("" the usual one, `proxies.DIRECT` none). Redirects to other hosts take nothing of it along.
    """

    authorities: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    proxy: str = ""


class _PlainConnection(HTTPConnection):
    """Keeps its socket in `sockets`, so that another thread can end what blocks on it.

    urllib3 lets the time to connect count for what is sent, too: here that may wait for `stall` seconds.
    """

    sockets: ClassVar[weakref.WeakSet[socket.socket]]
    stall: ClassVar[float]
    nearby: ClassVar[bool]
    public: ClassVar[bool]
    peer = ""

    def _new_conn(self) -> socket.socket:
        connected = _distant(super()._new_conn(), self.host, self.nearby, self.public)
        self.peer = _address(connected)
        return connected

    def connect(self) -> None:
        super().connect()
        self.sockets.add(self.sock)
        self.sock.settimeout(self.stall)

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            self.timeout = self.stall
        super().request(*args, **options)


class _Secure(HTTPSConnection):
    """The same over TLS."""

    sockets: ClassVar[weakref.WeakSet[socket.socket]]
    stall: ClassVar[float]
    nearby: ClassVar[bool]
    public: ClassVar[bool]
    peer = ""

    def _new_conn(self) -> socket.socket:
        connected = _distant(super()._new_conn(), self.host, self.nearby, self.public)
        self.peer = _address(connected)
        return connected

    def connect(self) -> None:
        super().connect()
        self.sockets.add(self.sock)
        self.sock.settimeout(self.stall)

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            self.timeout = self.stall
        super().request(*args, **options)


class _Unverified(_Secure):
    """TLS whose certificate nobody checks, chosen on purpose: urllib3 need not warn of it."""

    def connect(self) -> None:
        super().connect()
        self.is_verified = True


def _peer(raw: urllib3.BaseHTTPResponse) -> str:
    """The address that an answer came from, "" if it is that of a proxy."""
    connection: Any = raw.connection
    return "" if connection is None or connection.proxy else str(connection.peer)


def _address(connected: socket.socket) -> str:
    """Of the other end, "" if the connection is cut already: whoever sends will see."""
    try:
        return str(connected.getpeername()[0])
    except OSError:
        return ""


def _distant(connected: socket.socket, host: str, nearby: bool, public: bool = False) -> socket.socket:
    """The socket, unless its other end is where `nearby` addresses are and those are not wanted, or with
    `public` where any is that the internet does not lead to.

    The address that was connected to counts, and nothing has been sent yet: no name can mean another one
    by then.
    """
    address = _address(connected)
    if error := address and _refused(host, address, nearby, public):
        connected.close()
        raise error
    return connected


def _refused(host: str, address: str, nearby: bool, public: bool) -> RegistryError | None:
    """Why an address may not be asked."""
    where = host if host == address else f"{host} ({address})"
    if public and is_internal(address):
        return RegistryError(f"a request to {where} is not allowed: it is no public address")
    if nearby or not is_nearby(address):
        return None
    return RegistryError(
        f"a request to {where} is not allowed: it is a link-local address",
        hint="clouds serve the credentials of a machine there",
    )


Reach = tuple[bool, bool]
"""Whether link-local addresses may be asked, and whether public ones only."""


def _pools(
    sockets: weakref.WeakSet[socket.socket], verify: bool, stall: float, reach: Reach
) -> dict[str, Any]:
    """Pool classes for a manager whose connections are kept in `sockets`."""
    fields = {"sockets": sockets, "stall": stall, "nearby": reach[0], "public": reach[1]}
    plain = type("Plain", (_PlainConnection,), fields)
    secure = type("Secure", (_Secure if verify else _Unverified,), fields)
    return {
        "http": type("PlainPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


class Transport:
    """A shared pool of connections; safe to use from many threads.

    `proxies` holds what the variables `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say, by
    these names; loopback is always asked directly. `ca_file` adds to the system's authorities. `special`
    tells from `host[:port]` what counts for that host alone. `usual` gives headers that each request has.
    """

    def __init__(
        self, limits: TransportLimits | None = None, *, ca_file: str = "",
        proxies: Mapping[str, str] | None = None, clock: Callable[[], float] = time.monotonic,
        special: Callable[[str], Special] | None = None,
        usual: Callable[[], Mapping[str, str]] = lambda: {"User-Agent": "nacre"},
    ) -> None:  # fmt: skip
        self._usual = usual
        self.limits = limits or TransportLimits()
        self._special = special or (lambda _host: Special())
        self._ca_file, self._proxies = ca_file, dict(proxies or {})
        self.clock = clock
        self._managers: dict[tuple[str, bool, bool, Special, Reach], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._answered: set[str] = set()
        self._closed = False

    def send(
        self, request: Request, *, verify: bool = True, throttles: Slowing = (), nearby: bool = False,
        public: bool = False,
    ) -> Response:  # fmt: skip
        """One exchange; the response is open. Raises Transient, Unreachable, RegistryError.

        `nearby`: the user named the host, so it may have an address that others may not lead to. `public`:
        only an address that the internet leads to. Behind a proxy only addresses in the URL can be told.
        """
        if self._closed:
            raise Unreachable("the connection was closed")
        host, name = urlsplit(request.url).netloc, origin(request.url)[1]
        if error := _refused(name, name, nearby, public):  # also where a proxy would connect
            raise error
        manager = self._manager(request.url, verify, (nearby, public))
        body = _RequestBody(request.body, throttles)
        with translated(request.url, known=host in self._answered), closing(body):
            raw = manager.request(
                request.method, request.url, headers=self._headers(request), body=body.content,
                redirect=False, retries=False, preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(connect=self.limits.connect, read=self.limits.stall),
            )  # fmt: skip
        self._answered.add(host)
        return Response(raw, request, self, throttles)

    def deadline(self) -> float:
        """The time by which a document that begins now must be here."""
        return self.clock() + self.limits.document

    def check(self, deadline: float, url: str) -> None:
        """Raises Unreachable after `deadline`."""
        if self.clock() > deadline:
            raise Unreachable(f"{urlsplit(url).netloc} is too slow: {shown(url)} timed out")

    def close(self) -> None:
        """Drop all connections; calls that block in other threads end with an error."""
        self._closed = True
        for connected in list(self._sockets):
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        for manager in self._managers.values():
            manager.clear()

    def descriptors(self) -> list[int]:
        """Those of all connections: a child in which they stay open may go on with them, once it is `forked`
        here.
        """
        return [fd for connected in self._sockets if (fd := connected.fileno()) >= 0]

    def forked(self) -> None:
        """This is a fork, in one thread: its parent's connections are not for it."""
        self._managers.clear()
        self._sockets = weakref.WeakSet()

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", **self._usual(), **request.headers}
        if isinstance(request.body, Stream):
            headers["Content-Length"] = str(request.body.length)
        return headers

    def _manager(self, url: str, verify: bool, reach: Reach) -> urllib3.PoolManager:
        special = self._special(urlsplit(url).netloc)
        proxy = proxy_for(url, self._proxies, special.proxy)
        key = (proxy, url.startswith("https:"), verify, special, (True, False) if proxy else reach)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._make(*key)
            return self._managers[key]

    def _make(
        self, proxy: str, tls: bool, verify: bool, special: Special, reach: Reach
    ) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self.limits.connections, "num_pools": 32, "blocksize": BLOCK}
        if tls:
            options["ssl_context"] = tls_context(
                self._ca_file, *special.authorities, verify=verify, pairs=special.pairs
            )
        manager = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = _pools(self._sockets, verify, self.limits.stall, reach)
        return manager


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    """urllib3 does not read the user and the password in the URL of a proxy."""
    parts = urlsplit(proxy)
    headers = None
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=pair)
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


def tls_context(*authorities: str, verify: bool, pairs: Iterable[tuple[str, str]] = ()) -> ssl.SSLContext:
    """TLS 1.2 or newer with the system's authorities, those in files, and certificates of this side.

    `pairs` are files of a certificate and its key. Raises StoreError naming the file.
    """
    file = ""
    try:
        context = ssl.create_default_context()
        for file in filter(None, authorities):
            context.load_verify_locations(file)
        for file, key in pairs:
            context.load_cert_chain(file, key or None, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise StoreError(f"cannot use the certificates in {file or 'the system store'}: {error}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal, in the middle of a transfer."""
    raise StoreError("a key of a client certificate is encrypted", hint="decrypt it, or use another key")


class _RequestBody:
    """What urllib3 is given to send; closing it closes the content that was opened for it."""

    def __init__(self, body: bytes | Stream | None, throttles: Slowing) -> None:
        self._blocks = _paid(body.blocks(), throttles) if isinstance(body, Stream) else None
        self.content: Any = body if self._blocks is None else self._blocks

    def close(self) -> None:
        if self._blocks is not None:
            self._blocks.close()


def _paid(blocks: Generator[bytes], throttles: Slowing) -> Generator[bytes]:
    with closing(blocks):
        for block in blocks:
            pay(throttles, len(block))
            yield block


@contextmanager
def translated(url: str, *, known: bool) -> Iterator[None]:
    """The seam: what urllib3, http.client, ssl and the socket raise leaves as Transient or NacreError.

    `known`: has this host answered before. Then a refusal or a lost name may pass; else it is most
    likely a typing error or no registry at all, and is reported at once.
    """
    try:
        yield
    except (exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        failure, passing = _judge(error, url, known)
        raise (Transient(failure) if passing else failure) from None


def _judge(error: Exception, url: str, known: bool) -> tuple[NacreError, bool]:
    """What to say of a foreign error, and whether it may pass. Subclasses come before their bases."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    reason = _reason(error)
    if isinstance(error, exceptions.ProxyError):
        return Unreachable(f"cannot reach {host} through the proxy: {reason}"), known
    if isinstance(error, exceptions.NameResolutionError):
        return Unreachable(f"cannot find the host {host}: {reason}", hint=_NAME_HINT), known
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        return _judge_tls(error, host, known)
    if isinstance(error, exceptions.NewConnectionError):
        return Unreachable(f"cannot connect to {host}: {reason}", hint=_REFUSED_HINT), known
    if isinstance(error, exceptions.ConnectTimeoutError):
        return Unreachable(f"{host} does not answer", hint=_NETWORK_HINT), known
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return Unreachable(f"{host} stopped sending: time-out"), True
    return _judge_answer(error, host, reason)


def _judge_tls(error: Exception, host: str, known: bool) -> tuple[NacreError, bool]:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or isinstance(_root(error), ssl.SSLCertVerificationError):
        why = getattr(_root(error), "verify_message", "") or "verification failed"
        return Unreachable(f"the certificate of {host} is not trusted: {why}", hint=_CA_HINT), False
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "RECORD_LAYER_FAILURE" in text:
        return Unreachable(f"{host} does not speak TLS", hint=_PLAIN_HINT), False
    return Unreachable(f"TLS with {host} failed: {_reason(error)}"), known


def _judge_answer(error: Exception, host: str, reason: str) -> tuple[NacreError, bool]:
    root = _root(error)
    if isinstance(root, ValueError) and not isinstance(root, OSError):
        return RegistryError(f"{host} did not answer in HTTP: {reason}"), False
    if isinstance(root, ConnectionError | IncompleteRead) or "incomplete" in reason.lower():
        return Unreachable(f"the connection to {host} was cut"), True
    if isinstance(root, HTTPException):
        return RegistryError(f"{host} did not answer in HTTP: {reason}"), False
    return Unreachable(f"the connection to {host} failed: {reason}"), True


def _root(error: BaseException) -> BaseException:
    """The innermost error: urllib3 wraps, sometimes as argument, sometimes as cause."""
    for _ in range(8):
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        inner = inner or error.__cause__
        if inner is None:
            break
        error = inner
    return error


def _reason(error: BaseException) -> str:
    root = _root(error)
    text = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    text = text.rpartition(": ")[2] if "object at 0x" in text else text
    return "".join(char if char.isprintable() else " " for char in text[:200]) or type(root).__name__


_NAME_HINT = "check the name of the registry, and the network"
_NETWORK_HINT = "check the network, a firewall or a proxy"
_REFUSED_HINT = "is a registry running there?"
_CA_HINT = "install its certificate authority, or set `ca` in the configuration"
_PLAIN_HINT = "set `insecure` in the configuration for a registry without TLS"
