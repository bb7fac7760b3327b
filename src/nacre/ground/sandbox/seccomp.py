"""The system call filter: docker's default list as a classic BPF program.

Compiled from the rules (`profile`): the numbers of system calls as segments with one outcome each, in a
binary search tree, about eight comparisons a call. For docker's default capabilities the result is kept in
`filters`. Only the low 32 bits of an argument are compared, since that is all the kernel uses of these.
Source: seccomp(2), linux/bpf_common.h.
"""

from __future__ import annotations

from struct import Struct

from .capabilities import DEFAULT_BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .profile import Condition, Outcome

    Code = list[tuple[int, int, int, int]]
    Segment = tuple[int, Outcome]

_LOAD, _JUMP, _AND, _EQUAL, _ABOVE, _AT_LEAST, _RETURN = 0x20, 0x05, 0x54, 0x15, 0x25, 0x35, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_ALLOW, _ERROR, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050000, 1, 38
_AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3,
          "loongarch64": 0xC0000102}  # fmt: skip
_HALVES = {"x86_64": ("x86_64", "i386")}
_TESTS = {"==": (_EQUAL, True), "!=": (_EQUAL, False), "<": (_AT_LEAST, False), "<=": (_ABOVE, False),
          ">": (_ABOVE, True), ">=": (_AT_LEAST, True), "&": (_EQUAL, True)}  # fmt: skip
_LOW = 0xFFFFFFFF
_PACK = Struct("=HBBI").pack


def program(machine: str, capabilities: int = DEFAULT_BITS) -> bytes:
    """The filter for a set of capabilities, ready for seccomp(2). Raises Unsupported."""
    from .profile import newest, outcomes, unknown

    if machine not in _AUDIT or machine == "i386":
        raise unknown(machine)

    code: Code = [_load(_ARCH)]
    for half in _HALVES.get(machine, (machine,)):
        segments = _segments(outcomes(machine, half, capabilities), newest(half))
        body = [_load(_NR), *_tree(segments)]
        code += [(_EQUAL, 1, 0, _AUDIT[half]), (_JUMP, 0, 0, len(body)), *body]
    code.append(_return(_ERROR | _ENOSYS))
    return b"".join([_PACK(*instruction) for instruction in code])


def _segments(outcomes: Mapping[int, Outcome], newest: int) -> list[Segment]:
    """Runs of numbers with one outcome: what is not listed is refused, what is newer than the list absent."""
    found: list[Segment] = []
    for number in range(newest + 1):
        outcome = outcomes.get(number, (_EPERM, ()))
        if not found or found[-1][1] != outcome:
            found.append((number, outcome))
    return [*found, (newest + 1, (_ENOSYS, ()))]


def _tree(segments: list[Segment]) -> Code:
    """Binary search; a jump reaches 255 instructions, further needs one of its own."""
    if len(segments) == 1:
        return _leaf(*segments[0][1])
    middle = len(segments) // 2
    below, above, first = _tree(segments[:middle]), _tree(segments[middle:]), segments[middle][0]
    if len(below) <= 255:
        return [(_AT_LEAST, len(below), 0, first), *below, *above]
    return [(_AT_LEAST, 0, 1, first), (_JUMP, 0, 0, len(below)), *below, *above]


def _leaf(error: int, alternatives: tuple[tuple[Condition, ...], ...]) -> Code:
    """`error`, 0 to allow, unless all conditions of one of the alternatives hold."""
    code = [instruction for conditions in alternatives for instruction in _allow_if(conditions)]
    return [*code, _return(_ERROR | error if error else _ALLOW)]


def _allow_if(conditions: tuple[Condition, ...]) -> Code:
    """From the end: a test that fails jumps over all that follows it."""
    code = [_return(_ALLOW)]
    for index, operator, value, second in reversed(conditions):
        test, wanted = _TESTS[operator]
        mask = [(_AND, 0, 0, value & _LOW)] if operator == "&" else []
        jumps = (0, len(code)) if wanted else (len(code), 0)
        code[:0] = [_load(_ARG0 + 8 * index), *mask, (test, *jumps, (second if mask else value) & _LOW)]
    return code


def _return(value: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, value)


def _load(offset: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, offset)
