"""Changing the limits and the restart policy of a container, and what it uses meanwhile."""

from __future__ import annotations

from ...ground.limits import groups as made
from ...ground.limits.groups import ControlGroups
from ...ground.limits.machine import disk_numbers, machine
from ...images.model.limits import checked, resources, updated
from ...images.model.permitted import tell
from ...words.errors import Conflict, SandboxError, Unsupported, UsageError
from ...words.quickjson import loads
from .keeper import is_kept
from .limits import finish, groups_of, limits_of, note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.limits.groups import MissingLimit
    from ...ground.limits.usage import ContainerUsage
    from ...images.model.limits import Limits
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import Containers


def update(
    containers: Containers, text: str, limits: Limits | None, restart: str, warn: Callable[[str], object]
) -> ContainerRow:
    """Change what is given; the row. Nothing is changed if a part of it is refused.

    Raises UsageError and Conflict in docker's words, SandboxError for what the kernel refuses.
    """
    row = containers.get(text)
    changes = _policy(row, restart) if restart else {}
    if limits is not None:
        changes["limits"] = _limit(containers.store, row, limits, warn).fields()
    row = containers.store.containers.change(row.id, lambda record: record | changes)
    if row.state == "running" and not is_kept(containers.folder(row.id)):  # it has ended meanwhile
        finish(containers.store, row.id)
    containers.tell(row, "update")
    return row


def _policy(row: ContainerRow, restart: str) -> dict[str, Any]:
    from ...grammars.restart import parse_restart

    try:
        policy = parse_restart(restart)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if row.auto_remove and policy.name != "no":
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    return {"restart": [policy.name, policy.maximum]}


def _limit(store: Store, row: ContainerRow, new: Limits, warn: Callable[[str], object]) -> Limits:
    limits = checked(updated(limits_of(loads(row.config_json)), new), machine())
    wanted = resources(limits, disk_numbers)
    if row.state == "running":
        tell(limits, _apply(store, row, wanted), warn)
    else:
        tell(limits, made.refused(wanted, limits.cgroup_parent), warn)
    return limits


def _apply(store: Store, row: ContainerRow, wanted: dict[str, Any]) -> list[MissingLimit]:
    if loads(row.config_json)["runtime"] != "builtin":
        raise Unsupported("the limits of a running container of another runtime cannot be changed")
    groups, lost = _completed(store, row, wanted)
    return [*lost, *groups.apply(wanted)]


def used(containers: Containers, text: str) -> ContainerUsage | None:
    """What a container uses now; None for one that does not run."""
    from ...ground.limits.usage import usage

    row = containers.get(text)
    if row.state != "running":
        return None
    return usage(row.pid, groups_of(containers.store, row.id))


def _completed(
    store: Store, row: ContainerRow, wanted: dict[str, Any]
) -> tuple[ControlGroups, list[MissingLimit]]:
    """The groups of a running container, with those that it was started without; and what has none."""
    groups = groups_of(store, row.id)
    there = {name for group in groups.groups for name in group.controllers}
    found, lost = made.reachable(wanted, pid=row.pid)
    new = made.make(
        row.id, wanted, [place for place in found if there.isdisjoint(place.controllers)],
        note=lambda each: note(store, row.id, [*groups.groups, *each], running=True),
    )  # fmt: skip
    try:
        _move(row.pid, new)
    except OSError as error:
        new.remove()
        raise SandboxError(f"cannot move the container into control groups: {error.strerror}") from None
    both = ControlGroups([*groups.groups, *new.groups])
    return both, [each for each in lost if not both.folder(each.controller)]


def _move(pid: int, groups: ControlGroups) -> None:
    """Until all are there: a process that forks meanwhile may leave a child behind."""
    from ...ground.limits.members import members

    moved: set[int] = set()
    while new := {each.pid for each in members(pid)} - moved:
        groups.move(new)
        moved |= new
