"""What this machine permits a sandbox to use, found out by trying.

`mounts`   a mount namespace of one's own, and mounts in it: the whole sandbox
`chroot`   no mounts, but the root of a process can be changed
""         neither: nothing can be run in another root
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from .. import linux, mounts
from ..fork import fork

_known: dict[tuple[int, int], str] = {}


def way() -> str:
    """`mounts`, `chroot` or "", for this process as it is now."""
    key = os.getpid(), linux.capabilities()[0]
    if key not in _known:
        _known[key] = _try()
    return _known[key]


def _try() -> str:
    """In a child, which it does not matter to move. Raises SandboxError."""
    try:
        with fork(lambda report: report.tell(_answer()), what="the process that tries a mount") as child:
            answer: str = child.answer()[0]
            child.wait()
            return answer
    except OSError as error:
        raise SandboxError(f"cannot determine what is permitted here: {error.strerror}") from None


def _answer() -> str:
    try:
        mounts.leave()
        # with what is below: no user namespace may uncover what another mounted over (mount_namespaces(7))
        os.close(linux.open_tree(linux.AT_FDCWD, "/", linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE))
    except OSError:
        pass  # the next way is tried
    else:
        return "mounts"
    try:
        os.chroot("/")
    except OSError:
        return ""
    return "chroot"


def check() -> str:
    """`way()`. Raises SandboxError, which says what is missing, when nothing can be run."""
    found = way()
    if not found:
        who = "root without CAP_SYS_CHROOT" if os.geteuid() == 0 else f"user {os.geteuid()}"
        raise SandboxError(
            f"this system allows {who} neither mounts nor chroot, so no program of an image can run",
            hint="nacre needs a user namespace (sysctl user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns, a seccomp profile that allows unshare), "
            "or root with CAP_SYS_CHROOT",
        )
    return found


def describe() -> str:
    """What that means for programs, as the end of a sentence."""
    return {
        "mounts": "programs run in their own namespaces",
        "chroot": "programs run in a chroot",
        "": "programs cannot run",
    }[way()]


def warning() -> str:
    """What a program that is run here lacks; "" where it lacks nothing."""
    if way() != "chroot":
        return ""
    return (
        "WARNING: mounts are not permitted here: programs run in a chroot, without /proc, /sys and volumes, "
        "and are less confined; run only trusted images"
    )
