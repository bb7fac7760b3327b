"""Whether variables of OpenTelemetry ask a registry to tell of its requests.

OTEL_EXPORTER_OTLP_ENDPOINT, or one for a signal, asks; OTEL_SDK_DISABLED and `none` as the exporter of a
signal refuse. All else, such as names, headers and sampling, the SDK reads by itself. Source: OpenTelemetry,
"Environment Variable Specification" and "OTLP Exporter".
"""

from __future__ import annotations

from .errors import UsageError
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOL = "http/protobuf"
_NAME = "service.name="


class TelemetryRules(Value):
    """Which signals are sent. `name`: what the service is called, "" where the variables say it."""

    traces: bool = False
    metrics: bool = False
    name: str = ""

    @property
    def is_wanted(self) -> bool:
        """Is anything to be sent at all?"""
        return self.traces or self.metrics

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> TelemetryRules:
        """What the variables ask for. Raises UsageError for another protocol than HTTP."""
        if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return cls()
        traces, metrics = (_asks(variables, signal) for signal in ("TRACES", "METRICS"))
        said = variables.get("OTEL_SERVICE_NAME") or _NAME in variables.get("OTEL_RESOURCE_ATTRIBUTES", "")
        return cls(traces, metrics, "" if said else "nacre-registry")


def _asks(variables: Mapping[str, str], signal: str) -> bool:
    def said(name: str) -> str:
        return variables.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or variables.get(
            f"OTEL_EXPORTER_OTLP_{name}", ""
        )

    exporters = variables.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    if not said("ENDPOINT") or "otlp" not in exporters.split(","):
        return False
    protocol = said("PROTOCOL") or _PROTOCOL
    if protocol != _PROTOCOL:
        raise UsageError(
            f"telemetry by {protocol[:50]} is not supported", hint=f"OTEL_EXPORTER_OTLP_PROTOCOL={_PROTOCOL}"
        )
    return True
