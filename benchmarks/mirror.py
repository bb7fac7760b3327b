"""A proxy on loopback that keeps what it has fetched: each package comes as fast to every peer and round."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Mirror(ThreadingHTTPServer):
    """Keeps in `folder`, by URL."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._folder, self._lock = folder, threading.Lock()

    def kept(self, url: str) -> Path:
        """The file of a URL. Raises OSError."""
        path = self._folder / hashlib.sha256(url.encode()).hexdigest()
        with self._lock:
            if not path.exists():
                with urllib.request.urlopen(url) as answer:
                    path.write_bytes(answer.read())
        return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mirror

    def do_GET(self) -> None:
        try:
            path = self.server.kept(self.path)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        except OSError as error:
            self.send_error(502, str(error))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        with path.open("rb") as file:
            self.wfile.flush()
            self.connection.sendfile(file)

    def log_message(self, *_args: object) -> None:
        pass


def serve(folder: Path, stack: ExitStack) -> str:
    """Start it; its URL, as http_proxy wants it. It ends with `stack`."""
    mirror = Mirror(folder)
    threading.Thread(target=mirror.serve_forever, daemon=True).start()
    stack.callback(mirror.server_close)
    stack.callback(mirror.shutdown)
    return f"http://127.0.0.1:{mirror.server_address[1]}"
