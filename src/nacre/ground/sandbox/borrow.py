"""The file system of a running container, as a mount of our own.

Nothing in the container is trusted: its mount namespace is entered for one system call, open_tree(2) of
its root, and left again. What comes back is a detached copy of that one mount, in which every path is then
resolved by openat2(2); neither its /proc nor its programs or libraries are ever used (docker
CVE-2018-15664, CVE-2019-14271, podman CVE-2019-10152).
"""

from __future__ import annotations

import os

from ...words.errors import Conflict, SandboxError
from .. import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATH = os.O_PATH | os.O_CLOEXEC


def borrow(pidfd: int, pid: int, path: str = "/", *, own_users: bool = False) -> int:
    """A descriptor of the root of the container of `pid`, without what is mounted in it; close it.

    Another `path` gives what is mounted there, or a part of the root.

    An ordinary user's process joins the user namespace of the container for good, and gets a copy of its
    own mount namespace in there; it must have one thread. `own_users`: the container has a user
    namespace, but its mounts are not of it. `pidfd` makes sure of the process. Raises Conflict when it has
    ended, SandboxError.
    """
    try:
        other = os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
        if other and not own_users:
            linux.setns(pidfd, linux.CLONE_NEWUSER)
            linux.unshare(linux.CLONE_NEWNS)
        return within(pidfd, lambda: _copied(path))
    except (ProcessLookupError, FileNotFoundError):
        raise Conflict("the container is not running") from None
    except OSError as error:
        raise SandboxError(f"cannot open the file system of the container: {error.strerror}") from None


def within(namespace: int, copy: Callable[[], int]) -> int:
    """What `copy()` gives in another mount namespace, which is left at once. Raises OSError.

    `namespace` is a descriptor of it or of a process in it. The root is that of the namespace, wherever the
    processes in it have moved theirs.
    """
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root, folder = os.open("/", _PATH), os.open(".", _PATH)
    try:
        linux.setns(namespace, linux.CLONE_NEWNS)
        try:
            return copy()
        finally:
            linux.setns(home, linux.CLONE_NEWNS)
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(folder)
    finally:
        for fd in (home, root, folder):
            os.close(fd)


def _copied(path: str) -> int:
    """A detached copy of what the present root has there; links lead nowhere outside."""
    if path == "/":
        return linux.open_tree(linux.AT_FDCWD, "/", linux.OPEN_TREE_CLONE)
    top = os.open("/", _PATH)
    try:
        fd = linux.openat2(top, path, _PATH, 0, linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(top)
    try:
        return linux.open_tree(fd, b"", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)
    finally:
        os.close(fd)
