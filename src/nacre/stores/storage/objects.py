"""Content in a bucket: each digest an object with a random name, which the catalog knows.

    registry.json            whose bucket this is
    objects/<2>/<30 hex>     content, or part of an unfinished upload

What is read is verified as it passes: the last piece is given only when all was right.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...words.digest import Digest, Verifier
from ...words.errors import Conflict, DigestMismatch, NotFound, TooLarge, Unavailable
from ...words.oci import MAX_DOCUMENT
from .bucket import failures
from .protocol import Located, Placed
from .uploads import ObjectUpload, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bucket import Bucket
    from .rows import ObjectRows

MARK = "registry.json"
GRACE = 3600.0
"""Seconds that an object stays which nobody needs any more; URLs of it may hold as long."""
_ORPHAN = 24 * 3600.0
"""Seconds of age from which an object that nothing names is noted; and between two listings of a bucket."""
_AT_ONCE = 200
_TRIES = 3


class ObjectStorage:
    """Content in `bucket`, as `rows` say. Any number of processes may use it. `close` it.

    `redirect`: clients may be sent to the bucket. Raises Conflict when it is another registry's.
    """

    is_shared = True

    def __init__(self, bucket: Bucket, rows: ObjectRows, *, redirect: bool = False) -> None:
        self._bucket, self._rows, self._redirect = bucket, rows, redirect
        _claim(bucket, rows)

    def locate(self, digest: Digest, size: int) -> Located | None:
        """The object, as the catalog knows it."""
        found = self._rows.content(digest)
        if found is None or found[1] != size:
            return None
        return Located(digest, size, key=found[0], tag=found[2])

    def read(self, digest: Digest) -> bytes:
        """Small content, verified. Raises NotFound, TooLarge, DigestMismatch."""
        found = self._rows.content(digest)
        if found is None:
            raise NotFound(f"the registry does not hold {digest}")
        if found[1] > MAX_DOCUMENT:
            raise TooLarge(f"{digest} is over {MAX_DOCUMENT} bytes")
        with self._judged(digest, found[0]):
            data = self._bucket.get(found[0])
            actual = Digest.of(data, digest.algorithm)
            if actual != digest:
                raise DigestMismatch(digest, actual, what="an object of the bucket")
        return data

    @contextmanager
    def _judged(self, digest: Digest, key: str) -> Iterator[None]:
        """What is damaged counts as absent; but not where the whole bucket seems to be."""
        try:
            yield
        except (NotFound, DigestMismatch):
            self._reject(digest, key)
            raise

    def open(self, found: Located, start: int, length: int) -> ObjectReader:
        """A span of it. Raises NotFound when it is gone or another."""
        with self._judged(found.digest, found.key):
            return ObjectReader(self._bucket, found, start, length)

    def link(self, found: Located) -> str:
        """A URL of the object, "" unless clients may go there."""
        return self._bucket.link(found.key) if self._redirect else ""

    def add(self, data: bytes, digest: Digest) -> Placed:
        """One request; always to a new object."""
        key = new_key()
        return Placed(digest, len(data), key, self._bucket.put(key, data))

    def upload(self, upload: str, algorithm: str = "sha256") -> ObjectUpload:
        """Go on where the catalog says that it is."""
        return ObjectUpload(self._bucket, self._rows, upload, algorithm)

    def received(self, upload: str) -> int:
        """Bytes in the objects of an upload."""
        return sum(part.size for part in self._rows.parts(upload))

    @contextmanager
    def adding(self, digest: Digest) -> Iterator[None]:
        """Nobody can remove an object that nobody knows."""
        yield

    def drop(self, placed: Placed) -> None:
        """Nobody knows its object."""
        self._rows.discard([placed.key])

    def reject(self, digest: Digest, key: str = "") -> None:
        """Mark its object as damaged. Raises Unavailable when the bucket itself is not there."""
        found = self._rows.content(digest)
        if found and key in ("", found[0]):
            self._reject(digest, found[0])

    def problem(self, found: Located) -> str:
        """What the bucket says of the object without reading it, "" for nothing. Raises Unavailable."""
        try:
            size, tag = self._bucket.state(found.key)
        except NotFound:
            return "is missing"
        if size != found.size:
            return f"has {size} of {found.size} bytes"
        return "was changed in the bucket" if found.tag not in ("", tag) else ""

    def _reject(self, digest: Digest, key: str) -> None:
        try:
            self._bucket.get(MARK)
        except NotFound:
            raise Unavailable(f"object storage: {self._bucket.url} has lost {MARK}") from None
        self._rows.reject(digest, key)

    def check(self) -> None:
        """One request: is the bucket there, may we read it, and is it ours? Raises Conflict."""
        if _mark(self._bucket) != self._rows.bucket():
            raise Conflict(f"{self._bucket.url} is not the storage of this registry")

    def tidy(self) -> Iterator[None]:
        """Remove what nobody needs; once a day list the bucket for what nothing names."""
        while due := self._rows.due(GRACE, _AT_ONCE):
            gone = self._rows.unnamed(due)
            if gone:
                self._bucket.remove(gone)
            self._rows.forget(due)
            yield
        if self._rows.may_list(_ORPHAN):
            yield from self._note_orphans()

    def _note_orphans(self) -> Iterator[None]:
        for number in range(256):
            for found in self._bucket.names(f"objects/{number:02x}"):
                old = [key for key, changed in found if changed < time.time() - _ORPHAN]
                orphans = self._rows.unnamed(old) if old else []
                if orphans:
                    self._rows.note(orphans)
                yield

    def close(self) -> None:
        """Nothing of a bucket stays open."""


def _claim(bucket: Bucket, rows: ObjectRows) -> None:
    """Make sure that the bucket is this registry's: a stranger's content would count as litter."""
    known, mark = rows.bucket(), _mark(bucket)
    if not known and not mark:
        name = secrets.token_hex(16)
        rows.take_bucket(name)  # first: a kill in between is mended below
        known = name
    if known and not mark:
        bucket.create(MARK, json.dumps({"registry": known}).encode())
        mark = _mark(bucket)
    if not mark or known != mark:
        hint = "each registry needs a bucket, or a prefix in one, of its own"
        raise Conflict(f"{bucket.url} is not the storage of this registry", hint=hint)


def _mark(bucket: Bucket) -> str:
    try:
        found = json.loads(bucket.get(MARK))["registry"]
    except NotFound:
        return ""
    except (ValueError, LookupError, TypeError):
        raise Conflict(f"{bucket.url}/{MARK} was not written by a registry") from None
    return str(found)


class ObjectReader:
    """A span of an object; a broken connection is made again where it broke."""

    def __init__(self, bucket: Bucket, found: Located, start: int, length: int) -> None:
        self._bucket, self._found = bucket, found
        self._offset, self._left = start, length
        whole = length == found.size
        self._verifier = Verifier(found.digest, found.size, "an object of the bucket") if whole else None
        self._stream = self._begin() if length else iter(())

    def _begin(self) -> Iterator[bytes]:
        found = self._found
        size, stream = self._bucket.stream(found.key, self._offset, self._left, found.tag)
        if size != found.size:
            raise NotFound(f"the object {found.key} has {size} bytes, not {found.size}")
        return stream

    def read(self) -> bytes:
        """The next piece, b"" at the end. Raises NotFound, DigestMismatch, Unavailable."""
        if not self._left:
            return b""
        piece = self._next()
        self._offset, self._left = self._offset + len(piece), self._left - len(piece)
        if self._verifier:
            self._verifier.update(piece)
        if self._verifier and not self._left:
            self._verifier.verify()
        return piece

    def _next(self) -> bytes:
        for left in reversed(range(_TRIES)):
            try:
                with failures(self._found.key):
                    piece = next(self._stream, b"")
                if piece and len(piece) <= self._left:
                    return piece
                raise Unavailable(f"object storage: {self._found.key} ended too early, or too late")
            except Unavailable:
                if not left:
                    raise
            self._stream = self._begin()
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let go of the connection."""
        self._stream, self._left = iter(()), 0
