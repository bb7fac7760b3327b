"""Who a program runs as: `user[:group]` looked up in the image's own /etc/passwd and /etc/group.

Names and numbers mean what they mean to docker: a number need not be listed, supplementary groups
are those that list the user, and the primary group is among them (CVE-2022-36109). Numbers are
0…2³¹−1, since larger ones wrap to root in some tools (CVE-2024-40635).
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from ...words.lines import lines
from ...words.value import Value
from .. import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_FILE = 1 << 20
MAX_ID = (1 << 31) - 1


class User(Value):
    """Numeric ids, all supplementary groups, and the home folder. `strict`: the groups must be had."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"
    strict: bool = False


def resolve(root_fd: int, text: str, groups: Iterable[str] = ()) -> User:
    """Read the two files beneath `root_fd` and find `text`, in more `groups`. Raises SandboxError."""
    group = read(root_fd, "etc/group")
    user = find(text, read(root_fd, "etc/passwd"), group)
    more = [_group(name, group) for name in groups]
    return user.replace(groups=tuple(dict.fromkeys((*user.groups, *more))), strict=bool(more))


def read(root_fd: int, path: str) -> str:
    """A regular file beneath the root, at most 1 MiB of it; "" for anything else."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = linux.openat2(root_fd, path, flags, 0, linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, MAX_FILE).decode(errors="replace")
    finally:
        os.close(fd)


def find(text: str, passwd: str, group: str) -> User:
    """`text` is `user[:group]`, "" for root. Raises SandboxError with docker's sentence."""
    user, _, wanted = text.partition(":")
    name, uid, gid, home = _account(user, passwd)
    if wanted:
        gid = _group(wanted, group)
        return User(uid, gid, (gid,), home)
    others = [number for _, number, members in _groups(group) if name and name in members]
    return User(uid, gid, tuple(dict.fromkeys((gid, *others))), home)


def _account(user: str, passwd: str) -> tuple[str, int, int, str]:
    """Name, ids and home. A number is first looked for as a name, then as an id."""
    wanted = _number(user) if user else 0
    for line in lines(passwd):
        fields = line.strip().split(":")
        if len(fields) < 6 or _number(fields[2]) is None:
            continue
        uid = _number(fields[2]) or 0
        if (user and fields[0] == user) or (wanted is not None and uid == wanted):
            return fields[0], _checked(uid), _checked(_number(fields[3]) or 0), fields[5] or "/"
    if wanted is None:
        raise SandboxError(f"unable to find user {user}: no matching entries in passwd file")
    return "", _checked(wanted), 0, "/"


def _group(wanted: str, group: str) -> int:
    number = _number(wanted)
    for name, gid, _ in _groups(group):
        if name == wanted or gid == number:
            return _checked(gid)
    if number is None:
        raise SandboxError(f"unable to find group {wanted}: no matching entries in group file")
    return _checked(number)


def _groups(group: str) -> Iterator[tuple[str, int, list[str]]]:
    for line in lines(group):
        fields = line.strip().split(":")
        number = _number(fields[2]) if len(fields) >= 4 else None
        if number is not None:
            yield fields[0], number, [member.strip() for member in fields[3].split(",")]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _checked(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise SandboxError(f"uids and gids must be in range 0-{MAX_ID}")
    return number
