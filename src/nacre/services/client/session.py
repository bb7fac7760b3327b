"""A conversation with one repository: authenticated, redirected, tried again, and its refusals explained.

Every request goes endpoint → authorization → redirects → verdict on the status. Redirects are
followed by hand (blob storage lives elsewhere): at most ten, never from TLS to plain HTTP, never with
`Authorization` or a body's secret to another origin, never to an address of the link (`nearby`). Who
is `guarded` is led to other hosts over TLS only, and into a private network only from one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from ...grammars.wire import API_VERSION
from ...grammars.wire import errors as wire_errors
from ...grammars.wire.links import check_downgrade, join, next_page, origin, shown
from ...grammars.wire.routes import base
from ...words.errors import NacreError, NotFound, RegistryError, Unreachable
from ...words.oci import MAX_DOCUMENT
from .auth import MAX_TOKEN_BODY, Answer, Authenticator, TokenRequest
from .hosts import HostEndpoint, Hosts
from .retry import RETRIED, Policy, Retry, Transient, retry_after
from .throttle import Slowing
from .transport import Request, Response, Transport

MAX_REDIRECTS = 10
MAX_PAGES = 1000
_MOVED = frozenset({301, 302, 303, 307, 308})
_REPEATED = frozenset({307, 308})
WAITING = (429, 503)
"""Statuses that a GET would get as well as a HEAD."""
_UNKNOWN_THERE = (400, 404, 405, 501)
SUCCESS = range(200, 300)
"""Any of these means that a write was done: registries differ in which they choose (RFC 9110, 15.3)."""

T = TypeVar("T")


class Session:
    """What `Repository` and its helpers speak through; safe to use from many threads."""

    _is_download = False

    def __init__(
        self, registry: str, hosts: Hosts, transport: Transport, auth: Authenticator, policy: Policy,
        throttles: Slowing = (),
    ) -> None:  # fmt: skip
        self.registry, self.auth, self.policy = registry, auth, policy
        self._hosts, self._transport, self._throttles = hosts, transport, throttles
        self._internal = False

    @property
    def is_slowed(self) -> bool:
        """Is there a limit to how fast bytes may come?"""
        return bool(self._throttles)

    def forked(self) -> None:
        """Drop the parent's connections, in a forked child."""
        self._transport.forked()

    def retry(self) -> Retry:
        """The attempts of a new operation."""
        return Retry(self.policy)

    def open(
        self, request: Request, what: str, *, scopes: Iterable[str] = (), ok: Collection[int] = (200,),
        retry: Retry | None = None,
    ) -> Response:  # fmt: skip
        """Send until it succeeds or may not be tried again; the response is open.

        The request is to a path of this registry or an absolute URL; `what` names the thing for messages.
        Raises NotFound (404), Unauthorized, Unreachable, RegistryError.
        """
        return self.attempt(lambda: self.once(request, what, scopes=scopes, ok=ok), retry)

    def document(
        self, target: str, what: str, *,
        scopes: Iterable[str], limit: int, headers: Mapping[str, str] | None = None,
    ) -> tuple[Response, bytes]:  # fmt: skip
        """GET a whole body of at most `limit` bytes; the response is closed. Raises also TooLarge."""

        def get() -> tuple[Response, bytes]:
            with self.once(Request("GET", target, headers or {}), what, scopes=scopes) as response:
                return response, response.read_all(limit, what)

        response, data = self.attempt(get)
        if data.lstrip()[:1] == b"<":
            raise self._no_registry(f"it sent a web page for {what}")
        return response, data

    def pages(self, url: str, what: str, scopes: Iterable[str]) -> Iterator[tuple[bytes, bool]]:
        """The pages of a list from `url` on, each with whether it is the last.

        Raises RegistryError for a list that comes back to a page it had, or that has too many.
        """
        scopes, seen = tuple(scopes), {url}
        while url:
            response, data = self.document(url, what, scopes=scopes, limit=MAX_DOCUMENT)
            url = next_page(response.url, response.headers.get("link", ""))
            yield data, not url
            if url in seen or len(seen) == MAX_PAGES:
                raise self.endless(what)
            seen.add(url)

    def endless(self, what: str) -> RegistryError:
        """The error for a list that goes on and on."""
        return RegistryError(f"{self.registry} lists {what} endlessly")

    def look(
        self, path: str, what: str, scopes: Iterable[str], headers: Mapping[str, str] | None = None
    ) -> Response:
        """An answer, open, that says whether something is there: to a HEAD, else to a GET. As `open`."""
        scopes = tuple(scopes)
        try:
            response = self.open(Request("HEAD", path, headers or {}), what, scopes=scopes)
        except RegistryError as error:
            if isinstance(error, Unreachable) or error.status in WAITING:
                raise
            return self.open(Request("GET", path, headers or {}), what, scopes=scopes)
        return self.checked(response, what)

    @contextmanager
    def suspecting(self) -> Iterator[None]:
        """What is absent, or refused as no registry would, may be no registry at all: then that is said."""
        try:
            yield
        except (NotFound, RegistryError) as error:
            if isinstance(error, NotFound) or error.status in _UNKNOWN_THERE:
                self.check_registry()
            raise

    def check_registry(self) -> None:
        """Raises RegistryError when /v2/ says that no registry is there (a plain web server, a portal)."""
        endpoint = self._hosts.find(self.registry)
        try:
            with self._follow(Request("GET", endpoint.url + base()), endpoint) as response:
                self.checked(response, "/v2/")
                if response.status in _UNKNOWN_THERE and API_VERSION.lower() not in response.headers:
                    raise self._no_registry(f"it answered {response.status} for /v2/")
        except Transient:
            return

    def checked(self, response: Response, what: str) -> Response:
        """The answer, but RegistryError for a web page where the protocol has something else."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status not in SUCCESS or kind != "text/html":
            return response
        with response:
            raise self._no_registry(f"it sent a web page for {what}")

    def _no_registry(self, why: str) -> RegistryError:
        hint = "check the host and the port"
        return RegistryError(f"{self.registry} does not answer as a registry: {why}", hint=hint)

    def attempt(self, action: Callable[[], T], retry: Retry | None = None) -> T:
        """Do `action` until it raises nothing, or something other than Transient."""
        retry = retry or self.retry()
        while True:
            try:
                return action()
            except Transient as failure:
                retry.again(failure)

    def once(
        self, request: Request, what: str, *, scopes: Iterable[str] = (), ok: Collection[int] = (200,)
    ) -> Response:
        """One attempt. Raises Transient for what may pass."""
        endpoint = self._hosts.find(self.registry)
        if request.url.startswith("/"):
            request = Request(request.method, endpoint.url + request.url, request.headers, request.body)
        response = self._converse(request, endpoint, tuple(scopes))
        if response.status in ok:
            if not self._is_download:
                _check_encoding(response, what)
            return response
        with response:
            raise self._refusal(response, request, what)

    def url(self, path: str) -> str:
        """The absolute URL of a path of this registry."""
        return self._hosts.find(self.registry).url + path

    def _converse(self, request: Request, endpoint: HostEndpoint, scopes: tuple[str, ...]) -> Response:
        """Run the conversation of `auth`; other origins than the registry's get no credentials at all."""
        if origin(request.url) != origin(endpoint.url):
            return self._follow(request, endpoint)
        flow = self.auth.flow(request, scopes)
        step: Request | TokenRequest = next(flow)
        while True:
            token = isinstance(step, TokenRequest)
            sent = step.request if isinstance(step, TokenRequest) else step
            response = self._follow(sent, endpoint)
            try:
                if token and response.status in RETRIED:
                    raise self._refusal(response, sent, "a token")
                step = flow.send(_answer(response, token))
            except StopIteration:
                return response
            except BaseException:
                response.close()
                raise
            response.close()

    def _follow(self, request: Request, endpoint: HostEndpoint) -> Response:
        """Send, and go where redirects lead."""
        internal, guarded = self._internal, self._hosts.guarded
        for _ in range(MAX_REDIRECTS + 1):
            own = origin(request.url) == origin(endpoint.url)
            if guarded:
                _check_guarded(request.url, endpoint.url)
            response = self._transport.send(
                request, verify=endpoint.verify or not own, throttles=self._throttles,
                nearby=own and not self._is_download, public=guarded and not own and not internal,
            )  # fmt: skip
            if own:  # where it is by now: its next answer may come from elsewhere
                self._internal = internal = response.is_internal
            internal = internal and response.is_internal
            location = response.headers.get("location", "")
            if not location or not _may_follow(request, response.status):
                return response
            with response:
                request = redirected(request, location)
        raise RegistryError(f"{self.registry} redirects in circles ({shown(request.url)})")

    def _refusal(self, response: Response, request: Request, what: str) -> Exception:
        """What a status means: an error to raise, or a Transient."""
        problems = wire_errors.decode(_error_body(response))
        if origin(response.url) != origin(request.url):
            return self._elsewhere(response, request.method, what)
        error = self._explain(response.status, problems, what)
        again = response.status in RETRIED and (response.status != 500 or request.method == "GET")
        if not again:
            return error
        after = retry_after(response.headers.get("retry-after", ""), response.headers.get("date", ""))
        if after is not None and isinstance(error, RegistryError):
            error.headers["Retry-After"] = str(math.ceil(after))
        return Transient(error, after)

    def _elsewhere(self, response: Response, method: str, what: str) -> Exception:
        """A refusal by the host that a redirect led to. A signature may have expired: asking the registry
        again gives a fresh one. A HEAD is refused for good: most signatures are for GET alone.
        """
        text = f"{shown(response.url)}, where {self.registry} keeps {what}, answered {response.status}"
        error = RegistryError(text, status=response.status)
        again = response.status in RETRIED or (method != "HEAD" and response.status in (400, 401, 403))
        return Transient(error, retry_after(response.headers.get("retry-after", ""))) if again else error

    def _explain(self, status: int, problems: tuple[wire_errors.Problem, ...], what: str) -> NacreError:
        said = str(problems[0]) if problems else ""
        code = problems[0].code if problems else ""
        tail = f": {said}" if said else ""
        if status in (401, 403):
            return self.auth.refused(f"access to {what} at {self.registry} denied{tail}", status)
        if status == 404:
            where = "" if self.registry in what else f" at {self.registry}"
            return NotFound(f"{what} not found{where}{tail}")
        text = "has received too many requests" if status == 429 else f"answered {status} for {what}"
        return RegistryError(f"{self.registry} {text}{tail}", status=status, code=code)


class DownloadSession(Session):
    """With what is no registry that the user named, so it may have no address of the link either; and what
    comes counts as it comes, also when it says that it was compressed on its way.
    """

    _is_download = True


def redirected(request: Request, location: str) -> Request:
    """The request that a redirect asks for. Raises RegistryError for one that must not be followed."""
    url = check_downgrade(request.url, join(request.url, location))
    after = Request(request.method, url, request.headers, request.body)
    if origin(url) != origin(request.url):
        after = after.without("Authorization", "Cookie")
    return after


def _check_guarded(url: str, registry: str) -> None:
    """Raises RegistryError for plain HTTP with another host than the registry's."""
    if not url.startswith("https:") and origin(url)[1] != origin(registry)[1]:
        raise RegistryError(f"{shown(registry)} leads to {shown(url)}, which is not encrypted: not allowed")


def _may_follow(request: Request, status: int) -> bool:
    """Reads are followed anywhere; writes only where they stay writes, and never with a refresh token
    in their body (the one body that is bytes and a POST).
    """
    if request.method in ("GET", "HEAD"):
        return status in _MOVED
    return status in _REPEATED and not (request.method == "POST" and request.body)


def _answer(response: Response, token: bool) -> Answer:
    body = response.read_all(MAX_TOKEN_BODY, "answer of the token server") if token else b""
    return Answer(response.status, response.headers, body)


def _error_body(response: Response) -> bytes:
    try:
        return response.read(wire_errors.MAX_BODY)
    except (Transient, NacreError):
        return b""


def _check_encoding(response: Response, what: str) -> None:
    """Content is named by the digest of its plain bytes, and `identity` was asked for."""
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        with response:
            raise RegistryError(f"{what} is compressed, although no compression was requested")
