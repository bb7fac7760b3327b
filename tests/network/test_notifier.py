"""The filter that hands calls about sockets to a listener, for every architecture."""

from __future__ import annotations

import errno
from struct import iter_unpack

import pytest

from nacre.ground.network import notifier
from nacre.words.errors import Unsupported

ALLOW, NOTIFY, ERROR = 0x7FFF0000, 0x7FC00000, 0x00050000
ARCHES = {
    "x86_64": (0xC000003E, {"connect": 42, "bind": 49, "listen": 50, "epoll_create1": 291}, (44, 46, 307)),
    "i386": (0x40000003, {"connect": 362, "bind": 361, "listen": 363, "epoll_create1": 329}, (369, 370, 345)),
    "aarch64": (
        0xC00000B7,
        {"connect": 203, "bind": 200, "listen": 201, "epoll_create1": 20},
        (206, 211, 269),
    ),
    "arm": (0x40000028, {"connect": 283, "bind": 282, "listen": 284, "epoll_create1": 357}, (290, 296, 374)),
    "riscv64": (
        0xC00000F3,
        {"connect": 203, "bind": 200, "listen": 201, "epoll_create1": 20},
        (206, 211, 269),
    ),
}
MACHINES = {"i386": "x86_64", "arm": "aarch64"}
FASTOPEN = 0x20000000


def interpret(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel's machine makes of it. Source: linux/bpf_common.h."""
    code = list(iter_unpack("=HBBI", program))
    words = {0: number, 4: arch} | {16 + 8 * place: value for place, value in enumerate(arguments)}
    place = value = 0
    while True:
        operation, true, false, operand = code[place]
        place += 1
        if operation == 0x20:
            value = words.get(operand, 0)
        elif operation == 0x05:
            place += operand
        elif operation == 0x06:
            return int(operand)
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[operation]
            place += true if holds else false


@pytest.mark.parametrize("half", ARCHES)
def test_the_filter_of_sockets(half: str) -> None:
    program = notifier.program(MACHINES.get(half, half))
    arch, watched, senders = ARCHES[half]
    for number in watched.values():
        assert interpret(program, arch, number) == NOTIFY
    for number, place in zip(senders, (3, 2, 3), strict=True):
        flags = [0] * place
        assert interpret(program, arch, number, *flags, 0x4040) == ALLOW
        assert interpret(program, arch, number, *flags, 0x4040 | FASTOPEN) == ERROR | errno.EOPNOTSUPP
    for number in (425, 426, 427):
        assert interpret(program, arch, number) == ERROR | errno.ENOSYS
    for number in (0, 3, 424, 428, 451):
        assert interpret(program, arch, number) == ALLOW
    assert interpret(program, 0x12345, watched["connect"]) == ERROR | errno.ENOSYS


def test_socketcall() -> None:
    """What it can connect with is refused; C libraries have calls of their own for that."""
    program = notifier.program("x86_64")
    refused = [call for call in range(1, 21) if interpret(program, 0x40000003, 102, call) != ALLOW]
    assert refused == [2, 3, 4, 11, 16, 20]


def test_x32() -> None:
    """The same numbers with a bit of their own."""
    assert interpret(notifier.program("x86_64"), 0xC000003E, 0x40000000 | 42) == ERROR | errno.ENOSYS


def test_unknown_machines() -> None:
    with pytest.raises(Unsupported):
        notifier.program("pdp11")
