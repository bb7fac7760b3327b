"""Answers of a moment ago: small content, and whether a blob is there, without a task on the event loop.

Most requests of a busy registry are for the same few manifests and blobs. A thread of the HTTP server asks
here first, and what is known it sends by itself. Everything else goes the usual way, and so does whatever has
to be refused, waited for or written down.

An answer holds for as long as the catalog, too, takes to see a change of another process (`catalog.sqlite`),
5 ms, and at most until this process changes something. It is made of what the handlers ask, so it says what
they would say. Only a catalog in a file is asked: that of a server is changed by other replicas.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import Request

from ...grammars.wire.routes import Endpoint
from ...words.errors import NacreError
from .access.authorization import role_for
from .access.identity import keep
from .answers import SPECIAL, failure
from .blobs import no_blob, whole_blob
from .logs import ID, ROUTE
from .manifests import is_taken, whole_manifest

if TYPE_CHECKING:
    from starlette.responses import Response

    from ...grammars.wire.routes import Route
    from .access.identity import Identity
    from .app import Registry

    Header = tuple[bytes, bytes]
    Key = tuple[str, bytes, bytes, bytes]

_MOMENT = 0.005
_MOST = 256
"""Answers that are kept: with the largest bodies 64 MiB, for that moment."""


class KnownAnswer(NamedTuple):
    """What is sent, and what is noted about it."""

    status: int
    headers: list[Header]
    body: dict[str, Any]
    sent: int
    size: int
    route: Route
    identity: Identity | None


class _Moment(NamedTuple):
    """What was found out since nothing has changed."""

    until: float
    catalog: int | None
    accounts: object
    answers: dict[Key, KnownAnswer]


class KnownAnswers:
    """Of one registry; from any thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._state = registry, registry.state
        self._authorization, self._version = registry.authorization, registry.state.catalog.version
        self._moment = _Moment(0.0, None, None, {})

    @staticmethod
    def can(registry: Registry) -> bool:
        """Is nothing configured that has to look at each request itself?"""
        state = registry.state
        beside = (registry.copies, registry.telemetry, state.rates)
        return beside == (None, None, None) and not (state.catalog.is_remote or state.storage.is_shared)

    def send(self, scope: Any, send: Any) -> bool:
        """Answer a request (ASGI) at once, if the answer is known; was it?"""
        began = time.perf_counter()
        method = scope["method"]
        if (method not in ("GET", "HEAD")) or scope["query_string"] or self._registry.is_stopping:
            return False
        headers = dict(scope["headers"])
        if len(headers) != len(scope["headers"]) or not SPECIAL.isdisjoint(headers):
            return False
        key = (method, scope["raw_path"], headers.get(b"authorization", b""), headers.get(b"accept", b""))
        answers = self._answers()
        found = answers.get(key) or self._learn(key, answers)
        if found is None:
            return False
        id = self._registry.log.id(headers.get(ID))
        head = [*found.headers, (ID, id)]
        send({"type": "http.response.start", "status": found.status, "headers": head})
        send(found.body)
        self._note(scope, found, id, time.perf_counter() - began)
        return True

    def _answers(self) -> dict[Key, KnownAnswer]:
        """Those that still hold."""
        moment, catalog, accounts = self._moment, self._version(), self._authorization.moment
        if catalog != moment.catalog or accounts is not moment.accounts or time.monotonic() > moment.until:
            self._moment = moment = _Moment(time.monotonic() + _MOMENT, catalog, accounts, {})
        return moment.answers

    def _learn(self, key: Key, answers: dict[Key, KnownAnswer]) -> KnownAnswer | None:
        """What a handler would say; None where it has to be asked."""
        try:
            found = self._made(*key)
        except NacreError:
            return None
        if found and len(answers) < _MOST:
            answers[key] = found
        return found

    def _made(self, method: str, path: bytes, credentials: bytes, accept: bytes) -> KnownAnswer | None:
        route = self._registry.match(path.decode("latin-1"))
        if route is None or route.endpoint not in (Endpoint.BLOB, Endpoint.MANIFEST):
            return None
        role = role_for(route, method)
        may, identity = self._authorization.known(credentials.decode("latin-1"), role, route.name)
        if not may:
            return None
        head = method == "HEAD"
        is_blob = route.endpoint is Endpoint.BLOB
        answer = self._blob(route, head) if is_blob else self._manifest(route, head, accept)
        if answer is None:
            return None
        warning = self._registry.warning if answer.status_code == 200 else ()  # a refusal has none
        headers = [*answer.raw_headers, *warning]
        body = {"type": "http.response.body", "body": answer.body}
        size = int(answer.headers["content-length"])
        sent = 0 if head else len(answer.body)
        return KnownAnswer(answer.status_code, headers, body, sent, size, route, identity)

    def _blob(self, route: Route, head: bool) -> Response | None:
        digest, state = route.digest, self._state
        data = b"" if head else state.cache.known(digest)
        if data is None:
            return None
        size = state.catalog.blob(route.name, digest)
        if size is None:
            return failure(no_blob(route.name, digest)) if head else None
        if not state.mentions.tell(route.name, digest) or state.storage.locate(digest, size) is None:
            return None
        return whole_blob(digest, size, data)

    def _manifest(self, route: Route, head: bool, accept: bytes) -> Response | None:
        state = self._state
        if state.journal.wants_pulls and not head:
            return None
        stored = state.catalog.manifest(route.name, route.reference)
        if stored is None or not is_taken(stored, route, [accept.decode("latin-1")]):
            return None
        if not state.mentions.tell(route.name, stored.digest):
            return None
        data = state.cache.known(stored.digest)
        if data is None or len(data) != stored.size:
            return None
        return whole_manifest(stored, b"" if head else data)

    def _note(self, scope: Any, found: KnownAnswer, id: bytes, seconds: float) -> None:
        registry = self._registry
        labels = scope["method"], found.route.endpoint.value, found.status
        registry.metrics.add(labels, seconds, 0, found.sent)
        if registry.log.wants_requests:
            request = Request(scope)
            scope[ROUTE] = found.route
            if found.identity:
                keep(request, found.identity)
            registry.log.request(request, _Sent(id, found.size, found.status), seconds)


class _Sent(NamedTuple):
    """As `logs.Observed`, of an answer that was sent."""

    id: bytes
    size: int
    status: int
    is_sized: bool = True
