"""The one place that forks: what a child begins with, what is told of it, and that nothing returns in it."""

from __future__ import annotations

import ast
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nacre
from nacre.ground import fork
from nacre.ground.fork import BLOCKED, RAISING, ChildReport
from nacre.words.errors import DigestMismatch, DockerfileError, SandboxError

SOURCE = Path(nacre.__file__).parent
FORKING = {"fork", "forkpty", "posix_spawn", "posix_spawnp", "_fork_exec", "fork_exec"}


def test_nobody_else_forks() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        if path != SOURCE / "ground" / "fork.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if _forks(node)
    ]
    assert found == []


def _forks(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(name.name in ("pty", "multiprocessing", "concurrent.futures") for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in ("os", "posix") and any(name.name in FORKING for name in node.names)
    of_system = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return of_system and node.value.id in ("os", "posix", "pty") and node.attr in FORKING  # type: ignore[attr-defined]


@pytest.fixture
def quiet() -> Iterator[None]:
    """Every handler and the mask as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGINT)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in before.items():
        signal.signal(number, handler)


def asked(work: fork.Work, **options: Any) -> tuple[Any, ...]:
    with fork.fork(work, what="the child", **options) as child:
        answer = child.answer()
        assert child.wait() == 0
        return answer


def descriptors(report: ChildReport) -> None:
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    links = [(fd, os.readlink(f"/proc/self/fd/{fd}")) for fd in fds if os.path.lexists(f"/proc/self/fd/{fd}")]
    report.tell([(fd, link) for fd, link in links if fd != report.fd])


def test_only_what_is_listed_stays_open() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        null = [(number, "/dev/null") for number in range(3)]
        assert sorted(asked(descriptors)[0]) == null
        assert sorted(asked(descriptors, keep=(reader, -1))[0]) == [
            *null,
            (reader, os.readlink(f"/proc/self/fd/{reader}")),
        ]
        assert {fd for fd, _ in asked(descriptors, keep=None)[0]} >= {0, 1, 2, reader, writer}
    finally:
        os.close(reader)
        os.close(writer)


def test_signals_are_as_if_nobody_had_touched_them(quiet: None) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    def work(report: ChildReport) -> None:
        numbers = (signal.SIGUSR1, signal.SIGCHLD, signal.SIGINT)
        handlers = [int(signal.getsignal(number)) for number in numbers]  # type: ignore[arg-type]
        report.tell(handlers, [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())])

    with fork.fork(work, what="the child") as child:
        handlers, mask = child.answer()
    assert handlers == [signal.SIG_DFL, signal.SIG_DFL, signal.SIG_IGN]
    assert mask == [signal.SIGUSR2]
    with fork.fork(work, what="the child", signals=BLOCKED) as child:
        assert signal.SIGTERM in child.answer()[1]


def test_a_child_of_a_parent_that_ignores_children(quiet: None) -> None:
    """Its status is lost, its word is not."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with fork.fork(lambda report: report.tell(7), what="the child") as child:
        assert child.answer() == (7,)
        assert child.wait() is None


def test_what_ends_a_raising_child_lets_it_clean_up(tmp_path: Path) -> None:
    def work(report: ChildReport) -> None:
        try:
            report.tell("here")
            while True:  # a signal just before one long call would not end it
                select.select([], [], [], 0.05)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # is ignored by now
            (tmp_path / "clean").touch()

    with fork.fork(work, what="the child", signals=RAISING) as child:
        assert child.answer() == ("here",)
        child.ask_to_end()
    assert (tmp_path / "clean").exists()
    assert child.status == signal.SIGTERM


def test_two_signals_at_once_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """As a ctrl-C that comes to a whole group, whose parent ends its children then."""

    def work(report: ChildReport) -> None:
        both = (signal.SIGINT, signal.SIGTERM)
        sys.unraisablehook = sys.__unraisablehook__  # not that of pytest
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            os.kill(os.getpid(), number)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        finally:
            with fork.fork(lambda report: report.tell(), what="what cleans up") as child:
                assert child.answer() == ()

    with fork.fork(work, what="the child", keep=None, signals=RAISING) as child:
        child.wait()
    assert child.status == signal.SIGINT
    assert capfd.readouterr().err == ""


def test_records_of_any_length() -> None:
    data = os.urandom(3 << 20)

    def work(report: ChildReport) -> None:
        report.tell("first", data)
        report.tell()

    with fork.fork(work, what="the child") as child:
        assert child.hear() == ("first", data)
        assert child.hear() == ()
        assert child.hear() is None


@pytest.mark.parametrize(
    "error",
    [
        DigestMismatch("a", "b", what="layer", hint="look"),
        DockerfileError("no", file="f", line=3, text="RUN"),
        PermissionError(13, "Permission denied", "/x"),
    ],
)
def test_what_a_child_raises_is_raised_again(error: Exception) -> None:
    def work(_report: ChildReport) -> None:
        raise error

    with fork.fork(work, what="the child") as child, pytest.raises(type(error)) as caught:
        child.answer()
    assert (caught.value.args, vars(caught.value)) == (error.args, vars(error))


def test_a_bug_in_a_child_is_told() -> None:
    with fork.fork(lambda _: 1 / 0, what="the child") as child, pytest.raises(SandboxError) as caught:
        child.answer()
    assert caught.value.message == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("work", "fate"),
    [
        (lambda _report: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9 (Killed)"),
        (lambda _report: os._exit(3), "ended without an answer, with exit code 3"),
        (lambda _report: None, "ended without an answer, with exit code 0"),
        (lambda report: os.write(report.fd, b"\0\0\1\0cut"), "ended without an answer, with exit code 7"),
    ],
)
def test_no_answer_means_died(work: fork.Work, fate: str) -> None:
    with fork.fork(work, what="the child") as child, pytest.raises(SandboxError) as caught:
        child.answer()
    assert caught.value.message == f"the child {fate}"


def test_a_detached_child_belongs_to_nobody() -> None:
    def work(report: ChildReport) -> None:
        report.tell(os.getpid(), os.getsid(0))

    with fork.fork_detached(work, what="the child") as child:
        pid, session = child.answer()
        child.wait()
    assert session != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda _report: os.kill(os.getpid(), signal.SIGKILL), "the child was killed by signal 9 (Killed)"),
        (lambda _report: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_the_death_of_a_detached_child_is_told(work: fork.Work, message: str) -> None:
    with fork.fork_detached(work, what="the child") as child, pytest.raises(SandboxError) as caught:
        child.answer()
    assert caught.value.message == message


def test_a_child_comes_through_a_helper() -> None:
    with fork.fork_through(
        lambda: os.chdir("/"), lambda report: report.tell(os.getcwd()), what="the child"
    ) as child:
        assert child.answer() == ("/",)
        assert child.wait() == 0


@pytest.mark.parametrize(
    ("move", "kind", "message"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), SandboxError, "the child was killed by signal 9"),
        (lambda: os.chdir("/no/such"), FileNotFoundError, "/no/such"),
    ],
)
def test_a_helper_that_fails_says_why(move: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fork.fork_through(move, lambda _report: None, what="the child")


def test_descriptors_that_are_refused_are_no_loss(tmp_path: Path) -> None:
    """With any number of them left a fork works or raises, and keeps none."""

    def try_all() -> list[str]:
        import resource

        said = []
        for limit in range(3, 16):
            before = len(os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
            try:
                for way in (fork.fork, fork.fork_detached):
                    with way(lambda report: report.tell(1), what="the child") as child:
                        assert child.answer() == (1,)
            except OSError as error:
                said.append(str(error.strerror))
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            assert len(os.listdir("/proc/self/fd")) == before
        return said

    said = asked(lambda report: report.tell(*try_all()))
    assert set(said) == {"Too many open files"}
    assert len(said) < 13
