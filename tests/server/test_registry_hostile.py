"""Clients that lie, stall, race and vanish; and a disk that is full."""

import errno
import http.client
import os
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from nacre.services.server import RegistryLimits
from nacre.words.errors import DiskFull
from nacre.words.oci import OCI_MANIFEST

ABSENT = "sha256:" + "0" * 64
DEADLINE = 60.0


def until(condition):
    """Poll a real condition."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def is_busy(api, location):
    """Whether another request writes to an upload: one of no bytes changes nothing of it."""
    return api("PATCH", location, b"").status == 409


def connect(api):
    parts = urlsplit(api.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE)


def send(api, method, path, headers="", body=b""):
    """A request by hand, perhaps unfinished; the socket stays open."""
    connection = connect(api)
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode("latin-1") + body)
    return connection


def status_of(connection):
    with connection, connection.makefile("rb") as file:
        return int(file.readline().split()[1])


def raw_status(api, path):
    return status_of(send(api, "GET", path, "Connection: close\r\n"))


def stored(serving):
    """Everything on the disk but the registry's own furniture."""
    root = serving.registry.state.store.root
    return [
        name
        for folder in ("blobs", "ingest")
        for _, _, names in os.walk(f"{root}/{folder}")
        for name in names
    ]


# ── names and paths ──


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/../../etc/passwd", 404),
        ("/v2/%2e%2e/%2e%2e/tags/list", 400),
        ("/v2/a%2f..%2fb/tags/list", 400),
        ("/v2/a/../b/tags/list", 400),
        ("/v2/A/tags/list", 400),
        ("/v2//tags/list", 400),
        ("/v2/" + "a" * 256 + "/tags/list", 400),
        ("/v2/" + "a/" * 5000 + "tags/list", 404),
        ("/v2/a%00b/tags/list", 400),
        ("/v2/a%ff/tags/list", 400),
        ("/v2/app/blobs/sha256:../../../../etc/passwd", 404),
        ("/v2/app/blobs/sha256:..%2f..%2fregistry.db", 404),
        ("/v2/app/manifests/..%2f..%2fx", 404),
        ("/v2/app/blobs/uploads/..%2fx", 404),
        ("/v2/app/blobs/uploads/%2e%2e", 404),
        ("/v2/app/blobs/uploads/" + "x" * 300, 404),
        ("/registry.db", 404),
    ],
)
def test_paths_that_lead_nowhere(api, path, status):
    api.push_image("app", "1")
    assert raw_status(api, path) == status


def test_methods_that_are_not_known(api):
    for method, path in (("POST", "/v2/"), ("DELETE", "app/tags/list"), ("PUT", "_catalog"),
                         ("BREW", "app/manifests/1"), ("GET", "app/blobs/uploads/"),
                         ("POST", f"app/blobs/{ABSENT}")):  # fmt: skip
        answer = api(method, path)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert answer.headers["Allow"]


def test_a_query_without_end(api):
    assert raw_status(api, "/v2/_catalog?" + "a&" * 100_000) == 414


def test_what_is_no_http(api):
    for junk in (b"\x16\x03\x01junk\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"):
        with connect(api) as connection:
            connection.sendall(junk)
            assert connection.recv(100)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 505", b"HTTP/1.0 400", b"")
    assert api("GET", "/v2/").status == 200


def test_headers_without_end(api):
    with connect(api) as connection:
        try:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nX: " + b"x" * 2_000_000)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
        assert answer[9:12] in (b"431", b"400", b"")
    assert api("GET", "/v2/").status == 200


def test_log_lines_hold_no_control_characters(tmp_path, api_of):
    from nacre.services.server import RunningServer

    lines: list[str] = []
    with RunningServer(str(tmp_path / "r"), access=lines.append) as serving:
        raw_status(api_of(serving.url), "/v2/a\x1b[2J\x9b/tags/list")
        api_of(serving.url)("GET", "/v2/%1b[2J/tags/list?n=%0d%0a")
    assert lines
    assert all(line.isprintable() for line in lines)


# ── clients that vanish ──


def test_a_body_that_breaks_off_in_a_chunk_is_kept(api, serving, make):
    location = api.begin("app")
    connection = send(api, "PATCH", location, "Content-Length: 1000000\r\n", b"a" * 400_000)
    until(lambda: is_busy(api, location))
    connection.shutdown(socket.SHUT_WR)
    connection.close()
    until(lambda: not is_busy(api, location))
    assert api("GET", location).headers["Range"] == "0-399999"
    rest = api("PATCH", location, b"b" * 10, Content_Range="400000-400009")
    assert rest.status == 202
    digest = make.digest(b"a" * 400_000 + b"b" * 10)
    assert api("PUT", f"{location}?digest={digest}").status == 201


def test_a_last_request_that_breaks_off_can_be_repeated(api, serving, make):
    location = api.begin("app")
    digest = make.digest(b"data")
    connection = send(api, "PUT", f"{location}?digest={digest}", "Content-Length: 4\r\n", b"da")
    until(lambda: is_busy(api, location))
    connection.close()
    until(lambda: not is_busy(api, location))
    assert api("PUT", f"{location}?digest={digest}", b"ta", Content_Range="2-3").status == 201


def test_a_whole_blob_that_breaks_off_leaves_nothing(api, serving):
    digest = "sha256:" + "1" * 64
    connection = send(
        api, "POST", f"/v2/app/blobs/uploads/?digest={digest}", "Content-Length: 9999999\r\n", b"x" * 300_000
    )
    until(lambda: stored(serving))
    connection.close()
    until(lambda: not stored(serving))
    assert api("HEAD", f"app/blobs/{digest}").status == 404


def test_chunked_framing_that_breaks_off_is_no_end(api, serving):
    """Half a stream must never pass for a whole one."""
    location = api.begin("app")
    digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    for ending in (b"", b"zz\r\n"):
        connection = send(api, "PUT", f"{location}?digest={digest}", "Transfer-Encoding: chunked\r\n",
                          b"3\r\nfoo\r\n" + ending)  # fmt: skip
        if ending:
            with suppress(ConnectionResetError):
                assert b" 201 " not in connection.recv(1000)
        else:
            until(lambda at=location: is_busy(api, at))
        connection.close()
        until(lambda at=location: not is_busy(api, at))
        assert api("HEAD", f"app/blobs/{digest}").status == 404
        assert api("DELETE", location).status == 204
        location = api.begin("app")


def test_nothing_is_read_for_a_reader_that_is_gone(api, serving, monkeypatch):
    from nacre.services.server import answers

    reads: list[int] = []
    monkeypatch.setattr(answers, "PIECE", 4096)
    pread = os.pread
    monkeypatch.setattr(answers.os, "pread", lambda *args: (reads.append(1), pread(*args))[1])
    digest = api.push_blob("app", b"x" * 40_000_000)
    connection = send(api, "GET", f"/v2/app/blobs/{digest}", "Range: bytes=1-\r\n")
    assert connection.recv(10)
    connection.close()
    until(lambda: not serving.registry._running)
    assert len(reads) < 40_000_000 // 4096


# ── clients that stall ──


class TestImpatient:
    @pytest.fixture
    def limits(self):
        return RegistryLimits(patience=0.2)

    def test_a_body_that_never_ends_is_given_up(self, api, serving):
        location = api.begin("app")
        connection = send(api, "PATCH", location, "Content-Length: 100\r\n", b"half")
        assert status_of(connection) == 408
        assert api("GET", location).headers["Range"] == "0-3"

    def test_a_manifest_that_never_ends_is_given_up(self, api):
        connection = send(api, "PUT", "/v2/app/manifests/1", "Content-Length: 100\r\n", b"{")
        assert status_of(connection) == 408


def test_slow_clients_do_not_stall_others(api, make):
    """More of them than there are threads: all is done before the first is given up."""
    locations = [api.begin("slow") for _ in range(40)]
    stalled = [send(api, "PATCH", location, "Content-Length: 1000\r\n", b"x") for location in locations]
    image = api.push_image("app", "1", b"x" * 100_000)
    assert api("GET", f"app/blobs/{make.digest(image.layer)}").body == image.layer
    assert not select.select(stalled, [], [], 0)[0], "one has its answer"
    for connection in stalled:
        connection.close()


def test_readers_that_stop_reading_do_not_stall_others(api):
    digest = api.push_blob("app", b"x" * 20_000_000)
    stalled = [send(api, "GET", f"/v2/app/blobs/{digest}") for _ in range(30)]
    stalled += [send(api, "GET", f"/v2/app/blobs/{digest}", "Range: bytes=1-\r\n") for _ in range(30)]
    assert len(api("GET", f"app/blobs/{digest}").body) == 20_000_000
    for connection in stalled:
        connection.close()


def test_pieces_of_one_byte(api, make):
    """Gathering them must not cost their square, nor hold up others."""
    location = api.begin("app")
    body = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    began = time.monotonic()
    assert status_of(send(api, "PATCH", location, "Transfer-Encoding: chunked\r\n", body)) == 202
    assert time.monotonic() - began < DEADLINE
    assert api("GET", location).headers["Range"] == "0-19999"


# ── clients that want too much ──


class TestSmall:
    @pytest.fixture
    def limits(self):
        return RegistryLimits(blob=1000, uploads_each=3)

    def test_a_blob_over_the_limit(self, api, make, serving):
        assert api("POST", f"app/blobs/uploads/?digest={ABSENT}", b"x" * 1001).status == 413
        location = api.begin("app")
        assert api("PATCH", location, b"x" * 600).status == 202
        assert api("PATCH", location, b"x" * 401).status == 413
        answer = api("PATCH", location, iter([b"x" * 401]), chunked=True, Transfer_Encoding="chunked")
        assert answer.status == 413
        assert api("PUT", f"{location}?digest={make.digest(b'x' * 1000)}", b"x" * 400).status == 201

    def test_too_many_uploads(self, api):
        locations = [api.begin("app") for _ in range(3)]
        for location in locations:
            api("PATCH", location, b"x")
        answer = api("POST", "app/blobs/uploads/")
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "TOOMANYREQUESTS", "60")
        api("DELETE", locations[0])
        assert api("POST", "app/blobs/uploads/").status == 202

    def test_the_oldest_empty_upload_gives_way(self, api, make):
        locations = [api.begin("app") for _ in range(3)]
        api("PATCH", locations[0], b"x")
        connection = send(api, "PATCH", locations[1], "Content-Length: 2\r\n", b"x")
        until(lambda: is_busy(api, locations[1]))
        api.push_blob("app", b"data")
        assert [api("GET", location).status for location in locations] == [204, 204, 404]
        connection.sendall(b"y")
        assert status_of(connection) == 202
        digest = make.digest(b"xy")
        assert api("PUT", f"{locations[1]}?digest={digest}").status == 201


class TestForgetful:
    @pytest.fixture
    def limits(self):
        return RegistryLimits(upload_age=0.0)

    def test_idle_uploads_expire(self, api, serving):
        location = api.begin("app")
        api("PATCH", location, b"x" * 1000)
        serving.registry.state.sessions._expired = 0.0
        api.begin("app")
        assert api("GET", location).status == 404


# ── races ──


def test_two_requests_do_not_write_to_one_upload(api, serving):
    location = api.begin("app")
    connection = send(api, "PATCH", location, "Content-Length: 1000\r\n", b"x")
    until(lambda: is_busy(api, location))
    for method, path in (("PATCH", location), ("PUT", f"{location}?digest={ABSENT}"), ("DELETE", location)):
        answer = api(method, path, b"y" if method != "DELETE" else None)
        assert (answer.status, answer.code) == (409, "BLOB_UPLOAD_INVALID")
    assert api("GET", location).status == 204
    connection.close()
    until(lambda: not is_busy(api, location))


def test_many_clients_push_one_blob(api, make):
    data = os.urandom(300_000)
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda number: api.push_blob(f"app{number % 3}", data), range(24)))
    assert set(digests) == {make.digest(data)}
    for number in range(3):
        assert api("GET", f"app{number}/blobs/{digests[0]}").body == data


def test_many_clients_move_one_tag(api):
    images = [api.push_image("app", f"v{number}", b"%d" % number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: api.put_manifest("app", "latest", image.data), images * 3))
    assert {answer.status for answer in answers} == {201}
    assert api("GET", "app/manifests/latest").body in [image.data for image in images]


def test_what_is_pushed_while_it_is_deleted_elsewhere_stays_whole(api, make):
    """A pushes an image of content that B deletes at the same time: A's must be pullable."""
    content, stop = b"shared", threading.Event()

    def pest():
        while not stop.is_set():
            image = api.push_image("pest", "1", content)
            for path in (
                f"manifests/{image.digest}",
                f"blobs/{make.digest(image.layer)}",
                f"blobs/{make.digest(image.config)}",
            ):
                assert api("DELETE", f"pest/{path}").status == 202

    thread = threading.Thread(target=pest)
    thread.start()
    try:
        for number in range(40):
            image = api.push_image(f"app{number}", "1", content)
            assert api("GET", f"app{number}/manifests/1").body == image.data
            for blob in (image.layer, image.config):
                assert api("GET", f"app{number}/blobs/{make.digest(blob)}").body == blob
            for path in (f"manifests/{image.digest}", f"blobs/{make.digest(image.layer)}"):
                assert api("DELETE", f"app{number}/{path}").status == 202
    finally:
        stop.set()
        thread.join()


# ── a full disk ──


def full(*_args, **_kwargs):
    raise DiskFull("cannot write: no space left on device")


def test_a_disk_that_fills_while_a_blob_comes(api, serving, log, make, monkeypatch):
    from nacre.stores import ingest

    def write_all(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    location, other = api.begin("app"), api.begin("app")
    api("PATCH", other, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "write_all", write_all)
        answer = api("PATCH", location, b"x" * 600_000)
        assert (answer.status, answer.code) == (507, "UNAVAILABLE")
        answer = api("POST", f"app/blobs/uploads/?digest={make.digest(b'x')}", b"x")
        assert answer.status == 507
        assert api("PUT", f"{other}?digest={make.digest(b'xx')}", b"x").status == 507
    assert api("GET", location).status == 404
    assert not [name for name in stored(serving) if name == "data"]
    assert api("HEAD", f"app/blobs/{make.digest(b'x')}").status == 404
    assert any("no space" in line for line in log)
    log.clear()
    assert api.push_image("app", "1").answer.status == 201


def test_a_disk_that_fills_while_a_manifest_comes(api, serving, log, monkeypatch):
    image = api.push_image("app", "1")
    with monkeypatch.context() as patch:
        patch.setattr(serving.registry.state.storage, "add", full)
        answer = api.put_manifest("app", "2", image.data + b" ")
        assert (answer.status, answer.code) == (507, "UNAVAILABLE")
    assert api("GET", "app/manifests/2").status == 404
    log.clear()
    assert api.put_manifest("app", "2", image.data + b" ").status == 201


def test_a_database_that_fails_half_way_leaves_no_manifest(api, serving, log, make, monkeypatch):
    from nacre.stores.catalog import catalog

    image = api.push_image("app", "1")
    changed = image.data + b" "
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_insert_manifest", full)
        assert api.put_manifest("app", "2", changed).status == 507
    log.clear()
    assert make.digest(changed).partition(":")[2] not in stored(serving)
    assert api("GET", f"app/manifests/{make.digest(changed)}").status == 404


def test_a_mistake_in_the_registry_is_a_500_that_tells_nothing(api, serving, log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(serving.registry.state.catalog, "manifest", lambda *_: 1 / 0)
        answer = api("GET", "app/manifests/1")
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert b"division" not in answer.body
    assert "ZeroDivisionError" in log.pop()


def test_a_damaged_manifest_is_not_served_and_can_be_pushed_again(api, serving, make):
    from nacre.words.digest import Digest

    image = api.push_image("app", "1")
    path = serving.registry.state.storage.path(Digest(image.digest))
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"X")
    for method in ("HEAD", "GET"):
        assert api(method, "app/manifests/1").status == 404
    assert api.put_manifest("app", "1", image.data).status == 201
    assert api("GET", "app/manifests/1").body == image.data


def test_a_client_that_sends_on_after_a_refusal_still_gets_the_answer(api):
    connection = http.client.HTTPConnection(api.address, timeout=DEADLINE)
    connection.request("POST", "/v2/UPPER/blobs/uploads/", b"x" * 3_000_000)
    assert connection.getresponse().status == 400
    connection.close()


def test_an_answer_before_the_body_keeps_expect_continue_polite(api):
    connection = send(api, "PUT", "/v2/UPPER/manifests/1", "Expect: 100-continue\r\nContent-Length: 5\r\n")
    assert status_of(connection) == 400
    location = api.begin("app")
    connection = send(api, "PATCH", location, "Expect: 100-continue\r\nContent-Length: 5\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(b"hello")
    assert status_of(connection) == 202


def test_manifests_do_not_name_themselves(api):
    """Impossible by the digest, unless a hash is broken; by an index of itself, refused as unknown."""
    index = b'{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":1}]}' % (
        OCI_MANIFEST.encode(),
        ABSENT.encode(),
    )
    answer = api.put_manifest("app", "1", index, "application/vnd.oci.image.index.v1+json")
    assert answer.code == "MANIFEST_BLOB_UNKNOWN"
