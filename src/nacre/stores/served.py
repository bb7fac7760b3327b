"""Indexes that a process of ours shows as file systems, for users whose kernel mounts no EROFS for them.

    Shared ──fork──► holder ──fork──► server      answers the kernel out of index and tar
                                        │ ask
                                        ▼
                                      filler of the tree, while content is missing (`ground.asking`)

The holder has the device open as well, and replaces a server that dies: nothing is known to a server that the
next one could not find out, and the kernel repeats what was not answered. When both have died, every access
fails with ENOTCONN. Both end when the mount is gone, with the last container that shows it.
"""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress

from ..grammars import fuse as protocol
from ..grammars.erofs.answers import ContentWanted, IndexAnswers
from ..grammars.erofs.read import ErofsIndex
from ..ground import fuse, userns
from ..ground.asking import Asking
from ..ground.files import trace
from ..ground.fork import fork_detached, start
from ..words.errors import SandboxError
from .trees.files import INDEX, LAZY, TAR, WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap

    from ..ground.fork import ChildReport
    from ..words.mount import Erofs

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_BLOCK = 1 << 12
_TRIES = 100
_AGAIN = 500
"""Milliseconds after which it is looked again whether one who waits has been killed."""


def serve(indexes: Sequence[ShownIndex]) -> list[int]:
    """A mount of each, attached nowhere, that is served while it exists. They are closed here.

    Raises SandboxError.
    """
    mounts = list[int]()
    try:
        for index in indexes:
            index.device, mount = fuse.mounted()
            mounts.append(mount)
        _begin(indexes)
    except BaseException as error:
        for mount in mounts:
            os.close(mount)
        if isinstance(error, OSError):
            raise SandboxError(f"cannot serve the layers of the image: {error.strerror}") from None
        raise
    finally:
        for index in indexes:
            index.close()
    return mounts


def _begin(indexes: Sequence[ShownIndex]) -> None:
    def work(report: ChildReport) -> None:
        os.chdir("/")
        report.tell(True)
        report.close()
        _hold(indexes)

    keep = [fd for index in indexes for fd in index.descriptors]
    with fork_detached(work, what="the process that serves the layers", keep=keep) as child:
        child.answer()
        child.wait()


def _hold(shown: Sequence[ShownIndex]) -> None:
    for number in range(_TRIES):
        pid = start(lambda again=bool(number): _serve(shown, again=again))  # type: ignore[misc]
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            return


def _serve(shown: Sequence[ShownIndex], *, again: bool) -> None:
    for index in shown:
        if again:
            with suppress(OSError):  # the mount is gone
                fuse.resend(index.device)
    IndexServer(shown).run()


class _ShownTar:
    """The tar of a lazy tree; `asking` has its content come."""

    def __init__(self, folder: int) -> None:
        """Open all that it takes in the folder of the tree. Raises OSError, FileNotFoundError."""
        self.fd, self._note = -1, -1
        self.asking = Asking(f"/proc/self/fd/{folder}")
        try:
            self._note = os.open(LAZY, _READ, dir_fd=folder)
            self.fd = os.open(TAR, _READ, dir_fd=folder)
        except BaseException:
            self.close()
            raise
        self._here = bytearray(-(-os.fstat(self.fd).st_size // _BLOCK))
        self._waiting: dict[int, tuple[_Waiting, int, int]] = {}
        self._whole, self._number = False, 0

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it holds before anybody was asked."""
        return self.fd, self._note, self.asking.folder

    def close(self) -> None:
        """Close all of them; once."""
        self.asking.close()
        for fd in (self.fd, self._note):
            if fd >= 0:
                os.close(fd)

    def is_here(self, offset: int, count: int) -> bool:
        """Whether some bytes can be read now, as far as is known."""
        first, last = offset // _BLOCK, -(-(offset + count) // _BLOCK)
        return self._whole or self._here.find(b"\0", first, last) < 0 or self._is_whole()

    def _is_whole(self) -> bool:
        """Whether all of it has come and was proven."""
        self._whole = self._whole or os.pread(self._note, len(WHOLE), 0) == WHOLE
        return self._whole

    @property
    def is_lost(self) -> bool:
        """Whether somebody waits, and nobody is there who could answer."""
        return bool(self._waiting) and self.asking.fileno() < 0

    def want(self, waiting: _Waiting, offset: int, count: int) -> None:
        """Have some bytes come, for somebody."""
        first, last = offset // _BLOCK, -(-(offset + count) // _BLOCK)
        self._number += 1
        self._waiting[self._number] = waiting, first, last
        self.asking.ask(self._number, first * _BLOCK, (last - first) * _BLOCK)

    def answers(self) -> list[tuple[_Waiting, int]]:
        """Who need not wait any more, with 0 or an errno."""
        found = []
        for number, failure in self.asking.answers():
            waiting, first, last = self._waiting.pop(number)
            if not failure:
                self._here[first:last] = b"\1" * (last - first)
            found.append((waiting, 0 if failure and self._is_whole() else failure))
        return found


class _Waiting:
    """A READ that waits for `left` of its spans."""

    __slots__ = ("failure", "index", "left", "pid", "wanted")

    def __init__(self, index: ShownIndex, wanted: ContentWanted, pid: int, left: int) -> None:
        self.index, self.wanted, self.pid, self.left, self.failure = index, wanted, pid, left, 0


class ShownIndex:
    """The index of a lazy tree, with its tar; behind a `device` once it is served."""

    def __init__(self, index: Erofs) -> None:
        """Open all that it takes. Raises FileNotFoundError where the tree is not lazy any more, or gone;
        OSError, InvalidArchive.
        """
        self.device = -1
        folder = os.open(os.path.dirname(index.index), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            data = _mapped(os.open(INDEX, _READ, dir_fd=folder))
            self._answers = IndexAnswers(ErofsIndex(data), single=userns.current().single)
            self.tar = _ShownTar(folder)
        finally:
            os.close(folder)

    @classmethod
    def attempt(cls, index: Erofs) -> ShownIndex | None:
        """None where the tree is not lazy any more, or gone. Raises OSError, InvalidArchive."""
        try:
            return cls(index)
        except FileNotFoundError:
            return None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it holds before anybody was asked."""
        return self.device, *self.tar.descriptors

    def close(self) -> None:
        """Close what this process has of it; once."""
        self.tar.close()
        if self.device >= 0:
            os.close(self.device)

    def take(self) -> bytes | tuple[ContentWanted, int] | int | None:
        """What the next request takes: an answer, content for a process, a look after one that was
        interrupted; None where there is no request. Raises EOFError when the mount is gone, OSError.
        """
        data = fuse.request(self.device)
        if data is None:
            raise EOFError
        if not data:
            return None
        asked = protocol.parse(data)
        if asked.opcode == protocol.INTERRUPT:
            return asked.interrupted
        found = self._answers.answer(asked)
        return (found, asked.pid) if isinstance(found, ContentWanted) else found or b""

    def give(self, wanted: ContentWanted, failure: int = 0) -> None:
        """Answer a READ with what has come, or an errno."""
        parts, size = list[bytes](), sum(count for _, _, count in wanted.spans)
        if not failure:
            parts = [os.pread(self.tar.fd, count, offset) for _, offset, count in wanted.spans]
        if failure or sum(map(len, parts)) != size:  # shorter: it was found out to be wrong
            fuse.answer(self.device, protocol.reply(wanted.unique, error=failure or errno.EIO))
        else:
            fuse.answer(self.device, protocol.reply(wanted.unique, b"".join(parts)))


def _mapped(fd: int) -> mmap:
    from mmap import PROT_READ, mmap

    try:
        return mmap(fd, 0, prot=PROT_READ)
    finally:
        os.close(fd)


class IndexServer:
    """Of all indexes of a container, in one process."""

    def __init__(self, shown: Sequence[ShownIndex]) -> None:
        self._shown = {index.device: index for index in shown}
        self._asked: dict[int, _ShownTar] = {}
        self._waiting: dict[tuple[int, int], _Waiting] = {}
        self._unsure: set[tuple[int, int]] = set()
        self._changed = True

    def run(self) -> None:
        """Until all mounts are gone. Raises OSError."""
        poll = select.poll()
        while self._shown:
            if self._changed:
                poll = self._polled()
            for fd, _ in poll.poll(_AGAIN if self._unsure else None):
                if fd in self._shown:
                    self._serve(self._shown[fd])
                else:
                    self._hear(self._asked[fd])
                if self._changed:  # what else was ready may have another number by now
                    break
            for key in [*self._unsure]:
                self._look(key)

    def _polled(self) -> select.poll:
        """All that may be heard of: devices, and connections to those who fill."""
        poll, self._changed = select.poll(), False
        tars = (index.tar for index in self._shown.values())
        self._asked = {fd: tar for tar in tars if (fd := tar.asking.fileno()) >= 0}
        for fd in (*self._shown, *self._asked):
            poll.register(fd, select.POLLIN)
        return poll

    def _serve(self, index: ShownIndex) -> None:
        try:
            found = index.take()
        except EOFError:
            del self._shown[index.device]
            self._changed = True
            return
        if isinstance(found, bytes):
            if found:
                fuse.answer(index.device, found)
        elif isinstance(found, int):
            self._unsure.add((index.device, found))
        elif found:
            self._read(index, *found)

    def _read(self, index: ShownIndex, wanted: ContentWanted, pid: int) -> None:
        trace("lazy:shown")
        missing = [span for span in wanted.spans if not index.tar.is_here(*span[1:])]
        if not missing:
            index.give(wanted)
            return
        waiting = _Waiting(index, wanted, pid, len(missing))
        self._waiting[index.device, wanted.unique] = waiting
        for _, offset, count in missing:
            index.tar.want(waiting, offset, count)
        self._notice(index.tar)

    def _hear(self, tar: _ShownTar) -> None:
        for waiting, failure in tar.answers():
            waiting.left -= 1
            waiting.failure = waiting.failure or failure
            if not waiting.left:
                self._done(waiting, waiting.failure)
        self._notice(tar)

    def _notice(self, tar: _ShownTar) -> None:
        """It may have another connection than before; or none, and then nobody who waits gets anything."""
        if self._asked.get(tar.asking.fileno()) is not tar:
            self._changed = True
        if tar.is_lost:
            self._hear(tar)

    def _done(self, waiting: _Waiting, failure: int) -> None:
        key = waiting.index.device, waiting.wanted.unique
        self._unsure.discard(key)
        if self._waiting.pop(key, None) is waiting:
            waiting.index.give(waiting.wanted, failure)

    def _look(self, key: tuple[int, int]) -> None:
        """Who was killed does not wait; any other signal is served when the content has come."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._unsure.discard(key)
        elif fuse.is_dying(waiting.pid):
            self._done(waiting, errno.EINTR)
