"""Taking away what was made only to mount on, so that it does not become part of an image.

A mount point like /etc/resolv.conf that the image lacks is created in the upper folder of the
overlay, and with it copies of its parent folders. After the container has ended the ones that are
still empty and otherwise like those beneath are removed again.
"""

from __future__ import annotations

import os
import stat

from ...words.mount import Mount, Overlay
from .. import linux
from ..mounts import detached

_RULES = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS


def tidy(root: Mount, made: list[str]) -> None:
    """Remove the paths `made` from the writable layer of `root`; what cannot be removed stays."""
    if not made or not isinstance(root, Overlay) or not root.upper:
        return
    upper = os.open(root.upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in reversed(made):
            _remove(upper, root, path.strip("/"))
    finally:
        os.close(upper)


def _remove(upper: int, root: Overlay, path: str) -> None:
    """Remove one path if it is empty, then the parents that are as in the layers beneath."""
    above, name = os.path.split(path)
    try:
        if _remove_empty(upper, above, name):
            while above and _same_as_beneath(upper, root, above):
                above, name = os.path.split(above)
                if not _remove_empty(upper, above, name):
                    return
    except OSError:
        return


def _remove_empty(upper: int, above: str, name: str) -> bool:
    parent = linux.openat2(upper, above or ".", os.O_PATH | os.O_DIRECTORY, 0, _RULES)
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif stat.S_ISREG(info.st_mode) and info.st_size == 0 and info.st_nlink == 1:
            os.unlink(name, dir_fd=parent)
        else:
            return False
        return True
    finally:
        os.close(parent)


def _same_as_beneath(upper: int, root: Overlay, path: str) -> bool:
    """Whether the folder differs from the layers only by its time."""
    fd = linux.openat2(upper, path, os.O_RDONLY | os.O_DIRECTORY, 0, _RULES)
    try:
        mine = os.fstat(fd)
        if any(name.endswith("overlay.opaque") for name in os.listxattr(fd)):
            return False
    finally:
        os.close(fd)
    return (mine.st_mode, mine.st_uid, mine.st_gid) == _beneath(root, path)


def _beneath(root: Overlay, path: str) -> tuple[int, int, int]:
    for lower in root.lowers:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        base = os.open(lower, flags) if isinstance(lower, str) else detached(lower)
        try:
            fd = linux.openat2(base, path, os.O_PATH | os.O_NOFOLLOW, 0, _RULES)
        except OSError:
            continue
        finally:
            os.close(base)
        info = os.fstat(fd)
        os.close(fd)
        return info.st_mode, info.st_uid, info.st_gid
    return (0, 0, 0)
