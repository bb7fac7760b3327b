"""A registry that lies, cuts, stalls and asks for patience: one sentence and never a wrong byte."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable

import pytest
from contract import descriptor, image, put
from fakeregistry import Action, Exchange, FakeRegistry, digest_of

from nacre.services.client import Client, Repository, TransportLimits
from nacre.services.client import repository as repository_module
from nacre.services.client import session as session_module
from nacre.words.digest import Digest
from nacre.words.errors import (
    ContentError,
    DigestMismatch,
    InvalidDocument,
    NacreError,
    NotFound,
    RegistryError,
    StoreError,
    TooLarge,
    Unauthorized,
    Unreachable,
)
from nacre.words.oci import DOCKER_MANIFEST, DOCKER_SCHEMA1, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST
from nacre.words.reference import Reference

MANIFEST = "/manifests/"
DATA = os.urandom(3_000_000)
Connect = Callable[..., Client]


@pytest.fixture
def reference(fake: FakeRegistry) -> Reference:
    return Reference.parse(f"{fake.host}/app:latest")


@pytest.fixture
def repository(connect: Connect, reference: Reference) -> Repository:
    return connect().repository(reference)


@pytest.fixture
def manifest(fake: FakeRegistry, repository: Repository) -> bytes:
    data = image(repository, b"layer")
    fake.add_manifest("app", "latest", data, OCI_MANIFEST)
    return data


def answer(status: int, body: bytes = b"", **headers: str) -> Action:
    def action(x: Exchange) -> bool:
        x.body()
        x.close_connection = "close" in headers.get("connection", "")
        return x.reply(status, body, **headers)

    return action


def read(repository: Repository, data: bytes, offset: int = 0) -> bytes:
    with repository.fetch(descriptor(data), offset) as reader:
        return reader.read(-1)


# Manifests


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (answer(200, b"{}", docker_content_digest="sha256:" + "0" * 64), DigestMismatch),
        (answer(200, b"{}", docker_content_digest="../../etc"), RegistryError),
        (answer(200, b"{}", content_type=OCI_MANIFEST), InvalidDocument),
        (answer(200, b"<html>login</html>", content_type="text/html"), RegistryError),
        (answer(200, b"[" * 100_000), InvalidDocument),
        (answer(200, b"\xff\xfe"), InvalidDocument),
        (answer(200, b"{}", content_encoding="gzip"), RegistryError),
        (answer(200, b'{"schemaVersion":1}', content_type=DOCKER_SCHEMA1[1]), InvalidDocument),
        (answer(200, b"", content_length=str(MAX_DOCUMENT + 1)), TooLarge),
        (answer(200, b" " * (MAX_DOCUMENT + 1), content_length=""), TooLarge),
        (answer(404), NotFound),
        (answer(401), Unauthorized),
        (answer(403, b'{"errors":[{"code":"DENIED","message":"no \\u001b[31m"}]}'), Unauthorized),
        (answer(418, b"x" * 200_000), RegistryError),
        (answer(302, b""), RegistryError),
        (answer(302, b"", location="/v2/app/manifests/latest"), RegistryError),
        (answer(302, b"", location="gopher://x/"), RegistryError),
        (answer(302, b"", location="http://[::1"), RegistryError),
        (answer(200, b"{}", content_length="-5", connection="close"), NacreError),
        (answer(200, b"{}", content_length="none", connection="close"), NacreError),
    ],
)  # fmt: skip
def test_bad_manifest(
    fake: FakeRegistry, repository: Repository, reference: Reference, action: Action, error: type[Exception]
) -> None:
    fake.on("GET", MANIFEST, action, times=100)
    with pytest.raises(error) as caught:
        repository.resolve(reference)
    assert caught.value.message.isprintable() and len(caught.value.message) < 1500  # noqa: PT018


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 999999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http(
    fake: FakeRegistry, repository: Repository, reference: Reference, raw: bytes
) -> None:
    def action(x: Exchange) -> bool:
        x.wfile.write(raw)
        return x.cut()

    fake.on("GET", MANIFEST, action, times=100)
    with pytest.raises(RegistryError):
        repository.resolve(reference)


def test_manifest_that_is_not_the_digest_asked_for(
    fake: FakeRegistry, repository: Repository, reference: Reference, manifest: bytes
) -> None:
    fake.manifests["app", digest_of(b"other")] = (OCI_MANIFEST, manifest)
    with pytest.raises(DigestMismatch):
        repository.resolve(reference.replace(tag="", digest=Digest.of(b"other")))


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_INDEX])
def test_manifest_served_as_another_type(
    fake: FakeRegistry, repository: Repository, reference: Reference, manifest: bytes, media_type: str
) -> None:
    fake.add_manifest("app", "latest", manifest, media_type)
    with pytest.raises(InvalidDocument):
        repository.resolve(reference)


def test_manifest_of_a_general_type_is_taken(
    fake: FakeRegistry, repository: Repository, reference: Reference, manifest: bytes
) -> None:
    fake.add_manifest("app", "latest", manifest, "application/json; charset=utf-8")
    assert repository.resolve(reference)[0].media_type == OCI_MANIFEST


def test_a_lie_in_head_is_found(
    fake: FakeRegistry, repository: Repository, reference: Reference, manifest: bytes
) -> None:
    fake.on("HEAD", MANIFEST, answer(200, b"x" * 10, docker_content_digest=digest_of(b"other")))
    assert repository.resolve(reference, lambda _digest: b"not it")[1] == manifest


# Retries


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_trouble_passes(
    fake: FakeRegistry,
    repository: Repository,
    reference: Reference,
    manifest: bytes,
    pauses: list[float],
    status: int,
) -> None:
    fake.on("GET", MANIFEST, answer(status), times=3)
    assert repository.resolve(reference)[1] == manifest
    assert pauses == [0.5, 1.0, 2.0]


def test_trouble_that_stays(
    fake: FakeRegistry, repository: Repository, reference: Reference, pauses: list[float]
) -> None:
    fake.on("GET", MANIFEST, answer(503), times=100)
    with pytest.raises(RegistryError) as caught:
        repository.resolve(reference)
    assert caught.value.status == 503
    assert len(fake.sent("GET", MANIFEST)) == 5 == len(pauses) + 1


def test_retry_after_is_obeyed(
    fake: FakeRegistry, repository: Repository, reference: Reference, manifest: bytes, pauses: list[float]
) -> None:
    fake.on("GET", MANIFEST, answer(429, retry_after="7"))
    fake.on("GET", MANIFEST, answer(503, retry_after="Wed, 21 Oct 2065 07:28:00 GMT"))
    with pytest.raises(RegistryError, match="503") as caught:
        repository.resolve(reference)
    assert pauses == [7.0]
    assert "retry in" in caught.value.hint


def test_a_registry_that_is_down_is_reported_at_once(connect: Connect, pauses: list[float]) -> None:
    registry = FakeRegistry()
    registry.close()
    reference = Reference.parse(f"{registry.host}/app")
    with pytest.raises(Unreachable, match="cannot connect to 127") as caught:
        connect().repository(reference).resolve(reference)
    assert caught.value.hint
    assert pauses == []


def test_a_name_that_nobody_has(connect: Connect, pauses: list[float]) -> None:
    reference = Reference.parse("registry.invalid/app")
    with pytest.raises(Unreachable, match="cannot find the host registry") as caught:
        connect().repository(reference).resolve(reference)
    assert caught.value.hint
    assert pauses == []


def test_a_stall_is_a_time_out(fake: FakeRegistry, connect: Connect, reference: Reference) -> None:
    gate = threading.Event()
    fake.on("GET", MANIFEST, lambda x: gate.wait(60) and x.cut(), times=100)
    try:
        with pytest.raises(Unreachable, match="time-out"):
            connect(limits=TransportLimits(stall=0.05)).repository(reference).resolve(reference)
    finally:
        gate.set()


def test_a_document_that_drips_is_given_up(
    fake: FakeRegistry, connect: Connect, reference: Reference
) -> None:
    ticks = iter(range(10**9))
    fake.on("GET", MANIFEST, answer(200, b" " * 3_000_000))
    slow = connect(clock=lambda: next(ticks) * 200.0)
    with pytest.raises(Unreachable, match="too slow"):
        slow.repository(reference).resolve(reference)


@pytest.mark.parametrize("headers", [True, False])
def test_close_ends_what_other_threads_do(
    fake: FakeRegistry, connect: Connect, reference: Reference, headers: bool
) -> None:
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def drip(x: Exchange) -> bool:
        x.reply(200, DATA[:1000], content_length=str(len(DATA)))
        begun.set()
        return gate.wait(60) and x.cut()

    def mute(x: Exchange) -> bool:
        begun.set()
        return gate.wait(60) and x.cut()

    fake.on("GET", "/blobs/", drip if headers else mute, times=100)
    client = connect(limits=TransportLimits(stall=30.0))

    def work() -> None:
        with pytest.raises(Unreachable):
            read(client.repository(reference), DATA)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(60)
        client.close()
        assert ended.wait(60)
    finally:
        gate.set()
        thread.join(60)


# Blobs


def cut_after(count: int) -> Action:
    def action(x: Exchange) -> bool:
        start = int((x.headers.get("range") or "bytes=0-")[6:-1])
        fields = {"content_range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        x.reply(
            206 if start else 200,
            DATA[start : start + count],
            content_length=str(len(DATA) - start),
            **fields,
        )
        return x.cut()

    return action


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("offset", [0, 1000])
def test_a_cut_blob_is_resumed(fake: FakeRegistry, repository: Repository, ranges: bool, offset: int) -> None:
    fake.add_blob("app", DATA)
    fake.ranges = ranges
    fake.on("GET", "/blobs/", cut_after(1_500_000))
    assert read(repository, DATA, offset) == DATA[offset:]
    last = fake.sent("GET", "/blobs/")[-1]
    assert int(last["Range"][6:-1]) >= offset + 1_000_000


def test_progress_renews_patience(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("GET", "/blobs/", cut_after(1_100_000), times=2)
    fake.add_blob("app", DATA)
    assert read(repository, DATA) == DATA


def test_a_blob_that_is_always_cut(fake: FakeRegistry, repository: Repository, pauses: list[float]) -> None:
    fake.on("GET", "/blobs/", cut_after(10), times=1000)
    with pytest.raises(Unreachable, match="cut"):
        read(repository, DATA)
    assert len(pauses) == 4


@pytest.mark.parametrize(
    "action",
    [
        answer(200, DATA[:-1]),
        answer(200, DATA + b"x"),
        answer(200, DATA + b"x", content_length=""),
        answer(206, DATA),
        answer(206, DATA, content_range="bytes 5-9/10"),
        answer(206, DATA, content_range="bytes 0-2/3"),
        answer(206, DATA, content_range="nonsense"),
        answer(206, DATA[:10], content_range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}"),
        answer(204),
    ],
)
def test_lies_about_the_length_of_a_blob(fake: FakeRegistry, repository: Repository, action: Action) -> None:
    fake.on("GET", "/blobs/", action, times=100)
    with pytest.raises((RegistryError, TooLarge)):
        read(repository, DATA)


def test_a_wrong_range_is_not_mixed_in(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("GET", "/blobs/", cut_after(1000))
    fake.on(
        "GET", "/blobs/", answer(206, DATA, content_range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}"), times=9
    )
    with pytest.raises(RegistryError, match="asked for bytes from 1000"):
        read(repository, DATA)


def test_small_blobs_are_verified(fake: FakeRegistry, repository: Repository) -> None:
    fake.blobs["app", digest_of(b"right")] = b"wrong"
    with pytest.raises(DigestMismatch):
        repository.read(descriptor(b"right"))


# Redirects


def test_authorization_stays_at_home(fake: FakeRegistry, connect: Connect, reference: Reference) -> None:
    from nacre.grammars.wire.auth import Credentials

    storage = FakeRegistry()
    try:
        storage.add_blob("app", DATA)
        target = f"http://{storage.host}/v2/app/blobs/{digest_of(DATA)}"
        fake.on("GET", "/blobs/", answer(401, www_authenticate="Basic realm=x"))
        fake.on("GET", "/blobs/", answer(307, location=target), times=5)
        repository = connect(credentials=lambda _name: Credentials("me", "pw")).repository(reference)
        assert read(repository, DATA, 7) == DATA[7:]
        assert "Authorization" in fake.sent("GET", "/blobs/")[-1]
        assert "Authorization" not in storage.requests[-1][2]
        assert storage.requests[-1][2]["Range"] == "bytes=7-"
    finally:
        storage.close()


def test_a_signature_that_expired(fake: FakeRegistry, repository: Repository) -> None:
    storage = FakeRegistry()
    try:
        target = f"http://{storage.host}/stored?signature=secret"
        fake.on("GET", "/blobs/", answer(307, location=target), times=100)
        storage.on("GET", "/stored", answer(403, b"<Error>expired</Error>"))
        storage.on("GET", "/stored", answer(200, DATA))
        assert read(repository, DATA) == DATA
        with pytest.raises(RegistryError, match="answered 404") as caught:
            read(repository, DATA)
        assert "secret" not in caught.value.message
    finally:
        storage.close()


def test_redirects_in_a_circle(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("GET", "/blobs/", lambda x: x.reply(307, location=x.path), times=1000)
    with pytest.raises(RegistryError, match="circles"):
        read(repository, DATA)
    assert len(fake.sent("GET", "/blobs/")) == 11


# Lists


def test_tags_page_by_page(fake: FakeRegistry, repository: Repository, manifest: bytes) -> None:
    for number in range(7):
        fake.add_manifest("app", f"t{number}", manifest, OCI_MANIFEST)
    fake.page = 3
    assert list(repository.tags()) == ["latest", *(f"t{number}" for number in range(7))]
    assert len(fake.sent("GET", "/tags/list")) == 3


def endless(x: Exchange) -> bool:
    number = int(x.query.get("last", "0")) + 1
    link = f'</v2/app/tags/list?last={number}>; rel="next"'
    return x.reply(200, json.dumps({"tags": [f"t{number}"]}).encode(), link=link)


@pytest.mark.parametrize(
    "action",
    [
        endless,
        answer(200, b'{"tags":["a"]}', link='</v2/app/tags/list>; rel="next"'),
        answer(200, b'{"tags":[]}', link='</v2/app/tags/list?last=x>; rel="next"'),
        answer(200, b'{"tags":["a"]}', link='<http://127.0.0.1:1/v2/>; rel="next"'),
        answer(200, b'{"tags":[1]}'),
        answer(200, b'{"tags":["\\u001b[2J"]}'),
        answer(200, b'{"tags":{}}'),
        answer(200, b"[]"),
        answer(200, b"{"),
    ],
)
def test_bad_lists(
    fake: FakeRegistry, repository: Repository, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MAX_PAGES", 20)
    fake.on("GET", "/tags/list", action, times=1000)
    with pytest.raises((RegistryError, InvalidDocument)):
        list(repository.tags())


def circle(x: Exchange) -> bool:
    """Two pages that name each other."""
    number = 1 - int(x.query.get("page", "0"))
    link = f'</v2/app/tags/list?page={number}>; rel="next"'
    return x.reply(200, json.dumps({"tags": [f"t{number}"]}).encode(), link=link)


def the_same(x: Exchange) -> bool:
    """A page that says that others follow, all of them like it."""
    number = int(x.query.get("page", "0")) + 1
    link = f'</v2/app/tags/list?page={number}>; rel="next"'
    return x.reply(200, b'{"tags":["a","b"]}', link=link)


@pytest.mark.parametrize("action", [circle, the_same])
def test_a_list_in_a_circle_ends_early(fake: FakeRegistry, repository: Repository, action: Action) -> None:
    fake.on("GET", "/tags/list", action, times=1000)
    with pytest.raises(RegistryError, match="endlessly"):
        list(repository.tags())
    assert len(fake.sent("GET", "/tags/list")) <= 3


def test_a_list_with_too_many_names(
    fake: FakeRegistry, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository_module, "MAX_NAMES", 9)
    fake.on("GET", "/tags/list", endless, times=1000)
    with pytest.raises(RegistryError, match="endlessly"):
        list(repository.tags())
    assert len(fake.sent("GET", "/tags/list")) == 10


def test_a_tag_that_two_pages_name_counts_once(fake: FakeRegistry, repository: Repository) -> None:
    def page(x: Exchange) -> bool:
        if "page" in x.query:
            return x.reply(200, b'{"tags":["b","c"]}')
        return x.reply(200, b'{"tags":["a","b"]}', link='</v2/app/tags/list?page=2>; rel="next"')

    fake.on("GET", "/tags/list", page, times=2)
    assert list(repository.tags()) == ["a", "b", "c"]


def test_no_tags_at_all(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("GET", "/tags/list", answer(200, b'{"name":"app","tags":null}'))
    assert list(repository.tags()) == []


# Uploads


BIG = os.urandom(5_000_000)


def keep(count: int, fake: FakeRegistry) -> Action:
    """Take `count` bytes of a PATCH, then hang up."""

    def action(x: Exchange) -> bool:
        key = x.url.path.rpartition("/")[2]
        fake.uploads[key] += x.rfile.read(count)
        return x.cut()

    return action


def test_a_broken_upload_goes_on_where_it_was(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("PATCH", "/uploads/", keep(3_000_000, fake))
    put(repository, BIG)
    assert fake.blobs["app", digest_of(BIG)] == BIG
    assert len(fake.sent("POST")) == 1
    last = fake.sent("PATCH")[-1]
    assert last["Content-Range"] == "3000000-4999999"
    assert last["Content-Length"] == "2000000"


def test_progress_renews_the_patience_of_an_upload(fake: FakeRegistry, repository: Repository) -> None:
    data = os.urandom(12_000_000)
    fake.on("PATCH", "/uploads/", keep(1_200_000, fake), times=8)
    put(repository, data)
    assert fake.blobs["app", digest_of(data)] == data
    assert len(fake.sent("POST")) == 1


@pytest.mark.parametrize("size", [1000, len(BIG)])
def test_a_forgotten_upload_begins_again(fake: FakeRegistry, repository: Repository, size: int) -> None:
    def forget(x: Exchange) -> bool:
        x.body()
        fake.uploads.clear()
        return False

    fake.on("PUT" if size < len(BIG) else "PATCH", "/uploads/", forget)
    put(repository, BIG[:size])
    assert fake.blobs["app", digest_of(BIG[:size])] == BIG[:size]
    assert len(fake.sent("POST")) == 2


def test_an_upload_that_is_always_forgotten(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("PATCH", "/uploads/", lambda x: x.body() and x.reply(404), times=1000)
    with pytest.raises(RegistryError, match="lost the upload"):
        put(repository, BIG)


@pytest.mark.parametrize("status", [500, 503])
def test_a_registry_that_breaks_at_the_end(fake: FakeRegistry, repository: Repository, status: int) -> None:
    fake.on("PUT", "/uploads/", answer(status))
    if status == 503:
        put(repository, b"content")
        assert fake.blobs["app", digest_of(b"content")] == b"content"
        return
    with pytest.raises(RegistryError):
        put(repository, b"content")


@pytest.mark.parametrize(
    "action",
    [answer(202), answer(202, location="ftp://x/"), answer(200, location="/v2/"), answer(403), answer(400),
     answer(202, location="http://127.0.0.1:1/nobody")],
)  # fmt: skip
def test_uploads_that_do_not_begin(fake: FakeRegistry, repository: Repository, action: Action) -> None:
    fake.on("POST", "/uploads/", action, times=100)
    with pytest.raises(RegistryError):
        put(repository, b"content")


def test_refusal_in_the_middle_of_a_body(fake: FakeRegistry, repository: Repository) -> None:
    """A server that answers and hangs up before it has read everything."""

    def refuse(x: Exchange) -> bool:
        x.reply(413, b'{"errors":[{"code":"SIZE_INVALID","message":"too big"}]}', connection="close")
        return x.cut()

    fake.on("PATCH", "/uploads/", refuse, times=100)
    with pytest.raises(RegistryError):
        put(repository, BIG)


def test_content_that_ends_early_is_not_pushed(fake: FakeRegistry, repository: Repository) -> None:
    with pytest.raises(ContentError, match="ends 1 bytes before"):
        repository.put(descriptor(b"abc"), lambda: io.BytesIO(b"ab"))
    assert fake.blobs == {}


class _Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_a_disk_that_fails_is_not_blamed_on_the_registry(repository: Repository) -> None:
    with pytest.raises(StoreError, match="Input/output error"):
        repository.put(descriptor(b"abc"), _Broken)


def test_every_opened_content_is_closed(fake: FakeRegistry, repository: Repository) -> None:
    opened: list[io.BytesIO] = []

    def opener() -> io.BytesIO:
        opened.append(io.BytesIO(BIG))
        return opened[-1]

    fake.on("PATCH", "/uploads/", keep(100_000, fake))
    repository.put(descriptor(BIG), opener)
    assert len(opened) == 2
    assert all(content.closed for content in opened)


def test_the_upload_that_a_mount_opened_is_used(fake: FakeRegistry, repository: Repository) -> None:
    wanted = descriptor(b"content")
    assert repository.mount(wanted, [f"{fake.host}/a", f"{fake.host}/b"]) is None
    put(repository, b"content")
    assert len(fake.sent("POST")) == 2
    assert fake.uploads == {}


def test_a_mount_that_is_refused_is_no_error(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("POST", "/uploads/", answer(405))
    fake.on("POST", "/uploads/", answer(404))
    assert repository.mount(descriptor(b"content"), [f"{fake.host}/a", f"{fake.host}/b"]) is None
    put(repository, b"content")


def test_a_registry_that_stores_something_else(
    fake: FakeRegistry, repository: Repository, manifest: bytes
) -> None:
    fake.on("PUT", MANIFEST, answer(201, docker_content_digest=digest_of(b"other")))
    with pytest.raises(DigestMismatch):
        repository.put_manifest("latest", manifest, OCI_MANIFEST)


def test_a_blob_of_another_size_does_not_count_as_there(fake: FakeRegistry, repository: Repository) -> None:
    fake.blobs["app", digest_of(b"content")] = b"longer than that"
    assert not repository.has(descriptor(b"content"))
