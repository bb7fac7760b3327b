"""The tools compared, each with storage of its own below the scratch folder, started and stopped here."""

from __future__ import annotations

import io
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import adopter
from .harness import Skip

ROOT = Path(__file__).resolve().parents[1]
BASE = "bench-base"
"""The name under which every peer has the base image."""

_CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


class Peer:
    """A command line: `words` go before every command, `env` is added to the environment."""

    name = ""
    words: Sequence[str] = ()
    daemon = 0
    """The process that does the work, if it is not the command itself."""

    def __init__(self) -> None:
        self.env: dict[str, str] = {}

    def call(self, *words: str, input: bytes | None = None) -> str:
        """Run to the end, untimed. Raises Skip when it fails."""
        done = self._run(*words, input=input)
        if done.returncode:
            raise Skip(
                f"{' '.join(words)} ended with {done.returncode}: {done.stderr.decode()[-300:].strip()}"
            )
        return done.stdout.decode()

    def _run(self, *words: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        env: Mapping[str, str] = {**os.environ, **self.env}
        return subprocess.run([*self.words, *words], input=input, capture_output=True, env=env, check=False)

    def remove_containers(self) -> None:
        """End and remove what an interrupted scenario has left running."""
        found = self._run("ps", "-aq")
        ids = found.stdout.decode().split() if found.returncode == 0 else []
        if ids:
            self._run("rm", "-f", *ids)

    def version(self) -> str:
        """One line."""
        return self.call("--version").strip()

    def load_base(self, tar: bytes) -> None:
        """Have the base image under its name."""
        self.call("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-", BASE, input=tar)


class Nacre(Peer):
    """Ours, from a plain installation with compiled modules, as a user has it."""

    name = "nacre"

    def __init__(self, scratch: Path, program: str = "") -> None:
        super().__init__()
        self.words = [program or _install(scratch), "--root", str(scratch / "nacre")]

    def at(self, root: Path) -> Nacre:
        """The same program with other storage."""
        return Nacre(root.parent, self.words[0])


def users_nacre(folder: Path, user: int) -> str:
    """Ours, below `folder`, with a Python that `user` may start. Raises Skip."""
    python = next((p for p in (sys.executable, "/usr/bin/python3") if _may_start(user, p)), "")
    if not python:
        raise Skip(f"user {user} may start no Python 3.11")
    return _install(folder, python)


def _may_start(user: int, python: str) -> bool:
    words = [
        "setpriv",
        f"--reuid={user}",
        "--clear-groups",
        python,
        "-c",
        "import sys; sys.version_info >= (3, 11) or exit(1)",
    ]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _install(scratch: Path, python: str = sys.executable) -> str:
    venv = scratch / "venv"
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([venv / "bin/pip", "install", "-q", f"{ROOT}[python,registry]"], check=True, env=env)
    return str(venv / "bin/nacre")


class Podman(Peer):
    """podman with its default runtime; `program` buildah uses the same storage."""

    def __init__(self, scratch: Path, program: str = "podman") -> None:
        super().__init__()
        require(program)
        self.name = program
        folder = scratch / "podman"
        folder.mkdir(exist_ok=True)
        (folder / "containers.conf").write_text(_CONTAINERS)
        (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.env = {"CONTAINERS_CONF": str(folder / "containers.conf")}
        self.words = [newest(program), "--root", str(folder / "root"), "--runroot", str(folder / "run")]
        self.storage = folder / "root"

    def at(self, folder: Path) -> Podman:
        """The same program with storage below another folder."""
        folder.mkdir()
        return Podman(folder)


class Skopeo(Peer):
    """skopeo with a home of its own, where it remembers what it has seen."""

    name = "skopeo"

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        require("skopeo")
        folder = scratch / "skopeo"
        folder.mkdir(exist_ok=True)
        (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.env = {"HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        self.words = [newest("skopeo"), "--policy", str(folder / "policy.json")]


class Docker(Peer):
    """docker with a dockerd of its own: `stack` stops it at the end. Its containers are below `daemon`."""

    name = "docker"

    def __init__(
        self, folder: Path, stack: ExitStack, before: Sequence[str] = (), *, bridge: bool = False
    ) -> None:
        """`before` are words before the daemon's; with `bridge` it has its default network."""
        super().__init__()
        require("docker", "dockerd", "containerd")
        if os.geteuid():
            raise Skip("dockerd wants root")
        folder.mkdir(exist_ok=True)
        socket, self.storage = folder / "sock", folder / "data"
        self.words = [newest("docker"), "--host", f"unix://{socket}"]
        self.env = {"DOCKER_CONFIG": str(folder / "config")}
        alone = [] if bridge else ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        words = [
            sys.executable, "-I", "-S", adopter.__file__, *before, newest("dockerd"),
            "--data-root", str(folder / "data"),
            "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"),
            "--host", f"unix://{socket}", *alone,
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(words, stdout=log, stderr=log)
        stack.callback(_stop, daemon)
        self.daemon = daemon.pid
        self._await(daemon, folder / "log")

    def _await(self, daemon: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.call("version")
            except Skip:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise Skip("dockerd does not start: " + log.read_text()[-300:]) from None
                time.sleep(0.05)
            else:
                return


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(timeout=60)


def require(*programs: str) -> None:
    """Raises Skip unless all are installed."""
    for program in programs:
        newest(program)


def newest(program: str) -> str:
    """The path of the newest of that name in the folders of PATH. Raises Skip when there is none."""
    folders = dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep))
    found = [path for folder in folders if (path := shutil.which(program, path=folder))]
    if not found:
        raise Skip(f"{program} is not installed")
    return max(found, key=_version) if len(found) > 1 else found[0]


def _version(path: str) -> tuple[int, ...]:
    """The first number with a dot that it tells of itself."""
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"\d+(?:\.\d+)+", told)
    return tuple(map(int, number[0].split("."))) if number else ()


def busybox_tar() -> bytes:
    """A root file system of one static program, as the base of everything small. Raises Skip."""
    program = shutil.which("busybox")
    data = Path(program).read_bytes() if program else b""
    if not data or b"/ld-linux" in data[:8192]:
        raise Skip("busybox-static is not installed")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "srv", "proc", "sys", "dev"):
            _add(tar, folder, tarfile.DIRTYPE)
        _add(tar, "bin/busybox", tarfile.REGTYPE, data)
        for applet in ("sh", "true", "cat", "echo", "ls", "mkdir", "cp", "seq", "sleep"):
            _add(tar, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        _add(tar, "etc/passwd", tarfile.REGTYPE, b"root:x:0:0:root:/:/bin/sh\n")
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, kind: bytes, data: bytes = b"", link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname, info.mtime = kind, 0o755, len(data), link, 1_700_000_000
    tar.addfile(info, io.BytesIO(data))


def account(name: str) -> pwd.struct_passwd:
    """A user made for this, with a range of ids. Raises Skip."""
    if os.geteuid():
        raise Skip("only root may become another user")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
        ranges = ["--add-subuids", "500000-565535", "--add-subgids", "500000-565535"]
        subprocess.run(["usermod", *ranges, name], check=True)
    return pwd.getpwnam(name)
