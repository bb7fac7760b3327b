"""Where a group of version 2 can have controllers.

A group that has processes cannot give controllers to groups beneath it, but for the root of the hierarchy.
So there are these ways, in this order:

    given    the group of this process gives them already, or is the root
    alone    nobody but this program is in it, as after `systemd-run --scope -p Delegate=yes nacre ...`: it
             moves into a group beneath, and the other one is for the container
    scope    systemd makes such a group and moves this program into it (`scope`)
    beside   root, no systemd: next to the group of this process, if that has no limits that would be left

Source: Linux Documentation/admin-guide/cgroup-v2.rst "No Internal Process Constraint", "Delegation".
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from . import scope
from .hierarchies import OURS, places, read, words_of, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hierarchies import Hierarchy

GIVEN, ALONE, SCOPE, BESIDE = "given", "alone", "scope", "beside"
_SUBTREE = "cgroup.subtree_control"
_OWN = f"{OURS}supervisor"
_LIMITS = (("memory.max", "max"), ("memory.high", "max"), ("memory.swap.max", "max"), ("pids.max", "max"),
           ("cpuset.cpus", ""), ("io.max", ""))  # fmt: skip
_WHY = (
    "the control group of this process has others in it, and there is no systemd that would make another one"
)
_FOREIGN = "the control group of another process cannot be divided"


def why_not(place: Hierarchy, parent: str = "", pid: int | str = "self") -> str:
    """Why there can be no groups with controllers; "" if there can."""
    if parent:
        return "" if os.access(f"{place.top}/{_SUBTREE}", os.W_OK) else _WHY
    way = way_of(place)
    return _FOREIGN if pid != "self" and way in (ALONE, SCOPE) else "" if way else _WHY


def way_of(place: Hierarchy) -> str:
    """One of the four, or ""."""
    if os.access(f"{place.folder}/{_SUBTREE}", os.W_OK):
        if set(place.controllers) <= set(words_of(place.folder, _SUBTREE)) or place.is_root:
            return GIVEN
        if _is_alone(place.folder):
            return ALONE
    if scope.bus():
        return SCOPE
    return BESIDE if _may_be_left(place) else ""


def prepared(place: Hierarchy, parent: str = "") -> tuple[str, tuple[str, ...]]:
    """The group to make others in, and their controllers. Raises SandboxError."""
    try:
        return _prepared(place, parent)
    except OSError as error:
        raise SandboxError(f"cannot divide the control group of this process: {error}") from None


def _prepared(place: Hierarchy, parent: str) -> tuple[str, tuple[str, ...]]:
    if parent.endswith(".slice") and scope.bus():
        return _in_scope(parent)
    if parent:
        return _beneath(place, parent)
    way = way_of(place)
    if way == SCOPE:
        return _in_scope()
    if way == ALONE:
        return _divided(place)
    folder = os.path.dirname(place.folder) if way == BESIDE else place.folder
    return folder, enabled(folder, place.controllers)


def _in_scope(parent: str = "") -> tuple[str, tuple[str, ...]]:
    scope.enter(os.path.basename(parent))
    return _divided(next(place for place in places() if place.version != 1))


def _divided(place: Hierarchy) -> tuple[str, tuple[str, ...]]:
    """All of this program go into a group of their own, and the other groups can have controllers."""
    own = f"{place.folder}/{_OWN}"
    os.makedirs(own, exist_ok=True)
    for pid in words_of(place.folder, "cgroup.procs"):
        write(own, "cgroup.procs", pid)
    return place.folder, enabled(place.folder, place.controllers)


def _beneath(place: Hierarchy, parent: str) -> tuple[str, tuple[str, ...]]:
    """A path that the user names; each group on the way gives what it has to the next."""
    folder = place.top if parent.startswith("/") else place.folder
    controllers = enabled(folder, place.controllers)
    for name in parent.strip("/").split("/"):
        folder = f"{folder}/{name}"
        os.makedirs(folder, exist_ok=True)
        controllers = enabled(folder, controllers)
    return folder, controllers


def enabled(folder: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Give controllers to the groups beneath one, each by itself; those that they have then."""
    for name in wanted:
        if name not in words_of(folder, _SUBTREE):
            try:
                write(folder, _SUBTREE, f"+{name}")
            except OSError:
                continue
    return tuple(name for name in wanted if name in words_of(folder, _SUBTREE))


def _is_alone(folder: str) -> bool:
    """Whether all processes of a group are this program: its forks have its command line."""
    mine = _command_line("self")
    return all(_command_line(pid) in (mine, None) for pid in words_of(folder, "cgroup.procs"))


def _command_line(pid: str) -> bytes | None:
    """None for a process that has ended; one that is about to become a program has none yet."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return None


def _may_be_left(place: Hierarchy) -> bool:
    above = os.path.dirname(place.folder)
    gives = set(place.controllers) <= set(words_of(above, _SUBTREE))
    free = all(read(place.folder, name).strip() in (value, "") for name, value in _LIMITS)
    unlimited = free and read(place.folder, "cpu.max")[:3] in ("max", "")
    return place.folder != place.top and gives and unlimited and os.access(above, os.W_OK)
