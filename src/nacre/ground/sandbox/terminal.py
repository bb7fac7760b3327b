"""The pseudo terminal of a container and the terminal of the user. Source: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import termios

from .. import linux, mounts
from ..fork import BLOCKED, fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..fork import ChildReport

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
_EINVAL = 22
_PTMX = os.makedev(5, 2)


def devpts(options: str) -> int:
    """A detached file system of pseudo terminals of its own. Raises OSError.

    Made before the fork, so that the terminal's other end never leaves this process and no path in
    the container is ever opened for it.
    """
    pairs = [option.partition("=")[::2] for option in options.split(",") if option]
    attributes = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC
    try:
        return mounts.filesystem("devpts", tuple((k, v) for k, v in pairs), attributes)
    except OSError as error:
        if error.errno != _EINVAL:
            raise
        return mounts.filesystem("devpts", tuple((k, v) for k, v in pairs if k != "gid"), attributes)


def open_pair(pts: int) -> tuple[int, int]:
    """A new terminal in that file system: our end (not blocking), the program's end."""
    ours = linux.openat2(pts, "ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    return ours, _peer(ours)


def open_pair_of(process: int) -> tuple[int, int]:
    """As `open_pair`, among the terminals that the container of a process has; else one of this machine.

    Only such a terminal has a name in the container: ttyname(3). No link is followed, and nothing there
    is opened before it is known to be the multiplexer, which leads to terminals alone.
    """
    try:
        return _open_pair_in(f"/proc/{process}/root")
    except OSError:
        ours, theirs = os.openpty()
        os.set_blocking(ours, False)
        return ours, theirs


def _open_pair_in(root: str) -> tuple[int, int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = linux.openat2(fd, "dev/pts/ptmx", os.O_PATH, resolve=linux.RESOLVE_NO_SYMLINKS)
    finally:
        os.close(fd)
    try:
        if os.fstat(found).st_rdev != _PTMX or not stat.S_ISCHR(os.fstat(found).st_mode):
            raise OSError(errno.ENODEV, "there is no /dev/pts/ptmx")
        ours = os.open(f"/proc/self/fd/{found}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)
    return ours, _peer(ours)


def _peer(ours: int) -> int:
    """The program's end. `ours` is closed when there is none. Raises OSError."""
    try:
        fcntl.ioctl(ours, _TIOCSPTLCK, b"\0\0\0\0")
        return fcntl.ioctl(ours, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(ours)
        raise


def copy_size(source: int, target: int) -> None:
    """Give `target` the size of the terminal `source`, if that is one."""
    try:
        fcntl.ioctl(target, _TIOCSWINSZ, fcntl.ioctl(source, _TIOCGWINSZ, bytes(8)))
    except OSError:
        return


def set_size(fd: int, rows: int, columns: int) -> None:
    """Give a terminal a size. Raises OSError."""
    fcntl.ioctl(fd, _TIOCSWINSZ, b"".join(n.to_bytes(2, sys.byteorder) for n in (rows, columns, 0, 0)))


def size(fd: int) -> tuple[int, int] | None:
    """Rows and columns of a terminal; None for anything else."""
    try:
        found = fcntl.ioctl(fd, _TIOCGWINSZ, bytes(8))
    except OSError:
        return None
    return int.from_bytes(found[:2], sys.byteorder), int.from_bytes(found[2:4], sys.byteorder)


class Raw:
    """A terminal that passes every byte through as it is (cfmakeraw(3)), until `restore`.

    A child restores it when this process is killed. It has a session of its own, so that SIGKILL for the
    whole process group, a shell's `kill -9 %1`, does not end it too. A shell that saw this process end may
    have set the terminal already: then the child leaves it alone. Raises OSError, termios.error.
    """

    def __init__(self, fd: int) -> None:
        self._fd, self._before = fd, termios.tcgetattr(fd)
        raw = _raw(self._before)
        watched, self._alive = os.pipe2(os.O_CLOEXEC)
        try:
            self._guard = fork(
                lambda report: _guard(report, watched, fd, (self._before, raw)),
                what="the guard of the terminal", keep=(watched, fd), signals=BLOCKED,
            )  # fmt: skip
            self._guard.answer()  # it has left the process group
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            os.close(watched)
        termios.tcsetattr(fd, termios.TCSANOW, raw)

    def restore(self) -> None:
        """The terminal as it was; one that is gone does not matter. Idempotent."""
        alive, self._alive = self._alive, -1
        if alive >= 0:
            _set(self._fd, termios.TCSADRAIN, self._before)
            os.close(alive)
            self._guard.wait()
            self._guard.close()


def _guard(report: ChildReport, watched: int, fd: int, modes: tuple[list[Any], list[Any]]) -> None:
    """In the child: when the parent has ended, restore the terminal if it is raw still."""
    before, raw = modes
    os.setsid()
    report.tell()
    os.read(watched, 1)
    if termios.tcgetattr(fd)[:4] == raw[:4]:
        _set(fd, termios.TCSANOW, before)


def _raw(mode: list[Any]) -> list[Any]:
    raw = [*mode[:6], list(mode[6])]
    raw[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    raw[1] &= ~termios.OPOST
    raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    return raw


def _set(fd: int, when: int, mode: list[Any]) -> None:
    try:
        termios.tcsetattr(fd, when, mode)
    except (OSError, termios.error):
        return
