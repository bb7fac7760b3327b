"""Turning a `Mount` value into a mounted file system, by descriptors (fsopen, lowerdir+).

A mount is made detached first and attached afterwards, so that its target is an open descriptor and
nothing can be swapped in between. Paths longer than the 255 bytes of an option travel as
/proc/self/fd/N. Source: fsopen(2), fsconfig(2), Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
from _thread import get_native_id

from ..words.errors import SandboxError
from ..words.mount import Bind, Directory, Erofs, Mount, Overlay, Tmpfs
from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_OPTION = 255
_EBADF, _EINVAL, _ENOSYS = 9, 22, 38


def leave(kinds: int = 0, propagation: int = linux.MS_SLAVE) -> bool:
    """A mount namespace of one's own, with others of `kinds`; the old one sees nothing of it.

    True in a chroot. All mounts are reached from the top of the namespace alone, and only there may a root be
    replaced: in a container made anywhere else, setns(2) and ".." would lead out. For a process, or a thread
    that shares its working folder with nobody. Raises OSError.
    """
    linux.unshare(linux.CLONE_NEWNS | kinds)
    here = _root()
    try:
        chrooted = _climb(here)
        linux.mount(None, "/", "", linux.MS_REC | propagation)
        if chrooted:
            os.fchdir(here)
            os.chroot(".")
        return chrooted
    finally:
        os.close(here)


def _climb(here: int) -> bool:
    """To the top; whether that is elsewhere. Without CAP_SYS_CHROOT there is no way, nor for a container."""
    try:
        to_the_top()
    except PermissionError:
        return False
    top = _root()
    try:
        return (os.fstat(top).st_ino, linux.mount_id(top)) != (os.fstat(here).st_ino, linux.mount_id(here))
    finally:
        os.close(top)


def _root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def to_the_top() -> None:
    """Make the root of the mount namespace our own: out of a chroot. Source: setns(2). Raises OSError."""
    own = _namespace()
    try:
        linux.setns(own, linux.CLONE_NEWNS)
    finally:
        os.close(own)


def _namespace() -> int:
    """The mount namespace of this thread. A pidfd is that of the first one, and needs no /proc."""
    if get_native_id() == os.getpid():
        return os.pidfd_open(os.getpid())
    return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def attach(mount: Mount, target: str | int) -> None:
    """Mount at an existing folder (a path or a descriptor of it). Raises SandboxError."""
    fd = detached(mount)
    try:
        at, path = (target, "") if isinstance(target, int) else (linux.AT_FDCWD, target)
        linux.move_mount(fd, at, path)
    except OSError as error:
        raise SandboxError(f"cannot mount at {target}: {error.strerror}") from None
    finally:
        os.close(fd)


def opened(mount: Mount) -> int:
    """A descriptor through which the files of `mount` are reached; the caller closes it.

    A folder is opened as it is, anything else mounted detached. Raises SandboxError.
    """
    if not isinstance(mount, Directory):
        return detached(mount)
    try:
        return os.open(mount.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"cannot open {mount.path}: {error.strerror}") from None


def detach(target: str) -> None:
    """Unmount lazily; a folder where nothing is mounted is fine."""
    try:
        linux.umount(target)
    except OSError as error:
        if error.errno != _EINVAL:
            raise SandboxError(f"cannot unmount {target}: {error.strerror}") from None


def detached(mount: Mount, *, userns: int = -1) -> int:
    """A descriptor of the mount, attached nowhere; the caller closes it. Raises SandboxError.

    `userns`: a user namespace by which the owners of files are mapped, both ways.
    """
    try:
        if userns >= 0:
            return _mapped(mount, userns)
        if isinstance(mount, Overlay):
            return _overlay(mount)
        if isinstance(mount, Bind):
            return bind(mount)
        if isinstance(mount, Directory):
            return bind(Bind(mount.path, recursive=False))
        return _erofs(mount) if isinstance(mount, Erofs) else _tmpfs(mount)
    except OSError as error:
        raise SandboxError(f"cannot mount {_subject(mount)}: {error.strerror}") from None


def reuse(mount: Overlay) -> None:
    """Let what was written by a volatile mount be mounted once more: on this boot nothing of it is lost.

    overlayfs refuses that until its mark is gone. Raises OSError.
    """
    mark = f"{mount.work}/work/incompat/volatile"
    if os.path.isdir(mark):
        os.unlink(f"{mark}/dirty")
        os.rmdir(mark)


def shared_with(path: str) -> tuple[str, str]:
    """Where the mount that holds `path` is, and whether others see changes: shared, slave or private.

    Of a path that does not exist, the folder above it counts. Source: proc(5), mountinfo. Raises OSError.
    """
    while not os.path.exists(path):
        path = os.path.dirname(path)
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        number = str(linux.mount_id(fd))
    finally:
        os.close(fd)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        fields = next((line.split() for line in lines if line.startswith(f"{number} ")), [])
    tags = fields[6 : fields.index("-")] if fields else []
    kind = "shared" if any(tag.startswith("shared:") for tag in tags) else "private"
    if kind == "private" and any(tag.startswith("master:") for tag in tags):
        kind = "slave"
    return (fields[4] if fields else path), kind


def bind(mount: Bind, dir_fd: int = linux.AT_FDCWD) -> int:
    """A detached copy of an existing mount. Raises OSError."""
    depth = linux.AT_RECURSIVE if mount.recursive else 0
    fd = linux.open_tree(dir_fd, mount.source, linux.OPEN_TREE_CLONE | depth)
    if mount.readonly:
        linux.mount_setattr(fd, add=linux.MOUNT_ATTR_RDONLY, flags=depth)
    return fd


def filesystem(kind: str, options: tuple[tuple[str, str], ...] = (), attributes: int = 0) -> int:
    """A new file system of `kind`, detached. An option without value is a flag. Raises OSError."""
    context = linux.fsopen(kind)
    try:
        for key, value in options:
            if value:
                linux.fsconfig(context, key, value)
            else:
                linux.fsconfig_flag(context, key)
        return _create(context, attributes)
    finally:
        os.close(context)


def _create(context: int, attributes: int = 0) -> int:
    try:
        linux.fscreate(context)
    except OSError as error:
        reasons = [text[2:] for text in linux.fs_messages(context) if text[:1] == "e"]
        raise OSError(error.errno, "; ".join([error.strerror or "", *reasons])) from None
    return linux.fsmount(context, attributes)


def _tmpfs(mount: Tmpfs) -> int:
    size = (("size", str(mount.size)),) if mount.size else ()
    attributes = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
    return filesystem("tmpfs", (("mode", f"{mount.mode:o}"), *size), attributes)


def _erofs(mount: Erofs) -> int:
    with _Paths() as paths:
        devices = tuple(("device", paths.short(path)) for path in mount.devices)
        attributes = linux.MOUNT_ATTR_RDONLY
        return filesystem("erofs", (("source", paths.short(mount.index)), ("ro", ""), *devices), attributes)


class _Paths:
    """Paths made short enough for an option; holds the descriptors that this takes."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def short(self, path: str) -> str:
        """`path` itself, or /proc/self/fd/N when it is too long."""
        if len(os.fsencode(path)) <= _LONGEST_OPTION:
            return path
        return f"/proc/self/fd/{self.keep(os.open(path, os.O_PATH | os.O_CLOEXEC))}"

    def keep(self, fd: int) -> int:
        """Close `fd` at the end."""
        self._fds.append(fd)
        return fd

    def __enter__(self) -> _Paths:
        return self

    def __exit__(self, *_exc: object) -> None:
        for fd in self._fds:
            os.close(fd)


def _overlay(mount: Overlay) -> int:
    try:
        return _stacked(mount, attach=False)
    except OSError as error:
        refused = error.errno in (_EINVAL, _EBADF) and any(isinstance(low, Erofs) for low in mount.lowers)
        if not refused:
            raise
    return _apart(lambda: _stacked(mount, attach=True))


def _mapped(mount: Mount, userns: int) -> int:
    """Of an overlay the layers are mapped, since it has no maps of its own."""
    if not isinstance(mount, Overlay):
        return _map(detached(mount), userns)
    with _Paths() as paths:
        context = paths.keep(linux.fsopen("overlay"))
        for lower in mount.lowers:
            fd = _erofs(lower) if isinstance(lower, Erofs) else bind(Bind(lower, recursive=False))
            linux.fsconfig_fd(context, "lowerdir+", paths.keep(_map(fd, userns)))
        if mount.upper:
            above = os.path.dirname(mount.upper)
            fd = paths.keep(_map(bind(Bind(above, recursive=False)), userns))
            for key, path in (("upperdir", mount.upper), ("workdir", mount.work)):
                linux.fsconfig(context, key, f"/proc/self/fd/{fd}/{os.path.relpath(path, above)}")
        _overlay_flags(context, mount)
        return _create(context, 0 if mount.upper else linux.MOUNT_ATTR_RDONLY)


def _map(fd: int, userns: int) -> int:
    try:
        linux.mount_idmap(fd, userns)
    except BaseException:
        os.close(fd)
        raise
    return fd


def takes_detached() -> bool:
    """Whether overlayfs takes a lower mount that is attached nowhere: since Linux 6.15, else by trying."""
    major, minor, *_ = *os.uname().release.split("."), "0"
    if (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (6, 15):
        return True
    with _Paths() as paths:
        lowers = (paths.keep(filesystem("tmpfs")) for _ in range(2))
        option = ":".join(f"/proc/self/fd/{fd}" for fd in lowers)
        try:
            paths.keep(filesystem("overlay", (("lowerdir", option),)))
        except OSError:
            return False
        return True


def _apart(make: Callable[[], int]) -> int:
    """What `make` gives in a thread that has a mount namespace of its own, for things to be attached in.

    A thread, because its descriptors are ours. Raises OSError.
    """
    from _thread import allocate_lock, start_new_thread

    made: list[int | BaseException] = []
    working = allocate_lock()

    def work() -> None:
        try:
            leave(propagation=linux.MS_PRIVATE)
            made.append(make())
        except BaseException as error:
            made.append(error)
        finally:
            working.release()

    working.acquire()
    start_new_thread(work, ())
    working.acquire()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def part(mount: Mount, path: str) -> int:
    """A detached mount of what is at `path` in a mount, and nowhere else. Raises SandboxError, OSError.

    The kernel copies only what is attached somewhere.
    """

    def make() -> int:
        with _Paths() as paths:
            whole = paths.keep(detached(mount))
            linux.move_mount(whole, linux.AT_FDCWD, "/")
            return linux.open_tree(
                paths.keep(beneath(whole, path)), b"", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH
            )

    return _apart(make)


def beneath(folder: int, path: str) -> int:
    """An O_PATH descriptor of `path` in a folder that may be anybody's: links lead nowhere outside."""
    flags = os.O_PATH | os.O_CLOEXEC
    return linux.openat2(folder, path, flags, 0, linux.RESOLVE_BENEATH | linux.RESOLVE_NO_MAGICLINKS)


def _stacked(mount: Overlay, *, attach: bool) -> int:
    with _Paths() as paths:
        context = paths.keep(linux.fsopen("overlay"))
        try:
            for lower in mount.lowers:
                _add_lower(context, lower, paths, attach)
        except OSError as error:
            if error.errno not in (_EINVAL, _ENOSYS) or not all(isinstance(low, str) for low in mount.lowers):
                raise
            context = _one_string(mount, paths)
        for key, path in (("upperdir", mount.upper), ("workdir", mount.work)):
            if path:
                linux.fsconfig(context, key, paths.short(path))
        _overlay_flags(context, mount)
        return _create(context, 0 if mount.upper else linux.MOUNT_ATTR_RDONLY)


def _add_lower(context: int, lower: str | Erofs, paths: _Paths, attach: bool) -> None:
    """`attach`: before Linux 6.15 overlayfs takes only what is attached in the namespace of who asks.

    On top of the root is out of everybody's way: no path that is looked up leads through there.
    """
    if not isinstance(lower, Erofs):
        linux.fsconfig(context, "lowerdir+", paths.short(lower))
        return
    fd = paths.keep(_erofs(lower))
    if not attach:
        linux.fsconfig_fd(context, "lowerdir+", fd)
        return
    linux.move_mount(fd, linux.AT_FDCWD, "/")
    linux.fsconfig(context, "lowerdir+", f"/proc/self/fd/{fd}")


def _overlay_flags(context: int, mount: Overlay) -> None:
    linux.fsconfig(context, "source", "overlay")
    if mount.userxattr:
        linux.fsconfig_flag(context, "userxattr")
    if mount.volatile and mount.upper:
        linux.fsconfig_flag(context, "volatile")


def _one_string(mount: Overlay, paths: _Paths) -> int:
    """Before Linux 6.5 there is no `lowerdir+`: one `lowerdir` of short names, at most 255 bytes."""
    context = paths.keep(linux.fsopen("overlay"))
    lowers = [lower for lower in mount.lowers if isinstance(lower, str)]
    fds = [paths.keep(os.open(lower, os.O_PATH | os.O_CLOEXEC)) for lower in lowers]
    option = ":".join(f"/proc/self/fd/{fd}" for fd in fds)
    if len(option) > _LONGEST_OPTION:
        raise OSError(_EINVAL, f"this kernel cannot stack {len(fds)} layers")
    linux.fsconfig(context, "lowerdir", option)
    return context


def _subject(mount: Mount) -> str:
    if isinstance(mount, Overlay):
        return f"the {len(mount.lowers)} layers of the image"
    if isinstance(mount, Tmpfs):
        return "a tmpfs"
    if isinstance(mount, Directory):
        return mount.path
    return mount.source if isinstance(mount, Bind) else mount.index
