"""The system call filter: docker's default list as a classic BPF program.

The list is kept as segments of consecutive numbers with one outcome each (flat pairs: first number,
leaf), and compiled into a binary search tree, about eight comparisons a call. A test proves that the
segments are what `profile` says by name. Only the low 32 bits of an argument are compared, since
that is all the kernel uses of these. Source: seccomp(2), linux/bpf_common.h.
"""

from __future__ import annotations

from struct import Struct

from ...words.errors import Unsupported
from .capabilities import DEFAULT_BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Code = list[tuple[int, int, int, int]]

# fmt: off
DEFAULT = {
    "x86_64": (
        0, 1, 41, 5, 42, 1, 56, 2, 57, 1, 103, 0, 104, 1, 134, 0, 135, 4, 136, 0, 137, 1, 139, 0, 140, 1,
        153, 0, 154, 1, 155, 0, 157, 1, 163, 0, 186, 1, 212, 0, 213, 1, 227, 0, 228, 1, 236, 0, 240, 1, 246,
        0, 247, 1, 248, 0, 251, 1, 256, 0, 257, 1, 272, 0, 273, 1, 279, 0, 280, 1, 298, 0, 299, 1, 300, 0,
        301, 1, 304, 0, 305, 1, 308, 0, 309, 1, 312, 0, 314, 1, 320, 0, 322, 1, 323, 0, 324, 1, 336, 0, 424,
        1, 425, 0, 434, 1, 435, 3, 436, 1, 438, 0, 439, 1, 440, 0, 441, 1, 442, 0, 444, 1, 450, 0, 451, 1,
        457, 0, 459, 1, 460, 0, 461, 1, 467, 0, 468, 1, 469, 0, 470, 6,
    ),
    "i386": (
        0, 1, 17, 0, 19, 1, 21, 0, 23, 1, 25, 0, 26, 1, 28, 0, 29, 1, 31, 0, 33, 1, 34, 0, 36, 1, 44, 0, 45,
        1, 48, 0, 49, 1, 51, 0, 54, 1, 56, 0, 57, 1, 58, 0, 60, 1, 62, 0, 63, 1, 67, 0, 70, 1, 72, 0, 75, 1,
        79, 0, 80, 1, 84, 0, 85, 1, 86, 0, 90, 1, 98, 0, 99, 1, 101, 0, 102, 1, 103, 0, 104, 1, 109, 0, 114,
        1, 115, 0, 116, 1, 120, 2, 121, 0, 122, 1, 127, 0, 132, 1, 134, 0, 136, 4, 137, 0, 138, 1, 149, 0,
        150, 1, 166, 0, 168, 1, 169, 0, 170, 1, 188, 0, 190, 1, 217, 0, 218, 1, 222, 0, 224, 1, 251, 0, 252,
        1, 253, 0, 254, 1, 264, 0, 265, 1, 273, 0, 277, 1, 283, 0, 284, 1, 285, 0, 289, 1, 294, 0, 295, 1,
        310, 0, 311, 1, 317, 0, 318, 1, 336, 0, 337, 1, 338, 0, 339, 1, 342, 0, 343, 1, 346, 0, 347, 1, 349,
        0, 351, 1, 357, 0, 358, 1, 359, 5, 360, 1, 374, 0, 375, 1, 387, 0, 393, 1, 404, 0, 405, 1, 415, 0,
        416, 1, 425, 0, 434, 1, 435, 3, 436, 1, 438, 0, 439, 1, 440, 0, 441, 1, 442, 0, 444, 1, 450, 0, 451,
        1, 457, 0, 459, 1, 460, 0, 461, 1, 467, 0, 468, 1, 469, 0, 470, 6,
    ),
    "generic": (
        0, 1, 18, 0, 19, 1, 39, 0, 43, 1, 58, 0, 59, 1, 60, 0, 61, 1, 89, 0, 90, 1, 92, 4, 93, 1, 97, 0, 98,
        1, 104, 0, 107, 1, 112, 0, 113, 1, 116, 0, 117, 1, 142, 0, 143, 1, 161, 0, 163, 1, 170, 0, 171, 1,
        198, 5, 199, 1, 217, 0, 220, 2, 221, 1, 224, 0, 226, 1, 235, 0, 240, 1, 241, 0, 242, 1, 244, 0, 260,
        1, 262, 0, 263, 1, 265, 0, 266, 1, 268, 0, 269, 1, 272, 0, 274, 1, 280, 0, 281, 1, 282, 0, 283, 1,
        294, 0, 424, 1, 425, 0, 434, 1, 435, 3, 436, 1, 438, 0, 439, 1, 440, 0, 441, 1, 442, 0, 444, 1, 450,
        0, 451, 1, 457, 0, 459, 1, 460, 0, 461, 1, 467, 0, 468, 1, 469, 0, 470, 6,
    ),
}
# fmt: on

_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
_AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3,
          "loongarch64": 0xC0000102}  # fmt: skip
_PACK = Struct("=HBBI").pack


def _return(value: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, value)


def _load(offset: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, offset)


# clone without new namespaces, the five personalities of programs, sockets but those to the hypervisor
_LEAVES: tuple[Code, ...] = (
    [_return(_EPERM)],
    [_return(_ALLOW)],
    [_load(_ARG0), (_ANY_BIT, 0, 1, 0x7E020000), _return(_EPERM), _return(_ALLOW)],
    [_return(_ENOSYS)],
    [_load(_ARG0), (_EQUAL, 5, 0, 0), (_EQUAL, 4, 0, 8), (_EQUAL, 3, 0, 0x20000), (_EQUAL, 2, 0, 0x20008),
     (_EQUAL, 1, 0, 0xFFFFFFFF), _return(_EPERM), _return(_ALLOW)],
    [_load(_ARG0), (_EQUAL, 0, 1, 40), _return(_EPERM), _return(_ALLOW)],
    [_return(_ENOSYS)],
)  # fmt: skip


def program(machine: str, capabilities: int = DEFAULT_BITS) -> bytes:
    """The filter for a set of capabilities, ready for seccomp(2). Raises Unsupported."""
    if machine not in _AUDIT:
        raise Unsupported(
            f"there is no system call list for {machine}", hint="--security-opt seccomp=unconfined"
        )
    code: Code = [_load(_ARCH)]
    for name in ("x86_64", "i386") if machine == "x86_64" else (machine,):
        body = [_load(_NR), *_tree(_segments(name, capabilities))]
        code += [(_EQUAL, 1, 0, _AUDIT[name]), (_JUMP, 0, 0, len(body)), *body]
    code.append(_return(_ENOSYS))
    return b"".join([_PACK(*instruction) for instruction in code])


def _segments(name: str, capabilities: int) -> Sequence[int]:
    if capabilities == DEFAULT_BITS:
        return DEFAULT.get(name) or DEFAULT["generic"]
    from . import profile

    return profile.segments(name, capabilities)


def _tree(segments: Sequence[int]) -> Code:
    """Binary search over flat pairs; a jump reaches 255 instructions, further needs one of its own."""
    if len(segments) == 2:
        return _LEAVES[segments[1]]
    middle = len(segments) // 4 * 2
    below, above = _tree(segments[:middle]), _tree(segments[middle:])
    if len(below) <= 255:
        return [(_AT_LEAST, len(below), 0, segments[middle]), *below, *above]
    return [(_AT_LEAST, 0, 1, segments[middle]), (_JUMP, 0, 0, len(below)), *below, *above]
