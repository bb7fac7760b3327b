"""A blob while it is written: where it lies is drawn in `blobs.py`."""

from __future__ import annotations

import os

from ..ground.files import Lock, os_errors, private_dir, trace, unlink, write_all
from ..words.digest import Digest, Verifier
from ..words.errors import DigestMismatch, NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from .blobs import BlobStore

_CHUNK = 1 << 20


class Ingest:
    """Content being written. `with` it: leaving without `commit` keeps the data when it can be resumed.

    `exists`: somebody else completed it while this one waited; write nothing, `commit` is free.
    `offset`: bytes that are here already; go on writing from there.
    `resumed`: offset came from an earlier try; if commit raises DigestMismatch, try again from 0.
    One thread at a time; the descriptor and the lock are let go by `commit`, `abort` or `close`.
    """

    def __init__(
        self, store: BlobStore, name: str, lock: Lock, expected: Digest | None, size: int | None,
        algorithm: str = "sha256",
    ) -> None:  # fmt: skip
        """`BlobStore.ingest` makes these, with the lock held."""
        self._store, self._lock, self.expected, self._size = store, lock, expected, size
        self._algorithm = algorithm
        self._folder = f"{store.root}/ingest/{name}"
        self._keeps = not name.startswith("new-")
        self._fd = -1
        self.resumed, self._passed = False, 0
        self.exists = expected is not None and store.has(expected)
        if self.exists:
            self.abort()
        else:
            self._open()

    @property
    def offset(self) -> int:
        """Bytes that are here so far."""
        return self._verifier.count if not self.exists else self._store.size(self.expected)  # type: ignore[arg-type]

    def _open(self) -> None:
        private_dir(self._folder)
        path = f"{self._folder}/data"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        kept = os.fstat(self._fd).st_size
        if self._size is not None and kept > self._size:
            os.ftruncate(self._fd, 0)
        self._restart()
        while data := os.read(self._fd, _CHUNK):
            self._verifier.update(data)
        self.resumed = self._verifier.count > 0
        trace("ingest:begun")

    def _restart(self) -> None:
        what = f"blob {self.expected}" if self.expected else "content"
        self._verifier = Verifier(self.expected, self._size, what, self._algorithm)
        self._passed = 0

    def restart(self) -> None:
        """Drop what was written and begin again at 0. Raises StoreError."""
        with os_errors("write a blob"):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._restart()
        self.resumed = False

    def write(self, data: bytes | memoryview) -> int:
        """Take the next bytes. Raises TooLarge at the first byte over `size`, StoreError.

        After either the data is dropped: a full disk gets its room back.
        """
        try:
            self._verifier.update(data)
            with os_errors(f"write {self._verifier.what}"):
                write_all(self._fd, data)
        except NacreError:
            self.abort()
            raise
        return len(data)

    def pass_by(self, data: bytes | memoryview) -> None:
        """Take the next bytes without writing them: until `catch_up` they are verified only. As `write`."""
        try:
            self._verifier.update(data)
        except NacreError:
            self.abort()
            raise
        self._passed += len(data)

    def catch_up(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Write all that passed by, from the first byte on. Raises StoreError."""
        with os_errors(f"write {self._verifier.what}"):
            for piece in pieces:
                self._passed -= len(piece)
                write_all(self._fd, piece)

    @property
    def is_written(self) -> bool:
        """Can it be committed: is all of it in the file?"""
        return not self._passed

    def commit(self, expected: Digest | None = None) -> Digest:
        """Verify digest and size, make the content visible. On a mismatch the data is dropped.

        `expected` for an upload whose digest came last. Raises DigestMismatch, StoreError.
        """
        if self.exists and self.expected:
            self.close()
            return self.expected
        try:
            digest = self._checked(expected)
            with os_errors(f"write blob {digest}"):
                self._finish(digest)
        except NacreError:
            self.abort()
            raise
        self.abort()
        return digest

    def _checked(self, expected: Digest | None) -> Digest:
        assert self.is_written
        if expected is not None and expected.algorithm != self._verifier.verify().algorithm:
            self._rehash(expected)
        digest = self._verifier.verify()
        if expected is not None and expected != digest:
            raise DigestMismatch(expected, digest)
        return digest

    def _rehash(self, expected: Digest) -> None:
        """The digest that came last is of another algorithm than the one computed on the way."""
        self._verifier = Verifier(expected, self._size)
        os.lseek(self._fd, 0, os.SEEK_SET)
        while data := os.read(self._fd, _CHUNK):
            self._verifier.update(data)

    def _finish(self, digest: Digest) -> None:
        count = self._verifier.count
        if self.expected is None and self._store.has(digest) and self._store.size(digest) == count:
            return
        sync = self.expected is None
        os.fchmod(self._fd, 0o400)
        if sync:
            os.fsync(self._fd)
        trace("ingest:complete")
        self._store._publish(f"{self._folder}/data", digest, count, sync)

    def verify(self) -> Digest:
        """As `commit`, but nothing becomes visible; `drop` or `commit` comes later. Raises DigestMismatch."""
        if self.exists and self.expected:
            return self.expected
        try:
            return self._verifier.verify()
        except NacreError:
            self.abort()
            raise

    def drop(self) -> tuple[Digest, int]:
        """Digest and size of content that was written only to learn them; its file goes."""
        found = self.verify(), self.offset
        self.abort()
        return found

    def abort(self) -> None:
        """Drop the data. Idempotent."""
        if self._lock.fd >= 0:
            _remove_folder(self._folder)
            self._close_data()
            self._lock.release(remove=True)

    def close(self) -> None:
        """Let go; data of a known digest or key stays for resumption, if it was written. Idempotent."""
        if not self._keeps or (self._fd >= 0 and (self._passed or not self._verifier.count)):
            self.abort()
        self._close_data()
        self._lock.release()

    def _close_data(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _remove_folder(folder: str) -> None:
    unlink(f"{folder}/data")
    if os.path.isdir(folder):
        os.rmdir(folder)
