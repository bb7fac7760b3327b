"""An upload to a bucket: one object for each request that brought bytes.

A request's bytes go out in parts as they come (a small one in a single request), and when it ends, well or
not, its object is complete and noted in the catalog; so another process can go on. A kill loses what came
since its request began. Most clients send a blob in one request: its object then becomes the blob's. Of
several objects one is made at the end, by reading them, which verifies them once more.

A hash cannot be saved: the process that hashed everything on the way knows the digest; another one reads
the object to learn it.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...ground.files import trace
from ...words.digest import Digest, Verifier
from ...words.errors import DigestMismatch, NacreError, Unavailable
from .bucket import PART, failures
from .protocol import Placed
from .rows import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bucket import Bucket
    from .rows import ObjectRows

MOST = 4000 * PART
"""Bytes of an object of unknown length: a store takes 10,000 parts at most."""


def new_key() -> str:
    """A name that no object ever had."""
    name = secrets.token_hex(16)
    return f"objects/{name[:2]}/{name[2:]}"


class ObjectUpload:
    """The upload `upload` as the catalog knows it, and what is being added."""

    def __init__(self, bucket: Bucket, rows: ObjectRows, upload: str, algorithm: str) -> None:
        self._bucket, self._rows, self._upload = bucket, rows, upload
        self._verifier = Verifier(algorithm=algorithm)
        self._object: NewObject | None = None
        self._parts = rows.parts(upload)

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return self._safe + (self._object.size if self._object else 0)

    @property
    def _safe(self) -> int:
        return sum(part.size for part in self._parts)

    def resume(self) -> None:
        """Learn what other processes added."""
        self._parts = self._rows.parts(self._upload)

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes. After Unavailable those of this request are lost."""
        if self._verifier.count == self.offset:
            self._verifier.update(data)
        if self._object is None:
            self._object = NewObject(self._bucket)
        try:
            self._object.write(data)
        except NacreError:
            self._lose()
            raise
        if self._object.size >= MOST:
            self.rest()

    def _lose(self) -> None:
        """What was hashed is not there any more: whoever commits has to read."""
        self._object = None
        self._verifier = Verifier(algorithm=self._verifier.verify().algorithm)

    def rest(self) -> None:
        """Complete the object of this request and note it. Raises RegistryError, Unavailable."""
        if part := self._complete():
            trace("upload:object")
            try:
                self._rows.add_part(self._upload, part)
            except NacreError:
                self._lose()
                self._rows.discard([part.key])
                raise
            trace("upload:noted")
            self._parts.append(part)

    def _complete(self) -> Part | None:
        if self._object is None:
            return None
        made, self._object = self._object, None
        try:
            return made.complete(self._safe)
        except NacreError:
            self._lose()
            raise

    def commit(self, digest: Digest) -> Placed:
        """Verify it, as one object. Raises DigestMismatch, RegistryError BLOB_UPLOAD_UNKNOWN, Unavailable."""
        last = self._complete()
        trace("upload:object")
        parts = [*self._parts, last] if last else self._parts
        size = sum(part.size for part in parts)
        verified = self._passed(digest, size)
        whole = parts[0] if len(parts) == 1 else None
        try:
            if whole is None or verified is None:
                whole, verified = self._read(parts, digest.algorithm, size, whole)
            if verified != digest:
                self._rows.check_open(self._upload)  # another process may just have ended it
                raise DigestMismatch(digest, verified)
        except NacreError:
            self._lose()
            self._rows.discard([part.key for part in (last, whole) if part and part not in self._parts])
            raise
        if last and last is not whole:
            self._rows.discard([last.key])
        trace("upload:whole")
        return Placed(digest, size, whole.key, whole.tag)

    def _passed(self, digest: Digest, size: int) -> Digest | None:
        """The digest of what passed, if all of it did."""
        passed = self._verifier.verify()
        return passed if self._verifier.count == size and passed.algorithm == digest.algorithm else None

    def _read(self, parts: list[Part], algorithm: str, size: int, whole: Part | None) -> tuple[Part, Digest]:
        """One object of them all, which may be there, and its digest."""
        verifier, made = Verifier(size=size, algorithm=algorithm), NewObject(self._bucket, size)
        for part in parts:
            for piece in self._pieces(part):
                verifier.update(piece)
                if whole is None:
                    made.write(piece)
        return whole or made.complete(0), verifier.verify()

    def _pieces(self, part: Part) -> Iterator[bytes]:
        with failures(part.key):
            found, pieces = self._bucket.stream(part.key, 0, part.size, part.tag)
            if found != part.size:
                raise Unavailable(f"object storage: {part.key} has {found} bytes, not {part.size}")
            yield from pieces

    def abort(self) -> None:
        """Drop what this request brought; the catalog lets go of the rest."""
        with suppress(Unavailable):  # a listing will find it
            if part := self._complete():
                self._rows.discard([part.key])

    def close(self) -> None:
        """Nothing is open between two requests."""
        self._object = None


class NewObject:
    """An object that is being written, of about `size` bytes. It is there when `complete` returns."""

    def __init__(self, bucket: Bucket, size: int = 0) -> None:
        self._bucket, self._expected, self.size, self.key = bucket, size, 0, new_key()
        self._held = bytearray()
        self._file: Any = None

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; a large object goes out on the way."""
        self.size += len(data)
        if self._file is None and self.size < PART:
            self._held += data
        else:
            self._send(data)

    def _send(self, data: bytes | memoryview) -> None:
        if self._file is None:
            self._file = self._bucket.writer(self.key, self._expected)
            with failures(self.key):
                self._file.write(bytes(self._held))
            self._held.clear()
        with failures(self.key):
            self._file.write(bytes(data))

    def complete(self, start: int) -> Part:
        """The whole, as the part of an upload that begins at `start`. Raises Unavailable."""
        if self._file is None:
            return Part(start, self.size, self.key, self._bucket.put(self.key, self._held))
        with failures(self.key):
            self._file.close()
        size, tag = self._bucket.state(self.key)
        if size != self.size:
            raise Unavailable(f"object storage: {self.key} has {size} bytes, not {self.size}")
        return Part(start, size, self.key, tag)
