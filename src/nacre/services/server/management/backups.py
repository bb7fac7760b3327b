"""What a backup is made of: the names of a registry at one moment, and its content by digest.

A client that has names fetches what they name and it lacks. What was collected meanwhile is 404, so it takes
the names once more; what should be there and is not is 409, and will not come by asking again.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

from ....grammars.management.operations import OCTETS, SQLITE
from ....grammars.wire import CONTENT_DIGEST
from ....grammars.wire.conditions import etag
from ....grammars.wire.ranges import parse_range
from ....ground.files import os_errors
from ....stores.catalog.contents import size_of
from ....stores.namecopy import remove_names, temporary_names
from ....words.digest import Digest
from ....words.errors import Conflict, NotFound, RegistryError, UsageError
from ..answers import FileResponse, ObjectResponse, answer

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from ....grammars.wire.ranges import Span
    from ....stores.storage import Located
    from ..state import RegistryState
    from ..work import Work
    from .call import Handler, ManagementCall

_PIECE = 1 << 20


class BackupCalls:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state, self._busy = state, False
        self.handlers: dict[str, Handler] = {"getBackupNames": self.names, "getBackupContent": self.content}

    async def names(self, call: ManagementCall) -> object:
        """Its names as a SQLite file, made for this request, which the audit log tells. Raises Conflict while
        another one is made.
        """
        if call.request.method == "HEAD":
            return answer(200, None, b"", SQLITE)
        if self._busy:
            raise Conflict("the names of this registry are just being copied for another backup")
        self._busy = True
        try:
            await self._state.administer(call.user, lambda a: a.note("backup", call.author.client))
            path, size, checksum = await self._state.transfers.run(self._take_names)
        finally:
            self._busy = False
        headers = {"Content-Type": SQLITE, "Repr-Digest": f"sha-256=:{checksum}:"}
        return _TemporaryFile(path, size, headers, self._state.work)

    def _take_names(self) -> tuple[str, int, str]:
        """Path, size, and SHA-256 as RFC 9530 has it. What a full disk has left is for deleting."""
        store = self._state.store
        store.check_room()
        path = temporary_names(store.root, store.place)
        try:
            return (path, *_summed(path))
        except BaseException:
            remove_names(path)
            raise

    async def content(self, call: ManagementCall) -> object:
        """Content that is named anywhere, or can be restored. Raises NotFound, Conflict."""
        digest, state = Digest(call.parameters["digest"]), self._state
        size = await state.work.run(size_of, state.catalog, digest)
        if size is None:
            raise NotFound(f"the registry does not hold {digest}")
        found = await state.work.run(state.storage.locate, digest, size)
        if found is None:
            raise Conflict("is missing or damaged")
        headers = {"Content-Type": OCTETS, CONTENT_DIGEST: str(digest), "ETag": etag(digest)}
        headers["Accept-Ranges"] = "bytes"
        return await self._send(call, found, headers)

    async def _send(self, call: ManagementCall, found: Located, headers: dict[str, str]) -> Response:
        state, span = self._state, _span(call, found.size)
        if found.path or call.request.method == "HEAD":
            return FileResponse(found.path, found.size, span, headers, state.work)
        start, length = (span.start, span.length) if span else (0, found.size)
        try:
            reader = await state.transfers.run(state.storage.open, found, start, length)
        except NotFound:
            raise Conflict("is missing or damaged") from None
        return ObjectResponse(reader, found.size, span, headers, state.transfers)


def _span(call: ManagementCall, size: int) -> Span | None:
    """What is wanted of it, None for all. Raises UsageError."""
    wanted = call.request.headers.get("range", "")
    try:
        return parse_range(wanted, size) if wanted and call.request.method == "GET" else None
    except RegistryError as error:
        raise UsageError(error.message) from None


class _TemporaryFile(FileResponse):
    """A file that goes when it was sent: so it is read here, whatever the server could do by itself."""

    def __init__(self, path: str, size: int, headers: dict[str, str], work: Work) -> None:
        super().__init__(path, size, None, headers, work)
        self._file, self._threads = path, work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        try:
            await self._stream(self._head(), receive, send)
        finally:
            await self._threads.run(remove_names, self._file)


def _summed(path: str) -> tuple[int, str]:
    hashing, size = hashlib.sha256(), 0
    with os_errors(f"read {path}"), open(path, "rb", buffering=0) as file:
        while data := file.read(_PIECE):
            hashing.update(data)
            size += len(data)
    return size, b64encode(hashing.digest()).decode()
