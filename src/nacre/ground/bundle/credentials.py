"""Who the program of a config is, and what it may do. Source: OCI runtime-spec config.md, "process"."""

from __future__ import annotations

import os
from struct import error as StructError

from ...words.errors import NacreError, SandboxError
from .. import linux
from ..sandbox.capabilities import ALL, CAP_SYS_ADMIN, bits
from ..sandbox.identity import Confine
from ..sandbox.room import Operation
from ..sandbox.users import User, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..sandbox.room import Room

_LINUX32 = 0x0008
_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
_SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8, "SCHED_FLAG_KEEP_PARAMS": 16, "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}  # fmt: skip
_SETS = "effective", "permitted", "inheritable", "ambient"


class KnownAccount(Operation):
    """Ids as the config gives them; the home folder from the container's own files."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            home = resolve(room.root, str(self.uid)).home
        except NacreError:
            home = "/"
        room.user = User(self.uid, self.gid, self.groups, home)

    def __str__(self) -> str:
        return f"user {self.uid}:{self.gid}"


class KernelSettings(Operation):
    """How the kernel treats it: execution domain, priorities. `Confine` takes the rights for these away."""

    personality: str = ""
    priority: tuple[str, int] | None = None
    scheduler: tuple[int, int, int, int, tuple[int, int, int]] | None = None

    def apply(self, room: Room) -> None:  # noqa: D102
        what = "linux.personality"
        try:
            if self.personality:
                linux.personality(_LINUX32 if self.personality == "LINUX32" else 0)
            what = "process.ioPriority"
            if self.priority:
                linux.ioprio_set(_CLASSES[self.priority[0]], self.priority[1])
            what = "process.scheduler"
            if self.scheduler:
                linux.sched_setattr(*self.scheduler)
        except (OSError, StructError) as error:
            raise SandboxError(f"cannot apply {what}: {getattr(error, 'strerror', error)}") from None

    def __str__(self) -> str:
        return "execution domain and priorities"


class Label(Operation):
    """The SELinux label that the program gets when it is executed."""

    label: str

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            fd = os.open("/proc/thread-self/attr/exec", os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, self.label.encode())
            os.close(fd)
        except OSError as error:
            raise SandboxError(f"cannot apply process.selinuxLabel: {error.strerror}") from None

    def __str__(self) -> str:
        return f"SELinux label {self.label}"


class ConfineCapabilities(Confine):
    """As `Confine`, with all the sets of capabilities that a config has. `capabilities` is the bounding one.

    The kernel has no ambient capability that is not inheritable too: of those that a config asks for all the
    same, as `runc spec` does, nothing is heard, as with runc. Source: capabilities(7).
    """

    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0

    def apply(self, room: Room) -> None:  # noqa: D102
        linux.prctl(linux.PR_SET_KEEPCAPS, 1)
        super().apply(room)

    def _set_capabilities(self, user: User, room: Room) -> None:
        permitted = linux.capabilities()[1]
        missing = (self.permitted | self.inheritable) & ~permitted
        if missing:
            names = " ".join(name for number, name in enumerate(ALL) if missing >> number & 1)
            raise SandboxError(f"cannot give what is not ours: process.capabilities: {names}")
        kept = 0
        if self.filter:
            room.filter, room.capabilities = (self.filter, self.flags), self.permitted
            kept = 0 if self.no_new_privileges else permitted & CAP_SYS_ADMIN
        linux.set_capabilities(self.effective | kept, self.permitted | kept, self.inheritable)
        linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
        possible = self.ambient & self.permitted & self.inheritable
        for number in range(len(ALL)):
            if possible >> number & 1:
                linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, number)


def confine_capabilities(process: Mapping[str, Any], code: bytes, flags: int) -> ConfineCapabilities:
    """From a process that was checked. Names that this version does not know are refused by `check_names`."""
    sets = process.get("capabilities") or {}
    found: Any = {name: bits(sets.get(name) or ()) for name in _SETS}
    bounding, strict = bits(sets.get("bounding") or ()), bool(process.get("noNewPrivileges"))
    return ConfineCapabilities(bounding, code, strict, late=bool(code), flags=flags, **found)


def tune(process: Mapping[str, Any], system: Mapping[str, Any]) -> list[Operation]:
    """What a config says of them."""
    domain = (system.get("personality") or {}).get("domain", "")
    io, scheduler = process.get("ioPriority"), process.get("scheduler")
    priority = (io["class"], io.get("priority", 0)) if io else None
    attributes = _scheduled(scheduler) if scheduler else None
    return [KernelSettings(domain, priority, attributes)] if domain or priority or attributes else []


def _scheduled(scheduler: Mapping[str, Any]) -> tuple[int, int, int, int, tuple[int, int, int]]:
    flags = sum({_SCHEDULER_FLAGS[name] for name in scheduler.get("flags") or ()})
    times = tuple(scheduler.get(name, 0) for name in ("runtime", "deadline", "period"))
    return (
        _POLICIES[scheduler["policy"]], flags, scheduler.get("nice", 0), scheduler.get("priority", 0),
        (times[0], times[1], times[2]),
    )  # fmt: skip
