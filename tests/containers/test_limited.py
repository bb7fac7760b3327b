"""Containers with limits: that they hold, can be changed and seen, and that nothing stays."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from nacre.ground import userns
from nacre.ground.limits.hierarchies import places
from nacre.ground.linux import start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Nacre

MIB = 1 << 20
EAT = "exec tail -c 100m /dev/zero"
FORK = "cat | cat | cat | cat | cat | cat | cat"


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No control group with limits is there afterwards. Only root makes any; others may see root's."""
    before = left()
    yield
    assert os.geteuid() or set(left()) <= set(before)


def left() -> list[str]:
    """One for each container, in a hierarchy that all are in."""
    folders = [place.folder for place in places() if "memory" in place.controllers]
    return [f"{each}/{name}" for each in folders for name in os.listdir(each) if name.startswith("nacre.")]


def needs_limits(*controllers: str) -> None:
    """Skip, visibly, unless limits can be had in hierarchies of version 1."""
    there = {name for place in places() if place.version == 1 for name in place.controllers}
    if not userns.is_first() or os.geteuid() or not there.issuperset(controllers):
        pytest.skip(f"needs root, and control groups of version 1 for {', '.join(controllers)}")


def field(nacre: Nacre, name: str, form: str) -> str:
    return nacre("inspect", "-f", form, name).out.strip()


def file(nacre: Nacre, name: str, controller: str, path: str) -> str:
    """A file of the group that the first process of a container is in."""
    pid = field(nacre, name, "{{.State.Pid}}")
    place = next(each for each in places(pid) if controller in each.controllers)
    return Path(place.folder, path).read_text().strip()


def test_limits_hold_for_all_processes(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory", "cpu", "cpuset", "pids")
    nacre(
        "run", "-d", "--name", "web", "-m", "32m", "--cpus", "0.5", "--cpuset-cpus", "0", "--pids-limit", "4",
        "-c", "512", busybox_image, "sleep", "1000",
    )  # fmt: skip
    assert file(nacre, "web", "memory", "memory.limit_in_bytes") == str(32 * MIB)
    assert file(nacre, "web", "memory", "memory.memsw.limit_in_bytes") == str(64 * MIB)
    assert file(nacre, "web", "cpu", "cpu.cfs_quota_us") == "50000"
    assert file(nacre, "web", "cpu", "cpu.shares") == "512"
    assert nacre("exec", "web", "grep", "Cpus_allowed_list", "/proc/self/status").out.split()[1] == "0"
    assert "can't fork" in nacre("exec", "web", "sh", "-c", FORK, check=False).err
    host = nacre("inspect", "web").json[0]["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (32 * MIB, 64 * MIB)
    assert (host["NanoCpus"], host["CpuShares"]) == (500000000, 512)
    assert field(nacre, "web", "{{.HostConfig.PidsLimit}} {{.HostConfig.CpusetCpus}}") == "4 0"
    nacre("rm", "-f", "web")


def oom_events(nacre: Nacre) -> list[str]:
    told = nacre("events", "--since", "1", "--until", "0s", "-f", "event=oom", "--format",
                 "{{.Actor.Attributes.name}}")  # fmt: skip
    return list(told.lines)


@pytest.mark.parametrize("runtime", ["builtin", "crun", "runc"])
def test_memory_that_runs_out_is_seen(nacre: Nacre, busybox_image: str, runtime: str) -> None:
    """By the exit code, `inspect` and an event; also of a child, and of a group that its runtime removes."""
    needs_limits("memory")
    needs_runtime(runtime)
    start = ("run", "--network", "none", "--runtime", runtime, "-m", "16m", "--name")
    done = nacre(*start, "first", busybox_image, "sh", "-c", EAT, check=False)
    assert done.code == 137
    assert field(nacre, "first", "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"
    child = f"({EAT}); echo went on"
    done = nacre(*start, "child", busybox_image, "sh", "-c", child, check=False)
    assert (done.code, done.out) == (0, "went on\n")
    assert field(nacre, "child", "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 0"
    nacre(*start, "none", busybox_image, "true")
    assert field(nacre, "none", "{{.State.OOMKilled}}") == "false"
    assert oom_events(nacre) == ["first", "child"]


def needs_runtime(name: str) -> None:
    if name != "builtin" and not shutil.which(name):
        pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("runtime", ["builtin", "crun"])
def test_memory_that_runs_out_is_told_at_once(nacre: Nacre, busybox_image: str, runtime: str) -> None:
    """While the container runs, also when its supervisor waits unloaded; and not again at its end."""
    needs_limits("memory")
    needs_runtime(runtime)
    events = nacre.start("events", "-f", "event=oom", "--format", "{{.Action}}", "--since", "1")
    script = f"mkfifo /host/go; (read line < /host/go; {EAT}); exec sleep 1000"
    nacre(
        "run", "-d", "--name", "web", "--network", "none", "--runtime", runtime, "-m", "16m",
        "-v", f"{nacre.folder}:/host", busybox_image, "sh", "-c", script,
    )  # fmt: skip
    while not (nacre.folder / "go").exists():
        os.sched_yield()
    if runtime == "builtin":
        wait_until_unloaded(nacre, "web")
    (nacre.folder / "go").write_text("x\n")
    assert events.stdout.readline() == b"oom\n"
    assert field(nacre, "web", "{{.State.OOMKilled}} {{.State.Status}}") == "true running"
    nacre("rm", "-f", "web")
    events.terminate()
    assert events.communicate()[0] == b""


def wait_until_unloaded(nacre: Nacre, name: str) -> None:
    """Until its supervisor is the program of one page."""
    pid = int(field(nacre, name, "{{.State.Pid}}"))
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    until = monotonic() + 30
    while os.uname().machine == "x86_64" and "memfd:nacre" not in os.readlink(f"/proc/{parent}/exe"):
        assert monotonic() < until
        os.sched_yield()


def test_memory_that_runs_out_is_seen_while_it_runs(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory")
    nacre("run", "-d", "--name", "web", "-m", "16m", busybox_image, "sleep", "1000")
    nacre("exec", "web", "sh", "-c", EAT, check=False)
    assert field(nacre, "web", "{{.State.OOMKilled}} {{.State.Status}}") == "true running"
    nacre("stop", "-t", "0", "web")
    assert field(nacre, "web", "{{.State.OOMKilled}} {{.State.Status}}") == "true exited"
    nacre("start", "web")
    assert field(nacre, "web", "{{.State.OOMKilled}}") == "false"
    nacre("rm", "-f", "web")


def test_nothing_stays_of_a_killed_supervisor(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory")
    look: list[Callable[[], object]] = [
        lambda: nacre("ps"), lambda: nacre("rm", "web"), lambda: nacre("start", "web"),
        lambda: nacre("system", "prune", "-f"),
    ]  # fmt: skip
    for seen in look:
        nacre("run", "-d", "--name", "web", "-m", "32m", busybox_image, "sleep", "1000")
        kill_supervisor(nacre, "web")
        assert left()
        seen()
        nacre("rm", "-f", "web", check=False)
        assert left() == []


def kill_supervisor(nacre: Nacre, name: str) -> None:
    pid = int(field(nacre, name, "{{.State.Pid}}"))
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent > 1
    os.kill(parent, signal.SIGKILL)
    while start_time(pid):  # the kernel ends it at once
        os.sched_yield()


def test_limits_are_kept_for_a_later_start(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("pids")
    nacre("create", "--name", "web", "--pids-limit", "3", busybox_image, "sh", "-c", FORK)
    assert "can't fork" in nacre("start", "-a", "web", check=False).err
    nacre("update", "--pids-limit", "-1", "web")
    assert nacre("start", "-a", "web").err == ""


def test_update_of_one_that_runs(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory", "cpu", "cpuset", "pids")
    nacre("run", "-d", "--name", "web", busybox_image, "sh", "-c", "sleep 1000 & exec sleep 1000")
    assert nacre("update", "-m", "64m", "--pids-limit", "3", "web").out == "web\n"
    assert file(nacre, "web", "memory", "memory.limit_in_bytes") == str(64 * MIB)
    while file(nacre, "web", "pids", "pids.current") != "2":  # its shell has yet to begin the other
        os.sched_yield()
    nacre("update", "--cpuset-cpus", "0", "--cpu-quota", "20000", "web")
    assert file(nacre, "web", "cpuset", "cpuset.cpus") == "0"
    assert file(nacre, "web", "cpu", "cpu.cfs_quota_us") == "20000"
    nacre("update", "-m", "128m", "--memory-swap", "256m", "web")
    assert file(nacre, "web", "memory", "memory.limit_in_bytes") == str(128 * MIB)
    assert field(nacre, "web", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}") == f"{128 * MIB} 3"
    nacre("stop", "-t", "0", "web")
    assert left() == []
    nacre("start", "web")
    assert file(nacre, "web", "memory", "memory.limit_in_bytes") == str(128 * MIB)
    nacre("rm", "-f", "web")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "you must provide one or more flags when using this command\n"),
        (["-m", "1m"], "Minimum memory limit allowed is 6MB\n"),
        (
            ["-m", "1g"],
            "Memory limit should be smaller than already set memoryswap limit, ",
        ),
        (["--cpus", "1000"], "range of CPUs is from 0.01 to "),
        (["--cpuset-cpus", "0-99999"], "Requested CPUs are not available - requested 0-99999, available: "),
    ],
)
def test_updates_that_are_refused(nacre: Nacre, busybox_image: str, words: list[str], said: str) -> None:
    nacre("create", "--name", "web", "-m", "64m", busybox_image)
    done = nacre("update", *words, "web", check=False)
    assert done.code == 1
    assert f"nacre: {said}" in done.err
    assert field(nacre, "web", "{{.HostConfig.Memory}}") == str(64 * MIB)
    missing = nacre("update", "-m", "64m", "nobody", check=False)
    assert missing.err == "nacre: No such container: nobody\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "1m"], "Minimum memory limit allowed is 6MB\n"),
        (["--cpus", "1000"], "range of CPUs is from 0.01 to "),
        (["--cpuset-mems", "x"], "Invalid value x for cpuset mems: invalid format: x\n"),
        (
            ["--device-read-bps", "/dev/null:1mb"],
            "cannot limit the device /dev/null: it is not a block device",
        ),
        (["--cgroup-parent", "../x"], "invalid cgroup parent '../x': it must be a path without '..'\n"),
        (["--memory-swappiness", "101"], "invalid value: 101. Valid memory swappiness range is 0-100\n"),
    ],
)
def test_bad_values_make_nothing(nacre: Nacre, busybox_image: str, words: list[str], said: str) -> None:
    for command, code in (("run", 125), ("create", 1)):
        done = nacre(command, *words, busybox_image, "true", check=False)
        assert (done.code, done.out) == (code, "")
        assert f"nacre: {said}" in done.err
    assert nacre("ps", "-aq").out == ""


def test_what_cannot_be_limited_is_said(nacre: Nacre, busybox_image: str) -> None:
    if userns.is_first() and not os.geteuid():
        pytest.skip("root may limit everything")
    done = nacre("run", "--rm", "-m", "64m", "--pids-limit", "9", busybox_image, "echo", "x", check=False)
    assert done.out == "x\n"
    names = [line.split(" ")[1] for line in done.err.splitlines()]
    if names != []:  # nothing is delegated to this user
        assert names == ["--memory", "--pids-limit"]
        assert all(" ignored: " in line for line in done.err.splitlines())


def test_a_parent(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory")
    memory = next(place for place in places() if "memory" in place.controllers)
    parent = f"nacre-parent-{os.getpid()}"
    try:
        nacre("run", "-d", "--name", "web", "--cgroup-parent", parent, busybox_image, "sleep", "1000")
        pid = field(nacre, "web", "{{.State.Pid}}")
        found = next(place for place in places(pid) if "memory" in place.controllers)
        assert os.path.dirname(found.folder) == f"{memory.folder}/{parent}"
        assert field(nacre, "web", "{{.HostConfig.CgroupParent}}") == parent
        nacre("rm", "-f", "web")
    finally:
        for place in places():
            if os.path.isdir(f"{place.folder}/{parent}"):
                os.rmdir(f"{place.folder}/{parent}")


ESCAPE = """
for name in /sys/fs/cgroup/* /sys/fs/cgroup/*/*; do
  test -f $name && echo 1 > $name && echo wrote $name
done 2>/dev/null
mkdir /sys/fs/cgroup/sub 2>/dev/null && echo made
mkdir /sys/fs/cgroup/memory/sub 2>/dev/null && echo made
for kind in cgroup cgroup2; do mount -t $kind -o memory none /tmp 2>/dev/null && echo mounted $kind; done
for place in /sys/fs/cgroup /sys/fs/cgroup/memory; do
  mount -o remount,rw $place 2>/dev/null && echo remounted
  umount $place 2>/dev/null && echo unmounted
done
grep memory: /proc/self/cgroup
"""


def test_a_program_cannot_change_its_limits(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory")
    for words in ([], ["--cap-add", "DAC_OVERRIDE"], ["--cgroupns", "host"]):
        done = nacre("run", "--rm", "-m", "64m", *words, busybox_image, "sh", "-c", ESCAPE)
        assert done.lines[:-1] == []
        assert "memory:/" in done.lines[-1]
    assert done.lines[-1].endswith(tuple("0123456789abcdef"))  # the host's namespace shows the path


def test_a_program_sees_its_limits(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory", "pids")
    files = ["memory/memory.limit_in_bytes", "pids/pids.max"]
    words = ["run", "--rm", "-m", "64m", "--pids-limit", "9", busybox_image]
    shown = nacre(*words, "cat", *(f"/sys/fs/cgroup/{each}" for each in files)).out.split()
    assert shown == [str(64 * MIB), "9"]
    options = nacre(*words, "grep", "/sys/fs/cgroup", "/proc/self/mountinfo").lines
    assert options
    assert all(line.split()[5].startswith("ro,") for line in options)


def test_stats(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "web", busybox_image, "sleep", "1000")
    nacre("create", "--name", "later", busybox_image)
    head, row = nacre("stats", "--no-stream").lines
    assert head.split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert head.endswith("PIDS")
    assert row.split()[1] == "web"
    assert row.split()[-1] == "1"
    found = nacre("stats", "--no-stream", "--format", "json", "web").json
    assert set(found) == {
        "BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs",
    }  # fmt: skip
    assert (found["Container"], found["Name"], found["CPUPerc"][-1]) == ("web", "web", "%")
    used, _, limit = found["MemUsage"].partition(" / ")
    assert used.endswith(("KiB", "MiB"))
    assert limit.endswith("iB")
    assert len(nacre("stats", "--no-stream", "-a").lines) == 3
    form = "{{.Name}} {{.PIDs}} {{.MemUsage}} {{.NetIO}}"
    assert nacre("stats", "--no-stream", "--format", form, "later").out == "later 0 0B / 0B 0B / 0B\n"
    missing = nacre("stats", "--no-stream", "nobody", check=False)
    assert (missing.code, missing.err) == (1, "nacre: No such container: nobody\n")
    nacre("rm", "-f", "web")


def test_stats_with_limits(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory", "cpu")
    script = "while :; do :; done"
    nacre("run", "-d", "--name", "web", "-m", "64m", "--cpus", "0.2", busybox_image, "sh", "-c", script)
    found = nacre("stats", "--no-stream", "--format", "json", "web").json
    assert found["MemUsage"].endswith(" / 64MiB")
    assert 0 < float(found["CPUPerc"][:-1]) < 60
    nacre("rm", "-f", "web")


def test_update_of_the_restart_policy(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "web", busybox_image, "true")
    nacre("update", "--restart", "on-failure:3", "web")
    assert nacre("inspect", "web").json[0]["HostConfig"]["RestartPolicy"] == {
        "Name": "on-failure",
        "MaximumRetryCount": 3,
    }
    assert "unknown policy 'foo'" in nacre("update", "--restart", "foo", "web", check=False).err
    nacre("create", "--rm", "--name", "gone", busybox_image, "true")
    done = nacre("update", "--restart", "always", "gone", check=False)
    assert "Restart policy cannot be updated because AutoRemove is enabled for the container" in done.err


def test_a_policy_that_was_updated_is_followed(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--restart", "always", "--name", "web", busybox_image, "sleep", "1000")
    nacre("update", "--restart", "no", "web")
    pid = int(field(nacre, "web", "{{.State.Pid}}"))
    nacre("exec", "web", "sh", "-c", "kill -9 -1", check=False)
    os.kill(pid, signal.SIGKILL) if start_time(pid) else None
    assert nacre("wait", "web").out.strip() == "137"
    assert field(nacre, "web", "{{.State.Status}}") == "exited"


def test_stats_are_drawn_on_a_terminal(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "web", busybox_image, "sleep", "1000")
    pid, terminal = pty.fork()
    if not pid:
        os.execve(
            sys.executable, [sys.executable, "-m", "nacre", "--root", str(nacre.root), "stats"], nacre.env
        )
    seen = b""
    while seen.count(b"\x1b[H\x1b[J") < 2:
        seen += os.read(terminal, 4096)
    os.kill(pid, signal.SIGINT)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"CONTAINER ID" in seen
    assert b"web" in seen
    nacre("rm", "-f", "web")


def test_limits_hold_where_nothing_can_be_mounted(nacre: Nacre, busybox_tar: bytes) -> None:
    """Root of a pod, whose control groups can be written."""
    needs_limits("memory")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    less = (
        "unshare",
        "-m",
        "setpriv",
        "--bounding-set=-sys_admin",
        "--inh-caps=-sys_admin",
        "--no-new-privs",
    )

    def pod(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        line = [*less, sys.executable, "-P", "-m", "nacre", "--root", str(nacre.root), *words]
        return subprocess.run(line, env=nacre.env, input=data, capture_output=True, check=False)

    assert pod("import", "-", "busybox:test", data=busybox_tar).returncode == 0
    done = pod("run", "-d", "--name", "web", "-m", "16m", "busybox:test", "/bin/sleep", "1000")
    assert done.returncode == 0, done.stderr
    assert pod("exec", "web", "/bin/sh", "-c", EAT.replace("tail", "/bin/tail")).returncode == 137
    assert b"true" in pod("inspect", "-f", "{{.State.OOMKilled}}", "web").stdout
    assert pod("rm", "-f", "web").returncode == 0


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_another_runtime_sets_them(nacre: Nacre, busybox_image: str, runtime: str) -> None:
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    words = ("run", "--rm", "--runtime", runtime, "-m", "32m", busybox_image, "sh", "-c")
    if userns.is_first() and not os.geteuid():
        assert nacre(*words, EAT, check=False).code == 137
    else:
        done = nacre(*words, "true", check=False)  # without a limit, EAT never ends
        said = f"WARNING: limits ignored: the runtime {runtime} makes no control groups for ordinary users"
        assert said in done.err


def test_a_step_of_a_build_has_limits(nacre: Nacre, busybox_image: str) -> None:
    needs_limits("memory")
    Path(nacre.folder, "Dockerfile").write_text(f"FROM {busybox_image}\nRUN {EAT}\n")
    done = nacre("build", "-m", "32m", ".", check=False)
    assert done.code != 0
    assert "did not complete successfully: exit code: 137" in done.err
