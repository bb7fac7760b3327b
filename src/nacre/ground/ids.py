"""Giving files to users and groups that a user namespace may not have.

chown(2) then says EINVAL, which may mean anything. Source: user_namespaces(7).
"""

from __future__ import annotations

import errno
import os

from . import userns


class NoSuchId(OSError):
    """An id that is not mapped. `strerror` names it, `hint` says where it could be given."""

    hint = "add ids to /etc/subuid and /etc/subgid for your user, or for the container that nacre runs in"


def chown(
    target: int | str | bytes, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    """As os.chown. Raises NoSuchId, OSError."""
    try:
        os.chown(target, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    except OSError as error:
        raise explained(error, uid, gid) from None


def explained(error: OSError, uid: int, gid: int) -> OSError:
    """What came of giving a file to `uid` and `gid`: NoSuchId where it is for an id that is not mapped."""
    if error.errno != errno.EINVAL:
        return error
    mapping = userns.current()
    for kind, number, ranges in (("user", uid, mapping.uids), ("group", gid, mapping.gids)):
        if not any(first <= number < first + count for first, _, count in ranges):
            known = sum(count for _, _, count in ranges)
            return NoSuchId(
                errno.EINVAL, f"{kind} id {number} is not one of the {known} ids of this user namespace"
            )
    return error
