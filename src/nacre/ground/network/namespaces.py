"""Network namespaces by descriptor. Of a thread only: others stay where they are. Source: setns(2)."""

from __future__ import annotations

import _socket
import os
from _thread import allocate_lock, get_native_id
from errno import EPERM
from time import sleep

from ...words.errors import SandboxError
from .. import linux, userns
from .serving import thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_OUTSIDE = {_socket.AF_INET: "192.0.2.1", _socket.AF_INET6: "2001:db8::1"}
"""Addresses of nobody, for documentation (RFC 5737, RFC 3849)."""
_OWN = "/proc/thread-self/ns/net"
_MOMENT = 0.00005
"""Seconds."""


def new() -> int:
    """A descriptor of a new, empty network namespace; it lives as long as anything holds it.

    Raises SandboxError.
    """
    try:
        if userns.is_first():
            with InsideNamespace():
                return _new()
        return apart(_new)
    except OSError as error:
        raise _refused(error) from None


def entered() -> int:
    """As `new`, and this thread is in it then."""
    try:
        return _new()
    except OSError as error:
        raise _refused(error) from None


def _new() -> int:
    linux.unshare(linux.CLONE_NEWNET)
    return current()


def _refused(error: OSError) -> SandboxError:
    if error.errno == EPERM:
        return SandboxError(
            "a network of its own needs a network namespace, which is not permitted here",
            hint="--network host",
        )
    return SandboxError(f"cannot make a network namespace: {error.strerror}")


def current() -> int:
    """A descriptor of the one that this thread is in."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def enter(fd: int) -> None:
    """This thread moves there, and what it makes belongs there. Raises OSError."""
    linux.setns(fd, linux.CLONE_NEWNET)


def inside(fd: int, work: Callable[[], T]) -> T:
    """What `work()` returns, done in that network namespace. Raises as `work`, OSError.

    Only root of the machine comes back into the one that it has left: others send a thread, which ends there.
    """
    if userns.is_first():
        with InsideNamespace(fd):
            return work()

    def there() -> T:
        enter(fd)
        return work()

    return apart(there)


def apart(work: Callable[[], T]) -> T:
    """What `work()` returns, done in a thread of its own, which has ended. Raises as `work`."""
    done, found, failed = allocate_lock(), [], []
    number = []

    def run() -> None:
        try:
            number.append(get_native_id())
            found.append(work())
        except BaseException as error:
            failed.append(error)
        finally:
            done.release()

    done.acquire()
    thread(run)
    done.acquire()
    while os.path.exists(f"/proc/self/task/{number[0]}"):  # a fork from now on meets one thread
        sleep(_MOMENT)  # it needs the interpreter's lock once more, which a loop would keep for 5 ms
    if failed:
        raise failed[0]
    return found[0]


class InsideNamespace:
    """`with InsideNamespace(fd):` what this thread makes belongs to that network namespace. For root.

    Without `fd` it stays where it is. Wherever it goes meanwhile, it comes back at the end.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd, self._before = fd, -1

    def __enter__(self) -> None:
        self._before = current()
        try:
            if self._fd is not None:
                enter(self._fd)
        except BaseException:
            os.close(self._before)
            raise

    def __exit__(self, *_exc: object) -> None:
        try:
            enter(self._before)
        finally:
            os.close(self._before)


def own_address(family: int) -> str:
    """With which address one would send to the outside from here, "" for none; nothing is sent."""
    socket = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect((_OUTSIDE[family], 9))
        address: str = socket.getsockname()[0]
    except OSError:
        return ""
    finally:
        socket.close()
    return address
