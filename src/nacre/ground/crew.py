"""Processes that make the ordinary files of an extraction, so that they do not share an interpreter lock.

The extraction reads the archive, finds the place of every entry and makes everything but ordinary files
itself. Of a file it hands on a descriptor of its folder, its name and its looks; the content goes through
memory that is shared with the helpers (hand.py), in pieces of SLOT bytes that are used again and again.

What is handed on may be made at any later time, in any order. So the extraction asks `pending` whether a
place is being filled, and calls `settle` before it looks at, replaces or links such a place. What cannot be
made because something is there already is given back and made by the extraction itself, after `settle`.
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
from threading import Lock

from ..grammars.tar.entry import Entry, Reader, show
from ..words.errors import InvalidArchive, StoreError
from ..words.processors import processors
from . import hand, ids
from .beneath import Folder, Key
from .fork import program

MAX_FILE = 1 << 18
"""Larger files are not handed on: writing them takes one system call for many bytes, and no lock."""
SLOT = 1 << 19
_SLOTS = 12
_JOBS = 128
_MOST = 4
_MAX_NAME = 255
_CROWDED = (errno.ETOOMANYREFS, errno.ENOBUFS)

Place = tuple[Key, bytes]
Redo = Callable[[Entry, Reader], None]
Fail = Callable[[bytes, OSError], Exception]


class Alone:
    """No helpers: nothing is handed on."""

    pending: Set[Place] = frozenset()
    shared = 0

    def takes(self, _name: bytes, _entry: Entry) -> bool:
        """Whether this file should be handed on."""
        return False

    def give(
        self, folder: Folder, name: bytes, entry: Entry, payload: Reader, owners: bool, twin: Folder | None
    ) -> None:
        """Hand on a file."""
        raise AssertionError

    def settle(self) -> None:
        """Wait until all that was handed on is made. Raises InvalidArchive, StoreError."""

    def close(self) -> None:
        """End the helpers, at once."""


class _Budget:
    """How many helpers this process may have in all: as many as processors."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._taken = 0

    def take(self, most: int) -> int:
        with self._lock:
            got = min(most, max(0, processors() - self._taken))
            self._taken += got
            return got

    def give(self, count: int) -> None:
        with self._lock:
            self._taken -= count


_budget = _Budget()


def hire(redo: Redo, fail: Fail) -> Alone | Crew:
    """Helpers, as many as there is room for. None can be had where Python cannot start itself again.

    `redo` makes a file whose place was taken; `fail` makes an exception of what went wrong with a path.
    """
    count = _budget.take(_MOST)
    if not count or not os.path.isfile(hand.__file__) or not sys.executable or hasattr(sys, "frozen"):
        _budget.give(count)
        return Alone()
    try:
        return Crew(count, redo, fail)
    except OSError:  # no shared memory, no descriptor left
        _budget.give(count)
        return Alone()


class _Batch:
    """Files for one packet, whose contents lie in one slot."""

    def __init__(self, slot: int) -> None:
        self.slot, self.at = slot, slot * SLOT
        self.jobs: list[hand.Job] = []
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
        return over or len(self.jobs) >= _JOBS or len(self.held) + 2 > hand.MAX_FOLDERS


class _Helper:
    """One process."""

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self.channel, self.pid = channel, pid
        self.here, self.busy = False, 0


class Crew(Alone):
    """Helpers of one extraction. Not safe for threads; `close` it."""

    def __init__(self, count: int, redo: Redo, fail: Fail) -> None:
        self._redo, self._fail = redo, fail
        self._count = count
        self._memory_fd = os.memfd_create("nacre-contents", os.MFD_CLOEXEC)
        os.ftruncate(self._memory_fd, _SLOTS * SLOT)
        self._memory = mmap.mmap(self._memory_fd, _SLOTS * SLOT)
        self._free = list(range(_SLOTS))
        self._sent: dict[int, _Batch] = {}
        self._again: list[tuple[_Batch, int]] = []
        self._batch: _Batch | None = None
        self.pending: set[Place] = set()
        self._here = 0
        self._poll = select.poll()
        self._helpers: dict[int, _Helper] = {}
        with suppress(OSError):  # fewer, or none: then all is done here
            for _ in range(count):
                self._add(_start(self._memory_fd))

    def _add(self, helper: _Helper) -> None:
        self._helpers[helper.channel.fileno()] = helper
        self._poll.register(helper.channel, select.POLLIN)

    # --- handing on

    def takes(self, name: bytes, entry: Entry) -> bool:
        """Small files without attributes and holes, once a helper is there."""
        if entry.size > MAX_FILE or entry.xattrs or entry.sparse is not None or len(name) > _MAX_NAME:
            return False
        if not self._here:
            self._hear(0)
        return self._here > 0

    def give(
        self, folder: Folder, name: bytes, entry: Entry, payload: Reader, owners: bool, twin: Folder | None
    ) -> None:
        """Hand on a file. Raises InvalidArchive, and what went wrong with files before."""
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
                self._hear(-1)
                if self._again:
                    self.settle()
            self._batch = _Batch(self._free.pop())
        return self._batch

    def _send(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        self._hear(0)
        helper = min((h for h in self._helpers.values() if h.here), key=lambda h: h.busy)
        self._sent[batch.slot] = batch
        helper.busy += 1
        data = marshal.dumps((batch.slot, batch.jobs))
        folders = array("i", (folder.fd for folder in batch.held))
        rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, folders
        try:
            helper.channel.sendmsg([data], [rights], socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in _CROWDED:
                raise _dead(helper, error) from None
            self._report(helper, batch.slot, [(number, errno.EEXIST) for number in range(len(batch.jobs))], 0)
        batch.held.clear()

    # --- hearing back

    def _hear(self, timeout: int) -> None:
        """Take the reports that are there; with a `timeout` of -1 wait for one."""
        for fd, _event in self._poll.poll(timeout):
            helper = self._helpers[fd]
            try:
                data = helper.channel.recv(hand.MAX_PACKET)
            except OSError:
                data = b""
            if not data:
                self._lost(helper)
            elif helper.here:
                self._report(helper, *marshal.loads(data))
            else:
                helper.here = True
                self._here += 1

    def _lost(self, helper: _Helper) -> None:
        """A helper that never began is none; one that has worked must not end."""
        if helper.here:
            raise _dead(helper, None)
        del self._helpers[helper.channel.fileno()]
        self._poll.unregister(helper.channel)
        _end(helper)

    def _report(self, helper: _Helper, slot: int, failures: list[tuple[int, int]], shared: int) -> None:
        helper.busy -= 1
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

    def settle(self) -> None:
        """Wait for everything; then make what was given back."""
        self._send()
        while self._sent:
            self._hear(-1)
        again, self._again = self._again, []
        self.pending.clear()
        for batch, number in again:
            entry, start = batch.files[number][1], batch.jobs[number][7]
            self._redo(entry, BytesIO(self._memory[start : start + entry.size]))
        self._free += {batch.slot for batch, _number in again}

    def close(self) -> None:
        """Idempotent. What is under way is not made any more, and nothing is being made when this returns."""
        for helper in self._helpers.values():
            _end(helper)
        self._helpers.clear()
        if self._count:
            self._memory.close()
            os.close(self._memory_fd)
            _budget.give(self._count)
        self._count = 0


def _start(memory_fd: int) -> _Helper:
    """Start one helper. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            words = [sys.executable, "-I", "-S", hand.__file__]
            return _Helper(ours, program(words, (theirs.fileno(), memory_fd, -1)))
    except BaseException:
        ours.close()
        raise


def _end(helper: _Helper) -> None:
    """Kill and wait: a folder may be removed only when nobody makes files in it any more."""
    helper.channel.close()
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(helper.pid, 9)
        os.waitpid(helper.pid, 0)


def _dead(helper: _Helper, error: OSError | None) -> StoreError:
    why = f": {error.strerror}" if error is not None and error.strerror else ""
    return StoreError(f"a process that writes files of the layer has ended early{why}")
