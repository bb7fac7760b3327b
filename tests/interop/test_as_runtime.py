"""`nacre-runtime` as the runtime of other engines."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import needs_userns, remove

from .conftest import Peer, require

_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
_RUN = ("run", "--network", "none", *_LIMITS)


@pytest.fixture
def image(tmp_path: Path, busybox_tar: bytes) -> str:
    """A root file system for `import`."""
    (tmp_path / "root.tar").write_bytes(busybox_tar)
    return str(tmp_path / "root.tar")


@pytest.fixture
def users_podman(tmp_path: Path) -> Iterator[Peer]:
    """podman as an ordinary user, with storage that needs no mounts."""
    require("podman", "newuidmap")
    if not os.geteuid():
        pytest.skip("podman is driven as an ordinary user here")
    needs_userns()
    config = tmp_path / "containers.conf"
    config.write_text('[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n')
    run = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))  # podman takes 50 characters at most
    folders = ("--root", str(tmp_path / "storage"), "--runroot", str(run))
    env = {"CONTAINERS_CONF": str(config), "HOME": str(tmp_path)}
    yield Peer("podman", "--storage-driver", "vfs", *folders, env=env)
    remove(tmp_path / "storage")
    remove(run)


def test_podman(podman: Peer, runtime_program: str, image: str) -> None:
    """A life with exec, pause and a signal; limits, a tmpfs and a user namespace."""
    engine = Peer(*podman.words, "--runtime", runtime_program, env=podman.env)
    engine("import", image, "oci-test")
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    words = ("--rm", "--memory", "50m", "--tmpfs", "/etc", "--read-only")
    assert engine(*_RUN, *words, "oci-test", "sh", "-c", f"{script}; cat /etc/passwd").startswith(
        "52428800\nroot"
    )
    maps = ("--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000")
    seen = engine(*_RUN, "--rm", *maps, "oci-test", "cat", "/proc/self/uid_map").split()
    assert seen == ["0", "100000", "1000"]
    name = engine(*_RUN, "--detach", "oci-test", "sleep", "1000").strip()
    assert engine("exec", name, "echo", "hello") == "hello\n"
    engine("pause", name)
    engine("unpause", name)
    engine("kill", name)
    assert engine("wait", name) == "137\n"
    engine("rm", name)


def test_podman_as_a_user(users_podman: Peer, runtime_program: str, image: str) -> None:
    engine = Peer(*users_podman.words, "--runtime", runtime_program, env=users_podman.env)
    engine("import", image, "oci-test")
    words = ("run", "--network", "none", "--ulimit", "host")
    assert engine(*words, "--rm", "oci-test", "id", "-u") == "0\n"
    name = engine(*words, "--detach", "--userns", "keep-id", "oci-test", "sleep", "1000").strip()
    assert engine("exec", name, "id", "-u") == f"{os.geteuid()}\n"
    engine("rm", "--force", "--time", "0", name)


def test_docker(docker: Peer, image: str) -> None:
    docker("import", image, "oci-test")
    words = (*_RUN, "--runtime", "nacre")
    assert docker(*words, "--rm", "oci-test", "echo", "hello") == "hello\n"
    name = docker(*words, "--detach", "--name", "oci-test", "oci-test", "sleep", "1000").strip()
    assert docker("exec", name, "echo", "hello") == "hello\n"
    assert "sleep 1000" in docker("top", name)
    docker("pause", name)
    docker("unpause", name)
    docker("kill", name)
    assert docker("wait", name) == "137\n"
    docker("rm", name)
    missing = docker(*words, "--rm", "oci-test", "nothere", check=False)
    assert missing == ""


def test_containerd(
    containerd: Peer, runtime_program: str, nacre: Any, busybox_image: str, tmp_path: Path
) -> None:
    """By its shim, without another engine: limits, exec, pause, the end and errors."""
    nacre("save", "-o", str(tmp_path / "image.tar"), busybox_image)
    containerd("images", "import", "--snapshotter", "native", str(tmp_path / "image.tar"))
    image = containerd("images", "ls", "-q").strip()
    group = f"/nacre-test-{os.getpid()}"
    runtime = ("--runc-binary", runtime_program, "--runc-root", str(tmp_path / "state"))
    words = ("run", "--snapshotter", "native", *runtime, "--cgroup", group, "--memory-limit", "20000000")
    assert containerd(*words, "--rm", image, "one", "sh", "-c", "echo hello; exit 3", code=3) == "hello\n"
    eat = "exec tail -c 100m /dev/zero"
    containerd(*words, "--rm", image, "two", "sh", "-c", eat, code=137)
    containerd(*words, "--detach", image, "box", "sleep", "1000")
    assert containerd("task", "exec", "--exec-id", "x", "box", "id", "-u") == "0\n"
    for verb, state in (("pause", "PAUSED"), ("resume", "RUNNING")):
        containerd("task", verb, "box")
        assert containerd("task", "ls").split()[-1] == state
    containerd("task", "kill", "--signal", "KILL", "box")
    containerd("task", "rm", "--force", "box", check=False)
    containerd("container", "rm", "box")
    assert not (tmp_path / "state/default/box").exists()
    containerd(*words, "--rm", image, "three", "nothere", code=1)
    assert not [path for path in Path("/sys/fs/cgroup").glob(f"*{group}") if path.exists()]


def test_buildah(podman: Peer, runtime_program: str, image: str, tmp_path: Path) -> None:
    require("buildah")
    (tmp_path / "Dockerfile").write_text(
        f"FROM scratch\nADD {Path(image).name} /\nRUN echo it runs > /made; cat /made\n"
    )
    run = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))  # podman takes 50 characters at most
    folders = ("--root", str(tmp_path / "storage"), "--runroot", str(run))
    engine = Peer("buildah", "--storage-driver", "vfs", *folders, env=podman.env)
    words = ("--isolation", "oci", "--runtime", runtime_program, "--network", "none", *_LIMITS)
    assert "it runs" in engine("build", *words, str(tmp_path))
    shutil.rmtree(tmp_path / "storage")
