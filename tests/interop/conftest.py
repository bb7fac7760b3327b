"""Real peers, each with storage of its own below a temporary folder, started and stopped here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import remove

ROOTLESS = os.geteuid() != 0


def require(*programs: str) -> None:
    """Skip, visibly, when a peer is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def require_root(peer: str) -> None:
    if ROOTLESS:
        pytest.skip(f"{peer} is driven as root here")


class Peer:
    """A command line with fixed leading words. Calls return stdout; a failure shows stderr."""

    def __init__(self, *words: str, env: dict[str, str] | None = None) -> None:
        self.words = words
        self.env = {**os.environ, **(env or {})}

    def __call__(self, *arguments: str, check: bool = True, code: int = 0) -> str:
        done = subprocess.run(
            [*self.words, *arguments], capture_output=True, text=True, env=self.env, timeout=300, check=False
        )
        if check and done.returncode != code:
            raise AssertionError(f"{' '.join([*self.words, *arguments])}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def json(self, *arguments: str) -> object:
        return json.loads(self(*arguments))


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    require("skopeo")
    policy = tmp_path_factory.mktemp("skopeo") / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return Peer("skopeo", "--policy", str(policy))


# podman's crun refuses the mixed cgroups of some machines until the empty v2 tree is out of sight.
_PRIVATE = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec podman "$@"'


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    require("podman")
    require_root("podman")
    base = tmp_path_factory.mktemp("podman")
    config = base / "containers.conf"
    config.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    policy = base / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    registries = base / "registries.conf"
    registries.write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    words = ("unshare", "--mount", "sh", "-c", _PRIVATE, "podman")
    storage = ("--root", str(base / "root"), "--runroot", str(base / "run"))
    env = {"CONTAINERS_CONF": str(config), "CONTAINERS_REGISTRIES_CONF": str(registries)}
    return Peer(*words, *storage, env=env)


@pytest.fixture(scope="session")
def runtime_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`nacre-runtime` of this tree as a program, as other engines want it."""
    path = tmp_path_factory.mktemp("runtime") / "nacre-runtime"
    start = "from nacre.runtime.main import entry; entry()"
    path.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c '{start}' \"$@\"\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory, runtime_program: str) -> Iterator[Peer]:
    require("docker", "dockerd", "containerd", "runc")
    require_root("dockerd")
    base = tmp_path_factory.mktemp("docker")
    socket = base / "sock"
    words = [
        "dockerd", "--data-root", str(base / "data"), "--exec-root", str(base / "exec"),
        "--pidfile", str(base / "pid"), "--host", f"unix://{socket}",
        "--bridge", "none", "--iptables=false", "--ip6tables=false",
        "--add-runtime", f"nacre={runtime_program}",
    ]  # fmt: skip
    with (base / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    client = Peer("docker", "--host", f"unix://{socket}")
    try:
        _await(lambda: client("version", check=False) and socket.exists() and _answers(client), daemon, base)
        yield client
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """containerd alone, by its client."""
    require("containerd", "ctr", "containerd-shim-runc-v2")
    require_root("containerd")
    base = Path(tempfile.mkdtemp(prefix="nacre-", dir="/tmp"))  # a name of a socket has 107 bytes at most
    (base / "config.toml").write_text(
        f'version = 2\nroot = "{base}/root"\nstate = "{base}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
        f'[grpc]\n  address = "{base}/sock"\n[ttrpc]\n  address = "{base}/ttrpc"\n'
    )
    with (base / "log").open("wb") as log:
        daemon = subprocess.Popen(["containerd", "-c", base / "config.toml"], stdout=log, stderr=log)
    client = Peer("ctr", "--address", f"{base}/sock")
    try:
        _await(lambda: "Server" in client("version", check=False), daemon, base)
        yield client
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)
        remove(base)


def _answers(client: Peer) -> bool:
    return "Server Version" in client("info", check=False)


def _await(ready: Callable[[], object], daemon: subprocess.Popen[bytes], base: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if daemon.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"{daemon.args[0]} does not start here: " + (base / "log").read_text()[-500:])
