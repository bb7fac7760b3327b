"""How often one may ask: pulls and pushes of manifests in a window, requests in a minute.

Of each user, and of each address without one. Whoever may do N in a window may do them at once; then each
comes back after its part of the window. That takes one number for each client (the generic cell rate
algorithm). The headers are Docker Hub's. Each process counts for itself.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ...grammars.wire.errors import Code, refusal
from ...grammars.wire.routes import Endpoint
from .access import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ...grammars.wire.routes import Route
    from ...words.rules import RateRules

    Headers = tuple[tuple[bytes, bytes], ...]

_MINUTE = 60.0


class Rate:
    """At most `most` in `window` seconds, for each key, of which as many as `remembered` are kept in mind."""

    def __init__(
        self, most: int, window: float, clock: Callable[[], float] = time.monotonic, remembered: int = 1 << 16
    ) -> None:
        self.most, self.window, self._clock, self._remembered = most, window, clock, remembered
        self._each = window / most
        self._until: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> tuple[int, float]:
        """How many are left after this one; or that it was one too many, and the seconds until the next."""
        now = self._clock()
        until = max(self._until.get(key, now), now) + self._each
        over = until - now - self.window
        if over > self._each * 1e-6:
            return 0, over
        self._until[key] = until
        self._until.move_to_end(key)
        if len(self._until) > self._remembered:
            self._until.popitem(last=False)
        return int(-over / self._each + 1e-6), 0.0


class Rates:
    """Those that `rules` name."""

    def __init__(self, rules: RateRules, clock: Callable[[], float] = time.monotonic) -> None:
        def rate(most: int, window: float) -> Rate | None:
            return Rate(most, window, clock) if most else None

        self._requests = rate(rules.requests, _MINUTE)
        self._manifests = {"GET": rate(rules.pulls, rules.window), "PUT": rate(rules.pushes, rules.window)}
        anonymous = rate(rules.anonymous_pulls, rules.window)
        self._anonymous = anonymous or self._manifests["GET"]

    def check(self, request: Request, route: Route) -> Headers:
        """Headers for the answer to a request that was let through. Raises RegistryError TOOMANYREQUESTS."""
        owner = owner_of(request)
        if self._requests:
            _taken(self._requests, owner, "requests")
        method = request.method
        if route.endpoint is not Endpoint.MANIFEST or method not in self._manifests:
            return ()
        known = owner.startswith("user ")
        rate = self._manifests[method] if known or method == "PUT" else self._anonymous
        return _taken(rate, owner, "pulls" if method == "GET" else "pushes") if rate else ()


def _taken(rate: Rate, owner: str, what: str) -> Headers:
    left, wait = rate.take(owner)
    window = f";w={rate.window:.0f}"
    headers = {
        "ratelimit-limit": f"{rate.most}{window}", "ratelimit-remaining": f"{left}{window}",
        "docker-ratelimit-source": owner.removeprefix("user "),
    }  # fmt: skip
    if wait:
        error = refusal(Code.TOOMANYREQUESTS, f"more than {rate.most} {what} in {rate.window:.0f} seconds")
        error.headers.update(headers | {"Retry-After": str(int(wait) + 1)})
        raise error
    return tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items())
