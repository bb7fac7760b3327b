"""A proxy before a registry that holds, refuses or passes on what is asked of a blob beyond a point."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MOST = 5 << 20


class HoldingProxy(ThreadingHTTPServer):
    """Ranges of blobs that begin between `start` and `end`, or hold all of that, wait for `gate`, and get
    `status` if it is set.
    """

    daemon_threads = True

    def __init__(self, registry: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry, self.gate, self.status = registry, threading.Event(), 0
        self.start, self.end = 5 << 19, 12 << 20
        self.changed = threading.Condition()
        self.held = 0
        self.begins: list[int] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def pass_by(self, begin: int, last: int) -> int:
        """What to answer instead of the blob, 0 for nothing."""
        if not (self.start <= begin < self.end or begin < self.start < self.end <= last):
            return 0
        with self.changed:
            self.held += 1
            self.begins.append(begin)
            self.changed.notify_all()
        assert self.gate.wait(60)
        return self.status

    def wait_held(self, more_than: int = 0) -> int:
        """Until more requests than that were held; how many were."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.held > more_than, 60)
            return self.held


class _Handler(BaseHTTPRequestHandler):
    server: HoldingProxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        begin, _, last = self.headers.get("Range", "bytes=-").removeprefix("bytes=").partition("-")
        status = self.server.pass_by(int(begin), int(last or 0)) if begin and "/blobs/" in self.path else 0
        if status:
            return self._answer(status, {}, b"")
        connection = http.client.HTTPConnection(self.server.registry, timeout=60)
        try:
            connection.request(self.command, self.path, headers=dict(self.headers))
            found = connection.getresponse()
            return self._answer(found.status, dict(found.getheaders()), found.read())
        finally:
            connection.close()

    do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        if "content-length" not in {name.lower() for name in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def holding(registry: str) -> Iterator[HoldingProxy]:
    proxy = HoldingProxy(registry)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.gate.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
