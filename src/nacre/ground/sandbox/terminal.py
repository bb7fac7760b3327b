"""The pseudo terminal of a container and the terminal of the user. Source: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os
import termios

from .. import linux, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
_EINVAL = 22


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
    flags = os.O_RDWR | os.O_NOCTTY
    ours = linux.openat2(pts, "ptmx", flags | os.O_NONBLOCK)
    fcntl.ioctl(ours, _TIOCSPTLCK, b"\0\0\0\0")
    return ours, fcntl.ioctl(ours, _TIOCGPTPEER, flags | os.O_CLOEXEC)


def copy_size(source: int, target: int) -> None:
    """Give `target` the size of the terminal `source`, if that is one."""
    try:
        fcntl.ioctl(target, _TIOCSWINSZ, fcntl.ioctl(source, _TIOCGWINSZ, bytes(8)))
    except OSError:
        return


def make_raw(fd: int) -> Any:
    """Pass every byte through as it is (cfmakeraw(3)); the state to give to `restore`."""
    before = termios.tcgetattr(fd)
    mode = [*before[:6], list(before[6])]
    mode[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(fd, termios.TCSANOW, mode)
    return before


def restore(fd: int, before: Any) -> None:
    """The terminal as it was; a terminal that is gone does not matter."""
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
    except (OSError, termios.error):
        return
