"""What a registry may do in mid-transfer: let a token expire, stall, take less than it was sent."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable

import pytest
from contract import descriptor, put
from fakeregistry import Exchange, FakeRegistry, digest_of

from nacre.grammars.wire.auth import Credentials
from nacre.services.client import Client, Repository, TransportLimits
from nacre.words.errors import InvalidDocument, RegistryError
from nacre.words.oci import DOCKER_SCHEMA1
from nacre.words.reference import Reference

Connect = Callable[..., Client]
ME = Credentials("me", "swordfish")
DATA = os.urandom(6_000_000)


@pytest.fixture
def reference(fake: FakeRegistry) -> Reference:
    return Reference.parse(f"{fake.host}/app:latest")


@pytest.fixture
def repository(connect: Connect, reference: Reference) -> Repository:
    return connect(limits=TransportLimits()).repository(reference)


class Tokens:
    """Gives tokens out, and asks for them as long as they are valid."""

    def __init__(self, fake: FakeRegistry) -> None:
        self.fake, self.issued, self.valid = fake, 0, ""
        fake.on("GET", "/token", self._issue, times=1000)

    def _issue(self, x: Exchange) -> bool:
        self.issued += 1
        self.valid = f"t{self.issued}"
        return x.reply(200, json.dumps({"token": self.valid}).encode())

    def check(self, x: Exchange) -> bool:
        """True when it was refused."""
        if self.valid and x.headers.get("authorization") == f"Bearer {self.valid}":
            return False
        return x.reply(401, www_authenticate=f'Bearer realm="http://{self.fake.host}/token"')


def test_a_token_that_expires_in_mid_blob(fake: FakeRegistry, connect: Connect, reference: Reference) -> None:
    """The line is cut, the token is old by then: with a new one the rest is asked for."""
    fake.add_blob("app", DATA)
    tokens = Tokens(fake)

    def cut(x: Exchange) -> bool:
        if tokens.check(x):
            return True
        tokens.valid = ""
        x.reply(200, DATA[:4_000_000], content_length=str(len(DATA)))
        return x.cut()

    fake.on("GET", "/blobs/", tokens.check)
    fake.on("GET", "/blobs/", cut)
    fake.on("GET", "/blobs/", tokens.check, times=100)
    with (
        connect(limits=TransportLimits(), credentials=lambda _name: ME)
        .repository(reference)
        .fetch(descriptor(DATA)) as reader
    ):
        assert reader.read(-1) == DATA
    assert tokens.issued == 2
    assert [headers.get("Range") for headers in fake.sent("GET", "/blobs/")] == [
        None, None, "bytes=4000000-", "bytes=4000000-",
    ]  # fmt: skip


def test_a_stall_in_mid_blob(fake: FakeRegistry, connect: Connect, reference: Reference) -> None:
    """It ends with a time-out, and what came before is not asked for again."""
    fake.add_blob("app", DATA)
    gate = threading.Event()

    def stall(x: Exchange) -> bool:
        x.reply(200, DATA[:4_000_000], content_length=str(len(DATA)))
        return gate.wait(60) and x.cut()

    fake.on("GET", "/blobs/", stall)
    try:
        repository = connect(limits=TransportLimits(stall=1.0)).repository(reference)
        with repository.fetch(descriptor(DATA)) as reader:
            assert reader.read(-1) == DATA
    finally:
        gate.set()
    asked = [headers.get("Range", "bytes=0-") for headers in fake.sent("GET", "/blobs/")]
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in asked]
    assert starts == sorted(starts)
    assert 0 < min(filter(None, starts)) <= 4_000_000


def test_a_registry_that_is_slow_to_read(fake: FakeRegistry, connect: Connect, reference: Reference) -> None:
    """The time to connect is for connecting: what is sent may wait as long as what is received."""
    data, gate = os.urandom(30_000_000), threading.Event()

    def pause(_x: Exchange) -> bool:
        gate.wait(1.5)  # nobody sets it: the buffers between the two are full by then
        return False

    fake.on("PATCH", "/uploads/", pause)
    put(connect(limits=TransportLimits(connect=0.5, stall=60.0)).repository(reference), data)
    assert fake.blobs["app", digest_of(data)] == data
    assert len(fake.sent("PATCH")) == 1


@pytest.mark.parametrize("said", ["0-9", "0-0", ""])
def test_a_registry_that_takes_less_than_it_was_sent(
    fake: FakeRegistry, repository: Repository, said: str
) -> None:
    """And says so for ever: the push ends."""

    def take(x: Exchange) -> bool:
        key = x.url.path.rpartition("/")[2]
        fake.uploads[key] += x.body()[:10]
        del fake.uploads[key][10:]
        return x.reply(202, location=x.path, range=said)

    fake.on("PATCH", "/uploads/", take, times=1000)
    with pytest.raises(RegistryError):
        put(repository, DATA)
    assert len(fake.sent("PATCH")) <= 10


def test_a_registry_that_takes_half_at_a_time(fake: FakeRegistry, repository: Repository) -> None:
    """What is missing is sent after it."""

    def take(x: Exchange) -> bool:
        key = x.url.path.rpartition("/")[2]
        body = x.body()
        fake.uploads[key] += body[: len(body) // 2 + 1]
        return x.reply(202, location=x.path, range=f"0-{len(fake.uploads[key]) - 1}")

    fake.on("PATCH", "/uploads/", take, times=2)
    put(repository, DATA)
    assert fake.blobs["app", digest_of(DATA)] == DATA


def test_an_upload_that_goes_on_elsewhere_takes_no_password_along(
    fake: FakeRegistry, connect: Connect, reference: Reference
) -> None:
    storage = FakeRegistry()
    try:
        storage.uploads["kept"] = bytearray()
        place = f"http://{storage.host}/v2/app/blobs/uploads/kept?_state=a%2Bb"
        fake.on("POST", "/uploads/", lambda x: x.reply(401, www_authenticate="Basic realm=x"))
        fake.on("POST", "/uploads/", lambda x: x.body() == b"" and x.reply(202, location=place))
        put(connect(limits=TransportLimits(), credentials=lambda _name: ME).repository(reference), DATA)
        assert "Authorization" in fake.sent("POST")[-1]
        assert [verb for verb, _, _ in storage.requests] == ["PATCH", "PUT"]
        assert all("Authorization" not in headers for _, _, headers in storage.requests)
    finally:
        storage.close()


def test_what_is_wrong_with_a_manifest_names_it(
    fake: FakeRegistry, repository: Repository, reference: Reference
) -> None:
    fake.add_manifest("app", "latest", b'{"schemaVersion": 1}', DOCKER_SCHEMA1[1])
    with pytest.raises(InvalidDocument, match=f"^manifest for {fake.host}/app:latest: .*schema 1") as caught:
        repository.resolve(reference)
    assert "push it again" in caught.value.hint
