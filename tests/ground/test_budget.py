"""How much of the machine is used, and by whom."""

from __future__ import annotations

import os

import pytest

from nacre.ground.work.budget import Budget


def test_a_thread_is_to_spare_as_long_as_a_processor_is_left() -> None:
    budget = Budget(3)
    budget.begin_thread()
    assert [budget.try_thread() for _ in range(4)] == [True, True, False, False]
    budget.end_thread()
    assert budget.try_thread()


def test_work_that_needs_a_thread_has_it_anyway() -> None:
    budget = Budget(1)
    for _ in range(3):
        budget.begin_thread()
    for _ in range(2):
        budget.end_thread()
    assert not budget.try_thread()
    budget.end_thread()
    assert budget.try_thread()


def test_the_number_of_file_workers_is_bounded() -> None:
    budget = Budget(3)
    assert budget.take_file_workers(8) == 3
    assert budget.take_file_workers(1) == 0
    budget.give_file_workers(3)
    assert budget.take_file_workers(1) == 1


def test_another_limit_counts_together_with_the_first() -> None:
    budget = Budget(2, processes=8)
    other = budget.limited(processes=2, transfers=3)
    assert (other.processes, other.transfers, other.processors) == (2, 3, 2)
    assert other.take_file_workers(2) == 2
    assert budget.take_file_workers(1) == 0


def test_a_number_that_was_asked_for_stays() -> None:
    assert Budget(2).usually(4).transfers == 4
    assert Budget(2, transfers=3).usually(4).transfers == 3
    assert Budget(2).limited(transfers=0).transfers == Budget(2).transfers


def test_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 2, 5})
    assert Budget.of_machine().processors == 3
    assert Budget.of_machine().processes == 1
    assert Budget.of_machine(forks=True).processes > 1
