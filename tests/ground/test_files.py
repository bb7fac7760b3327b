from __future__ import annotations

import errno
import itertools
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from nacre.ground import files
from nacre.ground.files import Lock, Root
from nacre.words.errors import NotFound, StoreError, TooLarge


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    for name, target in {
        "up": "../../secret", "absolute": "/etc/passwd", "loop": "loop", "out": str(tmp_path / "secret"),
    }.items():  # fmt: skip
        (top / name).symlink_to(target)
    return top


@pytest.mark.parametrize(
    "path", ["etc/passwd", "/etc/passwd", "absolute", "../../etc/passwd", "etc/../etc/passwd"]
)
def test_root_reads_inside(tree: Path, path: str) -> None:
    with Root(str(tree)) as root:
        assert root.read(path, 100) == b"inside"


@pytest.mark.parametrize("path", ["up", "out", "loop", "../secret", "etc", "absent", "/proc/self/environ"])
def test_root_never_reads_outside(tree: Path, path: str) -> None:
    with Root(str(tree)) as root, pytest.raises(NotFound):
        root.read(path, 100)


def test_root_refuses_fifos_and_devices_without_opening_them(tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    with Root(str(tree)) as root, pytest.raises(NotFound, match="not a regular file"):
        root.read("fifo", 100)


def test_root_read_is_bounded(tree: Path) -> None:
    with Root(str(tree)) as root, pytest.raises(TooLarge):
        root.read("etc/passwd", 5)


def test_parent(tree: Path) -> None:
    with Root(str(tree)) as root:
        fd, name = root.parent(b"etc/new")
        try:
            assert os.path.samestat(os.fstat(fd), os.stat(tree / "etc"))
        finally:
            os.close(fd)
        assert name == b"new"
        for bad in (b"", b"/", b"etc/..", b"."):
            with pytest.raises(OSError, match="Invalid argument"):
                root.parent(bad)


def test_write_atomic(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(str(path), b"one", sync=True)
    files.write_atomic(str(path), b"two", 0o400)
    assert path.read_bytes() == b"two"
    assert os.stat(path).st_mode & 0o777 == 0o400
    assert os.listdir(tmp_path) == ["file"]


def test_write_atomic_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(str(path), b"one")

    def stop(_name: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files.install_trace(stop)
    try:
        with pytest.raises(StoreError, match="no space left on device") as caught:
            files.write_atomic(str(path), b"two")
    finally:
        files.install_trace(None)
    assert caught.value.hint
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]


def test_private_dir(tmp_path: Path) -> None:
    for _ in range(2):
        files.private_dir(str(tmp_path / "a/b/c"))
    assert os.stat(tmp_path / "a/b/c").st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        files.private_dir(str(tmp_path / "file"))


def test_lock_excludes_threads_and_survives_removal(tmp_path: Path) -> None:
    path, order, count = str(tmp_path / "lock"), [], 8
    inside = threading.Semaphore(1)

    def work(number: int) -> None:
        for _ in range(20):
            lock = Lock(path)
            assert inside.acquire(blocking=False)
            order.append(number)
            inside.release()
            lock.release(remove=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(order) == 20 * count


def test_lock_attempt(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with Lock(path):
        assert Lock.attempt(path) is None
    lock = Lock.attempt(path)
    assert lock is not None
    lock.release()
    lock.release()


def test_remove_tree(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_bytes(b"x" * 10000)
    os.link(top / "a/b/file", top / "a/again")
    os.mkfifo(top / "fifo")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("")
    (top / "link").symlink_to(tmp_path / "kept")
    os.chmod(top / "a/b", 0)
    usage = files.disk_usage(str(top)) if os.geteuid() == 0 else 0
    freed = files.remove_tree(str(top))
    assert freed >= 10000
    assert not usage or freed == usage
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]
    assert files.remove_tree(str(top)) == 0


def test_remove_tree_of_any_depth(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "top")
    fd = os.open(tmp_path / "top", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    files.remove_tree(str(tmp_path / "top"))
    assert os.listdir(tmp_path) == []


def test_files_that_take_long_are_removed_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones show it; of those that follow at least four wait beside each other."""
    names = [f"{number % 5}/{number % 3}/{number}" for number in range(80)]
    for name in names:
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).write_text("")
    unlink, seen, four = os.unlink, itertools.count(), threading.Barrier(4)

    def slow(*words: Any, **more: Any) -> None:
        four.wait(60) if next(seen) >= 16 else threading.Event().wait(0.002)
        unlink(*words, **more)

    monkeypatch.setattr(os, "unlink", slow)
    files.remove_tree(str(tmp_path / "top"))
    assert os.listdir(tmp_path) == []


def test_disk_usage_counts_hard_links_once(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/one").write_bytes(b"x" * 100000)
    before = files.disk_usage(str(tmp_path / "d"))
    os.link(tmp_path / "d/one", tmp_path / "d/two")
    assert files.disk_usage(str(tmp_path / "d")) == before
    assert files.disk_usage(str(tmp_path / "absent")) == 0


def test_two_may_remove_the_same(tmp_path: Path) -> None:
    """What the other one moves away at any moment is absent, and its content goes all the same."""
    for number in range(3):
        folder = tmp_path / "tree"
        for name in "abc":
            (folder / name / "d").mkdir(parents=True)
            (folder / name / "d" / "f").write_text("f")
        seen = 0

        def move(_point: str, at: int = number, place: Path = folder) -> None:
            nonlocal seen
            seen += 1
            if seen == 1 + 3 * at:
                place.rename(tmp_path / "trash")

        files.install_trace(move)
        try:
            files.remove_tree(str(folder))
        finally:
            files.install_trace(None)
        assert not folder.exists()
        files.remove_tree(str(tmp_path / "trash"))
        assert os.listdir(tmp_path) == []
