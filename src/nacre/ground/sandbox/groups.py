"""Entering the control groups that were made for a container, before it has namespaces of its own."""

from __future__ import annotations

import os

from .. import linux
from ..limits.hierarchies import enter
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .room import Room


class JoinGroups(Operation):
    """First of all, so that a namespace of control groups begins there. `folders` are on the host."""

    folders: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        enter(self.folders)

    def __str__(self) -> str:
        return f"control groups: {' '.join(self.folders)}"


class MountGroups(Operation):
    """The groups of version 1 where programs look for their limits: in a folder for each hierarchy.

    In a namespace of control groups each begins at the container's own. `names` are their controllers. What
    the kernel does not let us mount is left out.
    """

    target: str
    flags: int
    names: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        plain = self.flags & ~linux.MS_RDONLY
        try:
            linux.mount("tmpfs", self.target, "tmpfs", plain, "mode=755")
            for name in self.names:
                self._show(name)
            linux.mount(None, self.target, "", self.flags | linux.MS_REMOUNT | linux.MS_BIND)
        except OSError:
            return

    def _show(self, name: str) -> None:
        folder = f"{self.target}/{name}"
        os.mkdir(folder, 0o755)
        try:
            linux.mount("cgroup", folder, "cgroup", self.flags, name)
        except OSError:
            os.rmdir(folder)

    def __str__(self) -> str:
        return f"control groups at {self.target}: {' '.join(self.names)}"


def has_unified(folders: Sequence[str]) -> bool:
    """Whether one of the groups is of version 2."""
    return any(os.path.exists(f"{folder}/cgroup.controllers") for folder in folders)
