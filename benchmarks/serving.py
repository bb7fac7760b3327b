"""What answers of registries cost: the same manifest or blob, asked for again and again.

The rates of a run need processors for the client and for the server; the CPU time of the server, which stands
beside them, does not depend on how busy the machine is.
"""

from __future__ import annotations

import base64
import json
import random
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from .bench import Bench, case_of
from .harness import Case, Scenario, Skip
from .peers import ROOT
from .registries import (
    MANIFEST,
    Distribution,
    NacreRegistry,
    Nginx,
    Pusher,
    Server,
    Zot,
    digest_of,
)

SMALL, LARGE = 4 << 10, 1 << 20
REPOSITORY = "lib/app"
OTHERS = ("docker-registry", "distribution", "zot")
_INDEX = "application/vnd.oci.image.index.v1+json"


def content(size: int) -> bytes:
    """The blob of that size, the same in every registry."""
    return random.Random(size).randbytes(size)


class Servers:
    """Each started with its content when it is first asked for. `get` raises Skip."""

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        self._bench, self._stack = bench, stack
        self._found: dict[str, Server | Skip] = {}

    def get(self, name: str) -> Server:
        """The server of that name."""
        if name not in self._found:
            try:
                self._found[name] = self._made(name)
            except Skip as reason:
                self._found[name] = reason
        found = self._found[name]
        if isinstance(found, Skip):
            raise found
        return found

    def _made(self, name: str) -> Server:
        server = start(self._bench, self._stack, name)
        if isinstance(server, Nginx):
            folder = server.folder / "data/v2" / REPOSITORY / "blobs"
            folder.mkdir(parents=True)
            for size in (SMALL, LARGE):
                (folder / digest_of(content(size))).write_bytes(content(size))
        else:
            headers = credentials(self._bench, server) if name == "accounts" else {}
            pusher = Pusher(server.url, headers)
            pusher.image(REPOSITORY, "1", [content(SMALL), content(LARGE)])
            pusher.close()
        self._bench.ready.append(server)
        return server


def start(bench: Bench, stack: ExitStack, name: str, *flags: str) -> Server:
    """An empty server of that name; `accounts` is ours with accounts. Raises Skip."""
    folder = bench.fresh("served")
    if name in ("nacre", "accounts"):
        more = ["--accounts"] if name == "accounts" else []
        title = "nacre, with accounts" if name == "accounts" else name
        return NacreRegistry(bench.nacre.words[0], folder, stack, *more, *flags, name=title)
    if name == "zot":
        return Zot(folder, stack, free_port())
    if name == "nginx":
        return Nginx(folder, stack, free_port())
    return Distribution("registry" if name == "distribution" else name, folder, stack)


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def credentials(bench: Bench, server: Server) -> dict[str, str]:
    """Those of a robot that may write, made now if it is not there, as a header of Basic."""
    secret = server.folder / "secret"
    if not secret.exists():
        secret.write_text(_robot(bench, str(server.folder / "data")))
    both = base64.b64encode(f"ci:{secret.read_text()}".encode()).decode()
    return {"Authorization": f"Basic {both}"}


def _robot(bench: Bench, root: str) -> str:
    """The token of `ci`, which may write below `lib`."""

    def call(*words: str, input: bytes | None = None) -> str:
        return bench.nacre.call("registry", *words, "--root", root, input=input)

    call("user", "add", "--admin", "--password-stdin", "boss", input=secrets.token_hex(16).encode())
    call("user", "add", "--robot", "ci")
    call("grant", "lib", "write", "--user", "ci")
    return call("token", "add", "--role", "write", "ci").strip()


def bearer(bench: Bench, server: Server) -> dict[str, str]:
    """A token from the token endpoint, good for five minutes."""
    client = Pusher(server.url, credentials(bench, server))
    _, body = client.ask("GET", f"/token?service=nacre-registry&scope=repository:{REPOSITORY}:pull")
    client.close()
    return {"Authorization": f"Bearer {json.loads(body)['token']}"}


_WAYS: dict[str, Callable[[Bench, Server], dict[str, str]]] = {
    "": lambda _bench, _server: {},
    "Basic": credentials,
    "bearer": bearer,
}
"""How a client says who it is."""


class Asked(Scenario):
    """The same request to each server, `count` times in a run; a tenth of that to docker-registry.

    `names` are servers, with how a client logs in after a comma.
    """

    unit = "requests"
    steady = False
    most = 9
    warm = 1

    def __init__(
        self, name: str, question: str, names: Sequence[str], path: str, method: str = "GET",
        connections: int = 64, count: int = 10_000,
    ) -> None:  # fmt: skip
        self.name, self.question = name, f"{method} of {question}, {connections} connections"
        self._names, self._path, self._method = names, path, method
        self._connections, self._count = connections, count

    def cases(self, bench: Bench) -> Iterator[Case]:
        for name in self._names:
            yield case_of(name, partial(self._case, bench, name))

    def _case(self, bench: Bench, name: str) -> Case:
        kind, _, way = name.partition(", ")
        server = bench.shared(Servers).get(kind)
        lines = {"Accept": f"{MANIFEST}, {_INDEX}", **_WAYS[way](bench, server)}
        count = self._count // 10 if kind == "docker-registry" else self._count
        words = [
            sys.executable, "-m", "benchmarks.load", "--method", self._method, "--requests", str(count),
            "--connections", str(self._connections), *(f"--header={k}: {v}" for k, v in lines.items()),
            server.url + self._path,
        ]  # fmt: skip
        title = f"{server.name}, {way}" if way else server.name
        return Case(title, words, folder=ROOT, daemon=server.daemon, count=count)


_BLOB = f"/v2/{REPOSITORY}/blobs/"
_SMALL, _LARGE = _BLOB + digest_of(content(SMALL)), _BLOB + digest_of(content(LARGE))
_TAG = f"/v2/{REPOSITORY}/manifests/1"
_LOGGED_IN = ("nacre", "accounts, Basic", "accounts, bearer", *OTHERS)
_WITH_FILES = ("nacre", *OTHERS, "nginx")
SCENARIOS = (
    Asked("registry-manifest-get", "a manifest by its tag", _LOGGED_IN, _TAG),
    Asked("registry-manifest-head", "a manifest by its tag", _LOGGED_IN, _TAG, "HEAD"),
    Asked("registry-blob-head", "a blob of 4 KiB", _WITH_FILES, _SMALL, "HEAD"),
    Asked("registry-blob-small", "a blob of 4 KiB", _WITH_FILES, _SMALL),
    Asked("registry-blob-16", "a blob of 1 MiB", _WITH_FILES, _LARGE, connections=16, count=1000),
    Asked("registry-blob-64", "a blob of 1 MiB", _WITH_FILES, _LARGE, connections=64, count=1000),
)
