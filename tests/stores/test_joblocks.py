"""Which of several processes does a job, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.joblocks import LOCKED, JobLocks
from nacre.stores.storage.local import FolderContents

HOUR = 3600.0


class Lab:
    """Two processes with one catalog; the time is `now`."""

    def __init__(self, path: Path) -> None:
        self.now = 1e9
        self.catalog = Catalog(
            SqliteDatabase(str(path), lambda: self.now), FolderContents(lambda digest: None)
        )
        self.one, self.two = (JobLocks(self.catalog, name) for name in ("one", "two"))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "registry.db")
    with closing(made.catalog):
        yield made


def test_a_new_job_is_due_after_its_time(lab: Lab) -> None:
    assert lab.one.take("collect", HOUR) == HOUR
    lab.now += HOUR - 1
    assert lab.two.take("collect", HOUR) == 1
    lab.now += 1
    assert lab.two.take("collect", HOUR) == 0


def test_one_at_a_time(lab: Lab) -> None:
    assert lab.one.take("collect", 0) == 0
    assert lab.two.take("collect", 0) == LOCKED
    assert lab.two.take("scrub", 0) == 0
    lab.now += 50
    assert lab.one.renew("collect")
    assert lab.two.take("collect", 0) == LOCKED
    lab.one.end("collect")
    assert lab.two.take("collect", HOUR) == HOUR, "it was just done"
    assert lab.two.take("collect", 0) == 0


def test_a_process_that_is_gone_holds_it_for_a_while(lab: Lab) -> None:
    assert lab.one.take("collect", 0) == 0
    lab.now += LOCKED
    assert lab.two.take("collect", 0) == 0
    assert not lab.one.renew("collect")
    lab.one.end("collect")
    assert lab.two.renew("collect")
    assert lab.two.take("collect", 0) == 0, "its own"


def test_what_was_interrupted_is_due(lab: Lab) -> None:
    lab.one.take("collect", HOUR)
    lab.now += HOUR
    assert lab.one.take("collect", HOUR) == 0
    lab.one.end("collect", done=False)
    assert lab.two.take("collect", HOUR) == 0


def test_a_clock_that_was_set_back(lab: Lab) -> None:
    lab.one.take("collect", HOUR)
    assert lab.one.take("scrub", 0) == 0
    lab.now -= 365 * 24 * HOUR
    assert lab.two.take("scrub", 0) == 0, "held until a time that cannot be"
    assert lab.two.take("collect", HOUR) == HOUR
    lab.now += HOUR
    assert lab.two.take("collect", HOUR) == 0
