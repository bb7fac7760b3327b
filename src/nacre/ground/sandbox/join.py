"""Running one more program in a container that runs already."""

from __future__ import annotations

import os

from ...words.errors import Conflict, SandboxError
from .. import cgroups, linux
from ..fork import fork_held
from .fork import WHAT
from .identity import NewSession
from .operations import Operation
from .plan import (
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
from .process import child, hide, is_root, listen, opened, stay
from .room import Room
from .stdio import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..fork import Child, ChildReport, Work
    from .stdio import Streams

_KINDS = {
    "user": linux.CLONE_NEWUSER, "mnt": linux.CLONE_NEWNS, "pid": linux.CLONE_NEWPID,
    "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS, "cgroup": linux.CLONE_NEWCGROUP,
    "net": linux.CLONE_NEWNET,
}  # fmt: skip
_OF_CHILDREN = linux.CLONE_NEWUSER | linux.CLONE_NEWPID


class Look(Operation):
    """The container's root is ours already: the namespaces were joined before the fork."""

    def apply(self, room: Room) -> None:  # noqa: D102
        room.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __str__(self) -> str:
        return "root of the container"


def join(config: Mapping[str, Any], pidfd: int, pid: int, attached: Attachment | None = None) -> int:
    """Run `config["process"]` in the namespaces of the process `pid`; the exit code as `run`.

    `pidfd` is a descriptor of that process and makes sure that it is still the one meant. A caller
    that is not `userns.mapped()` must own the container's user namespace. Raises as `run`, Conflict when the
    container has ended.
    """
    attached = attached or Attachment()
    streams = opened(attached.stdio, relayed=not is_root(config))
    try:
        own_users = bool(config["linux"].get("uidMappings"))
        operations = _operations(with_users_of(config, pid) if own_users else config, streams)
        if attached.channel >= 0:
            from .switched import within

            operations, streams.channel = within(operations), attached.channel
        work = child(operations, streams)  # here: over there nothing can be imported
        hide(config)
        with _fork(work, streams, pidfd, pid, own_users) as started:
            streams.given()
            listen(started, [])
            return stay(started, streams, attached)
    finally:
        streams.close()


def _fork(work: Work, streams: Streams, pidfd: int, pid: int, own_users: bool) -> Child:
    kinds = _kinds(pid)
    if own_users:  # entered at last, as by the first program
        kinds &= ~linux.CLONE_NEWUSER

    def inside(report: ChildReport) -> None:
        cgroups.follow(pid)
        linux.setns(pidfd, kinds & ~_OF_CHILDREN)
        os.close(pidfd)
        work(report)

    keep = (*streams.passed, pidfd)
    try:
        return fork_held(lambda: _prepare(pidfd, kinds), inside, what=WHAT, keep=keep)
    except ProcessLookupError:
        raise Conflict("the container is not running") from None
    except OSError as error:
        raise SandboxError(f"cannot enter the container: {error.strerror}") from None


def _kinds(pid: int) -> int:
    """Joining the one we are in may be forbidden: the host's network belongs to another user namespace."""
    kinds = 0
    for name, kind in _KINDS.items():
        if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
            kinds |= kind
    return kinds


def _prepare(pidfd: int, kinds: int) -> None:
    """In the parent, which enters no namespace but that of users, which permits the rest.

    From here on processes of the container must not look into its child (runc CVE-2016-9962).
    """
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    if kinds & _OF_CHILDREN:
        linux.setns(pidfd, kinds & _OF_CHILDREN)


def with_users_of(config: Mapping[str, Any], pid: int) -> dict[str, Any]:
    """The config with the user namespace of a process, by its path in the container. Raises Conflict."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            number = next(line.split()[-1] for line in file if line.startswith("NSpid:"))
    except (OSError, StopIteration):
        raise Conflict("the container is not running") from None
    from .userns import with_namespace

    return with_namespace(config, f"/proc/{number}/ns/user")


def _operations(config: Mapping[str, Any], streams: Streams) -> list[Operation]:
    process, system = config["process"], config.get("linux") or {}
    users = hold_users(system)
    return [
        *oom_score(process),
        *users,
        Look(),
        account(process["user"]),
        working_folder(process),
        NewSession(streams.owned),
        *resource_limits(process),
        *apparmor(process),
        *enter_users(users),
        confine(process, system, linux.MACHINE),
        execute(process),
    ]
