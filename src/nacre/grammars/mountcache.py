"""The document of cache mounts that travel: which chunks each of them is made of.

    {"mounts": [{"name": HEX, "chunks": [N, ...]}, ...], "chunks": [{"raw": DIGEST, "size": BYTES}, ...]}

It is the config of a manifest whose layers are the chunks, each compressed with zstd, in the order of
`chunks`, which says what they are uncompressed. One after the other the chunks of a mount are a tar of its
folder. What is read is bounded.
"""

from __future__ import annotations

from ..words.digest import Digest
from ..words.errors import InvalidDocument, InvalidName, TooLarge, Unsupported
from ..words.oci import OCI_MANIFEST, Descriptor, Manifest, decode_json, encode_json
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ARTIFACT = "application/vnd.nacre.build.mounts.v1"
CONFIG = "application/vnd.nacre.build.mounts.config.v1+json"
CHUNK = "application/vnd.nacre.build.mounts.chunk.v1+zstd"
MOST = 2 << 20
"""Bytes of the largest chunk."""
_MAX_CHUNKS = 16_000
_MAX_LISTED = 64_000
_NAME = frozenset("0123456789abcdef")


class MountChunk(Value):
    """`size` bytes with the digest `raw`, compressed as `blob`."""

    raw: Digest
    size: int
    blob: Descriptor


def encode(mounts: Mapping[str, tuple[MountChunk, ...]]) -> tuple[Manifest, bytes]:
    """A manifest of these mounts by name, and the bytes of its config. Raises TooLarge."""
    chunks = {chunk.raw: chunk for name in sorted(mounts) for chunk in mounts[name]}
    if len(chunks) > _MAX_CHUNKS or sum(map(len, mounts.values())) > _MAX_LISTED:
        raise TooLarge(f"the cache mounts have {len(chunks)} chunks, more than the {_MAX_CHUNKS} allowed")
    places = {raw: number for number, raw in enumerate(chunks)}
    rows = [{"name": name, "chunks": [places[one.raw] for one in mounts[name]]} for name in sorted(mounts)]
    listed = [{"raw": str(one.raw), "size": one.size} for one in chunks.values()]
    config = encode_json({"mounts": rows, "chunks": listed})
    layers = tuple(one.blob for one in chunks.values())
    return Manifest(OCI_MANIFEST, Descriptor.of(config, CONFIG), layers, artifact_type=ARTIFACT), config


def decode(manifest: Manifest, config: bytes) -> dict[str, tuple[MountChunk, ...]]:
    """The mounts of a manifest by name. Raises InvalidDocument; Unsupported for one of something else."""
    if manifest.config.media_type != CONFIG:
        raise Unsupported("it holds no cache mounts")
    fields = decode_json(config, "list of cache mounts")
    chunks = _chunks(_listed(fields, "chunks", _MAX_CHUNKS), manifest)
    found: dict[str, tuple[MountChunk, ...]] = {}
    left = _MAX_LISTED
    for row in _listed(fields, "mounts", _MAX_LISTED):
        name, places = (
            (row.get("name"), _listed(row, "chunks", left)) if isinstance(row, dict) else (None, [])
        )
        if not isinstance(name, str) or len(name) != 32 or not _NAME.issuperset(name):
            raise InvalidDocument(f"invalid name of a cache mount: {str(name)[:80]!r}")
        if not all(type(place) is int and 0 <= place < len(chunks) for place in places):
            raise InvalidDocument(f"cache mount {name} has a chunk that is not there")
        left -= len(places)
        found[name] = tuple(chunks[place] for place in places)
    return found


def _chunks(rows: list[Any], manifest: Manifest) -> list[MountChunk]:
    if len(rows) != len(manifest.layers):
        raise InvalidDocument(f"{len(manifest.layers)} chunks, but {len(rows)} are described")
    return [_chunk(row, blob) for row, blob in zip(rows, manifest.layers, strict=True)]


def _chunk(row: Any, blob: Descriptor) -> MountChunk:
    size = row.get("size") if isinstance(row, dict) else None
    if type(size) is not int or not 0 < size <= MOST or blob.size > 2 * MOST or not blob.digest.is_known:
        raise InvalidDocument(f"chunk {blob.digest} makes no sense")
    try:
        return MountChunk(Digest(str(row.get("raw"))), size, blob)
    except InvalidName as error:
        raise InvalidDocument(error.message) from None


def _listed(fields: Any, key: str, most: int) -> list[Any]:
    value = fields.get(key) if isinstance(fields, dict) else None
    if not isinstance(value, list) or len(value) > most:
        raise InvalidDocument(f"{key} is not a list of at most {most} entries")
    return value
