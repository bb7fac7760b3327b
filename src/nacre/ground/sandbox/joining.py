"""What a program needs that joins the namespaces of a container."""

from __future__ import annotations

import os

from ...words.errors import Conflict
from .. import cgroups, linux
from .child import child
from .identity import NewSession
from .program import (
    account,
    apparmor,
    confine,
    enter_users,
    execute,
    hold_users,
    oom_score,
    resource_limits,
    working_folder,
)  # fmt: skip
from .room import Operation, Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..fork import ChildReport
    from .stdio import StreamDescriptors, Streams

KINDS = {
    "user": linux.CLONE_NEWUSER, "mnt": linux.CLONE_NEWNS, "pid": linux.CLONE_NEWPID,
    "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS, "cgroup": linux.CLONE_NEWCGROUP,
    "net": linux.CLONE_NEWNET,
}  # fmt: skip
"""Flags by the names in /proc/PID/ns."""


class Look(Operation):
    """The container's root is ours already: the namespaces were joined before the fork."""

    def apply(self, room: Room) -> None:  # noqa: D102
        room.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __str__(self) -> str:
        return "root of the container"


class Joining:
    """What a program that joins a container's namespaces needs; made where everything can be imported."""

    def __init__(
        self, config: Mapping[str, Any], streams: Streams | StreamDescriptors, pidfd: int, pid: int
    ) -> None:  # fmt: skip
        own_users = bool(config["linux"].get("uidMappings"))
        operations = _operations(with_users_of(config, pid) if own_users else config, streams.owned)
        if streams.channel >= 0:
            from .calls import notified

            operations = notified(operations, config)
        self._work, self._pidfd = child(operations, streams), pidfd
        self.kept = (*streams.passed, pidfd)
        self._groups = cgroups.GroupsOf(pid)
        kinds = foreign(pid, KINDS)
        self._kinds = kinds & ~linux.CLONE_NEWUSER if own_users else kinds  # entered at last, as by the first

    def prepare(self) -> None:
        """In the parent, which enters no namespace but that of users, which permits the rest.

        From here on processes of the container must not look into its child (runc CVE-2016-9962).
        """
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        if self._kinds & linux.CLONE_NEWUSER:
            linux.setns(self._pidfd, linux.CLONE_NEWUSER)

    def enter(self) -> None:
        """In a helper: its child, which the container sees, has the container's root from its beginning.

        Those that have CAP_SYS_PTRACE may look into it all the same.
        """
        self._groups.enter()
        linux.setns(self._pidfd, self._kinds & ~linux.CLONE_NEWUSER)

    def begin(self, report: ChildReport) -> None:
        """In the child, which becomes the program."""
        os.close(self._pidfd)
        self._work(report)

    def close(self) -> None:
        """What is needed before the fork alone is closed. Idempotent."""
        self._groups.close()


def foreign(pid: int, wanted: Mapping[str, int]) -> int:
    """Those of the `wanted` namespaces in which a process is and we are not. Raises OSError.

    Joining the one we are in may be forbidden: the host's network belongs to another user namespace.
    """
    kinds = 0
    for name, kind in wanted.items():
        if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
            kinds |= kind
    return kinds


def with_users_of(config: Mapping[str, Any], pid: int) -> dict[str, Any]:
    """The config with the user namespace of a process, by its path in the container. Raises Conflict."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            number = next(line.split()[-1] for line in file if line.startswith("NSpid:"))
    except (OSError, StopIteration):
        raise Conflict("the container is not running") from None
    from .userns import with_namespace

    return with_namespace(config, f"/proc/{number}/ns/user")


def _operations(config: Mapping[str, Any], owned: tuple[int, ...]) -> list[Operation]:
    process, system = config["process"], config.get("linux") or {}
    users = hold_users(system)
    return [
        *oom_score(process),
        *users,
        Look(),
        account(process["user"]),
        working_folder(process),
        NewSession(owned),
        *resource_limits(process),
        *apparmor(process),
        *enter_users(users),
        confine(process, system, linux.MACHINE),
        execute(process),
    ]
