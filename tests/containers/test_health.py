"""Health checks of containers that run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_supervisor import parent, pid_of

from nacre.ground.monitor.loop import EventLoop
from nacre.images.model.healthcheck import HealthCheck
from nacre.services.containers import probe
from nacre.services.containers.health import HealthMonitor, read

if TYPE_CHECKING:
    from conftest import Nacre

FAST = ["--health-interval", "50ms", "--health-retries", "2"]


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def health(nacre: Nacre, name: str = "box") -> dict[str, Any]:
    found: dict[str, Any] = nacre("inspect", "-f", "{{json .State.Health}}", name).json
    return found


def status(nacre: Nacre, wanted: str) -> dict[str, Any]:
    """The health of the container once it has that status."""
    return until(lambda: (found := health(nacre))["Status"] == wanted and found)  # type: ignore[no-any-return]


def test_states(nacre: Nacre, busybox_image: str) -> None:
    check = "test -e /ok || { echo no; echo more >&2; exit 3; }"
    code = ["sh", "-c", "trap exit TERM; while true; do sleep 1; done"]
    words = ["--name", "box", "--health-cmd", check, *FAST, "--health-start-period", "1h"]
    nacre("run", "-d", *words, "--health-start-interval", "50ms", busybox_image, *code)
    until(lambda: len(health(nacre)["Log"]) == 5)
    found = health(nacre)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    assert {(one["ExitCode"], one["Output"]) for one in found["Log"]} == {(3, "no\nmore\n")}
    assert found["Log"][0]["Start"] < found["Log"][0]["End"] <= found["Log"][1]["Start"]
    assert " (health: starting)" in nacre("ps", "--format", "{{.Status}}").out
    nacre("exec", "box", "touch", "/ok")
    status(nacre, "healthy")
    assert nacre("ps", "--format", "{{.Status}}").out.endswith(" (healthy)\n")
    assert nacre("ps", "-qf", "health=healthy").lines == [nacre("ps", "-q").out.strip()]
    assert nacre("ps", "-qf", "health=none").out + nacre("ps", "-qf", "health=unhealthy").out == ""
    nacre("exec", "box", "rm", "/ok")
    assert status(nacre, "unhealthy")["FailingStreak"] >= 2
    assert nacre("exec", "box", "ps").out.count("\n") <= 7, "those of checks that ended are gone"
    nacre("stop", "box")
    assert health(nacre)["Status"] == "unhealthy"
    assert nacre("ps", "-aqf", "health=unhealthy").out != ""
    nacre("start", "box")
    assert health(nacre)["Status"] == "starting"
    nacre("rm", "-f", "box")


def test_a_check_that_takes_too_long_is_killed(nacre: Nacre, busybox_image: str) -> None:
    check = "echo begun; sleep 1000 & sleep 1001; true"
    words = ["--health-cmd", check, "--health-interval", "20ms", "--health-timeout", "300ms"]
    nacre("run", "-d", "--name", "box", *words, "--health-retries", "1", busybox_image, "sleep", "1002")
    late = {"ExitCode": -1, "Output": "Health check exceeded timeout (300ms): begun\n"}  # or before it begins
    until(lambda: any(late.items() <= one.items() for one in status(nacre, "unhealthy")["Log"]))
    nacre("pause", "box")
    until(lambda: not any("sleep 1001" in line for line in processes(nacre)))
    count = health(nacre)["FailingStreak"]
    nacre("unpause", "box")
    until(lambda: health(nacre)["FailingStreak"] > count)
    nacre("rm", "-f", "box")


def processes(nacre: Nacre) -> list[str]:
    return nacre("top", "box", check=False).lines


MARK = 80_000_000 + os.getpid()


def test_a_killed_supervisor_leaves_no_check(nacre: Nacre, busybox_image: str) -> None:
    words = ["--health-cmd", f"sleep {MARK}", "--health-interval", "20ms"]
    nacre("run", "-d", "--name", "box", *words, busybox_image, "sleep", "1000")
    until(sleepers)
    os.kill(parent(pid_of(nacre, "box")), signal.SIGKILL)
    until(lambda: not sleepers())
    assert nacre("ps", "-aqf", "status=exited", "-f", "exited=137").out != ""
    assert health(nacre)["Status"] == "unhealthy"
    nacre("rm", "box")


def sleepers() -> list[str]:
    """Processes of this machine that have the number as an argument."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:1] == [b"sleep"] and str(MARK).encode() in words:
            found.append(name)
    return found


def test_output_is_cut(nacre: Nacre, busybox_image: str) -> None:
    words = ["--health-cmd", "seq 5000", *FAST]
    nacre("run", "-d", "--name", "box", *words, busybox_image, "sleep", "1000")
    (first, *_) = status(nacre, "healthy")["Log"]
    assert len(first["Output"]) == 4096 + len("...")
    assert first["Output"].startswith("1\n2\n")
    nacre("rm", "-f", "box")


def test_programs_of_the_image(nacre: Nacre, busybox_image: str) -> None:
    """Without a shell; as the user, in the folder and with the variables of the container."""
    change = 'HEALTHCHECK --interval=50ms CMD ["sh", "-c", "pwd; id -u; echo $A; test -t 0"]'
    nacre("create", "--name", "plain", busybox_image)
    nacre("commit", "--change", change, "plain", "checked")
    nacre("run", "-d", "--name", "box", "-w", "/srv", "-u", "user", "-e", "A=1", "checked", "sleep", "1000")
    (first, *_) = until(lambda: health(nacre)["Log"])
    assert (first["ExitCode"], first["Output"]) == (1, "/srv\n1000\n1\n")
    nacre("rm", "-f", "box")
    for words in (["--no-healthcheck"], ["--health-interval", "1h", "--runtime", "builtin"]):
        nacre("run", "-d", "--name", "box", *words, "checked", "sleep", "1000")
        (document,) = nacre("inspect", "box").json
        test, known = document["Config"]["Healthcheck"]["Test"], document["State"].get("Health")
        assert (test == ["NONE"], known is None) == (("--no-healthcheck" in words),) * 2
        nacre("rm", "-f", "box")


def test_a_command_that_is_missing(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "plain", busybox_image)
    nacre("commit", "--change", 'HEALTHCHECK --interval=50ms --retries=1 CMD ["nosuch"]', "plain", "checked")
    nacre("run", "-d", "--name", "box", "checked", "sleep", "1000")
    (first, *_) = status(nacre, "unhealthy")["Log"]
    assert (first["ExitCode"], first["Output"]) == (-1, 'exec: "nosuch": executable file not found in $PATH')
    nacre("rm", "-f", "box")


def test_containers_that_are_watched(nacre: Nacre, busybox_image: str) -> None:
    """The command in the foreground probes as well, and nothing is left of a check when it ends."""
    words = ["--rm", "--name", "box", "--health-cmd", "touch /ok; sleep 1000", *FAST]
    code = ["sh", "-c", "until test -e /ok; do sleep 0.1; done; echo done"]
    assert nacre("run", *words, busybox_image, *code).out == "done\n"
    assert nacre("ps", "-aq").out == ""


def test_options_without_a_command(nacre: Nacre, busybox_image: str) -> None:
    done = nacre("run", "--rm", "--health-interval", "5s", busybox_image, "echo", "x")
    assert (done.out, done.err) == (
        "x\n",
        "WARNING: health check options ignored: neither --health-cmd nor the image has a command\n",
    )


# the monitor by itself


def answering(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(probe, "words", lambda *_: ["/bin/sh", "-c", answer])


@pytest.mark.parametrize(
    ("answer", "code", "output"),
    [
        ('echo \'{"ExitCode": 0, "Output": "x"}\'', 0, "x"),
        ("kill -9 $$", -1, "the health check was killed"),
        ("echo nonsense", -1, "the health check was killed"),
        ("echo '[]'", -1, "the health check was killed"),
    ],
)
def test_whatever_a_probe_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, output: str
) -> None:
    answering(monkeypatch, answer)
    loop, told = EventLoop(), list[str]()
    monitor = HealthMonitor(loop, HealthCheck(("x",), 0.001, 30, 0, 5, 1), str(tmp_path), told.append)
    monitor.begin({})
    before = len(os.listdir("/proc/self/fd"))
    while not (known := read(f"{tmp_path}/health"))["Log"]:
        loop.wait({})
    monitor.close()
    assert (known["Log"][0]["ExitCode"], known["Log"][0]["Output"]) == (code, output)
    assert known["Status"] == ("unhealthy" if code else "healthy")
    assert told == [known["Status"]]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_probe_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when another process has its end of the pipe; then there is a next one."""
    answering(monkeypatch, f"echo $$ >> {tmp_path}/pids; sleep {MARK} & echo $! >> {tmp_path}/pids; wait")
    monkeypatch.setattr(HealthMonitor, "grace", 0.2)
    loop = EventLoop()
    monitor = HealthMonitor(loop, HealthCheck(("x",), 0.001, 0.1, 0, 5, 2), str(tmp_path), [].append)
    monitor.begin({})
    while len((known := read(f"{tmp_path}/health"))["Log"]) < 2:
        loop.wait({})
    monitor.close()
    for name in sleepers():
        os.kill(int(name), signal.SIGKILL)
    assert known["Status"] == "unhealthy"
    assert {one["Output"] for one in known["Log"]} == {"the health check was killed"}


def test_a_paused_container_is_not_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "exit 1")
    (tmp_path / probe.PAUSED).write_text("1 1")
    loop = EventLoop()
    HealthMonitor(loop, HealthCheck(("x",), 0.001, 30, 0, 5, 1), str(tmp_path), [].append).begin({})
    for _ in range(5):
        loop.wait({})
    assert read(f"{tmp_path}/health")["Log"] == []


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    for data in (b"", b"[]", b'{"Status": 1}'):
        (tmp_path / "health").write_bytes(data)
        assert read(f"{tmp_path}/health") == {"Status": "starting", "FailingStreak": 0, "Log": []}


def test_another_program_waits_for_seldom_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with what is known, as plain values."""
    answering(monkeypatch, 'echo \'{"ExitCode": 1, "Output": "x"}\'')
    first, check = EventLoop(), HealthCheck(("x",), 60, 30, 0, 5, 2)
    monitor = HealthMonitor(first, check, str(tmp_path), [].append)
    monitor.begin({"row": 1})
    assert first.is_idle
    assert first.due
    told = json.loads(json.dumps(monitor.describe()))
    for streak in (1, 2):
        loop, heard = EventLoop(), list[str]()
        monitor = HealthMonitor.adopt(loop, told, heard.append)
        monitor.probe()
        assert not loop.is_idle
        while not loop.is_idle:
            loop.wait({})
        assert read(f"{tmp_path}/health")["FailingStreak"] == streak
    assert heard == ["unhealthy"]
    assert told == json.loads(json.dumps(monitor.describe()))


def test_frequent_checks_keep_the_supervisor(tmp_path: Path) -> None:
    loop = EventLoop()
    HealthMonitor(loop, HealthCheck(("x",), 1, 30, 0, 5, 1), str(tmp_path), [].append).begin({})
    assert not loop.is_idle


def test_the_supervisor_is_small_between_two_checks(nacre: Nacre, busybox_image: str) -> None:
    """The least time between two that it becomes small for."""
    options = ["--network", "none", "--health-cmd", "echo well", "--health-interval", "5s"]
    nacre("run", "-d", "--name", "box", *options, busybox_image, "sleep", "1000")
    supervisor = parent(pid_of(nacre, "box"))
    until(lambda: b"monitor.shim" in Path(f"/proc/{supervisor}/cmdline").read_bytes())
    assert health(nacre)["Log"] == []
    assert status(nacre, "healthy")["Log"][0]["Output"] == "well\n"
    nacre("rm", "-f", "box")
