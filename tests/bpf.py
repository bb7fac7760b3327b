"""Classic BPF as the kernel runs it for seccomp(2), so that tests can try a filter call by call."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

JUMPS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda acc, k: acc == k, 0x25: lambda acc, k: acc > k, 0x35: lambda acc, k: acc >= k,
    0x45: lambda acc, k: bool(acc & k),
}  # fmt: skip


@functools.cache
def decoded(program: bytes) -> list[tuple[int, int, int, int]]:
    """Operation, jumps where the test holds and where not, constant."""
    return list(struct.iter_unpack("=HBBI", program))


def interpret(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """The answer to a system call; arguments that are left out are 0."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code, at, acc = decoded(program), 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x20:
            acc = struct.unpack_from("=I", data, k)[0]
        elif op == 0x54:
            acc &= k
        elif op == 0x05:
            at += k
        elif op == 0x06:
            return k
        else:
            at += yes if JUMPS[op](acc, k) else no
