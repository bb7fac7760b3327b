"""A real S3 server for tests, and a connection to it that does what a bad one does."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import reserved_port

from nacre.words.rules import StorageRules

PROGRAM = "versitygw"
USER = ("nacre", "not a secret")


class S3Server:
    """A server whose buckets are folders in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        self._held = reserved_port()
        self.port = self._held.getsockname()[1]
        environment = {"ROOT_ACCESS_KEY": USER[0], "ROOT_SECRET_KEY": USER[1], "HOME": str(folder)}
        data = folder / "data"
        data.mkdir()
        arguments = [PROGRAM, "--quiet", "--port", f"127.0.0.1:{self.port}", "posix", str(data)]
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [shutil.which(PROGRAM) or PROGRAM, *arguments[1:]], env=environment, stdout=log, stderr=log
            )

    def wait(self) -> None:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until

    def rules(self, port: int = 0, **settings: object) -> StorageRules:
        """A bucket that nobody used before."""
        self._count += 1
        (self.folder / "data" / f"bucket-{self._count}").mkdir()
        return self.again(port, **settings)

    def again(self, port: int = 0, **settings: object) -> StorageRules:
        """The last bucket."""
        endpoint = f"http://127.0.0.1:{port or self.port}"
        keys = {"access_key": USER[0], "secret_key": USER[1]}
        values = {"endpoint": endpoint, "region": "us-east-1"} | keys | settings
        return StorageRules(f"s3://bucket-{self._count}/registry", **values)  # type: ignore[arg-type]

    def objects(self) -> list[Path]:
        """Files of the last bucket that are content."""
        return sorted((self.folder / "data" / f"bucket-{self._count}").glob("registry/objects/*/*"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._held.close()


def serving_s3(folder: Path) -> Iterator[S3Server]:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    server = S3Server(folder)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


class BadProxy:
    """Passes connections on to `port`; `trouble(request line)` gives bytes to answer with instead, or None.

    `edit` changes what the server answers. A connection serves one request.
    """

    def __init__(self, port: int) -> None:
        self.trouble: Callable[[str], bytes | None] = lambda line: None
        self.edit: Callable[[str, bytes], bytes] = lambda line, data: data
        self.lines: list[str] = []
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head, _, body = _head(client)
            line = head.partition(b"\r\n")[0].decode()
            self.lines.append(line)
            body += _rest(client, head, len(body))
            instead = self.trouble(line)
            if instead is None:
                instead = self.edit(line, self._ask(head, body))
            client.sendall(instead)

    def _ask(self, head: bytes, body: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            server.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
            answer = bytearray()
            while data := server.recv(1 << 20):
                answer += data
        return bytes(answer)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


def _head(client: socket.socket) -> tuple[bytes, bytes, bytes]:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = client.recv(1 << 16)
        if not more:
            raise OSError("no request")
        data += more
    return bytes(data).partition(b"\r\n\r\n")


def _rest(client: socket.socket, head: bytes, have: int) -> bytes:
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = (int(lengths[0].partition(b":")[2]) if lengths else 0) - have
    data = bytearray()
    while left > len(data):
        more = client.recv(1 << 20)
        if not more:
            break
        data += more
    return bytes(data)
