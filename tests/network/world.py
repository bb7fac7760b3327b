"""A machine for tests of switched sockets that an ordinary user can make: a process in own namespaces.

    127.0.0.1, ::1              the loopback of the machine, where nobody but the machine belongs
    192.0.2.9, 2001:db8::9      the outside

At both somebody listens and says who they are, and sends datagrams back. Outside there are also a web server
for a folder, and a name server that knows web.test. Lines of standard input are answered by what was seen.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OUTSIDE, OUTSIDE6 = "192.0.2.9", "2001:db8::9"
_ADDRESSES = {"secret": ("127.0.0.1", "::1"), "outside": (OUTSIDE, OUTSIDE6)}
_RESET = b"\1\0\0\0\0\0\0\0"


class World:
    """The other process, as a test sees it. `ports` are those of `secret`, `outside` and `web`.

    `folder` is what the web server serves.
    """

    def __init__(self, folder: str) -> None:
        words = [sys.executable, "-P", __file__, folder]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports: dict[str, int] = self._line()

    def _line(self) -> Any:
        assert self._process.stdout
        text = self._process.stdout.readline()
        assert text, "the machine could not be made"
        return json.loads(text)

    def seen(self) -> dict[str, Any]:
        """How often each was connected to, and the ports of TCP that listen."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line()  # type: ignore[no-any-return]

    def command(self, words: list[str]) -> list[str]:
        """The same, run in there."""
        pid = str(self._process.pid)
        return ["nsenter", "--preserve-credentials", "-U", "-m", "-n", "-t", pid, "--", *words]

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def _enter() -> None:
    from nacre.ground import linux
    from nacre.ground.network import links
    from nacre.ground.network.netlink import ROUTE, Netlink
    from nacre.words.addresses import packed

    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWNET)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        Path("/proc/self", name).write_text(text)
    Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 0")
    with Netlink(ROUTE) as netlink:
        netlink.send([links.up(1), links.address(1, packed(OUTSIDE), 32)])
        netlink.send([links.address(1, packed(OUTSIDE6), 128)])


def _serve(name: str, address: str, port: int, hits: dict[str, int]) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, port), family=family)
    threading.Thread(target=lambda: _accept(server, name, hits), daemon=True).start()
    number = int(server.getsockname()[1])
    threading.Thread(target=lambda: _send_back(family, address, number, name, hits), daemon=True).start()
    return number


def _send_back(family: int, address: str, port: int, name: str, hits: dict[str, int]) -> None:
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, port))
    while True:
        data, client = server.recvfrom(65536)
        hits[name] += 1
        server.sendto(data, client)


def _accept(server: socket.socket, name: str, hits: dict[str, int]) -> None:
    while True:
        client, (host, *_) = server.accept()
        hits[name] += 1
        threading.Thread(target=lambda c=client, h=host: _talk(c, f"{name} {h}\n"), daemon=True).start()


def _talk(client: socket.socket, greeting: str) -> None:
    """What is said comes back; `reset` ends it badly."""
    with client:
        try:
            client.sendall(greeting.encode())
            while data := client.recv(65536):
                if data == b"reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                client.sendall(data)
        except OSError:
            return


def _serve_web(folder: str) -> int:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer((OUTSIDE, 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def _serve_names() -> None:
    from nacre.grammars import dns

    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((OUTSIDE, 53))
    while True:
        query, client = server.recvfrom(4096)
        question = dns.read_question(query)
        known = question.name == "web.test" and question.kind == dns.A
        server.sendto(dns.answer(query, question, [socket.inet_aton(OUTSIDE)] if known else []), client)


def _listening() -> Iterator[int]:
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                yield int(words[1].rpartition(":")[2], 16)


def _main() -> None:
    _enter()
    hits, ports = {"secret": 0, "outside": 0}, {}
    for name, addresses in _ADDRESSES.items():
        for address in addresses:
            ports[name] = _serve(name, address, ports.get(name, 0), hits)
    ports["web"] = _serve_web(sys.argv[1])
    threading.Thread(target=_serve_names, daemon=True).start()
    print(json.dumps(ports), flush=True)
    for _ in sys.stdin:
        print(json.dumps({**hits, "listening": sorted(set(_listening()))}), flush=True)


if __name__ == "__main__":
    _main()
