"""A registry whose content is in a bucket of a real S3 server."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
from s3server import BadProxy, S3Server, serving_s3

from nacre.ground.work.throttle import Throttle
from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores.integrity import CheckOptions
from nacre.stores.registry import catalog_of, checked
from nacre.stores.scrub import DamagedContent, Scrubber
from nacre.stores.storage.bucket import Bucket
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, Unavailable
from nacre.words.rules import GarbageRules, RegistryRules, ScrubRules, StorageRules

LARGE = os.urandom(9 << 20)
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
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
    read, seen = CheckOptions(read=True), CheckOptions()
    look = partial(checked, str(tmp_path / "r"), parse, storage)
    assert look(read)[1:3] == (1, 2)
    assert look(read).damaged == ()
    with closing(catalog_of(str(tmp_path / "r"))) as catalog:
        ((key,),) = catalog.listed("SELECT key FROM contents WHERE digest = ?", make.digest(image.layer))
    Bucket(storage).put(key, bytes(len(image.layer)))
    (damaged,) = look(read).damaged
    assert (damaged.names, damaged.part) == (["app:1"], make.digest(image.layer))
    (changed,) = look(seen).damaged
    assert (changed.part, changed.problem) == (make.digest(image.layer), "was changed in the bucket")
    Bucket(storage).put(key, b"short")
    assert look(seen).damaged[0].problem == f"has 5 of {len(image.layer)} bytes"
    Bucket(storage).remove([key])
    assert look(seen).damaged[0].problem == "is missing"
    with pytest.raises(Conflict, match="in object storage"):
        checked(str(tmp_path / "r"), parse, StorageRules(), seen)


def test_a_check_keeps_to_a_rate(api, storage, tmp_path, monkeypatch):
    api.push_image("app", "1", os.urandom(300_000))
    waited = []
    slow = partial(Throttle, clock=lambda: 0.0, sleep=waited.append)
    monkeypatch.setattr("nacre.stores.integrity.Throttle", slow)
    options = CheckOptions(read=True, rate=100_000)
    assert checked(str(tmp_path / "r"), parse, storage, options).damaged == ()
    assert max(waited) > (300_000 + 2 * 65536) / 100_000, "requests count as well"


def scrubbed(serving: RunningServer) -> list[DamagedContent]:
    """All of it, once."""
    state = serving.registry.state
    scrubber = Scrubber(state.catalog, state.storage, ScrubRules(interval=0.001))
    found = []
    while True:
        last = list(scrubber.steps())[-1]
        found += last
        if not scrubber.position().digest:
            return found


@pytest.fixture
def running(storage: StorageRules, tmp_path: Path, log: list[str]) -> Iterator[RunningServer]:
    rules = RegistryRules(storage=storage, scrub=ScrubRules(interval=0.001, rate=1 << 40))
    with RunningServer(str(tmp_path / "scrubbed"), rules=rules, log=log.append) as serving:
        yield serving


def key_of(serving: RunningServer, digest: str) -> str:
    ((key,),) = serving.registry.state.catalog.listed("SELECT key FROM contents WHERE digest = ?", digest)
    return str(key)


def test_what_rots_or_goes_in_the_bucket_is_set_aside(running, api_of, storage, make):
    api = api_of(running.url)
    rotten, gone = api.push_image("app", "1", LARGE), api.push_image("app", "2", b"other")
    assert scrubbed(running) == []
    bad, lost = make.digest(rotten.layer), make.digest(gone.layer)
    bucket, key = Bucket(storage), key_of(running, bad)
    tag = bucket.put(key, bytes(len(rotten.layer)))
    catalog = running.registry.state.catalog
    catalog.change(lambda db: db.execute("UPDATE contents SET tag = ? WHERE key = ?", (tag, key)))
    bucket.remove([key_of(running, lost)])
    assert sorted(scrubbed(running)) == sorted([(bad, ("app:1",), ""), (lost, ("app:2",), "")])
    assert {api("GET", f"app/blobs/{digest}").status for digest in (bad, lost)} == {404}
    assert scrubbed(running) == []
    for image in (rotten, gone):
        api.push_blob("app", image.layer)
        assert api("GET", f"app/blobs/{make.digest(image.layer)}").body == image.layer


def test_the_registry_scrubs_its_bucket_by_itself(running, api_of, storage, make, log):
    image = api_of(running.url).push_image("app", "1")
    layer = make.digest(image.layer)
    Bucket(storage).remove([key_of(running, layer)])
    deadline = time.monotonic() + 30
    while not log:
        running.registry.jobs.wake("scrub")
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert log == [f"error: {layer} is damaged and was set aside: push again app:1"]


def test_an_object_that_cannot_be_read_does_not_stop_the_scrub(running, api_of, proxy, make):
    api = api_of(running.url)
    image, other = api.push_image("app", "1"), api.push_image("app", "2", b"other")
    key = key_of(running, make.digest(image.layer))
    proxy.trouble = lambda line: FORBIDDEN if key in line else None
    (found,) = scrubbed(running)
    assert (found.digest, found.users) == (make.digest(image.layer), ("app:1",))
    assert "refuses our credentials" in found.unreadable
    proxy.trouble = lambda line: FORBIDDEN
    with pytest.raises(Unavailable):
        scrubbed(running)
    proxy.trouble = lambda line: None
    assert scrubbed(running) == []
    assert api("GET", f"app/blobs/{make.digest(other.layer)}").status == 200


def test_what_is_pushed_while_a_damaged_object_is_judged_stays(running, api_of, storage, make):
    api = api_of(running.url)
    image = api.push_image("app", "1")
    place = running.registry.state.storage
    before = place.locate(Digest(make.digest(image.layer)), len(image.layer))
    api.push_blob("app", image.layer)
    place.reject(before.digest, before.key)
    assert api("GET", f"app/blobs/{make.digest(image.layer)}").status == 200


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
