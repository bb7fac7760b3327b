"""TCP that comes to a published port of a container without a way in: its program gets the connection itself.

    outside     connects to the claimed port, and we accept: the visitor
    this        rings: connects a socket of the container's namespace to the port of the program
    program     accept(3); the call waits for us (`notifier`), and we accept on a duplicate of 3
                if that is the ring, the program gets the visitor in its place; else what was accepted

Between the visitor and the program nothing stands then, and the program sees who it is. Its own socket goes
on listening in its namespace, for neighbours and for itself. What the program gets is under the same rules as
what it gets by `connect` (`switching`).

A program that waits in `accept` waits in the kernel, where signals reach it, and would get the ring. So it is
stopped for a moment and calls once more. Where that cannot be done, where several wait, and where the program
listens to IPv4 alone and the visitor is not of that, the bytes are passed on (`proxy`).
Source: accept(2), ptrace(2), seccomp_unotify(2).
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import sys
from _thread import allocate_lock
from errno import EINPROGRESS, EPERM
from time import monotonic

from ...words.addresses import packed
from .. import linux
from . import namespaces, sockets
from .serving import thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .claims import Claim
    from .notifier import Notification, Notifier
    from .proxy import Proxy
    from .serving import Serving

    Place = tuple[str, int]
    Socket = _socket.socket

_MOST, _READY = 1024, 32
"""Visitors that nobody has accepted yet; sockets that are made at one time."""
_PATIENCE, _LONG = 0.5, 10.0
_CONNECTING = (0, EINPROGRESS)
_RING = b"\n"
"""A program that defers accepting (TCP_DEFER_ACCEPT) waits for a first byte."""
_NOW = (1).to_bytes(4, "little") + bytes(4)
"""To linger for no time: the end is told at once, and no port stays taken."""
_LOOPBACK6, _MAPPED = "::1", "::ffff:"


class _Visitor:
    """Who came from where, to which port of the container, and by which socket the program was told."""

    def __init__(self, listening: _socket.socket, port: int) -> None:
        """Raises OSError when nobody waits there."""
        self.socket, self.address = _without_waiting(listening)
        self.port, self.since = port, monotonic()
        self.bell: _socket.socket | None = None

    def close(self) -> None:
        for each in (self.socket, self.bell):
            if each:
                each.close()


class Acceptor:
    """Of one container, whose network namespace is `namespace`; `target()` is its address, as of `Proxy`."""

    def __init__(
        self, serving: Serving, namespace: int, target: Callable[[], str], proxy: Proxy
    ) -> None:  # fmt: skip
        self._serving, self._namespace, self._target, self._proxy = serving, namespace, target, proxy
        self._claims: dict[int, list[Claim]] = {}
        self._known: dict[int, float] = {}
        self._rung: dict[Place, _Visitor] = {}
        self._queue: list[_Visitor] = []
        self._blocked: dict[int, tuple[int, int]] = {}
        self._may_interrupt, self._interrupting = True, allocate_lock()
        self._made: dict[int, list[_socket.socket]] = {sockets.INET: [], sockets.INET6: []}
        serving.now_and_then(self._look)

    @property
    def is_idle(self) -> bool:
        """Whether everybody has been let in."""
        return not (self._rung or self._queue)

    def describe(self) -> list[list[int]]:
        """What `remember` takes, as plain values."""
        return [[tid, port, call] for tid, (port, call) in self._blocked.items()]

    def remember(self, told: list[list[int]]) -> None:
        """Who waits in `accept`, as another program of this process knew."""
        self._blocked = {tid: (port, call) for tid, port, call in told}

    def take(self, claim: Claim) -> None:
        """Let in who comes to a port of TCP, from now on."""
        self._claims.setdefault(claim.inside, []).append(claim)
        self._serving.watch(claim.socket.fileno(), lambda: self._arrived(claim))

    def _arrived(self, claim: Claim) -> None:
        visitor = _Visitor(claim.socket, claim.inside)
        if len(self._rung) + len(self._queue) >= _MOST:
            visitor.close()
            return
        waiting = self._waiting(claim.inside)
        if not waiting:
            self._ring(visitor)
        elif len(waiting) == 1 and self._may_interrupt:
            self._queue.append(visitor)
            self._interrupt(waiting[0])
        else:
            self._pass_on(visitor)

    def _waiting(self, port: int) -> list[int]:
        """The threads that wait in `accept`."""
        for tid, (_, call) in list(self._blocked.items()):
            if not _may_wait(tid, call):
                del self._blocked[tid]
        return [tid for tid, (at, _) in self._blocked.items() if at == port]

    def _pass_on(self, visitor: _Visitor) -> None:
        visitor.bell = None
        self._proxy.pass_on(visitor.socket, visitor.port)

    def _ring(self, visitor: _Visitor) -> None:
        """Who comes by IPv6 is let in where the program listens to that."""
        six = visitor.socket.family == sockets.INET6
        try:
            bell = visitor.bell = self._bell(visitor.socket.family)
            address = _LOOPBACK6 if six else self._target()
            code = bell.connect_ex((address, visitor.port))
            state = sockets.state(bell)
        except (OSError, ValueError, RuntimeError):
            visitor.close()
            return
        if state == sockets.CLOSED and six:
            bell.close()
            self._pass_on(visitor)
        elif state == sockets.CLOSED or code not in _CONNECTING:
            visitor.close()
        else:
            self._waits(visitor, bell, established=state != sockets.SYN_SENT)

    def _waits(self, visitor: _Visitor, bell: _socket.socket, *, established: bool) -> None:
        place = bell.getsockname()[:2]
        self._rung[place] = visitor
        if established:
            self._has_rung(place)
        else:
            self._serving.watch(bell.fileno(), lambda: self._has_rung(place), events=select.POLLOUT)

    def _has_rung(self, place: Place) -> None:
        """The bell is connected, or will never be; it ends when the program does not listen any more."""
        bell = self._rung[place].bell
        assert bell
        try:
            bell.send(_RING)
        except BlockingIOError:  # not yet
            return
        except OSError:
            self._forget(place).close()
            return
        self._serving.watch(bell.fileno(), lambda: self._forget(place).close(), events=0)

    def _forget(self, place: Place) -> _Visitor:
        visitor = self._rung.pop(place)
        if visitor.bell:
            self._serving.forget(visitor.bell.fileno())
        return visitor

    def _bell(self, family: int) -> _socket.socket:
        """One of the container's. Raises OSError."""
        made = self._made[family]
        if not made:

            def make() -> None:
                for _ in range(_READY):
                    socket = sockets.new(family)
                    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _NOW)
                    made.append(socket)

            namespaces.inside(self._namespace, make)
        return made.pop()

    def accept(self, listener: Notifier, note: Notification, listening: Socket, inode: int) -> int | None:
        """What a call of accept(2) returns; None when it has been answered. Raises OSError.

        What only listens belongs to the container: nothing of ours is let listen.
        """
        port = listening.getsockname()[1]
        self._blocked.pop(note.tid, None)
        if port not in self._claims or sockets.state(listening) != sockets.LISTEN:
            listener.let(note)
            return None
        if not _is_ready(listening) and sockets.is_blocking(listening):
            for visitor in [each for each in self._queue if each.port == port]:
                self._queue.remove(visitor)
                self._ring(visitor)
            if not _is_ready(listening):
                self._blocked[note.tid] = port, note.origin[1]
                listener.let(note)
                return None
        if inode not in self._known:
            self._inherit(listening, port, inode)
        return self._accepted(listener, note, listening, self._known[inode])

    def _inherit(self, listening: Socket, port: int, inode: int) -> None:
        """Who comes from now on has what the program has set for all, as the kernel has it."""
        if len(self._known) >= _MOST:
            self._known.clear()
        for claim in self._claims[port]:
            if claim.socket.family == listening.family:
                sockets.copy_options(listening, claim.socket)
        self._known[inode] = monotonic()

    def _accepted(
        self, listener: Notifier, note: Notification, listening: Socket, since: float
    ) -> int | None:  # fmt: skip
        found, address = _without_waiting(listening)
        place = address[0].removeprefix(_MAPPED), address[1]
        visitor = self._forget(place) if place in self._rung else None
        given = visitor.socket if visitor else found
        try:
            if visitor and (visitor.since < since or given.family != found.family):
                sockets.copy_options(found, given)
            flags = note.accept_flags
            given.setblocking(not flags & os.O_NONBLOCK)
            note.tell_address(_sockaddr(visitor.address if visitor else address, listening.family))
            listener.give(note, given.fileno(), inherited=not flags & os.O_CLOEXEC)
        finally:
            found.close()
            if visitor:
                visitor.close()
        return None

    def _interrupt(self, tid: int) -> None:
        """Have a thread that waits in `accept` call it once more. Only one of ours can stop it at a time."""

        def run() -> None:
            try:
                with self._interrupting:
                    if self._queue:
                        linux.restart_call(tid)
            except OSError as error:
                if error.errno == EPERM:  # it is traced already, say
                    self._may_interrupt = False

        try:
            thread(run)
        except RuntimeError:
            return

    def _look(self) -> bool:
        """Who was not asked for: the thread does something else by now, or cannot be had."""
        now = monotonic()
        for visitor in [each for each in self._queue if each.since < now - _PATIENCE]:
            waits = self._waiting(visitor.port)
            if waits and self._may_interrupt and visitor.since > now - _LONG:
                self._interrupt(waits[0])
                continue
            self._queue.remove(visitor)
            if waits:
                self._pass_on(visitor)
            else:
                self._ring(visitor)
        return bool(self._queue)

    def close(self) -> None:
        """When `serving` has ended."""
        for visitor in (*self._rung.values(), *self._queue):
            visitor.close()
        for each in (*self._made[sockets.INET], *self._made[sockets.INET6]):
            each.close()
        self._rung.clear()
        self._queue.clear()


def _without_waiting(listening: _socket.socket) -> tuple[_socket.socket, Any]:
    """The next connection, and where it comes from. Raises OSError when there is none.

    The socket may be one that a program waits with: it does not while somebody accepts for it.
    """
    waits = sockets.is_blocking(listening)
    if waits:
        fcntl.fcntl(listening, fcntl.F_SETFL, fcntl.fcntl(listening, fcntl.F_GETFL) | os.O_NONBLOCK)
    try:
        fd, address = listening._accept()  # type: ignore[attr-defined]
    finally:
        if waits:
            fcntl.fcntl(listening, fcntl.F_SETFL, fcntl.fcntl(listening, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    return _socket.socket(listening.family, _socket.SOCK_STREAM, 0, fd), address


def _is_ready(listening: _socket.socket) -> bool:
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


def _may_wait(tid: int, call: int) -> bool:
    """Whether a thread is in that system call, or on its way to it."""
    try:
        with open(f"/proc/{tid}/syscall", "rb") as file:
            found = file.read(64).split()[0]
    except (OSError, IndexError):
        return False
    return found == b"running" or found == b"%d" % call


def _sockaddr(address: Any, family: int) -> bytes:
    """As the kernel has it, of the family of the socket that listened."""
    host: str = address[0]
    port, flow, scope = (int(number) for number in (*address[1:], 0, 0)[:3])
    data = packed(host.partition("%")[0])
    head = family.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big")
    if family == sockets.INET:
        return head + data + bytes(8)
    data = data if len(data) == 16 else bytes(10) + b"\xff\xff" + data
    return head + flow.to_bytes(4, "big") + data + scope.to_bytes(4, sys.byteorder)
