"""OpenTelemetry: spans and metrics of requests come to a receiver; traces go on at upstreams and webhooks."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from nacre.engine import Config, Engine
from nacre.engine.upstreams import upstreams_of
from nacre.services.server import RunningServer
from nacre.services.server.outgoing import Outgoing
from nacre.words.errors import Unsupported, UsageError
from nacre.words.rules import RegistryRules, WebhookRule
from nacre.words.telemetry import TelemetryRules
from nacre.words.upstreams import UpstreamRules

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs its exporter for OTLP")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
BOTH = TelemetryRules(traces=True, metrics=True, name="nacre-registry")


class Receiver:
    """Keeps what comes to `/v1/traces` and `/v1/metrics`."""

    def __init__(self) -> None:
        received: dict[str, list[bytes]] = {"/v1/traces": [], "/v1/metrics": []}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                received[self.path].append(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self.received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found = [ExportTraceServiceRequest.FromString(body) for body in self.received["/v1/traces"]]
        return [
            span for each in found for resource in each.resource_spans
            for scope in resource.scope_spans for span in scope.spans
        ]  # fmt: skip

    @property
    def metrics(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Attributes of the resource, and metrics by name."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        found = ExportMetricsServiceRequest.FromString(self.received["/v1/metrics"][-1]).resource_metrics[0]
        metrics = {each.name: each for scope in found.scope_metrics for each in scope.metrics}
        return attributes(found.resource), metrics


def attributes(holder: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes
    }  # fmt: skip


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """What the variables of this process name."""
    found = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    yield found
    found.close()


@pytest.fixture
def telemetry(receiver: Receiver) -> Any:
    """To be closed by a registry."""
    from nacre.services.server.telemetry import Telemetry

    return Telemetry(BOTH)


def test_requests(receiver: Receiver, telemetry: Any, folder: str, api_of: Any) -> None:
    with RunningServer(folder, outgoing=Outgoing(telemetry=telemetry)) as serving:
        api = api_of(serving.url)
        image = api.push_image("shop/app", "1")
        api("GET", "shop/app/manifests/1", traceparent=TRACEPARENT, X_Request_Id="mine")
        api("GET", "shop/app/manifests/none")
        api("BREW", "shop/app/manifests/1")
    span = next(each for each in receiver.spans if each.trace_id.hex() == TRACE)
    said = attributes(span)
    assert (span.name, span.parent_span_id.hex()) == ("GET /v2/{name}/manifests/{reference}", PARENT)
    assert (said["http.request.method"], said["http.response.status_code"]) == ("GET", 200)
    assert (said["nacre.repository"], said["nacre.request.id"]) == ("shop/app", "mine")
    assert (said["http.route"], said["url.path"]) == (
        "/v2/{name}/manifests/{reference}",
        "/v2/shop/app/manifests/1",
    )
    assert said["http.response.body.size"] == len(image.data)
    pushed = next(each for each in receiver.spans if each.name.startswith("PUT /v2/{name}/manifests"))
    assert attributes(pushed)["http.request.body.size"] == len(image.data)
    assert "_OTHER /v2/{name}/manifests/{reference}" in {each.name for each in receiver.spans}
    resource, metrics = receiver.metrics
    assert resource["service.name"] == "nacre-registry"
    points = metrics["http.server.request.duration"].histogram.data_points
    got = {
        (said["http.request.method"], said["http.route"], said["http.response.status_code"]): point.count
        for point in points
        if (said := attributes(point))
    }
    assert got["GET", "/v2/{name}/manifests/{reference}", 200] == 1
    assert got["GET", "/v2/{name}/manifests/{reference}", 404] == 1
    sizes = metrics["http.server.request.body.size"].histogram.data_points
    assert sum(point.sum for point in sizes) >= len(image.data)


def test_a_trace_goes_on_at_an_upstream(
    receiver: Receiver, telemetry: Any, folder: str, api_of: Any, tmp_path: Any
) -> None:
    """The registry behind this one has it too, and hears the same trace."""
    from nacre.services.server.telemetry import Telemetry

    behind = RunningServer(str(tmp_path / "behind"), outgoing=Outgoing(telemetry=Telemetry(BOTH)))
    with behind, Engine(Config(str(tmp_path / "store"))) as engine:
        api_of(behind.url).push_image("app", "1")
        rule = UpstreamRules("behind.example", behind.url)
        ways = upstreams_of([rule], engine, telemetry.headers)
        rules = RegistryRules(upstreams=(rule,))
        with RunningServer(
            folder, rules=rules, upstreams=ways, outgoing=Outgoing(telemetry=telemetry)
        ) as serving:
            answer = api_of(serving.url)("GET", "behind.example/app/manifests/1", traceparent=TRACEPARENT)
            assert answer.status == 200, answer.body
    spans = [each for each in receiver.spans if each.trace_id.hex() == TRACE]
    front = next(each for each in spans if each.parent_span_id.hex() == PARENT)
    assert [each for each in spans if each.parent_span_id == front.span_id], "asked behind"


class Told:
    """A webhook that keeps what it is told, and answers with `statuses` in their order, then with 204."""

    def __init__(self, *statuses: int) -> None:
        self.calls: list[tuple[dict[str, str], Any]] = []
        self.heard = threading.Event()
        self._statuses = iter(statuses)

    def __call__(self, url: str, headers: Any, body: bytes, nearby: bool) -> int:
        self.calls.append((dict(headers), json.loads(body)))
        self.heard.set()
        return next(self._statuses, 204)


def webhooks(form: str = "docker") -> RegistryRules:
    return RegistryRules(webhooks=(WebhookRule(name="deploy", url="https://hooks.example/", format=form),))


@pytest.mark.parametrize("form", ["docker", "cloudevents"])
def test_what_a_webhook_is_told_belongs_to_the_push(
    receiver: Receiver, telemetry: Any, folder: str, api_of: Any, form: str
) -> None:
    """The client's trace goes through the registry to whoever is told; the span of the push is the parent."""
    told = Told()
    outgoing = Outgoing(post=telemetry.posting(told), telemetry=telemetry)
    with RunningServer(folder, rules=webhooks(form), outgoing=outgoing) as serving:
        serving.registry.jobs.wake("webhook deploy")
        api_of(serving.url, traceparent=TRACEPARENT).push_image("app", "1")
        assert told.heard.wait(60)
    (headers, event), *_ = told.calls
    spans = [each for each in receiver.spans if each.trace_id.hex() == TRACE]
    (sent,) = (each for each in spans if each.name == "POST")
    (pushed,) = (each for each in spans if each.name.startswith("PUT /v2/{name}/manifests"))
    assert sent.parent_span_id == pushed.span_id
    assert headers["traceparent"] == f"00-{TRACE}-{sent.span_id.hex()}-01"
    said = attributes(sent)
    assert (said["server.address"], said["server.port"]) == ("hooks.example", 443)
    assert said["http.response.status_code"] == 204
    made_by = f"00-{TRACE}-{pushed.span_id.hex()}-01"
    assert event.get("traceparent", "") == (made_by if form == "cloudevents" else "")


def test_a_delivery_that_fails_is_a_span_that_failed(
    receiver: Receiver, telemetry: Any, folder: str, api_of: Any
) -> None:
    told = Told(500)
    outgoing = Outgoing(post=telemetry.posting(told), telemetry=telemetry)
    with RunningServer(folder, rules=webhooks(), outgoing=outgoing) as serving:
        serving.registry.jobs.wake("webhook deploy")
        api_of(serving.url).push_image("app", "1")
        assert told.heard.wait(60)
    span = next(each for each in receiver.spans if each.name == "POST")
    assert span.status.code == 2
    assert attributes(span)["http.response.status_code"] == 500


def test_without_telemetry_nothing_is_kept_of_a_trace(folder: str, api_of: Any) -> None:
    told = Told()
    with RunningServer(folder, rules=webhooks(), outgoing=Outgoing(post=told)) as serving:
        serving.registry.jobs.wake("webhook deploy")
        api_of(serving.url, traceparent=TRACEPARENT).push_image("app", "1")
        assert told.heard.wait(60)
    assert "traceparent" not in told.calls[0][0]


def test_a_receiver_that_is_gone_holds_up_nothing(
    receiver: Receiver, folder: str, api_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nacre.services.server.telemetry import Telemetry

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    noted: list[str] = []
    traced = Telemetry(TelemetryRules(traces=True), noted.append)
    with RunningServer(folder, outgoing=Outgoing(telemetry=traced)) as serving:
        assert api_of(serving.url)("GET", "").status == 200
    assert noted
    assert all(line.startswith("warning: telemetry: ") for line in noted)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, (False, False)),
        ({"OTEL_SERVICE_NAME": "x"}, (False, False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, (True, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, (False, False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, (False, True)),
    ],
)
def test_what_is_wanted(variables: dict[str, str], wanted: tuple[bool, bool]) -> None:
    found = TelemetryRules.of(variables)
    assert (found.traces, found.metrics) == wanted
    assert TelemetryRules.of({**variables, "OTEL_SERVICE_NAME": "mine"}).name == ""


def test_another_protocol() -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(UsageError, match="telemetry by grpc is not supported"):
        TelemetryRules.of(variables)


def test_without_the_library(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nacre.services.server.telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    rules = RegistryRules(telemetry=BOTH)
    with (
        Engine(Config(str(tmp_path))) as engine,
        pytest.raises(Unsupported, match="OTEL_… ask for telemetry, which needs opentelemetry") as caught,
    ):
        engine.registries.serve("127.0.0.1", 0, str(tmp_path / "r"), lambda _url: None, rules=rules)
    assert caught.value.hint == "pip install nacre-oci[telemetry]"


def test_nothing_is_loaded_unless_it_is_asked_for() -> None:
    import subprocess

    code = """if True:
        import sys, nacre.services.server
        print([name for name in sys.modules if "server.telemetry" in name or "opentelemetry" in name])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
