"""What a listing shows of images is what the images say, also of those in an unusual form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from imagekit import Registry

from nacre.images.arrows.pull import pull
from nacre.images.model.image import Image, repo_digests
from nacre.images.model.rows import ImageRow, image_rows
from nacre.stores.links import config_links, manifest_links
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.oci import OCI_CONFIG, OCI_MANIFEST, Descriptor, encode_json
from nacre.words.reference import Reference

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    registry = Registry()
    with Store.open(str(tmp_path / "store"), driver="overlay") as store:
        for tag in "12":
            registry.add_image(tag, {"shared": b"s" * 500}, {tag: tag.encode() * 70})
            pull(registry, Reference.parse(f"registry.test/app:{tag}"), store)
        yield store


def listed(store: Store, **options: bool) -> list[ImageRow]:
    def failed(digest: Digest, error: Exception) -> None:
        raise AssertionError(f"{digest}: {error}")

    return list(image_rows(store, failed, **options))


def add(store: Store, config: dict[str, Any], **more: object) -> Digest:
    """An image without layers."""
    data = encode_json(config)
    fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], **more}
    manifest = encode_json(fields | {"config": Descriptor.of(data, OCI_CONFIG).to_json()})
    store.blobs.add(data)
    store.refs.remember(Descriptor(OCI_MANIFEST, store.blobs.add(manifest), len(manifest)))
    return Digest.of(manifest)


def test_rows_say_what_images_say(store: Store) -> None:
    add(store, {"architecture": "amd64", "os": "linux", "config": {"Labels": {"a": None}}})
    rows, images = listed(store, digests=True), [Image.load(store, one) for one in store.refs.images()]
    assert len(rows) == 3
    for row, image in zip(rows, images, strict=True):
        assert (row.digest, row.id, row.names) == (image.digest, image.id, image.names)
        assert (row.created, row.labels, row.size) == (image.config.created, image.config.labels, image.size)
        assert list(row.repo_digests) == repo_digests(image)


def test_layers_that_are_gone_count_nothing(store: Store) -> None:
    top = Image.load(store, store.refs.images()[0]).diff_ids[-1]
    store.db.change("DELETE FROM tree WHERE diff_id = ?", (top,))
    assert sorted(row.size for row in listed(store)) == [500, 570]


def test_what_cannot_be_read_is_told_and_left_out(store: Store) -> None:
    bad = add(store, {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [DIGEST]}})
    told: list[Digest] = []
    rows = list(image_rows(store, lambda digest, _error: told.append(digest)))
    assert len(rows) == 2
    assert told == [bad]


@pytest.mark.parametrize(
    "fields",
    [
        [], {}, {"schemaVersion": 1}, {"schemaVersion": 2, "config": {}, "layers": []},
        {"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": "x"}, "layers": []},
        {"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": DIGEST}, "layers": [3]},
        {"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": DIGEST}, "layers": [],
         "manifests": []},
    ],
)  # fmt: skip
def test_an_unusual_manifest_is_left_to_the_strict_reader(fields: object) -> None:
    assert manifest_links(encode_json(fields)) is None


@pytest.mark.parametrize(
    "fields",
    [
        [], {}, {"rootfs": None}, {"rootfs": {"diff_ids": [3]}},
        {"rootfs": {"diff_ids": []}, "created": 3},
        {"rootfs": {"diff_ids": []}, "config": {"Labels": {"a": 1}}},
    ],
)  # fmt: skip
def test_an_unusual_config_is_left_to_the_strict_reader(fields: object) -> None:
    assert config_links(encode_json(fields)) is None


def test_no_json() -> None:
    assert manifest_links(b"{") is None
    assert config_links(b"\xff") is None
