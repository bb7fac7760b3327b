"""The default list of system calls as rules: which of them hold for a machine and a set of capabilities.

The rules are facts of docker's profile (`facts`, made by tools/seccomp.py). Imported only when the
capabilities are not the default ones, or when a bundle is written for another runtime.
"""

from __future__ import annotations

from ...words.errors import Unsupported
from .capabilities import DEFAULT_BITS, bits
from .facts import RULES
from .syscalls import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Condition = tuple[int, str, int, int]
    Outcome = tuple[int, tuple[tuple[Condition, ...], ...]]
    Applying = tuple[int, tuple[str, ...], tuple[Condition, ...]]

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "aarch64": ["SCMP_ARCH_AARCH64"],
    "riscv64": ["SCMP_ARCH_RISCV64"], "loongarch64": ["SCMP_ARCH_LOONGARCH64"],
}  # fmt: skip
_OPERATORS = {
    "<": "SCMP_CMP_LT", "<=": "SCMP_CMP_LE", "==": "SCMP_CMP_EQ", "!=": "SCMP_CMP_NE", ">=": "SCMP_CMP_GE",
    ">": "SCMP_CMP_GT", "&": "SCMP_CMP_MASKED_EQ",
}  # fmt: skip


def unknown(machine: str) -> Unsupported:
    """What to raise for a processor whose system calls are not known here."""
    return Unsupported(
        f"there is no system call list for {machine}", hint="--security-opt seccomp=unconfined"
    )


def rules(machine: str, capabilities: int = DEFAULT_BITS) -> Iterator[Applying]:
    """Error number (0: allowed), names, conditions on arguments."""
    for error, names, conditions, wanted, unwanted, machines in RULES:
        if machines and machine not in machines:
            continue
        if (wanted and not capabilities & bits((wanted,))) or (unwanted and capabilities & bits((unwanted,))):
            continue
        yield error, names, conditions


def outcomes(machine: str, half: str, capabilities: int = DEFAULT_BITS) -> dict[int, Outcome]:
    """By number: what is refused anyway is left out. `half`: i386 for 32-bit programs on x86_64."""
    table = numbers(half)
    found: dict[int, Outcome] = {}
    for error, names, conditions in rules(machine, capabilities):
        for number in (table[name] for name in names if name in table):
            found[number] = _joined(found.get(number, (1, ())), error, conditions)
    return found


def _joined(known: Outcome, error: int, conditions: tuple[Condition, ...]) -> Outcome:
    """What is allowed by one rule is allowed; an error of its own stands for the general one."""
    if known[0] == 0 or (error == 0 and not conditions):
        return 0, ()
    return (error, known[1]) if error else (known[0], (*known[1], conditions))


def newest(half: str) -> int:
    """The highest number that the list knows; above it the answer is ENOSYS, so that programs fall back."""
    table = numbers(half)
    return max(table[name] for rule in RULES for name in rule[1] if name in table)


def document(machine: str, capabilities: int = DEFAULT_BITS) -> dict[str, Any]:
    """The same list as `linux.seccomp` of an OCI runtime config. Raises Unsupported."""
    if machine not in _ARCHITECTURES:
        raise unknown(machine)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": _ARCHITECTURES[machine],
        "syscalls": [_described(*rule) for rule in rules(machine, capabilities)],
    }


def _described(error: int, names: tuple[str, ...], conditions: tuple[Condition, ...]) -> dict[str, Any]:
    action = {"action": "SCMP_ACT_ERRNO", "errnoRet": error} if error else {"action": "SCMP_ACT_ALLOW"}
    args = [
        {"index": index, "value": value, "valueTwo": second, "op": _OPERATORS[operator]}
        for index, operator, value, second in conditions
    ]
    return {"names": list(names), **action, **({"args": args} if args else {})}
