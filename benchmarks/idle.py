"""What idle containers cost: `python -m benchmarks.idle [N…]` starts N of each engine, and adds up memory.

Counted is the proportional set size (PSS) of every process that an engine keeps for them: the supervisors of
nacre; dockerd, containerd and the shims of docker; conmon of podman. The programs in the containers (`sleep`)
are not. nacre is measured with the host's network, and with its default. Run it as root; engines that are not
installed, or whose daemon does not answer, are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .harness import Skip, end_cleanly
from .peers import busybox_tar

NACRE = [sys.executable, "-P", "-m", "nacre"]
_SETTLED = 3.0


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of each process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                above = (entry / "stat").read_bytes().rpartition(b")")[2].split()[1]
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[int(entry.name)] = int(above), line
    return found


def weight(pids: list[int]) -> int:
    """PSS of processes, in kB."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


def run(*words: str) -> str:
    """What a command prints. Raises CalledProcessError."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def keepers(mark: str) -> list[int]:
    """Processes whose command line contains `mark`."""
    return [pid for pid, (_, line) in processes().items() if mark in line and pid != os.getpid()]


class Nacre:
    """Each container has a supervisor, which is told by its store or by its parent."""

    def __init__(self, root: str, network: str) -> None:
        self.name = f"nacre, {network or 'default network'}"
        self._words = [*NACRE, "--root", root]
        self._network = ["--network", network] if network else []

    def load(self, archive: str) -> None:
        run(*self._words, "import", archive, "idle:1")

    def start(self) -> str:
        return run(*self._words, "run", "-d", *self._network, "idle:1", "sleep", "100000").strip()

    def kept(self, ids: list[str]) -> list[int]:
        pids = run(*self._words, "inspect", "-f", "{{.State.Pid}}", *ids).split()
        known = processes()
        return [known[int(pid)][0] for pid in pids]

    def remove(self, ids: list[str]) -> None:
        run(*self._words, "rm", "-f", *ids)


class Docker:
    """The daemons are shared; those of other sockets are not counted."""

    name = "docker, host"

    def __init__(self) -> None:
        run("docker", "version")
        (self._daemon,) = [pid for pid in keepers("dockerd") if str(pid) == self._pid()] or [0]

    def _pid(self) -> str:
        for path in ("/run/docker.pid", os.environ.get("DOCKER_PIDFILE", "")):
            if path and os.path.exists(path):
                return Path(path).read_text().strip()
        return ""

    def load(self, archive: str) -> None:
        run("docker", "import", archive, "idle:1")

    def start(self) -> str:
        return run("docker", "run", "-d", "--network", "host", "idle:1", "sleep", "100000").strip()

    def kept(self, ids: list[str]) -> list[int]:
        known = processes()
        below = [pid for pid, (above, _) in known.items() if above == self._daemon]
        shims = [pid for pid, (_, line) in known.items() if "shim" in line and any(i in line for i in ids)]
        return [self._daemon, *below, *shims]

    def remove(self, ids: list[str]) -> None:
        run("docker", "rm", "-f", *ids)


class Podman:
    """One conmon for each container."""

    name = "podman, host"

    def __init__(self) -> None:
        run("podman", "version")

    def load(self, archive: str) -> None:
        run("podman", "import", archive, "idle:1")

    def start(self) -> str:
        return run("podman", "run", "-d", "--network", "host", "idle:1", "sleep", "100000").strip()

    def kept(self, ids: list[str]) -> list[int]:
        return [pid for one in ids for pid in keepers(f"conmon --api-version 1 -c {one}")]

    def remove(self, ids: list[str]) -> None:
        run("podman", "rm", "-f", "-t", "0", *ids)


Engine = Nacre | Docker | Podman


def engines(folder: str) -> Iterator[Engine]:
    """Those that work here."""
    makers: list[Callable[[], Engine]] = [
        lambda: Nacre(f"{folder}/host", "host"), lambda: Nacre(f"{folder}/default", ""), Docker, Podman,
    ]  # fmt: skip
    for make in makers:
        try:
            yield make()
        except (OSError, subprocess.CalledProcessError, ValueError):
            continue


def archive(folder: str) -> str:
    """The base of all benchmarks, as a file."""
    path = Path(folder, "root.tar")
    path.write_bytes(busybox_tar())
    return str(path)


def measure(engine: Engine, count: int) -> int:
    """kB that `count` idle containers take."""
    ids: list[str] = []
    try:
        for _ in range(count):
            ids.append(engine.start())
        time.sleep(_SETTLED)
        return weight(engine.kept(ids))
    finally:
        if ids:
            engine.remove(ids)


def main() -> None:
    """A line for each engine and number."""
    end_cleanly()
    counts = [int(word) for word in sys.argv[1:]] or [1, 50]
    with tempfile.TemporaryDirectory(prefix="nacre-idle-") as folder:
        try:
            tar = archive(folder)
        except Skip as missing:
            raise SystemExit(str(missing)) from None
        for engine in engines(folder):
            engine.load(tar)
            for count in counts:
                try:
                    total = measure(engine, count)
                except subprocess.CalledProcessError as error:
                    print(f"{engine.name:24} {error.stderr.strip()}", flush=True)
                    break
                each = f"{total // count:6} each"
                print(f"{engine.name:24} {count:4} containers {total:8} kB, {each}", flush=True)


if __name__ == "__main__":
    main()
