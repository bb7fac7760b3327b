"""--security-opt: each word does what it says, or is refused by name."""

# ruff: noqa: E501 - a table of options is read by the line
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nacre.ground import linux, userns
from nacre.ground.sandbox import apparmor

if TYPE_CHECKING:
    from conftest import Nacre

DENIED = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
        {
            "name": "kill",
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}],
        },
        {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["link", "linkat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYSLOG"]}},
    ],
}
SCRIPT = """
mkdir /x 2>&1; kill -10 $$ 2>&1; sync; echo $?; ln /etc/passwd /y 2>&1
grep -E "Seccomp:|NoNewPrivs|CapEff" /proc/self/status
"""
# all that a static busybox needs to say a word, and not one call that sets a container up
FEW = """
execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 getrandom mprotect readlink readlinkat
uname mmap munmap getuid geteuid getgid getegid setuid setgid write exit_group exit prctl futex rt_sigreturn
fstat ioctl newfstatat rt_sigaction rt_sigprocmask getpid
""".split()  # noqa: SIM905


def profile(folder: Path, value: Any) -> str:
    path = folder / "profile.json"
    path.write_text(json.dumps(value))
    return f"--security-opt=seccomp={path}"


def run(nacre: Nacre, image: str, script: str, *words: str) -> list[str]:
    return nacre("run", "--rm", *words, image, "sh", "-c", script).out.splitlines()


@pytest.mark.parametrize(
    ("words", "capabilities", "fixed"),
    [
        ((), "00000000a80425fb", "0"), (("--init",), "00000000a80425fb", "0"),
        (("-u", "1000"), "0000000000000000", "0"),
        (("--security-opt=no-new-privileges",), "00000000a80425fb", "1"),
        (("--pid=host",), "00000000a80425fb", "0"),
    ],
)  # fmt: skip
def test_a_profile_decides(
    nacre: Nacre, busybox_image: str, words: tuple[str, ...], capabilities: str, fixed: str
) -> None:
    """Nothing that was kept to install it is left, whoever the program runs as."""
    said = run(nacre, busybox_image, SCRIPT, profile(nacre.folder, DENIED), *words)
    assert said[0] == "mkdir: can't create directory '/x': Operation not supported"
    assert said[1].endswith("Operation not permitted")
    assert said[2:4] == ["159", "ln: /y: Operation not permitted"]
    assert [line.split()[1] for line in said[4:]] == [capabilities, fixed, "2"]


def test_capabilities_choose_rules(nacre: Nacre, busybox_image: str) -> None:
    said = run(nacre, busybox_image, SCRIPT, profile(nacre.folder, DENIED), "--cap-add", "SYSLOG")
    assert not any(line.startswith("ln:") for line in said)


@pytest.mark.skipif(linux.MACHINE != "x86_64", reason="the calls are those of x86-64")
@pytest.mark.parametrize("words", [(), ("-u", "1000"), ("--security-opt", "no-new-privileges")])
def test_a_profile_need_not_allow_what_sets_a_container_up(
    nacre: Nacre, busybox_image: str, words: tuple[str, ...]
) -> None:
    few = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": FEW, "action": "SCMP_ACT_ALLOW"}]}
    option = profile(nacre.folder, few)
    done = nacre("run", "--rm", option, *words, busybox_image, "echo", "said")
    assert (done.out, done.err) == ("said\n", "")
    assert nacre("run", "--rm", option, *words, busybox_image, "cat", "/etc/passwd", check=False).code == 1


def test_exec_and_start_have_it_too(nacre: Nacre, busybox_image: str) -> None:
    option = profile(nacre.folder, DENIED)
    nacre("run", "-d", "--name", "box", option, busybox_image, "sleep", "1000")
    try:
        (nacre.folder / "profile.json").unlink()
        for _ in range(2):
            assert nacre("exec", "box", "mkdir", "/x", check=False).code == 1
            nacre("kill", "box")
            nacre("wait", "box")
            nacre("start", "box")
    finally:
        nacre("rm", "-f", "box")


def test_privileged_has_no_filter_but_a_profile(nacre: Nacre, busybox_image: str) -> None:
    script = "grep Seccomp: /proc/self/status; mkdir /x 2>&1"
    assert run(nacre, busybox_image, script, "--privileged", "--network=host") == ["Seccomp:\t0"]
    assert (
        len(run(nacre, busybox_image, f"{script}; true", "--privileged", profile(nacre.folder, DENIED))) == 2
    )
    builtin = run(nacre, busybox_image, script, "--privileged", "--security-opt=seccomp=builtin")
    assert builtin == ["Seccomp:\t2"]


def inspected(nacre: Nacre, *words: str) -> dict[str, Any]:
    number = nacre("create", *words).out.strip()
    found: dict[str, Any] = json.loads(nacre("inspect", number).out)[0]["HostConfig"]
    return found


def test_inspect_shows_them_as_docker_does(nacre: Nacre, busybox_image: str) -> None:
    option = profile(nacre.folder, DENIED)
    words = (option, "--security-opt", "no-new-privileges:false", "--security-opt", "label:disable")
    found = inspected(nacre, *words, busybox_image)
    compact = json.dumps(DENIED, separators=(",", ":"))
    assert found["SecurityOpt"] == [f"seccomp={compact}", "no-new-privileges:false", "label:disable"]
    assert "/proc/kcore" in found["MaskedPaths"]
    assert "/proc/sys" in found["ReadonlyPaths"]
    found = inspected(nacre, "--security-opt", "systempaths=unconfined", busybox_image)
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == ([], [])
    assert not found["SecurityOpt"]


def test_system_paths(nacre: Nacre, busybox_image: str) -> None:
    script = "grep -c ' /proc/' /proc/self/mountinfo"
    assert int(nacre("run", "--rm", busybox_image, "sh", "-c", script).out) > 5
    option = "--security-opt=systempaths=unconfined"
    assert nacre("run", "--rm", option, busybox_image, "sh", "-c", script, check=False).out == "0\n"


def test_writable_cgroups(nacre: Nacre, busybox_image: str) -> None:
    script = "grep ' /sys/fs/cgroup ' /proc/self/mountinfo | cut -d' ' -f6 | tail -n 1"
    if not run(nacre, busybox_image, script):
        pytest.skip("no cgroup file system can be mounted here")
    assert run(nacre, busybox_image, script)[0].startswith("ro,")
    tried = nacre("run", "--rm", "--security-opt", "writable-cgroups", busybox_image, "true", check=False)
    if tried.code:
        assert "cannot mount cgroup2 at /sys/fs/cgroup" in tried.err
        pytest.skip("control groups are not ours here")
    for word in ("writable-cgroups", "writable-cgroups=true"):
        assert run(nacre, busybox_image, script, "--security-opt", word)[0].startswith("rw,")
    assert run(nacre, busybox_image, script, "--security-opt", "writable-cgroups=false")[0].startswith("ro,")
    done = nacre(
        "create", "--cgroupns=host", "--security-opt=writable-cgroups", busybox_image, "true", check=False
    )
    assert "writable-cgroups needs a cgroup namespace" in done.err


REFUSED = [
    ("nonsense", "invalid --security-opt: 'nonsense'"), ("seccomp", "a value is missing"),
    ("seccomp=", "a value is missing"), ("no-new-privileges=maybe", "'maybe' is neither true nor false"),
    ("systempaths=hidden", "invalid --security-opt"), ("label=type:spc_t", "SELinux labels are not supported"),
    ("label=colour:red", "invalid --security-opt"), ("credentialspec=file://x", "invalid --security-opt"),
    ("seccomp=/dev/zero", "is larger than 1 MiB"), ("seccomp=/nowhere", "cannot read the seccomp profile '/nowhere'"),
    ("seccomp=/", "cannot read the seccomp profile '/': Is a directory"), ("apparmor=a\nb", "names no AppArmor profile"),
    ("no-new-privileges=", "a value is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "words"), REFUSED)
def test_what_is_refused_is_named(nacre: Nacre, busybox_image: str, option: str, words: str) -> None:
    done = nacre("run", "--rm", "--security-opt", option, busybox_image, "true", check=False)
    assert done.code in (1, 125)
    assert words in done.err
    assert nacre("ps", "-aq").out == ""


def test_a_pipe_without_a_writer_does_not_block(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    option = f"--security-opt=seccomp={tmp_path}/fifo"
    assert "is not JSON" in nacre("run", "--rm", option, busybox_image, "true", check=False, timeout=30).err


def test_apparmor(nacre: Nacre, busybox_image: str) -> None:
    assert run(nacre, busybox_image, "echo ran", "--security-opt", "apparmor=unconfined") == ["ran"]
    if apparmor.is_enabled():
        pytest.skip("this system has AppArmor")
    done = nacre("run", "--rm", "--security-opt", "apparmor=mine", busybox_image, "true", check=False)
    assert "the AppArmor profile mine cannot be applied: this system has no AppArmor" in done.err


def test_info_names_what_confines(nacre: Nacre) -> None:
    found = json.loads(nacre("info", "--format", "json").out)["SecurityOptions"]
    rootless = ["name=rootless"] if not userns.mapped() or not userns.is_first() else []
    assert found == ["name=seccomp,profile=builtin", *rootless, "name=cgroupns"]
