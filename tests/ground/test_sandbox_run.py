"""What a program sees in the sandbox, and what it cannot do. Runs as root and as an ordinary user."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boxes import Box, make_box, remove

from nacre.ground import linux, userns
from nacre.ground.fork import fork
from nacre.ground.sandbox import Attachment, Stdio, plan
from nacre.ground.sandbox.child import listen
from nacre.ground.sandbox.launch import run
from nacre.ground.sandbox.operations import shown
from nacre.images.model.runtime import TmpfsMount, VolumeMount
from nacre.words.errors import CommandNotExecutable, CommandNotFound, SandboxError
from nacre.words.mount import Overlay


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    folder = tmp_path / "box"
    folder.mkdir()
    yield make_box(folder)
    remove(folder)


def single() -> bool:
    mapping = userns.call(userns.enter)
    assert isinstance(mapping, userns.Mapping)
    return mapping.single


def test_output_and_exit_code(box: Box) -> None:
    assert box.run("sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


def test_a_signal_is_128_and_its_number(box: Box) -> None:
    assert box.run("sh", "-c", "sh -c 'kill -TERM $$'; exit $?")[0] == 143


@pytest.mark.parametrize(
    ("command", "kind", "sentence"),
    [
        ("nosuch", CommandNotFound, 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", CommandNotFound, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", CommandNotExecutable, 'exec: "/etc/passwd": permission denied'),
        ("/etc", CommandNotExecutable, 'exec: "/etc": is a directory'),
        ("/bin/garbage", CommandNotExecutable, 'exec: "/bin/garbage": exec format error'),
        ("/bin/orphan", CommandNotFound, 'exec: "/bin/orphan": no such file or directory'),
    ],
)
def test_programs_that_cannot_run(box: Box, command: str, kind: type[SandboxError], sentence: str) -> None:
    for name, text in (("garbage", b"\x7fELFnothing"), ("orphan", b"#!/no/interpreter\n")):
        (box.lower / "bin" / name).write_bytes(text)
        (box.lower / "bin" / name).chmod(0o755)
    with pytest.raises(kind) as caught:
        box.run(command)
    assert caught.value.message.startswith(sentence)
    assert caught.value.exit_code == (127 if kind is CommandNotFound else 126)


def test_it_is_alone_and_first(box: Box) -> None:
    assert box.sh("echo $$; ls -d /proc/[0-9]* | wc -l; hostname").split() == ["1", "3", "box"]


def test_confinement(box: Box) -> None:
    status = dict(
        line.split(":\t", 1) for line in box.sh("cat /proc/self/status").splitlines() if "\t" in line
    )
    assert status["CapEff"].strip() == status["CapBnd"].strip() == "00000000a80425fb"
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "0"


def test_an_ordinary_user_has_no_capabilities(box: Box) -> None:
    words = box.sh("grep Cap /proc/self/status", user="user").split()
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "CapInh:": "0" * 16, "CapPrm:": "0" * 16, "CapEff:": "0" * 16, "CapAmb:": "0" * 16,
        "CapBnd:": "00000000a80425fb",
    }  # fmt: skip


def test_system_calls_are_filtered(box: Box) -> None:
    for script in ("mount -t tmpfs none /tmp", "unshare -U true", "unshare -m true"):
        assert box.run("sh", "-c", script)[0] != 0, script


def test_privileged_lifts_the_limits(box: Box) -> None:
    assert box.sh("mount -t tmpfs none /tmp && echo mounted", privileged=True) == "mounted\n"


def test_nothing_of_the_host_is_inherited(box: Box) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        assert box.sh("ls /proc/self/fd | head -3").split() == ["0", "1", "2"]
        assert box.sh("exec ls /proc/$$/fd").split() in (["0", "1", "2"], ["0", "1", "2", "3"])
    finally:
        os.close(reader)
        os.close(writer)


def test_the_host_is_out_of_reach(box: Box) -> None:
    mounts = box.sh("cat /proc/self/mountinfo")
    points = [line.split()[4] for line in mounts.splitlines()]
    assert points.count("/") == 1
    assert box.sh("ls -a / | sort; cd ..; pwd").split() == [
        ".", "..", "bin", "dev", "etc", "proc", "root", "sys", "tmp", "/"
    ]  # fmt: skip


def test_devices(box: Box) -> None:
    listed = box.sh("cd /dev; ls; for f in null zero full random urandom tty; do stat -c '%t:%T' $f; done")
    words = listed.split()
    assert words[: -6] == [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    ]  # fmt: skip
    assert words[-6:] == ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]
    assert box.run("sh", "-c", "echo x > /dev/full")[0] == 1
    assert box.sh("echo x > /dev/null; head -c 3 /dev/zero | wc -c") == "3\n"


def test_masked_and_read_only_paths(box: Box) -> None:
    assert (
        box.sh("cat /proc/keys /proc/timer_list; ls /sys/firmware; ls /proc/acpi 2>/dev/null || true") == ""
    )
    for path in ("/proc/sys/kernel/hostname", "/sys/kernel/uevent_seqnum", "/proc/irq/x"):
        assert box.run("sh", "-c", f"echo x > {path}")[0] != 0


def test_users(box: Box) -> None:
    assert box.sh("id -u; id -g") == "0\n0\n"
    groups = "1000\n" if single() else "1000 2000\n"
    assert box.sh("id -u; id -g; id -G; echo $HOME", user="user") == f"1000\n1000\n{groups}/srv\n"
    assert box.sh("id -u; id -g; echo $HOME", user="1234:77") == "1234\n77\n/\n"
    assert box.sh("id -u; id -g", user="user:extra") == "1000\n2000\n"
    assert box.sh("id -u", image={"User": "user"}) == "1000\n"


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ("ghost", "unable to find user ghost: no matching entries in passwd file"),
        ("0:ghost", "unable to find group ghost: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("bad", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_users_that_are_refused(box: Box, user: str, sentence: str) -> None:
    with pytest.raises(SandboxError) as caught:
        box.run("true", user=user)
    assert caught.value.message == sentence


def test_a_fifo_as_passwd_does_not_hang(box: Box) -> None:
    (box.lower / "etc/passwd").unlink()
    os.mkfifo(box.lower / "etc/passwd")
    assert "Uid:\t12\t12" in box.sh("cat /proc/self/status", user="12")


def test_a_link_as_passwd_stays_inside(box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("evil:x:7:7::/:/bin/sh\n")
    (box.lower / "etc/passwd").unlink()
    (box.lower / "etc/passwd").symlink_to(tmp_path / "secret")
    with pytest.raises(SandboxError, match="unable to find user evil"):
        box.run("true", user="evil")


def test_working_directory(box: Box) -> None:
    assert box.sh("pwd", working_dir="/new/place") == "/new/place\n"
    assert (box.upper / "new/place").is_dir()
    with pytest.raises(SandboxError, match="cannot"):
        box.run("true", working_dir="/etc/passwd")


@pytest.mark.parametrize("number", [3, 4, 5, 7, 9])
def test_working_directory_through_a_descriptor(box: Box, number: int) -> None:
    """runc CVE-2024-21626."""
    with pytest.raises(SandboxError):
        box.run("cat", "../../../../etc/hostname", working_dir=f"/proc/self/fd/{number}")


def test_interpreter_that_is_the_host_program(box: Box) -> None:
    """runc CVE-2019-5736."""
    (box.lower / "bin/evil").write_text("#!/proc/self/exe\n")
    (box.lower / "bin/evil").chmod(0o755)
    for command in ("/proc/self/exe", "evil"):
        with pytest.raises(CommandNotExecutable):
            box.run(command)


def test_a_directory_as_standard_input_is_refused(box: Box) -> None:
    fd = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(SandboxError, match="standard input is a directory"):
            box.run("true", stdin=fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", ["proc", "dev", "sys"])
def test_places_of_ours_that_are_links(box: Box, path: str) -> None:
    """runc CVE-2019-19921."""
    (box.lower / path).symlink_to("tmp")
    with pytest.raises(SandboxError, match=f"/{path} of the image is not a directory"):
        box.run("true")


def test_volumes(box: Box, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir(mode=0o777)
    host.chmod(0o777)
    (host / "file").write_text("content")
    file = VolumeMount(str(host / "file"), "/etc/one")
    out = box.sh(
        "cat /a/file /b/file /etc/one; echo new > /a/new; echo x > /b/bad || echo refused",
        volumes=(VolumeMount(str(host), "/a"), VolumeMount(str(host), "/b", readonly=True), file),
    )
    assert out == "contentcontentcontentrefused\n"
    assert (host / "new").read_text() == "new\n"


def test_volume_targets_stay_inside(box: Box, tmp_path: Path) -> None:
    """docker CVE-2018-15664, runc CVE-2021-30465."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside):
        folder.mkdir()
    (inside / "mark").touch()
    for name in ("link", "dangling"):
        (box.lower / name).symlink_to(f"../../../..{outside if name == 'link' else outside / 'more'}")
    for name in ("link", "dangling", "../../../escape"):
        assert box.sh(f"ls {name}", volumes=(VolumeMount(str(inside), f"/{name}"),)) == "mark\n"
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("target", ["/proc/sys", "/proc/self/attr", "/proc/1", "/alias/sys"])
def test_volumes_do_not_go_into_proc(box: Box, tmp_path: Path, target: str) -> None:
    """runc CVE-2019-16884, CVE-2025-52881."""
    (box.lower / "alias").symlink_to("/proc")
    with pytest.raises(SandboxError):
        box.run("true", volumes=(VolumeMount(str(tmp_path), target),))


def test_a_volume_of_the_wrong_kind(box: Box, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="a file, not a directory"):
        box.run("true", volumes=(VolumeMount(str(tmp_path), "/etc/passwd"),))
    with pytest.raises(SandboxError, match="cannot mount /no/such/source"):
        box.run("true", volumes=(VolumeMount("/no/such/source", "/x"),))


def test_read_only_and_tmpfs(box: Box) -> None:
    script = (
        "echo x > /tmp/x; echo y > /file 2>/dev/null || echo refused; stat -c %a /tmp; mount | grep ' /tmp '"
    )
    words = box.sh(script, read_only=True, temporary=(TmpfsMount("/tmp", ("size=64k", "mode=700")),)).split()
    assert words[:2] == ["refused", "700"]
    assert "size=64k" in words[-1]


def test_no_network(box: Box) -> None:
    names = box.sh("cat /proc/net/dev", network="none").splitlines()
    assert [line.split(":")[0].strip() for line in names[2:]] == ["lo"]
    assert "UP" in box.sh("ifconfig lo", network="none")


def test_mount_points_do_not_stay(box: Box, tmp_path: Path) -> None:
    """What was made to mount on is no part of the image: the builder commits what remains."""
    files = (VolumeMount("/etc/hostname", "/etc/hostname"), VolumeMount(str(tmp_path), "/deep/er/still"))
    box.sh("true", volumes=files)
    assert list(box.upper.iterdir()) == []
    with pytest.raises(CommandNotFound):
        box.run("nosuch", volumes=files)
    assert list(box.upper.iterdir()) == []
    box.sh("echo x > /etc/mine; mkdir /deep/er/kept", volumes=files)
    left = sorted(str(path.relative_to(box.upper)) for path in box.upper.rglob("*"))
    assert left == ["deep", "deep/er", "deep/er/kept", "etc", "etc/mine"]


def test_a_changed_parent_stays(box: Box) -> None:
    box.sh("chmod 700 /etc", volumes=(VolumeMount("/etc/hostname", "/etc/hostname"),))
    assert stat.S_IMODE((box.upper / "etc").stat().st_mode) == 0o700


def test_nothing_is_mounted_outside(box: Box) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box.sh("true")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_code_of_the_image_is_not_imported(box: Box) -> None:
    """docker CVE-2019-14271."""
    for name in ("lib", "usr/lib", "usr/local/lib"):
        for module in ("socket", "stat", "encodings/idna"):
            path = box.lower / name / "python3.11" / f"{module}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("open('/imported', 'w')\n")
    with pytest.raises(CommandNotFound):
        box.run("nosuch", network="none", user="user")
    assert not (box.upper / "imported").exists()


def test_operations_say_what_they_do(box: Box) -> None:
    config = box.config("sh", "-c", "true", network="none", read_only=True, temporary=(TmpfsMount("/t"),))
    lines = [str(operation) for operation in plan.plan(config, box.mount, machine="x86_64", cgroup="g")]
    assert lines[:2] == [
        "devices are limited by the control group g", "new namespaces: mount pid ipc uts cgroup network",
    ]  # fmt: skip
    assert lines[-1] == "run sh -c true"
    for wanted in ("mount proc at /proc", "tmpfs at /t", "bring up lo", "read-only root", "unmount the host"):
        assert wanted in lines
    # while the host is mounted on the root, ".." leads to it
    assert lines.index("unmount the host") < lines.index("tmpfs at /t") < lines.index("working directory /")


def test_a_child_that_fails_early_writes_to_nobody_elses_file(box: Box) -> None:
    """Whatever lies on descriptor 3 before the child's own descriptors are in place."""
    victim = box.folder / "victim"
    victim.write_text("untouched")
    for spare in range(20):
        told = userns.call(_starved, box.config("true"), box.mount, str(victim), spare)
        assert told == "" or "Too many open files" in told, told
        assert victim.read_text() == "untouched", spare
    assert told == ""


def _starved(config: dict[str, Any], mount: Overlay, victim: str, spare: int) -> str:
    """The error, if any, of a run with `victim` open as 3 and `spare` descriptors left."""
    answer = fcntl.fcntl(3, fcntl.F_DUPFD, 50) if _is_open(3) else -1
    taken = max(60, *map(int, os.listdir("/proc/self/fd")))
    fd = os.open(victim, os.O_RDWR)
    os.dup2(fd, 3)
    try:
        while os.open("/dev/null", os.O_RDONLY) < taken:
            continue
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1 + spare, taken + 1 + spare))
        run(config, mount, Attachment(Stdio(-1, -1, -1), signals=False))
    except SandboxError as error:
        return error.message
    except OSError as error:
        return error.strerror
    finally:
        if answer >= 0:
            os.dup2(answer, 3)
    return ""


def _is_open(fd: int) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_child_that_says_nothing_has_died() -> None:
    with (
        fork(lambda _report: None, what="the child") as child,
        pytest.raises(SandboxError, match="without an answer"),
    ):
        listen(child, [])


def test_a_namespace_of_a_process_that_is_gone() -> None:
    """Its pid may be that of another one by now."""
    path = f"/proc/{os.getpid()}/ns/net"
    os.close(shown(path, linux.start_time(os.getpid())))
    os.close(shown(path, 0))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ProcessLookupError):
        shown(path, 1)
    assert len(os.listdir("/proc/self/fd")) == before
