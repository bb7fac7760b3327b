"""Manifests: GET, HEAD, PUT and DELETE by tag and by digest.

What a PUT demands: at most 4 MiB, a known media type that agrees with the document, the digest of the
path if there is one, and every part in the same repository with the size that the manifest gives:
config and layers as blobs, the children of an index as manifests or blobs (docker's registry demands
the same; the spec lets a registry choose). Layers that by their type are distributed elsewhere, and the
subject, may be absent. So whatever was accepted can be pulled, and DELETE keeps it so: a part that is
still needed is not deleted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ...grammars.wire import CONTENT_DIGEST, OCI_SUBJECT, routes
from ...grammars.wire.conditions import etag
from ...grammars.wire.errors import Code, refusal
from ...words.digest import Digest
from ...words.errors import DigestMismatch, NotFound
from ...words.oci import MAX_DOCUMENT
from .answers import answer, has_already
from .bodies import Body
from .documents import read

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ...grammars.wire.routes import Route
    from ...stores.catalog import Stored
    from .state import RegistryState

_CACHED = 32 << 20
_CACHED_EACH = 256 << 10


class Manifests:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state
        self._cache: OrderedDict[Digest, bytes] = OrderedDict()
        self._cached = 0

    async def get(self, request: Request, route: Route) -> Response:
        """Answer GET and HEAD of a manifest."""
        stored = self._find(route)
        headers = {CONTENT_DIGEST: str(stored.digest), "ETag": etag(stored.digest)}
        if has_already(request, stored.digest):
            return answer(304, headers)
        data = await self._data(stored.digest)
        headers["Content-Length"] = str(stored.size)
        return answer(200, headers, b"" if request.method == "HEAD" else data, stored.media_type)

    def _find(self, route: Route) -> Stored:
        """A reference outside its grammar names nothing: 404, as for one that is not there."""
        stored = self._state.catalog.manifest(route.name, route.reference)
        if stored is None:
            if not self._state.catalog.exists(route.name):
                raise refusal(Code.NAME_UNKNOWN, f"no repository {route.name}")
            raise refusal(Code.MANIFEST_UNKNOWN, f"no manifest {route.reference[:150]} in {route.name}")
        return stored

    async def _data(self, digest: Digest) -> bytes:
        """The document, from memory when it was read before: content under a digest never changes."""
        data = self._cache.get(digest)
        if data is not None:
            self._cache.move_to_end(digest)
            return data
        try:
            data = await self._state.work.run(self._state.blobs.read, digest)
        except (NotFound, DigestMismatch):
            raise refusal(Code.MANIFEST_UNKNOWN, f"manifest {digest} is damaged: push it again") from None
        if len(data) <= _CACHED_EACH and digest not in self._cache:
            self._cache[digest] = data
            self._cached += len(data)
        while self._cached > _CACHED:
            self._cached -= len(self._cache.popitem(last=False)[1])
        return data

    async def put(self, request: Request, route: Route) -> Response:
        """Take a manifest: 201, or nothing has changed."""
        tag = "" if route.by_digest else route.tag
        expected = route.digest if route.by_digest else None
        data = await Body.of(request).read(MAX_DOCUMENT)
        digest, subject = await self._state.work.run(
            self._put, route.name, tag, expected, data, request.headers.get("content-type", "")
        )
        headers = {"Location": routes.manifest(route.name, digest), CONTENT_DIGEST: str(digest)}
        return answer(201, headers | ({OCI_SUBJECT: subject} if subject else {}))

    def _put(
        self, name: str, tag: str, expected: Digest | None, data: bytes, content_type: str
    ) -> tuple[Digest, str]:
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            raise refusal(Code.DIGEST_INVALID, f"manifest has digest {digest}, not {expected}")
        document = read(data, content_type)
        if digest in (part.digest for part in document.parts):
            raise refusal(Code.MANIFEST_INVALID, "manifest contains itself")
        with self._state.catalog.pinned(digest):
            self._state.catalog.check_parts(name, document)
            self._store(digest, data)
            self._state.catalog.put_manifest(name, digest, document, tag)
        return digest, document.subject

    def _store(self, digest: Digest, data: bytes) -> None:
        """On disk when this returns, and whole, whatever was there: it may exist nowhere else."""
        try:
            self._state.blobs.read(digest)
        except (NotFound, DigestMismatch):
            with self._state.blobs.ingest() as ingest:
                ingest.write(data)
                ingest.commit(digest)

    async def delete(self, request: Request, route: Route) -> Response:
        """DELETE of a tag leaves the manifest; of a digest, takes its tags too."""
        catalog = self._state.catalog
        if route.by_digest:
            found = await self._state.work.run(catalog.delete_manifest, route.name, route.digest)
        else:
            found = await self._state.work.run(catalog.delete_tag, route.name, route.reference)
        if not found:
            self._find(route)
            raise refusal(Code.MANIFEST_UNKNOWN)
        return answer(202)
