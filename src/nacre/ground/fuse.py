"""A file system that a process of ours serves: the device, the mount, and taking requests (`grammars.fuse`).

The mount lives while a descriptor of it is open or it is attached somewhere, the connection while anybody has
the device open: when the last one closes it, or dies, every access fails with ENOTCONN. A device can be
mounted only in the user namespace in which it was opened. Source: fuse(4), linux fs/fuse/inode.c.
"""

from __future__ import annotations

import os

from ..grammars import fuse
from . import linux, mounts

DEVICE = "/dev/fuse"
_ENODEV, _ENOENT, _EINTR, _EAGAIN = 19, 2, 4, 11
_NEEDED = (6, 15)
"""The kernel with RESEND (6.9), and one whose overlayfs takes a lower mount that is attached nowhere."""
_SIGKILL = 1 << 8


def obstacle() -> str:
    """Why this process cannot serve a file system, one phrase; "" where it can."""
    try:
        device, mount = mounted()
    except FileNotFoundError:
        return f"there is no {DEVICE}"
    except PermissionError as error:
        return f"{error.filename or 'a FUSE file system'} may not be used by this user"
    except OSError as error:
        return f"FUSE cannot be used: {error.strerror}"
    os.close(mount)
    os.close(device)
    return "" if _is_new_enough() else "the kernel is older than Linux 6.15"


def _is_new_enough() -> bool:
    major, minor, *_ = *os.uname().release.split("."), "0"
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= _NEEDED


def mounted() -> tuple[int, int]:
    """The device and a mount of it, attached nowhere; for `requests` and `answer`. Raises OSError.

    The kernel checks the modes of files itself. Everybody in this user namespace and those below may use it.
    """
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    options = (
        ("source", "nacre"), ("fd", str(device)), ("rootmode", "40755"), ("user_id", "0"), ("group_id", "0"),
        ("allow_other", ""), ("default_permissions", ""), ("max_read", str(fuse.MAX_READ)), ("ro", ""),
    )  # fmt: skip
    try:
        return device, mounts.filesystem("fuse", options, linux.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(device)
        raise


def request(device: int) -> bytes | None:
    """The next request, b"" where there is none now, None when the mount is gone. Raises OSError."""
    while True:
        try:
            return os.read(device, fuse.BUFFER)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == _ENODEV:
                return None
            if error.errno not in (_ENOENT, _EINTR):  # it was taken back while it was read
                raise


def answer(device: int, data: bytes, content: bytes = b"") -> None:
    """Give an answer; whoever has asked may have gone, which is no failure. Raises OSError."""
    try:
        os.writev(device, (data, content))
    except OSError as error:
        if error.errno not in (_ENOENT, _ENODEV):
            raise


def resend(device: int) -> None:
    """Have the kernel give all that was taken and not answered once more. Raises OSError."""
    os.write(device, fuse.RESEND)


def is_dying(thread: int) -> bool:
    """Whether a thread has been killed, and ends once it need not wait. Source: proc(5), status."""
    try:
        lines = linux.read_proc(f"/proc/{thread}/status").split(b"\n")
    except OSError:
        return True
    words = [line.split() for line in lines if line.startswith((b"SigPnd:", b"ShdPnd:"))]
    return any(int(value, 16) & _SIGKILL for _, value in words)
