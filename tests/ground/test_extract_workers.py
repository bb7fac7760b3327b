"""Extraction with helper processes: the same tree as without, whatever meets whatever."""

from __future__ import annotations

import io
import mmap
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from treemaker import (
    DELETE,
    OVERLAY,
    Item,
    directory,
    file,
    folder,
    hardlink,
    paths,
    seen,
    symlink,
    trees,
    unpack,
    white,
)

from nacre.grammars.tar.entry import Entry
from nacre.ground.extract import Form, extraction
from nacre.ground.work import file_worker, files
from nacre.ground.work.budget import Budget
from nacre.words.errors import InvalidArchive, NacreError, StoreError

HELPED = OVERLAY.replace(budget=Budget(2))


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[files.FileWorkers]]:
    """Helpers from the first file on, and all that were started."""
    made: list[files.FileWorkers] = []

    def starting(budget: Budget, redo: files.Redo, fail: files.Fail) -> files.FileWorkers:
        got = files.FileWorkers(budget.take_file_workers(2), budget, redo, fail)
        got.wait()
        made.append(got)
        return got

    monkeypatch.setattr(extraction, "MANY_FILES", 1)
    monkeypatch.setattr(extraction, "start_workers", starting)
    yield made
    assert not any(one.pids for one in made)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same with threads for processes: quick enough for hypothesis."""

    def serve(channel: socket.socket, memory: mmap.mmap) -> None:
        with channel, memory:
            file_worker.serve(channel, memory)

    def starting(memory_fd: int) -> files.Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        helper = files.Process(ours, 0)
        memory = mmap.mmap(memory_fd, files.SLOTS * files.SLOT)
        running[helper] = Thread(target=serve, args=(theirs, memory))
        running[helper].start()
        return helper

    def end(helper: files.Process) -> None:
        helper.channel.shutdown(socket.SHUT_RDWR)
        running.pop(helper).join()
        helper.channel.close()

    running: dict[files.Process, Thread] = {}
    monkeypatch.setattr(files, "launch", starting)
    monkeypatch.setattr(files, "terminate", end)
    yield
    assert not running


def outcome(items: list[Item], where: Path, form: Form) -> object:
    """The tree that comes of it, or what is wrong with the archive."""
    with folder(where) as (_path, fd):
        try:
            unpack(items, fd, form)
        except NacreError as error:
            return type(error)
        return sorted((e._replace(offset=0), data) for e, data in seen(fd, form) if e.path)


few = st.sampled_from([b"a", b"b", b"c", b"d"])
places = st.lists(few, min_size=1, max_size=3).map(b"/".join)
meetings = st.one_of(
    st.builds(file, places, st.binary(max_size=20), mode=st.sampled_from([0o644, 0o4755, 0o600])),
    st.builds(file, places, st.binary(max_size=20)),
    st.builds(directory, places, mode=st.sampled_from([0o755, 0o700])),
    st.builds(symlink, places, st.sampled_from([b"a", b"/b", b"../c", b"/", b"../../../etc"])),
    st.builds(hardlink, places, places),
    st.builds(white, places.map(lambda path: b"/".join([*path.split(b"/")[:-1], b".wh." + path[-1:]]))),
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck]
)
@given(items=st.lists(meetings, max_size=12), form=st.sampled_from([OVERLAY, DELETE]))
def test_the_same_with_and_without(
    items: list[Item], form: Form, tmp_path: Path, pools: list[files.FileWorkers], threads: None
) -> None:
    """Files replaced, linked, shadowed by links and hidden while they are still on their way."""
    alone = outcome(items, tmp_path, form)
    assert outcome(items, tmp_path, form.replace(budget=Budget(2))) == alone


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck]
)
@given(items=trees())
def test_all_looks(items: list[Item], tmp_path: Path, pools: list[files.FileWorkers], threads: None) -> None:
    assert outcome(items, tmp_path, HELPED) == outcome(items, tmp_path, OVERLAY)


def test_nothing_goes_through_a_folder_that_gives_way(
    tmp_path: Path, pools: list[files.FileWorkers], threads: None
) -> None:
    items = [file(b"a"), white(b"b/.wh.a"), file(b"b"), file(b"b/a")]
    assert outcome(items, tmp_path, HELPED) is InvalidArchive


def test_many_files(tmp_path: Path, pools: list[files.FileWorkers]) -> None:
    """More than all slots hold, in many folders, of sizes around the limits; and what is there already."""
    sizes = [0, files.MAX_FILE, files.MAX_FILE + 1, 4096] + 396 * [1]
    items = [
        file(b"%d/%d" % (number % 40, number), bytes([number % 251]) * sizes[number % 400])
        for number in range(6000)
    ]
    with folder(tmp_path) as (path, fd):
        assert unpack(items, fd, DELETE.replace(budget=Budget(2))).entries == 6000
        for entry, data in items[::97]:
            assert Path(path, os.fsdecode(entry.path)).read_bytes() == data
        again = [file(entry.path, b"new", mode=0o600) for entry, _data in items[:300]]
        unpack(again, fd, DELETE.replace(budget=Budget(2)))
        assert Path(path, "7/7").read_bytes() == b"new"
        assert Path(path, "7/7").stat().st_mode & 0o777 == 0o600
        assert len(paths(fd, DELETE)) == 6040
    assert len(pools) == 2


def test_a_helper_that_dies(tmp_path: Path, pools: list[files.FileWorkers]) -> None:
    """One clear error; nobody is left behind, and nothing is made any more."""

    def items() -> Iterator[tuple[Entry, object]]:
        for number in range(3000):
            if number == 1500:
                for pid in pools[0].pids:
                    os.kill(pid, signal.SIGKILL)
            entry, data = file(b"d/%d" % number)
            yield entry, io.BytesIO(data)

    with folder(tmp_path) as (_path, fd), pytest.raises(StoreError, match="has exited early"):
        extraction.extract(items(), fd, HELPED)  # type: ignore[arg-type]


def test_what_a_helper_cannot_make_names_the_file(
    tmp_path: Path, pools: list[files.FileWorkers], threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(job: file_worker.Job, *_rest: object) -> int:
        if job[1] == b"77":
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(file_worker, "_one", one)
    items = [file(b"d/%d" % number) for number in range(100)]
    with folder(tmp_path) as (_path, fd), pytest.raises(StoreError, match="extract 'd/77': no space left"):
        unpack(items, fd, HELPED)


def test_a_short_payload(tmp_path: Path, pools: list[files.FileWorkers]) -> None:
    with folder(tmp_path) as (_path, fd), pytest.raises(InvalidArchive, match="is 3 bytes short"):
        extraction.extract([(Entry(b"f", size=7), io.BytesIO(b"1234"))], fd, HELPED)


def test_helpers_that_cannot_be_started_are_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "MANY_FILES", 1)
    monkeypatch.setattr(files.sys, "executable", "/bin/false")
    items = [file(b"d/%d" % number) for number in range(200)]
    with folder(tmp_path) as (_path, fd):
        assert unpack(items, fd, HELPED).entries == 200
        assert len(paths(fd)) == 201


def test_without_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(extraction, "MANY_FILES", 1)
    monkeypatch.setattr(files.os, "memfd_create", refuse)
    budget = Budget(2)
    with folder(tmp_path) as (_path, fd):
        assert unpack([file(b"a"), file(b"b")], fd, OVERLAY.replace(budget=budget)).entries == 2
    assert budget.take_file_workers(5) == 2


def test_none_without_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container's namespaces the program named as Python's may be anybody's."""
    monkeypatch.setattr(extraction, "MANY_FILES", 1)
    monkeypatch.setattr(extraction, "start_workers", lambda *_args: 1 / 0)
    with folder(tmp_path) as (_path, fd):
        unpack([file(b"a"), file(b"b")], fd, OVERLAY)
        assert paths(fd) == [b"a", b"b"]


def test_a_helper_touches_nothing_that_is_there(tmp_path: Path) -> None:
    Path(tmp_path, "link").symlink_to(tmp_path / "target")
    Path(tmp_path, "old").write_bytes(b"old")
    fd = os.open(tmp_path, os.O_RDONLY)
    view = memoryview(b"new")
    try:
        for name in (b"link", b"old"):
            with pytest.raises(FileExistsError):
                file_worker._one((0, name, 3, -1, -1, 0o644, 0, 0, -1), [fd], view)  # type: ignore[arg-type]
    finally:
        os.close(fd)
    assert not Path(tmp_path, "target").exists()
    assert Path(tmp_path, "old").read_bytes() == b"old"
