"""The connections of a server, seen through the descriptors of this process.

The HTTP server bounds connections only for all clients together, and a slow one may hold its own for as long
as it likes. So a look is taken at the sockets several times a second: who has too many loses those that moved
least, and an answer that is taken too slowly is broken off. A socket is shut down, never closed: it is the
server's, which then closes it.

    inode   what tells a socket from another one that got its number later: `/proc/self/fd/7 -> socket:[8123]`
    moved   bytes that were received and acknowledged, by the kernel's count (tcp(7), TCP_INFO)
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from .clients import group_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = "/proc/self/fd"
_SLOW_AFTER = 30.0
"""Seconds after which the rate of an answer is judged."""
_INFO = Struct("=24xI92xQQ8xI")
"""Of struct tcp_info (linux/tcp.h): tcpi_unacked, _bytes_acked, _bytes_received, _notsent_bytes."""


class ConnectionLimits(NamedTuple):
    """Most connections of all and of each address, and bytes per second that an answer must be taken at."""

    most: int
    each: int
    rate: int


class _Connection:
    """One that is known: whose, since when, and what it had moved when it was last judged."""

    def __init__(self, client: str, now: float) -> None:
        self.client, self.since = client, now
        self.moved, self.judged, self.acked = 0, now, 0


class Connections:
    """Those that were accepted from `listening`."""

    def __init__(self, listening: socket.socket, limits: ConnectionLimits) -> None:
        self._port, self._limits = listening.getsockname()[1], limits
        self._known: dict[str, _Connection | None] = {}
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._next_judgement = self._looked + _SLOW_AFTER

    def is_sending(self) -> bool:
        """Does any client still have to take data?"""
        with self._lock:
            there = self._there(os.listdir(_FOLDER), time.monotonic())
            return any(unacked + unsent for unacked, _, _, unsent in map(_info, there.values()))

    def look(self, now: float) -> int:
        """Shut down what is too much or too slow at the time `now` (monotonic); how many."""
        with self._lock:
            return self._look(now)

    def _look(self, now: float) -> int:
        names = os.listdir(_FOLDER)
        slow = now >= self._next_judgement
        if len(names) <= self._limits.each and not slow:
            return 0
        self._looked = now
        there = self._there(names, now)
        victims = self._too_many(there)
        if slow:
            self._next_judgement = now + _SLOW_AFTER
            victims += [inode for inode in there if self._is_slow(there[inode], self._known[inode], now)]
        shut = [inode for inode in dict.fromkeys(victims) if _shut(there[inode], inode)]
        self._known |= dict.fromkeys(shut)
        return len(shut)

    def _there(self, names: list[str], now: float) -> dict[str, int]:
        """Our connections, inode to descriptor."""
        found = dict(_sockets(names))
        known = {inode: kept for inode, kept in self._known.items() if inode in found}
        for inode in found.keys() - known.keys():
            client = self._client(found[inode])
            known[inode] = None if client is None else _Connection(client, now)
        self._known = known
        return {inode: fd for inode, fd in found.items() if known[inode] is not None}

    def _client(self, fd: int) -> str | None:
        """Who is at the other end; None when this is no connection of the server."""
        with suppress(OSError), _own(fd) as connection:
            internet = connection.family in (socket.AF_INET, socket.AF_INET6)
            if internet and connection.getsockname()[1] == self._port:
                return group_of(connection.getpeername()[0])
        return None

    def _too_many(self, there: dict[str, int]) -> list[str]:
        """Of each client with more than its share the surplus: what moved least, then the oldest."""
        each = self._limits.each
        if len(there) > self._limits.most * 3 // 4:
            each = max(1, each // 8)
        found: dict[str, list[str]] = {}
        for inode in there:
            kept = self._known[inode]
            assert kept is not None
            found.setdefault(kept.client, []).append(inode)
        victims = []
        for inodes in found.values():
            if len(inodes) > each:
                victims += sorted(inodes, key=lambda inode: self._rank(there[inode], inode))[
                    : len(inodes) - each
                ]
        return victims

    def _rank(self, fd: int, inode: str) -> tuple[bool, int, int]:
        """The least go first: those that were there before and have moved least since, then the older."""
        kept = self._known[inode]
        assert kept is not None
        _, acked, received, _ = _info(fd)
        moved, kept.moved = acked + received - kept.moved, acked + received
        return (kept.since == self._looked, moved, int(inode))

    def _is_slow(self, fd: int, kept: _Connection | None, now: float) -> bool:
        """Has an answer waited all the time, and hardly moved?"""
        assert kept is not None
        unacked, acked, _, unsent = _info(fd)
        seconds, moved = now - kept.judged, acked - kept.acked
        kept.judged, kept.acked = now, acked
        waits = unacked + unsent > 0
        return waits and seconds >= _SLOW_AFTER / 2 and moved < seconds * self._limits.rate


def _sockets(names: list[str]) -> Iterator[tuple[str, int]]:
    """Inode and descriptor of each socket."""
    for name in names:
        with suppress(OSError):
            target = os.readlink(f"{_FOLDER}/{name}")
            if target.startswith("socket:["):
                yield target[8:-1], int(name)


def _own(fd: int) -> socket.socket:
    """A descriptor of our own of a socket: the server may close its own at any moment."""
    return socket.socket(fileno=os.dup(fd))


def _info(fd: int) -> tuple[int, int, int, int]:
    """Segments unacknowledged, bytes acknowledged, bytes received, bytes not sent; zeros if it is gone."""
    try:
        with _own(fd) as connection:
            data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except OSError:
        return 0, 0, 0, 0
    return _INFO.unpack(data) if len(data) == _INFO.size else (0, 0, 0, 0)


def _shut(fd: int, inode: str) -> bool:
    """Shut a connection down unless its number belongs to another by now."""
    with suppress(OSError), _own(fd) as connection:
        if os.readlink(f"{_FOLDER}/{connection.fileno()}") == f"socket:[{inode}]":
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False
