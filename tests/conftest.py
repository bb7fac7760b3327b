"""Fixtures shared by all rooms. What one room alone needs stands in its own conftest.py."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hugepages import collapse
from hypothesis import settings
from machine import needs_root, needs_userns, remove, reserved_port
from postgreskit import PostgresServer, programs

from nacre.ground import userns
from nacre.stores.blobpolicy import BlobPolicy

# The checkout may belong to somebody else, and a busy machine is no failure.
settings.register_profile("nacre", database=None, deadline=None)
settings.load_profile("nacre")
# A shell without job control starts what is put in its background with SIGINT ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"
COMMAND = [sys.executable, "-P", str(Path(sys.executable).with_name("nacre"))]
"""As it is installed: `python -m nacre` takes a third longer, for what `runpy` imports."""
_USER = os.geteuid()
APPLETS = """
sh cat chmod chown cp cut date echo env false find grep head hostname id ifconfig ip kill ln ls mkdir mknod
mount mv nc printf ps pwd readlink rm rmdir sed seq sleep sort stat stty sync tail tar test touch trap true
tty umount uname vi wc wget whoami xargs yes
"""


def pytest_collection_finish() -> None:
    """Tests fork this process, as an ordinary user at each call that enters a user namespace."""
    collapse()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Else all tests that follow run as root of a user namespace, and what fails is another one."""
    if os.geteuid() != _USER:
        pytest.exit(f"{item.nodeid} has entered a user namespace in the process of the tests", 1)


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """skopeo looks for credentials in /run, where an ordinary user without a session has no folder."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="session", autouse=True)
def roomy_disk() -> None:
    """However full the disk of the machine is: what a store keeps depends on it."""
    BlobPolicy._space = lambda _: (1 << 50, 1 << 50)  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A server for all tests that ask for one; each makes databases of its own."""
    server = PostgresServer(programs())
    yield server
    server.stop()


def require(*programs: str) -> None:
    """Skip, visibly, unless every program is installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def peer() -> Callable[..., None]:
    """`peer("skopeo", "podman")` skips unless all are installed."""
    return require


@pytest.fixture(scope="session")
def corpus() -> Callable[..., Path]:
    """`corpus("tar-go")` is a folder of the corpus beside the checkout; skips where it is absent."""

    def find(*parts: str) -> Path:
        path = CORPUS.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"{'/'.join(('corpus', *parts))} is not on this machine")
        return path

    return find


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """`free_port()` is a port at which nobody answers while the test runs."""
    with ExitStack() as held:
        yield lambda: held.enter_context(reserved_port()).getsockname()[1]


class Result:
    """How a command ended: `code`, `out` and `err` as text."""

    def __init__(self, words: list[str], done: subprocess.CompletedProcess[bytes]) -> None:
        self.words, self.code, self.raw = words, done.returncode, done.stdout
        self.out, self.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Standard output in lines."""
        return self.out.splitlines()

    def __repr__(self) -> str:
        return f"nacre {' '.join(self.words)}: exit code {self.code}\n{self.out}{self.err}"


class Nacre:
    """The real command line in a process of its own, with the store `root`."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("NACRE_", "XDG_"))
        }
        self.env.pop("PYTHONUNBUFFERED", None)
        self.env["NACRE_LAYER_BLOBS"] = "keep"  # however full the disk of the machine is
        if os.geteuid() == 0:  # whose default changes the machine: it is tested in tests/network
            self.env["NACRE_NETWORK"] = "host"
        elif "TEST_NETWORK" in os.environ:  # as CI does in one of two runs: a network of its own takes longer
            self.env["NACRE_NETWORK"] = os.environ["TEST_NETWORK"]
        self.env |= {"DOCKER_CONFIG": str(folder / "docker"), "PYTHONWARNINGS": "error"}

    def command(self, *words: str) -> list[str]:
        """The argument vector, for tests that start it themselves."""
        return [*COMMAND, "--root", str(self.root), *words]

    def __call__(
        self, *words: str, input: bytes | str = b"", check: bool = True, timeout: float = 180, **env: str
    ) -> Result:
        """Run to the end. With `check` a code other than 0 fails the test; keywords are variables."""
        data = input.encode() if isinstance(input, str) else input
        result = Result([*words], self.done(self.command(*words), data, timeout, self.env | env))
        if check and result.code:
            pytest.fail(repr(result))
        return result

    def done(
        self, command: list[str], data: bytes, timeout: float, env: dict[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        """How it ended. Rooms of many commands have them done in forks."""
        return subprocess.run(
            command, input=data, capture_output=True, timeout=timeout, env=env, cwd=self.folder, check=False
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start and leave running, with pipes; the caller ends it."""
        pipes: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen(self.command(*words), env=self.env, cwd=self.folder, **(pipes | options))


@pytest.fixture
def nacre(tmp_path: Path) -> Iterator[Nacre]:
    """The command line with an empty store, run in `tmp_path`."""
    root = tmp_path / "store"
    yield Nacre(root, tmp_path)
    remove(root)


@pytest.fixture
def single(nacre: Nacre, peer: Callable[..., None]) -> Nacre:
    """The command line in a user namespace of one id, as for a user whom /etc/subuid does not name."""
    peer("unshare")
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespace here")
    command = nacre.command
    nacre.command = lambda *more: [*words, *command(*more)]  # type: ignore[method-assign]
    return nacre


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """An empty store of this process. Needs root: an ordinary user's store works in a user namespace."""
    needs_root()
    from nacre.stores.store import Store

    with Store.open(str(tmp_path / "store"), layer_blobs="keep") as opened:
        yield opened


@pytest.fixture(scope="session")
def busybox_tar() -> bytes:
    """A root file system of one static program and links to it."""
    program = shutil.which("busybox")
    data = Path(program).read_bytes() if program else b""
    if not data or b"/ld-linux" in data[:8192]:
        pytest.skip("busybox-static is not installed")
    return _root_of(data)


def _root_of(program: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("srv", 0o755)):
            _add(tar, name, mode, kind=tarfile.DIRTYPE)
        _add(tar, "bin/busybox", 0o755, program)
        for applet in APPLETS.split():
            _add(tar, f"bin/{applet}", 0o777, kind=tarfile.SYMTYPE, link="busybox")
        _add(tar, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/srv:/bin/sh\n")
        _add(tar, "etc/group", 0o644, b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    return out.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    mode: int,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(data), link, 1_700_000_000
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="session")
def imported() -> dict[str, Path]:
    """Stores that have nothing but busybox, by the command and the variables that made them."""
    return {}


@pytest.fixture
def busybox_image(
    nacre: Nacre, busybox_tar: bytes, imported: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The name of an image in the store of `nacre`: busybox, its applets, users root and user."""
    if not userns.mapped():
        needs_userns()
    made_by = repr((nacre.command(), sorted(nacre.env.items()))).replace(str(nacre.folder), "")
    if nacre.root.exists():
        _import_busybox(nacre, busybox_tar)
    elif made_by in imported:
        shutil.copytree(imported[made_by], nacre.root, symlinks=True)
    else:
        _import_busybox(nacre, busybox_tar)
        imported[made_by] = tmp_path_factory.mktemp("imported") / "store"
        shutil.copytree(nacre.root, imported[made_by], symlinks=True)
    return "busybox:test"


def _import_busybox(nacre: Nacre, tar: bytes) -> None:
    words = "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin"
    nacre("import", *words, "-", "busybox:test", input=tar)


@pytest.fixture(params=["nacre", "docker"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """`host:port` of an empty registry; every test that asks runs on ours and on docker's."""
    start: Callable[[Path], tuple[subprocess.Popen[bytes], str]]
    start = _nacre_registry if request.param == "nacre" else _docker_registry
    process, address = start(tmp_path)
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _nacre_registry(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    process = Nacre(folder / "unused", folder).start(
        "registry", "serve", "--quiet", "--addr", "127.0.0.1:0", "--root", str(folder / "registry"),
        stderr=None,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline().decode()
    assert "http://" in said, f"nacre registry serve said {said!r}"
    return process, said.split("http://")[1].split("/")[0]


_CONFIG = """
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {folder}/docker-registry}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"}}
"""


def _docker_registry(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    require("docker-registry")
    config, log = folder / "registry.yml", folder / "registry.log"
    config.write_text(_CONFIG.format(folder=folder))
    with log.open("wb") as sink:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stderr=sink, stdout=sink)
    deadline = time.monotonic() + 30
    while b"listening on " not in (said := log.read_bytes()):
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    return process, said.split(b"listening on ")[1].split(b'"')[0].decode()
