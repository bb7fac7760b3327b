"""The processes of a container, found by what the kernel shows of all of them.

Source: proc_pid_stat(5), pid_namespaces(7).
"""

from __future__ import annotations

import os

from ...words.value import Value

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
    everybody = list(_processes())
    inside = {pid, *_in_namespace_of(pid, everybody)}
    before = 0
    while len(inside) != before:
        before = len(inside)
        inside.update(each.pid for each in everybody if each.parent in inside)
    return [each for each in everybody if each.pid in inside]


def _in_namespace_of(pid: int, everybody: list[MemberProcess]) -> list[int]:
    theirs = _namespace(pid)
    if not theirs or theirs == _namespace(os.getpid()):
        return []
    return [each.pid for each in everybody if _namespace(each.pid) == theirs]


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _processes() -> Iterator[MemberProcess]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = _process(int(name))
            if process:
                yield process


def _process(pid: int) -> MemberProcess | None:
    """None for one that has ended meanwhile. Its name may hold anything, so what follows counts."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) <= _THREADS:
        return None
    times = sum(map(int, fields[_TIMES]))
    return MemberProcess(pid, int(fields[_PARENT]), times * _TICK, int(fields[_THREADS]))
