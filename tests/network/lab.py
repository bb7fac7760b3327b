"""A machine of its own for tests of networks: two network namespaces, one of them the outside.

    outside  192.0.2.9, 2001:db8::9  ════ up0 ════  192.0.2.1, 2001:db8::1  machine

Nothing of the real machine's network is ever touched. `nacre` runs in the machine; sockets of a test are made
in whichever namespace it likes, also in that of a container, so that nothing has to be waited for.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from waiting import until

from nacre.ground.network import links, namespaces
from nacre.ground.network.netlink import NETFILTER, ROUTE, Netlink
from nacre.words.addresses import packed

MACHINE, OUTSIDE = "192.0.2.1", "192.0.2.9"
MACHINE6, OUTSIDE6 = "2001:db8::1", "2001:db8::9"
SECONDS = 60.0
_SHORT = 0.5
_SMALL = "nacre.ground.monitor.shim"
_FAMILIES = {True: socket.AF_INET6, False: socket.AF_INET}
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Lab:
    def __init__(self, nacre: Any) -> None:
        self._nacre = nacre
        self.machine, self.outside = namespaces.new(), namespaces.new()
        self._cable()
        self.forward(True)

    def _cable(self) -> None:
        with namespaces.InsideNamespace(self.machine), Netlink(ROUTE) as netlink:
            netlink.send([links.up(1), links.pair("up0", "up0", self.outside)])
            self._address(netlink, MACHINE, MACHINE6)
        with namespaces.InsideNamespace(self.outside), Netlink(ROUTE) as netlink:
            netlink.send([links.up(1)])
            self._address(netlink, OUTSIDE, OUTSIDE6)

    def _address(self, netlink: Netlink, four: str, six: str) -> None:
        index = links.index(netlink, "up0")
        netlink.send(
            [links.up(index), links.address(index, packed(four), 24), links.address(index, packed(six), 64)]
        )

    def forward(self, wanted: int, name: str = "ipv4/ip_forward") -> None:
        with namespaces.InsideNamespace(self.machine):
            Path("/proc/sys/net", name).write_text(str(int(wanted)))

    def forwards(self) -> bool:
        with namespaces.InsideNamespace(self.machine):
            return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"

    def path(self, fd: int) -> str:
        return f"/proc/{os.getpid()}/fd/{fd}"

    def command(self, *words: str, before: Sequence[str] = ()) -> list[str]:
        """`nacre` on the machine, started there by the words `before` it."""
        return ["nsenter", f"--net={self.path(self.machine)}", *before, *self._nacre.command(*words)]

    def __call__(self, *words: str, check: bool = True) -> Any:
        """`nacre`, on the machine."""
        own = self._nacre.command
        self._nacre.command = self.command_of(own)
        try:
            return self._nacre(*words, check=check)
        finally:
            self._nacre.command = own

    def command_of(self, own: Callable[..., list[str]]) -> Callable[..., list[str]]:
        return lambda *words: ["nsenter", f"--net={self.path(self.machine)}", *own(*words)]

    def fails(self, *words: str) -> tuple[int, str]:
        done = self(*words, check=False)
        return done.code, done.err

    def run(self, *options: str) -> str:
        """Start a container that does nothing; its id."""
        image = "busybox:test"
        return str(self("run", "-d", *options, image, "sleep", "1000").out.strip())

    def pid(self, name: str) -> int:
        return int(self("inspect", "-f", "{{.State.Pid}}", name).out)

    def keeper(self, name: str) -> int:
        """The process that keeps a container."""
        status = Path(f"/proc/{self.pid(name)}/status").read_text()
        return int(status.split("PPid:")[1].split()[0])

    def small_keeper(self, name: str) -> int:
        """The same, once it is the small process that a detached container is left to."""
        pid = self.keeper(name)
        line = Path(f"/proc/{pid}/cmdline")
        until(lambda: _SMALL in line.read_text() and _waits(pid))
        return pid

    @contextmanager
    def namespace(self, name: str) -> Iterator[int]:
        """The network namespace of a container."""
        fd = os.open(f"/proc/{self.pid(name)}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def address(self, name: str, network: str = "bridge", field: str = "IPAddress") -> str:
        form = f'{{{{(index .NetworkSettings.Networks "{network}").{field}}}}}'
        return str(self("inspect", "-f", form, name).out.strip())

    @contextmanager
    def serving(self, name: str, port: int, protocol: str = "tcp", host: str = "0.0.0.0") -> Iterator[int]:
        """A server in a container that answers with its name and the address it is asked from."""
        with self.namespace(name) as fd, server(fd, host, port, protocol, name) as found:
            yield found

    def links(self) -> list[str]:
        """The links of the machine but its own."""
        with namespaces.InsideNamespace(self.machine):
            return [name for _, name in socket.if_nameindex() if name not in ("lo", "up0")]

    def routes(self) -> list[str]:
        """Routes to single addresses."""
        with namespaces.InsideNamespace(self.machine), Netlink(ROUTE) as netlink:
            found = [route for route in links.routes(netlink) if route.prefix == 32]
        return [socket.inet_ntop(socket.AF_INET, route.destination) for route in found]

    def tables(self) -> list[str]:
        """The tables of rules."""
        from nacre.ground.network.netlink import DUMP, Message, attributes

        question = Message(10 << 8 | 1, DUMP, bytes(4), "", False)
        with namespaces.InsideNamespace(self.machine), Netlink(NETFILTER) as netlink:
            found = [attributes(payload[4:])[1] for _, payload in netlink.ask(question)]
        return [name.rstrip(b"\0").decode() for name in found]

    def is_empty(self) -> bool:
        """Whether nothing is left of any container."""
        return (
            not self.links() and not self.routes() and not [t for t in self.tables() if t.startswith("nacre")]
        )

    def close(self) -> None:
        rows = self("ps", "-aq", check=False).out.split()
        if rows:
            self("rm", "-f", *rows, check=False)
        for fd in (self.machine, self.outside):
            os.close(fd)


def _waits(pid: int) -> bool:
    try:
        return any("pidfd" in os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # closed meanwhile
        return False


def make(fd: int, host: str, protocol: str) -> socket.socket:
    with namespaces.InsideNamespace(fd):
        return socket.socket(_FAMILIES[":" in host], _KINDS[protocol])


def ask(fd: int, host: str, port: int, protocol: str = "tcp", seconds: float = SECONDS) -> str:
    """What a server says to a socket of a namespace. Raises OSError."""
    with make(fd, host, protocol) as client:
        client.settimeout(seconds)
        client.connect((host, port))
        client.send(b"?")
        return client.recv(1000).decode()


def reaches(fd: int, host: str, port: int, protocol: str = "tcp") -> bool:
    """Whether it does, and soon; silence is no."""
    try:
        return bool(ask(fd, host, port, protocol, _SHORT))
    except OSError:
        return False


def listens(fd: int, host: str, port: int) -> bool:
    """Whether a program accepts connections there."""
    try:
        with make(fd, host, "tcp") as client:
            client.settimeout(SECONDS)
            client.connect((host, port))
            return True
    except ConnectionRefusedError:
        return False


def pour(source: socket.socket, sink: socket.socket, size: int) -> None:
    """So many bytes go from one socket into the other, and arrive."""
    thread = threading.Thread(target=source.sendall, args=(b"x" * size,))
    thread.start()
    got = 0
    while got < size:
        got += len(sink.recv(1 << 16))
    thread.join()


@contextmanager
def server(fd: int, host: str, port: int, protocol: str = "tcp", name: str = "server") -> Iterator[int]:
    """Answers in a namespace with `name` and the address of who asks; the port."""
    listening = make(fd, host, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        if protocol == "tcp":
            listening.listen()
    except OSError:
        listening.close()
        raise
    ended = threading.Event()
    thread = threading.Thread(target=_answer, args=(listening, protocol, name, ended))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        ended.set()
        thread.join()
        listening.close()


def _answer(listening: socket.socket, protocol: str, name: str, ended: threading.Event) -> None:
    listening.settimeout(0.05)
    while not ended.is_set():
        try:
            if protocol == "tcp":
                client, address = listening.accept()
                with client:
                    client.settimeout(SECONDS)
                    client.recv(10)
                    client.sendall(f"{name} {address[0]}".encode())
            else:
                _, address = listening.recvfrom(100)
                listening.sendto(f"{name} {address[0]}".encode(), address)
        except OSError:
            continue
