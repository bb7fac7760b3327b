"""`/metrics`: what a registry counts, as Prometheus reads it (text format 0.0.4).

Without a login only this machine may read it, unless a proxy on it asks for somebody else; otherwise whoever
has the token of the configuration, and administrators. What has to be counted in the catalog is counted in a
thread, every 15 seconds at most.
"""

from __future__ import annotations

import hmac
import os
import resource
import time
from typing import TYPE_CHECKING

from starlette.responses import Response

from ...grammars.wire.errors import Code, refusal
from ...stores.accounts.model import EVERYTHING, Role
from ...stores.figures import figures
from ...words.reference import is_loopback
from .applications import answering
from .metrics import BOUNDS
from .replicating import REPLICATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from .app import Registry

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_KEPT = 15.0
_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip")
Sample = tuple[dict[str, str], float]


def application(registry: Registry) -> ASGIApp:
    """The metrics of a registry."""
    return answering(Exposition(registry).respond)


class Exposition:
    """Answers for one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._figures: dict[str, int] = {}
        self._replication: dict[str, list[Sample]] = {}
        self._counted = -_KEPT
        self._began = time.time()

    async def respond(self, request: Request) -> Response:
        """The metrics as they are now. Raises RegistryError."""
        if request.method not in ("GET", "HEAD"):
            raise refusal(Code.UNSUPPORTED)
        await self._admit(request)
        if time.monotonic() - self._counted >= _KEPT:
            self._counted = time.monotonic()
            state = self._registry.state
            self._figures = await state.work.run(figures, state.catalog)
            if registry := self._registry.replication:
                self._replication = await state.work.run(registry.samples)
        body = "".join(f"{line}\n" for line in self._lines())
        return Response(body, 200, {"Cache-Control": "no-store"}, _TYPE)

    async def _admit(self, request: Request) -> None:
        token = self._registry.state.rules.metrics.token
        given = request.headers.get("authorization", "")
        if token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return
        if not given and _is_here(request):
            return
        if self._registry.authorization.is_closed:
            identity = await self._registry.authorization.identify(request)
            if identity and identity.account and identity.may(Role.ADMIN, EVERYTHING):
                return
        error = refusal(Code.UNAUTHORIZED, "metrics are for this machine, administrators and a token")
        error.headers["WWW-Authenticate"] = 'Basic realm="metrics"'
        raise error

    def _lines(self) -> Iterator[str]:
        yield from self._requests()
        registry = self._registry
        gauges = {
            "requests_running": ("Requests under way", registry.running),
            "cache_bytes": ("Content kept in memory", registry.state.cache.size),
            "stopping": ("1 when the registry is told to end", int(registry.is_stopping)),
        }
        for name, count in self._figures.items():
            gauges[name] = (f"{name.replace('_', ' ').capitalize()} in the catalog", count)
        for name, (help, value) in gauges.items():
            yield from _metric(f"nacre_{name}", "gauge", help, [({}, value)])
        for name, samples in self._replication.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            yield from _metric(f"nacre_replication_{name}", kind, REPLICATION[name], samples)
        yield from self._disk()
        yield from self._process()

    def _requests(self) -> Iterator[str]:
        counts = self._registry.metrics.counts
        labelled = [
            ({"method": method, "route": route, "status": str(status or "lost")}, one)
            for (method, route, status), one in sorted(counts.items())
        ]
        for name, field, help in (
            ("requests", "count", "Requests"),
            ("received_bytes", "received", "Bytes of bodies that came"),
            ("sent_bytes", "sent", "Bytes of bodies that went"),
        ):
            samples = [(labels, getattr(one, field)) for labels, one in labelled]
            yield from _metric(f"nacre_{name}_total", "counter", help, samples)
        yield from self._durations()

    def _durations(self) -> Iterator[str]:
        """By method and route."""
        name = "nacre_request_duration_seconds"
        yield f"# HELP {name} From the head of a request to the end of its answer"
        yield f"# TYPE {name} histogram"
        summed: dict[tuple[str, str], tuple[list[int], float]] = {}
        for (method, route, _), one in sorted(self._registry.metrics.counts.items()):
            durations, seconds = summed.get((method, route), ([0] * (len(BOUNDS) + 1), 0.0))
            added = [a + b for a, b in zip(durations, one.durations, strict=True)]
            summed[method, route] = added, seconds + one.seconds
        for (method, route), (durations, seconds) in summed.items():
            labels, total = {"method": method, "route": route}, 0
            for bound, count in zip((*BOUNDS, "+Inf"), durations, strict=True):
                total += count
                yield _sample(f"{name}_bucket", {**labels, "le": str(bound)}, total)
            yield _sample(f"{name}_sum", labels, seconds)
            yield _sample(f"{name}_count", labels, total)

    def _disk(self) -> Iterator[str]:
        found = os.statvfs(self._registry.state.store.root)
        free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        yield from _metric("nacre_disk_free_bytes", "gauge", "Free on the disk of the registry", [({}, free)])
        yield from _metric("nacre_disk_size_bytes", "gauge", "Size of the disk of the registry", [({}, size)])

    def _process(self) -> Iterator[str]:
        """Names as prometheus_client has them."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        seconds, most = used.ru_utime + used.ru_stime, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for name, kind, help, value in (
            ("cpu_seconds_total", "counter", "Processor time", seconds),
            ("resident_memory_bytes", "gauge", "Resident memory", resident),
            ("open_fds", "gauge", "Open file descriptors", len(os.listdir("/proc/self/fd"))),
            ("max_fds", "gauge", "Most open file descriptors", most),
            ("start_time_seconds", "gauge", "When it first told its metrics, since 1970", self._began),
        ):
            yield from _metric(f"process_{name}", kind, help, [({}, value)])


def _is_here(request: Request) -> bool:
    """Does somebody on this machine ask for themselves?"""
    host = request.client.host if request.client else ""
    return is_loopback(host) and not any(name in request.headers for name in _PROXIED)


def _metric(name: str, kind: str, help: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield _sample(name, labels, value)


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    """Labels are ours: methods of a list, routes and statuses, and names that the operator gave."""
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")
