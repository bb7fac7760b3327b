"""The registry as an ASGI application.

Starlette gives requests and responses; the routing is the protocol's own (`grammars.wire.routes`),
because a framework's router sees a decoded path, in which `%2F` has already become a slash.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.requests import Request

from ...grammars.wire import JSON, WARNING
from ...grammars.wire.errors import Code, refusal
from ...grammars.wire.routes import METHODS, Endpoint, Route, match
from ...grammars.wire.warning import format_warning
from ...words.errors import ContentError, NacreError, RegistryError
from .access import Authorization
from .answers import answer, failure
from .applications import Applications
from .blobs import Blobs
from .bodies import Body, ClientDisconnected
from .clients import check_namespace
from .jobs import Jobs
from .known import KnownAnswers
from .lists import Lists
from .logs import ROUTE, Observed, RegistryLog
from .maintenance import jobs_of
from .manifests import Manifests
from .metrics import OTHER, RequestMetrics
from .outgoing import Outgoing
from .replicating import ReplicationJobs
from .state import RegistryState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ...stores.registry import RegistryStore
    from ...words.rules import RegistryRules
    from .indexing import LayerIndexing
    from .telemetry import Telemetry
    from .upstreams import PullThrough
    from .upstreams.model import Upstream

    Handler = Callable[[Request, Route], Awaitable[Response]]

BASE = "/v2"
"""How the paths of the protocol begin."""
_QUERY = 4096
_PATHS = 4096
"""Paths that are kept understood."""


def _silent(line: str) -> None:
    pass


class Registry:
    """A registry that serves what `store` keeps, as an ASGI application. `await close()` it: that closes the
    store as well.

    `log` takes a line for each failure of the registry itself, `access` one for each request; both
    without newline, on the event loop. `outgoing` asks and tells others, where something has to be.
    """

    def __init__(
        self,
        store: RegistryStore,
        *,
        rules: RegistryRules | None = None,
        log: Callable[[str], object] = _silent,
        access: Callable[[str], object] | None = None,
        outgoing: Outgoing | None = None,
        upstreams: Sequence[Upstream] = (),
    ) -> None:
        self.state = RegistryState(store, rules)
        self.outgoing = outgoing = outgoing or Outgoing()
        self.log = RegistryLog(log, access, json=self.state.rules.log.form == "json")
        self.state.note = self.note
        self.metrics = RequestMetrics()
        self._handlers = self._table()
        text = self.state.rules.warning
        self.warning = [(WARNING.lower().encode(), format_warning(text).encode())] if text else []
        self.match = lru_cache(_PATHS)(match)
        self.authorization = Authorization(
            store.accounts,
            self.state.work,
            self.state.journal,
            outgoing.fetch,
            self.note,
            self.state.rules.access,
        )
        if self.state.rules.access.ldap.url:
            self._ask_ldap()
        self._applications = Applications(self)
        self.is_stopping = False
        """Are no requests wanted any more? Then connections end with the next response."""
        self.at_end: list[Callable[[], Awaitable[object]]] = []
        """What applications still have to do when no request runs any more."""
        self.telemetry = outgoing.telemetry
        self._running: set[asyncio.Task[object]] = set()
        self.jobs = Jobs(self.state.job_locks, self._note, lambda: bool(self._running))
        self.copies = self._pull_through(upstreams)
        jobs = jobs_of(self.state, self.log.said, self.log.noted)
        for job in (*jobs, *(self.copies.jobs(self.log.said) if self.copies else ())):
            self.jobs.add(job)
        if self.state.rules.webhooks:
            self._tell_others(outgoing, self.log.said)
        self.replication = self._replicate(outgoing)
        self._indexing = self._index() if self.state.rules.lazy.indexes else None
        self.known = KnownAnswers(self) if KnownAnswers.can(self) else None
        """What needs no event loop, None if everything does."""

    def _ask_ldap(self) -> None:
        from .access.signin import LdapSignIn

        signing = LdapSignIn(self.state.rules.access.ldap, self.state, self.note)
        self.authorization.authentication.ldap = signing

    def _tell_others(self, outgoing: Outgoing, tell: Callable[[str], object]) -> None:
        from . import webhooks

        state, post = self.state, outgoing.post
        assert post is not None
        known = [webhooks.Webhook(rule, state.catalog, state.activity, post) for rule in state.rules.webhooks]
        for job in webhooks.jobs_of(known, tell):
            self.jobs.add(job)

    def _replicate(self, outgoing: Outgoing) -> ReplicationJobs | None:
        if outgoing.remote is None:
            return None
        log = self.log.said, self.log.failed
        made = ReplicationJobs(self.state, outgoing.remote, self.jobs, *log)
        self.jobs.add(made.following())
        return made

    def _index(self) -> LayerIndexing:
        from .indexing import LayerIndexing
        from .repository import OwnRegistry

        own = OwnRegistry.of(self.state)
        made = LayerIndexing(own, self.state.rules.lazy, self.log.said, self.log.noted)
        self.jobs.add(made.job())
        return made

    def _pull_through(self, upstreams: Sequence[Upstream]) -> PullThrough | None:
        if not upstreams:
            return None
        from .upstreams import PullThrough

        copies = PullThrough(self.state, upstreams, self.state.rules.cache, self.log.noted)
        self.at_end.append(copies.close)
        return copies

    def _table(self) -> dict[tuple[Endpoint, str], Handler]:
        manifests, blobs, lists = Manifests(self.state), Blobs(self.state), Lists(self.state)
        reads: dict[Endpoint, Handler] = {
            Endpoint.BASE: _base, Endpoint.CATALOG: lists.repositories, Endpoint.TAGS: lists.tags,
            Endpoint.MANIFEST: manifests.get, Endpoint.BLOB: blobs.get, Endpoint.UPLOAD: blobs.status,
            Endpoint.REFERRERS: lists.referrers,
        }  # fmt: skip
        writes: dict[tuple[Endpoint, str], Handler] = {
            (Endpoint.MANIFEST, "PUT"): manifests.put, (Endpoint.MANIFEST, "DELETE"): manifests.delete,
            (Endpoint.BLOB, "DELETE"): blobs.delete, (Endpoint.UPLOADS, "POST"): blobs.start,
            (Endpoint.UPLOAD, "PATCH"): blobs.patch, (Endpoint.UPLOAD, "PUT"): blobs.finish,
            (Endpoint.UPLOAD, "DELETE"): blobs.cancel,
        }  # fmt: skip
        return writes | {(end, method): reads[end] for end in reads for method in ("GET", "HEAD")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        request = Request(scope, receive)
        seen = Observed(send, self.log.id_of(scope), last=self.is_stopping)
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if self.telemetry is None:
                await self._serve(request, seen)
            else:
                await self._trace(request, seen, self.telemetry)
        finally:
            self._running.discard(task)
            self._count(request, seen, time.perf_counter() - began)

    def _count(self, request: Request, seen: Observed, seconds: float) -> None:
        shape, received, sent = _measured(request, seen)
        self.metrics.add((request.method, shape, seen.status), seconds, received, sent)
        self.log.request(request, seen, seconds)

    async def _trace(self, request: Request, seen: Observed, telemetry: Telemetry) -> None:
        with telemetry.request(request) as over:
            began = time.perf_counter()
            try:
                await self._serve(request, seen)
            finally:
                shape, received, sent = _measured(request, seen)
                repository = getattr(request.scope.get(ROUTE), "name", "")
                seconds, id = time.perf_counter() - began, seen.id.decode()
                over(shape, repository, seen.status, received, sent, seconds, id)

    async def _serve(self, request: Request, seen: Observed) -> None:
        try:
            response = await self._respond(request)
            await response(request.scope, request.receive, seen)
        except ClientDisconnected:
            return
        except Exception as error:
            self._note(error)
            if not seen.status:
                await Body.of(request).linger()
                await failure(error, seen.id.decode())(request.scope, request.receive, seen)

    async def _respond(self, request: Request) -> ASGIApp:
        if request.method not in ("GET", "HEAD"):
            body, limits = Body.of(request), self.state.limits
            body.patience, body.rate = limits.patience, limits.rate
        if len(request.scope["query_string"]) > _QUERY:
            raise refusal(Code.UNSUPPORTED, "the query is too long", status=414)
        path = request.scope.get("raw_path", request.scope["path"].encode()).decode("latin-1")
        if not path.startswith(BASE) and (found := await self._applications.find(path)):
            request.scope[ROUTE], application = found
            return application
        route = request.scope[ROUTE] = self.match(path)
        handler = self._handler(request, route)
        if self.copies is not None and route is not None and route.name:
            route, handler = await self.copies.meant(request, route, handler)
        await self.authorization.admit(request, route or Route(Endpoint.BASE))
        check_namespace(request)
        rates = self.state.rates
        more = rates.check(request, route) if rates and route else ()
        response = await handler(request, route or Route(Endpoint.BASE))
        response.raw_headers.extend((*self.warning, *more))
        return response

    def _handler(self, request: Request, route: Route | None) -> Handler:
        if route is None:
            raise refusal(Code.UNSUPPORTED, "no such path in the distribution protocol", status=404)
        return self._handlers.get((route.endpoint, request.method), _no_method)

    def _note(self, error: Exception) -> None:
        """Failures of the registry itself are the operator's business; refusals are the client's."""
        if isinstance(error, RegistryError | ContentError):
            return
        if isinstance(error, NacreError):
            self.log.failed(error.message)
        else:
            self.log.failed(" | ".join(traceback.format_exception(error)).replace("\n", " | "))

    def note(self, line: str) -> None:
        """Tell the operator in one line."""
        self.log.noted(line)

    def begin(self) -> None:
        """Begin what goes on beside the requests. On the loop that serves."""
        self.state.store.accounts.serve()
        self.jobs.begin()

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return len(self._running)

    def interrupt(self) -> None:
        """Cancel every request that is under way; their uploads can be resumed."""
        for task in list(self._running):
            task.cancel()

    async def close(self) -> None:
        """End what is still running and let go of the storage."""
        self.interrupt()
        if self._indexing:
            self._indexing.stop()
        await self.jobs.close()
        if self.replication:
            await asyncio.to_thread(self.replication.close)
        if self._running:
            await asyncio.wait(set(self._running))
        for end in self.at_end:
            await end()
        await self.state.close()
        if self.telemetry:
            await asyncio.to_thread(self.telemetry.close)


def _measured(request: Request, seen: Observed) -> tuple[str, int, int]:
    """The shape of a request's path, and the bytes of bodies that came and went."""
    body, route = request.scope.get("nacre.body"), request.scope.get(ROUTE)
    shape = route.endpoint.value if isinstance(route, Route) else route or OTHER
    return shape, body.count if body else 0, 0 if request.method == "HEAD" else seen.size


async def _base(request: Request, route: Route) -> Response:
    return answer(200, None, b"{}", JSON)


async def _no_method(request: Request, route: Route) -> Response:
    known = ", ".join(METHODS[route.endpoint])
    response = failure(
        refusal(Code.UNSUPPORTED, f"{request.method[:20]} is not supported here, only {known}")
    )
    response.headers["Allow"] = known
    return response
