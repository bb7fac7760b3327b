"""A fork whose child is the first process of a new pid namespace.

unshare(CLONE_NEWPID) counts for later children only. As real root the parent makes the namespace,
forks, and goes back to its own; no process stands in the middle. In a user namespace the way back is
barred (the old pid namespace belongs to somebody else), so a helper makes the namespace, forks and
ends, and the child falls to the nearest "subreaper", which we are for that moment.
Source: pid_namespaces(7), PR_SET_CHILD_SUBREAPER(2const).
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from .. import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def fork() -> tuple[int, int]:
    """Fork. In the parent: (pid, -1). In the child: (0, descriptor).

    The child waits for the end of that descriptor (-1: not at all) before it asks to die with its
    parent, because only then the parent is its parent. Raises OSError.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(own, linux.CLONE_NEWPID)
    except PermissionError:
        return fork_after(lambda: linux.unshare(linux.CLONE_NEWPID))
    else:
        return _and_back(own), -1
    finally:
        os.close(own)


def _and_back(own: int) -> int:
    linux.unshare(linux.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        linux.setns(own, linux.CLONE_NEWPID)
    return pid


def fork_after(move: Callable[[], None]) -> tuple[int, int]:
    """As `fork`, into whatever namespaces `move` leads a process to; that is a helper's, not ours.

    The child is ours once the helper has been waited for, which the end of a pipe tells it; the end of
    a pipe of the helper's would come too early, while the helper can still be the parent that dies.
    """
    answer, write_answer = os.pipe2(os.O_CLOEXEC)
    adopted, go = os.pipe2(os.O_CLOEXEC)
    with _subreaper:
        helper = os.fork()
        if helper == 0:
            os.close(go)
            if _help(write_answer, move) == 0:
                return 0, adopted
            os._exit(0)
        os.waitpid(helper, 0)
    for fd in (write_answer, adopted, go):
        os.close(fd)
    with open(answer, "rb") as stream:
        number = int(stream.read() or 0)
    if number <= 0:
        raise OSError(-number, os.strerror(-number))
    return number, -1


class _Subreaper:
    """Orphans among our descendants fall to us; several threads may want that at the same time."""

    def __init__(self) -> None:
        self._lock, self._users = allocate_lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


_subreaper = _Subreaper()


def _help(answer: int, move: Callable[[], None]) -> int:
    """In the helper: move and fork; tells the child's pid, or a negative errno."""
    try:
        move()
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid:
        os.write(answer, str(pid).encode())
    return pid
