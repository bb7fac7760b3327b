"""What a container uses: from its control groups, and from its processes where it has none.

Source: docker/cli command/container/stats_helpers.go for what is counted; proc_pid_io(5),
proc_pid_smaps(5), proc_pid_net(5); Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import os
import time

from ...words.value import Value
from .hierarchies import numbers, read, unified_folder
from .members import members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .groups import ControlGroups
    from .members import MemberProcess

_KIB = 1024
_COUNTED = (("cpuacct", "cpu"), ("memory", "memory"), ("pids", "pids"), ("blkio", "io"))


class ContainerUsage(Value):
    """At one moment: `at` and `cpu` in nanoseconds, `limit` 0 if only the machine limits the memory.

    `memory` is without what the kernel can drop at once. What was read, written, received and sent is in
    bytes, since the start. `pids` are threads, as docker counts them.
    """

    at: int
    cpu: int = 0
    memory: int = 0
    limit: int = 0
    machine: int = 0
    pids: int = 0
    read: int = 0
    written: int = 0
    received: int = 0
    sent: int = 0


def usage(pid: int, groups: ControlGroups) -> ContainerUsage:
    """Of the container whose first process is `pid`. What cannot be seen is 0."""
    whole = all(groups.folder(name) or groups.folder(other) for name, other in _COUNTED)
    inside = [] if whole else members(pid)
    received, sent = _network(pid)
    done, written = _disk(groups, inside)
    return ContainerUsage(
        at=time.monotonic_ns(), cpu=_cpu(pid, groups, inside), memory=_memory(groups, inside),
        limit=_limit(groups), machine=_machine_memory(), pids=_pids(groups, inside), read=done,
        written=written, received=received, sent=sent,
    )  # fmt: skip


def _cpu(pid: int, groups: ControlGroups, inside: Iterable[MemberProcess]) -> int:
    first = _number(groups.folder("cpuacct"), "cpuacct.usage")
    if first:
        return first
    second = numbers(groups.folder("cpu") or _own_unified(pid), "cpu.stat").get("usage_usec", 0)
    return second * 1000 or sum(each.cpu for each in inside)


def _own_unified(pid: int) -> str:
    """The group of version 2 that a container has for itself."""
    folder = unified_folder(pid)
    return folder if os.path.basename(folder).startswith("nacre") else ""


def _memory(groups: ControlGroups, inside: Iterable[MemberProcess]) -> int:
    folder = groups.folder("memory")
    for usage, inactive in (("usage_in_bytes", "total_inactive_file"), ("current", "inactive_file")):
        used = _number(folder, f"memory.{usage}")
        if used:
            idle = numbers(folder, "memory.stat").get(inactive, 0)
            return used - idle if idle < used else used
    return sum(_proportion(each.pid) for each in inside)


def _proportion(pid: int) -> int:
    """The share of a process in what is in memory; all of it where the kernel does not tell the share."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        for line in read(f"/proc/{pid}", name).split("\n"):
            if line.startswith(key):
                return int(line.split()[1]) * _KIB
    return 0


def _limit(groups: ControlGroups) -> int:
    folder = groups.folder("memory")
    found = _number(folder, "memory.limit_in_bytes") or _number(folder, "memory.max")
    return found if found < _machine_memory() else 0


def _machine_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _pids(groups: ControlGroups, inside: Iterable[MemberProcess]) -> int:
    return _number(groups.folder("pids"), "pids.current") or sum(each.threads for each in inside)


def _disk(groups: ControlGroups, inside: Iterable[MemberProcess]) -> tuple[int, int]:
    if folder := groups.folder("blkio"):
        lines = [
            line.split() for line in read(folder, "blkio.throttle.io_service_bytes_recursive").split("\n")
        ]
        return _sum(lines, "Read"), _sum(lines, "Write")
    if folder := groups.folder("io"):
        words = [word.partition("=") for word in read(folder, "io.stat").split()]
        return _total(words, "rbytes"), _total(words, "wbytes")
    found = [
        [line.partition(": ") for line in read(f"/proc/{each.pid}", "io").split("\n")] for each in inside
    ]
    return sum(_total(one, "read_bytes") for one in found), sum(_total(one, "write_bytes") for one in found)


def _sum(lines: list[list[str]], kind: str) -> int:
    return sum(int(line[2]) for line in lines if len(line) == 3 and line[1] == kind)


def _total(words: list[tuple[str, str, str]], name: str) -> int:
    return sum(int(value) for key, _, value in words if key == name and value.isdigit())


def _network(pid: int) -> tuple[int, int]:
    """Of all its interfaces but loopback; nothing where it shares those of this machine."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return 0, 0
    except OSError:
        return 0, 0
    lines = [line.partition(":") for line in read(f"/proc/{pid}/net", "dev").split("\n")]
    fields = [rest.split() for name, colon, rest in lines if colon and name.strip() != "lo"]
    return sum(int(each[0]) for each in fields), sum(int(each[8]) for each in fields)


def _number(folder: str, name: str) -> int:
    text = read(folder, name).strip() if folder else ""
    return int(text) if text.isdigit() else 0
