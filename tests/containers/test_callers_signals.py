"""A program that calls the Python API, its signals, and a container that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import until

PROGRAM = """
import os, signal, subprocess, sys
import nacre
root, fifo, number = sys.argv[1:4]
engine = nacre.open_store(root)
def alarm(*_):
    raise TimeoutError("too long")
def leave(*_):
    sys.exit(3)
signal.signal(signal.SIGINT, signal.default_int_handler)
{handlers}
teller = subprocess.Popen(["sh", "-c", f"read x <{{fifo}}; kill -{{number}} {{os.getpid()}}"])
try:
    done = engine.run("busybox:test", ["sh", "-c", "{script}"], volumes=[os.path.dirname(fifo) + ":/v"])
    print("ended", done.exit_code)
except BaseException as error:
    print(type(error).__name__)
teller.wait()
with engine.store as store:
    print("left", [row.name for row in store.containers.list()])
"""
STAYS = "echo >/v/fifo; exec sleep 100"


def run(
    nacre: Any, folder: Path, number: str, handlers: str = "", script: str = STAYS
) -> tuple[int, list[str]]:
    (folder / "v").mkdir()
    os.mkfifo(folder / "v" / "fifo")
    words = [str(nacre.root), str(folder / "v" / "fifo"), number]
    text = PROGRAM.format(handlers=handlers, script=script)
    # A handler may raise between open() and `with`: the collector closes that file, and tells of it.
    env = nacre.env | {"PYTHONWARNINGS": "error,ignore::ResourceWarning"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", text, *words],
        capture_output=True,
        env=env,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("number", "handlers", "raised"),
    [
        ("INT", "", "KeyboardInterrupt"),
        ("TERM", "signal.signal(signal.SIGTERM, leave)", "SystemExit"),
        ("ALRM", "signal.signal(signal.SIGALRM, alarm)", "TimeoutError"),
    ],
)
def test_what_a_handler_raises_ends_the_container(
    nacre: Any, busybox_image: str, tmp_path: Path, number: str, handlers: str, raised: str
) -> None:
    assert run(nacre, tmp_path, number, handlers) == (0, [raised, "left []"])


def test_a_signal_that_ends_the_caller_leaves_nothing(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    code, said = run(nacre, tmp_path, "TERM")
    assert (code, said) == (-15, [])
    assert nacre("ps", "-aq").out == ""


def test_a_handler_that_returns_interrupts_nothing(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    """The program goes on until it is told to end, and was told nothing by the signal."""
    handlers = "signal.signal(signal.SIGUSR1, lambda *_: os.close(os.open(fifo, os.O_WRONLY)))"
    script = "echo >/v/fifo; read x </v/fifo; exit 5"
    assert run(nacre, tmp_path, "USR1", handlers, script) == (0, ["ended 5", "left []"])


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda *_: os.waitpid(-1, os.WNOHANG)"])
def test_a_caller_that_takes_the_ends_of_children(
    nacre: Any, busybox_image: str, tmp_path: Path, handler: str
) -> None:
    handlers = f"signal.signal(signal.SIGCHLD, {handler})"
    code, said = run(nacre, tmp_path, "CONT", handlers, "echo >/v/fifo; exit 7")
    assert (code, said[0]) == (0, "ended 7")


def test_a_command_whose_parent_ignores_children(nacre: Any, busybox_image: str) -> None:
    words = nacre.command("run", "--rm", busybox_image, "sh", "-c", "exit 7")
    ignore = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    text = f"import os, signal, sys; {ignore}; os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", text, *words], env=nacre.env, check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (7, b"")


def test_an_execution_in_the_background_lets_go(nacre: Any, busybox_image: str) -> None:
    """Whoever reads its output reads the end of it, though the program runs on."""
    nacre("run", "-d", "--name", "box", busybox_image, "sleep", "100")
    try:
        assert nacre("exec", "-d", "box", "sleep", "100", timeout=30).out == ""
        until(lambda: len([line for line in nacre("exec", "box", "ps").lines if "sleep 100" in line]) == 2)
        failed = nacre("exec", "-d", "box", "nosuch", check=False)
        assert (failed.code, failed.err) == (
            1,
            'nacre: exec: "nosuch": executable file not found in $PATH\n',
        )
    finally:
        nacre("rm", "-f", "box")


def test_a_supervisor_has_nothing_of_its_caller(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    """Neither a lock nor a pipe nor its folder."""
    secret = tmp_path / "secret"
    secret.touch()
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        words = "run", "-d", "--name", "box", "--network", "host", busybox_image, "sleep", "100"
        process = nacre.start(*words, close_fds=False)
        out, err = process.communicate(timeout=60)
    try:
        assert (process.returncode, err) == (0, b"")
        mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_supervisor(pid, str(nacre.root))]
        assert len(mine) == 1
        folder = f"/proc/{mine[0]}"
        links = [os.readlink(f"{folder}/fd/{fd}") for fd in os.listdir(f"{folder}/fd")]
        assert str(secret) not in links
        assert links.count("/dev/null") >= 3
        assert os.readlink(f"{folder}/cwd") == "/"
    finally:
        nacre("rm", "-f", out.decode().strip())


def _is_supervisor(pid: str, root: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return root in words and "run" in words
