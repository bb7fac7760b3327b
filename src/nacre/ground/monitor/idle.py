"""A program of one page that waits for descriptors, and then becomes the program that its arguments name.

An interpreter that only waits takes 3 MB; this takes 12 kB. It is no file that would have to be built and
trusted: nacre writes these few instructions into memory. It reads nothing, and knows no path: its first
argument is the program that it becomes, which learns from the descriptors why it was called. Signals that are
blocked wake it, too, and stay pending. If the other program cannot be started (its package is being upgraded,
say), it tries again every second for ten minutes.
Sources: System V ABI (ELF header, program header; process initialization), syscalls(2), signalfd(2), poll(2).
"""

from __future__ import annotations

import os
import sys
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_ELF, _SEGMENT, _POLL = Struct("<4s5B7xHHIQQQIHHHHHH"), Struct("<IIQQQQQQ"), Struct("<ihh")
_LOAD, _GNU_STACK, _READ, _WRITE, _EXECUTE = 1, 0x6474E551, 4, 2, 1
_BASE = 0x400000
_NAME = b"nacre\0\0\0"
_POLLIN = 1
_EXECUTABLE = 0x10  # MFD_EXEC


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=value < 0)


def _x86_64(name: int, table: int, signals: int, count: int, timeout: int) -> bytes:
    """The instructions. `name`, `table` and `signals` are addresses; the first entry of the table is free."""
    begin = (
        b"\x48\x89\xe5"  # mov rbp, rsp             there is argc, and behind it argv
        b"\xbf" + _u32(15) + b"\xbe" + _u32(name)  # mov edi, PR_SET_NAME; mov esi, name
        + b"\xb8" + _u32(157) + b"\x0f\x05"  # mov eax, SYS_prctl; syscall
        b"\xb9" + _u32(8 * count)  # mov ecx, size of the table
        + b"\x48\x29\xcc\x48\x89\xe7"  # sub rsp, rcx; mov rdi, rsp
        b"\xbe" + _u32(table) + b"\xf3\xa4"  # mov esi, table; rep movsb
        b"\xbf" + _u32(-1) + b"\xbe" + _u32(signals)  # mov edi, -1; mov esi, signals
        + b"\xba" + _u32(8) + b"\x41\xba" + _u32(0x80800)  # mov edx, 8; mov r10d, CLOEXEC | NONBLOCK
        + b"\xb8" + _u32(289) + b"\x0f\x05"  # mov eax, SYS_signalfd4; syscall
        b"\x89\x04\x24"  # mov [rsp], eax
    )  # fmt: skip
    wait = (
        b"\x48\x89\xe7\xbe" + _u32(count)  # mov rdi, rsp; mov esi, count
        + b"\xba" + _u32(timeout)  # mov edx, timeout
        + b"\xb8" + _u32(7) + b"\x0f\x05"  # mov eax, SYS_poll; syscall
        b"\x83\xf8\xfc"  # cmp eax, -EINTR
    )  # fmt: skip
    attempt = (
        b"\x48\x8b\x45\x00\x48\x8d\x75\x08"  # mov rax, [rbp]; lea rsi, [rbp + 8]
        b"\x48\x8d\x54\xc6\x08\x48\x8b\x3e"  # lea rdx, [rsi + 8 * rax + 8]; mov rdi, [rsi]
        b"\xb8" + _u32(59) + b"\x0f\x05"  # mov eax, SYS_execve; syscall
        b"\x31\xff\x31\xf6\xba" + _u32(1000)  # xor edi, edi; xor esi, esi; mov edx, 1000
        + b"\xb8" + _u32(7) + b"\x0f\x05"  # mov eax, SYS_poll; syscall
        b"\xff\xcb"  # dec ebx
    )  # fmt: skip
    return b"".join([
        begin,
        wait, b"\x74", _back(len(wait) + 2),  # je wait
        b"\xbb", _u32(600),  # mov ebx, attempts
        attempt, b"\x75", _back(len(attempt) + 2),  # jne attempt
        b"\xbf", _u32(1), b"\xb8", _u32(231), b"\x0f\x05",  # mov edi, 1; mov eax, SYS_exit_group; syscall
    ])  # fmt: skip


def _back(length: int) -> bytes:
    return (-length).to_bytes(1, "little", signed=True)


_MACHINES = {"x86_64": (62, _x86_64)}
"""By what uname(2) says: the number of the machine in ELF, and its instructions."""


def program(machine: str, descriptors: Collection[int], signals: Iterable[int], timeout: int = -1) -> bytes:
    """An ELF file that waits for these, or for `timeout` milliseconds. Raises LookupError elsewhere."""
    number, instructions = _MACHINES[machine]
    table = b"".join(_POLL.pack(fd, _POLLIN, 0) for fd in (-1, *descriptors))
    mask = sum(1 << (signal - 1) for signal in signals).to_bytes(8, "little")
    data = _BASE + _ELF.size + 2 * _SEGMENT.size
    place = data + len(_NAME) + len(mask) + len(table)
    code = instructions(data, data + len(_NAME) + len(mask), data + len(_NAME), len(table) // 8, timeout)
    size = place - _BASE + len(code)
    head = _ELF.pack(
        b"\x7fELF", 2, 1, 1, 0, 0, 2, number, 1, place, _ELF.size, 0, 0, _ELF.size, _SEGMENT.size, 2, 0, 0, 0
    )
    text = _SEGMENT.pack(_LOAD, _READ | _EXECUTE, 0, _BASE, _BASE, size, size, 0x1000)
    stack = _SEGMENT.pack(_GNU_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
    return b"".join([head, text, stack, _NAME, mask, table, code])


def wait(words: list[str], descriptors: Collection[int], signals: Iterable[int], timeout: int = -1) -> None:
    """Be this program, and then `words`. Raises OSError and LookupError where that is not to be had."""
    if sys.maxsize < 1 << 32:
        raise LookupError("32 bits")
    data = program(os.uname().machine, descriptors, signals, timeout)
    fd = _memory()
    try:
        os.write(fd, data)
        os.execv(f"/proc/self/fd/{fd}", words)
    finally:
        os.close(fd)


def _memory() -> int:
    """A file in memory that may be executed, which Linux 6.3 wants to be told."""
    try:
        return os.memfd_create("nacre", os.MFD_CLOEXEC | _EXECUTABLE)
    except OSError:
        return os.memfd_create("nacre", os.MFD_CLOEXEC)
