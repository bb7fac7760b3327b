"""A registry makes the indexes by which layers in gzip can come lazily."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.grammars.sideindex import ARTIFACT, INDEX, LAYER, LayerIndex
from nacre.services.server import RunningServer, indexing
from nacre.services.server.indexing import LayerIndexing
from nacre.services.server.repository import OwnRegistry
from nacre.stores.cached import CachedRepositories
from nacre.words.digest import Digest
from nacre.words.errors import UsageError
from nacre.words.oci import OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from nacre.words.rules import LazyRules, RegistryRules

LARGE = os.urandom(300_000)


class Site:
    """A registry whose indexes are made step by step."""

    def __init__(self, running: RunningServer, api: Any) -> None:
        self.api, self.state = api, running.registry.state
        self.said: list[str] = []
        self.warned: list[str] = []
        self.indexing = self.another()

    def another(self) -> LayerIndexing:
        """As another process would."""
        own = OwnRegistry.of(self.state)
        return LayerIndexing(own, LazyRules(True), self.said.append, self.warned.append)

    def run(self) -> None:
        job = self.indexing.job()
        while job.due():
            list(job.steps())

    def attached(self, name: str, digest: str) -> list[dict[str, Any]]:
        """Layers of the artifacts that refer to a manifest."""
        return attached(self.api, name, digest)


def attached(api: Any, name: str, digest: str) -> list[dict[str, Any]]:
    listed = json.loads(api("GET", f"{name}/referrers/{digest}?artifactType={ARTIFACT}").body)
    found = [api("GET", f"{name}/manifests/{each['digest']}") for each in listed["manifests"]]
    return [layer for answer in found for layer in json.loads(answer.body)["layers"]]


@pytest.fixture
def site(tmp_path: Path, api_of: Any) -> Iterator[Site]:
    with RunningServer(str(tmp_path / "registry")) as running:
        yield Site(running, api_of(running.url))


def test_a_layer_gets_an_index(site: Site, make: SimpleNamespace) -> None:
    image = site.api.push_image("shop/app", "1", LARGE)
    site.run()
    (layer,) = site.attached("shop/app", image.digest)
    assert layer["mediaType"] == INDEX
    assert layer["annotations"] == {LAYER: make.digest(image.layer)}
    index = LayerIndex.decode(site.api("GET", f"shop/app/blobs/{layer['digest']}").body)
    (diff_id,) = json.loads(image.config)["rootfs"]["diff_ids"]
    assert index.is_of(Descriptor.of(image.layer, OCI_LAYER_GZIP), Digest(diff_id))
    assert site.said == [f"attached indexes of 1 layers to shop/app@{image.digest}"]
    assert site.warned == []
    assert site.api("GET", "shop/app/manifests/1").body == image.data
    assert json.loads(site.api("GET", "shop/app/tags/list").body)["tags"] == ["1"]


def test_it_is_made_once(site: Site) -> None:
    image = site.api.push_image("app", "1", LARGE)
    site.run()
    site.api.put_manifest("app", "2", image.data)
    site.run()
    assert len(site.attached("app", image.digest)) == 1
    assert len(site.said) == 1


def test_what_a_client_attached_is_enough(site: Site) -> None:
    image = site.api.push_image("app", "1", LARGE)
    site.run()
    site.state.catalog.change(lambda db: db.execute("DELETE FROM marks"))
    site.indexing = site.another()
    site.run()
    assert len(site.attached("app", image.digest)) == 1
    assert len(site.said) == 1


def test_small_layers_and_other_documents_get_none(site: Site, make: SimpleNamespace) -> None:
    image = site.api.push_image("app", "1")
    index = site.api.put_manifest("app", "all", make.index((image.data, OCI_MANIFEST)), OCI_INDEX)
    assert index.status == 201, index.body
    site.run()
    assert site.attached("app", image.digest) == []
    assert (site.said, site.warned) == ([], [])


def test_a_layer_that_lies_holds_up_no_other(site: Site, make: SimpleNamespace) -> None:
    """Its config names another diff id."""
    layer, config = make.layer(LARGE), make.config(b"something else")
    for blob in (layer, config):
        site.api.push_blob("liar", blob)
    site.api.put_manifest("liar", "1", make.manifest(config, [layer]))
    image = site.api.push_image("app", "1", LARGE)
    site.run()
    assert len(site.warned) == 1
    assert site.warned[0].startswith("no index for liar@sha256:")
    assert len(site.attached("app", image.digest)) == 1


def test_a_layer_may_not_take_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "LONGEST", -1.0)
    image = site.api.push_image("app", "1", LARGE)
    site.run()
    assert "take longer than" in site.warned[0]
    assert site.attached("app", image.digest) == []


def test_what_was_broken_off_goes_on(site: Site) -> None:
    image = site.api.push_image("app", "1", LARGE)
    site.indexing.stop()
    assert list(site.indexing.job().steps()) == []
    assert site.attached("app", image.digest) == []
    site.indexing = site.another()
    site.run()
    assert len(site.attached("app", image.digest)) == 1


def test_copies_of_an_upstream_are_left_as_they_are(site: Site) -> None:
    assert CachedRepositories(site.state.catalog).mark("hub/app", "hub")
    image = site.api.push_image("hub/app", "1", LARGE)
    site.run()
    assert site.attached("hub/app", image.digest) == []
    assert (site.said, site.warned) == ([], [])


def test_an_image_that_went_meanwhile_is_passed_over(site: Site) -> None:
    image = site.api.push_image("app", "1", LARGE)
    assert site.api("DELETE", f"app/manifests/{image.digest}").status == 202
    site.run()
    assert (site.said, site.warned) == ([], [])


def test_a_registry_does_it_beside_the_requests(tmp_path: Path, api_of: Any) -> None:
    rules = RegistryRules(lazy=LazyRules(True))
    with RunningServer(str(tmp_path / "registry"), rules=rules) as running:
        api, end = api_of(running.url), time.monotonic() + 60
        image = api.push_image("app", "1", LARGE)
        running.registry.jobs.wake("layer indexes")
        while not attached(api, "app", image.digest):
            assert time.monotonic() < end


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert not RegistryRules().lazy.indexes
    with pytest.raises(UsageError, match="1024 bytes per second"):
        LazyRules(True, 1)
