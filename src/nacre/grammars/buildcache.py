"""The document of a build cache: which steps have made the layers of a manifest.

It is a field of the config of a manifest, beside `rootfs`. The manifest is that of an image whose cache is
inline, or one that holds nothing but a cache:

    {"rootfs": {"type": "layers", "diff_ids": [...]},
     "io.nacre.build.cache.v1": {"steps": [{"key": HEX, "layer": N, "time": NS}, ...], "absent": [...]}}

`layer` is a place in the list of layers; a step without one has changed no file. `absent` is one in
that list, of layers that the manifest does not hold: to know what they are is enough to go on to the next
step. What is read is bounded.
"""

from __future__ import annotations

from ..words.digest import Digest
from ..words.errors import InvalidDocument, InvalidName, Unsupported
from ..words.oci import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    decode_json,
    encode_json,
)
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Layer = tuple[Descriptor, Digest]

ARTIFACT = "application/vnd.nacre.build.cache.v1"
CONFIG = "application/vnd.nacre.build.cache.config.v1+json"
FIELD = "io.nacre.build.cache.v1"
_BUILDKIT = ("application/vnd.buildkit.cacheconfig.v0", "moby.buildkit.cache.v0")
_LAYERS = frozenset((OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP))
_MAX_STEPS = 20_000
_MAX_LAYERS = 5_000
_LATEST = 253_402_300_800 * 10**9
"""The year 10000: later times cannot be written down."""
_HEX = frozenset("0123456789abcdef")


class CachedStep(Value):
    """What the step with `key` has made: `layer` is None where it has changed no file.

    `is_absent`: the cache does not hold the layer.
    """

    key: str
    layer: Layer | None
    time_ns: int = 0
    is_absent: bool = False


def encode(steps: Sequence[CachedStep]) -> tuple[Manifest, bytes, tuple[Digest, ...]]:
    """A manifest that holds these steps and their layers, the bytes of its config, and the diff ids.

    Equal steps in equal order give equal bytes. Raises InvalidDocument for more than can be read again.
    """
    layers = _numbered(step.layer for step in steps if not step.is_absent)
    if len(steps) > _MAX_STEPS or len({step.layer for step in steps}) > _MAX_LAYERS:
        raise InvalidDocument(f"a build cache of {len(steps)} steps is too large")
    diff_ids = tuple(diff_id for _, diff_id in layers)
    rootfs = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
    config = encode_json({"rootfs": rootfs, FIELD: field(steps, layers)})
    descriptors = tuple(descriptor.replace(platform=None) for descriptor, _ in layers)
    manifest = Manifest(OCI_MANIFEST, Descriptor.of(config, CONFIG), descriptors, artifact_type=ARTIFACT)
    return manifest, config, diff_ids


def _numbered(layers: Iterable[Layer | None]) -> dict[Layer, int]:
    return {layer: number for number, layer in enumerate(dict.fromkeys(filter(None, layers)))}


def field(steps: Sequence[CachedStep], layers: Mapping[Layer, int]) -> dict[str, Any]:
    """The field of a config beside a manifest with these layers; all others are absent."""
    absent = _numbered(step.layer for step in steps if step.layer not in layers)
    rows: list[dict[str, Any]] = []
    for step in steps:
        place: dict[str, Any] = {}
        if step.layer and step.layer in layers:
            place = {"layer": layers[step.layer]}
        elif step.layer:
            place = {"absent": absent[step.layer]}
        rows.append({"key": step.key, **place, "time": step.time_ns})
    listed = [{**layer.to_json(), "diffID": str(diff_id)} for layer, diff_id in absent]
    return {"steps": rows, "absent": listed} if listed else {"steps": rows}


def decode(manifest: Manifest, config: bytes) -> list[CachedStep]:
    """The steps of a manifest with this config. Raises InvalidDocument; Unsupported where there are none."""
    fields = decode_json(config, "build cache")
    if not isinstance(fields, dict) or FIELD not in fields:
        raise _foreign(manifest, fields)
    content = _object(fields[FIELD], FIELD)
    rows = _listed(content, "steps", _MAX_STEPS)
    places = {"layer": _described(manifest, fields), "absent": _absent(content)}
    return [_step(_object(row, "step"), places) for row in rows]


def _foreign(manifest: Manifest, fields: Any) -> Unsupported:
    """Why nothing can be used of what was not written by nacre."""
    known = (manifest.config.media_type, *(fields if isinstance(fields, dict) else ()))
    if any(name in known for name in _BUILDKIT):
        return Unsupported("it is a cache of BuildKit, whose keys nacre does not share")
    return Unsupported("it holds no build cache")


def _absent(content: dict[str, Any]) -> list[Layer]:
    rows = _listed({"absent": [], **content}, "absent", _MAX_LAYERS)
    return [(_known(Descriptor.from_json(row)), _digest(row.get("diffID"))) for row in rows]


def _known(layer: Descriptor) -> Descriptor:
    if layer.media_type not in _LAYERS or not layer.digest.is_known:
        raise InvalidDocument(f"layer {layer.digest} of the unknown type {layer.media_type[:80]!r}")
    return layer.replace(platform=None)


def _described(manifest: Manifest, fields: dict[str, Any]) -> list[Layer]:
    rootfs = _object(fields.get("rootfs"), "rootfs")
    diff_ids = _listed(rootfs, "diff_ids", _MAX_LAYERS)
    if len(diff_ids) != len(manifest.layers):
        raise InvalidDocument(f"{len(manifest.layers)} layers, but {len(diff_ids)} diff ids")
    pairs = zip(manifest.layers, diff_ids, strict=True)
    return [(_known(layer), _digest(text)) for layer, text in pairs]


def _step(row: dict[str, Any], places: Mapping[str, list[Layer]]) -> CachedStep:
    name = "absent" if "absent" in row else "layer"
    key, place, time_ns, layers = row.get("key"), row.get(name), row.get("time", 0), places[name]
    if not isinstance(key, str) or len(key) != 64 or not _HEX.issuperset(key):
        raise InvalidDocument(f"invalid key {str(key)[:80]!r}")
    if type(time_ns) is not int or not 0 <= time_ns < _LATEST:
        raise InvalidDocument(f"invalid time of step {key[:12]}")
    if place is not None and (type(place) is not int or not 0 <= place < len(layers)):
        raise InvalidDocument(f"step {key[:12]} has a layer that is not there")
    return CachedStep(key, None if place is None else layers[place], time_ns, name == "absent")


def _digest(text: Any) -> Digest:
    try:
        return Digest(text if isinstance(text, str) else "")
    except InvalidName as error:
        raise InvalidDocument(error.message) from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what} is not an object")
    return value


def _listed(fields: dict[str, Any], key: str, most: int) -> list[Any]:
    value = fields.get(key)
    if not isinstance(value, list) or len(value) > most:
        raise InvalidDocument(f"{key} is not a list of at most {most} entries")
    return value
