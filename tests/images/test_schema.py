"""OCI's and Docker's manifests: one made of the other, by wish and where a registry refuses one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from imagekit import Registry

from nacre.images.arrows.copying import Choice, copy
from nacre.images.arrows.pull import pull
from nacre.images.arrows.push import Sending, push
from nacre.images.layers.repack import Packing
from nacre.images.model.image import repo_digests
from nacre.images.model.schema import Document, converted, converted_index
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import RegistryError, Unsupported, UsageError
from nacre.words.oci import (
    DOCKER,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    form_of,
    parse_document,
)
from nacre.words.progress import NullProgress
from nacre.words.reference import Reference

APP = Reference.parse("registry.test/app:1")
CONFIG = Descriptor(OCI_CONFIG, Digest.of(b"c"), 7)


def layer(kind: str, text: str = "x") -> Descriptor:
    return Descriptor(kind, Digest.of(text.encode()), 5)


def document(*layers: Descriptor, **changes: Any) -> Document:
    data = Manifest(OCI_MANIFEST, CONFIG, layers).replace(**changes).encode()
    return Descriptor.of(data, OCI_MANIFEST), data


class Picky(Registry):
    """Takes one kind of manifest only."""

    def __init__(self, takes: str, status: int, code: str) -> None:
        super().__init__("registry.test/app")
        self.takes, self.status, self.code = takes, status, code
        self.refused: list[str] = []

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        if self.takes not in media_type:
            self.refused.append(target)
            raise RegistryError("refused", status=self.status, code=self.code)
        super().put_manifest(target, data, media_type)


class Told(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_manifest_in_docker_s_form() -> None:
    old = document(
        layer(OCI_LAYER_GZIP, "a").replace(annotations=(("k", "v"),)), layer(OCI_LAYER, "b"),
        annotations=(("n", "o"),),
    )  # fmt: skip
    descriptor, data = converted(old, DOCKER)
    fields = json.loads(data)
    assert (descriptor.media_type, descriptor.digest) == (DOCKER_MANIFEST, Digest.of(data))
    assert fields["mediaType"] == DOCKER_MANIFEST
    assert fields["config"] == {"mediaType": DOCKER_CONFIG, "digest": str(CONFIG.digest), "size": 7}
    assert [row["mediaType"] for row in fields["layers"]] == [DOCKER_LAYER_GZIP, DOCKER_LAYER]
    assert all(set(row) == {"mediaType", "digest", "size"} for row in fields["layers"])
    assert "annotations" not in fields
    back = json.loads(converted((descriptor, data), OCI)[1])
    assert [row["mediaType"] for row in back["layers"]] == [OCI_LAYER_GZIP, OCI_LAYER]
    assert (back["mediaType"], back["config"]["mediaType"]) == (OCI_MANIFEST, OCI_CONFIG)


def test_what_is_in_the_form_stays_as_it_is() -> None:
    old = document(layer(OCI_LAYER_GZIP))
    assert converted(old, OCI) is old
    new = converted(old, DOCKER)
    assert converted(new, DOCKER) is new


def test_the_places_of_foreign_layers_stay() -> None:
    far = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    fields = json.loads(document(layer(far))[1])
    fields["layers"][0]["urls"] = ["https://far.example/layer"]
    data = json.dumps(fields).encode()
    (row,) = json.loads(converted((Descriptor.of(data, OCI_MANIFEST), data), DOCKER)[1])["layers"]
    assert row["urls"] == ["https://far.example/layer"]
    assert row["mediaType"] == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.mark.parametrize(
    ("old", "what"),
    [
        (document(layer(OCI_LAYER_ZSTD)), "zstd"),
        (document(layer("application/vnd.in-toto+json")), "in-toto"),
        (document(layer(OCI_LAYER), subject=CONFIG), "has a subject"),
        (document(layer(OCI_LAYER), artifact_type="a/b"), "has a subject"),
        (document(layer(OCI_LAYER), config=layer("application/vnd.cncf.helm.config.v1+json")), "helm"),
    ],
)
def test_what_docker_s_form_has_no_place_for(old: Document, what: str) -> None:
    with pytest.raises(Unsupported, match=what):
        converted(old, DOCKER)


def test_an_index() -> None:
    children = {}
    for text in ("amd64", "arm64"):
        child = document(layer(OCI_LAYER_GZIP, text))
        children[child[0].digest] = child[0].replace(platform=Platform("linux", text)), child[1]
    data = Index(OCI_INDEX, tuple(found for found, _ in children.values())).encode()
    old = Descriptor.of(data, OCI_INDEX), data
    (descriptor, data), made = converted_index(old, DOCKER, lambda entry: children[entry.digest])
    index = parse_document(data, DOCKER_INDEX)
    assert isinstance(index, Index)
    assert descriptor.media_type == DOCKER_INDEX
    assert [entry.digest for entry in index.manifests] == [child.digest for child, _ in made]
    assert [entry.media_type for entry in index.manifests] == [DOCKER_MANIFEST] * 2
    assert [str(entry.platform) for entry in index.manifests] == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize(("name", "form"), [("docker", DOCKER), ("v2s2", DOCKER), ("oci", OCI), ("", "")])
def test_names_of_forms(name: str, form: str) -> None:
    assert form_of(name) == form


@pytest.mark.parametrize("name", ["v2s1", "v2s3", "OCI", "json"])
def test_what_names_no_form(name: str) -> None:
    with pytest.raises(UsageError):
        form_of(name)


REFUSALS = [(400, "MANIFEST_INVALID"), (400, "TAG_INVALID"), (415, ""), (400, ""), (405, "UNSUPPORTED")]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_a_push_where_oci_is_refused(registry: Registry, store: Store, status: int, code: str) -> None:
    """As skopeo, podman and docker do: once more, in the form that is older."""
    registry.add_image("1", {"a": b"one"})
    image = pull(registry, APP, store).image
    sink, told = Picky("docker", status, code), Told()
    done = push(store, image.descriptor, sink, "new", progress=told)
    digest, media_type = sink.tags["new"]
    assert (media_type, done.digest) == (DOCKER_MANIFEST, digest)
    assert done.size == len(sink.blobs[digest])
    assert [line for line in told.lines if "rejects" in line and digest in line]
    assert f"registry.test/app@{digest}" in repo_digests(image)
    back = Registry()
    back.tags, back.blobs = sink.tags, sink.blobs
    assert pull(back, APP.replace(tag="new"), store).image.id == image.id


@pytest.mark.parametrize(
    ("takes", "status", "code"),
    [("docker", 401, "UNAUTHORIZED"), ("docker", 403, "DENIED"), ("docker", 400, "MANIFEST_BLOB_UNKNOWN"),
     ("nothing", 400, "MANIFEST_INVALID"), ("docker", 500, ""), ("docker", 413, "SIZE_INVALID")],
)  # fmt: skip
def test_a_push_that_fails_otherwise(
    registry: Registry, store: Store, takes: str, status: int, code: str
) -> None:
    registry.add_image("1", {"a": b"one"})
    image = pull(registry, APP, store).image
    sink = Picky(takes, status, code)
    with pytest.raises(RegistryError, match="refused") as caught:
        push(store, image.descriptor, sink, "new")
    assert (caught.value.status, caught.value.code) == (status, code)
    assert len(sink.refused) == (2 if takes == "nothing" else 1)


def test_a_refusal_that_zstd_leaves_nothing_to_do_about(registry: Registry, store: Store) -> None:
    registry.add_image("1", {"a": b"one" * 1000})
    image = pull(registry, APP, store).image
    sink = Picky("docker", 400, "MANIFEST_INVALID")
    with pytest.raises(RegistryError) as caught:
        push(store, image.descriptor, sink, "new", Sending(packing=Packing("zstd")))
    assert "--compression gzip" in caught.value.hint


@pytest.mark.parametrize("packing", [None, Packing("gzip", 9, force=True)])
def test_a_form_that_was_asked_for(registry: Registry, store: Store, packing: Packing | None) -> None:
    registry.add_image("1", {"a": b"one"})
    image = pull(registry, APP, store).image
    sink = Registry("registry.test/other")
    first = push(store, image.descriptor, sink, "1", Sending(form=DOCKER, packing=packing))
    assert sink.tags["1"] == (first.digest, DOCKER_MANIFEST)
    assert (
        push(store, image.descriptor, sink, "1", Sending(form=DOCKER, packing=packing)).digest == first.digest
    )
    assert push(store, image.descriptor, sink, "1", Sending(form=OCI)).digest == image.digest
    with pytest.raises(RegistryError):
        push(store, image.descriptor, Picky("docker", 400, "MANIFEST_INVALID"), "1", Sending(form=OCI))


def put_platforms(registry: Registry, tag: str) -> Descriptor:
    rows = []
    for platform in (Platform("linux", "amd64"), Platform("linux", "arm64")):
        manifest, _ = registry.add_image("x", {platform.architecture: b"x"}, platform=platform)
        data = manifest.encode()
        rows.append(Descriptor(manifest.media_type, Digest.of(data), len(data), platform))
    return registry.tag(tag, Index(OCI_INDEX, tuple(rows)).encode(), OCI_INDEX)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("all", [True, False])
def test_a_copy_in_docker_s_form(registry: Registry, asked: bool, all: bool) -> None:
    """Asked for, or because the registry refuses the other; what an index names is in it, too."""
    top = put_platforms(registry, "1")
    sink = Registry("registry.test/other") if asked else Picky("docker", 400, "MANIFEST_INVALID")
    choice, told = Choice(Platform("linux", "amd64") if not all else None, all, form=DOCKER * asked), Told()
    done = copy(registry, APP, sink, "new", choice, told)
    digest, media_type = sink.tags["new"]
    assert done.digest == digest != top.digest
    assert media_type == (DOCKER_INDEX if all else DOCKER_MANIFEST)
    assert {kind for _, kind in sink.tags.values()} <= {DOCKER_INDEX, DOCKER_MANIFEST}
    assert len(sink.put_blobs) == len(set(sink.put_blobs))
    assert bool([line for line in told.lines if "rejects" in line]) == (not asked)


def test_digests_that_are_to_stay(registry: Registry, store: Store) -> None:
    put_platforms(registry, "1")
    for choice in (Choice(all=True, form=DOCKER, exact=True), Choice(all=True, form=DOCKER, referrers=True)):
        with pytest.raises(UsageError, match="another digest"):
            copy(registry, APP, Registry(), "new", choice)
    sink = Picky("docker", 400, "MANIFEST_INVALID")
    with pytest.raises(RegistryError):
        copy(registry, APP, sink, "new", Choice(all=True, exact=True))
    assert copy(registry, APP, Registry(), "new", Choice(all=True, form=OCI, exact=True)).changed
