"""Run a command as an ordinary pod would: no mounts, no namespaces, docker's capabilities or a user's none.

    python confined.py [--mount-only] [--no-chroot] COMMAND…
    python confined.py [--no=CALL…] [--capabilities] COMMAND…

The filter answers as docker's default profile does to whoever lacks CAP_SYS_ADMIN: unshare, setns, clone with
a namespace, and everything that mounts give EPERM, clone3 gives ENOSYS. `--mount-only` lets namespaces pass,
as AppArmor's profile of docker does. In the second form only what is named is refused, and root has docker's
capabilities or all. Source: moby profiles/seccomp, profiles/apparmor.
"""

from __future__ import annotations

import os
import sys
from struct import pack

from nacre.ground import linux
from nacre.ground.sandbox.capabilities import DEFAULT, bits
from nacre.ground.sandbox.syscalls import numbers

_MOUNTS = (
    "mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr",
)  # fmt: skip
NUMBERS = numbers(linux.MACHINE)
_CLONE = {"x86_64": 56}.get(linux.MACHINE, 220)
_CLONE3 = 435
_NAMESPACES = 0x7E020000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026


def program(names: tuple[str, ...]) -> bytes:
    """The filter: load the number, compare it with each, at last the flags of clone if unshare is refused."""
    code = [(_LOAD, 0, 0, 0)]
    for name in names:
        code += [(_EQUAL, 0, 1, NUMBERS[name]), (_RETURN, 0, 0, _EPERM)]
    if "unshare" in names:
        code += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
        flags = [(_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, _NAMESPACES), (_RETURN, 0, 0, _EPERM)]
        code += [(_EQUAL, 0, 3, _CLONE), *flags]
    code += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(pack("=HBBI", *instruction) for instruction in code)


def drop(kept: int) -> None:
    """No more capabilities than `kept`, for good."""
    for number in range(41):
        if not kept >> number & 1:
            linux.prctl(linux.PR_CAPBSET_DROP, number)
    own = linux.capabilities()[1] & kept
    linux.set_capabilities(own, own, 0)


def confine(options: set[str]) -> None:
    """Do it to this process."""
    refused = tuple(option.removeprefix("--no=") for option in options if option.startswith("--no="))
    if refused or "--capabilities" in options:
        if os.geteuid() or "--capabilities" in options:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if os.geteuid() == 0 and "--capabilities" in options:
            drop(bits(DEFAULT))
        linux.seccomp_filter(program(refused))
        return
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        drop(bits(DEFAULT) & ~(bits(["CAP_SYS_CHROOT"]) if "--no-chroot" in options else 0))
    linux.seccomp_filter(program(_MOUNTS if "--mount-only" in options else (*_MOUNTS, "unshare", "setns")))


def main(words: list[str]) -> None:
    """See above."""
    options = set()
    while words[0].startswith("--"):
        options.add(words.pop(0))
    confine(options)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
