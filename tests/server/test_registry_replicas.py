"""Two replicas of one registry: names in PostgreSQL, content in a bucket, nothing in a process."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from s3server import S3Server, serving_s3

from nacre.services.server import RunningServer
from nacre.stores.garbage import GarbageCollector, Mentions
from nacre.stores.removed import RemovedContent
from nacre.words.rules import GarbageRules, MetadataRules, RegistryRules

DATA = os.urandom(300_000)
POINTS = ("upload:object", "upload:noted", "upload:whole", "upload:placed", "upload:ended")
KILLED = """
import os, signal, sys
from nacre.ground.files import install_trace
from nacre.services.server import serve
from nacre.words.rules import MetadataRules, RegistryRules, StorageRules
root, point, count, database, storage = sys.argv[1:]
left = [int(count)]
def hook(name):
    if name == point:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
install_trace(hook)
rules = RegistryRules(metadata=MetadataRules(database), storage=StorageRules(**eval(storage)))
serve("127.0.0.1", 0, root, lambda url: print(url, flush=True), rules=rules)
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from serving_s3(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def rules(s3: S3Server, postgresql: Any) -> RegistryRules:
    garbage = GarbageRules(interval=0.0)
    metadata = MetadataRules(postgresql.new_database())
    return RegistryRules(garbage=garbage, metadata=metadata, storage=s3.rules())


@pytest.fixture
def running(rules: RegistryRules, tmp_path: Path) -> Iterator[list[RunningServer]]:
    with ExitStack() as opened:
        yield [opened.enter_context(RunningServer(str(tmp_path / name), rules=rules)) for name in "ab"]


@pytest.fixture
def replicas(running: list[RunningServer], api_of: Any) -> list[Any]:
    return [api_of(each.url) for each in running]


def test_what_is_pushed_to_one_is_pulled_from_the_other(replicas, make):
    one, other = replicas
    image = one.push_image("app", "1", DATA)
    assert other("GET", "app/manifests/1").body == image.data
    assert other("GET", f"app/blobs/{make.digest(image.layer)}").body == image.layer
    assert other("DELETE", "app/manifests/1").status == 202
    assert one("GET", "app/manifests/1").status == 404


def test_an_upload_goes_to_and_fro(replicas, make):
    one, other = replicas
    location = one.begin("app")
    for api, piece in ((one, b"a" * 100), (other, b"b" * 100), (one, b"c" * 100)):
        assert api("PATCH", location, piece).status == 202
    assert other("GET", location).headers["Range"] == "0-299"
    whole = b"a" * 100 + b"b" * 100 + b"c" * 100 + b"d"
    assert other("PUT", f"{location}?digest={make.digest(whole)}", b"d").status == 201
    assert one("GET", f"app/blobs/{make.digest(whole)}").body == whole
    assert one("GET", location).status == 404


def test_of_two_that_end_an_upload_at_once_one_does(replicas, make):
    location = replicas[0].begin("app")
    assert replicas[0]("PATCH", location, DATA).status == 202
    digest = make.digest(DATA)
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(api, "PUT", f"{location}?digest={digest}") for api in replicas]
    assert sorted(each.result().status for each in found) in ([201, 404], [201, 201])
    assert replicas[1]("GET", f"app/blobs/{digest}").body == DATA


class Killed:
    """A replica that is killed when it passes a point for the `count`th time."""

    def __init__(self, root: Path, point: str, count: int, rules: RegistryRules) -> None:
        storage = rules.storage
        settings = {name: getattr(storage, name) for name in storage._fields}
        arguments = [str(root), point, str(count), rules.metadata.url, repr(settings)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()

    def wait(self) -> None:
        assert self._process.wait(60) == -signal.SIGKILL

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_loses_nothing_that_was_acknowledged(replicas, rules, tmp_path, api_of, make, point):
    """Two requests are acknowledged, the next meets the kill; the other replica goes on."""
    later = point not in ("upload:object", "upload:noted")
    killed = Killed(tmp_path / "killed", point, 1 if later else 2, rules)
    try:
        api, other = api_of(killed.url), replicas[1]
        blob = other.push_blob("app", b"before")
        location = api.begin("app")
        assert api("PATCH", location, b"one").status == 202
        whole = b"onetwo"
        method, query = ("PATCH", "") if point == "upload:noted" else ("PUT", f"?digest={make.digest(whole)}")
        with pytest.raises((OSError, http.client.HTTPException)):
            api(method, location + query, b"two")
        killed.wait()
    finally:
        killed.close()
    digest = make.digest(whole)
    found = other("GET", location)
    if found.status == 404:
        assert point == "upload:ended"
    else:
        safe = int(found.headers["Range"].partition("-")[2]) + 1
        assert safe >= 3
        assert other("PUT", f"{location}?digest={digest}", whole[safe:]).status == 201
    assert other("GET", f"app/blobs/{digest}").body == whole
    assert other("GET", f"app/blobs/{blob}").body == b"before"


def test_deleting_and_pushing_at_once_loses_nothing(replicas, running, make):
    """One replica deletes for good what the other pushes and mounts: what that said is there, is there."""
    one, other = replicas
    digest, lost = make.digest(DATA), []
    stop = threading.Event()
    state = running[0].registry.state
    removed = RemovedContent(state.catalog)

    def delete() -> None:
        while not stop.is_set():
            one("DELETE", f"a/blobs/{digest}")
            list(removed.expire(0.0))
            list(state.storage.tidy())

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for number in range(25):
            name = f"keep/{number}"
            assert other("POST", f"a/blobs/uploads/?digest={digest}", DATA).status == 201
            mounted = other("POST", f"{name}/blobs/uploads/?mount={digest}&from=a")
            if mounted.status == 201:
                lost += [name] if other("GET", f"{name}/blobs/{digest}").body != DATA else []
            elif number % 2:
                assert other("POST", f"{name}/blobs/uploads/?digest={digest}", DATA).status == 201
                lost += [name] if one("GET", f"{name}/blobs/{digest}").body != DATA else []
            one("DELETE", f"{name}/blobs/{digest}")
    finally:
        stop.set()
        thread.join()
    assert not lost


def test_both_collect_while_clients_push(replicas, running, make):
    """All rows are made old again and again: whatever no manifest needs goes when it is seen twice."""
    stop, gone = threading.Event(), []

    def age(db: Any) -> None:
        for table, column in (("blobs", "added"), ("manifests", "added"), ("unused", "since")):
            db.execute(f"UPDATE {table} SET {column} = 1.0")

    def collect(server: RunningServer) -> None:
        catalog = server.registry.state.catalog
        while not stop.wait(0.05):  # who pushes needs turns, too
            catalog.change(age)
            gone.extend(GarbageCollector(catalog, GarbageRules(), Mentions()).steps())

    replicas[0].push_blob("app/0", b"of no manifest")
    threads = [threading.Thread(target=collect, args=(server,)) for server in running]
    for thread in threads:
        thread.start()
    try:
        images = [_pushed(replicas[number % 2], f"app/{number % 3}", str(number)) for number in range(12)]
        end = time.monotonic() + 60
        while not any(each.blobs for each in gone):
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for number, image in enumerate(images):
        for api in replicas:
            assert api("GET", f"app/{number % 3}/manifests/{number}").body == image.data
            assert api("GET", f"app/{number % 3}/blobs/{make.digest(image.layer)}").body == image.layer


def _pushed(api: Any, name: str, tag: str) -> Any:
    """Until it is acknowledged: a blob may go before its manifest comes, by that clock."""
    until = time.monotonic() + 60
    while True:
        with suppress(AssertionError):
            return api.push_image(name, tag, tag.encode() * 1000)
        assert time.monotonic() < until
