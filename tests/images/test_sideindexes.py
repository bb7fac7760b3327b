"""What is attached to an image: it is found again, and whatever else is there counts for nothing."""

from __future__ import annotations

import gzip
import io
import os

import pytest
from imagekit import ListsReferrers, Registry, make_tar

from nacre.grammars.chunked.estargz import DIGEST
from nacre.grammars.sideindex import ARTIFACT, INDEX, LAYER, MAX_BLOB, PROFILE, LayerIndex
from nacre.images.arrows.sideindexes import attach, attached, make_indexes
from nacre.words.digest import Digest
from nacre.words.oci import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest
from nacre.words.reference import Reference

NAME = Reference.parse("registry.test/app:1")


class WithReferrers(ListsReferrers, Registry):
    """A registry that lists what refers to a manifest."""


@pytest.fixture
def registry() -> WithReferrers:
    return WithReferrers()


@pytest.fixture
def image(registry: WithReferrers) -> Descriptor:
    manifest, _ = registry.add_image("1", {"file": b"content"})
    return Descriptor.of(manifest.encode(), manifest.media_type)


def blob(media_type: str, data: bytes) -> tuple[Descriptor, bytes]:
    return Descriptor.of(data, media_type), data


def test_what_was_attached_is_found(registry: WithReferrers, image: Descriptor) -> None:
    before = dict(registry.tags)
    one, two = blob(INDEX, b"index"), blob(PROFILE, b"profile")
    artifact = attach(registry, image, [one, two])
    assert attached(registry, NAME, image.digest) == [one[0], two[0]]
    assert registry.tags == before | {artifact: (artifact, OCI_MANIFEST)}
    assert registry.blobs[two[0].digest] == b"profile"
    assert attach(registry, image, [one, two]) == artifact


def test_the_newest_comes_first(registry: WithReferrers, image: Descriptor) -> None:
    blobs = [blob(PROFILE, b"%d" % number) for number in range(3)]
    for each, year in zip(blobs, ("2025", "2027", "2026"), strict=True):
        attach(registry, image, [each], f"{year}-01-01T00:00:00Z")
    found = [one.digest for one in attached(registry, NAME, image.digest)]
    assert found == [blobs[number][0].digest for number in (1, 2, 0)]


def test_each_layer_that_needs_one_gets_one_index() -> None:
    large, small = make_tar({"file": os.urandom(300_000)}), make_tar({"file": b"content"})
    blobs = {Digest.of(data): (data, tar) for tar in (large, small) for data in (gzip.compress(tar), tar)}
    layers = [(Descriptor.of(data, OCI_LAYER_GZIP), Digest.of(tar)) for data, tar in blobs.values()]
    chunked = layers[0][0].replace(annotations=((DIGEST, str(layers[0][1])),)), layers[0][1]
    made = make_indexes([*layers, layers[0]], lambda layer: io.BytesIO(blobs[layer.digest][0]))
    assert [dict(one.annotations)[LAYER] for one, _ in made] == [layer.digest for layer, _ in layers[:2]]
    assert all(
        LayerIndex.decode(data).is_of(*layer) for layer, (_, data) in zip(layers[:2], made, strict=True)
    )
    there = [one for one, _ in made[:1]]
    again = make_indexes([chunked, *layers], lambda layer: io.BytesIO(blobs[layer.digest][0]), there)
    assert [data for _, data in again] == [made[1][1]]


def test_not_too_many_are_read(registry: WithReferrers, image: Descriptor) -> None:
    for number in range(20):
        attach(registry, image, [blob(INDEX, b"%d" % number)])
    assert len(attached(registry, NAME, image.digest)) == 8


def test_a_registry_that_does_not_say_is_no_failure(registry: WithReferrers, image: Descriptor) -> None:
    attach(registry, image, [blob(INDEX, b"index")])
    registry.refuses = True
    assert attached(registry, NAME, image.digest) == []
    assert attached(Registry(), NAME, image.digest) == []


@pytest.mark.parametrize("kind", ["another subject", "another type", "no manifest", "too large", "unknown"])
def test_what_does_not_fit_is_passed_over(
    registry: WithReferrers, image: Descriptor, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, other = blob(INDEX, b"index"), registry.add_image("2", {"other": b"content"})[0]
    attach(registry, image, [good])
    layer = Descriptor.of(b"bad", "text/plain" if kind == "unknown" else INDEX)
    layer = layer.replace(size=MAX_BLOB + 1) if kind == "too large" else layer
    subject = Descriptor.of(other.encode(), OCI_MANIFEST) if kind == "another subject" else image
    type_ = "" if kind == "another type" else ARTIFACT
    bad = Manifest(OCI_MANIFEST, Descriptor.of(b"{}", OCI_CONFIG), (layer,), (), subject, type_)
    entry, listed = registry.tag("bad", bad.encode(), OCI_MANIFEST), registry.referrers(image.digest)
    if kind == "no manifest":
        registry.blobs[entry.digest] = b"[]"
    monkeypatch.setattr(registry, "referrers", lambda *_: (entry, *listed))
    assert {one.digest for one in attached(registry, NAME, image.digest)} == {good[0].digest}
