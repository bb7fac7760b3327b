"""Manifests of upstreams: fetched, checked, and recorded as if they had been pushed. In threads."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ....grammars.wire.conditions import ANYTHING
from ....grammars.wire.errors import Code
from ....stores.catalog import WriteConditions
from ....words.digest import Digest
from ....words.errors import DigestMismatch, InvalidDocument, NacreError, NotFound, RegistryError
from ....words.oci import MAX_DOCUMENT, Index, Manifest, decode_json, parse_document
from ..documents import read
from .model import ServingRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ....stores.cached import CachedRepositories
    from ....stores.registry import RegistryStore
    from ....words.oci import Descriptor
    from .model import UpstreamRepository

CREATED = "org.opencontainers.image.created"
_SPARSE = WriteConditions("", ANYTHING, sparse=True)
_CHILDREN = 3
"""Images of an index that are asked when they were made."""


class ManifestFetcher:
    """Brings documents of upstreams into the registry of `store`."""

    def __init__(self, store: RegistryStore, cached: CachedRepositories) -> None:
        self._store, self._cached, self._clock = store, cached, store.catalog.now

    def by_digest(self, place: UpstreamRepository, digest: Digest) -> None:
        """Fetch a manifest by digest. Raises NacreError."""
        self._record(place, *place.upstream.manifest(place.repository, digest), "")

    def by_tag(self, place: UpstreamRepository, tag: str) -> None:
        """Let a tag name what it names there now, if that is old enough. Raises NacreError.

        What it named before stays under it when the new content is too young.
        """
        known = self._store.catalog.manifest(place.name, tag)
        said = place.upstream.head(place.repository, tag) if known else None
        if known and said and said.digest == known.digest and self._is_here(known.digest):
            return
        found, data = place.upstream.manifest(place.repository, tag)
        try:
            self._check_age(place, tag, found, data)
        except ServingRefused:
            if known is None or not self._is_here(known.digest):
                raise
            return
        self._record(place, found, data, tag)

    def _is_here(self, digest: Digest) -> bool:
        try:
            self._store.storage.read(digest)
        except (NotFound, DigestMismatch):
            return False
        return True

    def _record(self, place: UpstreamRepository, found: Descriptor, data: bytes, tag: str) -> None:
        with _as_content(found.digest):
            document = read(data, found.media_type)
        self._store.check_room()
        if not self._cached.mark(place.name, place.upstream.rules.name):
            raise ServingRefused.by(
                Code.DENIED, f"{place.name} holds what was pushed here: it is no copy of {place}"
            )
        storage, tags = self._store.storage, (tag,) if tag else ()
        with storage.adding(found.digest):
            placed = storage.add(data, found.digest)
            try:
                with _as_content(found.digest):
                    self._store.catalog.put_manifest(place.name, placed, document, tags, _SPARSE)
            except BaseException:
                storage.drop(placed)
                raise

    # ── the least age ──

    def _check_age(self, place: UpstreamRepository, tag: str, found: Descriptor, data: bytes) -> None:
        """Raises RegistryError DENIED for content that is too young."""
        rules = place.upstream.rules
        if not rules.minimum_age:
            return
        now = self._clock()
        seen = self._cached.first_seen(place.name, found.digest)
        if now - seen >= rules.minimum_age:
            return
        created = self._created(place, found, data) if rules.trust_created else None
        if created is not None and now - created >= rules.minimum_age:
            return
        left = int(seen + rules.minimum_age - now) + 1
        text = f"{place}:{tag} is new here: it is served in {_span(left)}, when nobody has withdrawn it"
        raise ServingRefused.by(Code.DENIED, text)

    def _created(self, place: UpstreamRepository, found: Descriptor, data: bytes) -> float | None:
        """When an image was made by its own word, an index by that of its youngest image; None if unsaid."""
        document = parse_document(data, found.media_type)
        if said := _seconds(dict(document.annotations).get(CREATED, "")):
            return said
        if isinstance(document, Manifest):
            return self._of_config(place, document)
        return self._of_index(place, document)

    def _of_index(self, place: UpstreamRepository, index: Index) -> float | None:
        images = [entry for entry in index.manifests if entry.platform and entry.platform.os != "unknown"]
        times = []
        for entry in images[:_CHILDREN]:
            child, data = place.upstream.manifest(place.repository, entry.digest)
            document = parse_document(data, child.media_type)
            times.append(self._of_config(place, document) if isinstance(document, Manifest) else None)
        return max((time for time in times if time), default=None) if all(times) else None

    def _of_config(self, place: UpstreamRepository, manifest: Manifest) -> float | None:
        digest = manifest.config.digest
        with suppress(NacreError), place.upstream.blob(place.repository, digest) as stream:
            if stream.size <= MAX_DOCUMENT:
                data = b"".join(iter(lambda: stream.read(1 << 16), b""))
                if Digest.of(data, digest.algorithm) == digest:
                    return _seconds(decode_json(data, "config").get("created"))
        return None


@contextmanager
def _as_content(digest: Digest) -> Iterator[None]:
    """What is refused of a document is the fault of whoever sent it."""
    try:
        yield
    except RegistryError as error:
        if error.status not in (Code.SIZE_INVALID.status, Code.MANIFEST_INVALID.status):
            raise ServingRefused(error.message, status=error.status, code=error.code) from None
        raise InvalidDocument(f"manifest {digest}: {error.message}") from None


def _seconds(text: object) -> float | None:
    """Of RFC 3339, in seconds since 1970."""
    from datetime import datetime

    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _span(seconds: int) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
