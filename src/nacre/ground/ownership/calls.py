"""The system calls that are answered, by architecture.

A stat is not among them: each would take ten times as long, and programs make thousands. Nor are the calls of
32-bit programs whose ids have 16 bits. A change of the limit in which the table of credentials has its
numbers is let go by without effect: programs that start a session set all limits to what they were.
Source: linux/audit.h.
"""

from __future__ import annotations

from ..network.notifier import handed, ignored
from ..sandbox import syscalls
from .table import LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ..network.notifier import Code

OWN = ("chown", "lchown", "fchown", "fchownat")
SET = (
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups",
)  # fmt: skip
GET = ("getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups")

_ALL = (*OWN, *SET, *GET)
_HALVES = {
    "x86_64": ((0xC000003E, "x86_64"), (0x40000003, "i386")),
    "aarch64": ((0xC00000B7, "aarch64"),),
    "riscv64": ((0xC00000F3, "riscv64"),),
    "loongarch64": ((0xC0000102, "loongarch64"),),
}


def numbers(machine: str) -> dict[int, dict[int, str]]:
    """Names by the number of the architecture and that of the call; {} where they are not known."""
    return {arch: _named(half) for arch, half in _HALVES.get(machine, ())}


def filters(machine: str, names: Collection[str]) -> dict[int, Code]:
    """The part of a filter that hands those with these `names` over, by the number of the architecture."""
    return {arch: _filter(half, names) for arch, half in _HALVES.get(machine, ())}


def _filter(half: str, names: Collection[str]) -> Code:
    known = syscalls.numbers(half)
    code = handed(number for number, name in _named(half).items() if name in names)
    for call, place, pointer in (("setrlimit", 0, -1), ("prlimit64", 1, 2)):
        code += ignored(known[call], LIMIT, place, pointer) if call in known else []
    return code


def _named(half: str) -> dict[int, str]:
    known = syscalls.numbers(half)
    wide = {name: name + "32" if name + "32" in known else name for name in _ALL}
    return {known[full]: name for name, full in wide.items() if full in known}
