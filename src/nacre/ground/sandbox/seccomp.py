"""The system call filter: docker's default list as a classic BPF program.

Compiled from the rules (`profile`): the numbers of system calls as segments with one outcome each, in a
binary search tree, about eight comparisons a call. For docker's default capabilities the result is kept in
`filters`. Only the low 32 bits of an argument are compared there, since that is all the kernel uses of these.
`document` has the lists that users bring. Source: seccomp(2), linux/bpf_common.h.
"""

from __future__ import annotations

from struct import Struct

from .capabilities import DEFAULT_BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .profile import Condition, Outcome

    Code = list[tuple[int, int, int, int]]
    Alternative = tuple[int, tuple[Condition, ...]]
    Verdict = tuple[int, tuple[Alternative, ...]]
    Segment = tuple[int, Verdict]

_LOAD, _JUMP, _AND, _EQUAL, _ABOVE, _AT_LEAST, _RETURN = 0x20, 0x05, 0x54, 0x15, 0x25, 0x35, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_EPERM = 1
ALLOW, ERROR, ENOSYS = 0x7FFF0000, 0x00050000, 38
AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3,
         "loongarch64": 0xC0000102}  # fmt: skip
HALVES = {"x86_64": ("x86_64", "i386")}
_TESTS = {"==": (_EQUAL, True), "!=": (_EQUAL, False), "<": (_AT_LEAST, False), "<=": (_ABOVE, False),
          ">": (_ABOVE, True), ">=": (_AT_LEAST, True), "&": (_EQUAL, True)}  # fmt: skip
_LOW = 0xFFFFFFFF
_PACK = Struct("=HBBI").pack


def program(machine: str, capabilities: int = DEFAULT_BITS) -> bytes:
    """The filter for a set of capabilities, ready for seccomp(2). Raises Unsupported."""
    from .profile import newest, outcomes, unknown

    if machine not in AUDIT or machine == "i386":
        raise unknown(machine)

    halves = []
    for half in HALVES.get(machine, (machine,)):
        verdicts = {
            number: _verdict(outcome) for number, outcome in outcomes(machine, half, capabilities).items()
        }
        halves.append((half, segments(verdicts, newest(half), ERROR | _EPERM, ERROR | ENOSYS)))
    return assemble(halves, ERROR | ENOSYS)


def assemble(halves: Iterable[tuple[str, list[Segment]]], foreign: int) -> bytes:
    """The program for the architectures in `halves`; `foreign` is the answer to any other."""
    code: Code = [_load(_ARCH)]
    for half, found in halves:
        body = [_load(_NR), *_tree(found)]
        code += [(_EQUAL, 1, 0, AUDIT[half]), (_JUMP, 0, 0, len(body)), *body]
    code.append(_return(foreign))
    return b"".join([_PACK(*instruction) for instruction in code])


def _verdict(outcome: Outcome) -> Verdict:
    """The answer, and those that come before it if their conditions hold, which are on words of 32 bits."""
    error, alternatives = outcome
    allowing = tuple(
        (ALLOW, tuple((2 * index, operator, value, second) for index, operator, value, second in conditions))
        for conditions in alternatives
    )
    return ERROR | error if error else ALLOW, allowing


def segments(verdicts: Mapping[int, Verdict], newest: int, unlisted: int, newer: int) -> list[Segment]:
    """Runs of numbers with one answer: `unlisted` where none is named, `newer` above `newest`."""
    found: list[Segment] = []
    for number in range(newest + 1):
        verdict = verdicts.get(number, (unlisted, ()))
        if not found or found[-1][1] != verdict:
            found.append((number, verdict))
    return [*found, (newest + 1, (newer, ()))]


def _tree(segments: list[Segment]) -> Code:
    """Binary search; a jump reaches 255 instructions, further needs one of its own."""
    if len(segments) == 1:
        return _leaf(*segments[0][1])
    middle = len(segments) // 2
    below, above, first = _tree(segments[:middle]), _tree(segments[middle:]), segments[middle][0]
    if len(below) <= 255:
        return [(_AT_LEAST, len(below), 0, first), *below, *above]
    return [(_AT_LEAST, 0, 1, first), (_JUMP, 0, 0, len(below)), *below, *above]


def _leaf(verdict: int, alternatives: tuple[Alternative, ...]) -> Code:
    """`verdict`, unless all conditions of one of the alternatives hold."""
    code = [instruction for answer, conditions in alternatives for instruction in _if(conditions, answer)]
    return [*code, _return(verdict)]


def _if(conditions: tuple[Condition, ...], answer: int) -> Code:
    """From the end: a test that fails jumps over all that follows it."""
    code = [_return(answer)]
    for word, operator, value, second in reversed(conditions):
        test, wanted = _TESTS[operator]
        mask = [(_AND, 0, 0, value & _LOW)] if operator == "&" else []
        jumps = (0, len(code)) if wanted else (len(code), 0)
        code[:0] = [_load(_ARG0 + 4 * word), *mask, (test, *jumps, (second if mask else value) & _LOW)]
    return code


def _return(value: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, value)


def _load(offset: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, offset)
