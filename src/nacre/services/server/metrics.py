"""Counters of requests: a few additions for each."""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper ends of the classes of durations, in seconds."""
METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"))
OTHER = "other"
Labels = tuple[str, str, int]


class RequestCount:
    """Requests of one method and route with one status. `seconds` and bytes are sums."""

    def __init__(self) -> None:
        self.count, self.seconds, self.received, self.sent = 0, 0.0, 0, 0
        self.durations = [0] * (len(BOUNDS) + 1)


class RequestMetrics:
    """Of one registry since it began. Clients cannot make labels: there are so many routes and statuses."""

    def __init__(self) -> None:
        self._counts: dict[Labels, RequestCount] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[Labels, RequestCount]:
        """By method, route and status."""
        return self._counts

    def add(self, labels: Labels, seconds: float, received: int, sent: int) -> None:
        """A request is over. Status 0: the client had gone. From any thread."""
        with self._lock:
            self._add(labels, seconds, received, sent)

    def _add(self, labels: Labels, seconds: float, received: int, sent: int) -> None:
        found = self._counts.get(labels)
        if found is None:
            method, route, status = labels
            labels = (method if method in METHODS else OTHER, route, status)
            found = self._counts.setdefault(labels, RequestCount())
        found.count += 1
        found.seconds += seconds
        found.received += received
        found.sent += sent
        found.durations[bisect_left(BOUNDS, seconds)] += 1
