"""The operations that make the container around a program: namespaces, mounts, names."""

from __future__ import annotations

import fcntl
import os
import stat
from _struct import Struct
from errno import ESRCH

from ...words.errors import SandboxError
from ...words.mount import Bind, Mount
from .. import linux, mounts
from .room import Operation, Room

_EPERM, _EACCES, _ENOENT, _EINVAL, _ENODEV, _EBUSY = 1, 13, 2, 22, 19, 16
_ABSENT = (_ENOENT, 20)
HOST_NAME_WISHED = "org.nacre.hostname.wished"
"""Our annotation in an OCI config: the host name is what somebody asked for."""

_HIDING = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40
_IFREQ = Struct("16sH14x")

NAMESPACES = {
    "mount": linux.CLONE_NEWNS, "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS,
    "network": linux.CLONE_NEWNET, "cgroup": linux.CLONE_NEWCGROUP, "pid": linux.CLONE_NEWPID,
}  # fmt: skip
"""By their names in an OCI runtime config."""


class Namespaces(Operation):
    """Leave the namespaces of the parent. The pid namespace was left before the fork."""

    kinds: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        flags = 0
        for kind in self.kinds:
            flags |= NAMESPACES[kind]
        room.chrooted = mounts.leave(flags & ~linux.CLONE_NEWPID)

    def __str__(self) -> str:
        return f"new namespaces: {' '.join(self.kinds)}"


def enter(path: str, kind: int, started: int = 0) -> None:
    """Enter the namespace that is shown at `path`, as `shown` checks. Raises OSError."""
    fd = shown(path, started)
    try:
        linux.setns(fd, kind)
    finally:
        os.close(fd)


def shown(path: str, started: int) -> int:
    """A descriptor of the namespace at `path`, /proc/PID/ns/KIND of the process that began at `started`.

    Asked once it is open: the pid may be that of another process by then. With 0 any path will do. Raises
    OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if started and linux.start_time(int(path.split("/")[2])) != started:
        os.close(fd)
        raise ProcessLookupError(ESRCH, os.strerror(ESRCH))
    return fd


class JoinNetwork(Operation):
    """Enter a network namespace that is there; `path` and `started` as for `shown`."""

    path: str
    started: int = 0

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            enter(self.path, linux.CLONE_NEWNET, self.started)
        except OSError as error:
            raise SandboxError(f"cannot join the network of the container: {error.strerror}") from None

    def __str__(self) -> str:
        return f"join the network at {self.path}"


class MountRoot(Operation):
    """Mount the container's root and move into it; the host stays reachable by `room.host` alone.

    The new root is stacked on "/" itself, so that no mount point is needed. The old root stays
    mounted, on top of it, until `LeaveHost`: in a user namespace the kernel allows a new /proc only as
    long as another complete one is mounted (mount_too_revealing). Until then ".." at the root leads to
    the host, even with RESOLVE_IN_ROOT (the walk follows what is mounted on the root), so no path of
    the image or of the user may be resolved before.

    Docker's list of system calls has no pivot_root, even with CAP_SYS_ADMIN. There the old root stays beneath
    the new one, where nobody comes to who cannot unmount: `powerful` programs, that could, are refused.
    """

    mount: Mount
    powerful: bool = False

    def apply(self, room: Room) -> None:  # noqa: D102
        room.root = mounts.detached(self.mount, userns=room.map)
        if room.nodev:
            linux.mount_setattr(room.root, add=room.nodev)
        room.host = room.top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if room.chrooted:
            mounts.to_the_top()
            room.top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        linux.move_mount(room.root, linux.AT_FDCWD, "/")
        os.fchdir(room.root)
        try:
            linux.pivot_root(".", ".")
        except PermissionError:
            self._cover(room)
        os.chdir("/")

    def _cover(self, room: Room) -> None:
        if self.powerful:
            raise SandboxError(
                "pivot_root is not permitted here, and without it CAP_SYS_ADMIN allows leaving a container"
            )
        os.chroot(".")
        room.covers = True

    def __str__(self) -> str:
        return f"root: {self.mount!r}"


class LeaveHost(Operation):
    """Unmount the host's root."""

    def apply(self, room: Room) -> None:  # noqa: D102
        if not room.covers:
            os.fchdir(room.top)
            linux.umount(".")
            os.chdir("/")
        room.close_host()

    def __str__(self) -> str:
        return "unmount the host"


class FileSystem(Operation):
    """A file system of the kernel's, on a folder of our own or of the image.

    `optional`: left out where the kernel refuses. `otherwise`: a path of the host that is
    bind-mounted instead: sysfs needs a network namespace of one's own, and a container around us that hides
    parts of /proc may have no new one.
    """

    kind: str
    target: str
    flags: int
    data: str = ""
    optional: bool = False
    otherwise: str = ""

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            if self.target.startswith("/dev/"):
                os.mkdir(self.target, 0o755)
            elif not self.optional:
                room.plain_folder(self.target)
            nodev = linux.MS_NODEV if room.nodev else 0
            linux.mount(self.kind, self.target, self.kind, self.flags | nodev, self.data)
        except OSError as error:
            if self.otherwise and error.errno in (_EPERM, _EBUSY):
                substitute = BindMount(self.otherwise, self.target, readonly=self.kind != "proc")
                substitute.take(room)
                substitute.apply(room)
            elif not self.optional:
                raise SandboxError(f"cannot mount {self.kind} at {self.target}: {error.strerror}") from None

    def __str__(self) -> str:
        return f"mount {self.kind} at {self.target}"


class BindMount(Operation):
    """A folder, file or device of the host inside the container.

    Two halves: `take` while the host is there, `apply` once it is gone. Links in `target` are resolved
    inside the container.
    """

    source: str
    target: str
    readonly: bool = False
    recursive: bool = True
    attributes: int = 0

    @property
    def early(self) -> bool:
        """Whether it is taken while the mount namespace is still that of the host."""
        return False

    def take(self, room: Room) -> None:
        """Get hold of the source, opened from the host's root."""
        try:
            fd = mounts.bind(Bind(self.source.lstrip("/") or ".", self.readonly, self.recursive), room.host)
            attributes = self.attributes | (0 if room.may_use(fd) else room.nodev)
            if attributes:
                linux.mount_setattr(fd, add=attributes, flags=linux.AT_RECURSIVE)
        except OSError as error:
            raise SandboxError(f"cannot mount {self.source}: {error.strerror}") from None
        room.sources[id(self)] = fd

    def apply(self, room: Room) -> None:  # noqa: D102
        fd = room.sources.pop(id(self))
        target = room.target(self.target, folder=stat.S_ISDIR(os.fstat(fd).st_mode))
        linux.move_mount(fd, target)
        os.close(target)
        os.close(fd)

    def __str__(self) -> str:
        return f"bind {self.source} at {self.target}{' read-only' if self.readonly else ''}"


class Take(Operation):
    """Get hold of everything of the host that is to be bind-mounted."""

    binds: tuple[BindMount, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        for bind in self.binds:
            bind.take(room)

    def __str__(self) -> str:
        return f"take {' '.join(bind.source for bind in self.binds)} from the host"


class TemporaryFolder(Operation):
    """An empty tmpfs at a place the user chose; `data` are options of tmpfs."""

    target: str
    flags: int
    data: str = ""

    def apply(self, room: Room) -> None:  # noqa: D102
        target = room.target(self.target, folder=True)
        try:
            nodev = linux.MS_NODEV if room.nodev else 0
            linux.mount("tmpfs", f"/proc/self/fd/{target}", "tmpfs", self.flags | nodev, self.data)
        except OSError as error:
            raise SandboxError(f"cannot mount tmpfs at {self.target}: {error.strerror}") from None
        finally:
            os.close(target)

    def __str__(self) -> str:
        return f"tmpfs at {self.target}"


class Terminals(Operation):
    """/dev/pts, of the pseudo terminal made before the fork when there is one, and /dev/console."""

    data: str

    def apply(self, room: Room) -> None:  # noqa: D102
        os.mkdir("/dev/pts", 0o755)
        if room.pts >= 0:
            linux.move_mount(room.pts, linux.AT_FDCWD, "/dev/pts")
            os.close(room.pts)
            self._console(room.terminal)
        else:
            self._mount(self.data)
        os.symlink("pts/ptmx", "/dev/ptmx")

    def _mount(self, data: str) -> None:
        """Group 5 (tty) may not exist in a user namespace; then terminals belong to group 0."""
        flags = linux.MS_NOSUID | linux.MS_NOEXEC
        try:
            linux.mount("devpts", "/dev/pts", "devpts", flags, data)
        except OSError as error:
            if error.errno != _EINVAL:
                raise
            linux.mount("devpts", "/dev/pts", "devpts", flags, data.replace(",gid=5", ""))

    def _console(self, terminal: int) -> None:
        """Bound by descriptor: its name could be swapped (CVE-2025-52565)."""
        fd = linux.open_tree(terminal, b"", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)
        os.mknod("/dev/console", 0o600 | stat.S_IFREG)
        linux.move_mount(fd, linux.AT_FDCWD, "/dev/console")
        os.close(fd)

    def __str__(self) -> str:
        return "terminals in /dev/pts"


class Links(Operation):
    """Symbolic links in our own /dev."""

    pairs: tuple[tuple[str, str], ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        for target, path in self.pairs:
            os.symlink(target, path)

    def __str__(self) -> str:
        return f"links: {' '.join(path for _, path in self.pairs)}"


class ReadOnly(Operation):
    """Make existing paths read-only; those that do not exist do not matter."""

    paths: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        flags = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE | linux.AT_SYMLINK_NOFOLLOW
        for path in self.paths:
            try:
                fd = linux.open_tree(linux.AT_FDCWD, path, flags)
            except OSError as error:
                if error.errno in _ABSENT:
                    continue
                raise
            linux.mount_setattr(fd, add=linux.MOUNT_ATTR_RDONLY, flags=linux.AT_RECURSIVE)
            linux.move_mount(fd, linux.AT_FDCWD, path)
            os.close(fd)

    def __str__(self) -> str:
        return f"read-only: {' '.join(self.paths)}"


def null_device() -> int:
    """A descriptor of /dev/null, checked to be that device (CVE-2025-31133). Raises SandboxError, OSError."""
    null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(null).st_rdev != os.makedev(1, 3):
        raise SandboxError("/dev/null is not the null device")
    return null


class Mask(Operation):
    """Hide existing paths: a file behind /dev/null, a folder behind an empty read-only tmpfs."""

    paths: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        null = null_device()
        source = f"/proc/self/fd/{null}"
        for path in self.paths:
            try:
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    linux.mount("tmpfs", path, "tmpfs", _HIDING, "nr_blocks=1,nr_inodes=1")
                else:
                    linux.mount(source, path, "", linux.MS_BIND)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
        os.close(null)

    def __str__(self) -> str:
        return f"masked: {' '.join(self.paths)}"


class ReadOnlyRoot(Operation):
    """The image's file system becomes read-only; what is mounted on it stays as it is."""

    def apply(self, room: Room) -> None:  # noqa: D102
        linux.mount_setattr(room.root, add=linux.MOUNT_ATTR_RDONLY)

    def __str__(self) -> str:
        return "read-only root"


class HostName(Operation):
    """Name of this machine as the container sees it. Where it is refused it stays, unless it is `wished`."""

    name: str
    wished: bool = False

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            linux.sethostname(self.name)
        except PermissionError:
            self.absent()

    def absent(self) -> None:
        """It cannot be had. Raises SandboxError if it is wished."""
        if self.wished and os.uname().nodename != self.name:
            raise SandboxError(
                f"the host name cannot be set to {self.name}: it is not permitted here", hint="leave out -h"
            )

    def __str__(self) -> str:
        return f"host name {self.name}"


class Loopback(Operation):
    """Bring up `lo` of a new network namespace. Source: netdevice(7), SIOCSIFFLAGS."""

    def apply(self, room: Room) -> None:  # noqa: D102
        fd = linux.socket(linux.AF_INET, linux.SOCK_DGRAM)
        try:
            fcntl.ioctl(fd, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", _IFF_UP | _IFF_RUNNING))
        except PermissionError:
            raise SandboxError("--network none needs CAP_NET_ADMIN for its loopback") from None
        finally:
            os.close(fd)

    def __str__(self) -> str:
        return "bring up lo"
