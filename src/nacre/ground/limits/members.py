"""The processes of a container, found by what the kernel shows of all of them.

Source: proc_pid_stat(5), pid_namespaces(7).
"""

from __future__ import annotations

import os

from ...words.value import Value
from ..linux import process_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES, _THREADS = 1, slice(11, 15), 17


class MemberProcess(Value):
    """One process: `cpu` in nanoseconds, with that of children that have ended and were waited for."""

    pid: int
    parent: int
    cpu: int
    threads: int


def members(pid: int) -> list[MemberProcess]:
    """All in the pid namespace of `pid`, if it has one of its own, and what descends from them."""
    everybody = list(all_processes())
    inside = descendants({pid, *_in_namespace_of(pid, everybody)}, everybody)
    return [each for each in everybody if each.pid in inside]


def descendants(first: set[int], everybody: list[MemberProcess]) -> set[int]:
    """These processes, and all that they started."""
    inside, before = set(first), 0
    while len(inside) != before:
        before = len(inside)
        inside.update(each.pid for each in everybody if each.parent in inside)
    return inside


def _in_namespace_of(pid: int, everybody: list[MemberProcess]) -> list[int]:
    theirs = namespace(pid)
    if not theirs or theirs == namespace("self"):
        return []
    return [each.pid for each in everybody if namespace(each.pid) == theirs]


def namespace(pid: int | str) -> str:
    """The pid namespace of a process; "" where it is not shown."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def all_processes() -> Iterator[MemberProcess]:
    """Those that this /proc shows."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = _process(int(name))
            if process:
                yield process


def _process(pid: int) -> MemberProcess | None:
    """None for one that has ended meanwhile. Its name may hold anything, so what follows counts."""
    try:
        _, fields = process_stat(pid)
    except OSError:
        return None
    if len(fields) <= _THREADS:
        return None
    times = sum(map(int, fields[_TIMES]))
    return MemberProcess(pid, int(fields[_PARENT]), times * _TICK, int(fields[_THREADS]))
