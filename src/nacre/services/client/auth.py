"""How a request gets its `Authorization`: a conversation as a generator, without I/O.

    flow ──► request (with what is known)        the caller sends it and hands back the Answer
         ◄── 401 with a challenge
         ──► request for a token                 only for `Bearer`, and only if none is cached
         ◄── token
         ──► request again                       its answer stands, whatever it is

The answer to the *last* request yielded is the result. One `Authenticator` serves one repository of
one registry from many threads; two threads that want the same token at once may both ask for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ...grammars.wire import auth as wire
from ...grammars.wire.auth import ANONYMOUS, Challenge, Credentials
from ...grammars.wire.links import join, origin, shown
from ...words.errors import RegistryError, Unauthorized
from ...words.reference import is_loopback
from .transport import Request

CLIENT_ID = "nacre"
_MARGIN = 0.9

Lookup = Callable[[str], Credentials | None]
"""From `registry/repository` (or a registry alone) to what is known of the user there."""


def anonymous(_name: str) -> Credentials | None:
    """The lookup that knows nobody."""
    return None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for a token; the Answer to it must carry the body (at most MAX_TOKEN_BODY bytes)."""

    request: Request


MAX_TOKEN_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a conversation needs to know of a response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Flow = Generator[Request | TokenRequest, Answer, None]


class Authenticator:
    """Tokens and the challenge of one repository."""

    def __init__(self, name: str, lookup: Lookup = anonymous, clock: Callable[[], float] = time.monotonic):
        self.name, self.registry = name, name.partition("/")[0]
        self._lookup, self._clock = lookup, clock
        self._challenge: Challenge | None = None
        self._tokens: dict[frozenset[str], tuple[str, float]] = {}
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()

    def flow(self, request: Request, scopes: Iterable[str] = ()) -> Flow:
        """The conversation for one request. Raises Unauthorized when a token is refused."""
        wanted = frozenset(scopes)
        used = yield from self._header(wanted, request.url)
        answer = yield request.with_headers(Authorization=used)
        if answer.status != 401 or not self.learn(answer):
            return
        self._forget(used)
        asked = wanted | frozenset(self._asked(answer))
        fresh = yield from self._header(wanted, request.url, asked)
        if fresh and (fresh != used or not fresh.startswith("Basic ")):
            yield request.with_headers(Authorization=fresh)

    def expect_basic(self) -> None:
        """Send credentials at once, if there are any: what answers somebody asks nobody who they are."""
        self._challenge = wire.Challenge("basic")

    def learn(self, answer: Answer) -> bool:
        """Remember the challenge of a 401; False if it has none that can be answered."""
        challenge = wire.choose(wire.parse_challenges(answer.headers.get("www-authenticate", "")))
        if challenge:
            kept = tuple(pair for pair in challenge.parameters if pair[0] in ("realm", "service"))
            self._challenge = challenge.replace(parameters=kept)
        return challenge is not None

    @property
    def credentials(self) -> Credentials:
        """Looked up when first needed, then kept: a helper program may have to be run for it."""
        with self._lock:
            if self._credentials is None:
                found = self._lookup(self.name)
                self._credentials = ANONYMOUS if found is None else found
            return self._credentials

    def refused(self, message: str, status: int = 401) -> Unauthorized:
        """The error that says what to do about it."""
        credentials = self.credentials
        if credentials.problem:
            return Unauthorized(message, status=status, hint=credentials.problem)
        who = "another user may have access" if credentials else "this may need a user name and password"
        return Unauthorized(message, status=status, hint=f"{who}: nacre login {self.registry}")

    def _asked(self, answer: Answer) -> list[str]:
        challenge = wire.choose(wire.parse_challenges(answer.headers.get("www-authenticate", "")))
        return challenge.get("scope").split()[:16] if challenge else []

    def _header(
        self, scopes: frozenset[str], url: str, asked: frozenset[str] | None = None
    ) -> Generator[Request | TokenRequest, Answer, str]:
        """The `Authorization` for `scopes`, "" if there is none to be had or needed yet."""
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            return self.credentials.basic()
        text, expires = self._tokens.get(scopes, ("", 0.0))
        if not text or expires <= self._clock():
            text = yield from self._fetch(self._challenge, scopes, asked or scopes, url)
        return text

    def _fetch(
        self, challenge: Challenge, scopes: frozenset[str], asked: frozenset[str], url: str
    ) -> Generator[Request | TokenRequest, Answer, str]:
        credentials = self.credentials
        if credentials.registry_token:
            return wire.BearerToken(credentials.registry_token).header()
        answer = yield TokenRequest(self._token_request(challenge, asked, url))
        if answer.status in (400, 401, 403):
            raise self._no_token(credentials, answer.status)
        if answer.status != 200:
            raise RegistryError(
                f"the token server of {self.registry} answered {answer.status}", status=answer.status
            )
        token = wire.parse_token(answer.body)
        self._tokens[scopes] = (token.header(), self._clock() + token.lifetime * _MARGIN)
        return token.header()

    def _no_token(self, credentials: Credentials, status: int) -> Unauthorized:
        if credentials:
            who = f" of user {credentials.username!r}" if credentials.username else ""
            return self.refused(f"{self.registry} refused the credentials{who}", status)
        return self.refused(f"{self.name} is not public", status)

    def _token_request(self, challenge: Challenge, scopes: frozenset[str], url: str) -> Request:
        realm = _realm(challenge, url)
        credentials = self.credentials
        if credentials:
            _check_secrecy(realm, url, self.registry)
        if credentials.identity_token:
            form = wire.token_form(challenge, scopes, credentials, CLIENT_ID)
            return Request("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, form)
        query = wire.token_query(challenge, scopes, credentials)
        target = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}" if query else realm
        return Request("GET", target).with_headers(Authorization=credentials.basic())

    def _forget(self, header: str) -> None:
        """Drop a token that was refused, unless another thread has replaced it already."""
        for scopes, (text, _) in list(self._tokens.items()):
            if text == header:
                self._tokens.pop(scopes, None)


def _realm(challenge: Challenge, url: str) -> str:
    realm = challenge.get("realm")
    if not realm:
        raise RegistryError(f"{shown(url)} asks for a token but does not name a token server")
    return join(url, realm)


def _check_secrecy(realm: str, url: str, registry: str) -> None:
    """Credentials go to a token server over TLS, or to the registry's own host as it is reached itself.

    A registry in the clear may be anybody on the way, and would else choose who gets the password.
    """
    if realm.startswith("https:"):
        return
    host, own = origin(realm)[1], origin(url)[1]
    same = host == own or (is_loopback(host) and is_loopback(own))
    if url.startswith("https:") and not (is_loopback(host) and is_loopback(own)):
        raise RegistryError(f"{registry} wants its password sent unencrypted to {shown(realm)}: not allowed")
    if not same:
        raise RegistryError(
            f"{registry} wants its password sent unencrypted to another host, {shown(realm)}: not allowed",
            hint=f"without a password: nacre logout {registry}",
        )
