"""A list of system calls in the words of the runtime-spec (`linux.seccomp`), compiled.

As libseccomp reads it: a rule without conditions decides whatever others say, the first of them if there are
several; of rules with conditions the first that holds; a rule that says what the default says is none. Of two
conditions on one argument either is enough, as in runc. Arguments are compared with all their 64 bits. Calls
that are newer than all that the list names are absent, unless it allows what it does not name.
Source: OCI runtime-spec config-linux.md "Seccomp"; libseccomp db.c; runc libcontainer/seccomp.
"""

from __future__ import annotations

from ...words.errors import Unsupported, UsageError
from .seccomp import ALLOW, AUDIT, ENOSYS, ERROR, HALVES, assemble, segments
from .syscalls import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .profile import Condition
    from .seccomp import Segment, Verdict

_MOST = 4096  # BPF_MAXINSNS
_X32 = 0x40000000
_EPERM = 1
_VERDICTS = {
    "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": ERROR, "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": ALLOW,
}  # fmt: skip
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
ARCHITECTURES = {
    "x86_64": "SCMP_ARCH_X86_64", "i386": "SCMP_ARCH_X86", "aarch64": "SCMP_ARCH_AARCH64",
    "riscv64": "SCMP_ARCH_RISCV64", "loongarch64": "SCMP_ARCH_LOONGARCH64",
}  # fmt: skip
"""Those that filters are made for, by the names of their system calls."""

_SOCKETS = """
socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown
setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg
""".split()  # noqa: SIM905
_IPC = {
    "semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13,
    "msgctl": 14, "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
}  # fmt: skip
_SHARED = {
    **{name: (102, number) for number, name in enumerate(_SOCKETS, 1)},
    **{name: (117, number) for name, number in _IPC.items()},
}
"""By name: the call of 32-bit x86 that does it too (socketcall, ipc), and its first argument."""


def compiled(document: Mapping[str, Any], machine: str) -> tuple[bytes, int]:
    """The program and the flags for seccomp(2). Raises Unsupported, UsageError when the list is too long."""
    if machine not in AUDIT or machine == "i386":
        raise Unsupported(f"no system calls of {machine} are known here", hint="seccomp=unconfined")
    halves = [
        (half, _half(document, half))
        for half in HALVES.get(machine, (machine,))
        if ARCHITECTURES[half] in document["architectures"]
    ]
    code = assemble(halves, _VERDICTS["SCMP_ACT_KILL"])
    if len(code) // 8 > _MOST:
        raise UsageError(
            f"the seccomp profile needs a filter of {len(code) // 8} instructions, the kernel takes {_MOST}"
        )
    return code, sum({_FLAGS[name] for name in document.get("flags") or ()})


def _half(document: Mapping[str, Any], half: str) -> list[Segment]:
    default = _verdict(document["defaultAction"], document.get("defaultErrnoRet"))
    found: dict[int, Verdict] = {}
    newest = 0
    for number, answer, conditions in _rules(document, half):
        newest = max(newest, number)
        if answer != default:
            found[number] = _added(found.get(number, (default, ())), default, answer, conditions)
    lenient = default in (ALLOW, _VERDICTS["SCMP_ACT_LOG"])
    result = segments(found, newest, default, default if lenient else ERROR | ENOSYS)
    return [*result, (_X32, (ERROR | ENOSYS, ()))] if half == "x86_64" else result


def _added(known: Verdict, default: int, answer: int, conditions: tuple[Condition, ...]) -> Verdict:
    final, alternatives = known
    if final != default:
        return known
    return (final, (*alternatives, (answer, conditions))) if conditions else (answer, ())


def _rules(document: Mapping[str, Any], half: str) -> Iterator[tuple[int, int, tuple[Condition, ...]]]:
    """Numbers, answers and conditions, which are on words of 32 bits."""
    table = numbers(half)
    for rule in document.get("syscalls") or ():
        answer = _verdict(rule["action"], rule.get("errnoRet"))
        tests = list(_tests(rule.get("args") or ()))
        for name in rule["names"]:
            if name in table:
                yield from ((table[name], answer, conditions) for conditions in tests)
            if half == "i386" and name in _SHARED and not rule.get("args"):
                number, first = _SHARED[name]
                yield number, answer, ((0, "==", first, 0),)


def _verdict(action: str, error: int | None) -> int:
    return _VERDICTS[action] | ((_EPERM if error is None else error) if action == "SCMP_ACT_ERRNO" else 0)


def _tests(args: Any) -> Iterator[tuple[Condition, ...]]:
    """Alternatives, each a conjunction; a single empty one for a rule without conditions."""
    indices = [each["index"] for each in args]
    if len(set(indices)) < len(indices):
        for each in args:
            yield from _words(each)
        return
    found: list[tuple[Condition, ...]] = [()]
    for each in args:
        found = [(*before, *more) for before in found for more in _words(each)]
    yield from found


def _words(test: Mapping[str, Any]) -> list[tuple[Condition, ...]]:
    """A condition on an argument as alternatives on its two halves; the low one comes first in memory."""
    low, high = 2 * test["index"], 2 * test["index"] + 1
    value, second = test["value"], test.get("valueTwo") or 0
    operator = test["op"].removeprefix("SCMP_CMP_")
    above, below = value >> 32, value & 0xFFFFFFFF
    same = (high, "==", above, 0)
    if operator == "EQ":
        return [(same, (low, "==", below, 0))]
    if operator == "NE":
        return [((high, "!=", above, 0),), ((low, "!=", below, 0),)]
    if operator == "MASKED_EQ":
        wanted = second & value
        return [((high, "&", above, wanted >> 32), (low, "&", below, wanted & 0xFFFFFFFF))]
    sign = {"LT": "<", "LE": "<=", "GT": ">", "GE": ">="}[operator]
    return [((high, sign[0], above, 0),), (same, (low, sign, below, 0))]
