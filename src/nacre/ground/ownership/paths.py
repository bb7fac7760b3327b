"""The file that another process names, found as it would find it, and never outside of its root.

Whatever is not found is left to the kernel, which then says what is wrong.
"""

from __future__ import annotations

import os
from errno import EFAULT, ENOENT, EXDEV

from .. import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network.notifier import Notification

AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = 0xFFFFFF9C, 0x1000, 0x100
_LONGEST = 4096
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_BENEATH = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_MAGICLINKS
_STREAMS = {b"/dev/stdin": 0, b"/dev/stdout": 1, b"/dev/stderr": 2}
_DESCRIPTORS = (b"/proc/self/fd/", b"/dev/fd/")


class ProcessMemory:
    """The memory of the process that makes a call; `with` it."""

    def __init__(self, tid: int) -> None:
        """Once the call is known to wait still, it is that of nobody else. Raises OSError."""
        self._fd = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> ProcessMemory:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)

    def read(self, address: int, length: int) -> bytes:
        """Exactly so many bytes. Raises OSError, OverflowError."""
        data = os.pread(self._fd, length, address)
        if len(data) != length:
            raise OSError(EFAULT, os.strerror(EFAULT))
        return data

    def name(self, address: int) -> bytes:
        """A path up to its NUL. Raises OSError, OverflowError."""
        data = os.pread(self._fd, _LONGEST, address)
        end = data.find(b"\0")
        if end < 0:
            raise OSError(EFAULT, os.strerror(EFAULT))
        return data[:end]

    def write(self, address: int, data: bytes) -> None:
        """All of the bytes. Raises OSError, OverflowError."""
        if os.pwrite(self._fd, data, address) != len(data):
            raise OSError(EFAULT, os.strerror(EFAULT))


class ProcessRoot:
    """The root and the folders of the thread that makes a call."""

    def __init__(self, note: Notification) -> None:
        self._note = note
        self.root = -1

    def __enter__(self) -> ProcessRoot:
        """Open the root. Raises OSError."""
        self.root = os.open(f"/proc/{self._note.tid}/root", _FOLDER)
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self.root)

    def open(self, folder: int, path: bytes, flags: int) -> int:
        """An O_PATH descriptor of what fchownat(2) would change. Raises OSError."""
        if not path:
            if flags & AT_EMPTY_PATH:
                return self._folder(folder)
            raise OSError(ENOENT, os.strerror(ENOENT))
        how = os.O_PATH | (os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0)
        if path.startswith(b"/"):
            number = _descriptor(path) if not flags & AT_SYMLINK_NOFOLLOW else -1
            if number >= 0:
                return self._note.duplicate(number)
            return linux.openat2(self.root, path, how, 0, _IN_ROOT)
        base = self._folder(folder)
        try:
            return self._from(base, path, how)
        finally:
            os.close(base)

    def _folder(self, number: int) -> int:
        if number == AT_FDCWD:
            return os.open(f"/proc/{self._note.tid}/cwd", _FOLDER)
        return self._note.duplicate(number)

    def _from(self, base: int, path: bytes, how: int) -> int:
        """A path that leads out of `base`, by `..` or by an absolute link, is followed from the root."""
        try:
            return linux.openat2(base, path, how, 0, _BENEATH)
        except OSError as error:
            if error.errno != EXDEV:
                raise
        return linux.openat2(self.root, self._within(base) + b"/" + path, how, 0, _IN_ROOT)

    def _within(self, base: int) -> bytes:
        """Where a folder lies in the root. Raises OSError where it does not."""
        root, place = (os.readlink(b"/proc/self/fd/%d" % fd) for fd in (self.root, base))
        root = root.rstrip(b"/")
        if place != root and not place.startswith(root + b"/"):
            raise OSError(EXDEV, "not in the root")
        return place[len(root) :]


def _descriptor(path: bytes) -> int:
    """The number that a name of an open file has, else -1: /proc/self means another process to us."""
    for prefix in _DESCRIPTORS:
        if path.startswith(prefix) and path[len(prefix) :].isdigit():
            return int(path[len(prefix) :])
    return _STREAMS.get(path, -1)
