"""Asks a server for one thing again and again: `python -m benchmarks.load [OPTIONS] URL`.

One cheap thread, so that the server is what is measured: an answer is looked at just enough to know that
it is right and where it ends, and bodies are dropped in the kernel (MSG_TRUNC, tcp(7)). Of several URLs each
connection asks for one, in turn; `--all` follows `Link` from page to page. Exits with 1 if one is not 200.
"""

from __future__ import annotations

import argparse
import http.client
import re
import select
import socket
import sys
from collections.abc import Mapping
from itertools import cycle, islice
from urllib.parse import urlsplit

_HEAD = 1 << 16
_NEXT = re.compile("<([^>]*)>")
_LENGTH = re.compile(rb"\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Failure(Exception):
    """An answer that was not expected; the text is its beginning."""


class _Connection:
    """`left` bytes of a body are still to come; `head` is what has come of an answer's head."""

    __slots__ = ("head", "left", "request", "socket")

    def __init__(self, url: str, request: bytes) -> None:
        parts = urlsplit(url)
        self.request, self.socket = (
            request,
            socket.create_connection((parts.hostname or "", parts.port or 80)),
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left, self.head = 0, b""


class Load:
    """Over so many connections, each of which asks for one of `requests`, which are known by their URLs."""

    def __init__(self, requests: Mapping[str, bytes], *, bodies: bool, connections: int) -> None:
        self._bodies = bodies
        self._poll = select.epoll()
        made = [_Connection(*each) for each in islice(cycle(requests.items()), connections)]
        self._connections = {each.socket.fileno(): each for each in made}
        for number in self._connections:
            self._poll.register(number, select.EPOLLIN)
        self._waste = bytearray(1 << 20)

    def run(self, count: int) -> None:
        """Ask until so many answers have come. Raises Failure, OSError."""
        unasked = count - len(self._connections)
        for connection in self._connections.values():
            connection.socket.sendall(connection.request)
        while count:
            for number, _ in self._poll.poll():
                connection = self._connections[number]
                if self._has_all(connection):
                    count -= 1
                    if unasked > 0:
                        unasked -= 1
                        connection.socket.send(connection.request)

    def _has_all(self, connection: _Connection) -> bool:
        """Take what has come; is the answer complete?"""
        if connection.left <= 0:
            connection.left = self._begun(connection)
            return connection.left == 0
        most = min(connection.left, len(self._waste))
        got = connection.socket.recv_into(self._waste, most, socket.MSG_TRUNC)
        if not got:
            raise Failure("the server ended the connection in a body")
        connection.left -= got
        return connection.left == 0

    def _begun(self, connection: _Connection) -> int:
        """Bytes of the body that are still to come; -1 while the head is not all there."""
        data = connection.head + connection.socket.recv(_HEAD)
        end = data.find(b"\r\n\r\n")
        if end < 0 and data and len(data) > len(connection.head):
            connection.head = data
            return -1
        connection.head = b""
        found = _LENGTH.search(data, 0, end) if data[9:12] == b"200" else None
        if found is None:
            raise Failure(data[:200].decode("latin-1") or "the server ended the connection")
        return int(found[1]) - (len(data) - end - 4) if self._bodies else 0


def request(method: str, url: str, headers: list[str]) -> bytes:
    """A request as it goes over the wire."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def pages(url: str, headers: list[str]) -> int:
    """Go through all pages of a list; how many there were. Raises Failure, OSError."""
    parts, count = urlsplit(url), 0
    connection = http.client.HTTPConnection(parts.netloc)
    fields = dict(line.split(": ", 1) for line in headers)
    while url:
        connection.request("GET", url, headers=fields)
        answer, count = connection.getresponse(), count + 1
        body = answer.read()
        if answer.status != 200:
            raise Failure(body[:200].decode("latin-1"))
        found = _NEXT.match(answer.headers.get("Link", ""))
        url = found[1] if found else ""
    connection.close()
    return count


def main() -> None:
    """Ask, and say nothing unless something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    try:
        if args.all:
            pages(args.urls[0], args.header)
        else:
            _ask(args)
    except (Failure, OSError) as error:
        sys.exit(str(error))


def _ask(args: argparse.Namespace) -> None:
    requests = {url: request(args.method, url, args.header) for url in args.urls}
    connections = min(args.connections, args.requests)
    Load(requests, bodies=args.method != "HEAD", connections=connections).run(args.requests)


if __name__ == "__main__":
    main()
