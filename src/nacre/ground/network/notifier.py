"""System calls about sockets that another process makes, answered by this one.

A filter of a program's system calls hands `connect`, `bind` and `listen` to a listener, a descriptor that
the process which installs the filter gives away before it becomes the program; it tells of `epoll_create`
too, and of `accept` where ports are published. Calls that would connect without that are refused:
MSG_FASTOPEN, io_uring, and `socketcall` of 32 bits, whose arguments no filter sees.
Source: seccomp(2), seccomp_unotify(2); linux/bpf_common.h, include/uapi/linux/seccomp.h.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
from errno import EINVAL, ENOSYS, EOPNOTSUPP
from struct import Struct

from ...words.errors import Unsupported
from .. import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Code = list[tuple[int, int, int, int]]

CONNECT, BIND, LISTEN, EPOLL = "connect", "bind", "listen", "epoll_create1"
ACCEPT, ACCEPT4 = "accept", "accept4"

_LOAD, _JUMP, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_ALLOW, _ERROR, _NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
_FASTOPEN, _X32 = 0x20000000, 0x40000000
_IO_URING = 425, 428
"""The numbers of its three calls, and the one behind them."""
_SOCKETCALLS, _ACCEPTING = (2, 3, 4, 11, 16, 20), (5, 18)
"""bind, connect, listen, sendto, sendmsg, sendmmsg; accept, accept4. Source: linux/net.h."""
_FLAGS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
"""Which argument has the flags."""
_PACK = Struct("=HBBI").pack

_GENERIC = {"connect": 203, "bind": 200, "listen": 201, "sendto": 206, "sendmsg": 211, "sendmmsg": 269,
            EPOLL: 20, ACCEPT: 202, ACCEPT4: 242}  # fmt: skip
_I386 = {"connect": 362, "bind": 361, "listen": 363, "sendto": 369, "sendmsg": 370, "sendmmsg": 345,
         EPOLL: 329, "epoll_create": 254, ACCEPT4: 364}  # fmt: skip
_ARM = {"connect": 283, "bind": 282, "listen": 284, "sendto": 290, "sendmsg": 296, "sendmmsg": 374,
        EPOLL: 357, "epoll_create": 250, ACCEPT: 285, ACCEPT4: 366}  # fmt: skip
_X86_64 = {"connect": 42, "bind": 49, "listen": 50, "sendto": 44, "sendmsg": 46, "sendmmsg": 307,
           EPOLL: 291, "epoll_create": 213, ACCEPT: 43, ACCEPT4: 288}  # fmt: skip
_AUDIT_X86_64, _AUDIT_I386, _AUDIT_AARCH64, _AUDIT_ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
_NUMBERS = {
    "x86_64": {_AUDIT_X86_64: _X86_64, _AUDIT_I386: _I386},
    "aarch64": {_AUDIT_AARCH64: _GENERIC, _AUDIT_ARM: _ARM},
    "riscv64": {0xC00000F3: _GENERIC},
    "loongarch64": {0xC0000102: _GENERIC},
}
_ALWAYS = {CONNECT: CONNECT, BIND: BIND, LISTEN: LISTEN, EPOLL: EPOLL, "epoll_create": EPOLL}
_WATCHED = {**_ALWAYS, ACCEPT: ACCEPT, ACCEPT4: ACCEPT4}
_NAMES = {
    (arch, number): _WATCHED[name]
    for halves in _NUMBERS.values()
    for arch, numbers in halves.items()
    for name, number in numbers.items()
    if name in _WATCHED
}

_NEW_LISTENER, _WAIT_KILLABLE = 8, 0x20
_RECEIVE, _SEND, _IS_VALID, _ADD_FD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_NOTIFICATION, _ANSWER, _ADDED, _ID = Struct("=QIIiIQ6Q"), Struct("=QqiI"), Struct("=QIIII"), Struct("=Q")
_CONTINUE, _SET_FD, _AND_SEND = 1, 1, 2
_PIDFD_THREAD = os.O_EXCL
_LONGEST = 128


def program(machine: str, more: Mapping[int, Code] | None = None, *, accepts: bool = False) -> bytes:
    """The filter, ready for seccomp(2); what comes before it may be `more`, by architecture.

    `accepts`: it hands over `accept` as well, which costs servers something.

    Raises Unsupported for a machine whose calls are not known.
    """
    if machine not in _NUMBERS:
        raise Unsupported(f"a network of its own is not supported for ordinary users on {machine}")
    halves = {
        arch: [*(more or {}).get(arch, ()), *_body(arch, numbers, accepts)]
        for arch, numbers in _NUMBERS[machine].items()
    }
    return _assembled(halves, _ERROR | ENOSYS)


def program_of(halves: Mapping[int, Code]) -> bytes:
    """A filter that does this, by architecture, and nothing else."""
    allowed: Code = [(_RETURN, 0, 0, _ALLOW)]
    return _assembled({arch: [*code, *allowed] for arch, code in halves.items()}, _ALLOW)


def _assembled(halves: dict[int, Code], otherwise: int) -> bytes:
    """One part for each architecture, and what is to be done with calls of any other."""
    code: Code = [(_LOAD, 0, 0, _ARCH)]
    for arch, half in halves.items():
        body = [(_LOAD, 0, 0, _NR), *half]
        code += [(_EQUAL, 1, 0, arch), (_JUMP, 0, 0, len(body)), *body]
    code.append((_RETURN, 0, 0, otherwise))
    return b"".join([_PACK(*instruction) for instruction in code])


def handed(numbers: Iterable[int]) -> Code:
    """The part of a filter that hands these calls over; what is loaded before and after is the number."""
    return [step for number in numbers for step in _if(number, [(_RETURN, 0, 0, _NOTIFY)])]


def _body(arch: int, numbers: dict[str, int], accepts: bool) -> Code:
    code: Code = []
    if arch == _AUDIT_X86_64:
        code += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERROR | ENOSYS)]
    watched = _WATCHED if accepts else _ALWAYS
    code += handed(numbers[name] for name in watched.keys() & numbers)
    for name, place in _FLAGS.items():
        test = [(_LOAD, 0, 0, _ARG0 + 8 * place), (_HAS, 0, 1, _FASTOPEN)]
        code += _if(numbers[name], [*test, (_RETURN, 0, 0, _ERROR | EOPNOTSUPP), (_RETURN, 0, 0, _ALLOW)])
    if arch == _AUDIT_I386:
        refused = (*_SOCKETCALLS, *(_ACCEPTING if accepts else ()))
        tests = [step for call in refused for step in _if(call, [(_RETURN, 0, 0, _ERROR | ENOSYS)])]
        code += _if(102, [(_LOAD, 0, 0, _ARG0), *tests, (_RETURN, 0, 0, _ALLOW)])
    first, behind = _IO_URING
    code += [(_AT_LEAST, 2, 0, behind), (_AT_LEAST, 0, 1, first), (_RETURN, 0, 0, _ERROR | ENOSYS)]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def ignored(number: int, limit: int, place: int, pointer: int = -1) -> Code:
    """The part of a filter that lets a call do nothing and succeed if its argument `place` is `limit`.

    With a `pointer`, only if that argument is not NULL.
    """
    code: Code = [(_LOAD, 0, 0, _ARG0 + 8 * place), (_EQUAL, 1, 0, limit), (_RETURN, 0, 0, _ALLOW)]
    for half in (0, 4) if pointer >= 0 else ():
        code += [(_LOAD, 0, 0, _ARG0 + 8 * pointer + half), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _ERROR)]
    return _if(number, [*code, (_RETURN, 0, 0, _ALLOW if pointer >= 0 else _ERROR)])


def _if(number: int, body: Code) -> Code:
    return [(_EQUAL, 0, len(body), number), *body]


def install(filter: bytes) -> int:
    """Have this process, and all that it starts, filtered; the listener.

    A signal does not interrupt a call that was received, if the kernel can do that (Linux 5.19): who calls
    could not tell that from a connect that goes on. Needs CAP_SYS_ADMIN in the user namespace, or no new
    privileges. Raises OSError: EBUSY where there is a listener already.
    """
    try:
        return linux.seccomp_filter(filter, _NEW_LISTENER | _WAIT_KILLABLE)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        return linux.seccomp_filter(filter, _NEW_LISTENER)


class Notification:
    """One call that waits: who makes it (`tid`, a thread), which one, with what.

    `call` is its name if it is about sockets; `origin` architecture and number of any.
    """

    def __init__(self, data: bytes) -> None:
        self.id, self.tid, _, number, arch, _, *self.arguments = _NOTIFICATION.unpack(data)
        self.origin = arch, number
        self.call = _NAMES.get(self.origin, "")

    @property
    def number(self) -> int:
        """The descriptor that the call is about, as the caller numbers it."""
        return int(self.arguments[0] & 0xFFFFFFFF)

    @property
    def backlog(self) -> int:
        """How many may wait to be accepted, as `listen` has it."""
        return int(self.arguments[1] & 0x7FFFFFFF)

    def duplicate(self, number: int) -> int:
        """A descriptor of the caller's, for us. Raises OSError."""
        try:
            process = os.pidfd_open(self.tid, _PIDFD_THREAD)
        except OSError as error:  # before Linux 6.9
            if error.errno != EINVAL:
                raise
            process = os.pidfd_open(int(_status(self.tid, b"Tgid:")[0][1]))
        try:
            return linux.pidfd_getfd(process, number)
        finally:
            os.close(process)

    def address(self) -> bytes:
        """The socket address that the call names, read once. Raises OSError."""
        length = self.arguments[2] & 0xFFFFFFFF
        if not 2 <= length <= _LONGEST:
            raise OSError(EINVAL, os.strerror(EINVAL))
        return linux.process_vm_readv(self.tid, self.arguments[1], length)

    @property
    def accept_flags(self) -> int:
        """SOCK_NONBLOCK and SOCK_CLOEXEC, as `accept4` has them."""
        return int(self.arguments[3] & 0xFFFFFFFF) if self.call == ACCEPT4 else 0

    def tell_address(self, address: bytes) -> None:
        """Where `accept` has room for it, or for its beginning. Raises OSError."""
        place, length = self.arguments[1:3]
        if not place:
            return
        room = int.from_bytes(linux.process_vm_readv(self.tid, length, 4), sys.byteorder, signed=True)
        if room < 0:
            raise OSError(EINVAL, os.strerror(EINVAL))
        if room:
            linux.process_vm_writev(self.tid, place, address[:room])
        linux.process_vm_writev(self.tid, length, len(address).to_bytes(4, sys.byteorder))

    def is_inherited(self) -> bool:
        """Whether the descriptor stays open in what the caller executes."""
        fd = os.open(f"/proc/{self.tid}/fdinfo/{self.number}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            words = os.read(fd, 4096).split()
        finally:
            os.close(fd)
        return not int(words[words.index(b"flags:") + 1], 8) & os.O_CLOEXEC

    def ids(self) -> tuple[int, int]:
        """The effective user and group of the caller, as they are here. Raises OSError."""
        user, group = _status(self.tid, b"Uid:", b"Gid:")
        return int(user[2]), int(group[2])

    def has_signal(self) -> bool:
        """Whether a signal waits for the caller that it does not block."""
        try:
            lines = _status(self.tid, b"SigPnd:", b"ShdPnd:", b"SigBlk:")
            own, shared, blocked = (int(mask, 16) for _, mask in lines)
        except (OSError, ValueError):
            return False
        return bool((own | shared) & ~blocked)


def _status(tid: int, *names: bytes) -> list[list[bytes]]:
    """The words of the lines that begin so, in the order of the file."""
    with open(f"/proc/{tid}/status", "rb") as file:
        return [line.split() for line in file if line.startswith(names)]


class Notifier:
    """A listener, which is closed with it. Everybody who was filtered may have ended: `ended`."""

    def __init__(self, fd: int) -> None:
        self.fd, self.ended = fd, False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def receive(self) -> Notification | None:
        """The next call; None when there is none, or when its caller was interrupted."""
        events = dict(self._poll.poll(0)).get(self.fd, 0)
        if not events & select.POLLIN:  # the kernel would wait, with nobody left to wait for
            self.ended = bool(events)
            return None
        data = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self.fd, _RECEIVE, data)
        except OSError:
            return None
        return Notification(bytes(data))

    def is_valid(self, note: Notification) -> bool:
        """Whether the caller still waits, so that what was found out by its number is about it."""
        try:
            fcntl.ioctl(self.fd, _IS_VALID, _ID.pack(note.id))
        except OSError:
            return False
        return True

    def answer(self, note: Notification, value: int) -> bool:
        """The call returns that, or a negative errno. False when the caller does not wait any more."""
        return self._send(_ANSWER.pack(note.id, max(value, 0), min(value, 0), 0))

    def let(self, note: Notification) -> bool:
        """The kernel does the call, with whatever is in the caller's memory by then."""
        return self._send(_ANSWER.pack(note.id, 0, 0, _CONTINUE))

    def _send(self, answer: bytes) -> bool:
        try:
            fcntl.ioctl(self.fd, _SEND, bytearray(answer))
        except OSError:
            return False
        return True

    def replace(self, note: Notification, fd: int, *, inherited: bool) -> None:
        """A duplicate of `fd` takes the place of the descriptor that the call is about. Raises OSError."""
        flags = 0 if inherited else os.O_CLOEXEC
        fcntl.ioctl(self.fd, _ADD_FD, bytearray(_ADDED.pack(note.id, _SET_FD, fd, note.number, flags)))

    def give(self, note: Notification, fd: int, *, inherited: bool) -> None:
        """The call returns a new descriptor of the caller's, a duplicate of `fd`. Raises OSError."""
        flags = 0 if inherited else os.O_CLOEXEC
        fcntl.ioctl(self.fd, _ADD_FD, bytearray(_ADDED.pack(note.id, _AND_SEND, fd, 0, flags)))

    def close(self) -> None:
        """Calls that wait, and all later ones, fail with ENOSYS. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
