"""Content that rots is found, set aside, and mended by the next push."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.stores.registry import RegistryStore
from nacre.stores.scrub import DamagedContent, Scrubber
from nacre.words.digest import Digest
from nacre.words.rules import ScrubRules


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RegistryStore]:
    with closing(RegistryStore(str(tmp_path / "registry"))) as opened:
        yield opened


def add(store: RegistryStore, data: bytes) -> Digest:
    digest = Digest.of(data)
    with store.storage.adding(digest):
        store.catalog.add_blob("app", store.storage.add(data, digest))
    return digest


def spoil(store: RegistryStore, digest: Digest, data: bytes) -> None:
    path = Path(store.root, "blobs", *digest.split(":"))
    path.chmod(0o600)
    path.write_bytes(data)


def scrub(store: RegistryStore) -> list[DamagedContent]:
    steps = list(Scrubber(store.catalog, store.storage, ScrubRules(interval=0.001)).steps())
    return steps[-1]


def test_what_is_whole_stays(store: RegistryStore) -> None:
    digests = [add(store, b"%d" % number) for number in range(300)]
    assert scrub(store) == []
    assert all(store.storage.locate(digest, len(str(n))) for n, digest in enumerate(digests))


def test_what_has_rotted_counts_as_absent_until_it_is_pushed(store: RegistryStore) -> None:
    good, bad = add(store, b"good"), add(store, b"whole")
    spoil(store, bad, b"rotte")
    assert scrub(store) == [DamagedContent(bad, ())]
    assert store.storage.locate(bad, 5) is None
    assert store.storage.locate(good, 4)
    assert Path(store.root, "damaged", bad.replace(":", "-")).read_bytes() == b"rotte"
    add(store, b"whole")
    assert store.storage.read(bad) == b"whole"
    assert scrub(store) == []


def test_it_goes_on_where_it_was(store: RegistryStore) -> None:
    first, second = sorted(add(store, data) for data in (b"one", b"two"))
    for digest in (first, second):
        spoil(store, digest, b"???")
    scrubber = Scrubber(store.catalog, store.storage, ScrubRules(interval=3600.0))
    assert not scrubber.is_due(), "not before the first interval"
    assert list(scrubber.steps())[-1][0].digest == first
    again = Scrubber(store.catalog, store.storage, ScrubRules(interval=3600.0))
    assert again.is_due()
    assert list(again.steps())[-1][0].digest == second
    assert list(again.steps())[-1] == []
    assert not again.is_due()


def test_what_is_gone_or_short_is_left_to_whoever_asks(store: RegistryStore) -> None:
    gone, short = add(store, b"gone"), add(store, b"short")
    os.unlink(Path(store.root, "blobs", *gone.split(":")))
    spoil(store, short, b"s")
    assert scrub(store) == []


def test_a_large_blob_is_read_in_steps(store: RegistryStore) -> None:
    add(store, bytes(3 << 20))
    assert len(list(Scrubber(store.catalog, store.storage, ScrubRules()).steps())) >= 3


def test_while_it_is_served(tmp_path: Path, api_of: Any, make: Any) -> None:
    from nacre.services.server import RunningServer
    from nacre.words.rules import RegistryRules

    log: list[str] = []
    rules = RegistryRules(scrub=ScrubRules(interval=0.001, rate=1 << 40))
    with RunningServer(str(tmp_path / "r"), rules=rules, log=log.append) as serving:
        api = api_of(serving.url)
        image = api.push_image("app", "1")
        layer = Digest(make.digest(image.layer))
        spoil(serving.registry.state.store, layer, bytes(len(image.layer)))
        deadline = time.monotonic() + 30
        while not log:
            serving.registry.jobs.wake("scrub")
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert log == [f"error: {layer} is damaged and was set aside: push again app:1"]
        assert api("GET", f"app/blobs/{layer}").status == 404
        api.push_blob("app", image.layer)
        assert api("GET", f"app/blobs/{layer}").body == image.layer
