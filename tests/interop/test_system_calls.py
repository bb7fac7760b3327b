"""Our filters and those that libseccomp makes of the same lists, read back from the kernel, call by call."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from bpf import interpret

from nacre.ground import linux
from nacre.ground.sandbox import syscalls

from .conftest import Peer, require, require_root

if TYPE_CHECKING:
    from conftest import Nacre

ARCHES = {"x86_64": 0xC000003E, "i386": 0x40000003}
ARGUMENTS = (
    0,
    1,
    2,
    8,
    10,
    37,
    38,
    39,
    40,
    0x20008,
    0x10000000,
    0x7E020000,
    0xFFFFFFFF,
    1 << 32,
    5 << 32 | 2,
)
SEIZE, INTERRUPT, DETACH, GET_FILTER, ALL_CHILDREN = 0x4206, 0x4207, 17, 0x420C, 0x40000000
ALLOW, ERRNO = {"action": "SCMP_ACT_ALLOW"}, {"action": "SCMP_ACT_ERRNO"}
OLDEST = 449
"""Calls that libseccomp 2.5.4 knows."""

NATIVE = {"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]}


def when(index: int, op: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


PROFILES: dict[str, dict[str, Any]] = {
    "denies": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat", "socket", "shmget"], **ERRNO, "errnoRet": 95},
        {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["syncfs"], "action": "SCMP_ACT_LOG"},
        {"names": ["kill"], **ERRNO, "args": [when(1, "EQ", 10)]},
        {"names": ["sethostname"], "action": "SCMP_ACT_TRAP"},
    ]},
    "compares": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["personality"], **ERRNO, "args": [when(0, "GE", 39)]},
        {"names": ["setpriority"], **ERRNO, "args": [when(0, "LT", 8)]},
        {"names": ["flock"], **ERRNO, "args": [when(0, "LE", 1)]},
        {"names": ["getpriority"], **ERRNO, "args": [when(0, "GT", 38)]},
        {"names": ["umask"], **ERRNO, "args": [when(0, "NE", 10)]},
        {"names": ["alarm"], **ERRNO, "args": [when(0, "MASKED_EQ", 0x7E020000, 0x10000000)]},
        {"names": ["dup2"], **ERRNO, "args": [when(0, "EQ", 1), when(1, "EQ", 2)]},
        {"names": ["dup3"], **ERRNO, "args": [when(0, "EQ", 1), when(0, "EQ", 2)]},
    ]},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def needs_root() -> None:
    require_root("the kernel's list of filters")
    if linux.MACHINE != "x86_64":
        pytest.skip("the calls are those of x86-64")


def filters(pid: int) -> list[bytes]:
    """Those of a process. Source: ptrace(2), PTRACE_SECCOMP_GET_FILTER."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request: int, at: int = 0, buffer: Any = None) -> int:
        found: int = libc.ptrace(request, pid, at, buffer and ctypes.addressof(buffer))
        if found < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return found

    ptrace(SEIZE)
    try:
        ptrace(INTERRUPT)
        os.waitpid(pid, ALL_CHILDREN)
        return list(_programs(ptrace))
    finally:
        ptrace(DETACH)


def _programs(ptrace: Callable[..., int]) -> Iterator[bytes]:
    for index in range(8):
        try:
            buffer = ctypes.create_string_buffer(8 * ptrace(GET_FILTER, index))
        except OSError as error:
            if error.errno == 2:
                return
            pytest.skip(f"this kernel does not show filters: {error.strerror}")
        ptrace(GET_FILTER, index, buffer)
        yield buffer.raw


def differences(ours: bytes, theirs: bytes, calls: int = 600) -> dict[tuple[str, str], set[int]]:
    found: dict[tuple[str, str], set[int]] = {}
    for half, arch in ARCHES.items():
        names = {number: name for name, number in syscalls.numbers(half).items()}
        for number in range(calls):
            for argument in (value for value in ARGUMENTS if half == "x86_64" or value < 1 << 32):
                call = (arch, number, argument, 2)
                if interpret(ours, *call) != interpret(theirs, *call):
                    found.setdefault((half, names.get(number, str(number))), set()).add(argument)
    return found


def filter_of(nacre: Nacre, image: str, *words: str) -> bytes:
    """Of a program that has said that it runs."""
    fifo = nacre.folder / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    script = "echo runs > /fifo; exec sleep 1000"
    number = nacre("run", "-d", *words, "-v", f"{fifo}:/fifo", image, "sh", "-c", script).out.strip()
    try:
        assert fifo.read_text() == "runs\n"
        pid = json.loads(nacre("inspect", number).out)[0]["State"]["Pid"]
        (program,) = filters(pid)
        return program
    finally:
        nacre("rm", "-f", number)


@pytest.mark.parametrize("name", ["builtin", *PROFILES])
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_as_libseccomp_compiles_them(nacre: Nacre, busybox_image: str, runtime: str, name: str) -> None:
    require(runtime)
    words = []
    if name != "builtin":
        (nacre.folder / "profile.json").write_text(json.dumps(PROFILES[name] | NATIVE))
        words = ["--security-opt", f"seccomp={nacre.folder}/profile.json"]
    ours = filter_of(nacre, busybox_image, *words)
    theirs = filter_of(nacre, busybox_image, *words, "--runtime", runtime)
    found = differences(ours, theirs, OLDEST)
    if name == "builtin":  # there only what the kernel looks at is compared; uretprobe is a new name
        assert found.pop(("x86_64", "personality"), {1 << 32}) == {1 << 32}
        found.pop(("x86_64", "uretprobe"), None)
    assert found == {}


def test_the_default_list_is_dockers(
    nacre: Nacre, busybox_image: str, busybox_tar: bytes, docker: Peer
) -> None:
    """Of its version 28; our list is newer and refuses one family of sockets more (AF_ALG, 38)."""
    if int(docker("version", "-f", "{{.Server.Version}}").split(".")[0]) < 28:
        pytest.skip("docker's list is an old one")
    (nacre.folder / "root.tar").write_bytes(busybox_tar)
    docker("import", "--change", "ENV PATH=/bin", str(nacre.folder / "root.tar"), "bb:1")
    number = docker("run", "-d", "--network", "none", "bb:1", "sleep", "1000").strip()
    try:
        (theirs,) = filters(int(docker("inspect", "-f", "{{.State.Pid}}", number)))
    finally:
        docker("rm", "-f", number)
    found = differences(filter_of(nacre, busybox_image), theirs)
    assert set(found) <= {("x86_64", "socket"), ("i386", "socket")}
    assert all(arguments <= {38} for arguments in found.values())
