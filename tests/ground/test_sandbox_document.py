"""Lists of system calls in the words of the runtime-spec, compiled: against a reading of them by the book."""

from __future__ import annotations

from typing import Any

import pytest
from bpf import interpret
from hypothesis import given
from hypothesis import strategies as st
from test_sandbox_seccomp import ARCHES, ENOSYS, OPS

from nacre.ground.sandbox import capabilities, facts, profile, seccomp, syscalls
from nacre.ground.sandbox.document import compiled
from nacre.words.errors import Unsupported, UsageError

ANSWERS = {
    "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000, "SCMP_ACT_ERRNO": 0x50001, "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
BOTH = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
NAMES = ["read", "mkdir", "clone", "socket", "fchmodat2"]
LIMITS = [0, 1, 2, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 5 << 32, (1 << 64) - 1]
VALUES = st.sampled_from(LIMITS) | st.integers(0, (1 << 64) - 1)


def document(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "architectures": BOTH, "syscalls": list(rules)} | more


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action} | more


def answer(action: str, error: int | None) -> int:
    return 0x50000 | error if action == "SCMP_ACT_ERRNO" and error is not None else ANSWERS[action]


def read(listed: dict[str, Any], name: str, arguments: tuple[int, ...]) -> int:
    """Rules without conditions first, then those with any, in order; what says the default says nothing."""
    default = answer(listed["defaultAction"], listed.get("defaultErrnoRet"))
    rules = [each for each in listed["syscalls"] if name in each["names"]]
    rules = [each for each in rules if answer(each["action"], each.get("errnoRet")) != default]
    for each in sorted(rules, key=lambda each: bool(each.get("args"))):
        tests = [OPS[t["op"]](arguments[t["index"]], t["value"], t["valueTwo"]) for t in each.get("args", ())]
        indices = [t["index"] for t in each.get("args", ())]
        if any(tests) if len(set(indices)) < len(indices) else all(tests):
            return answer(each["action"], each.get("errnoRet"))
    return default


OPS |= {"SCMP_CMP_LE": lambda got, value, _: got <= value, "SCMP_CMP_GE": lambda got, value, _: got >= value}
TESTS = st.builds(
    lambda index, op, value, second: {
        "index": index, "op": op, "value": value,
        "valueTwo": second & value if op == "SCMP_CMP_MASKED_EQ" else second,
    },
    st.integers(0, 2), st.sampled_from(sorted(OPS)), VALUES, VALUES,
)  # fmt: skip
RULES = st.builds(
    lambda names, action, args: rule(*names, action=action, **({"args": args} if args else {})),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=2), st.sampled_from(sorted(ANSWERS)),
    st.lists(TESTS, max_size=3),
)  # fmt: skip


@given(st.lists(RULES, max_size=5), st.sampled_from(sorted(ANSWERS)), st.tuples(VALUES, VALUES, VALUES))
def test_as_it_is_read(rules: list[Any], default: str, arguments: tuple[int, int, int]) -> None:
    listed = document(*rules, default=default)
    program, table = compiled(listed, "x86_64")[0], syscalls.numbers("x86_64")
    tried = {number for each in rules for test in each.get("args", ()) for number in (test["value"],)}
    newest = max((table[name] for each in rules for name in each["names"]), default=0)
    for name in NAMES:
        for values in (arguments, *((value,) * 3 for value in tried)):
            got = interpret(program, ARCHES["x86_64"], table[name], *values)
            newer = table[name] > newest and default not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
            assert got == (ENOSYS if newer else read(listed, name, values)), (name, values)


@pytest.mark.parametrize("caps", [capabilities.DEFAULT_BITS, 0, capabilities.bits(capabilities.ALL)])
@pytest.mark.parametrize("half", ["x86_64", "i386", "aarch64"])
def test_the_default_list_as_a_document(half: str, caps: int) -> None:
    """What other runtimes are given for it means the same here, for arguments that the kernel looks at."""
    machine = "x86_64" if half == "i386" else half
    own = seccomp.program(machine, caps)
    theirs = compiled(profile.document(machine, caps), machine)[0]
    for number in range(profile.newest(half) + 3):
        for argument in (0, 8, 38, 39, 40, 0x20008, 0x7E020000, 0xFFFFFFFF):
            want = interpret(own, ARCHES[half], number, argument)
            if half == "i386" and number in (102, 117):
                continue  # one call that does the work of many
            assert interpret(theirs, ARCHES[half], number, argument) == want, number
    assert facts.RULES


def test_numbers_of_other_halves() -> None:
    program = compiled(document(rule("mkdir", action="SCMP_ACT_ERRNO"), default="SCMP_ACT_ALLOW"), "x86_64")[
        0
    ]
    assert interpret(program, ARCHES["x86_64"], 83) == 0x50001
    assert interpret(program, ARCHES["i386"], 39) == 0x50001
    assert interpret(program, ARCHES["x86_64"], 0x40000000 | 83) == ENOSYS  # x32
    assert interpret(program, ARCHES["aarch64"], 0) == 0
    single = compiled(document(architectures=BOTH[:1]), "x86_64")[0]
    assert interpret(single, ARCHES["i386"], 39) == 0


def test_what_32_bit_programs_do_by_another_call() -> None:
    """socketcall(1) is socket: a list that refuses one refuses the other."""
    listed = document(rule("socket", "shmget", action="SCMP_ACT_ERRNO"), default="SCMP_ACT_ALLOW")
    program = compiled(listed, "x86_64")[0]
    assert [interpret(program, ARCHES["i386"], 102, first) for first in (1, 2)] == [0x50001, 0x7FFF0000]
    assert [interpret(program, ARCHES["i386"], 117, first) for first in (23, 21)] == [0x50001, 0x7FFF0000]


def test_flags_and_what_is_too_long() -> None:
    assert (
        compiled(document(flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]), "x86_64")[1] == 3
    )
    tests = [{"index": 0, "op": "SCMP_CMP_EQ", "value": number, "valueTwo": 0} for number in range(1000)]
    with pytest.raises(UsageError, match="the kernel takes 4096"):
        compiled(document(rule("read", args=tests)), "x86_64")
    with pytest.raises(Unsupported, match="no system calls of mips"):
        compiled(document(), "mips")
