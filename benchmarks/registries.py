"""The registries compared, each a process on loopback with a folder of its own, and nginx with bare files.

`docker-registry` is Debian's package (2.8); `registry` is distribution 3 and `zot` what its name says, both
built by `go install`. None writes a line for a request that succeeds.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .harness import Skip
from .peers import Peer, newest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PATIENCE = 60.0


class Server(Peer):
    """A server that has started: `url`, and `daemon`, its process. `stack` ends it."""

    url = ""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        super().__init__()
        self.name, self.folder = name, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._stack = stack

    def remove_containers(self) -> None:
        """It has none."""

    def begin(
        self, words: list[str], pattern: str, env: Mapping[str, str] | None = None, **owner: Any
    ) -> str:
        """Start it; what the first group of `pattern` finds in what it prints. Raises Skip."""
        env = None if env is None else {**os.environ, **env}
        log = self.folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(words, stdout=file, stderr=file, cwd=self.folder, env=env, **owner)
        self._stack.callback(end, process)
        self.daemon = process.pid
        until = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < until:
            if found := re.search(pattern, log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.002)
        raise Skip(f"{self.name} does not start: " + log.read_text(errors="replace")[-200:])


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=_PATIENCE)


class NacreRegistry(Server):
    """Ours; `flags` of `nacre registry serve`."""

    def __init__(
        self, program: str, folder: Path, stack: ExitStack, *flags: str, name: str = "nacre",
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, folder, stack)
        self.words = [program]
        words = [program, "registry", "serve", "-q", "--addr", "127.0.0.1:0", "--root", str(folder / "data")]
        self.url = self.begin([*words, *flags], r"serving on (http://\S+)/v2/", env)


class Distribution(Server):
    """`docker-registry` or `registry`: the same program in two versions."""

    def __init__(self, program: str, folder: Path, stack: ExitStack) -> None:
        super().__init__("distribution" if program == "registry" else program, folder, stack)
        self.words = [newest(program)]
        log = {"level": "info", "accesslog": {"disabled": True}}
        storage = {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}}
        config = {"version": 0.1, "log": log, "storage": storage, "http": {"addr": "127.0.0.1:0"}}
        (folder / "config.yml").write_text(json.dumps(config))
        words = [*self.words, "serve", str(folder / "config.yml")]
        self.url = "http://" + self.begin(words, r"listening on (127\.0\.0\.1:\d+)")


class Zot(Server):
    """zot, which is told a port."""

    def __init__(self, folder: Path, stack: ExitStack, port: int) -> None:
        super().__init__("zot", folder, stack)
        self.words = [newest("zot")]
        config = {
            "storage": {"rootDirectory": str(folder / "data"), "gc": False, "dedupe": True},
            "http": {"address": "127.0.0.1", "port": str(port)}, "log": {"level": "error"},
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        self.begin([*self.words, "serve", str(folder / "config.json")], "()")
        self.url = f"http://127.0.0.1:{port}"
        await_answer(self.url + "/v2/")


class Nginx(Server):
    """nginx, which serves the files that lie in `folder`/data under their paths."""

    def __init__(self, folder: Path, stack: ExitStack, port: int) -> None:
        super().__init__("nginx, bare files", folder, stack)
        self.words = [newest("nginx")]
        (folder / "data").mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        self.begin([*self.words, "-p", str(folder), "-c", str(folder / "nginx.conf")], "()")
        self.url = f"http://127.0.0.1:{port}"
        await_answer(self.url + "/")

    def version(self) -> str:
        """One line."""
        return self._run("-v").stderr.decode().strip()


_NGINX = """\
daemon off; worker_processes 2; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=1000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/data; autoindex on; }}
}}
"""


def await_answer(url: str) -> None:
    """Until a server answers anything. Raises Skip."""
    parts, until = urlsplit(url), time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection(parts.netloc, timeout=5)
            connection.request("GET", parts.path)
            connection.getresponse().read()
        except OSError:
            time.sleep(0.01)
        else:
            connection.close()
            return
    raise Skip(f"{url} does not answer")


def digest_of(data: bytes) -> str:
    """sha256:…"""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Pusher:
    """A client that pushes as docker does: HEAD, POST, PATCH, PUT for a blob. Raises OSError."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_PATIENCE)
        self._headers = headers or {}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, wanted: int = 200, **more: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request; `more` are headers. The answer and its body."""
        named = {name.replace("_", "-"): value for name, value in more.items()}
        self._connection.request(method, path, body, self._headers | named)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != wanted:
            raise OSError(f"{method} {path}: {answer.status} {said[:200].decode(errors='replace')}")
        return answer, said

    def blob(self, name: str, data: bytes) -> str:
        """Its digest."""
        digest = digest_of(data)
        self.ask("HEAD", f"/v2/{name}/blobs/{digest}", wanted=404)
        place = self._place(self.ask("POST", f"/v2/{name}/blobs/uploads/", wanted=202))
        kind = {"Content_Type": "application/octet-stream"}
        place = self._place(self.ask("PATCH", place, data, 202, **kind))
        joint = "&" if "?" in place else "?"
        self.ask("PUT", f"{place}{joint}digest={digest}", b"", 201, **kind)
        return digest

    def _place(self, answered: tuple[http.client.HTTPResponse, bytes]) -> str:
        parts = urlsplit(answered[0].headers["Location"])
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def image(self, name: str, tag: str, layers: list[bytes]) -> str:
        """An image of these layers; the digest of its manifest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "made": tag, "rootfs": {
            "type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}).encode()  # fmt: skip
        described = [_descriptor(_LAYER, self.blob(name, layer), len(layer)) for layer in layers]
        document = {
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": described,
            "config": _descriptor(_CONFIG, self.blob(name, config), len(config)),
        }  # fmt: skip
        data = json.dumps(document).encode()
        self.ask("PUT", f"/v2/{name}/manifests/{tag}", data, 201, Content_Type=MANIFEST)
        return digest_of(data)


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest, "size": size}
