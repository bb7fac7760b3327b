"""Users and owners for programs in a namespace of one id: rules, filter, memory, names."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.grammars.layer import owner
from nacre.grammars.tar.entry import Entry
from nacre.ground.ownership import calls
from nacre.ground.ownership.credentials import ROOT, UNCHANGED, ProcessIds
from nacre.ground.ownership.paths import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    ProcessMemory,
    ProcessRoot,
)
from nacre.ground.ownership.table import LIMIT, CredentialsTable

sys.path.append(str(Path(__file__).parents[1]))

from bpf import interpret

ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
NUMBERS = (0, 0, 5, 7, 9)
MAYBE = (*NUMBERS, UNCHANGED, UNCHANGED)
"""-1 as the model gets it."""

Step = tuple[str, tuple[int, ...]]


def steps(source: random.Random) -> Iterator[Step]:
    """What a program might do; a group first, while it may."""
    for _ in range(source.randint(1, 8)):
        kind = source.choice(("gid", "uid"))
        yield source.choice((
            (f"set{kind}", (source.choice(NUMBERS),)),
            (f"setre{kind}", (source.choice(MAYBE), source.choice(MAYBE))),
            (f"setres{kind}", (source.choice(MAYBE), source.choice(MAYBE), source.choice(MAYBE))),
        ))  # fmt: skip


def modelled(taken: list[Step]) -> list[Any]:
    """What comes of each step."""
    found: list[Any] = []
    credentials = ROOT
    for name, words in taken:
        is_user, free = name.endswith("uid"), credentials.is_root
        ids = credentials.user if is_user else credentials.group
        work = {3: ids.to_three, 2: ids.to_both, 1: ids.to}[len(words)]
        try:
            new = work(*words, free=free)  # type: ignore[operator]
        except OSError as error:
            found.append(error.errno)
            continue
        credentials = credentials.replace(user=new) if is_user else credentials.replace(group=new)
        user, group = credentials.user, credentials.group
        found.append([user.real, user.effective, user.saved, group.real, group.effective, group.saved])
    return found


def real(taken: list[Step]) -> list[Any]:
    """The same by the kernel, which this process does not survive."""
    found: list[Any] = []
    for name, words in taken:
        try:
            getattr(os, name)(*(-1 if word == UNCHANGED else word for word in words))
        except OSError as error:
            found.append(error.errno)
        else:
            found.append([*os.getresuid(), *os.getresgid()])
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become anybody")
def test_the_rules_are_those_of_the_kernel(in_a_child: Callable[..., Any]) -> None:
    source = random.Random(11)
    for _ in range(60):
        taken = list(steps(source))
        assert modelled(taken) == in_a_child(lambda taken=taken: real(taken)), taken


@pytest.fixture
def in_a_child() -> Callable[..., Any]:
    from nacre.ground import userns

    return userns.apart


def test_groups_and_gifts() -> None:
    joined = ROOT.in_groups((3, 4))
    assert joined.groups == (3, 4)
    assert joined.may_give(9, 9)
    user = joined.replace(user=joined.user.to(5, free=True), group=joined.group.to(6, free=True))
    assert [user.may_give(*each) for each in ((5, 6), (UNCHANGED, 4), (UNCHANGED, 7), (0, 6))] == [
        True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(OSError, match="only root"):
        user.in_groups(())
    assert ROOT.user.for_files(9, free=True).files == 9
    assert user.user.for_files(9, free=False).files == 5


@pytest.mark.parametrize(("machine", "arch", "numbers"), [
    ("x86_64", 0xC000003E, {"chown": 92, "fchownat": 260, "setgroups": 116, "getuid": 102}),
    ("x86_64", 0x40000003, {"chown": 212, "fchownat": 298, "setgroups": 206, "getuid": 199}),
    ("aarch64", 0xC00000B7, {"fchown": 55, "fchownat": 54, "setgroups": 159, "getuid": 174}),
])  # fmt: skip
def test_the_filter_of_owners(machine: str, arch: int, numbers: dict[str, int]) -> None:
    from nacre.ground.network.notifier import program, program_of

    every = calls.filters(machine, (*calls.OWN, *calls.SET, *calls.GET))
    for code in (program_of(every), program(machine, every)):
        assert {interpret(code, arch, number) for number in numbers.values()} == {NOTIFY}
        assert {interpret(code, arch, number) for number in (0, 1, 3, 9, 451)} == {ALLOW}
    some = program_of(calls.filters(machine, calls.OWN))
    assert interpret(some, arch, numbers["setgroups"]) == interpret(some, 0x12345, 1) == ALLOW
    assert interpret(some, arch, numbers["fchownat"]) == NOTIFY


def test_the_limit_that_holds_the_ids_is_not_changed_by_programs() -> None:
    from nacre.ground.network.notifier import program_of

    code, arch = program_of(calls.filters("x86_64", calls.SET)), 0xC000003E
    succeeds = 0x00050000
    assert interpret(code, arch, 160, LIMIT, 1) == interpret(code, arch, 302, 0, LIMIT, 4096) == succeeds
    assert interpret(code, arch, 160, 7, 1) == interpret(code, arch, 302, 0, LIMIT, 0, 4096) == ALLOW
    assert interpret(code, arch, 302, 0, 7, 4096) == ALLOW


def test_a_table_follows_forks(in_a_child: Callable[..., Any]) -> None:
    """And what it does not know, or somebody else has written there, is nobody."""
    import resource

    def work() -> list[ProcessIds | None]:
        table, other = CredentialsTable(), CredentialsTable()
        own = os.getpid()
        user = ROOT.replace(user=ROOT.user.to(1000, free=True))
        found = [table.of(own)]
        table.keep(own, user)
        found += [table.of(own), other.of(own)]
        child = os.fork()  # it waits to be asked
        if not child:
            os.kill(os.getpid(), 19)
            os._exit(0)
        os.waitpid(child, os.WUNTRACED)
        found.append(table.of(child))
        table.keep(child, ROOT)
        found += [table.of(child), table.of(own)]
        os.kill(child, 9)
        os.waitpid(child, 0)
        resource.prlimit(own, LIMIT, (5, resource.prlimit(own, LIMIT)[1]))
        return [*found, table.of(own)]

    user = ROOT.replace(user=ROOT.user.to(1000, free=True))
    assert in_a_child(work) == [None, user, None, user, None, user, None]


class Note:
    """As far as names need one: it is us who call."""

    def __init__(self, tid: int) -> None:
        self.tid = tid

    def duplicate(self, number: int) -> int:
        return os.dup(number)


def test_memory_of_a_caller() -> None:
    import ctypes

    buffer = ctypes.create_string_buffer(b"a name\0and more")
    address = ctypes.addressof(buffer)
    with ProcessMemory(os.getpid()) as memory:
        assert memory.name(address) == b"a name"
        assert memory.read(address, 3) == b"a n"
        memory.write(address, b"A")
        assert buffer.value == b"A name"
        for bad in (0, 8, (1 << 47) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            with pytest.raises((OSError, OverflowError)):
                memory.name(bad)
            with pytest.raises((OSError, OverflowError)):
                memory.write(bad, b"x")


def named(folder: int, path: bytes, flags: int = 0, tid: int = 0) -> str:
    """What is found, by its path on this machine; the name of the error otherwise."""
    with ProcessRoot(Note(tid or os.getpid())) as caller:  # type: ignore[arg-type]
        try:
            fd = caller.open(folder, path, flags)
        except OSError as error:
            return str(error.strerror)
        try:
            return os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)


def test_names_are_found_as_the_caller_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative and absolute ones, through links, above the folder, without a name."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").touch()
    (tmp_path / "a/out").symlink_to(tmp_path / "top")
    (tmp_path / "a/near").symlink_to("file")
    (tmp_path / "top").touch()
    monkeypatch.chdir(tmp_path / "a")
    fd = os.open("b", os.O_RDONLY)
    try:
        here = str(tmp_path)
        assert named(AT_FDCWD, b"file") == f"{here}/a/file"
        assert named(AT_FDCWD, b"../top") == named(AT_FDCWD, b"out") == f"{here}/top"
        assert named(AT_FDCWD, b"near") == named(fd, b"../file") == f"{here}/a/file"
        assert named(AT_FDCWD, b"near", AT_SYMLINK_NOFOLLOW) == f"{here}/a/near"
        assert named(fd, b"", AT_EMPTY_PATH) == f"{here}/a/b"
        assert named(fd, b"../../../../../../../.." + os.fsencode(here) + b"/top") == f"{here}/top"
        assert named(fd, os.fsencode(here) + b"/top") == f"{here}/top"
        assert named(AT_FDCWD, b"/proc/self/fd/%d" % fd) == f"{here}/a/b"
        assert named(AT_FDCWD, b"") == named(AT_FDCWD, b"none") == "No such file or directory"
        assert named(AT_FDCWD, b"/proc/%d/fd/%d" % (os.getpid(), fd)) == "Too many levels of symbolic links"
    finally:
        os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root")
def test_names_do_not_leave_the_root_of_the_caller(tmp_path: Path, in_a_child: Callable[..., Any]) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "secret").touch()
    (tmp_path / "in/link").symlink_to("../../../secret")
    (tmp_path / "in/secret").touch()
    outside = os.open(tmp_path, os.O_RDONLY)

    def within() -> list[str]:
        inner = os.fork()
        if not inner:
            os.chroot(tmp_path / "in")
            os.chdir("/deep")
            os.kill(os.getpid(), 19)
            os._exit(0)
        os.waitpid(inner, os.WUNTRACED)
        try:
            names = (
                (AT_FDCWD, b"../../secret"),
                (AT_FDCWD, b"../link"),
                (AT_FDCWD, b"/../secret"),
                (outside, b"../x"),
            )
            return [named(*each, 0, inner) for each in names]
        finally:
            os.kill(inner, 9)
            os.waitpid(inner, 0)

    found = in_a_child(within)
    os.close(outside)
    assert found[:3] == [f"{tmp_path}/in/secret"] * 3
    assert found[3] == "not in the root"


@pytest.mark.parametrize(("value", "wanted"), [
    (b"5:6", (5, 6)), (b":6", (-1, 6)), (b"5:", (5, -1)), (b"", (-1, -1)), (b"x:y", (-1, -1)),
    (b"-1:4294967295", (-1, -1)), (b"4294967294:0", (4294967294, 0)), (b"1" * 5000 + b":1", (-1, 1)),
    ("٣:3".encode(), (-1, 3)), (b"5:6:7", (5, -1)),
])  # fmt: skip
def test_an_attribute_says_an_owner(value: bytes, wanted: tuple[int, int]) -> None:
    assert owner.parsed(value) == wanted
    entry = Entry(b"a", "file", 0o644, 1, 2, xattrs=((owner.ATTRIBUTE, value), (b"user.z", b"")))
    given = owner.given(entry)
    assert (given.uid, given.gid) == tuple(
        new if new >= 0 else old for new, old in zip(wanted, (1, 2), strict=True)
    )
    assert given.xattrs == ((b"user.z", b""),)
    assert owner.parsed(owner.text(*wanted)) == wanted
