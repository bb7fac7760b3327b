"""Attaching to containers, and leaving them alone."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from terminals import Terminal
from test_supervisor import parent, pid_of
from waiting import until

from nacre.engine import Config, Engine
from nacre.ground.monitor.detach import DetachKeys
from nacre.ground.sandbox import Stdio

if TYPE_CHECKING:
    from conftest import Nacre

KEYS = b"\x10\x11"


@pytest.fixture(autouse=True)
def nothing_is_left(nacre: Nacre) -> Iterator[None]:
    yield
    nacre("rm", "-f", "first", check=False)


def state(nacre: Nacre) -> str:
    return str(nacre("ps", "-a", "--format", "{{.State}}").out.strip())


def attached(nacre: Nacre, *words: str) -> subprocess.Popen[bytes]:
    """A client that the keeper has taken in."""
    client = nacre.start("attach", *words, "first", stdin=subprocess.PIPE)
    until(lambda: client.poll() is not None or is_taken_in(nacre, client.pid))
    return client


def is_taken_in(nacre: Nacre, pid: int) -> bool:
    """The keeper removes the names of the FIFOs that a client has opened."""
    try:
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any("/attached." in link and link.endswith(".1 (deleted)") for link in links)


# standard streams


def test_standard_input_of_a_detached_container(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-i", "--name", "first", busybox_image, "cat")
    for word in (b"one\n", b"two\n"):
        with attached(nacre, "--sig-proxy=false") as client:
            assert client.stdin
            assert client.stdout
            client.stdin.write(word)
            client.stdin.close()
            assert client.stdout.readline() == word
            client.kill()
    assert state(nacre) == "running", "the end of one input is not that of the container's"
    assert nacre("logs", "first").out == "one\ntwo\n"
    assert (
        nacre("inspect", "-f", "{{.Config.OpenStdin}} {{.Config.StdinOnce}}", "first").out == "true false\n"
    )


def test_the_first_input_ends_that_of_a_created_container(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "-i", "--name", "first", busybox_image, "sh", "-c", "cat; exit 4")
    assert nacre("inspect", "-f", "{{.Config.OpenStdin}} {{.Config.StdinOnce}}", "first").out == "true true\n"
    nacre("start", "first")
    done = nacre("attach", "first", input="typed\n", check=False)
    assert (done.code, done.out) == (4, "typed\n")


def test_start_with_input(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "-i", "--name", "first", busybox_image, "sh", "-c", "cat; exit 4")
    done = nacre("start", "-a", "-i", "first", input="typed\n", check=False)
    assert (done.code, done.out) == (4, "typed\n")


def test_both_outputs_and_the_exit_code(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "run",
        "-d",
        "-i",
        "--name",
        "first",
        busybox_image,
        "sh",
        "-c",
        "read x; echo $x; echo $x-2 >&2; exit 3",
    )
    done = nacre("attach", "first", input="go\n", check=False)
    assert (done.code, done.out, done.err) == (3, "go\n", "go-2\n")


def test_of_a_container_that_is_removed(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-i", "--rm", "--name", "first", busybox_image, "sh", "-c", "read x; echo $x; exit 3")
    done = nacre("attach", "first", input="go\n", check=False)
    assert (done.code, done.out) == (3, "go\n")


def test_several_clients(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-i", "--log-driver", "none", "--name", "first", busybox_image, "cat")
    with attached(nacre) as one, attached(nacre) as two, attached(nacre, "--no-stdin") as three:
        for client in (one, two):
            assert client.stdin
            client.stdin.write(b"word\n")
            client.stdin.flush()
            for each in (one, two, three):
                assert each.stdout
                assert each.stdout.readline() == b"word\n"
        two.kill()
        assert one.stdin
        one.stdin.write(b"more\n")
        one.stdin.flush()
        assert three.stdout
        assert three.stdout.readline() == b"more\n"
        nacre("kill", "first")
        assert (one.wait(), three.wait()) == (137, 137)


def test_much_output_arrives_whole(nacre: Nacre, busybox_image: str) -> None:
    script = "read x; i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 9"
    nacre("run", "-d", "-i", "--name", "first", busybox_image, "sh", "-c", script)
    done = nacre("attach", "first", input="go\n", check=False)
    assert done.code == 9
    assert done.lines == [str(number) for number in range(20000)]


def test_a_client_that_stands_still_is_let_go(nacre: Nacre, busybox_image: str) -> None:
    script = "read x; dd if=/dev/zero bs=1024 count=$x 2>/dev/null; echo done >&2"
    nacre("run", "-d", "-i", "--name", "first", "--log-driver", "none", busybox_image, "sh", "-c", script)
    with attached(nacre, "--no-stdin") as stopped:
        os.kill(stopped.pid, signal.SIGSTOP)
        done = nacre("attach", "first", input="1000\n", check=False)
        assert done.err == "done\n"
        os.kill(stopped.pid, signal.SIGCONT)
        assert b"took nothing for too long" in stopped.communicate()[1]
        assert stopped.returncode == 1


def test_nobody_else_can_attach(nacre: Nacre, busybox_image: str) -> None:
    """The folder is the owner's, and leads nowhere through names of others."""
    number = nacre("run", "-d", "-i", "--name", "first", busybox_image, "cat").out.strip()
    folder = nacre.root / "containers" / number
    assert folder.stat().st_mode & 0o777 == 0o700
    with attached(nacre) as client:
        assert not list(folder.glob("attached.*"))
        client.kill()
    victim = nacre.folder / "victim"
    victim.write_text("kept")
    control = folder / "control"
    (folder / "attached.x.1").symlink_to(victim)
    for line in (
        "attach:attached.x",
        "attach:../../victim",
        "attach:",
        "resize:0:0",
        "resize:a:b",
        "resize:9",
    ):
        control.write_text(f"{line}\n")
    with attached(nacre) as client:
        client.kill()
    assert victim.read_text() == "kept"
    assert state(nacre) == "running"


def test_signals_go_to_the_program(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "run",
        "-d",
        "--name",
        "first",
        busybox_image,
        "sh",
        "-c",
        "trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done",
    )
    until(lambda: nacre("logs", "first").out == "ready\n")
    with attached(nacre, "--no-stdin", "--sig-proxy=false") as alone:
        alone.send_signal(signal.SIGTERM)
        assert alone.wait() == 143
    assert state(nacre) == "running"
    with attached(nacre, "--no-stdin") as client:
        client.send_signal(signal.SIGUSR1)
        assert client.wait() == 8


def test_a_command_that_has_the_output_for_itself(nacre: Nacre, busybox_image: str) -> None:
    process = nacre.start("run", "--rm", "--name", "first", busybox_image, "sh", "-c", "echo up; sleep 1000")
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    done = nacre("attach", "first", check=False)
    assert done.err.startswith("nacre: the command that runs container first has its output for itself\n")
    nacre("rm", "-f", "first")
    process.communicate()


def test_a_supervisor_that_is_killed(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-i", "--name", "first", busybox_image, "cat")
    with attached(nacre) as client:
        os.kill(parent(pid_of(nacre, "first")), signal.SIGKILL)
        assert client.wait() == 137


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (["create"], "You cannot attach to a stopped container, start it first"),
        (["run", "-d"], "You cannot attach to a paused container, unpause it first"),
    ],
)
def test_what_cannot_be_attached_to(nacre: Nacre, busybox_image: str, before: list[str], said: str) -> None:
    nacre(*before, "--name", "first", busybox_image, "sleep", "1000")
    if before[0] == "run":
        nacre("pause", "first")
    done = nacre("attach", "first", check=False)
    assert (done.code, done.err) == (1, f"nacre: {said}\n")
    assert nacre("attach", "nosuch", check=False).err == "nacre: No such container: nosuch\n"


# terminals


def is_raw(terminal: Terminal) -> bool:
    return not termios.tcgetattr(terminal.fd)[3] & termios.ICANON


def test_run_and_leave_alone(nacre: Nacre, busybox_image: str) -> None:
    terminal = Terminal(nacre, "run", "-it", "--name", "first", "-e", "PS1=>>", busybox_image, "sh")
    terminal.expect(b">>")
    terminal.type(b"echo a-b\r")
    terminal.expect(b"a-b\r\n>>")
    terminal.type(KEYS)
    until(lambda: not is_raw(terminal))
    assert terminal.end() == 0
    assert state(nacre) == "running"

    again = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(again))
    again.type(b"echo c-d\r")
    again.expect(b"c-d\r\n>>")
    again.type(KEYS)
    assert again.end() == 1
    assert b"read escape sequence\r\n" in again.seen

    last = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(last))
    last.type(b"exit 6\r")
    assert last.end() == 6
    assert state(nacre) == "exited"
    assert "a-b" in nacre("logs", "first").out
    assert "c-d" in nacre("logs", "first").out


def test_a_container_left_alone_is_as_a_detached_one(nacre: Nacre, busybox_image: str) -> None:
    nacre.env["NACRE_NETWORK"] = "host"
    terminal = Terminal(nacre, "run", "-it", "--rm", "--name", "first", "-e", "PS1=>>", busybox_image, "sh")
    terminal.expect(b">>")
    terminal.type(KEYS)
    assert terminal.end() == 0
    keeper = parent(pid_of(nacre, "first"))
    until(lambda: b"monitor.shim" in Path(f"/proc/{keeper}/cmdline").read_bytes())
    fields = Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[3]) == keeper, "a session of its own"
    assert int(fields[4]) == 0, "and no terminal"
    again = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(again))
    again.type(b"exit 6\r")
    assert again.end() == 6
    assert state(nacre) == ""


def test_other_keys(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-it", "--name", "first", "-e", "PS1=>>", busybox_image, "sh")
    terminal = Terminal(nacre, "attach", "--detach-keys", "ctrl-x,y", "first")
    until(lambda: is_raw(terminal))
    terminal.type(b"echo u-v\r")
    terminal.expect(b"u-v\r\n>>")
    terminal.type(b"\x18y")
    assert terminal.end() == 1
    docker = nacre.folder / "docker"
    docker.mkdir(exist_ok=True)
    (docker / "config.json").write_text(json.dumps({"detachKeys": "ctrl-a,DEL"}))
    configured = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(configured))
    configured.type(b"\x01\x7f")
    assert configured.end() == 1
    (docker / "config.json").write_text(json.dumps({"detachKeys": "nonsense"}))
    usual = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(usual))
    usual.type(KEYS)
    assert usual.end() == 1
    assert b"are ignored: Unknown character: 'nonsense'" in usual.seen


def test_exec_and_start_can_be_left_alone(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "-it", "--name", "first", "-e", "PS1=>>", busybox_image, "sh")
    start = Terminal(nacre, "start", "-a", "-i", "first")
    start.expect(b">>")
    start.type(KEYS)
    assert start.end() == 0
    execution = Terminal(nacre, "exec", "-it", "first", "sh", "-c", "echo b-c; exec sleep 1000")
    execution.expect(b"b-c\r\n")
    execution.type(KEYS)
    assert execution.end() == 1
    assert b"read escape sequence\r\n" in execution.seen
    until(lambda: any("sleep 1000" in line for line in nacre("top", "first").lines))


def test_the_size_goes_through(nacre: Nacre, busybox_image: str) -> None:
    script = (
        'while read line; do echo "<$(stty size)>"; done'  # a shell at its prompt would write as it likes
    )
    nacre("run", "-d", "-it", "--name", "first", busybox_image, "sh", "-c", script)
    terminal = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(terminal))
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 61, 0, 0))
    until(lambda: shown_size(terminal) == b"20 61")
    terminal.type(KEYS)
    assert terminal.end() == 1


def shown_size(terminal: Terminal) -> bytes:
    """As a program on the terminal sees it that answers each line."""
    terminal.type(b"x\r")
    terminal.expect(b"<")
    while b">" not in terminal.seen:
        terminal.seen += os.read(terminal.fd, 65536)
    size, _, terminal.seen = terminal.seen.partition(b">")
    return size


def test_a_killed_run_on_a_terminal_ends_its_container(nacre: Nacre, busybox_image: str) -> None:
    terminal = Terminal(nacre, "run", "-it", "--name", "first", "-e", "PS1=>>", busybox_image, "sh")
    terminal.expect(b">>")
    os.kill(terminal.pid, signal.SIGKILL)
    assert terminal.end() == -9
    assert nacre("wait", "first").out == "137\n"


def test_a_killed_attach_restores_the_terminal_and_hurts_nothing(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-it", "--name", "first", busybox_image, "cat")
    terminal = Terminal(nacre, "attach", "first")
    until(lambda: is_raw(terminal))
    os.kill(terminal.pid, signal.SIGKILL)
    until(lambda: not is_raw(terminal))
    terminal.end()
    assert state(nacre) == "running"


def test_a_signal_that_is_not_passed_on_leaves_it_alone(nacre: Nacre, busybox_image: str) -> None:
    words = ("run", "-it", "--sig-proxy=false", "--name", "first", "-e", "PS1=>>", busybox_image, "sh")
    terminal = Terminal(nacre, *words)
    terminal.expect(b">>")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == 143
    assert state(nacre) == "running"


def test_a_terminal_wants_one(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "-it", "--name", "first", busybox_image, "cat")
    done = nacre("attach", "first", check=False)
    assert done.err.startswith("nacre: the input device is not a TTY\n")
    with attached(nacre, "--no-stdin") as client:
        client.kill()


# pure


@pytest.mark.parametrize(
    ("keys", "typed", "passed", "found"),
    [
        (KEYS, [b"abc"], b"abc", False),
        (KEYS, [b"a\x10", b"b"], b"a\x10b", False),
        (KEYS, [b"a\x10", b"\x11b"], b"a", True),
        (KEYS, [b"\x10\x10\x11"], b"\x10", True),
        (KEYS, [b"\x10", b"\x10"], b"\x10", False),
        (b"q", [b"aqb"], b"a", True),
        (b"\0", [b"a\0"], b"a", True),
    ],
)
def test_keys(keys: bytes, typed: list[bytes], passed: bytes, found: bool) -> None:
    reader = DetachKeys(keys)
    assert b"".join(reader.passed(piece) for piece in typed) == passed
    assert reader.found is found


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_library_can_attach(nacre: Nacre, busybox_image: str, in_thread: bool) -> None:
    nacre("run", "-d", "-i", "--name", "first", busybox_image, "sh", "-c", "read x; echo $x; exit 3")
    (theirs, ours), (shown, out) = os.pipe(), os.pipe()
    os.write(ours, b"word\n")

    def attach() -> int | None:
        with Engine(Config(str(nacre.root))) as engine:
            return engine.containers.attach("first", Stdio(theirs, out, out))

    with ThreadPoolExecutor() as pool:
        assert (pool.submit(attach).result() if in_thread else attach()) == 3
    assert os.read(shown, 100) == b"word\n"
    for fd in (theirs, ours, shown, out):
        os.close(fd)
