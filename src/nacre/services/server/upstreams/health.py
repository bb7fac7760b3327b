"""How upstreams do: whom to leave in peace for a while, and what was not there a moment ago."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ....grammars.wire.errors import Code, refusal
from ....words.errors import (
    ContentError,
    NacreError,
    NotFound,
    RegistryError,
    StoreError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from .model import ServingRefused

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .model import UpstreamRepository

_ABSENT = 60.0
"""Seconds for which it is believed that something is not there."""
_DOWN, _LIMITED, _LONGEST = 10.0, 60.0, 3600.0
"""Seconds for which an upstream is not asked: that did not answer, or that refused for want of patience."""
_MOST = 10_000


class UpstreamHealth:
    """Of all upstreams of a registry. On the event loop."""

    def __init__(self) -> None:
        self._resting: dict[str, tuple[float, RegistryError]] = {}
        self._absent: OrderedDict[Hashable, tuple[float, RegistryError]] = OrderedDict()

    def check(self, place: UpstreamRepository, key: Hashable) -> None:
        """Raises RegistryError when there is no use in asking now."""
        now = time.monotonic()
        until, error = self._resting.get(place.upstream.rules.name, (0.0, None))
        if error is not None and now < until:
            again = ServingRefused(error.message, status=error.status, code=error.code)
            again.headers["Retry-After"] = str(int(until - now) + 1)
            raise again
        until, error = self._absent.get((place.name, key), (0.0, None))
        if error is not None and now < until:
            raise ServingRefused(error.message, status=error.status, code=error.code)

    def failed(self, place: UpstreamRepository, key: Hashable, error: NacreError, code: Code) -> NacreError:
        """An upstream was asked for `key` and did not give it: what to tell the client.

        What this registry itself says, and what went wrong here, stays what it is.
        """
        if isinstance(error, StoreError | Unavailable | ServingRefused):
            return error
        told = _explained(place, error, code)
        now = time.monotonic()
        if isinstance(error, NotFound | ContentError):
            self._absent[place.name, key] = now + _ABSENT, told
            while len(self._absent) > _MOST:
                self._absent.popitem(last=False)
        elif isinstance(error, RegistryError) and (pause := _pause(error)):
            self._resting[place.upstream.rules.name] = now + pause, told
        return told


def _pause(error: RegistryError) -> float:
    asked = error.headers.get("Retry-After", "")
    if error.status in (429, 503):
        usual = _LIMITED if error.status == 429 else _DOWN
        return min(float(asked), _LONGEST) if asked.isdecimal() else usual
    return _DOWN if isinstance(error, Unreachable) else 0.0


def _explained(place: UpstreamRepository, error: NacreError, code: Code) -> RegistryError:
    """Without what is the operator's: users, addresses and messages of the upstream."""
    registry = place.upstream.rules.name
    if isinstance(error, NotFound):
        return refusal(code, f"{registry} does not have it in {place.repository}")
    if isinstance(error, Unauthorized):
        return refusal(Code.DENIED, f"{registry} does not let this registry read {place.repository}")
    if isinstance(error, Unreachable):
        told = refusal(Code.UNAVAILABLE, f"{registry} cannot be reached", status=504)
    else:
        told = _by_status(registry, error.status if isinstance(error, RegistryError) else 0)
    if isinstance(error, RegistryError) and "Retry-After" in error.headers:
        told.headers["Retry-After"] = error.headers["Retry-After"]
    return told


def _by_status(registry: str, status: int) -> RegistryError:
    if status == 429:
        return refusal(Code.TOOMANYREQUESTS, f"{registry} has received too many requests")
    if status >= 400:
        return refusal(Code.UNAVAILABLE, f"{registry} answered {status}", status=502)
    return refusal(Code.UNAVAILABLE, f"{registry} sent what is not right", status=502)
