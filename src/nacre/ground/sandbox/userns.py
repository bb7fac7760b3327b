"""A user namespace of the container's own, for containers of root.

Everything is set up by root of the machine, so the container's mounts and other namespaces are not its own to
change; the namespace is entered last. Until then files are made as the container's root, who alone can own
any where owners are mapped. Source: user_namespaces(7), mount_setattr(2), setfsuid(2).
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from .. import linux
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ..userns import Range
    from .room import Room


class HoldUsers(Operation):
    """Open the namespace while the host is there, and make files as its root."""

    path: str
    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        room.userns = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        room.uids = self.uids
        owner = _root(self.uids), _root(self.gids)
        if owner != (0, 0):
            room.map = room.userns
            linux.own_files_as(*owner)

    def __str__(self) -> str:
        return f"user namespace: {' '.join(':'.join(map(str, extent)) for extent in self.uids)}"


class EnterUsers(Operation):
    """Be root of that namespace and nothing elsewhere; what was opened for the program is its own."""

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            linux.setns(room.userns, linux.CLONE_NEWUSER)
        except OSError as error:
            raise SandboxError(f"cannot enter the user namespace: {error.strerror}") from None
        os.close(room.userns)

    def __str__(self) -> str:
        return "enter the user namespace"


def _root(extents: tuple[Range, ...]) -> int:
    return next(outside for first, outside, _ in extents if first == 0)


def own_users(system: Mapping[str, Any]) -> HoldUsers | None:
    """The first of the two for a `linux` section, if it has a namespace of its own that is ready."""
    for namespace in system["namespaces"]:
        if namespace["type"] == "user" and namespace.get("path"):
            return HoldUsers(
                namespace["path"], extents(system["uidMappings"]), extents(system["gidMappings"])
            )
    return None


def with_namespace(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The config with the user namespace that is shown at `path` in place of a new one."""
    others = [each for each in config["linux"]["namespaces"] if each["type"] != "user"]
    namespaces = [*others, {"type": "user", "path": path}]
    return {**config, "linux": {**config["linux"], "namespaces": namespaces}}


def extents(entries: Iterable[Mapping[str, int]]) -> tuple[Range, ...]:
    """The mappings of a `linux` section: first inside, first outside, count."""
    return tuple((each["containerID"], each["hostID"], each["size"]) for each in entries)
