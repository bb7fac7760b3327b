"""What goes on beside the requests: in turns, in threads, each on its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.services.server.jobs import Job, Jobs
from nacre.stores.activity import Activity
from nacre.stores.catalog import Catalog
from nacre.stores.joblocks import JobLocks
from nacre.words.errors import StoreError

PATIENCE = 30


class Counter:
    """Steps that count, and say so to `done`."""

    def __init__(self, steps: int = 2, fail: bool = False) -> None:
        self.rounds = self.ended = 0
        self._steps, self._fail = steps, fail
        self.threads: set[str] = set()

    def __call__(self) -> Iterator[int]:
        self.rounds += 1
        for number in range(self._steps):
            self.threads.add(threading.current_thread().name)
            yield number
        if self._fail:
            raise StoreError("the disk is gone")

    def end(self, last: int) -> None:
        assert last == self._steps - 1
        self.ended += 1

    def job(self, name: str, every: float = 0.001, **more: Any) -> Job:
        return Job(name, self, every, self.end, pause=0.0, **more)


def do(
    catalog: Catalog, jobs: list[Job], until: Any, owner: str = "", *, busy: bool = False
) -> list[Exception]:  # fmt: skip
    """Until it is so; what was noted."""
    noted: list[Exception] = []

    async def main() -> None:
        made = Jobs(JobLocks(catalog, owner), noted.append, lambda: busy)
        for job in jobs:
            made.add(job)
        made.begin()
        async with asyncio.timeout(PATIENCE):
            while not until(made):
                await asyncio.sleep(0.001)
        await made.close()

    asyncio.run(main())
    return noted


def test_again_and_again_in_threads(catalog: Catalog) -> None:
    counter = Counter()
    assert do(catalog, [counter.job("count")], lambda jobs: counter.ended >= 3) == []
    assert all(name.startswith("nacre-job") for name in counter.threads)


def test_once(catalog: Catalog) -> None:
    once, other = Counter(), Counter()
    do(catalog, [once.job("once", 0.0, each=True), other.job("other")], lambda jobs: other.ended >= 5)
    assert (once.rounds, once.ended) == (1, 1)


def test_an_error_ends_one_round_of_one_job(catalog: Catalog) -> None:
    bad, good = Counter(fail=True), Counter()
    noted = do(catalog, [bad.job("bad"), good.job("good")], lambda jobs: bad.rounds >= 3 and good.ended >= 3)
    assert {str(error) for error in noted} == {"the disk is gone"}
    assert bad.ended == 0


def test_nothing_to_do_takes_no_lock(catalog: Catalog) -> None:
    idle, other = Counter(), Counter()
    do(catalog, [idle.job("idle", due=lambda: False), other.job("other")], lambda jobs: other.ended >= 3)
    assert idle.rounds == 0
    assert catalog.listed("SELECT name FROM jobs") == [("other",)]


def test_one_can_be_woken(catalog: Catalog) -> None:
    counter = Counter()

    def until(jobs: Jobs) -> bool:
        threading.Thread(target=jobs.wake, args=("count",)).start()
        jobs.wake("unknown")
        return counter.ended >= 1

    do(catalog, [counter.job("count", 3600.0)], until)


def test_another_process_does_it(catalog: Catalog) -> None:
    assert JobLocks(catalog, "other").take("shared", 0.0) == 0
    shared, own = Counter(), Counter()
    do(catalog, [shared.job("shared"), own.job("own", each=True)], lambda jobs: own.ended >= 3, "this")
    assert shared.rounds == 0


def test_an_end_lets_go(catalog: Catalog) -> None:
    endless = Counter(1 << 60)
    do(catalog, [endless.job("endless")], lambda jobs: endless.rounds, "this")
    assert JobLocks(catalog, "other").take("endless", 0.0) == 0


def test_the_registry_says_who_did_what(serving: RunningServer, api: Any) -> None:
    image = api.push_image("app", "1")
    assert api("POST", f"web/blobs/uploads/?from=app&mount={api.push_blob('app', b'x')}").status == 201
    assert api("DELETE", "app/manifests/1").status == 202
    entries = Activity(serving.registry.state.catalog).page()
    assert [(each.action, each.repository) for each in entries] == [
        ("delete", "app"), ("mount", "web"), ("push", "app"),
    ]  # fmt: skip
    assert {(each.actor, each.client) for each in entries} == {("", "127.0.0.1")}
    assert entries[0].digest == image.digest


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.02), (0.001, 0.02), (0.01, 0.09), (5.0, 10.0)])
def test_what_rests_leaves_others_most_of_the_time(took: float, pause: float) -> None:
    rests = Job("rests", Counter(), 1.0, rest=9.0)
    assert rests.pause_after(took) == pytest.approx(pause)
    assert rests.pause_after(took, busy=True) == pytest.approx(min(10.0, max(0.02, 18 * took)))
    assert Job("does not", Counter(), 1.0).pause_after(took) == 0.02


@pytest.mark.parametrize("busy", [False, True])
def test_a_step_that_took_long_is_followed_by_rest(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def remembered(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    def steps() -> Iterator[None]:
        until = time.monotonic() + 0.003
        while time.monotonic() < until:
            pass
        yield

    monkeypatch.setattr(asyncio, "sleep", remembered)
    slow = Job("slow", steps, 0.0, pause=0.0, rest=9.0)
    do(catalog, [slow], lambda jobs: jobs.is_over("slow"), "this", busy=busy)
    assert max(pauses) >= (18 if busy else 9) * 0.003
