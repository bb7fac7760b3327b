"""Processes that share their work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from nacre.ground.fork import start
from nacre.ground.work.budget import Budget
from nacre.ground.work.forks import ForkPool
from nacre.words.errors import DigestMismatch, SandboxError, StoreError


def pool_of(count: int, forks: int, budget: Budget | None = None) -> ForkPool:
    return ForkPool(count, (budget or Budget(2)).limited(processes=1 + forks))


def never() -> threading.Event:
    return threading.Event()


def received(
    pool: ForkPool, work: Callable[..., object], stop: threading.Event | None = None
) -> list[object]:
    """What a fork tells."""
    sent: list[object] = []
    pool.fork(work).follow(stop or never(), lambda *message: sent.append(message))
    return sent


def test_each_number_falls_to_one_process() -> None:
    with pool_of(900, 2) as pool:

        def work(send: Callable[..., None]) -> None:
            for number in pool:
                send(number)

        sent = [number for _ in range(2) for (number,) in received(pool, work)]
        assert sorted([*sent, *pool]) == list(range(900))


def test_what_a_helper_raises_is_raised_again() -> None:
    def work(_send: object) -> None:
        raise DigestMismatch("sha256:a", "sha256:b", what="layer x", hint="look")

    with pool_of(1, 1) as pool, pytest.raises(DigestMismatch, match="layer x has digest") as caught:
        received(pool, work)
    assert (caught.value.hint, caught.value.expected) == ("look", "sha256:a")


def test_a_mistake_in_a_helper_is_told_of() -> None:
    with pool_of(1, 1) as pool, pytest.raises(SandboxError, match="ZeroDivisionError"):
        received(pool, lambda _send: 1 / 0)


def test_a_helper_that_is_killed_is_missed() -> None:
    with pool_of(1, 1) as pool, pytest.raises(StoreError, match="killed"):
        received(pool, lambda _send: os.kill(os.getpid(), signal.SIGKILL))


def test_a_helper_is_ended_when_all_is_stopped() -> None:
    """By SIGTERM, which kills it if it does not tidy up."""
    stop = never()

    def work(send: Callable[..., None]) -> None:
        send(os.getpid())
        signal.pause()

    def here(number: int) -> None:
        nonlocal pid
        pid = number
        stop.set()

    pid = 0
    with pool_of(1, 1) as pool:
        pool.fork(work).follow(stop, here)
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_a_helper_that_nobody_follows_is_ended_with_the_team() -> None:
    reader, writer = os.pipe()
    with pool_of(1, 1) as pool:
        pool.fork(lambda _send: signal.pause())
        os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_helper_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        fork = pool_of(1, 1).fork(lambda send: (send("here"), signal.pause()))
        fork.follow(never(), lambda *_message: os.kill(os.getpid(), signal.SIGKILL))
    os.close(writer)
    os.waitpid(parent, 0)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_each_has_its_share_of_the_processors() -> None:
    budget = Budget(6)
    with pool_of(2, 2, budget) as pool:
        assert budget.share == 6
        fork = pool.fork(lambda _send: signal.pause())
        assert budget.share == 3
        assert received(pool, lambda send: send(budget.share)) == [(2,)]
        assert budget.share == 3
        fork.end()
        assert budget.share == 6
    assert budget.share == 6


def test_a_fork_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    budget = Budget(4)
    monkeypatch.setattr(os, "fork", refuse)
    with pool_of(3, 2, budget) as pool:
        with pytest.raises(BlockingIOError):
            pool.fork(lambda _send: None)
        assert budget.share == 4
        assert list(pool) == [0, 1, 2]


def test_who_has_no_more_to_do_leaves_its_share_to_the_others() -> None:
    budget = Budget(4)
    with pool_of(1, 1, budget) as pool:
        fork = pool.fork(lambda _send: signal.pause())
        pool.working(1)
        assert list(pool) == [0]
        assert budget.share == 2
        pool.working(-1)
        assert budget.share == 4
        fork.end()


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fork that does not answer to SIGTERM."""
    monkeypatch.setattr("nacre.ground.work.forks._PATIENCE", 0.05)

    def work(send: Callable[..., None]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        send("here")
        while True:
            signal.pause()

    stop, began = never(), time.monotonic()
    with pool_of(1, 1) as pool:
        pool.fork(work).follow(stop, lambda *_message: stop.set())
    assert time.monotonic() - began < 30


def test_a_signal_after_the_fork_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes before the child has its entry."""
    children: list[int] = []

    def begin(*given: object, **options: object) -> int:
        children.append(start(*given, **options))  # type: ignore[arg-type]
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # not to a thread of another test
        return children[0]

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nacre.ground.work.forks.start", begin)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), pool_of(1, 1) as pool:
            pool.fork(lambda _send: time.sleep(60))
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)
