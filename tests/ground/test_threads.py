"""Pipes between threads: order, bounds, and an end for every stage whatever happens."""

from __future__ import annotations

import signal
import threading
import weakref
from collections import deque
from itertools import repeat

import pytest

from nacre.ground.work.budget import Budget
from nacre.ground.work.ordered import Ordered
from nacre.ground.work.pipe import CHUNK, Pipe, Stopped, copy
from nacre.ground.work.threads import Worker, in_parallel, paced, running
from nacre.words.errors import InvalidArchive, StoreError


def threads() -> int:
    return sum(t.name == "nacre-worker" and t.is_alive() for t in threading.enumerate())


def fill(pipe: Pipe) -> None:
    pipe.write(b"x")
    raise StoreError("disk full")


def test_bytes_arrive_in_order_whatever_the_pieces():
    pipe, data = Pipe(), bytes(range(256)) * 40_000
    stage = Worker(
        lambda: [pipe.write(data[i : i + 70_001]) for i in range(0, len(data), 70_001)], feeds=pipe
    )
    got = bytearray()
    with running([stage], [pipe]):
        while piece := pipe.read(1 + len(got) % 9000):
            got += piece
    assert got == data


def test_a_writer_waits_for_room():
    pipe = Pipe()
    written = []
    stage = Worker(lambda: [written.append(pipe.write(bytes(CHUNK))) for _ in range(100)], feeds=pipe)
    with running([stage], [pipe]):
        assert pipe.read(1)
        assert len(written) <= 17
        assert copy(pipe, lambda _: True) == 100 * CHUNK - 1


def test_a_satisfied_reader_lets_its_writer_end():
    pipe = Pipe()
    stage = Worker(lambda: pipe.read(5), drains=pipe)
    with running([stage], [pipe]):
        while pipe.write(bytes(CHUNK)):
            pass
    assert threads() == 0


def test_a_failed_reader_stops_its_writer_and_its_error_is_the_one_raised():
    first, second = Pipe(), Pipe()

    def fail() -> None:
        second.read(1)
        raise InvalidArchive("no tar")

    middle = Worker(lambda: copy(first, second.write), drains=first, feeds=second)
    with (
        pytest.raises(InvalidArchive, match="no tar"),
        running([middle, Worker(fail, drains=second)], [first]),
    ):
        deque(map(first.write, repeat(bytes(CHUNK))), 0)
    assert threads() == 0


def test_a_failed_writer_stops_its_reader():
    pipe = Pipe()
    stage = Worker(lambda: copy(pipe, lambda _: True), drains=pipe)
    with pytest.raises(StoreError, match="disk full"), running([stage], [pipe]):
        fill(pipe)
    assert isinstance(stage.failure, Stopped)


def test_an_interrupt_while_joining_ends_every_stage():
    pipe = Pipe()
    reached = threading.Event()

    def wait() -> None:
        reached.set()
        copy(pipe, lambda _: True)

    def interrupt() -> None:
        reached.wait()
        signal.raise_signal(signal.SIGINT)

    stage = Worker(wait, drains=pipe)
    pipe.write(b"x")
    with pytest.raises(KeyboardInterrupt), running([stage], [pipe]):
        interrupt()
    assert not stage.is_alive()


def test_a_stage_that_could_not_start_is_not_waited_for():
    class Broken(Worker):
        def start(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), running([Broken(int)], []):
        pass


def test_in_parallel_runs_all_and_at_most_so_many_at_once():
    lock, now, most, seen = threading.Lock(), 0, 0, []

    def work(item: int, _stop: threading.Event) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1
            seen.append(item)

    in_parallel(work, range(50), 3)
    assert sorted(seen) == list(range(50))
    assert most <= 3


def test_paced_takes_up_the_rest_when_the_processors_are_idle() -> None:
    """The first one waits for the last."""
    last = threading.Event()

    def work(item: int, _stop: threading.Event) -> None:
        if item == 5:
            last.set()
        assert last.wait(60)

    paced(work, range(6), Budget(2, transfers=6), waiting=0)


def test_in_parallel_stops_the_others_after_a_failure():
    begun = []

    def work(item: int, stop: threading.Event) -> None:
        begun.append(item)
        if item == 0:
            raise StoreError("first")
        stop.wait()
        raise Stopped("told to")

    with pytest.raises(StoreError, match="first"):
        in_parallel(work, range(50), 3)
    assert len(begun) <= 4
    assert threads() == 0


def test_in_parallel_of_nothing():
    in_parallel(lambda item, stop: None, [], 3)


def blocks() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nacre-block"]


def test_calls_side_by_side_give_their_results_in_order() -> None:
    taken: list[int] = []
    calls, gates = Ordered(taken.append, Budget(3)), [threading.Event() for _ in range(9)]

    def number(at: int) -> int:
        assert at == 0 or gates[at].wait(60)
        return at

    calls.call(number, 0)
    assert (taken, blocks()) == ([0], [])  # what is small never pays for a thread
    for at in range(1, 5):
        calls.call(number, at)
    assert len(blocks()) == 3
    for gate in reversed(gates):
        gate.set()
    for at in range(5, 9):
        calls.call(number, at)
    calls.finish()
    assert taken == [*range(9)]
    assert blocks() == []


def test_what_a_call_raises_is_raised_when_its_result_is_due() -> None:
    taken: list[int] = []
    calls = Ordered(taken.append, Budget(2))
    calls.call(int, "1")

    def fail() -> None:
        for _ in range(3):
            calls.call(int, "x")
        calls.finish()

    with pytest.raises(ValueError, match="'x'"):
        fail()
    calls.stop()
    assert (taken, blocks()) == ([1], [])


def test_a_thread_that_cannot_begin_is_the_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, start = Ordered(lambda _found: None, Budget(3)), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if blocks():
            raise RuntimeError("can't start new thread")
        start(thread)

    gate = threading.Event()
    calls.call(int, "1")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    calls.call(gate.wait, 20)
    with pytest.raises(RuntimeError, match="new thread"):
        calls.call(int, "2")
    gate.set()
    calls.stop()
    assert blocks() == []


class Token:
    """Something that is gone when nobody will use it any more."""


def test_calls_that_have_not_begun_when_nobody_wants_them_are_not_made() -> None:
    made: list[int] = []
    calls, begun, gate = Ordered(lambda _found: None, Budget(2)), threading.Semaphore(0), threading.Event()

    def block(at: int, _token: object = None) -> None:
        made.append(at)
        begun.release()
        assert at == 0 or gate.wait(60)

    for at in range(3):
        calls.call(block, at)
        assert begun.acquire(timeout=60)  # the first here, two in threads
    token = Token()
    weakref.finalize(token, gate.set)  # when the last call will not be made, the others may end
    calls.call(block, 3, token)
    del token
    calls.stop()
    assert made == [0, 1, 2]
    assert blocks() == []
