"""Profiles of system calls as users write them: what holds, and what is wrong with it, by its place."""

# ruff: noqa: E501 - a table of mistakes is read by the line
from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.seccomp import LARGEST, read_profile
from nacre.words.errors import UsageError

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


def profile(*rules: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"defaultAction": ERRNO, "syscalls": list(rules)} | more).encode()


def rule(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": ALLOW} | more


def held(
    *rules: dict[str, Any], caps: tuple[str, ...] = (), machine: str = "x86_64", release: str = "6.1.0"
) -> list[str]:  # fmt: skip
    document = read_profile(profile(*rules), "p.json").document(caps, machine, release)
    return [name for each in document["syscalls"] for name in each["names"]]


def test_what_it_is_in_the_words_of_the_runtime_spec() -> None:
    test = {"index": 1, "value": 2**64 - 1, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 3}
    data = profile(
        rule("a", args=[test]), {"name": "b", "action": ERRNO, "errnoRet": 38, "comment": "why"},
        {"names": ["c"], "action": ERRNO, "errno": "ENOSYS", "args": None, "includes": {}, "excludes": None},
        defaultErrnoRet=5, flags=["SECCOMP_FILTER_FLAG_LOG"],
        archMap=[
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        ],
    )  # fmt: skip
    assert read_profile(data, "p.json").document((), "x86_64", "6.1") == {
        "defaultAction": ERRNO,
        "defaultErrnoRet": 5,
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["a"], "action": ALLOW, "args": [test]},
            {"names": ["b"], "action": ERRNO, "errnoRet": 38},
            {"names": ["c"], "action": ERRNO, "errnoRet": 38},
        ],
    }


def test_includes_need_all_and_excludes_any() -> None:
    both = {"caps": ["CAP_BPF", "CAP_SYSLOG"]}
    rules = (rule("a", includes=both), rule("b", excludes=both), rule("c"))
    assert held(*rules) == ["b", "c"]
    assert held(*rules, caps=("CAP_BPF",)) == ["c"]
    assert held(*rules, caps=("CAP_BPF", "CAP_SYSLOG")) == ["a", "c"]


@pytest.mark.parametrize(
    ("machine", "names"), [("x86_64", ["a"]), ("aarch64", ["b"]), ("riscv64", ["b", "c"])]
)
def test_processors(machine: str, names: list[str]) -> None:
    rules = (
        rule("a", includes={"arches": ["amd64", "x86", "x32"]}), rule("b", excludes={"arches": ["amd64"]}),
        rule("c", includes={"arches": ["riscv64"]}),
    )  # fmt: skip
    assert held(*rules, machine=machine) == names


@pytest.mark.parametrize(
    ("release", "names"),
    [("4.7.9", ["b"]), ("4.8", ["a"]), ("4.10-rc1", ["a"]), ("5.0.0-13-generic", ["a"]), ("6.18+", ["a"])],
)
def test_kernels(release: str, names: list[str]) -> None:
    rules = rule("a", includes={"minKernel": "4.8"}), rule("b", excludes={"minKernel": "4.8"})
    assert held(*rules, release=release) == names


def test_another_processor() -> None:
    found = read_profile(profile(architectures=["SCMP_ARCH_AARCH64"]), "p.json")
    with pytest.raises(UsageError, match=r"^the seccomp profile p\.json has no list for x86_64$"):
        found.document((), "x86_64", "6.1")


X = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
WRONG: list[tuple[Any, str]] = [
    (b"", "is not JSON: "),
    (b"\xff", "is not JSON: "),
    (b"[" * 100_000, "is not JSON: "),
    (b'{"defaultAction": NaN}', "is not JSON: "),
    (b" " * (LARGEST + 1), "is larger than 1 MiB"),
    (b"[]", "the whole is not an object"),
    (b"{}", "defaultAction is missing"),
    ({"defaultAction": "ALLOW"}, 'defaultAction is "ALLOW", which is not known'),
    ({"defaultAction": 3}, "defaultAction is not a string"),
    ({"defaultErrnoRet": 4096}, "defaultErrnoRet is 4096, not a number from 0 to 4095"),
    ({"defaultErrnoRet": True}, "defaultErrnoRet is not a number"),
    ({"sycalls": []}, "sycalls is not known"),
    ({"a b": 1}, '"a b" is not known'),
    ({"syscalls": {}}, "syscalls is not a list"),
    ({"syscalls": ["a"]}, "syscalls[0] is not an object"),
    ({"syscalls": [rule("a"), rule()]}, "syscalls[1].names is missing"),
    ({"syscalls": [rule("a") | {"name": "b"}]}, "syscalls[0].name stands beside names; use one of them"),
    ({"syscalls": [rule("a", "")]}, "syscalls[0].names[1] is missing"),
    ({"syscalls": [rule("a", action="SCMP_ACT_TRACE")]}, "syscalls[0].action is SCMP_ACT_TRACE, which needs"),
    ({"syscalls": [rule("a", action="SCMP_ACT_NOTIFY")]}, "syscalls[0].action is SCMP_ACT_NOTIFY, which needs"),
    ({"syscalls": [rule("a", errnoRet="EPERM")]}, "syscalls[0].errnoRet is not a number"),
    ({"syscalls": [rule("a", errno="EVIL")]}, 'syscalls[0].errno is "EVIL", which is not known'),
    ({"syscalls": [rule("a", args=[X | {"op": "=="}])]}, 'syscalls[0].args[0].op is "==", which is not known'),
    ({"syscalls": [rule("a", args=[X | {"index": 6}])]}, "syscalls[0].args[0].index is 6, not a number from 0 to 5"),
    ({"syscalls": [rule("a", args=[X | {"value": -1}])]}, "syscalls[0].args[0].value is -1, not a number"),
    ({"syscalls": [rule("a", args=[X | {"value": 2**64}])]}, "syscalls[0].args[0].value is 18446744073709551616"),
    ({"syscalls": [rule("a", includes={"cap": []})]}, "syscalls[0].includes.cap is not known"),
    ({"syscalls": [rule("a", excludes={"minKernel": "4"})]}, 'excludes.minKernel is "4", not MAJOR.MINOR'),
    ({"architectures": ["SCMP_ARCH_X86_64"], "archMap": [{"architecture": "y"}]}, "archMap stands beside"),
    ({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, 'flags[0] is "SECCOMP_FILTER_FLAG_NEW_LISTENER"'),
    ({"listenerPath": "/run/x"}, "listenerPath is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named_by_its_place(value: Any, words: str) -> None:
    data = value if isinstance(value, bytes) else profile(**value)
    with pytest.raises(UsageError) as error:
        read_profile(data, "p.json")
    assert error.value.message.startswith("the seccomp profile p.json")
    assert words in error.value.message
    assert "\n" not in error.value.message


WORDS = """
defaultAction defaultErrnoRet syscalls names name action errnoRet args includes excludes caps arches minKernel
archMap architectures index value valueTwo op flags comment
"""
KEYS = st.sampled_from(WORDS.split())
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([ALLOW, ERRNO])
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, JSON))
def test_any_json_is_a_profile_or_one_sentence(value: Any) -> None:
    with suppress(UsageError):
        found = read_profile(json.dumps({"defaultAction": ALLOW} | value).encode(), "p.json")
        found.document(("CAP_BPF",), "x86_64", "6.1")
