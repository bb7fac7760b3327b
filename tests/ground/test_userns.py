"""Entering a user namespace."""

from __future__ import annotations

import os

import pytest

from nacre.ground import userns
from nacre.words.errors import DigestMismatch, Unsupported


def make_namespace() -> None:
    try:
        userns.call(userns.enter)
    except Unsupported as error:
        pytest.skip(error.message)


def inside() -> tuple[int, bool, userns.Mapping]:
    return os.geteuid(), userns.mapped(), userns.current()


def test_it_makes_us_root() -> None:
    make_namespace()
    uid, mapped, mapping = userns.call(inside)
    assert (uid, mapped) == (0, True)
    assert mapping.uids[0][0] == 0
    if os.geteuid():
        assert mapping.uids[0][1] == os.geteuid()


def test_entering_twice_is_entering_once() -> None:
    make_namespace()
    first, second = userns.call(lambda: (userns.enter(), userns.enter()))
    assert second.uids == userns.call(userns.current).uids
    assert not second.entered
    assert first.single == second.single


def test_without_a_range_one_id_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        pytest.skip("root needs no mapping")
    make_namespace()
    monkeypatch.setattr(userns, "_ranges", lambda _uid: None)
    mapping = userns.call(userns.enter)
    assert mapping.single
    assert mapping.uids == ((0, os.geteuid(), 1),)


def test_helpers_that_fail_leave_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        pytest.skip("root needs no mapping")
    make_namespace()
    monkeypatch.setattr(userns, "_ranges", lambda _uid: ([(1, 5, 10)], [(1, 5, 10)]))
    assert userns.call(userns.enter).single


def fail() -> None:
    raise DigestMismatch("sha256:a", "sha256:b", what="it", hint="none")


def test_errors_come_back_as_they_were() -> None:
    make_namespace()
    with pytest.raises(DigestMismatch) as caught:
        userns.call(fail)
    assert (caught.value.expected, caught.value.actual) == ("sha256:a", "sha256:b")
    assert (caught.value.message, caught.value.hint) == (str(caught.value), "none")


def test_the_caller_is_not_changed() -> None:
    before = os.geteuid(), os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/mnt")
    make_namespace()
    assert (os.geteuid(), os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/mnt")) == before


def test_ranges_are_read(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# comment\nann:100000:65536\n1234:500:10\nbob:1:1\nann:300000:5\nbroken:x:y\n:1:1\n"
    monkeypatch.setattr(userns, "_read", lambda _path: text)
    assert userns._subordinate("/etc/subuid", 1234, "ann") == [
        (1, 100000, 65536), (65537, 500, 10), (65547, 300000, 5)
    ]  # fmt: skip
    assert userns._subordinate("/etc/subuid", 9, "") == []
