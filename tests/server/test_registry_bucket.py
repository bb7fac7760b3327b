"""A registry whose content is in a bucket of a real S3 server."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
from s3server import BadProxy, S3Server, serving_s3

from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores.registry import catalog_of, checked
from nacre.stores.storage.bucket import Bucket
from nacre.words.errors import Conflict
from nacre.words.rules import GarbageRules, RegistryRules, StorageRules

LARGE = os.urandom(9 << 20)
DOWN = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from serving_s3(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[BadProxy]:
    with_trouble = BadProxy(s3.port)
    yield with_trouble
    with_trouble.close()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def storage(s3: S3Server, proxy: BadProxy) -> StorageRules:
    return s3.rules(proxy.port)


@pytest.fixture
def api(api_of, storage: StorageRules, tmp_path: Path, log: list[str]):
    with RunningServer(str(tmp_path / "r"), rules=RegistryRules(storage=storage), log=log.append) as running:
        yield api_of(running.url)


def test_an_image_is_pushed_pulled_and_deleted(api, s3, make):
    image = api.push_image("app", "1", LARGE)
    assert api("GET", "app/manifests/1").body == image.data
    digest = make.digest(image.layer)
    assert api("GET", f"app/blobs/{digest}").body == image.layer
    part = api("GET", f"app/blobs/{digest}", Range="bytes=5-14")
    assert (part.status, part.body) == (206, image.layer[5:15])
    head = api("HEAD", f"app/blobs/{digest}", Range="bytes=5-14")
    assert (head.status, head.headers["Content-Length"]) == (206, "10")
    assert len(s3.objects()) == 3
    assert api("DELETE", f"app/manifests/{image.digest}").status == 202
    assert api("DELETE", f"app/blobs/{digest}").status == 202
    assert api("GET", f"app/blobs/{digest}").status == 404


def test_it_is_proven_that_all_can_be_pulled(api, s3, storage, tmp_path, make):
    image = api.push_image("app", "1")
    look = partial(checked, str(tmp_path / "r"), parse, storage, sparse=False, progress=None)
    assert look(read=True)[1:3] == (1, 2)
    assert look(read=True).damaged == ()
    with closing(catalog_of(str(tmp_path / "r"))) as catalog:
        ((key,),) = catalog.listed("SELECT key FROM contents WHERE digest = ?", make.digest(image.layer))
    Bucket(storage).put(key, bytes(len(image.layer)))
    (damaged,) = look(read=True).damaged
    assert (damaged.names, damaged.part) == (["app:1"], make.digest(image.layer))
    with pytest.raises(Conflict, match="in object storage"):
        checked(str(tmp_path / "r"), parse, StorageRules(), read=False, sparse=False, progress=None)


def test_a_registry_whose_bucket_is_gone_is_not_ready(api, s3, storage):
    assert api("GET", "/readyz").json["parts"]["storage"] == "ok"
    mark = s3.folder / "data" / storage.url.removeprefix("s3://") / "registry.json"
    mark.write_bytes(b'{"registry": "of somebody else"}')
    assert api("GET", "/readyz").json["parts"]["storage"] == "failed"
    mark.unlink()
    found = api("GET", "/readyz")
    assert (found.status, found.json["parts"]["storage"]) == (503, "failed")


def test_a_small_blob_costs_one_request_to_the_bucket(api, proxy):
    proxy.lines.clear()
    api.push_blob("app", b"small")
    assert [line.split()[0] for line in proxy.lines] == ["PUT"]


def test_an_upload_in_chunks_goes_on_after_a_restart(api_of, storage, tmp_path, make):
    root, rules = str(tmp_path / "r"), RegistryRules(storage=storage)
    with RunningServer(root, rules=rules) as running:
        api = api_of(running.url)
        location = api.begin("app")
        assert api("PATCH", location, LARGE).headers["Range"] == f"0-{len(LARGE) - 1}"
    with RunningServer(root, rules=rules) as running:
        api = api_of(running.url)
        assert api("GET", location).headers["Range"] == f"0-{len(LARGE) - 1}"
        digest = make.digest(LARGE + b"end")
        assert api("PUT", f"{location}?digest={digest}", b"end").status == 201
        assert api("GET", f"app/blobs/{digest}").body == LARGE + b"end"


def test_clients_are_sent_to_the_bucket_where_the_operator_wants(api_of, s3, tmp_path, make):
    rules = RegistryRules(storage=s3.rules(redirect=True))
    with RunningServer(str(tmp_path / "r"), rules=rules) as running:
        api = api_of(running.url)
        digest = api.push_blob("app", LARGE)
        answer = api("GET", f"app/blobs/{digest}")
        assert answer.status == 307
        with urlopen(answer.headers["Location"], timeout=30) as there:
            assert there.read() == LARGE
        assert api("HEAD", f"app/blobs/{digest}").status == 200
        small = api.push_blob("app", b"small")
        assert api("GET", f"app/blobs/{small}").body == b"small"


def test_a_bucket_that_does_not_answer_is_503_and_loses_nothing(api, proxy, log, make):
    digest = api.push_blob("app", LARGE)
    location = api.begin("app")
    assert api("PATCH", location, b"one").status == 202
    proxy.trouble = lambda line: DOWN
    for method, path, body in (
        ("GET", f"app/blobs/{digest}", None),
        ("PATCH", location, b"two"),
        ("PUT", f"{location}?digest={make.digest(b'onetwo')}", b"two"),
        ("POST", f"app/blobs/uploads/?digest={make.digest(b'x')}", b"x"),
    ):
        answer = api(method, path, body)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "5"), path
    assert all("object storage" in line for line in log)
    log.clear()
    proxy.trouble = lambda line: None
    assert api("GET", location).headers["Range"] == "0-2"
    assert api("PUT", f"{location}?digest={make.digest(b'onetwo')}", b"two").status == 201
    assert api("GET", f"app/blobs/{make.digest(b'onetwo')}").body == b"onetwo"
    assert api("GET", f"app/blobs/{digest}").body == LARGE


def test_wrong_bytes_break_the_connection(api, proxy, log):
    digest = api.push_blob("app", LARGE)
    proxy.edit = lambda line, data: data[:-1] + bytes([data[-1] ^ 1]) if line.startswith("GET") else data
    with pytest.raises(http.client.IncompleteRead):
        api("GET", f"app/blobs/{digest}")
    (line,) = log
    assert "has digest" in line
    proxy.edit = lambda line, data: data
    assert api("HEAD", f"app/blobs/{digest}").status == 200, "the bucket itself may be whole"


def test_an_object_that_is_gone_is_mended_by_a_push(api, s3):
    image = api.push_image("app", "1", LARGE)
    for path in s3.objects():
        path.unlink()
    for path in (f"app/blobs/{image.answer.headers['Docker-Content-Digest']}", "app/manifests/1"):
        assert api("GET", path).status == 404
    api.push_image("app", "1", LARGE)
    assert api("GET", "app/manifests/1").body == image.data


def test_content_stays_where_it_is(api_of, s3, tmp_path):
    from nacre.words.errors import Conflict

    for first, then in ((StorageRules(), s3.rules()), (s3.rules(), StorageRules())):
        root = str(tmp_path / ("bucket" if first.url else "folder"))
        with RunningServer(root, rules=RegistryRules(storage=first)) as running:
            api_of(running.url).push_blob("app", b"x")
        with pytest.raises(Conflict, match="content of this registry is in"):
            RunningServer(root, rules=RegistryRules(storage=then))


def test_garbage_of_a_bucket_is_collected_without_serving(api_of, s3, tmp_path):
    from nacre.stores.registry import collected

    root, hasty = str(tmp_path / "r"), GarbageRules(grace=-1.0)
    with RunningServer(root, rules=RegistryRules(storage=s3.rules())) as running:
        api_of(running.url).push_blob("app", b"nothing needs it")
    assert collected(root, hasty, dry_run=True)[0].blobs == 1
    assert collected(root, hasty, dry_run=False)[1].blobs == 1
    assert collected(root, hasty, dry_run=True)[0].blobs == 0
