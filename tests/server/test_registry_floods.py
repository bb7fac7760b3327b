"""Floods, and requests that two programs could read differently: refused soon, and others do not notice."""

from __future__ import annotations

import http.client
import os
import resource
import socket
import sqlite3
import ssl
import threading
import time
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from nacre.services.server import RunningServer, listen

DEADLINE = 60.0
REFUSED = (b"400", b"404", b"414", b"431", b"501", b"505", b"")


def connect(api: Any) -> socket.socket:
    parts = urlsplit(api.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE)


def answered(api: Any, data: bytes, most: int = 1 << 20) -> bytes:
    """All that comes until the server closes; nothing where it closes while this is sent."""
    with connect(api) as connection, suppress(ConnectionError):
        connection.sendall(data)
        with suppress(OSError):  # it has closed already (ENOTCONN)
            connection.shutdown(socket.SHUT_WR)
        found = b""
        while len(found) < most and (piece := connection.recv(1 << 16)):
            found += piece
        return found
    return b""


def statuses(answer: bytes) -> list[bytes]:
    return [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]


def refused(api: Any, data: bytes) -> None:
    """At once, and the next client is answered."""
    found = statuses(answered(api, data))
    assert all(status in REFUSED for status in found), found
    assert api("GET", "/v2/").status == 200


HEAD = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        HEAD + b"X: y\r\n" * 200_000,
        HEAD + b"X: " + b"y" * (4 << 20) + b"\r\n\r\n",
        HEAD + b"Y" * (4 << 20) + b": x\r\n\r\n",
        HEAD + b"X: y\r\n " + b"folded\r\n " * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * (4 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * (4 << 20) + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" * (1 << 20),
        HEAD + b"\0\r\n\r\n",
        HEAD + b"X\0: y\r\n\r\n",
        HEAD + b"X : y\r\n\r\n",
    ],
    ids=["many headers", "headers without end", "a huge value", "a huge name", "folded lines", "a huge path",
         "a huge method", "empty lines", "a header of NUL", "NUL in a name", "a blank before the colon"],
)  # fmt: skip
def test_heads_that_are_too_much(api: Any, data: bytes) -> None:
    refused(api, data)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4, 5\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: 4\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
    ],
)
def test_lengths_that_could_be_read_differently(api: Any, fields: bytes) -> None:
    """What follows is never taken for a request of its own (request smuggling)."""
    inner = b"DELETE /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
    api.push_image("app", "1")
    answer = answered(api, head + inner)
    assert not {b"202", b"404"}.intersection(statuses(answer)[1:]), answer
    assert api("GET", "app/manifests/1").status == 200


def test_a_length_beside_chunks(api: Any) -> None:
    """Chunks win, and the connection ends with it (RFC 9112, 6.1), or the request is refused."""
    api.push_image("app", "1")
    head = b"POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n"
    inner = b"DELETE /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    answered(api, head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nX" + inner)
    assert api("GET", "app/manifests/1").status == 200


@pytest.mark.parametrize(
    "chunks",
    [b"fffffffffffffffff\r\n", b"-1\r\n", b"4;" + b"x" * (1 << 20) + b"\r\n", b"4\r\nabcdX\r\n", b"0\r\n" +
     b"X: y\r\n" * 100_000, b"1;a\r\nb\r\n" * 20_000, b"zz\r\n"],
    ids=["a huge size", "a size below zero", "a huge extension", "more than its size", "trailers without end",
         "an extension for each byte", "no number"],
)  # fmt: skip
def test_chunks_that_are_wrong_or_too_much(api: Any, serving: RunningServer, chunks: bytes) -> None:
    head = b"POST /v2/app/blobs/uploads/?digest=sha256:" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\n"
    answer = answered(api, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    # 500 is the HTTP server's own answer where a body cannot be read
    assert statuses(answer) in ([], [b"400"], [b"500"]), answer[:200]
    assert api("GET", "/v2/").status == 200
    deadline = time.monotonic() + DEADLINE
    while serving.registry.running:
        assert time.monotonic() < deadline


def test_many_requests_in_one_go(api: Any) -> None:
    """Each is answered in its turn; whoever else asks does not wait for them."""
    count, done = 2000, threading.Event()
    answers: list[int] = []

    def ask() -> None:
        while not done.is_set():
            answers.append(api("GET", "/v2/").status)

    other = threading.Thread(target=ask)
    other.start()
    try:
        with connect(api) as connection:
            threading.Thread(target=connection.sendall, args=((HEAD + b"\r\n") * count,)).start()
            found = b""
            while found.count(b"HTTP/1.1 200") < count:
                piece = connection.recv(1 << 16)
                assert piece, found[-200:]
                found += piece
    finally:
        done.set()
        other.join()
    assert len(answers) > 3
    assert set(answers) == {200}


def test_http_2_is_not_spoken(api: Any) -> None:
    """So its floods (rapid reset, CONTINUATION, SETTINGS) reach nothing: the preface ends the connection."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    reset = b"\0\0\4\3\0\0\0\0\1\0\0\0\x08"
    continuation = b"\0\x40\0\x09\0\0\0\0\1" + b"x" * 16384
    for frames in (b"\0\0\0\4\0\0\0\0\0" * 10_000, reset * 10_000, continuation * 100):
        refused(api, preface + frames)
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    websocket = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    for fields in (upgrade, websocket):
        with connect(api) as connection:
            connection.sendall(HEAD + fields + b"\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("If-None-Match", '"a", ' * 40_000), ("If-None-Match", '"' * 60_000),
        ("If-None-Match", "W/" * 60_000),
        ("Accept", "a/b;q=0.1, " * 20_000), ("Accept", "," * 100_000), ("Range", "bytes=" + "0-0," * 40_000),
        ("Range", "bytes=" + "9" * 60_000 + "-"), ("Authorization", "Basic " + "A" * 200_000),
        ("Authorization", "Bearer " + "a.b." * 50_000), ("Authorization", "Bearer ey" + "." * 100_000),
        ("X-Request-Id", "a" * 200_000), ("X-Forwarded-Proto", "," * 200_000), ("Cookie", "a=b;" * 50_000),
        ("Content-Range", "bytes " + "1" * 100_000), ("Host", "a" * 200_000),
    ],
)  # fmt: skip
def test_large_fields_cost_little(api: Any, name: str, value: str) -> None:
    image = api.push_image("app", "1")
    before = resource.getrusage(resource.RUSAGE_SELF)
    for path in ("app/manifests/1", f"app/blobs/{image.digest}", "/", "/token"):
        with suppress(OSError, http.client.HTTPException):
            assert api("GET", path, **{name: value}).status < 500
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


@pytest.mark.parametrize(
    "target",
    [
        "http://other.example/v2/app/manifests/1", "//v2/app/manifests/1", "/v2/app/../secret/manifests/1",
        "/v2/app%2f..%2fsecret/manifests/1", "/v2/%61pp/manifests/1", "/v2/app/manifests/%31",
        "/v2/app%5c..%5csecret/manifests/1", "/v2/app\\..\\secret/manifests/1",
        "/v2/app/%252e%252e/manifests/1",
        "/v2/app/%c0%ae%c0%ae/manifests/1", "/v2/app;x/manifests/1", "/V2/app/manifests/1",
        "/v2/./app/tags/list",
        "/v2/app/manifests/1%00.txt", "/v2/app/manifests/1%0d%0aX:y", "/v2/app/manifests/1?x#y", "*", "v2/",
        "/-/static/../../../../etc/passwd", "/-/static/%2e%2e/%2e%2e/app.py", "/r/app/../../etc/passwd",
        "/r/%2e%2e%2f%2e%2e%2fetc/passwd", "/api/v1/../../v2/app/manifests/1",
    ],
)  # fmt: skip
def test_other_ways_to_write_a_path(api: Any, target: str) -> None:
    """What is not the path itself is nothing, or that path: never another one, and no error of ours."""
    api.push_image("app", "1")
    secret = api.push_image("secret", "1", b"secret")
    line = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1")
    answer = answered(api, line)
    assert statuses(answer)[:1] in ([b"200"], [b"303"], [b"400"], [b"404"], [b"405"], []), answer[:200]
    assert secret.data not in answer
    assert b"root:" not in answer


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head must come within two seconds."""
    monkeypatch.setattr(listen, "HEAD_MS", 2000)


@pytest.mark.usefixtures("hasty")
def test_a_head_that_trickles_is_given_up(folder: str, api_of: Any) -> None:
    with RunningServer(folder) as serving:
        api = api_of(serving.url)
        slow = [connect(api) for _ in range(20)]
        for connection in slow:
            connection.sendall(HEAD)
        end = time.monotonic() + DEADLINE
        left = list(slow)
        while left:
            assert time.monotonic() < end
            for connection in list(left):
                connection.settimeout(0.02)
                try:
                    connection.sendall(b"X: y\r\n")
                    if connection.recv(1000):
                        left.remove(connection)
                except TimeoutError:
                    continue
                except OSError:
                    left.remove(connection)
            assert api("GET", "/v2/").status == 200
        for connection in slow:
            connection.close()


@pytest.fixture
def many(serving: RunningServer, api: Any) -> int:
    """A repository with a lot of tags, written to the database as pushes would."""
    image = api.push_image("app", "first")
    count = int(os.environ.get("TEST_TAGS", "50000"))
    with closing(sqlite3.connect(f"{serving.registry.state.store.root}/registry.db", timeout=30)) as db, db:
        db.execute(
            """WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
            INSERT INTO tags SELECT (SELECT id FROM repositories WHERE name = 'app'),
                printf('v%07d', i), ?, i FROM n""",
            (count, image.digest),
        )
    return count


def test_very_many_tags(api: Any, many: int, serving: RunningServer) -> None:
    """A page costs as much as a page; what asks for all gets a page, and where the next is."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    whole = api("GET", "app/tags/list")
    assert len(whole.json["tags"]) <= 10_000
    assert 'rel="next"' in whole.headers["Link"]
    for last in ("", "v0000000", f"v{many // 2:07d}", f"v{many - 3:07d}"):
        found = api("GET", f"app/tags/list?n=100&last={last}")
        assert 1 <= len(found.json["tags"]) <= 100
    for path in ("/", "/r/app", "/r/app?q=v0000", "/-/search?q=app", "/metrics"):
        assert api("GET", path).status in (200, 404)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_maxrss - before.ru_maxrss < 100_000, "KiB"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_tls_does_not_offer_http_2(tmp_path: Any) -> None:
    ipaddress, certificates = pytest.importorskip("ipaddress"), pytest.importorskip("clientcertificates")
    from nacre.words.rules import AccessRules, ClientCertificateRules, RegistryRules, TlsRules

    authority = certificates.Authority(tmp_path)
    here = certificates.x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert = authority.sign("server", here, server=True)
    tls = TlsRules(str(cert), str(cert.with_suffix(".key")))
    for clients in (ClientCertificateRules(), ClientCertificateRules(str(authority.file), required=True)):
        rules = RegistryRules(tls=tls, access=AccessRules(certificates=clients))
        with RunningServer(str(tmp_path / f"r{clients.required}"), rules=rules) as serving:
            context = authority.context(authority.sign("x"))
            context.set_alpn_protocols(["h2", "http/1.1"])
            parts = urlsplit(serving.url)
            with (
                socket.create_connection((parts.hostname, parts.port), DEADLINE) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                assert connection.selected_alpn_protocol() in ("http/1.1", None)
    assert ssl.HAS_ALPN
