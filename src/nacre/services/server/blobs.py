"""Blobs: GET, HEAD with ranges and DELETE, and the uploads that bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...grammars.wire import CONTENT_DIGEST, OCI_CHUNK_MIN_LENGTH, OCTETS, UPLOAD_UUID, routes
from ...grammars.wire.conditions import etag
from ...grammars.wire.errors import Code, refusal
from ...grammars.wire.ranges import format_content_range, format_received, parse_chunk, parse_range
from ...grammars.wire.routes import parse_digest
from ...grammars.wire.uploads import Event, check_chunk
from ...stores.catalog import QuotaExceeded, Upload
from ...stores.storage.local import LocalStorage
from ...words.digest import ALGORITHMS
from ...words.errors import DigestMismatch, NotFound, RegistryError, StoreError
from .access import author_of, may_read, owner_of
from .answers import FileResponse, ObjectResponse, Ready, answer, conditions_of, failure, is_plain, named
from .bodies import Body
from .cache import EACH

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ...grammars.wire.ranges import Span
    from ...grammars.wire.routes import Route
    from ...stores.catalog import Quota
    from ...stores.storage import Located
    from ...words.digest import Digest
    from .sessions import UploadSession
    from .state import RegistryState

_OCTETS = ((b"content-type", OCTETS.encode()), (b"accept-ranges", b"bytes"))


class Blobs:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state

    async def get(self, request: Request, route: Route) -> Response:
        """GET and HEAD, whole (200) or one range (206)."""
        digest = route.digest
        found = await self._locate(route.name, digest)
        size = found.size
        head = request.method == "HEAD"
        if (head or size <= EACH) and is_plain(request):
            return whole_blob(digest, size, b"" if head else await self._small(digest))
        headers = {"Content-Type": OCTETS, CONTENT_DIGEST: str(digest), "ETag": etag(digest)}
        headers["Accept-Ranges"] = "bytes"
        conditions = conditions_of(request)
        conditions.check_match(digest)
        if conditions.has_already(digest):
            return answer(304, headers)
        wanted = request.headers.get("range", "")
        if request.headers.get("if-range", headers["ETag"]).strip() != headers["ETag"]:
            wanted = ""
        try:
            span = parse_range(wanted, size) if wanted else None
        except RegistryError as error:
            response = failure(error)
            response.headers["Content-Range"] = format_content_range(None, size)
            return response
        return await self._send(request, found, span, headers)

    async def _send(
        self, request: Request, found: Located, span: Span | None, headers: dict[str, str]
    ) -> Response:
        if found.path or request.method == "HEAD":
            return FileResponse(found.path, found.size, span, headers, self._state.work)
        if link := await self._state.transfers.run(self._state.storage.link, found):
            return answer(307, {"Location": link, CONTENT_DIGEST: str(found.digest)})
        start, length = (span.start, span.length) if span else (0, found.size)
        try:
            reader = await self._state.transfers.run(self._state.storage.open, found, start, length)
        except NotFound:
            raise _damaged(found.digest) from None
        return ObjectResponse(reader, found.size, span, headers, self._state.transfers)

    async def _small(self, digest: Digest) -> bytes:
        try:
            return await self._state.cache.read(digest)
        except (NotFound, DigestMismatch):
            raise _damaged(digest) from None

    async def _locate(self, name: str, digest: Digest) -> Located:
        """The content of a blob that is visible in this repository.

        A row whose content is missing or cut short counts as absent, so that a client which asks before it
        pushes mends the registry by pushing again.
        """
        size = await self._state.work.ask(self._state.catalog.blob, name, digest)
        if size is None or not self._state.mentions.tell(name, digest):
            raise no_blob(name, digest)
        storage = self._state.storage
        found = await self._state.work.ask(storage.locate, digest, size)
        if found is None and isinstance(storage, LocalStorage):
            found = await self._mended(storage, name, digest, size)
        if found is None:
            raise _damaged(digest)
        return found

    async def _mended(self, storage: LocalStorage, name: str, digest: Digest, size: int) -> Located | None:
        """The size is that of the catalog, not of the file: one of them is wrong. What is left of a file, or
        of its row, goes; where the file is whole its size is written down again.
        """
        run = self._state.work.run
        whole = await run(storage.whole_size, digest)
        if whole is None:
            await run(storage.reject, digest)
            return None
        await run(self._state.catalog.mend_blob, name, digest, whole)
        self._state.note(f"the row of blobs {name} {digest} had the size {size}, not {whole}: it was mended")
        return storage.locate(digest, whole)

    async def delete(self, request: Request, route: Route) -> Response:
        """Take the blob out of this repository; the content goes with the last repository that has it."""
        state = self._state
        delete, digest = state.catalog.delete_blob, route.digest
        author = author_of(request)
        if not await state.work.run(state.store.freeing, delete, route.name, digest, author):
            raise refusal(Code.BLOB_UNKNOWN, f"no blob {route.digest} in {route.name}")
        return answer(202)

    # ── uploads ──

    async def start(self, request: Request, route: Route) -> Response:
        """POST: mount from another repository (201), take a whole blob (201), or open a session (202)."""
        query = request.query_params
        if mounted := await self._mount(request, route.name):
            return mounted
        whole = parse_digest(query["digest"]) if "digest" in query else None
        algorithm = whole.algorithm if whole else _algorithm(query.get("digest-algorithm", "sha256"))
        self._state.store.check_room()
        upload = Upload(route.name, owner_of(request), algorithm)
        session = await self._state.sessions.begin(upload)
        if whole is None:
            response = _progress(session, 202)
            response.headers[OCI_CHUNK_MIN_LENGTH] = str(self._state.limits.chunk)
            return response
        try:
            await self._append(request, session, Event.PUT)
            await self._state.sessions.commit(session, whole)
        except BaseException:
            await self._drop(session)  # its client was never told the name under which it could go on
            raise
        return _created(route.name, whole)

    async def _mount(self, request: Request, name: str) -> Response | None:
        """A blob is mounted only from a repository that is named, has it and may be read; else an upload
        begins, as if it were not there.
        """
        query = request.query_params
        digest, source = query.get("mount", ""), query.get("from", "")
        if not digest or not routes.is_name(source) or not may_read(request, source):
            return None
        wanted = parse_digest(digest)
        try:
            await self._locate(source, wanted)
        except RegistryError:
            return None
        if await self._state.work.run(self._state.catalog.mount, name, wanted, source, author_of(request)):
            return _created(name, wanted)
        return None

    async def status(self, request: Request, route: Route) -> Response:
        """GET: how much is there."""
        return _progress(await self._state.sessions.find(route.name, route.reference), 204)

    async def patch(self, request: Request, route: Route) -> Response:
        """PATCH: one chunk, or all of it as a stream."""
        session = await self._state.sessions.find(route.name, route.reference)
        await self._append(request, session, Event.PATCH)
        await self._state.sessions.rest(session, Event.REST)
        return _progress(session, 202)

    async def finish(self, request: Request, route: Route) -> Response:
        """PUT ?digest=: perhaps the last chunk, then verify."""
        session = await self._state.sessions.find(route.name, route.reference)
        digest = parse_digest(request.query_params.get("digest", ""))
        if session.writer is None and not session.received:
            session.algorithm = digest.algorithm
        await self._append(request, session, Event.PUT)
        await self._state.sessions.commit(session, digest)
        return _created(route.name, digest)

    async def cancel(self, request: Request, route: Route) -> Response:
        """DELETE: forget the upload."""
        await self._state.sessions.cancel(await self._state.sessions.find(route.name, route.reference))
        return answer(204)

    async def _append(self, request: Request, session: UploadSession, event: Event) -> None:
        """Take the body into the session. It is left in the state after `event`; on failure, at rest.

        A full disk ends the upload and gives its room back.
        """
        session.on(event)
        try:
            await self._state.sessions.open(session)
            await self._take(Body.of(request), request, session)
        except BaseException as error:
            await self._state.sessions.rest(session, Event.REST if event is Event.PATCH else Event.BREAK)
            if isinstance(error, StoreError):
                await self._drop(session)
            raise

    async def _take(self, body: Body, request: Request, session: UploadSession) -> None:
        text = request.headers.get("content-range")
        span = parse_chunk(text) if text is not None else None
        length = check_chunk(span, session.received, body.length)
        room = self._state.limits.blob - session.received
        if length is not None and length > room:
            raise refusal(Code.SIZE_INVALID, f"blob is over {self._state.limits.blob} bytes", status=413)
        quota = await self._quota(request, session, 1 if length is None else length)
        free = room if quota is None else min(room, quota.free - session.received)
        try:
            most = free if length is None else length
            count = await body.pour(self._state.transfers.pool, session.write, most)
        except RegistryError as error:
            if quota and free < room and error.code == Code.SIZE_INVALID.name:
                raise QuotaExceeded(quota, session.received + free + 1) from None
            raise
        if length is not None and count != length:
            raise refusal(Code.SIZE_INVALID, f"chunk of {count} bytes claims to be {length} bytes long")

    async def _quota(self, request: Request, session: UploadSession, length: int) -> Quota | None:
        """What the repository has to fit into, if anything. Raises QuotaExceeded (DENIED)."""
        quotas, work = self._state.catalog.quotas, self._state.work
        quota, size = await work.ask(quotas.tightest, session.name), session.received + length
        if quota is None or size <= quota.free:
            return quota
        digest = request.query_params.get("digest", "")
        known = await work.ask(quotas.has, quota.namespace, digest) if digest else False
        if known:
            return None
        quota = await work.run(quotas.recount, quota)
        if size > quota.free:
            raise QuotaExceeded(quota, size)
        return quota

    async def _drop(self, session: UploadSession) -> None:
        """Cancel a session unless it has ended."""
        try:
            await self._state.sessions.cancel(session)
        except RegistryError:
            return


def no_blob(name: str, digest: Digest) -> RegistryError:
    """What says that it is not there."""
    return refusal(Code.BLOB_UNKNOWN, f"no blob {digest} in {name}")


def whole_blob(digest: Digest, size: int, body: bytes) -> Ready:
    """The answer to GET, or with an empty `body` to HEAD."""
    return Ready((*_OCTETS, *named(digest)), size, body)


def _damaged(digest: Digest) -> RegistryError:
    return refusal(Code.BLOB_UNKNOWN, f"blob {digest} is damaged: push it again")


def _algorithm(name: str) -> str:
    if name not in ALGORITHMS:
        known = " or ".join(ALGORITHMS)
        raise refusal(Code.DIGEST_INVALID, f"unsupported digest algorithm {name[:100]!r}: expected {known}")
    return name


def _progress(session: UploadSession, status: int) -> Response:
    headers = {
        "Location": routes.upload(session.name, session.id), "Range": format_received(session.received),
        UPLOAD_UUID: session.id,
    }  # fmt: skip
    return answer(status, headers)


def _created(name: str, digest: Digest) -> Response:
    return answer(201, {"Location": routes.blob(name, digest), CONTENT_DIGEST: str(digest)})
