"""A registry in memory that is honest until told otherwise. The contract suite runs on it, too.

`fake.on(method, part, action)` puts a fault in the way: the first request of that method whose path
contains `part` is handed to `action(exchange)` instead; an action that returns True has answered.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HALF_OPEN, _LISTENING = "03", "0A"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> bool:
        """Answer; a `content_length` header replaces the true one, "" leaves it out."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields.setdefault("content-length", str(len(body)))
        self.send_response(status)
        for name, value in fields.items():
            if value:
                self.send_header(name, value)
        if not fields["content-length"]:
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def cut(self) -> bool:
        """Hang up."""
        self.close_connection = True
        self.wfile.flush()
        return True

    def body(self) -> bytes:
        """The body of the request; may be asked for again."""
        if self._body is None:
            self._body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return self._body

    def handle_any(self) -> None:
        fake = self.server.fake
        self._body: bytes | None = None
        self.url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(self.url.query).items()}
        fake.requests.append((self.command, self.path, dict(self.headers.items())))
        action = fake.fault(self.command, self.path)
        if action is None or not action(self):
            fake.serve(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


class FakeServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of five the kernel drops the sixth, which comes again a second later
    fake: FakeRegistry

    def __init__(self, *arguments: Any) -> None:
        self.open, self.changed = 0, threading.Condition()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._count(1)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        self._count(-1)

    def _count(self, change: int) -> None:
        with self.changed:
            self.open += change
            self.changed.notify_all()

    def handle_error(self, request: object, client_address: object) -> None:
        pass


Action = Callable[[Exchange], bool]


class FakeRegistry:
    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.ranges = True
        self.single = False
        self.page = 1000
        self.down = self.up = 0
        """Bytes of content that went out and came in."""
        self._faults: list[tuple[str, str, Action, int]] = []
        self._lock, self._numbers = threading.Lock(), itertools.count()
        self._server = FakeServer(("127.0.0.1", 0), Exchange)
        self._server.fake = self
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.01), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def settle(self) -> None:
        """Wait until all that clients which are gone have sent was dealt with."""
        place = ("127.0.0.1", self._server.server_port)
        with socket.create_connection(place, timeout=60) as last:  # those before it are accepted before it
            last.sendall(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n")
            while last.recv(1 << 16):
                pass
        deadline = time.monotonic() + 60
        while self._server.open or self._is_awaited():
            assert time.monotonic() < deadline, "the registry still serves somebody"
            with self._server.changed:
                self._server.changed.wait(0.01)

    def _is_awaited(self) -> bool:
        """Whether the kernel alone knows of a client: its connection is being made, or not accepted yet.

        On a busy machine a connection that began later may be accepted first. Source: proc_net_tcp(5), where
        the listening socket has the length of its queue in place of received bytes.
        """
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        mine = (line.split() for line in lines if f":{self._server.server_port:04X} " in line)
        return any(
            state == _HALF_OPEN or (state == _LISTENING and int(queues.partition(":")[2], 16))
            for _, local, _, state, queues, *_ in mine
            if local.endswith(f":{self._server.server_port:04X}")
        )

    def on(self, method: str, part: str, action: Action, times: int = 1) -> None:
        self._faults.append((method, part, action, times))

    def fault(self, method: str, path: str) -> Action | None:
        with self._lock:
            for index, (wanted, part, action, times) in enumerate(self._faults):
                if wanted == method and part in path:
                    if times == 1:
                        del self._faults[index]
                    else:
                        self._faults[index] = (wanted, part, action, times - 1)
                    return action
        return None

    def sent(self, method: str, part: str = "") -> list[dict[str, str]]:
        """The headers of the requests seen."""
        return [headers for verb, path, headers in self.requests if verb == method and part in path]

    def add_blob(self, name: str, data: bytes) -> str:
        self.blobs[name, digest_of(data)] = data
        return digest_of(data)

    def add_manifest(self, name: str, target: str, data: bytes, media_type: str) -> str:
        for key in (target, digest_of(data)):
            self.manifests[name, key] = (media_type, data)
        return digest_of(data)

    def has(self, name: str) -> int:
        """Bytes of a repository's blobs, and of all uploads that were not ended."""
        blobs = sum(len(data) for (there, _), data in self.blobs.items() if there == name)
        return blobs + sum(map(len, self.uploads.values()))

    def serve(self, x: Exchange) -> bool:
        for pattern, method in self._ROUTES:
            found = re.fullmatch(pattern, x.url.path)
            if found:
                return method(self, x, *found.groups())
        return x.reply(404)

    def _base(self, x: Exchange) -> bool:
        return x.reply(200, b"{}")

    def _manifest(self, x: Exchange, name: str, target: str) -> bool:
        if x.command == "PUT":
            data = x.body()
            digest = self.add_manifest(name, target, data, x.headers["content-type"])
            return x.reply(201, docker_content_digest=digest, location=x.path)
        if x.command == "DELETE":
            gone = self.manifests.get((name, target))
            self.manifests = {k: v for k, v in self.manifests.items() if k[0] != name or v != gone}
            return x.reply(202 if gone else 404)
        if (name, target) not in self.manifests:
            return self._error(x, 404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = self.manifests[name, target]
        return x.reply(200, data, content_type=media_type, docker_content_digest=digest_of(data))

    def _blob(self, x: Exchange, name: str, digest: str) -> bool:
        data = self.blobs.get((name, digest))
        if data is None:
            return self._error(x, 404, "BLOB_UNKNOWN", "blob unknown")
        return self.content(x, data)

    def content(self, x: Exchange, data: bytes) -> bool:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", x.headers.get("range", ""))
        if x.command == "HEAD":
            return x.reply(200, data)
        if not span or not self.ranges:
            self._count(down=len(data))
            return x.reply(200, data, **({"accept_ranges": "bytes"} if self.ranges else {}))
        start, end = int(span[1]), int(span[2] or len(data) - 1) + 1
        self._count(down=end - start)
        return x.reply(206, data[start:end], content_range=f"bytes {start}-{end - 1}/{len(data)}")

    def _count(self, down: int = 0, up: int = 0) -> None:
        with self._lock:
            self.down, self.up = self.down + down, self.up + up

    def _begin(self, x: Exchange, name: str) -> bool:
        self._count(up=len(x.body()))
        known = self.blobs.get((x.query.get("from", ""), x.query.get("mount", "")))
        if known is not None:
            self.blobs[name, x.query["mount"]] = known
            return x.reply(201, location=f"/v2/{name}/blobs/{x.query['mount']}")
        if self.single and "digest" in x.query:
            key = f"whole{next(self._numbers)}"
            self.uploads[key] = bytearray(x.body())
            return self._finish(x, name, key)
        with self._lock:
            key = f"u{next(self._numbers)}"
            self.uploads[key] = bytearray()
        return x.reply(202, location=f"/v2/{name}/blobs/uploads/{key}?_state=a%2Bb", range="0-0")

    def _upload(self, x: Exchange, name: str, key: str) -> bool:
        data = x.body()
        self._count(up=len(data))
        if key not in self.uploads:
            return self._error(x, 404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        if "_state=a%2Bb" not in x.path:
            return self._error(x, 400, "BLOB_UPLOAD_INVALID", "state lost")
        if x.command == "DELETE":
            del self.uploads[key]
            return x.reply(204)
        self.uploads[key] += data
        if x.command == "PUT":
            return self._finish(x, name, key)
        where = {"location": x.path, "range": f"0-{max(0, len(self.uploads[key]) - 1)}"}
        return x.reply(204 if x.command == "GET" else 202, **where)

    def _finish(self, x: Exchange, name: str, key: str) -> bool:
        data = bytes(self.uploads.pop(key))
        if digest_of(data) != x.query.get("digest"):
            return self._error(x, 400, "DIGEST_INVALID", "digest does not match")
        self.add_blob(name, data)
        return x.reply(201, location=f"/v2/{name}/blobs/{digest_of(data)}")

    def _tags(self, x: Exchange, name: str) -> bool:
        tags = sorted(target for repo, target in self.manifests if repo == name and ":" not in target)
        if not tags:
            return self._error(x, 404, "NAME_UNKNOWN", "name unknown")
        rest = [tag for tag in tags if tag > x.query.get("last", "")]
        page = rest[: self.page]
        link = f'</v2/{name}/tags/list?last={page[-1]}&n=9>; rel="next"'
        more = {"link": link} if len(rest) > len(page) else {}
        return x.reply(200, json.dumps({"name": name, "tags": page}).encode(), **more)

    def _error(self, x: Exchange, status: int, code: str, message: str) -> bool:
        return x.reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    _ROUTES = (
        (r"/v2/", _base),
        (r"/v2/(.+)/manifests/([^/]+)", _manifest),
        (r"/v2/(.+)/blobs/uploads/", _begin),
        (r"/v2/(.+)/blobs/uploads/([^/]+)", _upload),
        (r"/v2/(.+)/blobs/([^/]+)", _blob),
        (r"/v2/(.+)/tags/list", _tags),
    )
