"""A fork whose child is the first process of a new pid namespace.

unshare(CLONE_NEWPID) counts for later children only. As real root the parent makes the namespace,
forks, and goes back to its own; no process stands in the middle. In a user namespace the way back is
barred (the old pid namespace belongs to somebody else), so a helper makes the namespace, forks and
ends, and the child falls to us. Source: pid_namespaces(7).
"""

from __future__ import annotations

import os

from .. import fork, linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WHAT = "the process that sets up the container"


def first(work: fork.Work, keep: Iterable[int]) -> fork.Child:
    """A child in a new pid namespace, no signal let in. Raises OSError, SandboxError."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(own, linux.CLONE_NEWPID)
    except PermissionError:
        return fork.fork_through(_unshare, work, what=WHAT, keep=keep, signals=fork.BLOCKED)
    else:
        return _and_back(own, work, keep)
    finally:
        os.close(own)


def through(move: Callable[[], None], work: fork.Work, keep: Iterable[int], *, alone: bool) -> fork.Child:
    """A child where `move` leads, `alone` in a pid namespace. Raises OSError, SandboxError."""

    def both() -> None:
        move()
        if alone:
            _unshare()

    return fork.fork_through(both, work, what=WHAT, keep=keep, signals=fork.BLOCKED)


def _and_back(own: int, work: fork.Work, keep: Iterable[int]) -> fork.Child:
    """Back in any case: else this program could start nothing any more once the container has ended."""
    child: fork.Child | None = None
    try:
        with fork.Blocked():
            try:
                _unshare()
                child = fork.fork(work, what=WHAT, keep=keep, signals=fork.BLOCKED)
            finally:
                linux.setns(own, linux.CLONE_NEWPID)
    except BaseException:
        if child:
            child.__exit__(BaseException)
        raise
    return child


def _unshare() -> None:
    linux.unshare(linux.CLONE_NEWPID)
