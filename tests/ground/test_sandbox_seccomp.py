"""The system call filter: call by call in a small BPF interpreter, and by the kernel, in both its halves."""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bpf import interpret

from nacre.ground import linux
from nacre.ground.sandbox import capabilities, facts, profile, program, seccomp, syscalls
from nacre.words.errors import Unsupported

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x50001, 0x50026
ARCHES = {
    "x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3,
    "loongarch64": 0xC0000102,
}  # fmt: skip
HOSTS = {name: "x86_64" if name == "i386" else name for name in ARCHES}
DEFAULT = capabilities.DEFAULT_BITS
CAPABILITIES = {
    "default": DEFAULT, "none": 0, "all": capabilities.bits(capabilities.ALL),
    "admin": DEFAULT | capabilities.bits(["CAP_SYS_ADMIN"]), "nice": capabilities.bits(["CAP_SYS_NICE"]),
}  # fmt: skip
ARGUMENTS = (0, 1, 2, 8, 16, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0x10000000, 0x7E020000, 0xFFFFFFFF)
OPS: dict[str, Callable[[int, int, int], bool]] = {
    "SCMP_CMP_EQ": lambda got, value, _: got == value,
    "SCMP_CMP_NE": lambda got, value, _: got != value,
    "SCMP_CMP_LT": lambda got, value, _: got < value,
    "SCMP_CMP_GT": lambda got, value, _: got > value,
    "SCMP_CMP_MASKED_EQ": lambda got, value, second: got & value == second,
}


def expected(document: dict[str, Any], name: str, *arguments: int) -> int:
    """As an OCI runtime reads the list: the first that allows wins over an error, which wins over EPERM."""
    answer = EPERM
    for rule in document["syscalls"]:
        holds = all(
            OPS[test["op"]](arguments[test["index"]], test["value"], test["valueTwo"])
            for test in rule.get("args", ())
        )
        if name in rule["names"] and holds:
            if rule["action"] == "SCMP_ACT_ALLOW":
                return ALLOW
            answer = 0x50000 | rule["errnoRet"]
    return answer


@pytest.mark.parametrize("caps", CAPABILITIES)
@pytest.mark.parametrize("half", ARCHES)
def test_every_call(half: str, caps: str) -> None:
    """Against the list that other runtimes are given, for arguments around those that count."""
    program = seccomp.program(HOSTS[half], CAPABILITIES[caps])
    document = profile.document(HOSTS[half], CAPABILITIES[caps])
    names = {number: name for name, number in syscalls.numbers(half).items()}
    for number in range(profile.newest(half) + 1):
        name = names.get(number, "")
        for argument in (
            ARGUMENTS if name in ("clone", "clone3", "personality", "socket") else (0, 0xFFFFFFFF)
        ):
            got = interpret(program, ARCHES[half], number, argument)
            assert got == expected(document, name, argument), (number, name, argument)


@pytest.mark.parametrize("half", ["x86_64", "i386", "aarch64"])
def test_what_the_newest_profile_says(half: str) -> None:
    program, number = seccomp.program(HOSTS[half]), syscalls.numbers(half)
    denied = """
    add_key bpf delete_module file_getattr file_setattr finit_module fsopen init_module io_uring_enter
    io_uring_setup kexec_load keyctl lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind migrate_pages
    mount mount_setattr move_mount move_pages open_by_handle_at open_tree open_tree_attr perf_event_open
    pivot_root quotactl reboot request_key setns settimeofday swapon syslog umount2 unshare userfaultfd
    """
    for name in denied.split():
        assert interpret(program, ARCHES[half], number[name]) in (EPERM, ENOSYS), name
    allowed = """
    chroot landlock_restrict_self listmount mknodat mseal process_vm_readv ptrace statmount
    """
    for name in allowed.split():
        assert interpret(program, ARCHES[half], number[name]) == ALLOW, name
    admin = seccomp.program(HOSTS[half], CAPABILITIES["admin"])
    for name in ("lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount", "clone3", "unshare"):
        assert interpret(admin, ARCHES[half], number[name]) == ALLOW, name
    for name in ("file_getattr", "migrate_pages", "move_pages", "open_tree_attr", "pivot_root"):
        assert interpret(admin, ARCHES[half], number[name]) != ALLOW, name


def test_what_depends_on_the_processor() -> None:
    number, x86 = syscalls.numbers("i386"), seccomp.program("x86_64")
    for name in ("arch_prctl", "modify_ldt"):
        assert interpret(x86, ARCHES["i386"], number[name]) == ALLOW
        assert interpret(x86, ARCHES["x86_64"], syscalls.numbers("x86_64")[name]) == ALLOW
    riscv = seccomp.program("riscv64")
    for name in ("riscv_flush_icache", "riscv_hwprobe"):
        assert interpret(riscv, ARCHES["riscv64"], syscalls.numbers("riscv64")[name]) == ALLOW
        assert name not in syscalls.numbers("aarch64")


@pytest.mark.parametrize("half", ["x86_64", "i386", "aarch64"])
def test_arguments_decide(half: str) -> None:
    program, number, arch = seccomp.program(HOSTS[half]), syscalls.numbers(half), ARCHES[half]
    assert interpret(program, arch, number["clone"], 0x11) == ALLOW
    for flag in (linux.CLONE_NEWUSER, linux.CLONE_NEWNS, linux.CLONE_NEWCGROUP, linux.CLONE_NEWNET):
        assert interpret(program, arch, number["clone"], flag | 0x11) == EPERM
    assert interpret(program, arch, number["clone3"]) == ENOSYS
    for family, answer in (
        (1, ALLOW),
        (2, ALLOW),
        (16, ALLOW),
        (38, EPERM),
        (39, ALLOW),
        (40, EPERM),
        (45, ALLOW),
    ):
        assert interpret(program, arch, number["socket"], family) == answer
        assert (
            interpret(program, arch, number["socket"], 1 << 32 | family) == answer
        )  # the kernel takes an int
    for persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert interpret(program, arch, number["personality"], persona) == ALLOW
    assert interpret(program, arch, number["personality"], 4) == EPERM


def test_unknown_calls_and_architectures_are_absent() -> None:
    program = seccomp.program("x86_64")
    for number in (profile.newest("x86_64") + 1, 0x40000000 | 39, 0xFFFFFFFF):  # the second is x32
        assert interpret(program, ARCHES["x86_64"], number) == ENOSYS
    assert interpret(program, ARCHES["aarch64"], 0) == ENOSYS
    for make in (seccomp.program, profile.document):
        with pytest.raises(Unsupported, match="no system call list for mips"):
            make("mips")


def test_default_bits() -> None:
    assert capabilities.bits(capabilities.DEFAULT) == DEFAULT
    assert len(capabilities.DEFAULT) == 14


def test_every_name_has_a_number() -> None:
    known = set().union(*(syscalls.numbers(half) for half in ARCHES))
    foreign = {
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "set_tls",
        "sync_file_range2",
    }
    others = {"recv", "send", "fadvise64_64"}
    assert {name for rule in facts.RULES for name in rule[1]} - known - foreign - others == set()


# --- how they are made


@pytest.fixture(scope="module")
def tool() -> Any:
    path = Path(__file__).parents[2] / "tools/seccomp.py"
    spec = importlib.util.spec_from_file_location("tool_seccomp", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_programs_are_those_of_the_facts(tool: Any) -> None:
    """Else run tools/seccomp.py."""
    assert (tool.ROOM / "filters.py").read_text() == tool.filters()
    for machine in set(HOSTS.values()):
        assert program._filter(machine, DEFAULT) == seccomp.program(machine)


def test_facts_of_a_profile(tool: Any) -> None:
    allow, mask = {"action": "SCMP_ACT_ALLOW"}, {"index": 1, "value": 7, "op": "SCMP_CMP_MASKED_EQ"}
    arm = {"arches": ["arm", "arm64"], "caps": ["CAP_BPF"]}
    rules = [
        {"names": ["b", "a"], **allow, "includes": {"minKernel": "4.8"}},
        {"names": ["c"], **allow, "includes": {"arches": ["s390x"]}},
        {"names": ["d"], **allow, "includes": arm},
        {"names": ["e"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_BPF"]}},
        {"names": ["f"], **allow, "args": [mask]},
    ]
    found = tool.facts({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
    assert found == [
        (0, ("a", "b"), (), "", "", ()), (0, ("d",), (), "CAP_BPF", "", ("aarch64",)),
        (38, ("e",), (), "", "CAP_BPF", ()), (0, ("f",), ((1, "&", 7, 0),), "", "", ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rule",
    [
        {"includes": {"minKernel": "6.0"}}, {"includes": {"arches": ["vax"]}}, {"priority": 3},
        {"includes": {"caps": ["CAP_BPF", "CAP_SYSLOG"]}}, {"excludes": {"arches": ["amd64"]}},
    ],
)  # fmt: skip
def test_what_the_tool_does_not_understand(tool: Any, rule: dict[str, Any]) -> None:
    whole = {"names": ["a"], "action": "SCMP_ACT_ALLOW"} | rule
    with pytest.raises(SystemExit):
        tool.facts({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [whole]})


# --- by the kernel

ANSWER = 99
LOOPS = {
    # r12 table, r13d end, r14 first argument, counter ebx: eax = syscall(ebx, r14); at the end ud2
    "x86_64": "4989fc 4189f5 4989d6 89cb 89d8 4c89f7 0f05 4189049c ffc3 4439eb 72ee 0f0b",
    # the same through int 0x80, counter r15d, argument ebx
    "i386": "4989fc 4189f5 4989d6 4189cf 4489f8 4489f3 cd80 438904bc 41ffc7 4539ef 72ec 0f0b",
}


def answers(half: str, program: bytes, start: int, end: int, argument: int) -> list[int]:
    """What the kernel answers to these calls: "allowed" becomes an error too, so nothing is done."""
    harmless = b"".join(
        struct.pack("=HBBI", op, yes, no, 0x50000 | ANSWER if (op, k) == (0x06, ALLOW) else k)
        for op, yes, no, k in struct.iter_unpack("=HBBI", program)
    )
    table = mmap.mmap(-1, 4096)
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex(LOOPS[half]))
    address = [ctypes.addressof(ctypes.c_char.from_buffer(memory)) for memory in (code, table)]
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_ulong, ctypes.c_uint)(
        address[0]
    )
    pid = os.fork()
    if pid == 0:
        try:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            signal.signal(signal.SIGILL, signal.SIG_DFL)
            linux.seccomp_filter(harmless)
            function(address[1], end, argument, start)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if half == "i386" and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV:
        pytest.skip("this kernel has no 32-bit calls")
    assert os.WTERMSIG(status) == signal.SIGILL
    return list(struct.unpack(f"={end - start}i", table[4 * start : 4 * end]))


@pytest.mark.skipif(linux.MACHINE != "x86_64", reason="the machine code is that of x86-64")
@pytest.mark.parametrize("half", LOOPS)
@pytest.mark.parametrize("argument", [0, 38, 0x7E020000])
def test_the_kernel_says_the_same(half: str, argument: int) -> None:
    program, table = seccomp.program("x86_64"), syscalls.numbers(half)
    past = table.get("uprobe", 335)  # it and uretprobe pass every filter, and kill whoever is no trampoline
    for start, end in ((0, past - 1), (past + 1, 512)):
        for number, got in enumerate(answers(half, program, start, end, argument), start):
            want = interpret(program, ARCHES[half], number, argument)
            assert -got == (ANSWER if want == ALLOW else want & 0xFFFF), number


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
