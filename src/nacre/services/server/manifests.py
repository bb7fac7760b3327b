"""Manifests: GET, HEAD, PUT and DELETE by tag and by digest.

What a PUT demands: at most 4 MiB, a known media type that agrees with the document, the digest of the
path if there is one, and every part in the same repository with the size that the manifest gives:
config and layers as blobs, the children of an index as manifests or blobs (docker's registry demands
the same; the spec lets a registry choose). Layers that by their type are distributed elsewhere, and the
subject, may be absent. So whatever was accepted can be pulled, and DELETE keeps it so: a part that is
still needed is not deleted. By a rule of the operator (`sparse`) parts may be absent; the client is told.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ...grammars.wire import CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, WARNING, routes
from ...grammars.wire.conditions import etag
from ...grammars.wire.errors import Code, refusal
from ...grammars.wire.routes import is_tag
from ...grammars.wire.warning import format_warning
from ...stores.catalog import WriteConditions
from ...stores.catalog.values import damaged
from ...words.digest import Digest
from ...words.errors import DigestMismatch, NotFound
from ...words.oci import INDEX_TYPES, MAX_DOCUMENT, Index, Platform, parse_document
from .access import author_of, immutable_of
from .answers import Ready, answer, conditions_of, is_plain, named
from .bodies import Body
from .documents import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ...grammars.wire.routes import Route
    from ...stores.activity import Author
    from ...stores.catalog import Document, Stored
    from .state import RegistryState

_USUAL = Platform("linux", "amd64")


class _Pushed(NamedTuple):
    """A document that came in a PUT."""

    digest: Digest
    document: Document


class Manifests:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state

    async def get(self, request: Request, route: Route) -> Response:
        """Answer GET and HEAD of a manifest."""
        stored = await self._find(route)
        if not is_taken(stored, route, _accept(request)):
            stored = await self._image(route.name, stored, request)
        if self._state.journal.wants_pulls and request.method == "GET":
            self._state.journal.pull(author_of(request), route.name, route.reference, stored.digest)
        if is_plain(request):
            data = await self._data(route.name, stored)
            return whole_manifest(stored, b"" if request.method == "HEAD" else data)
        headers = {CONTENT_DIGEST: str(stored.digest), "ETag": etag(stored.digest)}
        conditions = conditions_of(request)
        conditions.check_match(stored.digest)
        if conditions.has_already(stored.digest):
            return answer(304, headers)
        data = await self._data(route.name, stored)
        headers["Content-Length"] = str(stored.size)
        return answer(200, headers, b"" if request.method == "HEAD" else data, stored.media_type)

    async def _find(self, route: Route) -> Stored:
        """A reference outside its grammar names nothing: 404, as for one that is not there."""
        catalog, ask = self._state.catalog, self._state.work.ask
        stored = await ask(catalog.manifest, route.name, route.reference)
        if stored is None and not await ask(catalog.exists, route.name):
            raise refusal(Code.NAME_UNKNOWN, f"no repository {route.name}")
        if stored is None or not self._state.mentions.tell(route.name, stored.digest):
            raise refusal(Code.MANIFEST_UNKNOWN, f"no manifest {route.reference[:150]} in {route.name}")
        return stored

    async def _image(self, name: str, stored: Stored, request: Request) -> Stored:
        """The image for linux/amd64, for a client that knows no index (docker's registry does the same)."""
        data = await self._data(name, stored)
        document = await self._state.work.run(parse_document, data, stored.media_type)
        for entry in document.manifests if isinstance(document, Index) else ():
            if entry.platform == _USUAL and entry.media_type in _accepted(_accept(request)):
                return await self._state.work.ask(self._state.catalog.manifest, name, entry.digest) or stored
        return stored

    async def _data(self, name: str, stored: Stored) -> bytes:
        try:
            data = await self._state.cache.read(stored.digest)
        except (NotFound, DigestMismatch):
            text = f"manifest {stored.digest} is damaged: push it again"
            raise refusal(Code.MANIFEST_UNKNOWN, text) from None
        if len(data) != stored.size:
            raise damaged("manifests", f"{name} {stored.digest}", "size", stored.size)
        return data

    async def put(self, request: Request, route: Route) -> Response:
        """Take a manifest: 201, or nothing has changed."""
        tags = _tags(request, route)
        expected = route.digest if route.by_digest else None
        data = await Body.of(request).read(MAX_DOCUMENT)
        given = request.headers.get("content-type", "")
        guard = WriteConditions(
            route.reference, conditions_of(request), immutable_of(request, route.name, tags),
            self._state.rules.sparse,
        )  # fmt: skip
        understood = partial(_understand, data, given, expected)
        push = partial(self._put, route.name, understood, data, tags, guard, author_of(request))
        pushed, absent = await self._state.transfers.run(push)
        headers = {"Location": routes.manifest(route.name, pushed.digest), CONTENT_DIGEST: str(pushed.digest)}
        headers |= {OCI_SUBJECT: pushed.document.subject} if pushed.document.subject else {}
        headers |= {OCI_TAG: ", ".join(tags)} if tags and route.by_digest else {}
        headers |= {WARNING: format_warning(_absence(absent))} if absent else {}
        return answer(201, headers)

    def _put(
        self, name: str, understood: Callable[[], _Pushed], data: bytes, tags: Sequence[str],
        guard: WriteConditions, author: Author,
    ) -> tuple[_Pushed, int]:  # fmt: skip
        """Store it; gives what it is, and the number of its parts that are absent."""
        pushed = digest, document = understood()
        self._state.store.check_room()
        catalog = self._state.catalog
        with self._state.storage.adding(digest):
            catalog.check_parts(name, document, sparse=guard.sparse)
            placed = self._state.storage.add(data, digest)
            try:
                absent = catalog.put_manifest(name, placed, document, tags, guard, author)
                return pushed, absent
            except BaseException:
                self._state.storage.drop(placed)
                raise

    async def delete(self, request: Request, route: Route) -> Response:
        """DELETE of a tag leaves the manifest; of a digest, takes its tags too."""
        catalog, guard = self._state.catalog, WriteConditions(route.reference, conditions_of(request))
        freeing, name, author = self._state.store.freeing, route.name, author_of(request)
        if route.by_digest:
            children = self._state.rules.children
            delete = partial(catalog.delete_manifest, name, route.digest, guard, author, children=children)
        else:
            delete = partial(catalog.delete_tag, name, route.reference, guard, author)
        found = await self._state.work.run(freeing, delete)
        if not found:
            await self._find(route)
            raise refusal(Code.MANIFEST_UNKNOWN)
        return answer(202)


def _understand(data: bytes, content_type: str, expected: Digest | None) -> _Pushed:
    """Raises RegistryError: MANIFEST_INVALID, DIGEST_INVALID."""
    digest = Digest.of(data, expected.algorithm if expected else "sha256")
    if expected is not None and digest != expected:
        raise refusal(Code.DIGEST_INVALID, f"manifest has digest {digest}, not {expected}")
    document = read(data, content_type)
    if digest in (part.digest for part in document.parts):
        raise refusal(Code.MANIFEST_INVALID, "manifest contains itself")
    return _Pushed(digest, document)


def _tags(request: Request, route: Route) -> list[str]:
    """The tags that a PUT sets: that of the path, or with a digest those of `?tag=` (end-7b)."""
    wanted = list(dict.fromkeys(request.query_params.getlist("tag")))
    if not route.by_digest:
        if wanted:
            raise refusal(Code.UNSUPPORTED, "`tag` parameters go with a digest, not with a tag", status=400)
        return [route.tag]
    for tag in wanted:
        if not is_tag(tag):
            raise refusal(Code.TAG_INVALID, f"invalid tag {tag[:150]!r}")
    return wanted


def whole_manifest(stored: Stored, body: bytes) -> Ready:
    """The answer to GET, or with an empty `body` to HEAD."""
    head = ((b"content-type", stored.media_type.encode("latin-1", "replace")), *named(stored.digest))
    return Ready(head, stored.size, body)


def _accept(request: Request) -> list[str]:
    return request.headers.getlist("accept")


def _accepted(lines: list[str]) -> set[str]:
    """The media types of the lines of `Accept`, without their parameters."""
    fields = ",".join(lines).lower().split(",")
    return {field.partition(";")[0].strip() for field in fields} - {""}


def is_taken(stored: Stored, route: Route, lines: list[str]) -> bool:
    """Does a client with these lines of `Accept` take it as it is? By its digest everybody does."""
    if stored.media_type not in INDEX_TYPES or route.by_digest:
        return True
    accepted = _accepted(lines)
    return not accepted or not accepted.isdisjoint((*INDEX_TYPES, "*/*", "application/*"))


def _absence(count: int) -> str:
    return f"{count} of the parts of this manifest are not in this repository"
