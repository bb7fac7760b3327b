"""The mounts of a config, in its order. Source: OCI runtime-spec config.md, "mounts"."""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from .. import linux
from ..sandbox.room import Operation
from .copying import copy_up
from .groups import places
from .options import Options
from .place import BundleRoom, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..sandbox.room import Room
    from .groups import MountedHierarchy

_OURS = ("proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2")
_LABELLED = ("tmpfs", "mqueue", "devpts", "ramfs")
_EPERM, _EBUSY = 1, 16


class MountBind(Operation):
    """A file or a folder of the host at a path of the container.

    Its attributes hold for it alone, as with runc; options with an r are for what lies beneath as well.
    """

    source: str
    target: str
    options: Options

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        try:
            fd = self._taken()
        except OSError as error:
            raise SandboxError(f"cannot mount {self.source}: {error.strerror}") from None
        try:
            target = room.place(self.target, folder=stat.S_ISDIR(os.fstat(fd).st_mode))
            linux.move_mount(fd, target)
            os.close(target)
        finally:
            os.close(fd)

    def _taken(self) -> int:
        deep = linux.AT_RECURSIVE if self.options.recursive else 0
        fd = linux.open_tree(linux.AT_FDCWD, self.source, linux.OPEN_TREE_CLONE | deep)
        change(fd, self.options)
        return fd

    def __str__(self) -> str:
        return f"bind {self.source} at {self.target}"


def change(fd: int, options: Options) -> None:
    """Attributes and propagation of a mount; what another user namespace has locked stays. Raises OSError."""
    for add, remove, flags in (
        (options.add, options.remove, 0),
        (options.deep_add, options.deep_remove, linux.AT_RECURSIVE),
    ):
        if add or remove:
            _set(fd, add, remove, flags)
    for propagation in options.propagation:
        flags = linux.AT_RECURSIVE if propagation & linux.MS_REC else 0
        linux.mount_setattr(fd, propagation=propagation & ~linux.MS_REC, flags=flags)


def _set(fd: int, add: int, remove: int, flags: int) -> None:
    try:
        linux.mount_setattr(fd, add=add, remove=remove, flags=flags)
    except PermissionError:
        if not remove:
            raise
        linux.mount_setattr(fd, add=add, flags=flags)


class MountFileSystem(Operation):
    """A file system by its kind. Those of the kernel have a folder for a target, others may follow links."""

    kind: str
    source: str
    target: str
    options: Options

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        fd = room.own(self.target) if self.kind in _OURS else room.place(self.target, folder=True)
        try:
            self._mount(room, fd)
        except OSError as error:
            raise SandboxError(f"cannot mount {self.kind} at {self.target}: {error.strerror}") from None
        finally:
            os.close(fd)

    def _mount(self, room: BundleRoom, fd: int) -> None:
        data, flags = self._data(room, fd), self.options.mount_flags
        early = flags & ~linux.MS_RDONLY if self.options.copies else flags
        linux.mount(self.source or self.kind, name_of(fd), self.kind, early, data)
        top = room.open(self.target)
        try:
            if self.options.copies:
                copy_up(fd, top)
            change(top, self.options.replace(remove=0, add=self.options.add if flags != early else 0))
        finally:
            os.close(top)

    def _data(self, room: BundleRoom, fd: int) -> str:
        """A tmpfs keeps the mode of what it covers, as with runc."""
        words = [self.options.data] if self.options.data else []
        if self.kind == "tmpfs" and "mode=" not in self.options.data:
            words.append(f"mode={stat.S_IMODE(os.fstat(fd).st_mode):o}")
        if room.label and self.kind in _LABELLED:
            words.append(f'context="{room.label}"')
        return ",".join(words)

    def __str__(self) -> str:
        return f"mount {self.kind} at {self.target}"


class MountHierarchies(Operation):
    """The control groups that programs see: those of version 2, or a folder for each hierarchy of version 1.

    In a namespace of control groups each begins at the container's own; else that group is bound.
    """

    target: str
    options: Options
    private: bool

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        fd = room.own(self.target)
        try:
            seen = places()
            if any(place.version == 1 for place in seen):
                self._first(room, fd, [place for place in seen if place.name])
            else:
                self._second(fd, seen)
        except OSError as error:
            raise SandboxError(f"cannot mount control groups at {self.target}: {error.strerror}") from None
        finally:
            os.close(fd)

    def _second(self, fd: int, seen: list[MountedHierarchy]) -> None:
        """What is refused, as in a user namespace without a namespace of control groups, is bound."""
        try:
            linux.mount("cgroup", name_of(fd), "cgroup2", self.options.mount_flags, self.options.data)
        except OSError as error:
            if error.errno not in (_EPERM, _EBUSY) or not seen:
                raise
            self._bind(seen[0].folder, fd)

    def _first(self, room: BundleRoom, fd: int, seen: list[MountedHierarchy]) -> None:
        plain = self.options.mount_flags & ~linux.MS_RDONLY
        linux.mount("tmpfs", name_of(fd), "tmpfs", plain, "mode=755")
        top = room.open(self.target)
        try:
            for place in seen:
                os.mkdir(place.name, 0o755, dir_fd=top)
                folder = os.open(place.name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
                try:
                    self._show(place, folder)
                finally:
                    os.close(folder)
                for alias in place.controllers:
                    if alias != place.name and "=" not in alias:
                        os.symlink(place.name, alias, dir_fd=top)
            change(top, Options(add=self.options.add, propagation=self.options.propagation))
        finally:
            os.close(top)

    def _show(self, place: MountedHierarchy, folder: int) -> None:
        if not self.private:
            return self._bind(place.folder, folder)
        names = ",".join(place.controllers)
        linux.mount("cgroup", name_of(folder), "cgroup", self.options.mount_flags, names)
        return None

    def _bind(self, source: str, folder: int) -> None:
        fd = linux.open_tree(linux.AT_FDCWD, source, linux.OPEN_TREE_CLONE)
        try:
            linux.mount_setattr(fd, add=self.options.add)
            linux.move_mount(fd, folder)
        finally:
            os.close(fd)

    def __str__(self) -> str:
        return f"control groups at {self.target}"
