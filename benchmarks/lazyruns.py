"""The first container of an image that is not here: first output, an import, an answer, every byte."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import randrange

from .bench import Bench, case_of
from .harness import Case, Scenario, Skip
from .peers import account
from .wires import TRIP

_PATIENCE = 600
_FUSE = "/dev/fuse"
_SERVE = """
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).handle_request()
"""
_READ = """
import os
for folder, _, names in os.walk("/"):
    if folder.startswith(("/proc", "/sys", "/dev")):
        continue
    for name in names:
        path = f"{folder}/{name}"
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
"""


@dataclass
class _Lazy:
    """What the scenarios share: the image in both forms, and a folder for storage."""

    bench: Bench
    whole: str
    chunked: str
    profiled: str
    folder: Path
    _far: list[str] = field(default_factory=list)

    def host(self, far: bool) -> str:
        """Where the registry is: on loopback, or a round trip away."""
        if not far:
            return self.bench.registry
        if not self._far:
            self._far.append(self.bench.line(self.bench.registry, TRIP).host)
        return self._far[0]


def _shared(bench: Bench, _stack: ExitStack) -> _Lazy:
    whole = bench.pushed_big
    name = whole.partition("/")[2]
    names = (f"{name}-chunked", "bench-profiled:1")
    for each in names:
        bench.nacre.call("tag", whole, f"{bench.registry}/{each}")
        bench.nacre.call("push", "-q", "--compression", "zstd:chunked", f"{bench.registry}/{each}")
    return _Lazy(bench, name, *names, bench.fresh("lazy"))


class LazyRun(Scenario):
    """`program` in the image, with empty storage each time; `port`: until it answers there."""

    warm, most = 0, 5
    peers_most = 2
    _has_docker = True

    def __init__(
        self, name: str, what: str, program: Sequence[str], *, far: bool = True, port: bool = False
    ) -> None:
        where = "a registry 30 ms away" if far else "a registry on loopback"
        self.name, self._program, self._far, self._serves = name, tuple(program), far, port
        self.question = f"{what} of the 1.4 GB image from {where}, with empty storage"

    def cases(self, bench: Bench) -> Iterator[Case]:
        lazy = bench.shared(_shared)
        host = lazy.host(self._far)
        self._port = _free_port() if self._serves else 0
        self._optimize(lazy)
        for kind, image, more in (
            ("lazy, profile", lazy.profiled, ("--pull", "lazy")),
            ("lazy", lazy.chunked, ("--pull", "lazy")),
            ("whole, zstd", lazy.chunked, ()),
            ("whole, gzip", lazy.whole, ()),
        ):
            yield self._nacre(lazy, kind, f"{host}/{image}", more)
        if self._has_docker:
            yield case_of("docker", lambda: self._docker(bench, f"{host}/{lazy.whole}"))
        yield case_of("podman", lambda: self._podman(lazy, f"{host}/{lazy.whole}"))

    def _optimize(self, lazy: _Lazy) -> None:
        """Attach the profile of this program to its image: the newest counts."""
        image, program = f"{lazy.bench.registry}/{lazy.profiled}", [*self._program, *self._arguments()]
        words = ["optimize", "--network", "host" if self._serves else "none", image, *program]
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(lazy.bench.nacre.call, *words)
            if self._serves:
                _wait_for_answer(self._port, done.done)
            done.result()

    def _arguments(self) -> list[str]:
        return [str(self._port)] if self._serves else []

    def _nacre(self, lazy: _Lazy, kind: str, image: str, more: Sequence[str]) -> Case:
        program, roots = self._ours(lazy), f"{self._place(lazy)}/{self.name}-{kind.replace(', ', '-')}"
        current: list[str] = []

        def before(number: int) -> list[str]:
            if current:  # what the container before has left behind ends with its image
                for action in (("rmi", "-f", image), ("system", "prune", "-af")):
                    subprocess.run([*current, *action], capture_output=True, check=False)
            current[:] = [*program, "--root", f"{roots}{number}"]
            return self._words(current, *more, image)

        return self._case(f"nacre, {kind}", before)

    def _ours(self, lazy: _Lazy) -> Sequence[str]:
        return lazy.bench.nacre.words[:1]

    def _theirs(self, lazy: _Lazy) -> Sequence[str]:
        return lazy.bench.podman.words[:1]

    def _place(self, lazy: _Lazy) -> Path:
        return lazy.folder

    def _docker(self, bench: Bench, image: str) -> Case:
        assert bench.docker  # or skipped here
        env = bench.docker.env
        return self._case("docker", lambda _: self._words(bench.fresh_docker().words, image), env)

    def _podman(self, lazy: _Lazy, image: str) -> Case:
        peer = lazy.bench.podman

        def before(number: int) -> list[str]:
            place = f"{self._place(lazy)}/{self.name}-podman{number}"
            engine = [*self._theirs(lazy), "--root", f"{place}/root", "--runroot", f"{place}/run"]
            return self._words(engine, "--tls-verify=false", image)

        return self._case("podman", before, peer.env)

    def _case(
        self, name: str, before: Callable[[int], Sequence[str]], env: Mapping[str, str] | None = None
    ) -> Case:
        until = (lambda pid: _answers(pid, self._port)) if self._serves else None
        most = 1000 if env is None else self.peers_most
        base = _WHOLE if self._program == _ALL else ""
        return Case(name, (), env or {}, before=before, until=until, most=most, base=base)

    def _words(self, engine: Sequence[str], *more: str) -> list[str]:
        network = "host" if self._serves else "none"
        return [
            *engine, "run", "--rm", "--network", network, *more, *self._program, *self._arguments()
        ]  # fmt: skip


class LazyRunAsUser(LazyRun):
    """The same as an ordinary user with a range of subordinate ids, for whom layers come by FUSE."""

    _has_docker = False
    _user = "nacre-bench"

    def cases(self, bench: Bench) -> Iterator[Case]:
        self._uid = account(self._user).pw_uid
        if subprocess.run(self._as_user("test", "-w", _FUSE), check=False).returncode:
            raise Skip(f"{_FUSE} is closed for ordinary users")
        self._folder = bench.fresh(self.name)
        shutil.chown(self._folder, self._uid, self._uid)
        self._program_path = bench.users_nacre(self._folder, self._uid)
        return super().cases(bench)

    def _as_user(self, *words: str) -> list[str]:
        become = ["setpriv", f"--reuid={self._uid}", f"--regid={self._uid}", "--init-groups"]
        return [*become, *words]

    def _with_home(self, *words: str) -> list[str]:
        home, none = str(self._folder), "XDG_DATA_HOME="
        own = (f"HOME={home}", f"USER={self._user}", f"XDG_RUNTIME_DIR={home}", none)
        return self._as_user("env", *own, *words)

    def _ours(self, lazy: _Lazy) -> Sequence[str]:
        return self._with_home(self._program_path)

    def _theirs(self, lazy: _Lazy) -> Sequence[str]:
        return self._with_home(*lazy.bench.podman.words[:1])

    def _place(self, lazy: _Lazy) -> Path:
        return self._folder


def _free_port() -> int:
    """None of those that the kernel gives to who connects: trying to reach it could reach itself."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", randrange(20_000, 30_000))) as server:
            return int(server.getsockname()[1])


def _answers(pid: int, port: int) -> None:
    """Until there is an HTTP 200. Raises Skip when the process has ended, or after ten minutes."""
    _wait_for_answer(port, lambda: bool(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)))


def _wait_for_answer(port: int, over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and not over():
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as client:
                client.sendall(b"GET /etc/os-release HTTP/1.0\r\n\r\n")
                if b" 200 " in client.recv(64):
                    return
        except OSError:
            time.sleep(0.002)
    raise Skip("it gave no answer")


_WHOLE = "nacre, whole, zstd"
"""What reading everything is compared with: the same bytes, all of them first."""
_PRINT, _NUMPY = ("python3", "-c", "print(1)"), ("python3", "-c", "import numpy")
_ALL, _WEB = ("python3", "-c", _READ), ("python3", "-c", _SERVE)

SCENARIOS: tuple[Scenario, ...] = (
    LazyRun("run-lazy", "run python3 -c 'print(1)'", _PRINT),
    LazyRun("run-lazy-numpy", "run python3 -c 'import numpy'", _NUMPY),
    LazyRun("run-lazy-web", "first HTTP 200 of Python's http.server", _WEB, port=True),
    LazyRun("run-lazy-all", "run a program that reads every file", _ALL),
    LazyRunAsUser("run-lazy-user", "as an ordinary user, run python3 -c 'print(1)'", _PRINT),
    LazyRunAsUser("run-lazy-numpy-user", "as an ordinary user, run python3 -c 'import numpy'", _NUMPY),
    LazyRun("run-lazy-here", "run python3 -c 'print(1)'", _PRINT, far=False),
    LazyRun("run-lazy-numpy-here", "run python3 -c 'import numpy'", _NUMPY, far=False),
    LazyRun("run-lazy-web-here", "first HTTP 200 of Python's http.server", _WEB, far=False, port=True),
    LazyRun("run-lazy-all-here", "run a program that reads every file", _ALL, far=False),
)
