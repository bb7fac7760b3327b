"""Running one more program in a container that runs already.

Where its sockets are `switched`, the program is forked by a zygote: we connect to it, hand over what the
program needs, and stay with it as with a child of ours (`_connected`, and `serve` on the other side).
"""

from __future__ import annotations

import _socket
import os
from errno import ECONNREFUSED

from ...words.errors import Conflict, SandboxError
from ...words.quickjson import dumps, loads
from .. import cgroups, linux, userns
from ..fork import ChildReport, fork_elsewhere, fork_held, hold
from ..network.descriptors import hand_all, received_all
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
    is_root,
    oom_score,
    resource_limits,
    working_folder,
)  # fmt: skip
from .process import child, hide, listen, opened, stay
from .room import Room
from .stdio import Attachment, StreamDescriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..fork import Child
    from .stdio import Streams

KINDS = {
    "user": linux.CLONE_NEWUSER, "mnt": linux.CLONE_NEWNS, "pid": linux.CLONE_NEWPID,
    "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS, "cgroup": linux.CLONE_NEWCGROUP,
    "net": linux.CLONE_NEWNET,
}  # fmt: skip
"""Flags by the names in /proc/PID/ns."""

_LENGTH, _HANDED = 4, 6
"""Bytes of a length, and descriptors that come with it: the standard streams, a pidfd, two ends of pipes."""
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
        if attached.channel < 0 and userns.is_single(pid):
            from .calls import attend_in

            attached = attend_in(config, attached, streams, (pidfd, pid))
        hide(config)
        with _begun(config, streams, pidfd, pid, attached.channel) as started:
            streams.given()
            listen(started, [])
            return stay(started, streams, attached)
    finally:
        streams.close()


def _begun(config: Mapping[str, Any], streams: Streams, pidfd: int, pid: int, channel: int) -> Child:
    if channel >= 0:
        return _connected(config, streams, pidfd, pid, channel)
    program = Joining(config, streams, pidfd, pid)
    try:
        return fork_held(program.prepare, program.begin, what=WHAT, keep=program.kept)
    except ProcessLookupError:
        raise Conflict("the container is not running") from None
    except OSError as error:
        raise SandboxError(f"cannot enter the container: {error.strerror}") from None


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
        self._work, self._pidfd, self._pid = child(operations, streams), pidfd, pid
        self.kept = (*streams.passed, pidfd)
        kinds = foreign(pid, KINDS)
        self._kinds = kinds & ~linux.CLONE_NEWUSER if own_users else kinds  # entered at last, as by the first

    def prepare(self) -> None:
        """In the parent, which enters no namespace but that of users, which permits the rest.

        From here on processes of the container must not look into its child (runc CVE-2016-9962).
        """
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        if self._kinds & _OF_CHILDREN:
            linux.setns(self._pidfd, self._kinds & _OF_CHILDREN)

    def begin(self, report: ChildReport) -> None:
        """In the child, which becomes the program."""
        cgroups.follow(self._pid)
        linux.setns(self._pidfd, self._kinds & ~_OF_CHILDREN)
        os.close(self._pidfd)
        self._work(report)


def _connected(
    config: Mapping[str, Any], streams: Streams, pidfd: int, pid: int, channel: int
) -> Child:  # fmt: skip
    """By a zygote, which listens at `channel`."""
    told = {"config": config, "pid": pid, "owned": streams.owned, "terminal": streams.terminal}

    def ask(*ends: int) -> int:
        own = os.dup(channel)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, own)
        if not connection.recv(1):  # what comes before it is another's
            raise OSError(ECONNREFUSED, os.strerror(ECONNREFUSED))
        data = dumps(told).encode()
        hand_all(connection, len(data).to_bytes(_LENGTH, "big"), (*streams.child, pidfd, *ends))
        connection.sendall(data)
        connection.detach()
        return own

    try:
        return fork_elsewhere(ask, what=WHAT)
    except OSError as error:
        raise SandboxError(f"cannot enter the container: {error.strerror}") from None


def serve(connection: int) -> None:
    """In a process that a zygote has begun: be the parent of the program that is asked for."""
    report = ChildReport(connection)
    try:
        told, (*standard, pidfd, writer, learned) = _received(connection)
        taken = standard[0], standard[1], standard[2]
        streams = StreamDescriptors(taken, tuple(told["owned"]), told["terminal"])
        program = Joining(told["config"], streams, pidfd, told["pid"])
        hold(program.prepare, program.begin, report, (writer, learned), program.kept)
    except BaseException as error:
        report.fail(error)


def _received(connection: int) -> tuple[dict[str, Any], list[int]]:
    """What is told and handed over once the other side learns that somebody listens. Raises OSError."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection)
    socket.setblocking(True)
    socket.send(b".")
    head, descriptors = received_all(socket, _LENGTH, _HANDED)
    length, data = int.from_bytes(head, "big"), bytearray()
    while len(data) < length and (piece := socket.recv(length - len(data))):
        data += piece
    socket.detach()
    told: dict[str, Any] = loads(bytes(data))
    return told, descriptors


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
