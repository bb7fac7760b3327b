"""Spans and metrics of requests, for OpenTelemetry (OTLP over HTTP).

A request with `traceparent` (W3C Trace Context) goes on with that trace, and so does what upstreams are asked
for it. The record of activity keeps the span of the request that made a change: what webhooks are told of
it, later and maybe by another process, belongs to that trace. Names are those of the semantic conventions
for HTTP. Only this module knows the library; it is loaded where the operator's variables ask for it
(`words.telemetry`).
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ... import __version__
from ...grammars.wire.links import origin
from .access.identity import TRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.requests import Request

    from ...words.telemetry import TelemetryRules
    from .outgoing import Post

_SCOPE = "nacre.registry"
_PATIENCE_MS = 2000
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds, as the semantic conventions advise."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_W3C = TraceContextTextMapPropagator()
_TRACEPARENT = "traceparent"


class RequestSummary(NamedTuple):
    """What is known of a request when it is over. `route` is its shape, sizes are bytes of bodies."""

    route: str
    repository: str
    status: int
    received: int
    sent: int
    seconds: float
    id: str


class Telemetry:
    """Of one registry, by `rules`. `note` takes a line when something cannot be sent.

    `close` it, in a thread.
    """

    def __init__(self, rules: TelemetryRules, note: Callable[[str], object] = lambda _line: None) -> None:
        attributes = {SERVICE_NAME: rules.name} if rules.name else {}
        resource = Resource.create({**attributes, SERVICE_VERSION: __version__})
        self._traces = _tracer_provider(resource) if rules.traces else None
        self._metrics = _meter_provider(resource) if rules.metrics else None
        self._tracer = self._traces.get_tracer(_SCOPE, __version__) if self._traces else NoOpTracer()
        self._histograms = _histograms(self._metrics) if self._metrics else ()
        self._handler = _NotingHandler(note)
        logging.getLogger("opentelemetry").addHandler(self._handler)

    @contextmanager
    def request(self, request: Request) -> Iterator[Callable[..., None]]:
        """While a request is answered; what it gives takes the fields of a RequestSummary when it
        is over.
        """
        parent = _W3C.extract(dict(request.headers.items()))
        span = self._tracer.start_span(_method(request), parent, SpanKind.SERVER, _known(request))
        token = context.attach(set_span_in_context(span, parent))
        request.scope[TRACE] = self.headers().get(_TRACEPARENT, "")
        try:
            yield lambda *values: self._over(request, span, RequestSummary(*values))
        finally:
            context.detach(token)
            span.end()

    def _over(self, request: Request, span: Span, summary: RequestSummary) -> None:
        method, attributes = _method(request), dict[str, str | int]()
        attributes |= {"http.request.method": method, "http.route": summary.route}
        attributes |= {"http.response.status_code": summary.status} if summary.status else {}
        for histogram, value in zip(
            self._histograms, (summary.seconds, summary.received, summary.sent), strict=False
        ):
            histogram.record(value, attributes)
        if span.is_recording():
            span.update_name(f"{method} {summary.route}")
            span.set_attributes(attributes | _details(summary))
            if summary.status >= 500 or not summary.status:
                span.set_status(Status(StatusCode.ERROR))

    def headers(self) -> Mapping[str, str]:
        """What a request for others carries, in whatever thread has the context of what it is for."""
        found: dict[str, str] = {}
        _W3C.inject(found)
        return found

    def posting(self, post: Post) -> Post:
        """`post` with a span for each request, which its `traceparent` names. One that has a `traceparent`
        goes on with that trace; a failure is one of the span as well.
        """

        def traced(url: str, headers: Mapping[str, str], body: bytes, nearby: bool) -> int:
            parent = _W3C.extract(headers)
            with self._tracer.start_as_current_span(
                "POST", parent, SpanKind.CLIENT, attributes=_asked(url)
            ) as span:
                status = post(url, {**headers, **self.headers()}, body, nearby)
                span.set_attribute("http.response.status_code", status)
                if status >= 400:
                    span.set_status(Status(StatusCode.ERROR))
                return status

        return traced

    def flush(self) -> None:
        """Send what there is, within some seconds."""
        for provider in (self._traces, self._metrics):
            if provider:
                provider.force_flush(_PATIENCE_MS)

    def close(self) -> None:
        """Send the last, and end."""
        self.flush()
        for provider in (self._traces, self._metrics):
            if provider:
                provider.shutdown()
        logging.getLogger("opentelemetry").removeHandler(self._handler)


class _NotingHandler(logging.Handler):
    """What the library has to say, for the log of the registry; the same thing once."""

    def __init__(self, note: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._note, self._last = note, ""

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())[:300]
        if text != self._last:
            self._last = text
            self._note(f"warning: telemetry: {text}")


def _tracer_provider(resource: Resource) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _meter_provider(resource: Resource) -> MeterProvider:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _histograms(provider: MeterProvider) -> tuple[Histogram, ...]:
    """Of seconds, and of the sizes of bodies that came and went."""
    meter = provider.get_meter(_SCOPE, __version__)
    name = "http.server.request.duration"
    return (
        meter.create_histogram(name, "s", "Requests", explicit_bucket_boundaries_advisory=_BOUNDS),
        meter.create_histogram("http.server.request.body.size", "By", "Bodies that came"),
        meter.create_histogram("http.server.response.body.size", "By", "Bodies that went"),
    )


def _method(request: Request) -> str:
    return request.method if request.method in _METHODS else "_OTHER"


def _known(request: Request) -> dict[str, str]:
    """What is known of a request at its beginning."""
    found = {
        "url.path": request.scope.get("raw_path", b"").decode("latin-1")[:1024],
        "url.scheme": request.url.scheme,
    }
    return found | ({"client.address": request.client.host} if request.client else {})


def _asked(url: str) -> dict[str, str | int]:
    """What is known of a request to others; their paths may be secret."""
    _, host, port = origin(url)
    return {"http.request.method": "POST", "server.address": host, "server.port": port}


def _details(summary: RequestSummary) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "http.request.body.size": summary.received, "http.response.body.size": summary.sent,
        "nacre.request.id": summary.id,
    }  # fmt: skip
    return found | ({"nacre.repository": summary.repository} if summary.repository else {})
