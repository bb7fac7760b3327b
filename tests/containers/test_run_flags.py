"""Flags of `run` and `create` that docker has, and what they do to a container."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import until

from nacre.ground import userns

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Nacre


@pytest.mark.parametrize(
    ("words", "shown", "said"),
    [
        (["--kernel-memory", "64m"], "x\n", ["kernel-memory"]),
        (["--detach-keys", "ctrl-x"], "x\n", ["detach-keys"]),
        (["--ipc", "host", "--shm-size", "1m"], "x\n", ["shm-size"]),
        (["--no-healthcheck", "--restart=no", "--userns", "host", "--isolation", "default"], "x\n", []),
    ],
)
def test_what_has_no_effect_is_told(
    nacre: Nacre, busybox_image: str, words: list[str], shown: str, said: list[str]
) -> None:
    done = nacre("run", "--rm", *words, busybox_image, "echo", "x")
    assert done.out == shown
    assert [line.split(": ")[1].split(" ")[0] for line in sorted(done.err.splitlines())] == [
        f"--{name}" for name in said
    ]
    assert all(" ignored: " in line for line in done.err.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ip", "10.0.0.1"], "user specified IP address is supported on user defined networks only\n"),
        (["--link", "x"], "--link is not supported: join both containers to a network of yours, "),
        (["--gpus", "some"], "invalid --gpus 'some': count must be an integer or all, not 'some'\n"),
        (["--log-driver", "syslog"], "the log driver syslog is not supported\n"),
        (["--log-driver", "files"], "no log driver named 'files'\n"),
        (["--log-opt", "max-sice=1m"], "unknown log opt 'max-sice' for json-file log driver\n"),
        (["--log-driver", "none", "--log-opt", "tag=x"], "unknown log opt 'tag' for none log driver\n"),
        (["--volume-driver", "nfs"], "the only volume driver is local"),
        (
            ["--no-healthcheck", "--health-cmd", "x"],
            "--no-healthcheck conflicts with the options of a health check\n",
        ),
        (["--health-cmd", "x", "--health-retries", "-1"], "--health-retries cannot be negative\n"),
        (
            ["--health-cmd", "x", "--health-interval", "5us"],
            'invalid argument "5us" for "--health-interval" flag: ',
        ),
        (["--uts", "host", "-h", "box"], "conflicting options: hostname and the UTS mode\n"),
        (["-d", "-a", "stdout"], "conflicting options: cannot specify both --attach and --detach\n"),
        (
            ["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
            "sysctl 'net.ipv4.ip_forward' is not allowed in the network",
        ),
        (["--sysctl", "kernel.panic=1"], "sysctl 'kernel.panic' is not in a separate kernel namespace\n"),
        (["--ipc", "host", "--sysctl", "kernel.shmmax=1"], "sysctl 'kernel.shmmax' is not in a separate"),
        (["--ulimit", "nofile=99999999999"], "cannot set the limit nofile to 99999999999: at most "),
        (["--group-add", "nobody-knows"], "unable to find group nobody-knows: no matching entries"),
        (["--volumes-from", "nobody"], "No such container: nobody\n"),
        (["--disable-content-trust=false"], "content trust is not supported\n"),
    ],
)
def test_what_cannot_be_done_is_refused(
    nacre: Nacre, busybox_image: str, words: list[str], said: str
) -> None:
    done = nacre("run", "--rm", *words, busybox_image, "true", check=False)
    assert (done.code, done.out) == (125, "")
    assert done.err.startswith(f"nacre: {said}")
    assert nacre("ps", "-aq").out == ""


def test_another_runtime_has_no_health_checks(
    nacre: Nacre, busybox_image: str, peer: Callable[..., None]
) -> None:
    peer("crun")
    done = nacre("run", "--rm", "--health-cmd", "x", "--runtime", "crun", busybox_image, "true", check=False)
    assert (done.code, done.out) == (125, "")
    assert done.err.startswith("nacre: health checks are not possible with the runtime crun\n")


def test_ports_need_a_network_of_their_own(nacre: Nacre, busybox_image: str) -> None:
    for mode in ("host", "none"):
        done = nacre("run", "--rm", "--network", mode, "-p", "80", busybox_image, "true")
        assert done.err == f"WARNING: Published ports are discarded when using {mode} network mode\n"


def test_streams(nacre: Nacre, busybox_image: str) -> None:
    code = ["sh", "-c", "cat; echo out; echo err >&2"]

    def both(*words: str) -> tuple[str, str]:
        done = nacre("run", "--rm", *words, busybox_image, *code, input="in\n")
        return done.out, done.err

    assert both("-a", "stdout", "-a", "STDERR", "--sig-proxy=false") == ("out\n", "err\n")
    assert both("-a", "stdout") == ("out\n", "")
    assert both("-i", "-a", "stderr") == ("", "err\n")
    done = nacre("run", "--name", "box", "-i", "-a", "stdin", busybox_image, *code, input="in\n")
    (number,) = nacre("ps", "-aq", "--no-trunc").lines
    assert (done.out, done.err) == (f"{number}\n", "")
    assert sorted(nacre("logs", "box").lines) == ["in", "out"]


def test_signals_that_are_not_proxied(nacre: Nacre, busybox_image: str) -> None:
    """The command goes away at once, the container goes on, logged; else its code is the command's."""
    done = nacre(
        "run",
        "--rm",
        "-i",
        "--sig-proxy=false",
        busybox_image,
        "sh",
        "-c",
        "cat; exit 3",
        input="in",
        check=False,
    )
    assert (done.code, done.out) == (3, "in")
    code = ["sh", "-c", "echo up; cat; echo done"]
    read, write = os.pipe()
    words = ["run", "--name", "box", "-i", "--sig-proxy=false", busybox_image, *code]
    with nacre.start(*words, stdin=read) as process:
        os.close(read)
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert nacre("ps", "--format", "{{.Names}}").lines == ["box"]
    os.close(write)
    assert nacre("wait", "box").out == "0\n"
    assert nacre("logs", "box").lines == ["up", "done"]
    done = nacre("run", "--rm", "--sig-proxy=false", busybox_image, "nosuch", check=False)
    assert (done.code, done.out) == (127, "")


@pytest.mark.skipif(not userns.mapped(), reason="groups need root")
def test_groups(nacre: Nacre, busybox_image: str) -> None:
    done = nacre(
        "run", "--rm", "-u", "user", "--group-add", "extra", "--group-add", "77", busybox_image, "id", "-G"
    )
    assert done.out == "1000 77 2000\n"
    nacre(
        "run",
        "-d",
        "--name",
        "box",
        "--group-add",
        "77",
        "--ulimit",
        "nofile=77",
        busybox_image,
        "sleep",
        "99",
    )
    assert nacre("exec", "box", "sh", "-c", "id -G; ulimit -n").lines == ["0 77", "77"]
    nacre("rm", "-f", "box")


@pytest.mark.skipif(os.geteuid() != 0 or not userns.is_first(), reason="devices need root of the machine")
def test_devices_by_rule(nacre: Nacre, busybox_image: str) -> None:
    """Whether this machine has such a device or not: it is the rule that refuses it, or does not."""
    code = "mknod /x c 10 200 && head -c 0 /x 2>&1"

    def said(*words: str) -> str:
        return nacre("run", "--rm", *words, busybox_image, "sh", "-c", code, check=False).out

    assert "Operation not permitted" in said()
    assert "Operation not permitted" in said("--device-cgroup-rule", "c 10:201 rwm")
    assert "Operation not permitted" in said("--device-cgroup-rule", "c 10:200 w")
    for rule in ("c 10:200 r", "c 10:* rwm", "c *:* rm", "a *:* rwm"):
        assert "Operation not permitted" not in said("--device-cgroup-rule", rule)


def test_kernel_settings(nacre: Nacre, busybox_image: str) -> None:
    shown = "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/kernel/domainname; sysctl"
    code = shown.replace("sysctl", "cat /proc/sys/net/ipv4/ip_default_ttl")
    words = ["--ulimit", "nofile=100:200", "--oom-score-adj", "500", "--domainname", "a.example"]
    net = ["--network", "none", "--sysctl", "net.ipv4.ip_default_ttl=33"]
    done = nacre("run", "--rm", *words, *net, busybox_image, "sh", "-c", code)
    assert done.lines == ["100", "200", "500", "a.example", "33"]


@pytest.mark.parametrize(("flag", "kind"), [("--uts", "uts"), ("--ipc", "ipc"), ("--cgroupns", "cgroup")])
def test_namespaces_of_the_host(nacre: Nacre, busybox_image: str, flag: str, kind: str) -> None:
    def namespace(*words: str) -> str:
        return nacre("run", "--rm", *words, busybox_image, "readlink", f"/proc/self/ns/{kind}").out.strip()

    ours = os.readlink(f"/proc/self/ns/{kind}")
    assert namespace(flag, "host") == ours
    assert namespace() != ours


MARK = 70_000_000 + os.getpid() * 10
"""Begins the seconds that our containers sleep, so that nobody else's are taken for them."""


def marked(marker: str) -> list[int]:
    """Processes of this machine that have the word among their arguments, ours excepted."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            found.append(int(name))
    return found


def test_processes_of_the_host(nacre: Nacre, busybox_image: str) -> None:
    """Nothing outlives the container, though no pid namespace ends it."""
    shown = nacre("run", "--rm", "--pid", "host", busybox_image, "readlink", "/proc/self/ns/pid").out.strip()
    assert shown == os.readlink("/proc/self/ns/pid")
    nacre("run", "--rm", "--pid", "host", busybox_image, "sh", "-c", f"(sleep {MARK}1 &); sleep 0")
    assert marked(f"{MARK}1") == []
    code = ["sh", "-c", f"(sleep {MARK}2 &); sleep {MARK}3"]
    nacre("run", "-d", "--name", "box", "--pid", "host", busybox_image, *code)
    until(lambda: marked(f"{MARK}2") and marked(f"{MARK}3"))
    inside = nacre("exec", "box", "readlink", "/proc/self/ns/mnt").out.strip()
    assert inside != os.readlink("/proc/self/ns/mnt")
    nacre("stop", "-t", "0", "box")
    assert marked(f"{MARK}2") + marked(f"{MARK}3") == []
    assert (
        nacre("run", "--rm", "--pid", "host", busybox_image, "sh", "-c", "kill -9 $$", check=False).code
        == 137
    )
    nacre("start", "box")
    until(lambda: marked(f"{MARK}2") and marked(f"{MARK}3"))
    (document,) = nacre("inspect", "box").json
    os.kill(parent(document["State"]["Pid"]), signal.SIGKILL)
    until(lambda: not marked(f"{MARK}2") + marked(f"{MARK}3"))
    nacre("rm", "-f", "box")


def test_a_container_with_an_init_is_entered(nacre: Nacre, busybox_image: str) -> None:
    """Its init lets nobody look into it; the program that it watches has the same namespaces."""
    nacre("run", "-d", "--name", "box", "--init", busybox_image, "sh", "-c", f"echo x > /made; sleep {MARK}6")
    until(lambda: marked(f"{MARK}6"))
    assert nacre("exec", "box", "cat", "/made").out == "x\n"
    nacre("cp", "box:/made", "here")
    assert (nacre.folder / "here").read_text() == "x\n"
    nacre("rm", "-f", "box")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_processes_of_another_container(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "web", busybox_image, "sleep", f"{MARK}4")
    words = [
        "run",
        "--rm",
        "--pid",
        "container:web",
        busybox_image,
        "sh",
        "-c",
        f"(sleep {MARK}5 &); cat /proc/1/cmdline",
    ]
    done = nacre(*words, check=False)
    if userns.mapped():
        assert (done.code, done.out) == (0, f"sleep\0{MARK}4\0")
    else:
        assert (done.code, "it is in another user namespace" in done.err) == (125, True)
    assert marked(f"{MARK}5") == []
    nacre("create", "--name", "later", "--pid", "container:web", busybox_image, "true")
    nacre("rm", "-f", "web")
    done = nacre("start", "-a", "later", check=False)
    assert done.code != 0
    assert "No such container" in done.err
    done = nacre("run", "--rm", "--pid", "container:nobody", busybox_image, "true", check=False)
    assert (done.code, done.err) == (125, "nacre: No such container: nobody\n")


@pytest.mark.skipif(not userns.mapped(), reason="containers of an ordinary user share no user namespace")
def test_top_and_kill_of_containers_that_share_processes(nacre: Nacre, busybox_image: str) -> None:
    """Each has its own, whatever namespace they are in."""
    nacre("run", "-d", "--name", "web", busybox_image, "sleep", f"{MARK}1")
    nacre("run", "-d", "--name", "two", "--pid", "container:web", busybox_image, "sleep", f"{MARK}2")
    nacre("run", "-d", "--name", "all", "--pid", "host", busybox_image, "sleep", f"{MARK}3")
    nacre("exec", "-d", "web", "sleep", f"{MARK}4")

    def top(name: str) -> list[str]:
        return sorted(line.split("sleep ")[1] for line in nacre("top", name).lines[1:])

    until(lambda: marked(f"{MARK}2") and marked(f"{MARK}3") and marked(f"{MARK}4"))
    assert (top("two"), top("all")) == ([f"{MARK}2"], [f"{MARK}3"])
    shared = [f"{MARK}1", f"{MARK}4"]
    assert top("web") in (shared, [shared[0], f"{MARK}2", shared[1]])  # the second without a control group
    nacre("kill", "two")
    until(lambda: not marked(f"{MARK}2"))
    assert sorted(nacre("ps", "--format", "{{.Names}}").lines) == ["all", "web"]
    nacre("rm", "-f", "web", "all", "two")


def test_shared_memory(nacre: Nacre, busybox_image: str) -> None:
    def shown(mode: str) -> int:
        return nacre("run", "--rm", "--ipc", mode, busybox_image, "ls", "/dev/shm", check=False).code

    assert [shown(mode) for mode in ("none", "host", "private", "shareable", "")] == [1, 0, 0, 0, 0]


@pytest.mark.skipif(not userns.mapped(), reason="containers of an ordinary user share no user namespace")
def test_shared_memory_of_another_container(nacre: Nacre, busybox_image: str) -> None:
    """One namespace and one /dev/shm, for `exec` as well; only of containers that allow it."""
    nacre("run", "-d", "--name", "web", "--ipc", "shareable", busybox_image, "sleep", f"{MARK}7")
    nacre("exec", "web", "sh", "-c", "echo x > /dev/shm/f")
    code = ["sh", "-c", "cat /dev/shm/f; readlink /proc/self/ns/ipc; echo y > /dev/shm/g"]
    done = nacre("run", "--name", "two", "--ipc", "container:web", busybox_image, *code)
    ours = nacre("exec", "web", "readlink", "/proc/self/ns/ipc").out.strip()
    assert done.lines == ["x", ours]
    assert ours != os.readlink("/proc/self/ns/ipc")
    assert nacre("exec", "web", "cat", "/dev/shm/g").out == "y\n"
    nacre("run", "-d", "--name", "own", busybox_image, "sleep", f"{MARK}8")
    done = nacre("run", "--rm", "--ipc", "container:own", busybox_image, "true", check=False)
    assert done.code == 125
    assert done.err.startswith(
        "nacre: failed to join IPC namespace: that of container own is not shareable\n"
    )
    nacre("rm", "-f", "web", "own")
    done = nacre("start", "-a", "two", check=False)
    assert "No such container" in done.err
    done = nacre("run", "--rm", "--ipc", "container:nobody", busybox_image, "true", check=False)
    assert (done.code, done.err) == (125, "nacre: No such container: nobody\n")
    done = nacre("run", "--ipc", "container:two", busybox_image, "true", check=False)
    assert done.err.startswith("nacre: cannot join IPC of a non running container: ")


def test_names_and_labels(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("# no\nfile=1\nboth=1\nalone\n")
    words = ["--label-file", "labels", "-l", "both=2", "--expose", "80", "--expose", "90-91/udp"]
    nacre("create", "--name", "box", *words, busybox_image, "true")
    (document,) = nacre("inspect", "box").json
    assert document["Config"]["Labels"] == {"file": "1", "both": "2"}
    assert set(document["Config"]["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    words = ["--dns", "9.9.9.9", "--dns-search", "a.example", "--dns-option", "ndots:2", "--dns-opt", "debug"]
    done = nacre("run", "--rm", "--network", "host", *words, busybox_image, "cat", "/etc/resolv.conf")
    assert done.lines == ["search a.example", "nameserver 9.9.9.9", "options debug ndots:2"]


def test_volumes_from(nacre: Nacre, busybox_image: str) -> None:
    nacre(
        "run",
        "--name",
        "one",
        "-v",
        "vol:/data",
        "-v",
        "/own",
        busybox_image,
        "sh",
        "-c",
        "echo x > /data/f; touch /own/o",
    )
    assert nacre("run", "--rm", "--volumes-from", "one", busybox_image, "ls", "/data", "/own").lines == [
        "/data:", "f", "", "/own:", "o",
    ]  # fmt: skip
    done = nacre("run", "--rm", "--volumes-from", "one:ro", busybox_image, "touch", "/own/x", check=False)
    assert done.code == 1
    assert (
        nacre("run", "--rm", "--volumes-from", "one", "-v", "new:/data", busybox_image, "ls", "/data").out
        == ""
    )
    nacre("rm", "-v", "one")
    assert nacre("volume", "ls", "-q").lines == ["new", "vol"]


def test_no_log(nacre: Nacre, busybox_image: str) -> None:
    assert nacre("run", "--name", "box", "--log-driver", "none", busybox_image, "echo", "x").out == "x\n"
    nacre("run", "-d", "--name", "two", "--log-driver", "none", busybox_image, "echo", "x")
    nacre("wait", "two")
    for name in ("box", "two"):
        done = nacre("logs", name, check=False)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("nacre: configured logging driver does not support reading")
    assert nacre("run", "--rm", "--log-driver", "local", busybox_image, "echo", "x").out == "x\n"


def test_the_container_says_how_long_to_wait(nacre: Nacre, busybox_image: str) -> None:
    """It would end by itself within the ten seconds that are usual; its own time-out is none."""
    script = "trap 'sleep 8; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    nacre("run", "-d", "--name", "box", "--stop-timeout", "0", busybox_image, "sh", "-c", script)
    until(lambda: nacre("logs", "box").out == "ready\n")
    nacre("stop", "box")
    assert nacre("wait", "box").out == "137\n"
