"""Unfinished uploads: the states of `grammars.wire.uploads` over what the storage keeps of them.

The catalog's row is written before the first byte and removed after the last, so that data without a
session cannot exist, whenever the process is killed. States belong to the event loop and need no lock;
content is written in threads. A writer stays between the requests of its session, because its running
hash cannot be saved: a new one costs reading everything again. Where the storage is shared, another
process may go on with an upload between two requests.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from ...grammars.wire.errors import Code, refusal
from ...grammars.wire.routes import is_upload
from ...grammars.wire.uploads import ENDS, Event, UploadState, after
from ...ground.files import trace
from ...words.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...stores.catalog import Catalog, Upload, UploadLimits
    from ...stores.storage import Storage, UploadWriter
    from ...words.digest import Digest
    from .work import Work

_KEPT_OPEN = 64
_EXPIRY_EVERY = 60.0


class UploadSession:
    """One upload to repository `name`. `received` counts the bytes that are safely here."""

    def __init__(self, upload: str, name: str, received: int, algorithm: str = "sha256") -> None:
        self.id, self.name, self.received, self.algorithm = upload, name, received, algorithm
        self.state = UploadState.OPEN
        self.writer: UploadWriter | None = None
        self.opened: Callable[[], UploadWriter] | None = None
        """What gives the writer, once a request may write."""

    def on(self, event: Event) -> None:
        """Go to the next state, or refuse the request."""
        self.state = after(self.state, event)

    def write(self, data: bytearray) -> None:
        """Take the next bytes (in a thread)."""
        self.begun().write(memoryview(data))
        self.received += len(data)

    def begun(self) -> UploadWriter:
        """The writer, which the first bytes bring about (in a thread)."""
        if self.writer is None:
            assert self.opened is not None
            self.writer = self.opened()
        return self.writer


class UploadSessions:
    """All unfinished uploads of a registry, within `limits`, forgotten after `age` idle seconds."""

    def __init__(
        self, storage: Storage, catalog: Catalog, work: Work, *, limits: UploadLimits, age: float
    ) -> None:
        self._storage, self._catalog, self._work = storage, catalog, work
        self._limits, self._age, self._expired = limits, age, 0.0
        self._live: dict[str, UploadSession] = {}

    async def begin(self, upload: Upload) -> UploadSession:
        """A new upload; an older one may have to give way. Raises RegistryError TOOMANYREQUESTS."""
        await self.expire()
        session = UploadSession(secrets.token_hex(16), upload.repository, 0, upload.algorithm)
        busy = {each.id for each in self._live.values() if each.state is not UploadState.OPEN}
        loser = await self._work.run(self._catalog.begin_upload, session.id, upload, self._limits, busy)
        self._live[session.id] = session
        if loser:
            await self._end_idle(loser)
        return session

    async def _end_idle(self, upload: str) -> None:
        """Its row is gone or goes; if a request began to write to it meanwhile, `rest` will end it."""
        session = self._live.get(upload) or UploadSession(upload, "", 0)
        if session.state is UploadState.OPEN:
            await self.cancel(session)

    async def find(self, name: str, upload: str) -> UploadSession:
        """The upload `upload` of repository `name`. Raises RegistryError BLOB_UPLOAD_UNKNOWN."""
        row = await self._work.ask(self._catalog.upload, upload) if is_upload(upload) else None
        if row is None or row.repository != name:
            raise refusal(Code.BLOB_UPLOAD_UNKNOWN)
        session = self._live.get(upload)
        if session is None or (self._storage.is_shared and session.state is UploadState.OPEN):
            received = await self._work.run(self._storage.received, upload)
            found = UploadSession(upload, name, received, row.algorithm)
            session = self._live.setdefault(upload, found)
            session.received = received if session.state is UploadState.OPEN else session.received
        return session

    async def open(self, session: UploadSession) -> None:
        """Make the session ready for `write`. Its `received` is exact from here on."""
        self._live[session.id] = self._live.pop(session.id, session)
        if session.writer is None:
            session.opened = partial(self._storage.upload, session.id, session.algorithm)
            await self._close_surplus()
            if not session.received and not self._storage.is_shared:
                return  # the thread that takes the first bytes opens it
            await self._work.run(session.begun)
        elif self._storage.is_shared:
            await self._work.run(session.writer.resume)
        assert session.writer is not None
        session.received = session.writer.offset

    async def rest(self, session: UploadSession, event: Event) -> None:
        """A request that wrote is over, well or not; what came is kept. Raises RegistryError, Unavailable."""
        try:
            is_there = await self._work.run(self._rest, session)
        finally:
            session.received = session.writer.offset if session.writer else session.received
            session.on(event)
        if not is_there:
            await self._end_idle(session.id)

    def _rest(self, session: UploadSession) -> bool:
        """Is the upload still there?"""
        if session.writer:
            session.writer.rest()
        received = session.writer.offset if session.writer else session.received
        return self._catalog.touch_upload(session.id, received)

    async def commit(self, session: UploadSession, digest: Digest) -> None:
        """The upload, which is open, is whole: verify it, and make it a blob of its repository.

        Raises RegistryError DIGEST_INVALID or DigestMismatch; then the upload is gone. After Unavailable it
        can be resumed.
        """
        try:
            await self._work.run(self._commit, session, digest)
        except Unavailable:
            await self.rest(session, Event.BREAK)
            raise
        except BaseException:
            session.on(Event.REFUSE)
            await self._forget(session)
            raise
        session.on(Event.COMMIT)
        self._live.pop(session.id, None)

    def _commit(self, session: UploadSession, digest: Digest) -> None:
        writer = session.begun()
        with self._storage.adding(digest):
            placed = writer.commit(digest)
            writer.close()
            session.writer = None  # what comes later begins with what the storage has
            trace("upload:placed")
            try:
                self._catalog.add_blob(session.name, placed, session.id)
            except BaseException:
                self._storage.drop(placed)
                raise
        trace("upload:ended")

    async def cancel(self, session: UploadSession) -> None:
        """Drop the upload and its data. Raises RegistryError while another request writes to it."""
        session.on(Event.CANCEL)
        await self._forget(session)

    async def _forget(self, session: UploadSession) -> None:
        self._live.pop(session.id, None)
        await self._work.run(self._drop, session)

    def _drop(self, session: UploadSession) -> None:
        writer = session.writer or self._storage.upload(session.id)
        writer.abort()
        writer.close()
        self._catalog.end_upload(session.id)

    async def expire(self) -> None:
        """Cancel what nobody used for too long; looks at most once a minute."""
        if self._expired and time.monotonic() - self._expired < _EXPIRY_EVERY:
            return
        self._expired = time.monotonic()
        for upload in await self._work.ask(self._catalog.idle_uploads, self._age):
            await self._end_idle(upload)

    async def _close_surplus(self) -> None:
        idle = [s for s in self._live.values() if s.writer and s.state is UploadState.OPEN]
        for session in idle[:-_KEPT_OPEN]:
            self._live.pop(session.id, None)
            assert session.writer is not None
            await self._work.run(session.writer.close)

    async def close(self) -> None:
        """Let go of every session; all can be resumed by another process."""
        while self._live:
            session = self._live.popitem()[1]
            if session.writer and session.state not in ENDS:
                await self._work.run(session.writer.close)
