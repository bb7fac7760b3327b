"""Packets from a container to those beside it in a network, of an ordinary user.

    container A   eth0 ═══ gateway   the keeper of A reads, and asks the keeper of B once for its link
    container B   eth0 ═══ gateway   the keeper of A writes here, and B receives; it answers in the same way

So ports and addresses are the real ones on both sides, nobody has to remember who has asked whom, and the
keeper of B sleeps until B says something. A packet is passed on only from the address that the container has
in that network, with a header of ours. What is not for B its kernel drops. No program gets any of this.
"""

from __future__ import annotations

from _thread import allocate_lock
from errno import EAGAIN, ENOBUFS
from time import monotonic

from ...grammars import packets
from .serving import thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ...grammars.packets import Packet
    from .packetlink import PacketLink

    class NeighbourRoutes(Protocol):
        """Who is beside a container. Addresses are packed."""

        def address_beside(self, address: bytes) -> bytes:
            """The container's own in the network that an address belongs to; b"" if it is in none such."""

        def changed(self) -> object:
            """Another value when somebody has joined or left its networks; who was killed counts later."""

        def neighbour(self, address: bytes) -> str:
            """The id of the container that has the address there; "" for none."""

        def link_of(self, container: str) -> PacketLink:
            """A link of its, after its keeper was asked. Raises OSError."""


_MOST, _QUEUED = 512, 32
"""Neighbours of one container; packets that wait for the answer of a keeper."""
_MOMENT, _IDLE = 1.0, 90.0
"""Seconds until one looks again who somebody is, if nothing changed; and until one is forgotten."""
_FULL = (EAGAIN, ENOBUFS)


class Neighbours:
    """Those of one container to whom it has said something."""

    def __init__(self, routes: NeighbourRoutes) -> None:
        self._routes = routes
        self._ways: dict[bytes, _Way] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no keeper is being asked."""
        return not any(way.is_opening for way in self._ways.values())

    def has(self, address: bytes) -> bool:
        """Whether an address is a neighbour's, if it is anybody's."""
        return address in self._ways or bool(self._routes.address_beside(address))

    def pass_on(self, packet: Packet) -> bool:
        """False if nobody has the address, or cannot be reached. What may not go there is dropped."""
        _, source, target, _ = packet
        way = self._way(target)
        if way is None:
            return False
        data = packets.passed(packet) if source == way.source else None
        return way.send(data) if data else True

    def _way(self, target: bytes) -> _Way | None:
        """Who is there is looked up now and then: containers end, and others get their addresses."""
        way, seen = self._ways.get(target), _Look(self._routes)
        if way and (way.seen.still_counts(seen) or (way.goes_on and self._leads(target, way))):
            way.saw(seen)
            return way
        self._forget(target)
        source, who = self._routes.address_beside(target), self._routes.neighbour(target)
        if not (source and who):
            return None
        if len(self._ways) >= _MOST:
            self._forget(min(self._ways, key=lambda each: self._ways[each].used))
        way = self._ways[target] = _Way(who, source, seen)
        way.open(self._routes)
        return way

    def _leads(self, target: bytes, way: _Way) -> bool:
        """Whether it is still the same neighbour's."""
        return self._routes.address_beside(target) == way.source and self._routes.neighbour(target) == way.who

    def expire(self) -> None:
        """Who has gone, and to whom nothing was said for long, is forgotten."""
        before = monotonic() - _IDLE
        for target, way in list(self._ways.items()):
            if way.used < before or not way.goes_on or not self._leads(target, way):
                self._forget(target)

    def _forget(self, target: bytes) -> None:
        if way := self._ways.pop(target, None):
            way.close()

    def close(self) -> None:
        """Let go of all."""
        for target in list(self._ways):
            self._forget(target)


class _Look:
    """When it was looked who is there, and what was there then."""

    def __init__(self, routes: NeighbourRoutes) -> None:
        self.when, self._what = monotonic(), routes.changed()

    def still_counts(self, now: _Look) -> bool:
        """Whether one of a moment ago is good for `now`."""
        return now.when < self.when + _MOMENT and now._what == self._what


class _Way:
    """To the container `who`, in the name of `source`. Its keeper is asked in a thread: it may ask ours."""

    def __init__(self, who: str, source: bytes, seen: _Look) -> None:
        self.who, self.source, self.seen, self.used = who, source, seen, seen.when
        self.is_opening, self.goes_on = True, True
        self._lock, self._closed = allocate_lock(), False
        self._queue: list[bytes] = []
        self._link: PacketLink | None = None

    def saw(self, seen: _Look) -> None:
        """It is used; a look counts for a moment only, however often it is used."""
        self.used = seen.when
        if not self.seen.still_counts(seen):
            self.seen = seen

    def open(self, routes: NeighbourRoutes) -> None:
        """Ask for the link."""
        try:
            thread(lambda: self._open(routes))
        except RuntimeError:
            self._opened(None)

    def _open(self, routes: NeighbourRoutes) -> None:
        try:
            link = routes.link_of(self.who)
        except Exception:  # whatever it is, nobody is reached
            link = None
        self._opened(link)

    def _opened(self, link: PacketLink | None) -> None:
        with self._lock:
            self._link, self.goes_on = link, link is not None
            for packet in self._queue:
                self._write(packet)
            self._queue.clear()
            if self._closed:
                self._let_go()
            self.is_opening = False

    def send(self, packet: bytes) -> bool:
        """At once, or when there is a link; False if there is none any more."""
        with self._lock:
            if not self.is_opening:
                self._write(packet)
            elif len(self._queue) < _QUEUED:
                self._queue.append(packet)
            return self.goes_on

    def _write(self, packet: bytes) -> None:
        try:
            if self._link:
                self._link.write(packet)
        except OSError as error:
            self.goes_on = error.errno in _FULL

    def close(self) -> None:
        """Now, or when the answer has come."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        link, self._link = self._link, None
        if link:
            link.close()
