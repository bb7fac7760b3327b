"""The state of a container being set up, how its paths are opened, and what an operation on it is.

A sandbox is made of operations in order, each of which can say what it does. `apply(room)` runs in the
child, after the fork and before the program; it raises OSError or SandboxError. `str(operation)` is one line
for `--debug` and for tests.

Every path inside the container is opened beneath its root by descriptor, so that a link in the image
cannot lead a mount elsewhere; what had to be made to mount on is remembered, so that it can be taken
away again and does not become part of an image.
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from ...words.value import Value
from .. import cgroups, linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..userns import Range
    from .users import User

_IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 40
_PROC_INO = 1


class Operation(Value):
    """One thing to do in the child."""

    def apply(self, room: Room) -> None:
        """Carry out the operation. Raises SandboxError or OSError."""
        raise NotImplementedError


class Room:
    """`host` is the host's root until `close_host`; `root` the container's. Descriptors, or -1.

    `top` is the root of the mount namespace: `host`, unless we are `chrooted` ourselves. `root` usually takes
    its place, else it `covers` it.

    `sources` are detached mounts, each by the `id` of its operation. `made` lists the resolved paths that
    were created to mount on. `devices`: mknod is allowed here; found out by trying. `nodev`: added to the
    attributes of every mount where no control group keeps devices away; `rules` then say which are allowed.
    `filter`: a program and flags for seccomp(2) that wait for the last moment; `capabilities` are those that
    are to be left then. `userns` is the user namespace of the container's own that is entered at last, `map`
    the same if its ids differ from ours, `uids` its users: first inside, first outside, count.
    `granted`: whatever the program asks of users is answered, and nothing of that is the kernel's: `calls`.
    `shared` is a detached mount for /dev/shm, where it is that of another container.
    """

    def __init__(self, terminal: int = -1, pts: int = -1) -> None:
        self.host = self.top = self.root = self.shared = -1
        self.chrooted = self.covers = False
        self.terminal, self.pts, self.channel = terminal, pts, -1
        self.devices = True
        self.nodev = 0
        self.rules: tuple[Mapping[str, Any], ...] = ()
        self.sources: dict[int, int] = {}
        self.made: list[str] = []
        self.user: User | None = None
        self.environment: dict[str, str] = {}
        self.filter: tuple[bytes, int] | None = None
        self.capabilities = 0
        self.granted = False
        self.userns = self.map = -1
        self.uids: tuple[Range, ...] = ()

    def open(self, path: str, flags: int = os.O_PATH, resolve: int = 0) -> int:
        """Open beneath the container's root. Raises OSError."""
        return linux.openat2(self.root, path, flags, 0, _IN_ROOT | resolve)

    def may_use(self, fd: int) -> bool:
        """Whether `fd` is a device that is allowed by itself, wherever it is mounted."""
        info = os.fstat(fd)
        kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(info.st_mode))
        return kind is not None and cgroups.allows(
            self.rules, kind, os.major(info.st_rdev), os.minor(info.st_rdev)
        )

    def target(self, path: str, *, folder: bool) -> int:
        """An O_PATH descriptor of a place to mount on, made if it does not exist.

        Refuses /proc with all inside it (runc CVE-2019-16884, CVE-2025-31133) and a place of the wrong
        kind.
        """
        fd = self._open_or_make(path, folder)
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode) != folder:
            os.close(fd)
            kind = "a file, not a directory" if folder else "a directory, not a file"
            raise SandboxError(f"cannot mount at {path}: it is {kind}")
        if info.st_dev == self._proc_device():
            os.close(fd)
            raise SandboxError(f"cannot mount at {path}: it is in /proc")
        return fd

    def plain_folder(self, path: str) -> None:
        """Make sure that a place of our own (/proc, /dev, /sys) is a real folder, not a link."""
        try:
            os.close(self.open(path, os.O_PATH | os.O_DIRECTORY, linux.RESOLVE_NO_SYMLINKS))
        except FileNotFoundError:
            self._make(path, folder=True)
        except OSError:
            raise SandboxError(f"{path} of the image is not a directory") from None

    def make_folders(self, path: str) -> int:
        """The folder at `path`, made for good with its parents (0755, root) if absent; O_PATH descriptor."""
        made = len(self.made)
        try:
            return self._open_or_make(path, True)
        finally:
            del self.made[made:]

    def _open_or_make(self, path: str, folder: bool) -> int:
        try:
            return self.open(path)
        except FileNotFoundError:
            return self._make(path, folder)
        except OSError as error:
            raise SandboxError(f"cannot open {path} in the container: {error.strerror}") from None

    def _make(self, path: str, folder: bool) -> int:
        """Create the last component, following a link that points to nothing as runc does."""
        for _attempt in range(_MAX_LINKS):
            above, name = os.path.split(path.rstrip("/"))
            if name in ("", ".", ".."):
                break
            parent = self._open_or_make(above or "/", True)
            try:
                self._create(parent, name, folder)
                return linux.openat2(parent, name, os.O_PATH | os.O_NOFOLLOW)
            except FileExistsError:
                path = os.path.join(above, os.readlink(name, dir_fd=parent))
            except OSError as error:
                raise SandboxError(f"cannot create {path} in the container: {error.strerror}") from None
            finally:
                os.close(parent)
        raise SandboxError(f"cannot create {path} in the container: too many links")

    def _create(self, parent: int, name: str, folder: bool) -> None:
        if folder:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.mknod(name, 0o644 | stat.S_IFREG, dir_fd=parent)
        try:
            self.made.append(os.path.join(os.readlink(f"/proc/self/fd/{parent}"), name))
        except OSError:  # /proc itself
            self.made.append("/" + name)

    def _proc_device(self) -> int:
        try:
            return os.stat("/proc").st_dev if os.stat("/proc").st_ino == _PROC_INO else -1
        except OSError:
            return -1

    def outside(self, uid: int) -> int:
        """What a user of the container is here. Raises SandboxError for one that is not mapped."""
        for first, here, count in self.uids:
            if first <= uid < first + count:
                return here + uid - first
        if self.uids:
            raise SandboxError(f"user {uid} does not exist in the user namespace of the container")
        return uid

    def filter_calls(self) -> None:
        """Install the filter that waits. It may permit little more than execve(2)."""
        if self.filter:
            program, flags = self.filter
            self.filter = None
            linux.seccomp_filter(program, flags)

    def stay_behind(self) -> None:
        """For a process that becomes no program: give up what is kept to install the filter."""
        if self.filter:
            linux.set_capabilities(self.capabilities, self.capabilities, 0)

    def close_host(self) -> None:
        """Forget the host's root."""
        for fd in {self.host, self.top}:
            os.close(fd)
        self.host = self.top = -1
