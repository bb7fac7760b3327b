"""Containers by the command line, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from terminals import Terminal
from waiting import until

from nacre import Config, ContainerOptions, Engine
from nacre.ground import userns
from nacre.words.errors import UsageError

if TYPE_CHECKING:
    from conftest import Nacre

HEX = re.compile(r"[0-9a-f]{64}\n")


def left(nacre: Nacre) -> list[str]:
    """What there is of containers in the store."""
    return [str(path) for name in ("active", "containers") for path in (nacre.root / name).glob("*")]


def states(nacre: Nacre) -> dict[str, str]:
    rows = [json.loads(line) for line in nacre("ps", "-a", "--format", "json").lines]
    return {row["Names"]: row["State"] for row in rows}


def test_run(nacre: Nacre, busybox_image: str) -> None:
    done = nacre("run", "--rm", busybox_image, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")
    assert left(nacre) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch"], 127, 'nacre: exec: "nosuch": executable file not found in $PATH\n'),
        (["/etc/passwd"], 126, 'nacre: exec: "/etc/passwd": permission denied\n'),
        (
            ["-u", "ghost", "true"],
            125,
            "nacre: unable to find user ghost: no matching entries in passwd file\n",
        ),
        (["-w", "relative", "true"], 125, "nacre: invalid path 'relative': it must be absolute\n"),
        (["-v", "x", "true"], 125, "nacre: invalid volume specification: 'x'\n"),
    ],
)
def test_run_fails(nacre: Nacre, busybox_image: str, words: list[str], code: int, said: str) -> None:
    at = words.index("true") if "true" in words else 0
    done = nacre("run", "--rm", *words[:at], busybox_image, *words[at:], check=False)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(said)
    assert left(nacre) == []


def test_options(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("# comment\nFROM_FILE=1\nHOST_VALUE\n")
    done = nacre(
        "run", "--rm", "-e", "A=x y", "--env-file", "vars", "-w", "/work", "-u", "user", "--hostname", "box",
        "--network", "none", "--add-host", "db:10.0.0.9", "--dns", "9.9.9.9", "-v", "./data:/data:ro",
        "--tmpfs", "/scratch", busybox_image, "sh", "-c",
        "pwd; hostname; id -u; echo $A-$FROM_FILE-$HOST_VALUE; cat /etc/resolv.conf; grep db /etc/hosts; "
        "cat /etc/hostname; ls -d /data /scratch; touch /data/x || echo read-only",
        HOST_VALUE="h",
    )  # fmt: skip
    assert done.lines == [
        "/work", "box", "1000", "x y-1-h", "nameserver 9.9.9.9", "10.0.0.9\tdb", "box", "/data", "/scratch",
        "read-only",
    ]  # fmt: skip


def test_standard_input(nacre: Nacre, busybox_image: str) -> None:
    assert nacre("run", "--rm", "-i", busybox_image, "cat", input=b"text").out == "text"
    assert nacre("run", "--rm", busybox_image, "cat", input=b"text").out == ""
    big = os.urandom(1 << 20)
    assert nacre("run", "--rm", "-i", busybox_image, "cat", input=big).raw == big


def test_entrypoint(nacre: Nacre, busybox_image: str) -> None:
    assert nacre("run", "--rm", "--entrypoint", "echo", busybox_image, "a", "b").out == "a b\n"


def test_a_container_that_stays(nacre: Nacre, busybox_image: str) -> None:
    assert (
        nacre("run", "--name", "first", busybox_image, "sh", "-c", "echo kept; exit 4", check=False).code == 4
    )
    assert states(nacre) == {"first": "exited"}
    assert nacre("logs", "first").out == "kept\n"
    assert nacre("wait", "first").out == "4\n"
    assert nacre("start", "-a", "first", check=False).out == "kept\n"
    assert nacre("ps", "-aq").out == nacre("ps", "-a", "--format", "{{.ID}}").out
    again = nacre("run", "--name", "first", busybox_image, "true", check=False)
    assert again.code == 125
    assert "already in use" in again.err
    assert nacre("rm", "first").out == "first\n"
    assert left(nacre) == []


def test_writes_stay_with_the_container(nacre: Nacre, busybox_image: str) -> None:
    number = nacre("create", busybox_image, "sh", "-c", "cat /count; echo x >> /count").out.strip()
    assert nacre("start", "-a", number).out == ""
    assert nacre("start", "-a", number[:8]).out == "x\n"
    assert nacre("run", "--rm", busybox_image, "ls", "/count", check=False).code == 1
    nacre("rm", number)


def test_detached(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'echo bye; exit 9' TERM; echo begin; while :; do sleep 0.05; done"
    assert HEX.fullmatch(nacre("run", "-d", "--name", "web", busybox_image, "sh", "-c", script).out)
    until(lambda: nacre("logs", "web").out == "begin\n")
    assert states(nacre) == {"web": "running"}
    row = nacre("ps").lines[1]
    assert "web" in row
    assert "Up" in row
    refused = nacre("rm", "web", check=False)
    assert refused.code == 1
    assert "running" in refused.err
    waiting = nacre.start("wait", "web")
    assert nacre("stop", "web").out == "web\n"
    assert waiting.communicate(timeout=30)[0] == b"9\n"
    assert states(nacre) == {"web": "exited"}
    assert "Exited (9)" in nacre("ps", "-a").out
    assert nacre("logs", "web").out == "begin\nbye\n"
    nacre("start", "web")
    until(lambda: nacre("logs", "web").out.count("begin") == 2)
    nacre("kill", "web")
    assert states(nacre) == {"web": "exited"}
    assert nacre("wait", "web").out == "137\n"
    nacre("start", "web")
    nacre("rm", "-f", "web")
    assert left(nacre) == []


def test_detached_that_cannot_start(nacre: Nacre, busybox_image: str) -> None:
    done = nacre("run", "-d", "--rm", busybox_image, "nosuch", check=False)
    assert (done.code, done.out) == (127, "")
    assert "executable file not found" in done.err
    assert left(nacre) == []


def waits_for_lock(pid: int) -> bool:
    """As /proc/locks tells it, proc_locks(5)."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any(line.split()[1] == "->" and str(pid) in line.split() for line in lines)


def test_detached_and_removed(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do read -t 1 x < /dev/full; done"
    number = nacre("run", "-d", "--rm", busybox_image, "sh", "-c", script).out.strip()
    until(lambda: nacre("logs", number).out == "ready\n")
    waiting = nacre.start("wait", number)
    until(lambda: waits_for_lock(waiting.pid))
    nacre("kill", "-s", "TERM", number)
    assert waiting.communicate()[0] == b"5\n"
    until(lambda: left(nacre) == [])
    assert states(nacre) == {}


def test_logs_follow(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "run",
        "-d",
        "--name",
        "lo",
        busybox_image,
        "sh",
        "-c",
        "for i in 1 2 3 4; do echo $i; sleep .1; done",
    )
    assert nacre("logs", "-f", "lo").lines == ["1", "2", "3", "4"]
    assert nacre("logs", "--tail", "2", "lo").lines == ["3", "4"]
    assert re.match(r"\d{4}-\d\d-\d\dT.*Z 1$", nacre("logs", "-t", "lo").lines[0])
    nacre("rm", "lo")


def pid_of(nacre: Nacre, name: str) -> int:
    from sqlite3 import connect

    database = connect(f"file:{nacre.root}/nacre.db?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT pid FROM container WHERE name = ?", (name,)).fetchone()[0])
    finally:
        database.close()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_supervisor_takes_its_container_along(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "gone", busybox_image, "sleep", "1000")
    pid = pid_of(nacre, "gone")
    fd = os.pidfd_open(pid)
    os.kill(parent_of(pid), signal.SIGKILL)
    assert select.select([fd], [], [], 30)[0], "the container outlived its supervisor"
    os.close(fd)
    until(lambda: states(nacre) == {"gone": "exited"})
    assert "Exited (137)" in nacre("ps", "-a").out
    nacre("rm", "gone")
    assert left(nacre) == []


def test_a_killed_run_takes_its_container_along(nacre: Nacre, busybox_image: str) -> None:
    process = nacre.start("run", "--rm", "--name", "front", busybox_image, "sleep", "1000")
    until(lambda: states(nacre) == {"front": "running"})
    fd = os.pidfd_open(pid_of(nacre, "front"))
    process.kill()
    process.communicate()
    assert select.select([fd], [], [], 30)[0]
    os.close(fd)
    until(lambda: states(nacre) == {})
    assert left(nacre) == []


def test_a_reboot(nacre: Nacre, busybox_image: str) -> None:
    """A row says running, but nobody holds the lock of the container."""
    from sqlite3 import connect

    nacre("create", "--name", "old", busybox_image, "true")
    database = connect(nacre.root / "nacre.db")
    with database:
        database.execute("UPDATE container SET state = 'running', pid = 1, pid_start = 1, boot = 'before'")
    database.close()
    assert states(nacre) == {"old": "exited"}
    nacre("start", "-a", "old")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(nacre: Nacre, busybox_image: str, number: int) -> None:
    name = signal.Signals(number).name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 42' {name}; echo ready; while :; do sleep 0.05; done"
    process = nacre.start("run", "--rm", busybox_image, "sh", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == f"got {name}\n".encode()
    assert process.returncode == 42
    assert left(nacre) == []


def test_the_third_interrupt_kills(nacre: Nacre, busybox_image: str) -> None:
    process = nacre.start("run", "--rm", busybox_image, "sh", "-c", "trap '' INT; echo ready; sleep 1000")
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    process.communicate()
    assert process.returncode in (137, 130), "130: one more came when the container was gone"
    assert left(nacre) == []


def test_terminal(nacre: Nacre, busybox_image: str) -> None:
    import fcntl
    import struct
    import termios

    terminal = Terminal(nacre, "run", "--rm", "-it", "-e", "PS1=>>", busybox_image, "sh")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    terminal.expect(b">>")
    before = termios.tcgetattr(terminal.fd)
    assert not before[3] & termios.ICANON
    os.write(terminal.fd, b"tty; stty size; test -c /dev/console && echo con-sole\r")
    terminal.expect(b"/dev/pts/0\r\n31 97\r\ncon-sole\r\n")
    os.write(terminal.fd, b"sh -c 'echo beg-in; sleep 1000'\r")
    terminal.expect(b"beg-in\r\n")
    os.write(terminal.fd, b"\x03")
    terminal.expect(b">>")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
    os.kill(terminal.pid, signal.SIGWINCH)
    until(lambda: resized(terminal))
    os.write(terminal.fd, b"exit 6\r")
    assert terminal.end() == 6
    assert left(nacre) == []


def resized(terminal: Terminal) -> bool:
    os.write(terminal.fd, b"stty size\r")
    terminal.expect(b"size\r\n")
    while b"\r\n" not in terminal.seen:
        terminal.seen += os.read(terminal.fd, 65536)
    return b"20 60" in terminal.seen


def test_a_terminal_is_restored_after_a_kill(nacre: Nacre, busybox_image: str) -> None:
    import termios

    terminal = Terminal(
        nacre, "run", "--rm", "-it", "--name", "tt", busybox_image, "sh", "-c", "echo up; sleep 999"
    )
    before = termios.tcgetattr(terminal.fd)
    terminal.expect(b"up")
    until(lambda: termios.tcgetattr(terminal.fd) != before)
    nacre("kill", "tt")
    until(lambda: termios.tcgetattr(terminal.fd) == before)
    assert terminal.end() == 137


def test_much_typed_and_much_shown(nacre: Nacre, busybox_image: str) -> None:
    """More than any buffer holds in both directions at once."""
    script = "stty raw -echo; echo up; cat; true"
    terminal = Terminal(nacre, "run", "--rm", "-it", busybox_image, "sh", "-c", script)
    terminal.expect(b"up\n")
    sent, wanted, received = 0, b"x" * 300_000, 0
    deadline = time.monotonic() + 120
    os.set_blocking(terminal.fd, False)
    while received < len(wanted):
        assert time.monotonic() < deadline, (sent, received)
        readable, writable, _ = select.select(
            [terminal.fd], [terminal.fd] if sent < len(wanted) else [], [], 1
        )
        if writable:
            sent += os.write(terminal.fd, wanted[sent : sent + 4096])
        if readable:
            received += len(os.read(terminal.fd, 65536))
    os.close(terminal.fd)
    until(lambda: os.waitpid(terminal.pid, os.WNOHANG)[0])


def test_a_terminal_that_goes_away(nacre: Nacre, busybox_image: str) -> None:
    script = "trap '' HUP; echo up; cat; exit 0"
    terminal = Terminal(nacre, "run", "--rm", "-it", busybox_image, "sh", "-c", script)
    terminal.expect(b"up")
    os.close(terminal.fd)
    until(lambda: os.waitpid(terminal.pid, os.WNOHANG)[0])
    assert left(nacre) == []


def test_a_terminal_is_not_handed_over(nacre: Nacre, busybox_image: str) -> None:
    terminal = Terminal(nacre, "run", "--rm", "-i", busybox_image, "sh", "-c", "tty; ls -l /proc/self/fd/1")
    terminal.expect(b"not a tty")
    terminal.expect(b"pipe:")
    assert terminal.end() == 0


def test_a_terminal_that_is_none(nacre: Nacre, busybox_image: str) -> None:
    done = nacre("run", "--rm", "-it", busybox_image, "true", check=False)
    assert done.code == 1 or done.code == 125
    assert "the input device is not a TTY" in done.err


def test_ps(nacre: Nacre, busybox_image: str) -> None:
    assert nacre("ps").lines == ["CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"]
    nacre("create", "--name", "a1", "-l", "x=1", busybox_image, "sleep", "1000000000000000000000")
    nacre("create", "--name", "b1", busybox_image, "true")
    assert [json.loads(line)["Names"] for line in nacre("ps", "-a", "--format", "json").lines] == ["b1", "a1"]
    assert nacre("ps", "-a", "--filter", "name=a", "--format", "{{.Names}}").out == "a1\n"
    assert nacre("ps", "-a", "--filter", "label=x=1", "--format", "{{.Names}}").out == "a1\n"
    assert nacre("ps", "--filter", "status=created", "--format", "{{.Names}}").lines == ["b1", "a1"]
    assert (
        nacre("ps", "-l", "--format", "{{.Names}} {{.Image}} {{.Status}}").out
        == f"b1 {busybox_image} Created\n"
    )
    assert '"sleep 1000000000000…"' in nacre("ps", "-a").out
    nacre("create", "--name", "c1", busybox_image, "sh", "-c", 'echo "x"\nls')
    nacre("tag", busybox_image, "moved")
    nacre("create", "--name", "d1", "moved", "true")
    nacre("commit", "d1", "moved")
    form = "{{.Image}} {{.Command}}"
    lines = nacre("ps", "-a", "-n", "2", "--format", form).lines
    assert lines == [
        f'{nacre("images", "-q", busybox_image).lines[0]} "true"',  # the name means another image by now
        f"""{busybox_image} "sh -c 'echo \\"x\\"\\nls'\"""",
    ]
    assert len(nacre("ps", "-aq", "--no-trunc").lines[0]) == 64
    assert nacre("ps", "--filter", "nonsense=1", check=False).code != 0


def test_an_id_that_cannot_be_written(nacre: Nacre, busybox_image: str) -> None:
    """There is no container then."""
    for path in ("no/id", "there"):
        (nacre.folder / "there").touch()
        done = nacre("create", "--cidfile", path, busybox_image, "true", check=False)
        assert (done.code, done.out) == (125, "")
        assert "container ID file" in done.err
    assert nacre("ps", "-aq").out == ""


def test_rmi_of_an_image_that_runs(nacre: Nacre, busybox_image: str) -> None:
    nacre("tag", busybox_image, "mine:1")
    nacre("tag", busybox_image, "mine:2")
    nacre("rmi", busybox_image)
    number = nacre("images", "-q", "mine").lines[0]
    box = nacre("run", "-d", "--name", "box", "mine:1", "sleep", "1000").out[:12]
    refused = nacre("rmi", "-f", number, check=False)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        f"nacre: conflict: unable to delete {number} (cannot be forced) - "
        f"image is being used by running container {box}\n"
    )
    assert nacre("rmi", "mine:2").out == "Untagged: mine:2\n"
    assert "(must force)" in nacre("rmi", "mine:1", check=False).err
    assert nacre("rmi", "-f", "mine:1").out == "Untagged: mine:1\n"
    assert nacre("exec", "box", "echo", "on").out == "on\n"
    nacre("rm", "-f", "box")
    nacre("image", "prune", "-f")
    assert nacre("images", "-q").out == ""


def test_unknown_containers(nacre: Nacre, busybox_image: str) -> None:
    for words in (["rm"], ["stop"], ["kill"], ["start"], ["logs"], ["wait"]):
        done = nacre(*words, "ghost", check=False)
        assert (done.code, done.err) == (1, "nacre: No such container: ghost\n"), words
    done = nacre("rm", "-f", "ghost")
    assert (done.out, done.err) == ("", "nacre: No such container: ghost\n")
    nacre("create", "--name", "idle", busybox_image, "true")
    done = nacre("kill", "idle", check=False)
    assert done.code == 1
    assert "is not running" in done.err
    assert nacre("stop", "idle").out == "idle\n"


def test_named_volume(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "--rm", "-v", "data:/d", busybox_image, "sh", "-c", "echo x > /d/file")
    assert nacre("run", "--rm", "-v", "data:/d", busybox_image, "cat", "/d/file").out == "x\n"
    assert (nacre.root / "volumes/data/file").exists()


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_other_runtimes(nacre: Nacre, busybox_image: str, peer: Callable[..., None], runtime: str) -> None:
    peer(runtime)
    done = nacre(
        "run", "--rm", "--runtime", runtime, "-u", "user", "-w", "/tmp", busybox_image, "sh", "-c",
        "id -u; pwd; echo $HOME; exit 3", check=False,
    )  # fmt: skip
    if os.geteuid() and (runtime == "runc" or userns.call(userns.enter).single) and done.code != 3:
        pytest.skip(f"{runtime} does not work inside this user namespace: {done.err[:200]}")
    assert (done.code, done.lines) == (3, ["1000", "/tmp", "/srv"]), done.err
    assert left(nacre) == []


@pytest.mark.skipif(
    os.geteuid() != 0 or not userns.is_first(), reason="runtimes are tried with hooks as root"
)
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_other_runtimes_get_all_of_a_device(
    nacre: Nacre, busybox_image: str, peer: Callable[..., None], runtime: str, tmp_path: Path
) -> None:
    """Hooks of CDI are theirs to run, and a file can be mounted read-only."""
    peer(runtime)
    (tmp_path / "file").write_text("content\n")
    edits = {
        "env": ["A=1"],
        "deviceNodes": [{"path": "/dev/v/zero", "hostPath": "/dev/zero"}],
        "mounts": [
            {"hostPath": f"{tmp_path}/file", "containerPath": "/f", "options": ["ro", "rbind", "nosuid"]}
        ],
        "hooks": [
            {"hookName": "createRuntime", "path": "/usr/bin/touch", "args": ["touch", f"{tmp_path}/hooked"]}
        ],
    }
    spec = {"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "0", "containerEdits": edits}]}
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/a.json").write_text(json.dumps(spec))
    with Engine(Config(str(nacre.root), cdi_folders=(f"{tmp_path}/cdi",))) as engine:
        options = ContainerOptions(devices=("v/c=0",), runtime=runtime, auto_remove=True)
        code = ["sh", "-c", "echo $A; test -c /dev/v/zero && cat /f"]
        assert engine.containers.run("busybox:test", code, options).stdout == b"1\ncontent\n"
    assert (tmp_path / "hooked").exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"volumes": ("a:/b:c:d",)}, {"security": ("seccomp",)}, {"log_options": (("nosuch", "1"),)},
        {"health_cmd": "true", "no_healthcheck": True}, {"restart": "sometimes"},
        {"restart": "always", "auto_remove": True},
    ],
)  # fmt: skip
def test_options_are_checked_before_there_is_a_container(nacre: Nacre, bad: dict[str, Any]) -> None:
    with Engine(Config(str(nacre.root))) as engine:
        engine.containers.check(ContainerOptions(restart="on-failure:2"))
        with pytest.raises(UsageError):
            engine.containers.check(ContainerOptions(**bad))


def test_a_runtime_that_is_not_there(nacre: Nacre, busybox_image: str) -> None:
    done = nacre("run", "--rm", "--runtime", "nosuch", busybox_image, "true", check=False)
    assert done.code == 125
    assert "not installed" in done.err
    assert left(nacre) == []


@pytest.mark.parametrize(
    ("folder", "why"), [("/not/there", "no such file or directory"), ("/etc/passwd", "not a directory")]
)
def test_exec_makes_no_folder(nacre: Nacre, busybox_image: str, folder: str, why: str) -> None:
    nacre("run", "-d", "--name", "box", "-u", "user", busybox_image, "sleep", "1000")
    done = nacre("exec", "-w", folder, "box", "pwd", check=False)
    assert (done.code, done.out) == (127, "")
    assert done.err == (
        "nacre: OCI runtime exec failed: exec failed: unable to start container process: "
        f'chdir to cwd ("{folder}") failed: {why}\n'
    )
    assert nacre("exec", "-d", "-w", folder, "box", "pwd", check=False).code == 1
    assert nacre("exec", "box", "ls", "/not", check=False).code == 1
    assert nacre("diff", "box").out == ""
    nacre("rm", "-f", "box")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["-w", "srv", "box", "true"],
            128,
            "the working directory 'srv' is invalid, it needs to be an absolute",
        ),
        (
            ["-u", "nobody", "box", "true"],
            1,
            "unable to find user nobody: no matching entries in passwd file",
        ),
        (["-e", "=x", "box", "true"], 125, "invalid environment variable: =x"),
        (["-d", "box", "nosuch"], 1, 'exec: "nosuch": executable file not found in $PATH'),
        (["box", "nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["box", "/srv"], 126, 'exec: "/srv": is a directory'),
        (["--env-file", "none", "box", "true"], 1, "cannot read none: No such file or directory"),
    ],
)
def test_exec_that_cannot_be(
    nacre: Nacre, busybox_image: str, words: list[str], code: int, said: str
) -> None:
    """With docker's exit codes."""
    nacre("run", "-d", "--name", "box", busybox_image, "sleep", "1000")
    done = nacre("exec", *words, check=False)
    nacre("rm", "-f", "box")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"nacre: {said}")


def test_standard_input_stays_open_in_the_background(nacre: Nacre, busybox_image: str) -> None:
    """`cat` ends at the end of its input, which must not come; without -i it comes at once."""
    nacre("run", "-d", "-i", "--name", "open", busybox_image, "sh", "-c", "cat; echo ended")
    nacre("run", "-d", "--name", "closed", busybox_image, "sh", "-c", "cat; echo ended")
    assert nacre("wait", "closed").out == "0\n"
    assert states(nacre) == {"open": "running", "closed": "exited"}
    assert nacre("exec", "open", "readlink", "/proc/1/fd/0").out.startswith("pipe:")
    nacre("stop", "-t", "0", "open")
    nacre("start", "open")
    assert states(nacre)["open"] == "running"
    assert nacre("logs", "open").out == ""
    nacre("rm", "-f", "open", "closed")


def test_exec(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "ex", "-e", "A=1", "-w", "/srv", busybox_image, "sleep", "1000")
    done = nacre(
        "exec", "-e", "B=2", "ex", "sh", "-c", "echo $A$B; pwd; cat /proc/1/comm; exit 4", check=False
    )
    assert (done.code, done.lines[:2]) == (4, ["12", "/srv"])
    assert done.lines[2] == "sleep"
    assert nacre("exec", "-u", "user", "-w", "/tmp", "ex", "sh", "-c", "id -u; pwd; echo $HOME").lines == [
        "1000", "/tmp", "/srv"
    ]  # fmt: skip
    assert nacre("exec", "-i", "ex", "cat", input="text").out == "text"
    words = nacre(
        "exec", "ex", "grep", "-e", "CapEff", "-e", "CapBnd", "-e", "Seccomp:", "/proc/self/status"
    ).out
    assert words.split() == ["CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb", "Seccomp:", "2"]
    assert nacre("exec", "ex", "sh", "-c", "ls /proc/$$/fd | wc -l").out in ("3\n", "4\n")
    missing = nacre("exec", "ex", "nosuch", check=False)
    assert (missing.code, missing.err) == (127, 'nacre: exec: "nosuch": executable file not found in $PATH\n')
    nacre("exec", "-d", "ex", "touch", "/tmp/detached")
    until(lambda: nacre("exec", "ex", "ls", "/tmp").out == "detached\n")
    terminal = Terminal(nacre, "exec", "-it", "ex", "sh", "-c", "ls $(tty); exit 3")
    terminal.expect(b"/dev/pts/0")  # one of the container's own, which has a name there
    assert terminal.end() == 3
    nacre("kill", "ex")
    nacre("wait", "ex")
    done = nacre("exec", "ex", "true", check=False)
    assert done.code == 1
    assert "is not running" in done.err
    assert "No such container: ghost" in nacre("exec", "ghost", "true", check=False).err


def test_init(nacre: Nacre, busybox_image: str) -> None:
    count = "ls -d /proc/[0-9]* | wc -l > /tmp/n"
    reaped = f'{count}; while [ "$(cat /tmp/n)" != 4 ]; do {count}; done; cat /tmp/n'
    script = f"echo $$; (true &); {reaped}; cat /proc/1/comm; exit 5"
    done = nacre("run", "--rm", "--init", busybox_image, "sh", "-c", script, check=False)
    assert (done.code, done.lines[:2]) == (5, ["2", "4"]), "the orphan was not reaped"
    assert nacre("run", "--rm", "--init", busybox_image, "readlink", "/proc/1/exe", check=False).out == ""
    assert nacre("run", "--rm", "--init", busybox_image, "nosuch", check=False).code == 127
    process = nacre.start("run", "--rm", "--init", busybox_image, "sh", "-c", "echo ready; exec sleep 1000")
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    terminal = Terminal(nacre, "run", "--rm", "-it", "--init", busybox_image, "sh", "-c", "read x; echo =$x=")
    os.write(terminal.fd, b"typed\r")
    terminal.expect(b"=typed=")
    assert terminal.end() == 0
    assert left(nacre) == []


def test_a_signal_just_after_a_program_of_exec_has_begun(nacre: Nacre, busybox_image: str) -> None:
    """It goes to the program, and does not end the command alone."""
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep .05; done"
    with nacre.start("exec", "up", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 9
    nacre("rm", "-f", "up")
