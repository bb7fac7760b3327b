"""Bind mounts with more than a source and a target: what a user says of a volume.

Source: OCI runtime-spec config.md, "mounts"; mount_setattr(2); openat2(2).
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from .. import linux, mounts
from .operations import BindMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...words.mount import Mount
    from .room import Room

_EXDEV, _EINVAL = 18, 22
_KINDS = {"private": linux.MS_PRIVATE, "slave": linux.MS_SLAVE, "shared": linux.MS_SHARED}
PROPAGATION = _KINDS | {f"r{name}": linux.MS_REC | kind for name, kind in _KINDS.items()}
"""Flags by the words of the runtime-spec."""


class VolumeBind(BindMount):
    """A bind mount of a user's.

    `flags` is a propagation type (MS_SLAVE, with MS_REC for all beneath), 0 to leave it. `deep`: read-only
    with everything beneath. `subpath` is a path within the source, `userns` shows a user namespace by which
    owners are mapped, `tree` is what is mounted in place of a source.
    """

    flags: int = 0
    deep: bool = True
    subpath: str = ""
    userns: str = ""
    tree: Mount | None = None

    @property
    def early(self) -> bool:
        """What the host shall see has to be its own mount, and the paths of a tree are paths of the host."""
        return self.tree is not None or bool(self.flags & linux.MS_SHARED)

    def take(self, room: Room) -> None:  # noqa: D102
        if id(self) in room.sources:
            return
        try:
            room.sources[id(self)] = self._taken(room)
        except OSError as error:
            reason = "it leads out of it" if error.errno == _EXDEV else error.strerror
            raise SandboxError(f"cannot mount {self._shown()}: {reason}") from None

    def place(self, room: Room, path: str) -> None:
        """Mount it at `path`, a folder or a file that is made. Raises SandboxError, OSError."""
        self.take(room)
        fd = room.sources.pop(id(self))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.makedirs(path, exist_ok=True)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        linux.move_mount(fd, linux.AT_FDCWD, path)
        os.close(fd)

    def _shown(self) -> str:
        return f"{self.subpath} of {self.source}" if self.subpath else self.source

    def _taken(self, room: Room) -> int:
        fd = self._cloned(room)
        deep = linux.AT_RECURSIVE if self.recursive else 0
        own = self.attributes | (0 if room.may_use(fd) else room.nodev)
        readonly = linux.MOUNT_ATTR_RDONLY if self.readonly else 0
        if own or (readonly and self.deep):
            linux.mount_setattr(fd, add=own | (readonly if self.deep else 0), flags=deep)
        if readonly and not self.deep:
            linux.mount_setattr(fd, add=readonly)
        if self.flags:
            kind, whole = self.flags & ~linux.MS_REC, self.flags & linux.MS_REC
            linux.mount_setattr(fd, propagation=kind, flags=linux.AT_RECURSIVE if whole else 0)
        if self.userns:
            self._map_owners(fd, room, deep)
        return fd

    def _cloned(self, room: Room) -> int:
        """A detached copy of what is mounted, not yet changed."""
        if self.tree:
            return mounts.part(self.tree, self.subpath) if self.subpath else mounts.detached(self.tree)
        clone = linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH | (linux.AT_RECURSIVE if self.recursive else 0)
        found = [_of_host(room, self.source, os.O_PATH)]
        try:
            if self.subpath:
                found.append(mounts.beneath(found[0], self.subpath))
            return linux.open_tree(found[-1], b"", clone)
        finally:
            for fd in found:
                os.close(fd)

    def _map_owners(self, fd: int, room: Room, deep: int) -> None:
        userns = _of_host(room, self.userns, os.O_RDONLY)
        try:
            linux.mount_idmap(fd, userns, deep)
        except OSError as error:
            raise SandboxError(
                f"cannot map the owners of {self._shown()}: {error.strerror}",
                hint="its file system has no idmapped mounts" if error.errno == _EINVAL else "",
            ) from None
        finally:
            os.close(userns)

    def __str__(self) -> str:
        return f"{super().__str__()}{' with mapped owners' if self.userns else ''}"


def volume_bind(entry: Mapping[str, Any], attributes: int) -> VolumeBind:
    """The operation of an entry. A later option counts more, as in mount(8)."""
    options = entry.get("options") or ()
    return VolumeBind(
        entry["source"], entry["destination"], "ro" in options or "rro" in options, "bind" not in options,
        attributes, _flags(options), "rro" in options, entry.get("subpath") or "", entry.get("userns") or "",
        entry.get("tree"),
    )  # fmt: skip


def _flags(options: Sequence[str]) -> int:
    found = 0
    for option in options:
        if option in PROPAGATION:
            found = PROPAGATION[option]
    return found


def _of_host(room: Room, path: str, flags: int) -> int:
    """By the host's root, and before that is known by our own."""
    if room.host < 0:
        return os.open(path, flags | os.O_CLOEXEC)
    return os.open(path.lstrip("/") or ".", flags | os.O_CLOEXEC, dir_fd=room.host)
