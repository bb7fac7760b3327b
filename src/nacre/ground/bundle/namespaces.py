"""Entering and making the namespaces of a container, in the process whose child becomes the container.

Namespaces that are there are opened first, by the host's paths, and checked for their kind. Then the user
namespace: what belongs to it can be joined only from inside, what belongs to us only from outside, so each is
tried before and, if that is refused, after. Source: setns(2), user_namespaces(7), time_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os

from ...words.errors import SandboxError
from ...words.value import Value
from .. import linux, mounts, userns
from ..limits.hierarchies import enter
from ..sandbox.operations import NAMESPACES
from ..sandbox.room import Room
from ..sandbox.tuning import OomScore
from ..sandbox.userns import extents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ..userns import Range

KINDS = {**NAMESPACES, "user": linux.CLONE_NEWUSER, "time": linux.CLONE_NEWTIME}
"""Flags by the words of the runtime-spec."""

_NS_GET_NSTYPE = 0xB703
_CLOCKS = {"monotonic": 1, "boottime": 7}


class NamespaceSettings(Value):
    """`joined` are pairs of a kind and a path, `made` the kinds of new ones.

    `clocks` are lines for timens_offsets. `folders` are control groups to enter before all.
    """

    joined: tuple[tuple[str, str], ...] = ()
    made: tuple[str, ...] = ()
    uids: tuple[Range, ...] = ()
    gids: tuple[Range, ...] = ()
    clocks: str = ""
    folders: tuple[str, ...] = ()
    oom_score: int | None = None

    def enter(self) -> None:
        """Move this process, or what it forks from now on, into them. Raises SandboxError.

        In there nobody may look into what it forks (runc CVE-2016-9962).
        """
        begin(self.folders, self.oom_score)
        held = {kind: _opened(kind, path) for kind, path in self.joined}
        try:
            self._join(held)
        finally:
            for fd in held.values():
                os.close(fd)
        self._make()
        linux.prctl(linux.PR_SET_DUMPABLE, 0)

    def _join(self, held: Mapping[str, int]) -> None:
        changes_user = "user" in held or "user" in self.made
        late = {}
        for kind, fd in held.items():
            if kind != "user" and not _joined(kind, fd, final=not changes_user):
                late[kind] = fd
        if "user" in held:
            _joined("user", held["user"], final=True)
            userns.become_root()
        if "user" in self.made:
            userns.make(self.uids, self.gids)
        for kind, fd in late.items():
            _joined(kind, fd, final=True)

    def _make(self) -> None:
        kinds = 0
        for kind in self.made:
            kinds |= KINDS[kind]
        if "mount" in self.made and mounts.leave(propagation=linux.MS_SLAVE):
            raise SandboxError("a bundle cannot be run in a chroot", hint="use the root of a mount namespace")
        rest = kinds & ~(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
        try:
            linux.unshare(rest)
        except OSError as error:
            names = " ".join(kind for kind in self.made if KINDS[kind] & rest)
            raise SandboxError(f"cannot make the namespaces {names}: {error.strerror}") from None
        if self.clocks:
            _set_clocks(self.clocks)


def begin(folders: Iterable[str], score: int | None) -> None:
    """What comes before all namespaces: control groups and the OOM score. Raises SandboxError."""
    enter(folders)
    if score is not None:
        OomScore(score).apply(Room())


def read_namespaces(
    system: Mapping[str, Any], folders: tuple[str, ...], score: int | None
) -> NamespaceSettings:
    """From `linux` of a config that was checked."""
    wanted = system.get("namespaces") or ()
    offsets = system.get("timeOffsets") or {}
    clocks = "".join(
        f"{_CLOCKS[name]} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n"
        for name, offset in offsets.items()
    )
    return NamespaceSettings(
        tuple((each["type"], each["path"]) for each in wanted if each.get("path")),
        tuple(each["type"] for each in wanted if not each.get("path")),
        extents(system.get("uidMappings") or ()), extents(system.get("gidMappings") or ()),
        clocks, folders, score,
    )  # fmt: skip


def _opened(kind: str, path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"cannot open the {kind} namespace {path}: {error.strerror}") from None
    try:
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        found = 0
    if found != KINDS[kind]:
        os.close(fd)
        raise SandboxError(f"{path} is no namespace of the kind {kind}")
    return fd


def _joined(kind: str, fd: int, *, final: bool) -> bool:
    try:
        linux.setns(fd, KINDS[kind])
    except OSError as error:
        if isinstance(error, PermissionError) and not final:
            return False
        raise SandboxError(f"cannot join the {kind} namespace: {error.strerror}") from None
    return True


def _set_clocks(text: str) -> None:
    fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise SandboxError(f"cannot set the offsets of clocks: {error.strerror}") from None
    finally:
        os.close(fd)
