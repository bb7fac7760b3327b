"""The only place that forks.

    parent                                    child
    blocks all signals, forks          ───►   forgets the handlers of its parent
    lets signals in again                     keeps the listed descriptors, /dev/null for 0, 1, 2
    Child.hear, Child.answer           ◄───   Report.tell, Report.fail: records in a pipe
    Child.wait: the status                    os._exit, whatever happened

Nothing returns in a child, no signal finds it before it is ready, and whatever it fails with is told through
the descriptor that it was given. A child that says nothing has died: the parent's error has its status.

Children differ in three ways:

    keep      the descriptors that stay open; None: all, for a child that shares the work of its parent
    signals   DEFAULT; RAISING: those that end a program raise `Ended`, so that `finally` cleans up;
              BLOCKED: none comes in until the work lets it
    way       `fork`; `fork_through` other namespaces; `fork_held`, by a process that outlives us and waits
              for it; `fork_detached`, which belongs to nobody
"""

from __future__ import annotations

import fcntl
import gc
import marshal
import os
import select
from _thread import allocate_lock

from ..words.errors import SandboxError
from . import linux
from .pickled import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn, Self

    Work = Callable[["ChildReport"], object]
else:
    import _signal as signal  # `signal` itself imports `enum`: 2 ms

DEFAULT, RAISING, BLOCKED = "default", "raising", "blocked"
SILENT = 125
"""Exit code of a child that failed."""

_ALL = signal.valid_signals()
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STREAMS = 3
_TOLD, _FAILED = "told", "failed"
_PATIENCE = 10_000  # ms


class Ended(BaseException):
    """A signal that ends a program came to a child that is RAISING."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class ChildReport:
    """The child's end: where its parent listens, wherever that is at the moment.

    `witness` is written and closed with the first word: see `fork_detached`.
    """

    def __init__(self, fd: int, witness: int = -1) -> None:
        self.fd, self._witness = fd, witness

    def tell(self, *values: Any) -> None:
        """One record of plain values. Raises OSError when the parent does not listen any more."""
        self._send(_TOLD, values)

    def fail(self, error: BaseException) -> None:
        """The parent raises `error`."""
        self._send(_FAILED, pack(error))

    def _send(self, kind: str, value: Any) -> None:
        data = marshal.dumps((kind, value))
        view = memoryview(len(data).to_bytes(4, "big") + data)
        while view:
            view = view[os.write(self.fd, view) :]
        if self._witness >= 0:
            os.write(self._witness, b".")
            os.close(self._witness)
            self._witness = -1

    def descriptors(self) -> list[int]:
        """What must stay open."""
        return [fd for fd in (self.fd, self._witness) if fd >= 0]

    def close(self) -> None:
        """Nothing more will be told. Idempotent."""
        fd, self.fd = self.fd, -1
        _close(fd)


class Child:
    """The parent's end. `with` it: at an exception the child is ended, and the pipe is closed in any case."""

    def __init__(self, pid: int, fd: int, what: str) -> None:
        self.pid, self._fd, self._what = pid, fd, what
        self.status: int | None = None

    def hear(self) -> tuple[Any, ...] | None:
        """The next record, None at the end. Raises what the child failed with, an OSError as such."""
        head = _read(self._fd, 4)
        data = _read(self._fd, int.from_bytes(head, "big")) if len(head) == 4 else b""
        if not data or len(data) < int.from_bytes(head, "big"):
            return None
        kind, value = marshal.loads(data)
        if kind == _FAILED:
            raise unpack(value)
        record: tuple[Any, ...] = value
        return record

    def fileno(self) -> int:
        """The descriptor to wait at for records: see `hear`."""
        return self._fd

    def has_told(self) -> bool:
        """Whether a record is there now."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))

    def answer(self) -> tuple[Any, ...]:
        """The first record. Raises as `hear`, SandboxError when there is none: then the child has died."""
        told = self.hear()
        if told is None:
            raise self.died()
        return told

    def died(self) -> SandboxError:
        """The error for a child that ended without the word that was waited for; waits for its end."""
        return SandboxError(f"{self._what} {fate(self.wait())}")

    def wait(self) -> int | None:
        """Until it has ended; its status, None if somebody else took it. Idempotent."""
        if self.pid > 0:
            try:
                self.status = os.waitpid(self.pid, 0)[1]
            except ChildProcessError:
                self.status = None
            self.pid = 0
        return self.status

    def pidfd(self) -> int:
        """A descriptor of it, to be closed, before it has been waited for. Raises OSError."""
        return os.pidfd_open(self.pid)

    def send(self, number: int) -> None:
        """Send a signal; nothing happens when the child has been waited for."""
        if self.pid > 0:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and wait. Idempotent."""
        self.send(number)
        self.wait()

    def ask_to_end(self) -> None:
        """SIGTERM, and SIGKILL if it takes too long or another signal comes to us."""
        self.send(signal.SIGTERM)
        try:
            poll = select.poll()
            poll.register(self._fd, 0)  # POLLHUP: it has ended
            poll.poll(_PATIENCE)
        finally:
            self.end()

    def close(self) -> None:
        """Listen no more. Idempotent."""
        fd, self._fd = self._fd, -1  # forgotten first: a signal in between must not have it closed twice
        _close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is not None:
            self.end()
        self.close()


def learns_of_children() -> bool:
    """Whether statuses of children come to who waits for them: nothing here ignores SIGCHLD or handles it."""
    return bool(signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)


def fate(status: int | None) -> str:
    """How a process ended, as the end of a sentence."""
    if status is None:
        return "has died"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"was killed by signal {-code} ({signal.strsignal(-code)})"
    return f"ended without an answer, with exit code {code}"


def fork(
    work: Work, *, what: str, keep: Iterable[int] | None = (), signals: str = DEFAULT,
    mask: set[int] | None = None,
) -> Child:  # fmt: skip
    """A child that does `work`; `what` is its name in errors, `mask` its signals'. Raises OSError."""
    reader, writer = _pipe()
    try:
        return Child(_spawn(_reporting(work, ChildReport(writer), keep, signals, mask)), reader, what)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)


def start(work: Callable[[], object], *, keep: Iterable[int] | None = None, signals: str = DEFAULT) -> int:
    """As `fork`, for a child that has a channel of its own; its pid. A failure is an exit code."""

    def run(before: set[int]) -> int:
        try:
            _prepare(keep, signals, before)
            work()
        except Ended as ended:
            return _die(ended.number)
        return 0

    return _spawn(run)


def fork_through(
    move: Callable[[], None], work: Work, *, what: str, keep: Iterable[int] = (), signals: str = DEFAULT
) -> Child:
    """As `fork`, into whatever namespaces `move` leads a process to; that is a helper's, not ours.

    The child falls to the nearest "subreaper", which we are for that moment, and does not begin before. Also
    raises what `move` raised. Source: pid_namespaces(7), PR_SET_CHILD_SUBREAPER(2const).
    """
    (reader, writer), (adopted, go) = _pipes(2)
    child = Child(0, reader, what)
    try:
        with Blocked() as before, _subreaper:
            run = _reporting(work, ChildReport(writer), keep, signals, before)
            helping = _helping(move, _waiting(run, adopted, go), ChildReport(writer))
            helper = Child(_spawn(helping), -1, what)
            helper.wait()
            writer = _close(writer)
            child.status = helper.status
            if not child.has_told():  # nor will it: its child waits for us
                raise child.died()
            (child.pid,) = child.answer()
            os.write(go, b".")
        return child
    except BaseException:
        go = _close(go)
        child.end()
        child.close()
        raise
    finally:
        for fd in (writer, adopted, go):
            _close(fd)


class HeldChild(Child):
    """A child of a process that outlives us, which waits for it in any case, and tells us its status."""

    def __init__(self, pid: int, fd: int, what: str, holder: Child) -> None:
        super().__init__(pid, fd, what)
        self._holder, self._pidfd = holder, os.pidfd_open(pid)

    def wait(self) -> int | None:
        """As `Child.wait`; the pid may be another process's by then."""
        if self.pid > 0:
            told = self._holder.hear()
            self.status = told[0] if told else None
            self.pid = 0
            self._holder.wait()
        return self.status

    def pidfd(self) -> int:
        """As `Child.pidfd`, of one that may have ended and be waited for already."""
        return fcntl.fcntl(self._pidfd, fcntl.F_DUPFD_CLOEXEC, _STREAMS)

    def send(self, number: int) -> None:
        """As `Child.send`, surely to this one."""
        if self.pid > 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    def close(self) -> None:
        """Listen no more. Idempotent."""
        super().close()
        self._holder.close()
        self._pidfd = _close(self._pidfd)


def fork_held(
    move: Callable[[], None], work: Work, *, what: str, keep: Iterable[int] = (),
    deadly: int = signal.SIGKILL, through: Callable[[], None] | None = None,
) -> HeldChild:  # fmt: skip
    """As `fork`, BLOCKED, but the child's parent is a process that `move` has prepared, and that outlives us.

    `through` leads a helper elsewhere, where the child begins, with what it keeps alone.

    A pid namespace cannot end while a process in it has ended and nobody has waited for it. Were we its
    parent and killed, that would be left to the first process of our own namespace, which may wait for
    nobody. When we die the child gets the signal `deadly`. Also raises what `move` raised. Source:
    pid_namespaces(7).
    """
    (reader, writer), (learned, go) = _pipes(2)
    holder: Child | None = None
    try:
        with Blocked() as before:
            run = _reporting(work, ChildReport(writer), keep, BLOCKED, before)
            begin = _waiting(run, learned)
            hold = _holding(move, lambda: _start(through, begin, (*keep, writer, learned)), go, deadly)
            holder = fork(hold, what=what, keep=None, signals=BLOCKED)
            (pid,) = holder.answer()
            child = HeldChild(pid, reader, what, holder)
            os.write(go, b".")
        return child
    except BaseException:
        go = _close(go)
        _close(reader)
        if holder:
            holder.end(signal.SIGTERM)
            holder.close()
        raise
    finally:
        for fd in (writer, learned, go):
            _close(fd)


def fork_elsewhere(ask: Callable[[int, int], int], *, what: str) -> HeldChild:
    """As `fork_held`, of a process that is not ours and that does `hold`.

    `ask(writer, learned)` hands these ends of pipes to it, and gives the descriptor by which it reports. The
    child gets SIGKILL when that is closed. Raises OSError, SandboxError.
    """
    (reader, writer), (learned, go) = _pipes(2)
    holder: Child | None = None
    try:
        holder = Child(0, ask(writer, learned), what)
        (pid,) = holder.answer()
        child = HeldChild(pid, reader, what, holder)
        os.write(go, b".")
        return child
    except BaseException:
        go = _close(go)
        _close(reader)
        if holder:
            holder.close()
        raise
    finally:
        for fd in (writer, learned, go):
            _close(fd)


def hold(
    move: Callable[[], None], work: Work, report: ChildReport, ends: tuple[int, int], keep: Iterable[int],
    through: Callable[[], None],
) -> None:  # fmt: skip
    """What the parent of a child does that others have asked for: see `fork_elsewhere`.

    `move` and `through` as in `fork_held`. All signals must be blocked.
    """
    writer, learned = ends
    run = _reporting(work, ChildReport(writer), keep, BLOCKED, set())
    move()
    report.tell(pid := _start(through, _waiting(run, learned), (*keep, *ends)))
    _keep_only(set(report.descriptors()))
    report.tell(_wait_beside(pid, report.fd))


def _wait_beside(pid: int, fd: int) -> int:
    """The status of a child, which is killed when the other end of `fd` is closed."""
    pidfd, poll = os.pidfd_open(pid), select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(fd, select.POLLIN)
    if fd in dict(poll.poll()):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _waiting(run: Callable[[set[int]], int], go: int, *others: int) -> Callable[[set[int]], int]:
    """`run`, once it is known to whom it matters; never if that one has died."""

    def begin(before: set[int]) -> int:
        for fd in others:
            os.close(fd)
        return run(before) if os.read(go, 1) else SILENT

    return begin


def _start(through: Callable[[], None] | None, begin: Callable[[set[int]], int], keep: Iterable[int]) -> int:
    """The pid of a child, which is not seen where `through` leads with anything of ours but `keep`."""
    if through is None:
        return _spawn(begin)
    reader, writer = _pipe()
    helping = _helping(through, begin, ChildReport(writer), *(fd for fd in keep if fd >= 0))
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    with Child(_spawn(helping), reader, "a helper") as helper:
        _close(writer)
        (pid,) = helper.answer()
        helper.wait()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
    return int(pid)


def _holding(move: Callable[[], None], start: Callable[[], int], go: int, deadly: int) -> Work:
    """What the parent of a `HeldChild` does; in a group of its own, not to be killed with ours."""
    parent = os.getpid()

    def hold(report: ChildReport) -> None:
        os.close(go)
        os.setpgid(0, 0)
        move()
        pid = start()
        report.tell(pid)
        linux.die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            signal.raise_signal(signal.SIGTERM)
        _keep_only(set(report.descriptors()))
        report.tell(_wait_for(pid, deadly))

    return hold


def _wait_for(pid: int, deadly: int) -> int:
    """The status of a child, to which a SIGTERM to us is passed on as `deadly`."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if signal.sigwait((signal.SIGCHLD, signal.SIGTERM)) == signal.SIGTERM:
            os.kill(pid, deadly)


def _helping(
    move: Callable[[], None], begin: Callable[[set[int]], int], report: ChildReport, *keep: int
) -> Callable[[set[int]], int]:
    """A helper that goes where `move` leads it, begins a child there, tells its pid and ends."""

    def help_(_before: set[int]) -> int:
        move()
        if keep:
            _keep_only({*keep, *report.descriptors()})
        report.tell(_spawn(begin))
        return 0

    return _telling(help_, report)


def fork_detached(work: Work, *, what: str, keep: Iterable[int] = ()) -> Child:
    """As `fork`, in a session of its own, and nobody has to wait for it; `Child` is not good for its pid.

    The process in between stays until the child has said its first word: so its death is noticed.
    """
    (reader, writer), (heard, witness) = _pipes(2)
    report = ChildReport(writer, witness)
    run = _reporting(work, report, keep, DEFAULT)

    def between(before: set[int]) -> int:
        _prepare({writer, heard, witness, *keep}, BLOCKED, before)
        os.setsid()
        pid = _spawn(lambda _before: run(before))
        os.close(witness)
        if not os.read(heard, 1):
            ChildReport(writer).fail(SandboxError(f"{what} {fate(os.waitpid(pid, 0)[1])}"))
        return 0

    try:
        return Child(_spawn(_telling(between, ChildReport(writer))), reader, what)
    except BaseException:
        os.close(reader)
        raise
    finally:
        for fd in (writer, heard, witness):
            os.close(fd)


def leave_behind(watch: Callable[[int], int]) -> None:
    """Fork the other way round: the child goes on, this process is but `watch(pid)`, which gives its code.

    Only in a process that a function of this room has made, and with those signals blocked that matter.
    """
    pid = os.fork()
    if pid:
        code = SILENT
        try:
            code = watch(pid)
        finally:
            os._exit(code)


def program(words: list[str], descriptors: Sequence[int]) -> int:
    """Start a program with these descriptors as 0, 1, 2 …; -1 is /dev/null. Its pid. Raises OSError.

    posix_spawn is the only way that is safe beside threads: what a fork copies of their locks stays locked.
    """
    high: list[int] = []
    try:
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = []
        for number, fd in enumerate(descriptors):
            if fd >= 0:
                high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(descriptors)))
                actions.append((os.POSIX_SPAWN_DUP2, high[-1], number))
            else:
                actions.append((os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0))
        default = [signal.SIGCHLD, signal.SIGPIPE]
        return os.posix_spawn(
            words[0], words, os.environ, file_actions=actions, setsigdef=default, setsigmask=()
        )
    finally:
        for fd in high:
            os.close(fd)


class Blocked:
    """`with Blocked():` no signal comes in; the value is the mask before. What came is raised at the end."""

    def __enter__(self) -> set[int]:
        # asked first: a signal that is here already is raised by the call that blocks, after it has blocked
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
            raise
        return {int(number) for number in self._before}

    def __exit__(self, *_exc: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def _spawn(run: Callable[[set[int]], int]) -> int:
    """The pid of a child that is nothing but `run(mask of its parent)` and its exit code."""
    pid = 0
    try:
        with Blocked() as before:
            pid = os.fork()
            if not pid:
                code = SILENT
                try:
                    code = run(before)
                finally:
                    os._exit(code)
    except BaseException:
        if pid:  # a signal that came meanwhile
            Child(pid, -1, "").end()
        raise
    return pid


def _reporting(
    work: Work, report: ChildReport, keep: Iterable[int] | None, signals: str, mask: set[int] | None = None
) -> Callable[[set[int]], int]:
    def run(before: set[int]) -> int:
        kept = None if keep is None else {*keep, *report.descriptors()}
        try:
            _prepare(kept, signals, before if mask is None else mask)
            code = work(report)
        except Ended as ended:
            return _die(ended.number)
        return code if isinstance(code, int) else 0

    return _telling(run, report)


def _telling(run: Callable[[set[int]], int], report: ChildReport) -> Callable[[set[int]], int]:
    """`run`, and what it raises is told."""

    def telling(before: set[int]) -> int:
        try:
            return run(before)
        except BaseException as error:
            report.fail(error)
            return SILENT

    return telling


def _prepare(keep: Iterable[int] | None, signals: str, mask: set[int]) -> None:
    """In the child, before its work. What the parent holds is not collected here: it is not ours to close."""
    gc.freeze()
    signal.set_wakeup_fd(-1)
    _handle(signals)
    if keep is not None:
        _keep_only({int(fd) for fd in keep if fd >= 0})
    if signals != BLOCKED:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _handle(signals: str) -> None:
    """Forget the parent's handlers; what is ignored stays so, but for the end of children."""
    for number in _ALL:
        handler = signal.getsignal(number)
        if handler is _pass_over:
            signal.signal(number, signal.SIG_IGN)
        elif number in _ENDING and signals == RAISING and handler != signal.SIG_IGN:
            signal.signal(number, _raise)
        elif callable(handler) or number == signal.SIGCHLD:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, _frame: object) -> NoReturn:
    """Once: what cleans up is not interrupted again."""
    for other in _ENDING:
        signal.signal(other, _pass_over)
    raise Ended(number)


def _pass_over(_number: int, _frame: object) -> None:
    """SIG_IGN, but for one that came with the first: the interpreter would print that it ignores that one."""


def _die(number: int) -> int:
    """As if nobody had caught it; comes back only in the first process of a pid namespace."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.kill(os.getpid(), number)
    return SILENT


def _keep_only(kept: set[int]) -> None:
    last = -1
    for fd in sorted(kept):
        if fd > last + 1:
            linux.close_range(last + 1, fd - 1)
        last = fd
    linux.close_range(last + 1)
    for number in range(_STREAMS):
        if number not in kept:
            os.open("/dev/null", os.O_RDWR)  # takes the lowest that is free


def _pipe() -> tuple[int, int]:
    """Above the standard streams, whatever those are."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if reader >= _STREAMS:
        return reader, writer
    try:
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STREAMS) for fd in (reader, writer)]
    finally:
        os.close(reader)
        os.close(writer)
    return high[0], high[1]


def _pipes(count: int) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            made.append(_pipe())
    except OSError:
        for fd in [fd for ends in made for fd in ends]:
            os.close(fd)
        raise
    return made


def _close(fd: int) -> int:
    if fd >= 0:
        os.close(fd)
    return -1


def _read(fd: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (piece := os.read(fd, count - len(data))):
        data += piece
    return bytes(data)


class _Subreaper:
    """Orphans among our descendants fall to us; several threads may want that at the same time."""

    def __init__(self) -> None:
        self._lock, self._users = allocate_lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


_subreaper = _Subreaper()
