"""Entering the control groups that were made for a container, before it has namespaces of its own."""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from ..limits.hierarchies import write
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .room import Room


class JoinGroups(Operation):
    """First of all, so that a namespace of control groups begins there. `folders` are on the host."""

    folders: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        for folder in self.folders:
            try:
                write(folder, "cgroup.procs", "0")
            except OSError as error:
                raise SandboxError(f"cannot enter the control group {folder}: {error.strerror}") from None

    def __str__(self) -> str:
        return f"control groups: {' '.join(self.folders)}"


def has_unified(folders: Sequence[str]) -> bool:
    """Whether one of the groups is of version 2."""
    return any(os.path.exists(f"{folder}/cgroup.controllers") for folder in folders)
