"""TCP of a container without a way out of its network namespace: its sockets are switched when they connect.

    program     connect(3, 192.0.2.7:443)          in a namespace that has only loopback; the call waits
    this        a socket of this machine connects, takes the place of descriptor 3, and the call returns
    program     read and write on 3                as fast as without a container: nothing stands between

A program that holds a socket of this machine must not get more from it than that connection. So an address is
read once, and no call on a socket of the internet is left to the kernel, which might find another socket and
another address by then. What belongs to the container's namespace is done on a duplicate, which belongs there
whoever makes the call; everything else on sockets of ours. A socket that was switched can neither bind nor
listen nor connect again. What the filter refuses (`notifier`) and what the kernel forbids to the program
(`landlock`) closes the rest.
"""

from __future__ import annotations

import _socket
import os
import select
from errno import EAGAIN, EALREADY, EINPROGRESS, EINVAL, EISCONN, ENOSYS, EPERM

from .. import linux
from . import namespaces, sockets
from .epoll import EpollTable
from .notifier import ACCEPT, ACCEPT4, BIND, CONNECT, EPOLL, Notifier
from .serving import thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..ownership.answers import Ownership
    from .acceptor import Acceptor
    from .notifier import Notification
    from .serving import Serving

_MOST = 512
"""Connects of one container that wait at one time."""
_REMEMBERED = 4096
_AGAIN = 512
"""ERESTARTSYS: the kernel makes EINTR of it, or has the call made again, as the handler says."""


class Routes:
    """Where addresses lead. Addresses are packed."""

    def is_own(self, address: bytes) -> bool:
        """Whether it is one of the container itself, loopback or not."""
        raise NotImplementedError

    def is_slow(self, address: bytes) -> bool:
        """Whether `open` has to ask somebody else first."""
        raise NotImplementedError

    def open(self, family: int, address: bytes) -> _socket.socket:
        """A socket that may connect there and does not wait. Raises OSError for what is not reached."""
        raise NotImplementedError


class _Call:
    """A call that waits for its answer, with a duplicate of the socket that it is about."""

    def __init__(self, listener: Notifier, note: Notification) -> None:
        self.listener, self.note = listener, note
        self.socket = sockets.adopted(note.duplicate(note.number))
        self.inode = os.fstat(self.socket.fileno()).st_ino

    def answer(self, value: int) -> bool:
        """And that was it; False when nobody waits for it any more."""
        self.socket.close()
        return self.listener.answer(self.note, value)


class _Connecting:
    """A connect that waits for `new`, which takes the place of the program's socket unless it `has` it."""

    def __init__(self, call: _Call, new: _socket.socket, *, has: bool) -> None:
        self.call, self.new, self.has = call, new, has

    def close(self) -> None:
        self.new.close()
        self.call.socket.close()


class Switch:
    """Answers the calls of all programs of a container, whose network namespace is `namespace`."""

    def __init__(
        self, serving: Serving, namespace: int, routes: Routes, acceptor: Acceptor | None = None
    ) -> None:  # fmt: skip
        """`acceptor` lets in who comes to published ports, if there are any."""
        self._acceptor = acceptor
        self._serving, self._namespace, self._routes = serving, namespace, routes
        self._own = sockets.identity(namespace)
        self._others = {_host()}
        self._notifiers: list[Notifier] = []
        self._waiting: dict[int, _Connecting] = {}
        self._unsaid: dict[bytes, None] = {}
        self._epolls, self._initial = EpollTable(), sockets.InitialOptions()
        self._ownership: Ownership | None = None
        self._busy = 0
        serving.now_and_then(self._look)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, and another program of this process can answer as well: see `remember`."""
        return not (self._waiting or self._busy or self._ownership)

    @property
    def listeners(self) -> list[int]:
        """The descriptors of those that it answers."""
        return [listener.fd for listener in self._notifiers]

    def describe(self) -> dict[str, Any]:
        """What `remember` takes, as plain values."""
        unsaid = [cookie.hex() for cookie in self._unsaid]
        return {"others": sorted(self._others), "unsaid": unsaid, "epolls": self._epolls.is_any}

    def remember(self, told: dict[str, Any] | None) -> None:
        """What a switch in another program of this process knew."""
        if told:
            self._others |= {(device, inode) for device, inode in told["others"]}
            self._unsaid |= dict.fromkeys(bytes.fromhex(cookie) for cookie in told["unsaid"])
            if told["epolls"]:
                self._epolls.made()

    def take(self, fd: int) -> None:
        """Answer a listener, which belongs to it then; in the thread, or before that begins."""
        listener = Notifier(fd)
        self._notifiers.append(listener)
        self._serving.watch(fd, lambda: self._called(listener))

    def _called(self, listener: Notifier) -> None:
        note = listener.receive()
        if note:
            self._settle(listener, note)
        elif listener.ended:
            self._serving.forget(listener.fd)
            self._notifiers.remove(listener)
            listener.close()

    def _settle(self, listener: Notifier, note: Notification) -> None:
        """Answer, unless that is for somebody else to do."""
        if not note.call:
            self._about_users(listener, note)
            return
        if note.call == EPOLL:
            self._epolls.made()
            listener.let(note)
            return
        try:
            call = _Call(listener, note)
        except OSError as error:
            listener.answer(note, _code(error))
            return
        if not listener.is_valid(note):  # its number may be that of another by now
            call.socket.close()
            return
        try:
            answer = self._outcome(call)
        except OSError as error:
            answer = _code(error)
        if answer is not None:
            call.answer(answer)

    def _about_users(self, listener: Notifier, note: Notification) -> None:
        """Where only one id exists, they come by the same listener."""
        if not self._ownership:
            from ..ownership.answers import Ownership

            self._ownership = Ownership()
        if not self._ownership.take(listener, note):
            listener.answer(note, -ENOSYS)

    def _outcome(self, call: _Call) -> int | None:
        """What the call returns; None when it is answered by somebody else. Raises OSError."""
        if call.socket.family not in (sockets.INET, sockets.INET6):
            return self._of_another_family(call)
        if call.note.call in (ACCEPT, ACCEPT4):
            return self._accept(call)
        foreign = self._is_foreign(call.socket)
        if call.note.call == CONNECT:
            return self._connect(call, call.note.address(), foreign=foreign)
        if foreign:
            return -EINVAL
        if call.note.call == BIND:
            linux.bind(call.socket.fileno(), call.note.address())
        else:
            linux.listen(call.socket.fileno(), call.note.backlog)
        return 0

    def _of_another_family(self, call: _Call) -> int | None:
        """Only the caller can find the path of a Unix socket; to listen takes none."""
        if call.note.call in (CONNECT, BIND, ACCEPT, ACCEPT4):
            call.socket.close()
            call.listener.let(call.note)
            return None
        _listen_as(*call.note.ids(), call.socket.fileno(), call.note.backlog)
        return 0

    def _accept(self, call: _Call) -> int | None:
        """The kernel may accept: what it finds belongs to the container, whatever socket it is by then."""
        try:
            if self._acceptor and sockets.is_tcp(call.socket):
                return self._acceptor.accept(call.listener, call.note, call.socket, call.inode)
            call.listener.let(call.note)
            return None
        finally:
            call.socket.close()

    def _is_foreign(self, socket: _socket.socket) -> bool:
        """Whether a socket belongs to this machine, or to another container."""
        try:
            return sockets.namespace(socket) in self._others
        except PermissionError:
            return True

    def _connect(self, call: _Call, address: bytes, *, foreign: bool) -> int | None:
        tcp, undone = sockets.is_tcp(call.socket), sockets.is_unspecified(address)
        if foreign and not tcp:
            return -EPERM
        if foreign and not undone:
            if sockets.state(call.socket) == sockets.SYN_SENT and sockets.is_blocking(call.socket):
                return self._wait(call, sockets.adopted(os.dup(call.socket.fileno())), has=True)
            if (said := self._again(call.socket)) is not None:
                return said
        found = sockets.destination(address) if tcp and not undone else None
        if found is None or self._routes.is_own(found):
            return self._back(call, address) if foreign else self._at_home(call, address)
        if self._routes.is_slow(found) or _is_timed(call.socket):
            return self._apart(lambda: self._by_waiting(call, address, found), call)
        return self._abroad(call, address, found)

    def _again(self, socket: _socket.socket) -> int | None:
        """What a further connect of a switched socket finds; None where it is a new connection."""
        state = sockets.state(socket)
        if state == sockets.SYN_SENT:
            return -EALREADY
        if state == sockets.CLOSED:
            return -sockets.error(socket) or None
        return 0 if self._unsaid.pop(sockets.cookie(socket), self) is None else -EISCONN

    def _back(self, call: _Call, address: bytes) -> int | None:
        """What was switched becomes a socket of the container's again."""
        family, before = call.socket.family, call.socket
        call.socket = namespaces.inside(self._namespace, lambda: sockets.new(family))
        sockets.copy_options(before, call.socket)
        call.socket.setblocking(sockets.is_blocking(before))
        self._give(call, call.socket)
        before.close()
        return 0 if sockets.is_unspecified(address) else self._at_home(call, address)

    def _at_home(self, call: _Call, address: bytes) -> int | None:
        """On the duplicate, which is the program's own socket."""
        fd = call.socket.fileno()
        if sockets.is_tcp(call.socket) and sockets.is_blocking(call.socket):
            return self._apart(lambda: linux.connect(fd, address), call)
        linux.connect(fd, address)
        return 0

    def _apart(self, work: Callable[[], object], call: _Call) -> int | None:
        """In a thread, because it may have to wait."""
        if self._busy >= _MOST:
            return -EAGAIN

        def run() -> None:
            answer = 0
            try:
                work()
            except OSError as error:
                answer = _code(error)
            finally:
                self._busy -= 1
                call.answer(answer)

        self._busy += 1
        try:
            thread(run)
        except RuntimeError:
            self._busy -= 1
            return -EAGAIN
        return None

    def _by_waiting(self, call: _Call, address: bytes, target: bytes) -> None:
        """In a thread, where the kernel waits as long as the socket says. Raises OSError."""
        new = self._routes.open(call.socket.family, target)
        try:
            self._mark(new)
            sockets.copy_options(call.socket, new, self._initial)
            new.setblocking(sockets.is_blocking(call.socket))
            self._handed(call, new, _attempt(new, address))
        finally:
            new.close()

    def _mark(self, new: _socket.socket) -> None:
        """It belongs to somebody else, also where we could do with it what we like."""
        try:
            self._others.add(sockets.namespace(new))
        except PermissionError:
            return

    def _abroad(self, call: _Call, address: bytes, target: bytes) -> int | None:
        new = self._routes.open(call.socket.family, target)
        try:
            sockets.copy_options(call.socket, new, self._initial)
            code = _attempt(new, address)
            if code != EINPROGRESS or not sockets.is_blocking(call.socket):
                new.setblocking(sockets.is_blocking(call.socket))
                self._handed(call, new, code)
                new.close()
                return 0
        except BaseException:
            new.close()
            raise
        return self._wait(call, new, has=False)

    def _wait(self, call: _Call, new: _socket.socket, *, has: bool) -> int | None:
        if len(self._waiting) >= _MOST:
            new.close()
            return -EAGAIN
        fd = new.fileno()
        self._waiting[fd] = _Connecting(call, new, has=has)
        self._serving.watch(fd, lambda: self._connected(fd), events=select.POLLOUT)
        return None

    def _handed(self, call: _Call, new: _socket.socket, code: int) -> None:
        """The program gets what is connected, or about to be, and learns of it. Raises OSError for `code`."""
        if code == EINPROGRESS:
            self._remember(new)
        if code in (0, EINPROGRESS):
            self._give(call, new)
        if code:
            raise OSError(code, os.strerror(code))

    def _give(self, call: _Call, new: _socket.socket) -> None:
        """A socket takes the place of the program's, as it waits for that. Raises OSError."""
        call.listener.replace(call.note, new.fileno(), inherited=call.note.is_inherited())
        if not sockets.is_blocking(new):
            self._epolls.repeat(call.note, call.inode, new)

    def _remember(self, socket: _socket.socket) -> None:
        """The next connect says that it is connected, which is no error the first time."""
        self._unsaid[sockets.cookie(socket)] = None
        if len(self._unsaid) > _REMEMBERED:
            del self._unsaid[next(iter(self._unsaid))]

    def _connected(self, fd: int) -> None:
        """It is, or it is not going to be."""
        waiting = self._waiting[fd]
        self._conclude(fd, -sockets.error(waiting.new))

    def _conclude(self, fd: int, answer: int) -> None:
        waiting = self._waiting.pop(fd)
        self._serving.forget(fd)
        call = waiting.call
        try:
            if answer in (0, -_AGAIN) and not waiting.has:
                waiting.new.setblocking(True)
                self._give(call, waiting.new)
        except OSError as error:
            answer = _code(error)
        told = call.answer(answer)
        if answer == -_AGAIN or not (told or answer):
            self._remember(waiting.new)
        waiting.close()

    def _look(self) -> bool:
        """Those who wait may have ended, or have got a signal: then the connection goes on without them."""
        for fd, waiting in list(self._waiting.items()):
            note = waiting.call.note
            if not waiting.call.listener.is_valid(note):
                self._serving.forget(fd)
                self._waiting.pop(fd).close()
            elif note.has_signal():
                self._conclude(fd, -_AGAIN)
        return bool(self._waiting)

    def close(self) -> None:
        """When `serving` has ended."""
        for listener in self._notifiers:
            listener.close()
        for waiting in self._waiting.values():
            waiting.close()
        self._waiting.clear()


def _host() -> tuple[int, int]:
    """The network namespace that we are in."""
    fd = namespaces.current()
    try:
        return sockets.identity(fd)
    finally:
        os.close(fd)


def _code(error: OSError) -> int:
    return -(error.errno or EINVAL)


def _attempt(socket: _socket.socket, address: bytes) -> int:
    """An errno, 0 for a connection."""
    try:
        linux.connect(socket.fileno(), address)
    except OSError as error:
        return error.errno or EINVAL
    return 0


def _is_timed(socket: _socket.socket) -> bool:
    return sockets.is_blocking(socket) and sockets.has_timeout(socket)


def _listen_as(uid: int, gid: int, fd: int, backlog: int) -> None:
    """Whoever connects to a Unix socket can ask who listens there. Raises OSError."""
    if (uid, gid) == (os.geteuid(), os.getegid()):
        return linux.listen(fd, backlog)

    def listen() -> None:
        linux.setids_raw(uid, gid)
        linux.listen(fd, backlog)

    return namespaces.apart(listen)
