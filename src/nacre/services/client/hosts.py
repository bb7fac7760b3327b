"""Where a registry is reached: which host, over TLS or in the clear.

docker.io                    https://registry-1.docker.io
set to plain HTTP            http, nothing but
with authorities of its own  https, nothing but
127.0.0.0/8, ::1, localhost  http, then https with any certificate (docker trusts loopback likewise)
named as insecure            https with any certificate, then http (docker's `insecure-registries`)
everything else              https, nothing but
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

from ...grammars.config import Settings
from ...grammars.wire.routes import base
from ...words.errors import NacreError
from ...words.reference import DEFAULT_REGISTRY, is_loopback
from .retry import Transient
from .transport import Request, Transport

HUB_HOST = "registry-1.docker.io"
_NOTHING = Settings()


@dataclass(frozen=True, slots=True)
class HostEndpoint:
    """`url` is scheme and host without a slash at the end; `verify` says whether certificates count."""

    url: str
    verify: bool = True


def candidates(
    registry: str, insecure: Collection[str] = (), settings: Settings = _NOTHING
) -> tuple[HostEndpoint, ...]:
    """The places where `registry` may be, the likeliest first; several only where plain HTTP is allowed."""
    host = HUB_HOST if registry == DEFAULT_REGISTRY else registry
    said = settings.host(registry)
    if said.plain:
        return (HostEndpoint(f"http://{host}", False),)
    if said.ca:
        return (HostEndpoint(f"https://{host}"),)
    if is_loopback(host):
        return HostEndpoint(f"http://{host}", False), HostEndpoint(f"https://{host}", False)
    if registry in insecure or said.insecure:
        return HostEndpoint(f"https://{host}", False), HostEndpoint(f"http://{host}", False)
    return (HostEndpoint(f"https://{host}"),)


class Hosts:
    """Finds endpoints, each once; threads that want the same one wait for the first.

    `guarded`: whoever speaks to them looks where they lead, see `session`.
    """

    def __init__(
        self, transport: Transport, insecure: Collection[str] = (), settings: Settings = _NOTHING, *,
        guarded: bool = False,
    ) -> None:  # fmt: skip
        self.guarded = guarded
        self._transport, self._insecure, self._settings = transport, frozenset(insecure), settings
        self._found: dict[str, HostEndpoint] = {}
        self._lock = threading.Lock()

    def find(self, registry: str) -> HostEndpoint:
        """The endpoint of `registry`. Raises Unreachable, RegistryError."""
        with self._lock:
            if registry not in self._found:
                self._found[registry] = self._probe(candidates(registry, self._insecure, self._settings))
            return self._found[registry]

    def know(self, registry: str, endpoint: HostEndpoint) -> None:
        """Say where `registry` is, instead of finding out."""
        with self._lock:
            self._found[registry] = endpoint

    def _probe(self, places: tuple[HostEndpoint, ...]) -> HostEndpoint:
        """The first place that answers as a registry does; a single one needs no asking.

        A TLS server answers plain HTTP with 400 and a sentence, or hangs up. When no place is right,
        the first that answered at all is taken, so that *its* error is what the user reads.
        """
        if len(places) == 1:
            return places[0]
        verdicts: list[int | NacreError] = []
        for place in places:
            verdicts.append(self._status(place))
            if verdicts[-1] not in _WRONG and isinstance(verdicts[-1], int):
                return place
        answered = [place for place, verdict in zip(places, verdicts, strict=True) if verdict in _WRONG]
        if answered:
            return answered[0]
        raise next(verdict for verdict in verdicts if isinstance(verdict, NacreError))

    def _status(self, place: HostEndpoint) -> int | NacreError:
        try:
            request = Request("GET", place.url + base())
            with self._transport.send(request, verify=place.verify, nearby=True) as response:
                return response.status
        except Transient as failure:
            return failure.error
        except NacreError as error:
            return error


_WRONG = (400, 426)
