"""The limits of a container: set before it runs, taken away at its end; whether memory ran out.

Beside the container's other files stands `groups`: the control groups that were made for it, written before
they are, so that whoever finds the container ended removes them; and once memory ran out, that it did.
"""

from __future__ import annotations

import os

from ...ground import userns
from ...ground.files import trace, unlink, write_atomic
from ...ground.limits import groups as made
from ...ground.limits.groups import ControlGroup, ControlGroups
from ...ground.limits.machine import disk_numbers
from ...images.model.limits import Limits, resources
from ...words.quickjson import dumps, loads
from .keeper import is_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...stores.containers import ContainerRow
    from ...stores.store import Store

STATE = "groups"


def limits_of(record: dict[str, Any]) -> Limits:
    """What a row says."""
    return Limits.of(record.get("limits") or {})


def begin(store: Store, row: ContainerRow, record: dict[str, Any]) -> dict[str, Any]:
    """Make the groups of a container that is to run; its config with them. Raises as `permitted`."""
    limits = limits_of(record)
    finish(store, row.id)
    wanted = resources(limits, disk_numbers)
    config: dict[str, Any] = record["config"]
    system = config["linux"]
    if record["runtime"] != "builtin":
        unlink(store.containers.file(row.id, STATE))
        if not userns.is_first():  # it was said that they have no effect
            return config
        return config | {"linux": system | {"resources": system["resources"] | wanted}}
    found, _ = made.reachable(wanted, limits.cgroup_parent)
    groups = made.make(row.id, wanted, found, limits.cgroup_parent, lambda each: note(store, row.id, each))
    trace("container:limited")
    try:
        groups.apply(wanted)
    except BaseException:
        finish(store, row.id)
        raise
    mounts = (
        [_showing(mount, groups) for mount in config["mounts"]] if _is_apart(system) else config["mounts"]
    )
    return config | {"linux": system | {"groups": groups.folders}, "mounts": mounts}


def _is_apart(system: dict[str, Any]) -> bool:
    return any(namespace["type"] == "cgroup" for namespace in system["namespaces"])


def _showing(mount: dict[str, Any], groups: ControlGroups) -> dict[str, Any]:
    """With groups of version 1 those are shown: programs look there for their limits.

    `hierarchies` in a mount is our own word.
    """
    names = [",".join(group.controllers) for group in groups.groups if group.version == 1]
    if mount["type"] != "cgroup" or mount.get("needed") or not names:
        return mount
    return mount | {"hierarchies": names}


def note(store: Store, number: str, groups: list[ControlGroup], *, running: bool = False) -> None:
    """Leave which groups are made for a container, before they are. Raises StoreError."""
    kept = running and oom_killed(store, number)
    fields = [[group.version, group.folder, list(group.controllers)] for group in groups]
    state = {"groups": fields, **({"oom_killed": True} if kept else {})}
    write_atomic(store.containers.file(number, STATE), dumps(state).encode())


def _state(store: Store, number: str) -> dict[str, Any]:
    try:
        with open(store.containers.file(number, STATE), "rb") as file:
            found: dict[str, Any] = loads(file.read())
    except (OSError, ValueError):
        return {}
    return found


def groups_of(store: Store, number: str) -> ControlGroups:
    """The groups that a container has; none for one that has no limits."""
    return _groups(_state(store, number))


def _groups(state: dict[str, Any]) -> ControlGroups:
    fields = state.get("groups") or ()
    return ControlGroups(ControlGroup(version, folder, tuple(names)) for version, folder, names in fields)


def oom_killed(store: Store, number: str) -> bool:
    """Whether the kernel has killed a process of it for want of memory, since its last start."""
    return _has_killed(_state(store, number))


def _has_killed(state: dict[str, Any]) -> bool:
    return bool(state.get("oom_killed")) or _groups(state).oom_kills() > 0


def note_oom(store: Store, number: str) -> None:
    """Keep that memory ran out, and that this was told. Raises StoreError."""
    state = _state(store, number) | {"oom_killed": True}
    write_atomic(store.containers.file(number, STATE), dumps(state).encode())


def finish(store: Store, number: str) -> bool:
    """Remove the groups of a container that has ended, and keep whether memory ran out; if it is news."""
    state = _state(store, number)
    killed = _has_killed(state)
    _groups(state).remove()
    path = store.containers.file(number, STATE)
    if killed:
        write_atomic(path, dumps({"oom_killed": True}).encode())
    else:
        unlink(path)
    return killed and not state.get("oom_killed")


def lift_dead(store: Store) -> None:
    """Remove the groups of all containers that nobody keeps any more, and of builds that were killed."""
    for row in store.containers.list():
        folder = store.containers.folder(row.id)
        if os.path.exists(f"{folder}/{STATE}") and not is_kept(folder):
            finish(store, row.id)
    made.sweep()
