"""The operations of the runtime-spec, by whole processes."""

from __future__ import annotations

import array
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from machine import needs_root
from waiting import until


def hook(path: Path, word: str) -> dict[str, Any]:
    """Writes a word and the state that it is told to a file."""
    script = f'echo "{word} $(cat)" >> {path}'
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


def test_a_life(runtime: Any, tmp_path: Path) -> None:
    """create, start, state, kill, delete; the hooks in their order and with their states."""
    log, inside = tmp_path / "hooks", "bin/log"

    def change(config: dict[str, Any]) -> None:
        config["annotations"] = {"a": "b"}
        config["hooks"] = {
            name: [hook(log, name)]
            for name in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
        }
        config["hooks"]["startContainer"] = [hook(Path("/", inside), "startContainer")]

    bundle = runtime.bundle("sleep", "1000", change=change)
    name = runtime.create(bundle, "--pid-file", str(tmp_path / "pid"))
    state = runtime.state(name)
    assert (state["status"], state["bundle"], state["annotations"]) == ("created", bundle, {"a": "b"})
    assert (tmp_path / "pid").read_text() == str(state["pid"])
    Path(bundle, "config.json").write_text("{}")  # has no effect any more
    assert runtime("delete", name, check=False).stderr.strip().endswith("not stopped: created")
    runtime("start", name)
    assert runtime.state(name)["status"] == "running"
    assert "it is running, not created" in runtime("start", name, check=False).stderr
    runtime("kill", name, "KILL")
    runtime.wait(name)
    assert "container not running" in runtime("kill", name, check=False).stderr
    runtime("delete", name)
    assert f'"{name}" does not exist' in runtime("state", name, check=False).stderr
    told = [line.split(" ", 1) for line in log.read_text().splitlines()]
    states = [(word, json.loads(text)["status"]) for word, text in told]
    assert states == [
        ("prestart", "creating"), ("createRuntime", "creating"), ("createContainer", "creating"),
        ("poststart", "running"), ("poststop", "stopped"),
    ]  # fmt: skip
    assert [json.loads(text)["pid"] for _, text in told] == [state["pid"]] * 4 + [0]
    word, text = Path(bundle, "rootfs", inside).read_text().split(" ", 1)
    assert (word, json.loads(text)["status"]) == ("startContainer", "created")


def test_it_ends_with_the_programs_code(runtime: Any) -> None:
    done = runtime(
        "run", "--bundle", runtime.bundle("sh", "-c", "exit 7"), name := runtime.new(), check=False
    )
    assert done.returncode == 7
    assert "does not exist" in runtime("state", name, check=False).stderr


def test_another_process_with_the_pid_is_left_alone(runtime: Any, tmp_path: Path) -> None:
    """A pid that was given to somebody else: the start time tells."""
    name = runtime.create(runtime.bundle("sleep", "1000"))
    runtime("kill", name, "KILL")
    runtime.wait(name)
    with subprocess.Popen(["sleep", "1000"]) as other:
        file = tmp_path / "state" / name / "state.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "pid": other.pid}))
        assert runtime.state(name)["status"] == "stopped"
        assert runtime("kill", name, "KILL", check=False).returncode == 1
        runtime("delete", "--force", name)
        assert other.poll() is None
        other.kill()


def test_a_program_that_is_not_there_is_said_at_create(runtime: Any) -> None:
    said = runtime.refusal(lambda _: None, "nothere")
    assert said == 'exec: "nothere": executable file not found in $PATH'


def test_a_failed_hook_leaves_nothing(runtime: Any) -> None:
    bad = {"path": "/bin/sh", "args": ["sh", "-c", "echo too bad; exit 3"]}
    said = runtime.refusal(lambda config: config.update(hooks={"createRuntime": [bad]}))
    assert said == "the hook createRuntime[0], /bin/sh, failed with exit code 3: too bad"
    slow = {"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}
    said = runtime.refusal(lambda config: config.update(hooks={"createContainer": [slow]}))
    assert "took more than 1 seconds" in said


def test_a_create_that_was_killed_can_be_deleted(runtime: Any, tmp_path: Path) -> None:
    hooks = {
        "createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 999"]}
        ]
    }
    bundle, name = runtime.bundle("true", change=lambda config: config.update(hooks=hooks)), runtime.new()
    words = runtime.command("create", "-b", bundle, name)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as create:
        end = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert runtime.state(name)["status"] == "creating"
        create.kill()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    runtime.wait(name)
    runtime("delete", name)


def test_exec(runtime: Any, tmp_path: Path) -> None:
    name = runtime.create(runtime.bundle("sleep", "1000"))
    runtime("start", name)
    done = runtime(
        "exec", "--env", "A=b", "--cwd", "/tmp", name, "sh", "-c", "echo $A $PWD; exit 4", check=False
    )
    assert (done.stdout, done.returncode) == ("b /tmp\n", 4)
    process = {"args": ["sh", "-c", "echo $$ > /tmp/pid; exec sleep 1000"], "cwd": "/", "user": {}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    file = str(tmp_path / "process.json")
    words = ("--detach", "--pid-file", str(tmp_path / "pid"), "--process", file)
    runtime("exec", *words, name, stdout=subprocess.DEVNULL)
    words = Path(f"/proc/{(tmp_path / 'pid').read_text()}/cmdline")
    until(lambda: words.read_bytes() == b"sleep\x001000\0")  # empty in the middle of execve(2)
    missing = runtime("exec", name, "nothere", check=False)
    assert (missing.returncode, missing.stderr) == (
        255,
        'exec: "nothere": executable file not found in $PATH\n',
    )


def received(listener: socket.socket) -> int:
    channel, _ = listener.accept()
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    channel.close()
    return array.array("i", ancillary[0][2])[0]


def test_a_terminal_goes_out_through_the_console_socket(runtime: Any, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["process"] |= {"terminal": True, "consoleSize": {"height": 33, "width": 77}}

    bundle = runtime.bundle("sh", "-c", "tty; stty size; test -c /dev/console && echo done", change=change)
    assert "--console-socket" in runtime("create", "-b", bundle, runtime.new(), check=False).stderr
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "c"))
        listener.listen()
        name = runtime.create(bundle, "--console-socket", str(tmp_path / "c"))
        terminal = received(listener)
    runtime("start", name)
    seen = b""
    while b"done" not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    assert seen.split() == [b"/dev/pts/0", b"33", b"77", b"done"]


def test_descriptors_are_passed_on(runtime: Any, tmp_path: Path) -> None:
    file = tmp_path / "passed"
    fd = os.open(file, os.O_WRONLY | os.O_CREAT)
    bundle = runtime.bundle("sh", "-c", "echo hello >&3; ls /proc/self/fd > /tmp/open")
    with (tmp_path / "null").open("w") as output:
        runtime(
            "run", "--preserve-fds", "1", "-b", bundle, runtime.new(), stdout=output,
            preexec_fn=lambda: os.dup2(fd, 3), pass_fds=(3,),
        )  # fmt: skip
    os.close(fd)
    assert file.read_text() == "hello\n"
    assert Path(bundle, "rootfs/tmp/open").read_text().split()[:4] == ["0", "1", "2", "3"]
    assert (
        "descriptor 3 is not open"
        in runtime("run", "--preserve-fds", "1", "-b", bundle, "x", check=False).stderr
    )


def test_what_a_config_asks_is_there(runtime: Any) -> None:
    """Many small things in one container."""

    def change(config: dict[str, Any]) -> None:
        config["domainname"] = "example"
        config["process"]["user"] = {"uid": 0, "gid": 0, "umask": 0o27}
        config["process"]["oomScoreAdj"] = 500
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
        config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
        config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
        config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE"}
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": 4_000_000_000}}
        config["linux"]["personality"] = {"domain": "LINUX32"}
        config["mounts"] += [
            {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]},
            {"destination": "/new/place", "source": "rootfs/srv", "options": ["bind", "ro"]},
        ]

    script = """
    hostname; cat /proc/sys/kernel/domainname; umask; cat /proc/self/oom_score_adj; ulimit -n
    cat /proc/sys/net/ipv4/ip_forward; uname -m; grep -c user /etc/passwd
    touch /etc/x 2>/dev/null || echo read-only; touch /new/place/x 2>/dev/null || echo read-only
    cat /proc/kcore 2>/dev/null | wc -c; echo x > /proc/sys/kernel/panic || echo refused
    cut -d' ' -f 19,41 /proc/self/stat; cut -c 1 /proc/uptime
    """
    words = runtime.run("sh", "-c", f"exec 2>/dev/null\n{script}", change=change).split()
    machine = "i686" if os.uname().machine == "x86_64" else os.uname().machine
    assert words == [
        "nacre", "example", "0027", "500", "100", "1", machine, "1", "read-only", "read-only", "0", "refused",
        "5", "3", "4",
    ]  # fmt: skip


def test_a_filter_of_system_calls(runtime: Any) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    change = lambda config: config["linux"].update(seccomp=seccomp)  # noqa: E731
    assert "No space left" in runtime.run("sh", "-c", "mkdir /x 2>&1; true", change=change)


def test_errors_go_to_the_log(runtime: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [*runtime.command()[:-2], "--log", str(log), "--log-format", "json", "start", "nothere"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    line = json.loads(log.read_text())
    assert line["level"] == "error"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line["time"])


def test_groups_freeze_limits_and_processes(runtime: Any) -> None:
    needs_root()

    def change(config: dict[str, Any]) -> None:
        config["linux"]["resources"]["pids"] = {"limit": 50}
        config["linux"]["cgroupsPath"] = f"/oci-test-{os.getpid()}"

    name = runtime.create(runtime.bundle("sleep", "1000", change=change))
    runtime("start", name)
    state = runtime.state(name)
    found = json.loads(runtime("ps", "--format", "json", name).stdout)
    assert found == [state["pid"]]
    groups = Path(f"/proc/{state['pid']}/cgroup").read_text()
    if "pids" not in groups:
        pytest.skip("no pids controller here")
    runtime("pause", name)
    assert runtime.state(name)["status"] == "paused"
    runtime("resume", name)
    runtime("delete", "--force", name)


def test_spec_and_features(runtime: Any, tmp_path: Path) -> None:
    runtime("spec", "--bundle", str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["process"]["args"] == ["sh"]
    assert runtime("spec", "--bundle", str(tmp_path), check=False).returncode == 1
    found = json.loads(runtime("features").stdout)
    assert "createContainer" in found["hooks"]
    assert "rro" in found["mountOptions"]


def test_help(runtime: Any) -> None:
    assert runtime("help").stdout.startswith("Usage: nacre-runtime ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create",), "takes a container id"),
        (("state", "../x"), "invalid container id"),
        (("checkpoint", "x"), "no checkpoint"),
        (("--systemd-cgroup", "state", "x"), "--systemd-cgroup is not supported"),
        (("create", "--nothing", "x"), "has no flag --nothing"),
        (("kill", "x", "NOTHING"), "does not exist"),
        (("fly",), "has no command 'fly'"),
        (("list", "--format", "xml"), "--format is 'xml'"),
        (("--log-format", "xml", "list"), "--log-format is 'xml'"),
        (("state", "a" * 1025), "invalid container id"),
        (("exec", "x"), "does not exist"),
    ],
)
def test_what_is_refused(runtime: Any, words: tuple[str, ...], said: str) -> None:
    done = runtime(*words, check=False)
    assert done.returncode in (1, 255)
    assert said in done.stderr
