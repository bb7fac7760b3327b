"""What a folder of the image has, copied into the tmpfs that covers it: the mount option tmpcopyup."""

from __future__ import annotations

import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DEEPEST = 64
_PIECE = 1 << 20


def copy_up(source: int, target: int, depth: int = 0) -> None:
    """Copy all in one open folder into another. No link is followed. Raises OSError."""
    here = os.open(".", _FOLDER, dir_fd=source)
    there = os.open(".", _FOLDER, dir_fd=target)
    try:
        for name in os.listdir(here):
            _copy(here, there, name, depth)
        _describe(os.fstat(here), there)
    finally:
        os.close(here)
        os.close(there)


def _copy(here: int, there: int, name: str, depth: int) -> None:
    info = os.stat(name, dir_fd=here, follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=there, follow_symlinks=False)
    elif stat.S_ISDIR(info.st_mode):
        _copy_folder(here, there, name, depth)
    elif stat.S_ISREG(info.st_mode):
        _copy_file(here, there, name)
    else:
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=there)


def _copy_folder(here: int, there: int, name: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise OSError(40, "folders are nested too deeply")
    os.mkdir(name, 0o700, dir_fd=there)
    fds = [os.open(name, _FOLDER, dir_fd=folder) for folder in (here, there)]
    try:
        copy_up(fds[0], fds[1], depth + 1)
    finally:
        for fd in fds:
            os.close(fd)


def _copy_file(here: int, there: int, name: str) -> None:
    source = os.open(name, _FILE, dir_fd=here)
    target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=there)
    try:
        while os.sendfile(target, source, None, _PIECE):
            pass
        _describe(os.fstat(source), target)
    finally:
        os.close(source)
        os.close(target)


def _describe(info: os.stat_result, fd: int) -> None:
    os.fchown(fd, info.st_uid, info.st_gid)
    os.fchmod(fd, stat.S_IMODE(info.st_mode))
    os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
