"""Threads that wait for the disk together."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from nacre.ground.work.syncing import DiskWait
from nacre.words.errors import DiskFull, StoreError

PATIENCE = 30


class Disk:
    """Syncs when it is told to, and fails if it is to."""

    def __init__(self, *, ready: bool = True, error: int = 0) -> None:
        self.count, self.error = 0, error
        self.begun, self.ready = threading.Semaphore(0), threading.Event()
        if ready:
            self.ready.set()

    def sync(self, fd: int) -> None:
        os.fstat(fd)
        self.count += 1
        self.begun.release()
        assert self.ready.wait(PATIENCE)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))


def test_one_by_one(tmp_path: Path) -> None:
    disk = Disk()
    wait = DiskWait(str(tmp_path), disk.sync)
    for number in range(3):
        wait.wait()
        assert disk.count == number + 1


class Lock:
    """A lock, and `came`: how often anybody wanted one."""

    came = threading.Semaphore(0)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()


def test_all_who_come_meanwhile_wait_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is under way may have begun before they wrote."""
    disk = Disk(ready=False)
    with monkeypatch.context() as patched:
        patched.setattr("nacre.ground.work.syncing.threading", SimpleNamespace(Lock=Lock))
        wait = DiskWait(str(tmp_path), disk.sync)
    threads = [threading.Thread(target=wait.wait) for _ in range(9)]
    threads[0].start()
    assert disk.begun.acquire(timeout=PATIENCE)
    for each in threads[1:]:
        each.start()
    for _ in range(2 * len(threads) + 1):  # each wants two, and the first one of them again
        assert Lock.came.acquire(timeout=PATIENCE)
    disk.ready.set()
    for each in threads:
        each.join(PATIENCE)
    assert disk.count == 2


@pytest.mark.parametrize(("number", "kind"), [(5, StoreError), (28, DiskFull)])
def test_a_failure_is_everybodys(tmp_path: Path, number: int, kind: type[StoreError]) -> None:
    disk = Disk(ready=False, error=number)
    wait, failed = DiskWait(str(tmp_path), disk.sync), list[str]()

    def come() -> None:
        with pytest.raises(kind) as caught:
            wait.wait()
        failed.append(caught.value.message)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for each in threads:
        each.start()
    disk.ready.set()
    for each in threads:
        each.join(PATIENCE)
    assert len(failed) == 4
    disk.error = 0
    wait.wait()


def test_the_real_disk(tmp_path: Path) -> None:
    DiskWait(str(tmp_path)).wait()
    with pytest.raises(StoreError, match="gone"):
        DiskWait(str(tmp_path / "gone")).wait()
