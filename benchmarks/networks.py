"""Networks of containers: start, throughput, connections; in a network namespace of their own.

    outside  192.0.2.9  ════ up0 ════  192.0.2.1  the machine: the peers, and a dockerd with its bridge

What sends and receives in a container is a Python of this machine that has entered the container's network,
the same for every peer. podman, whose crun refuses mixed control groups, does not see those of version 2;
the others see the machine as it is.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from .bench import Bench, case_of
from .harness import Case, Scenario, Skip, as_it_is
from .peers import BASE, Docker, Peer, require

MACHINE, OUTSIDE = "192.0.2.1", "192.0.2.9"
PORT = 5001
PUMP = str(Path(__file__).with_name("pump.py"))
_CABLE = (
    "ip link add up0 type veth peer name up0 netns {outside}",
    f"ip addr add {MACHINE}/24 dev up0",
    "ip link set up0 up",
    "ip link set lo up",
    "sysctl -qw net.ipv4.ip_forward=1",
    f"ip route add default via {OUTSIDE}",
)
_FAR_END = (f"ip addr add {OUTSIDE}/24 dev up0", "ip link set up0 up", "ip link set lo up")


class Networked:
    """The peers in one network namespace, with another one outside; ended by `stack`."""

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        require("ip", "nsenter", "unshare")
        self._bench, self._stack = bench, stack
        self.machine, self.outside = self._namespace(), self._namespace()
        for line in _CABLE:
            self.call(self.machine, *line.format(outside=self.outside).split())
        for line in _FAR_END:
            self.call(self.outside, *line.split())
        self.serve(self.outside, PORT)
        self.peers: dict[str, Peer] = {}
        self._containers: dict[str, int] = {}

    def _namespace(self) -> int:
        """The pid of a process in a new one."""
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._stack.callback(_end, holder)
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        return holder.pid

    def inside(self, pid: int, *words: str) -> list[str]:
        """The words of a command in the network namespace of a process."""
        return ["nsenter", f"--net=/proc/{pid}/ns/net", *words]

    def call(self, pid: int, *words: str) -> None:
        """Raises Skip when it fails."""
        done = subprocess.run(self.inside(pid, *words), capture_output=True, check=False)
        if done.returncode:
            raise Skip(f"{' '.join(words)}: {done.stderr.decode().strip()}")

    def serve(self, pid: int, port: int) -> None:
        """What is sent to a port of a namespace is read there."""
        server = subprocess.Popen(self.inside(pid, sys.executable, PUMP, "serve", str(port)))
        self._stack.callback(_end, server)
        probe = self.inside(pid, sys.executable, PUMP, "connect", "127.0.0.1", str(port), "1")
        while subprocess.run(probe, capture_output=True, check=False).returncode:
            time.sleep(0.05)

    def peer(self, name: str) -> Peer:
        """One whose commands run in the machine. Raises Skip."""
        if name not in self.peers:
            made = self._docker if name == "docker" else getattr(self._bench, name)
            before = self.inside(self.machine)
            self.peers[name] = _Entered(made, before if name == "podman" else [*before, *as_it_is()])
        return self.peers[name]

    @cached_property
    def _docker(self) -> Docker:
        """With a bridge and rules of its own, which the other scenarios do without."""
        folder = self._bench.fresh("docker")
        made = Docker(folder, self._stack, self.inside(self.machine), bridge=True)
        return self._bench.with_base(made)

    def container(self, name: str, number: int) -> int:
        """The pid of a container that runs, with a server published at a port of the machine. Raises Skip."""
        if name not in self._containers:
            peer, port = self.peer(name), 7000 + number
            peer.call("run", "-d", "--name", "bench", "-p", f"{port}:{PORT}", BASE, "sleep", "100000")
            self._stack.callback(peer.call, "rm", "-f", "bench")
            self._containers[name] = int(peer.call("inspect", "-f", "{{.State.Pid}}", "bench"))
            self.serve(self._containers[name], PORT)
        return self._containers[name]


class _Entered(Peer):
    """A peer whose commands run in another network namespace."""

    def __init__(self, peer: Peer, before: Sequence[str]) -> None:
        super().__init__()
        self.name, self.env, self.words = peer.name, peer.env, [*before, *peer.words]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Networks(Scenario):
    """`case(lab, name, number)` is that of one peer."""

    peers = ("nacre", "docker", "podman")

    def cases(self, bench: Bench) -> Iterator[Case]:
        lab = bench.shared(Networked)
        for number, name in enumerate(self.peers):
            yield case_of(name, self._of(lab, name, number))

    def _of(self, lab: Networked, name: str, number: int) -> Callable[[], Case]:
        return lambda: Case(name, self.words(lab, name, number), lab.peer(name).env)

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        """What is timed. Raises Skip."""
        raise NotImplementedError


class RunDefault(_Networks):
    """A start with the default network."""

    name, question = "run-default", "run --rm app true"

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        return [*lab.peer(name).words, "run", "--rm", BASE, "true"]


class RunMany(_Networks):
    """Many starts at once."""

    name, question, most, warm = "run-32", "32 times run --rm app true, at once", 5, 1

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        script = 'for n in $(seq 32); do "$@" & done; wait'
        return ["sh", "-c", script, "sh", *lab.peer(name).words, "run", "--rm", BASE, "true"]


class Out(_Networks):
    """One connection out of a container."""

    name, question = "net-out", "2 GB by TCP from a container to the outside"

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        sender = [sys.executable, PUMP, "send", OUTSIDE, str(PORT), "2000"]
        return lab.inside(lab.container(name, number), *sender)


class In(_Networks):
    """One connection to a published port."""

    name, question = "net-in", "2 GB by TCP from the outside to a published port"

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        lab.container(name, number)
        return lab.inside(lab.outside, sys.executable, PUMP, "send", MACHINE, str(7000 + number), "2000")


class Exec(_Networks):
    """One more program in a container that runs."""

    name, question = "exec", "exec of true in a container that runs"

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        lab.container(name, number)
        return [*lab.peer(name).words, "exec", "bench", "true"]


class ConnectHere(_Networks):
    """The same from this machine, which takes another way."""

    name, question = "net-connect-here", "2,000 connections from here to a port published at 127.0.0.1"

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        lab.container(name, number)
        port = str(7000 + number)
        return lab.inside(lab.machine, sys.executable, PUMP, "connect", "127.0.0.1", port, "2000")


class Connect(_Networks):
    """Many connections to a published port, one after the other."""

    name, question = "net-connect", "2,000 connections from the outside to a published port"

    def words(self, lab: Networked, name: str, number: int) -> Sequence[str]:
        lab.container(name, number)
        return lab.inside(lab.outside, sys.executable, PUMP, "connect", MACHINE, str(7000 + number), "2000")


SCENARIOS = (RunDefault(), RunMany(), Out(), In(), Connect(), ConnectHere(), Exec())
