"""A fork whose child is the first process of a new pid namespace.

unshare(CLONE_NEWPID) counts for later children only. As real root the parent makes the namespace,
forks, and goes back to its own; no process stands in the middle. In a user namespace the way back is
barred (the old pid namespace belongs to somebody else), so a helper makes the namespace, forks and
ends, and the child falls to the nearest "subreaper", which we are for that moment.
Source: pid_namespaces(7), PR_SET_CHILD_SUBREAPER(2const).
"""

from __future__ import annotations

import os

from .. import linux


def fork() -> tuple[int, int]:
    """Fork. In the parent: (pid, -1). In the child: (0, descriptor).

    The child waits for the end of that descriptor (-1: not at all) before it asks to die with its
    parent, because only then the parent is its parent. Raises OSError.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(own, linux.CLONE_NEWPID)
    except PermissionError:
        return _by_helper()
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


def _by_helper() -> tuple[int, int]:
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    answer, write_answer = os.pipe2(os.O_CLOEXEC)
    alive, helper_alive = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        if _help(write_answer) == 0:
            os.close(helper_alive)
            return 0, alive
        os._exit(0)
    for fd in (write_answer, alive, helper_alive):
        os.close(fd)
    os.waitpid(helper, 0)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
    with open(answer, "rb") as stream:
        number = int(stream.read() or 0)
    if number <= 0:
        raise OSError(-number, os.strerror(-number))
    return number, -1


def _help(answer: int) -> int:
    """In the helper: make the namespace and fork; tells the child's pid, or a negative errno."""
    try:
        linux.unshare(linux.CLONE_NEWPID)
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid:
        os.write(answer, str(pid).encode())
    return pid
