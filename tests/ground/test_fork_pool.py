"""Processes that share their work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from nacre.ground.work.forks import ForkPool
from nacre.words.errors import DigestMismatch, SandboxError, StoreError
from nacre.words.processors import processors


def never() -> threading.Event:
    return threading.Event()


def heard(team: ForkPool, work: Callable[..., object], stop: threading.Event | None = None) -> list[object]:
    """What a helper tells."""
    told: list[object] = []
    team.fork(work).follow(stop or never(), lambda *message: told.append(message))
    return told


def test_each_number_falls_to_one_process() -> None:
    with ForkPool(900, 2) as team:

        def work(tell: Callable[..., None]) -> None:
            for number in team:
                tell(number)

        told = [number for _ in range(2) for (number,) in heard(team, work)]
        assert sorted([*told, *team]) == list(range(900))


def test_what_a_helper_raises_is_raised_again() -> None:
    def work(_tell: object) -> None:
        raise DigestMismatch("sha256:a", "sha256:b", what="layer x", hint="look")

    with ForkPool(1, 1) as team, pytest.raises(DigestMismatch, match="layer x has digest") as caught:
        heard(team, work)
    assert (caught.value.hint, caught.value.expected) == ("look", "sha256:a")


def test_a_mistake_in_a_helper_is_told_of() -> None:
    with ForkPool(1, 1) as team, pytest.raises(SandboxError, match="ZeroDivisionError"):
        heard(team, lambda _tell: 1 / 0)


def test_a_helper_that_is_killed_is_missed() -> None:
    with ForkPool(1, 1) as team, pytest.raises(StoreError, match="killed"):
        heard(team, lambda _tell: os.kill(os.getpid(), signal.SIGKILL))


def test_a_helper_is_ended_when_all_is_stopped() -> None:
    """By SIGTERM, which kills it if it does not tidy up."""
    stop = never()

    def work(tell: Callable[..., None]) -> None:
        tell("here")
        signal.pause()

    with ForkPool(1, 1) as team:
        helper = team.fork(work)
        pid = helper._pid
        helper.follow(stop, lambda *_message: stop.set())
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_a_helper_that_nobody_follows_is_ended_with_the_team() -> None:
    reader, writer = os.pipe()
    with ForkPool(1, 1) as team:
        team.fork(lambda _tell: signal.pause())
        os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_helper_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        helper = ForkPool(1, 1).fork(lambda tell: (tell("here"), signal.pause()))
        helper.follow(never(), lambda *_message: os.kill(os.getpid(), signal.SIGKILL))
    os.close(writer)
    os.waitpid(parent, 0)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_each_has_its_share_of_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(6)))
    with ForkPool(2, 2) as team:
        assert processors() == 6
        helper = team.fork(lambda _tell: signal.pause())
        assert processors() == 3
        assert heard(team, lambda tell: tell(processors())) == [(2,)]
        assert processors() == 3
        helper.end()
        assert processors() == 6
    assert processors() == 6


def test_a_fork_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    before = processors()

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with ForkPool(3, 2) as team:
        with pytest.raises(BlockingIOError):
            team.fork(lambda _tell: None)
        assert processors() == before
        assert list(team) == [0, 1, 2]


def test_who_has_no_more_to_do_leaves_its_share_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(4)))
    with ForkPool(1, 1) as team:
        helper = team.fork(lambda _tell: signal.pause())
        team.working(1)
        assert list(team) == [0]
        assert processors() == 2
        team.working(-1)
        assert processors() == 4
        helper.end()


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a helper that does not answer to SIGTERM."""
    monkeypatch.setattr("nacre.ground.work.forks._PATIENCE", 0.05)

    def work(tell: Callable[..., None]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tell("here")
        while True:
            signal.pause()

    stop, began = never(), time.monotonic()
    with ForkPool(1, 1) as team:
        team.fork(work).follow(stop, lambda *_message: stop.set())
    assert time.monotonic() - began < 30
