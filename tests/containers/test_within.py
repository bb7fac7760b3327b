"""Containers within containers: another engine, ours, a filter or a chroot stands around nacre."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from machine import needs_userns, remove
from test_confined import Confined

import nacre as package
from nacre.ground import userns

if TYPE_CHECKING:
    from conftest import Nacre

IS_ROOT = os.geteuid() == 0
INSIDE = f"""
set -e
nacre() {{ {shlex.quote(sys.executable)} -P -m nacre --root "$STORE" "$@"; }}
nacre import --change 'ENV PATH=/bin' - bb:1 < "$TAR" > /dev/null
nacre run --rm bb:1 sh -c 'echo "run: $(id -u) $(cat /etc/passwd | wc -l)"; echo > /dev/null; echo > /tmp/x'
mkdir "$STORE/context"
printf 'FROM bb:1\\nRUN echo built > /made\\n' > "$STORE/context/Dockerfile"
nacre build -q -t made "$STORE/context" > /dev/null
nacre run --rm -u user made sh -c 'echo "made: $(id -u) $(cat /made)"'
nacre run -d --name box bb:1 sleep 1000 > /dev/null
echo "exec: $(nacre exec box sh -c 'echo $(ls /bin/busybox) $(cat /etc/passwd | wc -l)')"
echo "cp: $(nacre cp box:/etc/passwd - | tar -xO | wc -l)"
nacre rm -f box
"""
SAID = ["run: 0 2", "made: 1000 built", "exec: /bin/busybox 2", "cp: 2", "box"]
OUT = """
import os
os.mkdir("/e"), os.chroot("/e")
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print(*os.listdir("/"))
"""


def toolbox() -> list[str]:
    """Folders that nacre needs where nothing else is."""
    own = {sys.base_prefix, sys.prefix, str(Path(package.__file__).parents[1]), "/usr", "/lib", "/lib64"}
    here = {path for path in own if os.path.isdir(path)}
    return sorted(path for path in here if not any(path.startswith(f"{other}/") for other in here))


def shown(*more: str) -> list[str]:
    """Options that show them to a container."""
    paths = [f"{path}:{path}:ro" for path in toolbox()]
    return [word for volume in (*paths, *more) for word in ("-v", volume)]


@pytest.fixture
def tar(busybox_tar: bytes, tmp_path: Path) -> Path:
    if not userns.mapped():
        needs_userns()
        if userns.call(userns.enter).single:
            pytest.skip("other users need a range of subordinate ids")
    path = tmp_path / "root.tar"
    path.write_bytes(busybox_tar)
    return path


def said(nacre: Nacre, command: list[str], tar: Path, store: str) -> list[str]:
    """What the script prints as the last words of `command`."""
    env = nacre.env | {"STORE": store, "TAR": str(tar)}
    del env["DOCKER_CONFIG"]  # podman takes a folder that is not there for a mistake
    done = subprocess.run(
        [*command, "sh", "-c", INSIDE],
        capture_output=True,
        text=True,
        env=env,
        cwd="/",
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def needs_root() -> None:
    if not IS_ROOT or not userns.is_first():
        pytest.skip("needs root")


# --- our own container around us


@pytest.mark.parametrize(
    "options",
    [(), ("--cap-add", "SYS_ADMIN"), ("--privileged",), ("--security-opt", "seccomp=unconfined")],
    ids=["default", "SYS_ADMIN", "privileged", "unconfined"],
)  # fmt: skip
def test_within_nacre(nacre: Nacre, tar: Path, options: tuple[str, ...]) -> None:
    nacre("import", "--change", "ENV PATH=/bin", str(tar), "outer")
    (nacre.folder / "inner").mkdir()
    volumes = shown(f"{tar}:{tar}", f"{nacre.folder}/inner:/inner")
    around = nacre.command("run", "--rm", *options, "-e", "STORE", "-e", "TAR", *volumes, "outer")
    try:
        assert said(nacre, around, tar, "/inner/store") == SAID
    finally:
        remove(nacre.folder / "inner")


# --- podman around us


@pytest.fixture
def podman(tar: Path, peer: Callable[..., None]) -> Iterator[list[str]]:
    """`podman run` of that root, its store at /inner. Its own folders have short names, as it wants them."""
    peer("podman")
    needs_root()
    with tempfile.TemporaryDirectory(prefix="p") as folder:
        root = f"{folder}/root"
        for name in ("dev", "proc", "sys", "run", "inner"):
            os.makedirs(f"{root}/{name}")
        subprocess.run(["tar", "-xf", tar, "-C", root], check=True)
        os.mkdir(f"{folder}/inner")
        volumes = shown(f"{tar}:{tar}", f"{folder}/inner:/inner")
        unmount = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'  # crun wants one hierarchy
        words = ["unshare", "-m", "sh", "-c", unmount, "sh", "podman", "--root", f"{folder}/s"]
        words += ["--runroot", f"{folder}/r", "run", "--rm", "--network", "none", "-e", "STORE", "-e", "TAR"]
        words += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", *volumes, "--rootfs", root]
        tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"podman does not work here: {tried.stderr[-300:]}")
        yield words
        remove(Path(folder) / "inner")


@pytest.mark.parametrize(
    "options", [(), ("--cap-add", "SYS_ADMIN"), ("--privileged",)], ids=["default", "SYS_ADMIN", "privileged"]
)
def test_within_podman(nacre: Nacre, tar: Path, podman: list[str], options: tuple[str, ...]) -> None:
    assert said(nacre, [*podman[:-2], *options, *podman[-2:]], tar, "/inner/store") == SAID


# --- its restrictions, one by one


@pytest.fixture
def confined(nacre: Nacre, tar: Path) -> Callable[..., Confined]:
    def make(*options: str) -> Confined:
        found = Confined(nacre, *options)
        found("import", "--change", "ENV PATH=/bin", str(tar), "bb:1")
        return found

    return make


def test_no_host_name(confined: Callable[..., Confined]) -> None:
    """podman's list of system calls has no sethostname for those without CAP_SYS_ADMIN."""
    inside = confined("--no=sethostname")
    for options in ((), ("--network", "none"), ("-h", os.uname().nodename)):
        assert inside("run", "--rm", *options, "bb:1", "echo", "runs").out == "runs\n"
    done = inside("run", "--rm", "-h", "other", "bb:1", "true", check=False)
    assert done.code == 125
    assert "the host name cannot be set to other" in done.err


def test_a_proc_with_masks(nacre: Nacre, tar: Path) -> None:
    """The kernel allows no new one; the one around is shown, and says nothing of us even to who may trace."""
    needs_root()
    around = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc/fs && exec "$@"', "sh")
    helper = Confined(nacre, "--capabilities", "--no=sethostname")
    assert said(nacre, [*around, *helper.command()[:-6]], tar, f"{nacre.root}") == SAID
    script = (
        'for p in /proc/[0-9]*; do cat $p/environ; done 2>/dev/null | tr "\\\\0" "\\\\n" | grep -c ^STORE='
    )
    words = helper.command("run", "--rm", "--privileged", "bb:1", "sh", "-c", script)
    done = subprocess.run(
        [*around, *words], capture_output=True, text=True, env=nacre.env | {"STORE": "secret"}, check=False
    )
    assert done.stdout == "0\n", done


def test_no_pivot_root(confined: Callable[..., Confined]) -> None:
    """docker's list has none even with CAP_SYS_ADMIN. The old root is beneath, and nobody gets there."""
    inside = confined("--no=pivot_root")
    inside("run", "-d", "--name", "box", "bb:1", "sleep", "1000")
    try:
        assert inside("exec", "box", "ls", "/").out == inside("run", "--rm", "bb:1", "ls", "/").out
    finally:
        inside("rm", "-f", "box")
    done = inside("run", "--rm", "--privileged", "bb:1", "true", check=False)
    assert done.code == 125
    assert "pivot_root is not permitted here" in done.err


def test_no_loopback(nacre: Nacre, tar: Path, peer: Callable[..., None]) -> None:
    peer("setpriv")
    needs_root()
    nacre("import", "--change", "ENV PATH=/bin", str(tar), "bb:1")
    words = nacre.command("run", "--rm", "--network", "none", "bb:1", "true")
    around = ["setpriv", "--bounding-set=-net_admin"]
    done = subprocess.run([*around, *words], capture_output=True, text=True, env=nacre.env, check=False)
    assert (done.returncode, done.stderr) == (
        125, "nacre: --network none needs CAP_NET_ADMIN for its loopback\n",
    )  # fmt: skip


# --- a chroot around us


def chroot(tmp_path: Path, kind: str) -> list[str]:
    """Into a folder that shows all that the machine has; with `mount` it is a mount point itself."""
    new = tmp_path / "root"
    new.mkdir()
    steps = ["mount --make-rslave /", f"mount -t tmpfs none {new}" if kind == "mount" else "true"]
    for entry in os.scandir("/"):
        place = f"{new}/{entry.name}"
        if entry.is_symlink():
            steps.append(f"ln -s {os.readlink(entry.path)} {place}")
        elif entry.is_dir():
            steps.append(f"mkdir {place} && mount --rbind {entry.path} {place}")
    return ["unshare", "-m", "sh", "-c", " && ".join([*steps, f'exec chroot {new} "$@"']), "sh"]


@pytest.mark.parametrize("driver", ["auto", "overlay", "plain"])
@pytest.mark.parametrize("kind", ["folder", "mount"])
def test_within_a_plain_chroot(nacre: Nacre, tar: Path, tmp_path: Path, kind: str, driver: str) -> None:
    needs_root()
    nacre.env["NACRE_STORAGE_DRIVER"] = driver
    assert said(nacre, chroot(tmp_path, kind), tar, str(nacre.root)) == SAID


@pytest.mark.parametrize("place", ["pivot_root", "folder", "mount"])
def test_there_is_no_way_out(nacre: Nacre, tar: Path, tmp_path: Path, place: str) -> None:
    """The old one: a chroot in the container, and up from the folder that one has left."""
    if place != "pivot_root":
        needs_root()
    around = (
        Confined(nacre, "--no=pivot_root").command()[:4] if place == "pivot_root" else chroot(tmp_path, place)
    )
    nacre("import", "--change", "ENV PATH=/bin", str(tar), "bb:1")
    words = nacre.command("run", "--rm", *shown(), "bb:1", sys.executable, "-I", "-c", OUT)
    done = subprocess.run([*around, *words], capture_output=True, text=True, env=nacre.env, check=False)
    assert {"bin", "e", "srv", "tmp"} <= set(done.stdout.split()), done
    assert not {"boot", "var"} & set(done.stdout.split())


def test_without_proc(nacre: Nacre, tmp_path: Path) -> None:
    needs_root()
    around = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    done = subprocess.run(
        [*around, *nacre.command("info")], capture_output=True, text=True, env=nacre.env, check=False
    )
    assert done.stderr == "nacre: nacre needs /proc, which is not mounted\n"
