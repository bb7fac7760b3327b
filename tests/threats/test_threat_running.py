# ruff: noqa: E501 - tables of attacks are read by the line
"""Containers that run and attack whoever starts, enters or reads them; values made to reach the kernel."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from evil import Layer, Outside, sentence
from quick import Quick

from nacre.ground import linux, userns
from nacre.ground.sandbox.apparmor import ChangeProfile
from nacre.ground.sandbox.room import Room
from nacre.words.errors import SandboxError

Hostile = Callable[..., str]
PYTHON = Path(os.path.realpath(sys.executable))
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def python_is_whole() -> str:
    return hashlib.sha256(PYTHON.read_bytes()).hexdigest()


@contextmanager
def box(nacre: Any, image: str, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> Iterator[int]:
    """A container that runs; the pid of its first process."""
    nacre("run", "-d", "--name", "box", *words, image, *command)
    try:
        yield json.loads(nacre("inspect", "box").out)[0]["State"]["Pid"]
    finally:
        nacre("rm", "-f", "box")


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Both change places all the time. Source: renameat2(2)."""
    libc, over = ctypes.CDLL(None), threading.Event()

    def work() -> None:
        while not over.is_set():
            libc.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# --- what comes along


def open_files(pid: int) -> list[str]:
    try:
        return sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    except PermissionError:
        pytest.skip("another user's descriptors cannot be seen here")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-i",),
        ("-t",),
        ("--init",),
        ("-u", "1000"),
        ("--privileged",),
        ("--security-opt=seccomp=unconfined",),
    ],
)
def test_cve_2024_21626_every_descriptor_is_known(
    nacre: Any, busybox_image: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """As the machine sees it: three for the program, none that only the kernel knows of."""
    if userns.is_first() and os.geteuid() and words == ("-u", "1000"):
        pytest.skip("another user's descriptors cannot be seen here")
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        with box(nacre, busybox_image, *words) as pid:
            tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for number in (pid, *map(int, tasks)):
                deadline = time.monotonic() + 60
                while (found := open_files(number)) != ["0", "1", "2"]:  # it may be on its way to execve(2)
                    assert time.monotonic() < deadline, (number, found)
    finally:
        os.close(secret)


def test_cve_2024_21626_nor_does_exec_bring_any(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    try:
        with box(nacre, busybox_image):
            process = nacre.start("exec", "box", "ls", "/proc/self/fd", pass_fds=[secret])
            assert process.communicate(timeout=60)[0].split() == [b"0", b"1", b"2", b"3"]
            for number in range(3, 12):
                done = nacre("exec", "-w", f"/proc/self/fd/{number}", "box", "pwd", check=False)
                assert done.code in (126, 127), done
    finally:
        os.close(secret)


# --- entering a container that waits for us

WATCHER = """
while :; do
  for p in /proc/[0-9]*; do
    case $(readlink $p/exe) in /bin/busybox|"") ;; *) echo "$p $(readlink $p/exe)" >> /seen; echo evil > $p/exe ;; esac
    ls $p/fd/ $p/root/ > /dev/null && grep -l OUTSIDE $p/environ >> /seen
  done
done 2> /dev/null
"""


def test_cve_2019_5736_nor_by_exec(nacre: Any, hostile: Hostile) -> None:
    """A container that watches for whoever enters it finds neither its program, files nor variables."""
    before = python_is_whole()
    layer = Layer().link("bin/self", "/proc/self/exe").file("bin/script", b"#!/proc/self/exe\n", 0o755)
    image = hostile(layer.bytes())
    with box(nacre, image, command=("sh", "-c", WATCHER)):
        for _ in range(10):
            assert nacre("exec", "-e", "A=1", "box", "true", OUTSIDE="secret").code == 0
        for program in ("/proc/self/exe", "/proc/1/exe", "self", "script"):
            done = nacre("exec", "box", program, "-c", "print('evil')", check=False)
            assert "evil" not in done.out, done
        assert nacre("exec", "box", "cat", "/seen", check=False).out == ""
    assert python_is_whole() == before


TRACER = """
while :; do
  for p in /proc/[0-9]*; do
    [ -e $p/root$0/secret ] && echo "root of $p is outside"
    [ -e $p/cwd/secret ] && echo "working directory of $p is outside"
  done
done 2> /dev/null
"""


def test_cve_2016_9962_nobody_is_seen_on_the_way_in(nacre: Any, busybox_image: str, outside: Outside) -> None:
    """runc: who may trace others took the descriptors and the root of whoever entered, `exec` or a probe."""
    words = [
        "--cap-add",
        "SYS_PTRACE",
        "--network",
        "none",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
    ]
    with box(nacre, busybox_image, *words, command=("sh", "-c", TRACER, str(outside))):
        for _ in range(6):
            done = subprocess.run(
                nacre.command("exec", "box", "true"), cwd=str(outside), env=nacre.env, check=False
            )
            assert done.returncode == 0
        assert nacre("logs", "box").out == ""


HOSTILE_ACCOUNTS = """
rm -f /etc/passwd /etc/group
case $0 in
  fifo) mkfifo /etc/passwd /etc/group ;;
  host) ln -s /proc/1/root/etc/passwd /etc/passwd; ln -s /proc/self/environ /etc/group ;;
  huge) yes a:x:1:1::/:/bin/sh | head -c 20000000 > /etc/passwd; ln /etc/passwd /etc/group ;;
  zero) ln -s /dev/zero /etc/passwd; ln -s /dev/zero /etc/group ;;
  loop) ln -s group /etc/passwd; ln -s passwd /etc/group ;;
  wraps) echo me:x:4294967296:0::/:/bin/sh > /etc/passwd; echo g:x:4294967296: > /etc/group ;;
esac
echo done; exec sleep 1000
"""


@pytest.mark.parametrize("kind", ["fifo", "host", "huge", "zero", "loop", "wraps"])
def test_users_are_looked_up_in_files_of_the_container(nacre: Any, busybox_image: str, kind: str) -> None:
    with box(nacre, busybox_image, command=("sh", "-c", HOSTILE_ACCOUNTS, kind)):
        logs = nacre.start("logs", "-f", "box")
        assert logs.stdout.readline() == b"done\n"
        logs.terminate()
        logs.communicate()
        sentence(nacre("exec", "-u", "me", "box", "id", check=False, timeout=60), (1, 125, 126))
        sentence(nacre("exec", "-u", "0:g", "box", "id", check=False, timeout=60), (1, 125, 126))
        found = nacre("exec", "-u", "0", "box", "grep", "Uid:", "/proc/self/status", timeout=60)
        assert set(found.out.split()[1:]) == {"0"}


def test_the_programs_of_a_container_are_never_run_outside(
    nacre: Any, hostile: Hostile, tmp_path: Path
) -> None:
    """PATH, the interpreter and the libraries of an image mean nothing to whoever enters or copies."""
    trap = f"#!/bin/sh\ntouch {tmp_path}/sprung\n".encode()
    layer = Layer()
    for name in ("tar", "cp", "newuidmap", "newgidmap", "nsenter", "python3", "id", "getent"):
        layer.file(f"evil/{name}", trap, 0o777)
    layer.file("etc/ld.so.preload", b"/evil/lib.so\n").file("etc/nsswitch.conf", b"passwd: evil\n")
    image = hostile(layer.bytes(), run={"Env": ["PATH=/evil:/bin", "LD_PRELOAD=/evil/lib.so"]})
    with box(nacre, image):
        nacre("exec", "-u", "user", "box", "/bin/true", check=False)
        nacre("cp", "box:/etc/passwd", str(tmp_path / "copy"))
        nacre("cp", str(tmp_path / "copy"), "box:/tmp/back")
        nacre("diff", "box")
        nacre("commit", "box", "evil:2")
    assert not (tmp_path / "sprung").exists()


SWAPS = """
mkdir /d; echo mine > /d/secret; ln -s $0 /l; echo > /ready
while :; do mv /d /e; mv /l /d; mv /d /l; mv /e /d; done
"""


def test_files_that_are_swapped_while_they_are_read(
    nacre: Any, quick: Quick, busybox_image: str, outside: Outside
) -> None:
    """Whoever reads a container's files from outside does not follow what it has put in their place."""
    with box(nacre, busybox_image, "--network", "none", command=("sh", "-c", SWAPS, str(outside))):
        while nacre("exec", "box", "test", "-e", "/ready", check=False).code:
            pass
        for number in range(3):
            quick("commit", "--pause=false", "box", f"evil:{number}", check=False)
            for words in (("export", "box"), ("cp", "box:/d", "-"), ("diff", "box")):
                done = quick(*words, check=False)
                assert outside.SECRET not in done.out, words
                assert "Traceback" not in done.err
    for name in quick("images", "-q", "evil").lines:
        assert outside.SECRET not in quick("save", name).out


# --- mounts that race


def test_cve_2021_30465_a_target_in_a_volume_that_swaps(
    nacre: Any, hostile: Hostile, outside: Outside, tmp_path: Path
) -> None:
    """runc: two containers share a volume, and one puts a link where the other is about to mount."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    image = hostile(Layer().folder("shared").bytes())
    for number, target in enumerate((str(outside), "/proc", "/proc/self/attr", "/")):
        shared = tmp_path / f"shared{number}"
        (shared / "a").mkdir(parents=True)
        (shared / "link").symlink_to(target)
        with swapping(shared / "a", shared / "link"):
            for _ in range(4):
                words = ("-v", f"{shared}:/shared", "-v", f"{mine}:/shared/a/b")
                script = "head -c 1 /proc/interrupts; cat /proc/sys/kernel/domainname > /dev/null; ls /proc/self/attr/current"
                done = nacre("run", "--rm", *words, image, "sh", "-c", script, check=False)
                assert outside.SECRET not in done.out
                assert done.out.strip() in ("", "/proc/self/attr/current"), done
        outside.check()
    assert (mine / "file").read_text() == "mine"
    assert subprocess.run(["mountpoint", "-q", mine], check=False).returncode


@pytest.mark.parametrize("words", [(), ("-t",)])
def test_cve_2025_31133_and_52565_a_dev_that_swaps(
    nacre: Any, busybox_image: str, outside: Outside, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """runc bound what /dev/null and /dev/console were at that moment; here both are bound by descriptor, before."""
    device = tmp_path / "dev"
    device.mkdir()
    for name in ("null", "console", "ptmx"):
        (device / name).write_text("")
        (device / "to").unlink(missing_ok=True)
        (device / "to").symlink_to("/proc/sysrq-trigger")
        with swapping(device / name, device / "to"):
            for _ in range(4):
                script = "head -c 1 /proc/interrupts 2> /dev/null | wc -c; head -c 1 /proc/keys 2> /dev/null | wc -c; echo x > /proc/sysrq-trigger"
                done = nacre(
                    "run",
                    "--rm",
                    *words,
                    "-v",
                    f"{device}:/dev",
                    busybox_image,
                    "sh",
                    "-c",
                    script,
                    check=False,
                )
                if done.code != 125:
                    assert [word for word in done.out.split() if word.isdigit()] == ["0", "0"], done
                    assert done.code, done
        outside.check()


def apart(work: Callable[[], str]) -> str:
    """In a mount namespace of its own."""

    def inside() -> str:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", "", linux.MS_REC | linux.MS_PRIVATE)
        return work()

    found: str = userns.apart(inside)
    return found


@pytest.mark.parametrize("place", ["proc", "task", "attr", "file"])
def test_cve_2025_52881_settings_go_to_the_real_proc(place: str, tmp_path: Path) -> None:
    """runc wrote its AppArmor profile to a file that the container had mounted there."""
    if not userns.mapped():
        pytest.skip("needs root")
    decoy = tmp_path / "decoy"
    decoy.write_text("")

    def work() -> str:
        folders = {"proc": "/proc", "task": "/proc/thread-self", "attr": "/proc/thread-self/attr"}
        if place == "file":
            linux.mount(str(decoy), "/proc/thread-self/attr/exec", "", linux.MS_BIND)
        else:
            linux.mount("tmpfs", folders[place], "tmpfs", 0)
            os.makedirs("/proc/thread-self/attr/apparmor")
            for name in ("apparmor/exec", "exec"):
                Path("/proc/thread-self/attr", name).write_text("")
        try:
            ChangeProfile("evil").apply(Room())
        except SandboxError as error:
            return error.message
        return "written"

    said = apart(work)
    assert said in (
        "/proc of the container is no proc file system",
        "cannot apply the AppArmor profile evil: Invalid cross-device link",
    ), said
    assert decoy.read_text() == ""


# --- control groups

GROUPS = """
mkdir /tmp/cg; mount -t cgroup -o rdma cgroup /tmp/cg && echo MOUNTED
mount -t cgroup2 none /tmp/cg && echo MOUNTED
mount -o remount,rw /sys/fs/cgroup && echo REMOUNTED
for f in $(find /sys/fs/cgroup -name release_agent -o -name devices.allow -o -name notify_on_release); do echo /evil > $f && echo WROTE $f; done
mkdir /sys/fs/cgroup/evil && echo MADE
echo $$ > /sys/fs/cgroup/cgroup.procs && echo MOVED
unshare -m true && echo UNSHARED; unshare -C true && echo UNSHARED
echo; cut -d: -f3 /proc/self/cgroup | sort -u
"""


@pytest.mark.parametrize("words", [(), ("-u", "1000"), ("--cgroupns=host",)])
def test_cve_2022_0492_no_way_by_control_groups(
    nacre: Any, busybox_image: str, words: tuple[str, ...]
) -> None:
    """A release agent runs as root outside; whoever may mount control groups may set one."""
    done = nacre("run", "--rm", *words, busybox_image, "sh", "-c", GROUPS + "true")
    head, _, tail = done.out.partition("\n")
    assert head == "", done
    if words != ("--cgroupns=host",):
        assert "/.." not in tail


def test_writable_groups_end_at_its_own(nacre: Any, busybox_image: str) -> None:
    """What lies above cannot be seen, and the rules for devices hold in groups of its own making."""
    script = """
    echo $$ > /sys/fs/cgroup/../cgroup.procs; cat /proc/self/cgroup | grep '\\.\\.'
    mkdir /sys/fs/cgroup/in && echo $$ > /sys/fs/cgroup/in/cgroup.threads
    mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg && echo OPENED
    rmdir /sys/fs/cgroup/in; true
    """
    words = ("run", "--rm", "--security-opt", "writable-cgroups", busybox_image, "sh", "-c", script)
    done = nacre(*words, check=False)
    if done.code == 125:
        pytest.skip("control groups are not ours here")
    assert done.out == "", done


# --- other users


def test_volumes_of_another_user_are_out_of_reach(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    """--volumes-from reads one store, and that of somebody else is closed."""
    if os.geteuid():
        pytest.skip("needs root")
    (tmp_path / "secret").write_text("secret")
    nacre("create", "--name", "theirs", "-v", f"{tmp_path}/secret:/secret", "-v", "data:/data", busybox_image)
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        os.chmod(folder, os.stat(folder).st_mode | 0o5)

    def work() -> list[str]:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        said: list[str] = []
        if not os.access(nacre.command()[0], os.X_OK):
            return said
        for words in (
            ["run", "--volumes-from", "theirs", "busybox:test"],
            ["inspect", "theirs"],
            ["ps", "-a"],
        ):
            done = subprocess.run(
                nacre.command(*words), capture_output=True, text=True, check=False, cwd="/",
                env=nacre.env | {"HOME": "/nonexistent"},
            )  # fmt: skip
            said.append(done.stdout + done.stderr)
            assert done.returncode, done
        return said

    found = userns.apart(work)
    for said in found:
        assert "Traceback" not in said
        assert "secret" not in said
    for name in ("../theirs", "theirs/..", f"{nacre.root}/containers/x"):
        sentence(nacre("run", "--rm", "--volumes-from", name, busybox_image, check=False), (1, 125))
    if not found:
        pytest.skip("another user may not run this Python")


# --- values that reach the kernel

NASTY = (
    "", "-1", "1e9", "١", "9" * 30, "4294967296", "a" * 5000, "../../etc", "/proc/self/fd/3", "a\nb", "a=b,ro,suid,dev",
    "%s\udcff", "a:b:c:d", "host",
)  # fmt: skip
OPTIONS = (
    "--sysctl=net.ipv4.{}=1", "--sysctl=kernel.msgmax={}", "--sysctl={}", "--ulimit=nofile={}", "--ulimit={}=1",
    "--hostname={}", "--domainname={}", "--user={}", "--user=0:{}", "--group-add={}", "--workdir=/{}", "--env={}=1",
    "--env=A={}", "--device={}", "--device=/dev/null:/dev/{}", "--device=/dev/null:/dev/x:{}",
    "--device-cgroup-rule={}", "--device-cgroup-rule=c {} rwm", "--tmpfs=/t:{}", "--tmpfs=/t:size={}",
    "--tmpfs=/{}", "--shm-size={}", "--volume=/tmp:/{}", "--volume=/tmp:/x:{}", "--mount=type=tmpfs,target=/t,{}",
    "--mount=type=tmpfs,target=/t,tmpfs-mode={}", "--cap-add={}", "--security-opt=seccomp={}",
    "--security-opt=apparmor={}", "--security-opt={}", "--userns={}", "--userns=auto:size={}",
    "--userns=keep-id:uid={}", "--oom-score-adj={}", "--stop-signal={}", "--pid={}",
    "--ipc={}", "--cgroupns={}", "--network={}", "--annotation={}", "--dns={}", "--add-host={}", "--entrypoint={}",
    "--publish=127.0.0.1::{}", "--publish={}", "--memory={}", "--memory-swap={}", "--cpus={}", "--cpu-shares={}",
    "--cpuset-cpus={}", "--pids-limit={}", "--blkio-weight={}", "--device-read-bps=/dev/null:{}",
    "--cgroup-parent={}", "--ip={}", "--mac-address={}", "--network-alias={}", "--dns-search={}",
    "--dns-option={}", "--log-opt=max-size={}", "--log-opt={}", "--restart={}", "--stop-timeout={}",
    "--health-cmd=true --health-interval={}", "--label={}", "--uts={}", "--gpus={}", "--volumes-from={}",
)  # fmt: skip


def quiet(quick: Quick, *words: str) -> Any:
    done = quick(*words, check=False)
    assert "Traceback" not in done.err, (words, done)
    assert "internal error" not in done.err, (words, done)
    assert done.code in (0, 1, 125, 126, 127), (words, done)
    assert done.code == 0 or done.err.count("nacre: ") >= 1, (words, done)
    return done


@pytest.mark.parametrize("option", OPTIONS)
def test_nasty_values_are_obeyed_or_one_sentence(quick: Quick, busybox_image: str, option: str) -> None:
    """Those that are accepted run, and what they make ends with the container."""
    for value in NASTY:
        words = (
            [word.replace("{}", value) for word in option.split(" ")]
            if " --" in option
            else [option.replace("{}", value)]
        )
        if option.startswith("--restart"):  # which --rm excludes
            quiet(quick, "create", "--name", "x", *words, busybox_image, "true")
            quiet(quick, "start", "-a", "x")
            quick("rm", "-f", "x")
        else:
            quiet(quick, "run", "--rm", "--name", "x", *words, busybox_image, "true")
    assert quick("ps", "-aq").out == ""


ENTERING = ("--user={}", "--workdir=/{}", "--env={}", "--detach-keys={}", "--env-file={}")
CHANGES = (
    "--memory={}",
    "--cpus={}",
    "--pids-limit={}",
    "--cpuset-cpus={}",
    "--restart={}",
    "--blkio-weight={}",
)


def test_nasty_values_for_a_container_that_runs(nacre: Any, quick: Quick, busybox_image: str) -> None:
    """`exec`, `update`, `kill`, `rename`, `cp` and `network connect` with them: it goes on in any case."""
    with box(nacre, busybox_image):
        for value in NASTY[1::2]:
            for option in ENTERING:
                quiet(quick, "exec", option.replace("{}", value), "box", "true")
            for option in CHANGES:
                quiet(quick, "update", option.replace("{}", value), "box")
            quiet(quick, "cp", f"box:/{value}", "copied")
            quiet(quick, "cp", "/dev/null", f"box:/tmp/{value[:99]}")
            quiet(quick, "network", "connect", "--ip", value, "bridge", "box")
            quiet(quick, "rename", "box", value or "-")
            quiet(quick, "rename", value or "-", "box")
        assert quick("inspect", "-f", "{{.State.Running}}", "box").out == "true\n"
