"""Addresses of the link: nobody far away may lead to them, by number or by name."""

from __future__ import annotations

import fcntl
import io
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from contract import descriptor
from fakeregistry import Exchange, FakeRegistry

from nacre.ground import linux, userns
from nacre.services.client import Client, ClientConfig, Policy, TransportLimits, transport
from nacre.services.client.nearby import is_internal, is_nearby
from nacre.words.errors import NacreError, RegistryError, Unreachable
from nacre.words.reference import Reference

METADATA = "169.254.169.254"
SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8914, 1
Connect = Callable[..., Client]


@pytest.mark.parametrize(
    "host",
    [
        METADATA, "169.254.0.1", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
        "169.254.43518", "fe80::1", "[fe80::1]", "fe80::1%eth0", "fe80::1%25eth0", "febf::1", "fd00:ec2::254",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200",
        "168.63.129.16", "metadata.google.internal", "Metadata.Google.Internal.",
    ],
)  # fmt: skip
def test_what_is_nearby(host: str) -> None:
    assert is_nearby(host)


@pytest.mark.parametrize(
    "host",
    ["169.253.1.1", "10.0.0.1", "127.0.0.1", "::1", "fec0::1", "reg.example", "169.254.example", "1", ""],
)
def test_what_is_not(host: str) -> None:
    assert not is_nearby(host)


@pytest.mark.parametrize("host", [METADATA, "[fe80::1]", "2852039166", "metadata.google.internal"])
def test_redirects(fake: FakeRegistry, connect: Connect, host: str) -> None:
    """From a manifest, a blob, an upload, a token server, a download; also where a proxy would connect."""
    away = f"http://{host}/latest/meta-data/"
    repository = connect(proxies={"http_proxy": f"http://{fake.host}"}).repository(
        Reference.parse(f"{fake.host}/app")
    )

    def upload(x: Exchange) -> bool:
        x.body()
        return x.reply(202, location=away)

    fake.on("GET", "/manifests/", lambda x: x.reply(307, location=away))
    fake.on("GET", "/blobs/", lambda x: x.reply(307, location=away))
    fake.on("POST", "/uploads/", upload, times=2)
    with pytest.raises(RegistryError, match="link-local address"):
        repository.resolve(Reference.parse(f"{fake.host}/app"))
    with pytest.raises(RegistryError, match="link-local address"):
        repository.read(descriptor(b"x"))
    with pytest.raises(RegistryError, match="link-local address"):
        repository.put(descriptor(b"x"), lambda: io.BytesIO(b"x"))
    fake.on("GET", "/v2/", lambda x: x.reply(401, www_authenticate=f'Bearer realm="{away}"'), times=5)
    with pytest.raises(RegistryError, match="link-local address"):
        repository.resolve(Reference.parse(f"{fake.host}/app"))
    assert not [path for _, path, _ in fake.requests if host in path]


def test_downloads(fake: FakeRegistry, connect: Connect) -> None:
    fake.on("GET", "/file", lambda x: x.reply(302, location=f"http://{METADATA}/"))
    for url in (f"http://{METADATA}/", f"http://{fake.host}/file"):
        with pytest.raises(RegistryError, match="link-local address"):
            connect().download(url)


# Of registries whose answers others get


@pytest.mark.parametrize(
    "host",
    [
        METADATA, "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "2130706433", "0x7f.1", "::1", "::", "[::1]", "fd00::1",
        "fe80::1%eth0", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::a00:1",
        "2002:a00:1::1", "localhost", "app.LOCALHOST.", "168.63.129.16",
    ],
)  # fmt: skip
def test_what_is_internal(host: str) -> None:
    assert is_internal(host)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "reg.example", ""]
)
def test_what_is_public(host: str) -> None:
    assert not is_internal(host)


def _led(fake: FakeRegistry, connect: Connect, away: str, content: bytes = b"x") -> bytes:
    """The blob of a registry that redirects there."""
    repository = connect(guarded=True).repository(Reference.parse(f"{fake.host}/app"))
    fake.on("GET", "/blobs/", lambda x: x.reply(307, location=away), times=3)
    return bytes(repository.read(descriptor(content)))


def test_a_redirect_to_another_host_is_over_tls(fake: FakeRegistry, connect: Connect) -> None:
    port = fake.host.rpartition(":")[2]
    with pytest.raises(RegistryError, match="which is not encrypted: not allowed"):
        _led(fake, connect, f"http://localhost:{port}/secret")
    fake.on(
        "GET", "/v2/", lambda x: x.reply(401, www_authenticate='Bearer realm="http://localhost/t"'), times=5
    )
    repository = connect(guarded=True).repository(Reference.parse(f"{fake.host}/app"))
    with pytest.raises(RegistryError, match="which is not encrypted: not allowed"):
        repository.resolve(Reference.parse(f"{fake.host}/app"))
    assert not [path for _, path, _ in fake.requests if "secret" in path]


def test_an_internal_registry_leads_to_its_own_host(fake: FakeRegistry, connect: Connect) -> None:
    other = FakeRegistry()
    try:
        digest = other.add_blob("app", b"x")
        assert _led(fake, connect, f"http://{other.host}/v2/app/blobs/{digest}") == b"x"
    finally:
        other.close()


@pytest.fixture
def internal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[str]]]:
    """What listens at 127.0.0.2, the only address that is internal, also called `evil.example`; who came."""
    came: list[str] = []

    def names(host: Any, *args: Any, **options: Any) -> Any:
        return _lookup("127.0.0.2" if host == "evil.example" else host, *args, **options)

    def serve() -> None:
        with suppress(OSError):
            while True:
                with server.accept()[0] as connection:
                    came.append(connection.recv(1 << 10).decode(errors="replace"))

    monkeypatch.setattr(socket, "getaddrinfo", names)
    monkeypatch.setattr(transport, "is_internal", lambda host: host == "127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.2", "evil.example"])
def test_a_public_registry_leads_to_no_internal_address(
    host: str, fake: FakeRegistry, connect: Connect, internal: tuple[int, list[str]]
) -> None:
    """By number or by name: nothing is sent, no TLS is begun."""
    port, came = internal
    with pytest.raises(RegistryError, match="is not allowed: it is no public address"):
        _led(fake, connect, f"https://{host}:{port}/secret")
    assert not any(came)


def test_its_token_server_is_not_there_either(
    fake: FakeRegistry, connect: Connect, internal: tuple[int, list[str]]
) -> None:
    realm = f'Bearer realm="https://evil.example:{internal[0]}/token"'
    fake.on("GET", "/v2/", lambda x: x.reply(401, www_authenticate=realm), times=5)
    repository = connect(guarded=True).repository(Reference.parse(f"{fake.host}/app"))
    with pytest.raises(RegistryError, match="no public address"):
        repository.resolve(Reference.parse(f"{fake.host}/app"))
    assert not any(internal[1])


# By name: in a network of its own, where such an address answers


@contextmanager
def _service() -> Iterator[list[bytes]]:
    """What this address is asked for."""
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                head = connection.recv(1 << 16)
                if head:
                    asked.append(head)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                    connection.settimeout(0.5)
                    while connection.recv(1 << 16):  # to close with bytes unread would cut off the answer
                        continue

    with socket.create_server((METADATA, 8080)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _network() -> None:
    """A network namespace whose loopback has the address."""
    linux.unshare(linux.CLONE_NEWNET)
    with socket.socket() as control:
        for name, address in ((b"lo", "127.0.0.1"), (b"lo:1", METADATA)):
            place = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, SIOCSIFADDR, place)
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", name, IFF_UP))


def _names(*args: Any, **options: Any) -> Any:
    """A name service that says that `evil.example` is there."""
    host = METADATA if args[0] == "evil.example" else args[0]
    return _lookup(host, *args[1:], **options)


_lookup = socket.getaddrinfo


def _tried() -> list[str]:
    """What came of the ways to a name at that address, and of naming it oneself; what was asked there."""
    _network()
    socket.getaddrinfo = _names
    found: list[str] = []
    fake = FakeRegistry()
    policy = Policy(attempts=1)
    config = ClientConfig(
        limits=TransportLimits(connect=2.0, stall=2.0), policy=policy, insecure=(f"{METADATA}:8080",)
    )
    away = "http://evil.example:8080/"

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
            found.append("done")
        except NacreError as error:
            found.append(error.message)

    with _service() as asked, Client(config) as client:
        reference = Reference.parse(f"{fake.host}/app")
        repository = client.repository(reference)

        def leads(x: Exchange) -> bool:
            return x.reply(307, location=away)

        fake.on("GET", "/manifests/", leads)
        attempt(lambda: repository.resolve(reference))
        attempt(lambda: client.download(away))
        fake.on("GET", "/v2/", lambda x: x.reply(401, www_authenticate=f'Bearer realm="{away}"'), times=5)
        attempt(lambda: repository.resolve(reference))
        count = len(asked)
        attempt(lambda: client.check(f"{METADATA}:8080"))
        return [str(count), *found, str(len(asked) > 0)]


def test_by_name() -> None:
    """The address counts, not what it is called; a registry that the user has there is one like others."""
    try:
        userns.call(_network)
    except Exception as error:
        pytest.skip(f"no network namespace here: {error}")
    count, *ways, own, seen = userns.call(_tried)
    assert (count, own, seen) == ("0", "done", "True")
    for said in ways:
        assert f"evil.example ({METADATA}) is not allowed" in said


def test_the_error_is_no_reason_to_try_again(connect: Connect) -> None:
    with pytest.raises(RegistryError) as caught:
        connect().download(f"http://{METADATA}/")
    assert not isinstance(caught.value, Unreachable)
    assert "credentials" in caught.value.hint


def test_a_connection_that_is_cut_at_once() -> None:
    """Its other end has no address any more: it is an error of the request, and the socket is closed."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        assert transport._distant(near, "host", False) is near
