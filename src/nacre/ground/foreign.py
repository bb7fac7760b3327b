"""Whether this machine executes programs for another architecture: by itself, or by an emulator.

A program of a few bytes is executed, which only ends. Whether the kernel or a handler of binfmt_misc(5) takes
it, and in which namespace such a handler is registered, needs no other question. Sources: elf(5), e_machine;
linux, uapi/linux/elf-em.h.
"""

from __future__ import annotations

import os
from contextlib import suppress
from struct import pack

from . import fork

_BASE = 0x10000
_PROGRAMS = {
    "386": (3, 32, "<", "31db31c040cd80"),
    "amd64": (62, 64, "<", "31ffb83c0000000f05"),
    "arm": (40, 32, "<", "0170a0e30000a0e3000000ef"),
    "arm64": (183, 64, "<", "a80b8052000080d2010000d4"),
    "loong64": (258, 64, "<", "0b7481020400800200002b00"),
    "mips64": (8, 64, ">", "240213c2000020250000000c"),
    "mips64le": (8, 64, "<", "c2130224252000000c000000"),
    "ppc64le": (21, 64, "<", "010000380000603802000044"),
    "riscv64": (243, 64, "<", "9308d0051305000073000000"),
    "s390x": (22, 64, ">", "a72900000a01"),
}
"""Architectures by the names of Go: machine, bits, byte order, and code that ends the program."""
_FLAGS = {"ppc64le": 2}
"""Flags of a file where an ABI has them: here version 2, whose entry is code."""


def architectures() -> list[str]:
    """Those that are known here, sorted."""
    return sorted(_PROGRAMS)


def executes(architecture: str) -> bool:
    """Whether a program for it starts; True for one that is not known here."""
    if architecture not in _PROGRAMS:
        return True
    fd = os.memfd_create("program", 0)
    try:
        os.write(fd, program(architecture))
        return _starts(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _starts(path: str) -> bool:
    try:
        pid = fork.program([path], (-1, -1, -1))
    except OSError:
        return False
    with suppress(ChildProcessError):  # where SIGCHLD is ignored it has no status
        os.waitpid(pid, 0)
    return True


def program(architecture: str) -> bytes:
    """A program for it that only ends, as an ELF file of one segment. Raises KeyError."""
    machine, bits, order, code = _PROGRAMS[architecture]
    ident = b"\x7fELF" + bytes((bits // 32, 1 if order == "<" else 2, 1)) + bytes(9)
    text = bytes.fromhex(code)
    head, row = (64, 56) if bits == 64 else (52, 32)
    size, word = head + row + len(text), "Q" if bits == 64 else "I"
    flags = _FLAGS.get(architecture, 0)
    common = (2, machine, 1, _BASE + head + row, head, 0, flags, head, row, 1, 0, 0, 0)
    header = pack(f"{order}HHI{word * 3}IHHHHHH", *common)
    if bits == 64:
        return ident + header + pack(f"{order}IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 4096) + text
    return ident + header + pack(f"{order}IIIIIIII", 1, 0, _BASE, _BASE, size, size, 5, 4096) + text
