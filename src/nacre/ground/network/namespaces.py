"""Network namespaces by descriptor. Of a thread only: others stay where they are. Source: setns(2)."""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from .. import linux

_OWN = "/proc/thread-self/ns/net"


def new() -> int:
    """A descriptor of a new, empty network namespace; it lives as long as anything holds it.

    Raises SandboxError.
    """
    try:
        return _new()
    except PermissionError:
        raise SandboxError(
            "a network of its own needs a network namespace, which is not permitted here",
            hint="--network host",
        ) from None
    except OSError as error:
        raise SandboxError(f"cannot make a network namespace: {error.strerror}") from None


def _new() -> int:
    before = current()
    try:
        linux.unshare(linux.CLONE_NEWNET)
        try:
            return current()
        finally:
            linux.setns(before, linux.CLONE_NEWNET)
    finally:
        os.close(before)


def current() -> int:
    """A descriptor of the one that this thread is in."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


class InsideNamespace:
    """`with InsideNamespace(fd):` this thread is in that network namespace: what it makes belongs there."""

    def __init__(self, fd: int) -> None:
        self._fd, self._before = fd, -1

    def __enter__(self) -> None:
        self._before = current()
        linux.setns(self._fd, linux.CLONE_NEWNET)

    def __exit__(self, *_exc: object) -> None:
        linux.setns(self._before, linux.CLONE_NEWNET)
        os.close(self._before)
