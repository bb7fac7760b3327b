# ruff: noqa: E501 - tables of attacks are read by the line
"""Images whose files and settings are made to get hold of the host when they run."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evil import Layer, Outside, leftovers, sentence

Hostile = Callable[..., str]
ROOT_LISTING = sorted(["bin", "etc", "root", "tmp", "srv", "proc", "dev", "sys"])


def inside(nacre: Any, image: str, script: str, *words: str) -> str:
    out: str = nacre("run", "--rm", *words, image, "/bin/busybox", "sh", "-c", script).out
    return out


@pytest.mark.parametrize("number", range(3, 16))
def test_cve_2024_21626_workdir_proc_self_fd(nacre: Any, hostile: Hostile, number: int) -> None:
    """runc left a descriptor of the host open: `WORKDIR /proc/self/fd/8` stood outside of the root."""
    for path in (f"/proc/self/fd/{number}", f"/proc/1/fd/{number}/.."):
        image = hostile(run={"WorkingDir": path})
        result = nacre("run", "--rm", image, "/bin/busybox", "ls", "../../../../../..", check=False)
        if result.code == 0:
            assert set(result.out.split()) <= set(ROOT_LISTING) | {"self"}
        else:
            sentence(result, (125, 126, 127))
        assert leftovers(nacre.root) == []


def test_cve_2024_21626_no_descriptor_comes_along(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    """Neither ours nor those that somebody left open to us."""
    secret = os.open(tmp_path, os.O_RDONLY)
    try:
        process = nacre.start("run", "--rm", busybox_image, "ls", "/proc/self/fd/", pass_fds=[secret])
        out, err = process.communicate(timeout=60)
    finally:
        os.close(secret)
    assert out.split() == [b"0", b"1", b"2", b"3"], err  # 3 is what ls reads


def test_cve_2024_21626_workdir_in_a_build(nacre: Any, project: Path, outside: Outside) -> None:
    for number in (3, 5, 7, 9):
        text = f"FROM busybox:test\nWORKDIR /proc/self/fd/{number}\nRUN cat ../../../../{outside}/secret\n"
        (project / "Dockerfile").write_text(text)
        result = nacre("build", "--no-cache", "-t", "evil:1", str(project), check=False)
        sentence(result)
        assert outside.SECRET not in result.out + result.err


def test_cve_2019_5736_the_program_of_the_host_is_out_of_reach(nacre: Any, hostile: Hostile) -> None:
    """runc: an image whose program is /proc/self/exe ran, and could overwrite, the runtime itself."""
    python = Path(os.path.realpath(sys.executable))
    before = hashlib.sha256(python.read_bytes()).hexdigest()
    layer = Layer().link("bin/self", "/proc/self/exe").file("bin/script", b"#!/proc/self/exe\n", 0o755)
    layer.file("bin/second", b"#!/bin/self\n", 0o755)
    image = hostile(layer.bytes())
    for program in ("/proc/self/exe", "/proc/1/exe", "/bin/self", "/bin/script", "/bin/second", "self"):
        sentence(nacre("run", "--rm", image, program, "-c", "print(1)", check=False), (125, 126, 127))
    sentence(nacre("run", "--rm", "--entrypoint", "/proc/self/exe", image, check=False), (125, 126, 127))
    out = inside(nacre, image, "readlink /proc/1/exe; echo x > /proc/1/exe; true")
    assert out == "/bin/busybox\n"
    assert hashlib.sha256(python.read_bytes()).hexdigest() == before


SWAPPED = ["proc", "dev", "sys", "proc-file", "dev-null", "dev-pts", "dev-shm", "etc"]


@pytest.mark.parametrize("place", SWAPPED)
def test_cve_2025_31133_and_52565_places_of_ours_that_are_links(
    nacre: Any, hostile: Hostile, outside: Outside, place: str
) -> None:
    """runc: /proc, /dev/null, /dev/console… of the image are links to somewhere else (also 2019-19921)."""
    target = str(outside)
    layers = {
        "proc": Layer().link("proc", target), "dev": Layer().link("dev", target),
        "sys": Layer().link("sys", "/proc/self"), "proc-file": Layer().file("proc"),
        "dev-null": Layer().folder("dev").link("dev/null", f"{target}/secret"),
        "dev-pts": Layer().folder("dev").link("dev/pts", target).link("dev/console", "/proc/sysrq-trigger"),
        "dev-shm": Layer().folder("dev").link("dev/shm", target).link("dev/mqueue", "/proc"),
        "etc": Layer().link("etc/resolv.conf", f"{target}/secret").link("etc/hosts", "/proc/sys/kernel/domainname"),
    }  # fmt: skip
    image = hostile(layers[place].bytes())
    script = "echo x > /dev/null; stat -c %t:%T /dev/null; cat /proc/self/cgroup > /dev/null; echo > /etc/hosts; echo"
    for words in ((), ("-t",), ("--read-only",)):
        result = nacre("run", "--rm", *words, image, "/bin/sh", "-c", script, check=False)
        outside.check()
        assert outside.SECRET not in result.out
        if result.code == 0:
            assert "1:3" in result.out, result
        else:
            assert place not in ("dev-null", "dev-pts", "dev-shm"), result
        assert leftovers(nacre.root) == []


def test_cve_2019_16884_and_2025_52881_volumes_do_not_go_into_proc(
    nacre: Any, hostile: Hostile, tmp_path: Path
) -> None:
    """runc: a volume over /proc hid the files in which confinement is set, straight or through a link."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_text("x")
    image = hostile(Layer().link("door", "/proc").link("file", "/proc/sysrq-trigger").bytes())
    for source, target in (
        (volume, "/proc"), (volume, "/proc/self"), (volume, "/door/1"), (volume / "file", "/proc/sysrq-trigger"),
        (volume / "file", "/file"), (volume, "/proc/../proc/sys"), (volume, "/bin/../door"),
    ):  # fmt: skip
        result = nacre("run", "--rm", "-v", f"{source}:{target}", image, "echo", "ran", check=False)
        assert "/proc" in sentence(result, (125, 126)), result
        sentence(nacre("run", "--rm", "--tmpfs", target, image, "echo", check=False), (125, 126))


def test_cve_2021_30465_and_2023_27561_targets_stay_inside(
    nacre: Any, hostile: Hostile, outside: Outside, tmp_path: Path
) -> None:
    """runc: the target of a mount is a link of the image that leads out."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "mine").write_text("mine")
    layer = Layer().link("abs", str(outside)).link("rel", outside.from_root()).link("loop", "loop")
    image = hostile(layer.bytes())
    for target in ("/abs", "/rel", "/abs/inner", f"/../../..{outside}", "/rel/y"):
        assert inside(nacre, image, f"ls {target}", "-v", f"{volume}:{target}") == "mine\n"
        assert inside(nacre, image, f"ls {target}", "--tmpfs", target) == ""
        outside.check()
    sentence(nacre("run", "--rm", "-v", f"{volume}:/loop", image, "true", check=False), (125, 126))
    assert leftovers(nacre.root) == []


def test_cve_2024_45310_no_empty_files_appear_on_the_host(
    nacre: Any, hostile: Hostile, outside: Outside
) -> None:
    """runc: places to mount on were created through a link that was swapped meanwhile."""
    image = hostile(Layer().link("way", str(outside)).bytes())
    volume = outside.folder / "inner"
    inside(nacre, image, "ls /way/new/folder", "-v", f"{volume}:/way/new/folder", "-w", "/way/new")
    inside(nacre, image, "true", "-w", "/way/new/working/folder")


def test_cve_2022_23648_volumes_of_the_image_copy_nothing(
    nacre: Any, hostile: Hostile, outside: Outside
) -> None:
    """containerd copied what a volume path named, after following `..`, into the volume."""
    paths = (f"/../../..{outside}", f"/{outside.from_root()}", "/link", str(outside))
    image = hostile(Layer().link("link", str(outside)).bytes(), run={"Volumes": {path: {} for path in paths}})
    script = f"cat {outside}/secret /link/secret; find / -name secret -not -path '/proc/*'"
    assert outside.SECRET not in nacre("run", "--rm", image, "sh", "-c", script, check=False).out
    nacre("create", "--name", "one", image, "true")
    nacre("start", "-a", "one")
    nacre("rm", "one")


@pytest.mark.parametrize("words", [(), ("-u", "1000"), ("--cap-add", "ALL"), ("--privileged",)])
def test_cve_2022_24769_nothing_is_inherited(nacre: Any, busybox_image: str, words: tuple[str, ...]) -> None:
    """docker and runc: inheritable capabilities were not empty."""
    status = inside(nacre, busybox_image, "grep -E 'Cap(Inh|Amb)' /proc/self/status", *words)
    assert status.split() == ["CapInh:", "0" * 16, "CapAmb:", "0" * 16]


def test_cve_2022_36109_and_2989_supplementary_groups(
    nacre: Any, busybox_image: str, needs_ids: None
) -> None:
    """docker, podman, containerd: the groups were those of somebody else, or the primary one was missing."""
    for user, groups in (
        ("user", "1000 2000"), ("1000", "1000 2000"), ("root", "0"), ("0", "0"), ("4711", "0"),
        ("user:root", "0"), ("4711:12", "12"),
    ):  # fmt: skip
        script = "grep Groups: /proc/self/status; id -G"
        out = inside(nacre, busybox_image, script, "-u", user).splitlines()
        assert sorted(out[0].split()[1:]) == sorted(groups.split()), user


@pytest.mark.parametrize(
    "user", ["2147483648", "4294967295", "4294967296", "65536:4294967296", "-1", "99999999999999999999999"]
)
def test_cve_2024_40635_ids_do_not_wrap(nacre: Any, hostile: Hostile, user: str) -> None:
    """containerd: user id 4294967296 was root."""
    sentence(nacre("run", "--rm", f"--user={user}", hostile(), "id", "-u", check=False), (125, 126))
    image = hostile(Layer().file("x").bytes(), run={"User": user})
    sentence(nacre("run", "--rm", image, "id", "-u", check=False), (125, 126))
    result = nacre("build", "-t", "evil:2", "-", input=f"FROM {image}\nUSER {user}\nRUN id\n", check=False)
    sentence(result)


def test_cve_2024_40635_ids_in_passwd_do_not_wrap(nacre: Any, hostile: Hostile) -> None:
    passwd = b"big:x:4294967296:0::/:/bin/sh\ngroup:x:5:4294967296::/:/bin/sh\nneg:x:-1:-1::/:/bin/sh\n"
    image = hostile(Layer().file("etc/passwd", passwd).bytes())
    for user in ("big", "group", "neg"):
        sentence(nacre("run", "--rm", "-u", user, image, "id", "-u", check=False), (125, 126))


@pytest.mark.parametrize("kind", ["fifo", "huge", "link", "folder", "device"])
def test_cve_2024_9676_passwd_that_is_no_file(
    nacre: Any, hostile: Hostile, outside: Outside, kind: str
) -> None:
    """containers/storage: /etc/passwd that never ends, or that is a file of the host."""
    layer = Layer()
    if kind == "fifo":
        layer.fifo("etc/passwd").fifo("etc/group")
    elif kind == "huge":
        layer.file("etc/passwd", b"a:x:1:1::/:/bin/sh\n" * 200_000).link("etc/group", "passwd")
    elif kind == "link":
        layer.link("etc/passwd", f"{outside}/passwd").link("etc/group", "/proc/self/environ")
        (outside.folder / "passwd").chmod(0o640)
    elif kind == "folder":
        layer.link("etc/group", "/").link("etc/passwd", "/tmp")
    else:
        layer.link("etc/group", "/dev/zero").link("etc/passwd", "/dev/zero")
    outside._before = outside._snapshot()
    image = hostile(layer.bytes())
    said = sentence(
        nacre("run", "--rm", "-u", "nobody-knows-me", image, "id", check=False, timeout=60), (125, 126)
    )
    assert outside.SECRET not in said
    assert inside(nacre, image, "echo ran") == "ran\n"


def test_cve_2019_14271_nothing_of_the_image_is_loaded(nacre: Any, hostile: Hostile, tmp_path: Path) -> None:
    """docker-tar, in the root of the container, loaded the container's libnss. Settings and modules as well."""
    trap = f"import os\nos.system('touch {tmp_path}/sprung /sprung')\n".encode()
    layer = Layer()
    for folder in ("", "evil/", "srv/", *(f"{path.lstrip('/')}/" for path in sys.path if path)):
        for module in ("encodings", "ctypes", "site", "sitecustomize", "sqlite3", "fcntl", "struct", "json"):
            layer.file(f"{folder}{module}.py", trap)
    for library in ("libnss_files.so.2", "libc.so.6", "libseccomp.so.2"):
        layer.file(f"lib/{library}", b"\x7fELF evil", 0o755)
    env = ["PATH=/bin", "PYTHONPATH=/evil", "PYTHONSTARTUP=/evil/site.py", "LD_PRELOAD=/lib/libc.so.6",
           "PYTHONHOME=/evil", "PYTHONINSPECT=1"]  # fmt: skip
    image = hostile(layer.bytes(), run={"Env": env, "WorkingDir": "/evil"})
    for words in ((), ("-u", "user"), ("-t",)):
        result = nacre("run", "--rm", *words, image, "/bin/busybox", "ls", "/sprung", check=False)
        assert result.code == 1, result
    assert not (tmp_path / "sprung").exists()


def test_cve_2018_15664_tidying_up_stays_inside(nacre: Any, hostile: Hostile, outside: Outside) -> None:
    """What was made to mount on is removed afterwards: not where the container has put a link meanwhile."""
    volume = outside.folder / "inner"
    script = f"mkdir /old; mv /a /old/; ln -s {outside} /a; ls -d /a"
    for words in ((), ("--rm",)):
        result = nacre(
            "run", *words, "-v", f"{volume}:/a/y/deep:ro", "-v", f"{volume}:/b/y:ro", hostile(), "sh", "-c", script,
            check=False,
        )  # fmt: skip
        assert outside.SECRET not in result.out
        outside.check()
