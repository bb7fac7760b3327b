"""The system call filter, run in a small BPF interpreter and by the kernel."""

from __future__ import annotations

import os
import struct

import pytest

from nacre.ground import linux
from nacre.ground.sandbox import capabilities, profile, seccomp, syscalls

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x50001, 0x50026
ARCHES = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}


def interpret(program: bytes, arch: int, number: int, argument: int = 0) -> int:
    data = struct.pack("=IIQQ", number, arch, 0, argument)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, acc = 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x20:
            acc = struct.unpack_from("=I", data, k)[0]
        elif op == 0x05:
            at += k
        elif op == 0x06:
            return int(k)
        else:
            hit = {0x15: acc == k, 0x35: acc >= k, 0x45: bool(acc & k)}[op]
            at += yes if hit else no


@pytest.mark.parametrize("machine", ["x86_64", "i386", "aarch64"])
def test_the_segments_are_the_names(machine: str) -> None:
    key = machine if machine in seccomp.DEFAULT else "generic"
    assert seccomp.DEFAULT[key] == profile.segments(machine)


def test_default_bits() -> None:
    assert capabilities.bits(capabilities.DEFAULT) == capabilities.DEFAULT_BITS
    assert len(capabilities.DEFAULT) == 14


@pytest.mark.parametrize("machine", ["x86_64", "i386", "aarch64"])
@pytest.mark.parametrize("caps", [capabilities.DEFAULT_BITS, 0, capabilities.bits(capabilities.ALL)])
def test_every_number(machine: str, caps: int) -> None:
    program = seccomp.program("x86_64" if machine == "i386" else machine, caps)
    names = {number: name for name, number in syscalls.numbers(machine).items()}
    allowed = profile.allowed(caps)
    for number in range(profile.NEWEST + 1):
        name = names.get(number, "")
        if name in ("clone", "clone3", "personality", "socket"):
            continue
        got = interpret(program, ARCHES[machine], number)
        assert got == (ALLOW if name in allowed else EPERM), (number, name)


def test_arguments_decide() -> None:
    program, number = seccomp.program("x86_64"), syscalls.numbers("x86_64")
    arch = ARCHES["x86_64"]
    assert interpret(program, arch, number["clone"], 0x11) == ALLOW
    for flag in (linux.CLONE_NEWUSER, linux.CLONE_NEWNS, linux.CLONE_NEWCGROUP, linux.CLONE_NEWNET):
        assert interpret(program, arch, number["clone"], flag | 0x11) == EPERM
    assert interpret(program, arch, number["clone3"]) == ENOSYS
    assert interpret(program, arch, number["socket"], 40) == EPERM
    assert interpret(program, arch, number["socket"], 1 << 32 | 40) == EPERM
    assert interpret(program, arch, number["socket"], 2) == ALLOW
    assert [interpret(program, arch, number["personality"], p) for p in profile.PERSONALITIES] == [ALLOW] * 5
    assert interpret(program, arch, number["personality"], 4) == EPERM


def test_unknown_calls_and_architectures_are_absent() -> None:
    program = seccomp.program("x86_64")
    assert interpret(program, ARCHES["x86_64"], profile.NEWEST + 1) == ENOSYS
    assert interpret(program, ARCHES["x86_64"], 0x40000000 | 39) == ENOSYS  # x32
    assert interpret(program, ARCHES["aarch64"], 0) == ENOSYS


def test_the_kernel_takes_it() -> None:
    program = seccomp.program(linux.MACHINE)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            linux.seccomp_filter(program)
            linux.unshare(0)
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1  # EPERM
