"""Faults by chance, one upon another: what a pull gives is right or an error, and it ends; so does a push.

`NACRE_SEEDS=1000` tries more of them.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from contract import image
from fakeregistry import Action, Exchange, FakeRegistry, digest_of

from nacre.services.client import Client, Policy, Repository, TransportLimits
from nacre.services.client.ranges import Ranges
from nacre.words.digest import Verifier
from nacre.words.errors import NacreError
from nacre.words.oci import OCI_MANIFEST, Manifest, parse_document
from nacre.words.reference import Reference

SEEDS = int(os.environ.get("NACRE_SEEDS", "40"))
LAYERS = tuple(random.Random(number).randbytes(size) for number, size in enumerate((300, 70_000, 5_000_000)))
MOST_REQUESTS = 1000
T = TypeVar("T")


class Chaos:
    """Puts itself in the way of a registry: each request meets a fault with a chance of its own."""

    def __init__(self, fake: FakeRegistry, other: FakeRegistry, seed: int) -> None:
        self._fake, self._other, self._chance = fake, other, random.Random(seed)
        self._often = self._chance.choice((0.1, 0.3, 0.6, 0.95))
        self._left = self._chance.choice((3, 30, MOST_REQUESTS))
        self._lock, self.gate = threading.Lock(), threading.Event()
        self._faults: tuple[Action, ...] = (
            self._status, self._status, self._cut, self._part, self._longer, self._flipped, self._page,
            self._deep, self._elsewhere, self._garbage, self._packed, self._range, self._stall,
        )  # fmt: skip
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
            fake.on(method, "/v2/app/", self._act, times=MOST_REQUESTS * 2)

    def _act(self, x: Exchange) -> bool:
        with self._lock:
            happens = self._left > 0 and self._chance.random() < self._often
            self._left -= happens
            fault = self._chance.choice(self._faults)
        return happens and fault(x)

    def _number(self, limit: int) -> int:
        with self._lock:
            return self._chance.randrange(limit)

    def _status(self, x: Exchange) -> bool:
        x.body()
        status = (400, 401, 403, 404, 409, 413, 416, 429, 429, 500, 502, 503, 503, 504)[self._number(14)]
        return x.reply(status, b"", **({"retry_after": "0"} if self._number(2) else {}))

    def _cut(self, x: Exchange) -> bool:
        return x.cut()

    def _part(self, x: Exchange) -> bool:
        """The beginning of the answer, or of the request, and no more."""
        if x.command in ("PATCH", "PUT"):
            key = x.url.path.rpartition("/")[2]
            length = int(x.headers.get("content-length") or 0)
            self._fake.uploads.get(key, bytearray()).extend(x.rfile.read(self._number(length + 1)))
            return x.cut()
        data = self._fake.blobs.get(("app", x.url.path.rpartition("/")[2]), b"")
        x.reply(200, data[: self._number(len(data) + 1)], content_length=str(len(data)))
        return x.cut()

    def _longer(self, x: Exchange) -> bool:
        data = self._fake.blobs.get(("app", x.url.path.rpartition("/")[2]), b"")
        return x.reply(200, data + b"more", content_length="" if self._number(2) else str(len(data) + 4))

    def _flipped(self, x: Exchange) -> bool:
        x.body()
        data = bytearray(self._fake.blobs.get(("app", x.url.path.rpartition("/")[2]), b""))
        if data:
            data[self._number(len(data))] ^= 1
        return x.reply(200, bytes(data))

    def _page(self, x: Exchange) -> bool:
        x.body()
        return x.reply(200, b"<html>Please log in</html>", content_type="text/html")

    def _deep(self, x: Exchange) -> bool:
        x.body()
        return x.reply(200, b"[" * 100_000, content_type=OCI_MANIFEST)

    def _elsewhere(self, x: Exchange) -> bool:
        x.body()
        place = (f"http://{self._other.host}{x.path}", x.path, "ftp://x/", "")[self._number(4)]
        return x.reply((301, 302, 307, 202)[self._number(4)], location=place)

    def _garbage(self, x: Exchange) -> bool:
        x.wfile.write(bytes(self._number(256) for _ in range(40)) + b"\r\n\r\n")
        return x.cut()

    def _packed(self, x: Exchange) -> bool:
        x.body()
        return x.reply(200, b"\x1f\x8b", content_encoding="gzip")

    def _range(self, x: Exchange) -> bool:
        x.body()
        first, last = self._number(1000), self._number(1 << 40)
        status, span = 206 if x.command == "GET" else 202, f"{first}-{last}"
        lies = {"range": span, "content_range": f"bytes {span}/{last + 1}", "location": x.path}
        return x.reply(status, b"x" * 10, **lies)

    def _stall(self, x: Exchange) -> bool:
        self.gate.wait(60)
        return x.cut()


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


def client_of(connect: Callable[..., Client], seed: int, stall: float = 0.15) -> Client:
    ticks = itertools.count()
    eager = Ranges(3, lambda: next(ticks) * 0.05, slow=1e18, seconds=0.0)
    ranges = eager if seed % 2 else Ranges(1)
    policy = Policy(sleep=lambda _seconds: None, attempts=3)
    return connect(limits=TransportLimits(connect=5.0, stall=stall), policy=policy, ranges=ranges)


def pulled(client: Client, reference: Reference) -> list[bytes]:
    """All layers, verified as `images.layers.receive` does."""
    repository = client.repository(reference)
    found, data = repository.resolve(reference)
    manifest = parse_document(data, found.media_type)
    assert isinstance(manifest, Manifest)
    layers = []
    for layer in manifest.layers:
        verifier = Verifier(layer.digest, layer.size, what="layer")
        with repository.fetch(layer) as reader:
            layers.append(b"".join(iter(lambda reader=reader: reader.read(100_000), b"")))  # type: ignore[misc]
        verifier.update(layers[-1])
        verifier.verify()
    return layers


def outcome(action: Callable[[], T], chaos: Chaos) -> T | NacreError:
    """What it gives, or the error that it ends with."""
    try:
        return action()
    except NacreError as error:
        return error
    finally:
        chaos.gate.set()


def publish(fake: FakeRegistry, repository: Repository) -> Reference:
    reference = Reference.parse(f"{fake.host}/app:1")
    repository.put_manifest("1", image(repository, *LAYERS), OCI_MANIFEST)
    return reference


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_pull(fake: FakeRegistry, other: FakeRegistry, connect: Callable[..., Client], seed: int) -> None:
    reference = Reference.parse(f"{fake.host}/app:1")
    publish(fake, connect(limits=TransportLimits()).repository(reference))
    fake.requests.clear()
    other.blobs |= fake.blobs if seed % 3 else {}
    chaos = Chaos(fake, other, seed)
    found = outcome(lambda: pulled(client_of(connect, seed), reference), chaos)
    assert found == [*LAYERS] or (isinstance(found, NacreError) and found.message.isprintable())
    assert len(fake.requests) < MOST_REQUESTS


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_push(fake: FakeRegistry, other: FakeRegistry, connect: Callable[..., Client], seed: int) -> None:
    fake.single = bool(seed % 2)
    repository = client_of(connect, seed).repository(Reference.parse(f"{fake.host}/app:1"))
    chaos = Chaos(fake, other, seed)
    found = outcome(lambda: publish(fake, repository), chaos)
    assert not isinstance(found, NacreError) or found.message.isprintable()
    assert len(fake.requests) < MOST_REQUESTS
    assert all(digest_of(blob) == digest for (_, digest), blob in fake.blobs.items())


def test_without_chaos(fake: FakeRegistry, connect: Callable[..., Client]) -> None:
    client = client_of(connect, 1, stall=60.0)
    reference = publish(fake, client.repository(Reference.parse(f"{fake.host}/app:1")))
    assert pulled(client, reference) == [*LAYERS]
