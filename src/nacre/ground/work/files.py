"""Processes that make the ordinary files of an extraction, so that they do not share an interpreter lock.

The extraction reads the archive, finds the place of every entry and makes everything but ordinary files
itself. Of a file it submits a descriptor of its folder, its name and its attributes; the content goes
through memory that is shared with the workers (file_worker.py), in pieces of SLOT bytes, which are reused.

What is submitted may be made at any later time, in any order. So the extraction asks `pending` whether a
place is being filled, and calls `flush` before it looks at, replaces or links such a place. What cannot be
made because something is there already is given back and made by the extraction itself, after `flush`.
"""

from __future__ import annotations

import errno
import marshal
import mmap
import os
import select
import socket
import sys
from array import array
from collections.abc import Callable, Set
from contextlib import suppress
from io import BytesIO

from ...grammars.tar.entry import Entry, Reader, show
from ...words.errors import InvalidArchive, StoreError
from .. import ids
from ..beneath import Folder, Key
from ..fork import program
from . import file_worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .budget import Budget

MAX_FILE = 1 << 18
"""Larger files are not handed on: writing them takes one system call for many bytes, and no lock."""
SLOT = 1 << 19
SLOTS = 12
_JOBS = 128
_MOST = 4
_MAX_NAME = 255
_CROWDED = (errno.ETOOMANYREFS, errno.ENOBUFS)

Place = tuple[Key, bytes]
Redo = Callable[[Entry, Reader], None]
Fail = Callable[[bytes, OSError], Exception]


class NoWorkers:
    """Accepts no file: all are made by the extraction itself."""

    pending: Set[Place] = frozenset()
    shared = 0

    def accepts(self, _name: bytes, _entry: Entry) -> bool:
        """Whether this file should be submitted."""
        return False

    def submit(
        self, folder: Folder, name: bytes, entry: Entry, payload: Reader, owners: bool, twin: Folder | None
    ) -> None:
        """Have a file made."""
        raise AssertionError

    def flush(self) -> None:
        """Wait until all that was submitted is made. Raises InvalidArchive, StoreError."""

    def close(self) -> None:
        """End the processes, at once."""


def start_workers(budget: Budget, redo: Redo, fail: Fail) -> NoWorkers | FileWorkers:
    """As many workers as the budget has room for. None where Python cannot start itself again.

    `redo` makes a file whose place was taken; `fail` makes an exception of what went wrong with a path.
    """
    if not os.path.isfile(file_worker.__file__) or not sys.executable or hasattr(sys, "frozen"):
        return NoWorkers()
    count = budget.take_file_workers(_MOST)
    if not count:
        return NoWorkers()
    try:
        return FileWorkers(count, budget, redo, fail)
    except OSError:  # no shared memory, no descriptor left
        budget.give_file_workers(count)
        return NoWorkers()


class _Batch:
    """Files for one packet, whose contents lie in one slot."""

    def __init__(self, slot: int) -> None:
        self.slot, self.at = slot, slot * SLOT
        self.jobs: list[file_worker.Job] = []
        self.files: list[tuple[Place, Entry]] = []
        self.folders: dict[Key, int] = {}
        self.held: list[Folder] = []

    def index(self, folder: Folder) -> int:
        """The number of a folder in this packet."""
        number = self.folders.setdefault(folder.key, len(self.held))
        if number == len(self.held):
            self.held.append(folder)
        return number

    def full(self, entry: Entry) -> bool:
        """Whether another file does not fit: its content, or two more folders."""
        over = self.at + entry.size > (self.slot + 1) * SLOT
        return over or len(self.jobs) >= _JOBS or len(self.held) + 2 > file_worker.MAX_FOLDERS


class Process:
    """One worker process and its socket."""

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self.channel, self.pid = channel, pid
        self.ready, self.busy = False, 0


class FileWorkers(NoWorkers):
    """Workers of one extraction. Not safe for threads; `close` it."""

    def __init__(self, count: int, budget: Budget, redo: Redo, fail: Fail) -> None:
        """`count` were taken from the budget, and go back to it at the end. Raises OSError."""
        self._redo, self._fail = redo, fail
        self._count, self._budget = count, budget
        self._memory_fd = os.memfd_create("nacre-contents", os.MFD_CLOEXEC)
        os.ftruncate(self._memory_fd, SLOTS * SLOT)
        self._memory = mmap.mmap(self._memory_fd, SLOTS * SLOT)
        self._free = list(range(SLOTS))
        self._sent: dict[int, _Batch] = {}
        self._again: list[tuple[_Batch, int]] = []
        self._batch: _Batch | None = None
        self.pending: set[Place] = set()
        self._ready = 0
        self._poll = select.poll()
        self._processes: dict[int, Process] = {}
        with suppress(OSError):  # fewer, or none: then all is done here
            for _ in range(count):
                self._add(launch(self._memory_fd))

    def _add(self, process: Process) -> None:
        self._processes[process.channel.fileno()] = process
        self._poll.register(process.channel, select.POLLIN)

    @property
    def pids(self) -> list[int]:
        """Those that are there."""
        return [process.pid for process in self._processes.values()]

    def wait(self) -> None:
        """Until all have begun; whoever does not wait makes the first files itself."""
        while self._ready < len(self._processes):
            self._receive(-1)

    # --- sending

    def accepts(self, name: bytes, entry: Entry) -> bool:
        """Small files without attributes and holes, once a worker is there."""
        if entry.size > MAX_FILE or entry.xattrs or entry.sparse is not None or len(name) > _MAX_NAME:
            return False
        if not self._ready:
            self._receive(0)
        return self._ready > 0

    def submit(
        self, folder: Folder, name: bytes, entry: Entry, payload: Reader, owners: bool, twin: Folder | None
    ) -> None:
        """Have a file made. Raises InvalidArchive, and what went wrong with files before."""
        batch = self._room(entry)
        start = batch.at
        self._fill(batch, entry, payload)
        uid, gid = (entry.uid, entry.gid) if owners else (-1, -1)
        other = -1 if twin is None else batch.index(twin)
        batch.jobs.append(
            (batch.index(folder), name, entry.size, uid, gid, entry.mode, entry.mtime_ns, start, other)
        )
        batch.files.append(((folder.key, name), entry))
        self.pending.add((folder.key, name))

    def _fill(self, batch: _Batch, entry: Entry, payload: Reader) -> None:
        left, memory = entry.size, self._memory
        while left:
            data = payload.read(left)
            if not data:
                raise InvalidArchive(f"the content of {show(entry.path)} is {left} bytes short")
            memory[batch.at : batch.at + len(data)] = data
            batch.at += len(data)
            left -= len(data)

    def _room(self, entry: Entry) -> _Batch:
        """The batch that is being filled, or a new one."""
        if self._batch is not None and self._batch.full(entry):
            self._send()
        if self._batch is None:
            while not self._free:
                self._receive(-1)
                if self._again:
                    self.flush()
            self._batch = _Batch(self._free.pop())
        return self._batch

    def _send(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        self._receive(0)
        process = min((h for h in self._processes.values() if h.ready), key=lambda h: h.busy)
        self._sent[batch.slot] = batch
        process.busy += 1
        data = marshal.dumps((batch.slot, batch.jobs))
        folders = array("i", (folder.fd for folder in batch.held))
        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, folders
        try:
            process.channel.sendmsg([data], [rights], socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in _CROWDED:
                raise _died(process, error) from None
            self._report(
                process, batch.slot, [(number, errno.EEXIST) for number in range(len(batch.jobs))], 0
            )
        batch.held.clear()

    # --- reports

    def _receive(self, timeout: int) -> None:
        """Take the reports that are there; with a `timeout` of -1 wait for one."""
        for fd, _event in self._poll.poll(timeout):
            process = self._processes[fd]
            try:
                data = process.channel.recv(file_worker.MAX_PACKET)
            except OSError:
                data = b""
            if not data:
                self._lost(process)
            elif process.ready:
                self._report(process, *marshal.loads(data))
            else:
                process.ready = True
                self._ready += 1

    def _lost(self, process: Process) -> None:
        """A worker that never began is none; one that has worked must not end."""
        if process.ready:
            raise _died(process, None)
        del self._processes[process.channel.fileno()]
        self._poll.unregister(process.channel)
        terminate(process)

    def _report(self, process: Process, slot: int, failures: list[tuple[int, int]], shared: int) -> None:
        process.busy -= 1
        self.shared += shared
        batch = self._sent.pop(slot)
        for number, code in failures:
            if code != errno.EEXIST:
                entry = batch.files[number][1]
                error = ids.explained(OSError(code, os.strerror(code)), entry.uid, entry.gid)
                raise self._fail(entry.path, error)
        again = {number for number, _code in failures}
        self._again += [(batch, number) for number in sorted(again)]
        self.pending -= {place for number, (place, _entry) in enumerate(batch.files) if number not in again}
        if not again:
            self._free.append(slot)

    def flush(self) -> None:
        """Wait for everything; then make what was given back."""
        self._send()
        while self._sent:
            self._receive(-1)
        again, self._again = self._again, []
        self.pending.clear()
        for batch, number in again:
            entry, start = batch.files[number][1], batch.jobs[number][7]
            self._redo(entry, BytesIO(self._memory[start : start + entry.size]))
        self._free += {batch.slot for batch, _number in again}

    def close(self) -> None:
        """Idempotent. What is under way is not made any more, and nothing is being made when this returns."""
        for process in self._processes.values():
            terminate(process)
        self._processes.clear()
        if self._count:
            self._memory.close()
            os.close(self._memory_fd)
            self._budget.give_file_workers(self._count)
        self._count = 0


def launch(memory_fd: int) -> Process:
    """Start one process. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            words = [sys.executable, "-I", "-S", file_worker.__file__]
            return Process(ours, program(words, (theirs.fileno(), memory_fd, -1)))
    except BaseException:
        ours.close()
        raise


def terminate(process: Process) -> None:
    """Kill and wait: a folder may be removed only when nobody makes files in it any more."""
    process.channel.close()
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process.pid, 9)
        os.waitpid(process.pid, 0)


def _died(process: Process, error: OSError | None) -> StoreError:
    why = f": {error.strerror}" if error is not None and error.strerror else ""
    return StoreError(f"a process that writes files of the layer has exited early{why}")
