"""Who waits for content, and is answered: by the kernel's events, and by asking. One contract for both."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nacre.ground.asking import AskedReads, Asking, AwaitedRead, ReadQueue
from nacre.ground.precontent import ContentGroup

SIZE = 1 << 16


class Reader:
    """Reads a hole of the file that `queue` is of; the file is filled through `fd`."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.path, self.asking = folder / "tar", Asking(str(folder)) if kind == "asking" else None
        self.path.write_bytes(bytes(SIZE))
        self.fd = os.open(self.path, os.O_RDWR)
        self.queue: ReadQueue = AskedReads(str(folder)) if self.asking else ContentGroup()
        self.queue.mark(self.fd)
        self.pool = ThreadPoolExecutor(1)

    def read(self, offset: int, count: int) -> bytes:
        if self.asking:
            self.asking.wait(offset, count)
        with self.path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), count, offset)


@pytest.fixture(params=["events", "asking"])
def reader(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    try:
        made = Reader(tmp_path, request.param)
    except OSError as error:
        pytest.skip(f"no events before a read: {error}")
    with made.pool:
        yield made
    made.queue.close()
    for fd in (made.queue.group, made.fd):
        os.close(fd)
    if made.asking:
        made.asking.close()


def heard(queue: ReadQueue) -> AwaitedRead:
    """The next read."""
    while (event := queue.event()) is None:
        assert select.select([queue.group], [], [], 60)[0]
    return event


def test_a_read_waits_until_it_is_answered(reader: Reader) -> None:
    reading = reader.pool.submit(reader.read, 4096, 8192)
    event = heard(reader.queue)
    assert event.offset <= 4096 < 4096 + 8192 <= event.offset + event.count
    assert reader.queue.event() is None
    assert not reading.done()
    os.pwrite(reader.fd, b"x" * SIZE, 0)
    reader.queue.answer(event)
    assert reading.result(60) == b"x" * 8192


def test_what_cannot_be_had_is_an_error(reader: Reader) -> None:
    reading = reader.pool.submit(reader.read, 0, 4096)
    reader.queue.answer(heard(reader.queue), errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        reading.result(60)


def test_what_was_taken_and_not_answered_is_not_lost(reader: Reader) -> None:
    """A child takes it and dies; who goes on has the same descriptors."""
    reading = reader.pool.submit(reader.read, 0, 4096)
    assert select.select([reader.queue.group], [], [], 60)[0]
    pid = os.fork()
    if not pid:
        try:
            heard(reader.queue)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    events = reader.queue.left() or [heard(reader.queue)]
    os.pwrite(reader.fd, b"y" * SIZE, 0)
    reader.queue.answer(events[0])
    assert reading.result(60) == b"y" * 4096


def test_nobody_is_asked_where_nobody_listens(tmp_path: Path) -> None:
    queue, asking = AskedReads(str(tmp_path)), Asking(str(tmp_path))
    asking.ask(7, 0, 1)
    assert heard(queue).count == 1
    os.close(queue.group)
    queue.close()
    assert asking.answers() == [(7, errno.EIO)]
    with pytest.raises(OSError, match="Input/output error"):
        asking.wait(0, 1)
    asking.close()
