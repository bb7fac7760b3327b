"""GitHub's cache service on loopback: entries that never change, signed links, block blobs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "job-token"
_SERVICE = "/base/twirp/github.actions.results.api.v1.CacheService/"


class FakeGitHub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/base/"
        self.entries: dict[tuple[str, str], bytes | None] = {}
        self.blobs: dict[str, bytes] = {}
        self.blocks: dict[str, dict[str, bytes]] = {}
        self.lock = threading.Lock()
        self.uploads = 0

    @contextmanager
    def serving(self) -> Iterator[FakeGitHub]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeGitHub

    def log_message(self, *_args: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_POST(self) -> None:
        body = self._body()
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, b'{"code":"unauthenticated","msg":"bad token"}')
            return
        assert self.path.startswith(_SERVICE), self.path
        fields = json.loads(body)
        with self.server.lock:
            found = getattr(self, "_" + self.path.removeprefix(_SERVICE))(
                fields, (fields["key"], fields["version"])
            )
        if found is None:
            self._answer(409, b'{"code":"already_exists","msg":"there is such an entry"}')
        else:
            self._answer(200, json.dumps(found).encode(), Content_Type="application/json")

    def _link(self, key: tuple[str, str]) -> str:
        number = list(self.server.entries).index(key)
        return f"{self.server.url}blob/{number}?sig=secret"

    def _CreateCacheEntry(self, _fields: Any, key: tuple[str, str]) -> Any:
        if key in self.server.entries:
            return None
        self.server.entries[key] = None
        return {"ok": True, "signed_upload_url": self._link(key)}

    def _FinalizeCacheEntryUpload(self, fields: Any, key: tuple[str, str]) -> Any:
        data = self.server.blobs[urlsplit(self._link(key)).path]
        assert str(len(data)) == fields["size_bytes"]
        self.server.entries[key] = data
        return {"ok": True, "entry_id": "7"}

    def _GetCacheEntryDownloadURL(self, fields: Any, key: tuple[str, str]) -> Any:
        names = [one for one, data in self.server.entries.items() if data is not None and one[1] == key[1]]
        exact = [one for one in names if one == key]
        begun = [one for one in names if any(map(one[0].startswith, fields["restore_keys"]))]
        found = (exact or begun)[-1:]
        return {"ok": bool(found), "signed_download_url": self._link(found[0]) if found else ""}

    def do_PUT(self) -> None:
        body, url = self._body(), urlsplit(self.path)
        query = parse_qs(url.query)
        assert query["sig"] == ["secret"]
        assert "Authorization" not in self.headers
        self.server.uploads += 1
        kind = query.get("comp", [""])[0]
        if kind == "block":
            self.server.blocks.setdefault(url.path, {})[query["blockid"][0]] = body
        elif kind == "blocklist":
            names = re.findall("<Latest>([^<]+)</Latest>", body.decode())
            self.server.blobs[url.path] = b"".join(self.server.blocks[url.path][name] for name in names)
        else:
            assert self.headers["x-ms-blob-type"] == "BlockBlob"
            self.server.blobs[url.path] = body
        self._answer(201)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        assert "Authorization" not in self.headers
        data, span = self.server.blobs[url.path], self.headers["Range"]
        if not span:
            self._answer(200, data)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        whole = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        self._answer(206, part, Content_Range=whole)
