"""The document of a build cache: written, read again, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nacre.grammars.buildcache import CONFIG, FIELD, CachedStep, decode, encode, field
from nacre.words.digest import Digest
from nacre.words.errors import InvalidDocument, Unsupported
from nacre.words.oci import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest, parse_document


def layer(name: str) -> tuple[Descriptor, Digest]:
    return Descriptor(OCI_LAYER_GZIP, Digest.of(name.encode()), 5), Digest.of(name.encode() * 2)


STEPS = [
    CachedStep("a" * 64, layer("a"), 7),
    CachedStep("b" * 64, None, 8),
    CachedStep("c" * 64, layer("a"), 9),
    CachedStep("d" * 64, layer("d"), 10, is_absent=True),
]


def test_what_is_written_is_read_again() -> None:
    manifest, config, diff_ids = encode(STEPS)
    again = parse_document(manifest.encode())
    assert isinstance(again, Manifest)
    assert decode(again, config) == STEPS
    assert again.layers == (layer("a")[0],)
    assert diff_ids == (layer("a")[1],)
    assert encode(STEPS)[1] == config


def test_beside_layers_of_an_image() -> None:
    """Layers of other stages are named, so that nothing before the image has to be done again."""
    places = {layer("base"): 0, layer("a"): 1}
    config = json.dumps({
        "rootfs": {"diff_ids": [str(diff_id) for _, diff_id in places]}, FIELD: field(STEPS, places)
    })  # fmt: skip
    image = Manifest(OCI_MANIFEST, Descriptor.of(b"{}", CONFIG), tuple(one for one, _ in places))
    assert decode(image, config.encode()) == STEPS


def changed(**changes: Any) -> tuple[Manifest, bytes]:
    manifest, config, _ = encode(STEPS)
    fields = json.loads(config)
    fields[FIELD].update(changes)
    return manifest, json.dumps(fields).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": {}},
        {"steps": [1]},
        {"steps": [{"key": "x"}]},
        {"steps": [{"key": "A" * 64}]},
        {"steps": [{"key": "a" * 64, "layer": 1}]},
        {"steps": [{"key": "a" * 64, "layer": -1}]},
        {"steps": [{"key": "a" * 64, "layer": True}]},
        {"steps": [{"key": "a" * 64, "absent": 1}]},
        {"steps": [{"key": "a" * 64, "time": -1}]},
        {"steps": [{"key": "a" * 64, "time": 10**21}]},
        {"steps": [{}] * 20_001},
        {"absent": [{"mediaType": OCI_LAYER_GZIP, "digest": "sha256:0", "size": 1}]},
        {"absent": [{**layer("a")[0].to_json(), "diffID": "sha256:../../etc"}]},
        {"absent": [{**layer("a")[0].to_json(), "mediaType": "text/html", "diffID": str(layer("a")[1])}]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument):
        decode(*changed(**changes))


def test_lists_of_different_lengths_are_refused() -> None:
    manifest, config, _ = encode(STEPS)
    with pytest.raises(InvalidDocument, match="2 layers, but 1 diff ids"):
        decode(manifest.replace(layers=manifest.layers * 2), config)


def test_caches_of_others_are_told_apart() -> None:
    manifest, _, _ = encode(STEPS)
    foreign = manifest.config.replace(media_type="application/vnd.buildkit.cacheconfig.v0")
    with pytest.raises(Unsupported, match="a cache of BuildKit"):
        decode(manifest.replace(config=foreign), b'{"layers":[],"records":[]}')
    with pytest.raises(Unsupported, match="a cache of BuildKit"):
        decode(manifest, b'{"moby.buildkit.cache.v0": ""}')
    with pytest.raises(Unsupported, match="holds no build cache"):
        decode(manifest, b"{}")
