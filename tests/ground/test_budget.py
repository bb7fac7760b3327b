"""How many are at work."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from nacre.ground.work.budget import ActiveThreads
from nacre.words.processors import processors


def test_a_crowd_is_thin_as_long_as_a_processor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2})
    crowd = ActiveThreads()
    with ExitStack() as stack:
        for at_work in range(5):
            assert crowd.is_thin is (at_work < 3)
            stack.enter_context(crowd)
    assert crowd.is_thin


def test_who_fails_is_no_longer_at_work() -> None:
    crowd = ActiveThreads()
    with pytest.raises(ValueError, match="x"), crowd:
        raise ValueError("x")
    assert crowd.is_thin is (processors() > 0)
