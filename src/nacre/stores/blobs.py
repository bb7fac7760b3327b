"""Content by digest: files that are whole and verified the moment they can be seen.

    ROOT/blobs/<algorithm>/<hex>    0400, complete, verified
    ROOT/ingest/<name>/data         being written, guarded by the lock ROOT/ingest/<name>.lock
        <name> = <hex> (known digest), key-<key> (a named upload), new-<random> (neither)
    ROOT/ingest/add-<lease>-<random>    small content, garbage once that lease is over

A file becomes visible by one rename inside the transaction that inserts its row, so the sweep, which
deletes inside a transaction as well, sees both or none. A file without a row, or a row without a file,
is what a kill in between leaves: both count as absent.
"""

from __future__ import annotations

import os
import time

from ..ground.files import (
    Lock,
    os_errors,
    private_dir,
    random_name,
    read_bounded,
    sync_path,
    trace,
    unlink,
    write_all,
)  # fmt: skip
from ..words.digest import Digest, Verifier
from ..words.errors import DigestMismatch, NacreError, NotFound, UsageError
from ..words.oci import MAX_DOCUMENT
from .database import Database, boot_id
from .layout import names
from .leases import LeaseStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, BinaryIO, Self

_CHUNK = 1 << 20
_KEY = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class BlobStore:
    """`ROOT/blobs/<algorithm>/<hex>`; ROOT itself is an OCI image layout. Safe for threads and processes."""

    def __init__(self, root: str, database: Database, leases: LeaseStore) -> None:
        """`Store.open` and `at` make these."""
        self.root, self._database, self.leases = root, database, leases
        self._owner = False

    @classmethod
    def at(cls, root: str) -> Self:
        """A blob store of its own in the folder `root` (for a registry); made if absent. `close` it."""
        from .layout import open_root

        path = os.path.abspath(root)
        database = open_root(path, create=True)
        self = cls(path, database, LeaseStore(f"{path}/leases", database))
        self._owner = True
        return self

    def close(self) -> None:
        """Let go of the leases and close the database that `at` opened. Idempotent."""
        if self._owner:
            self.leases.release_all()
            self._database.close()

    def path(self, digest: Digest) -> str:
        """The file that holds it (or would): never write to it."""
        algorithm, _, encoded = digest.partition(":")
        return f"{self.root}/blobs/{algorithm}/{encoded}"

    def has(self, digest: Digest) -> bool:
        """Is it here, whole? A leased store keeps what it was told is here until the lease ends.

        A file of an earlier boot that was never synced is verified first.
        """
        row = self._database.one("SELECT boot, synced, used FROM blob WHERE digest = ?", (digest,))
        if row is None or not os.path.exists(self.path(digest)):
            return False
        if not row[1] and row[0] != boot_id() and not self._verify(digest):
            return False
        return row[2] >= self.leases.began or self._keep(digest)

    def sizes(self) -> dict[Digest, int]:
        """Every blob that is recorded, with its size in bytes, whether its file is there or not."""
        return {Digest(row[0]): row[1] for row in self._database.execute("SELECT digest, size FROM blob")}

    def is_recorded(self, digest: Digest) -> bool:
        """Whether it has a row, once the change under way is over. Raises StoreError."""
        with self._database.transaction():
            return self._database.one("SELECT 1 FROM blob WHERE digest = ?", (digest,)) is not None

    def unrecorded(self) -> list[str]:
        """`algorithm:name` of each file without a row. Raises StoreError.

        Inside a transaction no file appears whose row comes later.
        """
        sql = "SELECT 1 FROM blob WHERE digest = ?"
        with os_errors(f"list {self.root}/blobs"), self._database.transaction():
            return [digest for digest in self.files() if not self._database.one(sql, (digest,))]

    def files(self) -> Iterator[str]:
        """`algorithm:name` of each file in ROOT/blobs, whatever put it there."""
        folder = f"{self.root}/blobs"
        return (f"{kind}:{name}" for kind in names(folder) for name in names(f"{folder}/{kind}"))

    def unsynced(self) -> list[Digest]:
        """Blobs of an earlier boot that were never synced: nobody knows yet whether they are whole."""
        sql = "SELECT digest FROM blob WHERE synced = 0 AND boot <> ? ORDER BY digest"
        return [Digest(row[0]) for row in self._database.execute(sql, (boot_id(),))]

    def mark_synced(self, digest: Digest) -> None:
        """It was read and is whole, so it need not be verified before its next use."""
        self._database.change("UPDATE blob SET synced = 1 WHERE digest = ?", (digest,))

    def temporary(self) -> IO[bytes]:
        """An unbuffered file without a name on the file system of the content; closing it removes it.

        Raises OSError.
        """
        from tempfile import TemporaryFile

        return TemporaryFile(dir=f"{self.root}/ingest", buffering=0)

    def _keep(self, digest: Digest) -> bool:
        """Mark it as used now; False when the sweep was faster."""
        sql = "UPDATE blob SET used = (SELECT now FROM clock) WHERE digest = ?"
        return self._database.change(sql, (digest,)) > 0 and os.path.exists(self.path(digest))

    def _verify(self, digest: Digest) -> bool:
        verifier = Verifier(digest)
        with os_errors(f"read blob {digest}"), open(self.path(digest), "rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                verifier.update(data)
        try:
            verifier.verify()
        except DigestMismatch:
            self.delete(digest)
            return False
        self.mark_synced(digest)
        return True

    def size(self, digest: Digest) -> int:
        """The size of a blob in bytes. Raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except OSError:
            raise _missing(digest) from None

    def open(self, digest: Digest) -> BinaryIO:
        """An unbuffered file of the content; the caller closes it. Raises NotFound."""
        if not self.has(digest):
            raise _missing(digest)
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: Digest, limit: int = MAX_DOCUMENT, *, drop: bool = True) -> bytes:
        """The content, verified. Raises NotFound, TooLarge, and DigestMismatch when it is damaged.

        What is damaged is dropped, so that it can be fetched again, unless `drop` is False.
        """
        with os_errors(f"read blob {digest}"):
            try:
                file = open(self.path(digest), "rb", buffering=0)
            except FileNotFoundError:
                raise _missing(digest) from None
            with file:
                data = read_bounded(file.read, limit, f"blob {digest}")
        actual = Digest.of(data, digest.algorithm)
        if actual != digest:
            if drop:
                self.delete(digest)
            raise DigestMismatch(digest, actual, what="a damaged blob of the store", hint="pull it again")
        if self.leases.began:
            self._keep(digest)
        return data

    def add(self, data: bytes, digest: Digest | None = None) -> Digest:
        """Store small content; atomic and idempotent. Raises DigestMismatch, StoreError.

        With `digest` the content came from elsewhere and can be had again; without, it was made here
        and is synced to disk before this returns.
        """
        actual = Digest.of(data, digest.algorithm if digest else "sha256")
        if digest is not None and actual != digest:
            raise DigestMismatch(digest, actual)
        lease = self.leases.current()
        if not self.has(actual):
            self._add(data, actual, f"add-{lease.id}-{random_name()}", sync=digest is None)
        return actual

    def _add(self, data: bytes, digest: Digest, name: str, sync: bool) -> None:
        temporary = f"{self.root}/ingest/{name}"
        with os_errors(f"write blob {digest}"):
            try:
                _write_file(temporary, data, sync)
                trace("blob:written")
                self._publish(temporary, digest, len(data), sync)
            except BaseException:
                unlink(temporary)
                raise

    def _publish(self, temporary: str, digest: Digest, size: int, sync: bool) -> None:
        """Rename into place and insert the row, seen by others at once or not at all. Raises OSError."""
        path = self.path(digest)
        if digest.algorithm != "sha256":
            private_dir(os.path.dirname(path))
        with self._database.transaction(durable=sync):
            os.rename(temporary, path)
            trace("blob:renamed")
            if sync:
                sync_path(os.path.dirname(path))
            self._database.change(
                "INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?, ?, (SELECT now FROM clock))",
                (digest, size, boot_id(), int(sync), time.time()),
            )
        trace("blob:published")

    def ingest(self, expected: Digest | None = None, size: int | None = None, *, key: str = "") -> Ingest:
        """Begin to write content. Waits while another thread or process writes the same digest.

        `key` ([a-z0-9-]+) names an upload whose digest is not known yet, so that it can be resumed.
        Raises UsageError for a bad key, StoreError.
        """
        self.leases.current()
        name = _ingest_name(expected, key)
        with os_errors("start to write a blob"):
            lock = Lock(f"{self.root}/ingest/{name}.lock")
            try:
                return Ingest(self, name, lock, expected, size)
            except BaseException:
                lock.release()
                raise

    def partial(self, key: str | Digest) -> int:
        """Bytes already kept of an interrupted ingest of a digest or a named upload; 0 if none."""
        name = _ingest_name(key, "") if isinstance(key, Digest) else _ingest_name(None, key)
        try:
            return os.stat(f"{self.root}/ingest/{name}/data").st_size
        except OSError:
            return 0

    def delete(self, digest: Digest) -> int:
        """Remove it and give the bytes freed; for the sweep and for a registry's DELETE. Idempotent."""
        path = self.path(digest)
        with os_errors(f"remove blob {digest}"), self._database.transaction():
            self._database.change("DELETE FROM blob WHERE digest = ?", (digest,))
            try:
                freed = os.stat(path).st_blocks * 512
            except FileNotFoundError:
                return 0
            unlink(path)
        return freed


class Ingest:
    """Content being written. `with` it: leaving without `commit` keeps the data when it can be resumed.

    `exists`: somebody else completed it while this one waited; write nothing, `commit` is free.
    `offset`: bytes that are here already; go on writing from there.
    `resumed`: offset came from an earlier try; if commit raises DigestMismatch, try again from 0.
    One thread at a time; the descriptor and the lock are let go by `commit`, `abort` or `close`.
    """

    def __init__(
        self, store: BlobStore, name: str, lock: Lock, expected: Digest | None, size: int | None
    ) -> None:
        """`BlobStore.ingest` makes these, with the lock held."""
        self._store, self._lock, self.expected, self._size = store, lock, expected, size
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
        self._verifier = Verifier(self.expected, self._size, what=what)
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
        if self.expected is None and self._store.has(digest):
            return
        sync = self.expected is None
        os.fchmod(self._fd, 0o400)
        if sync:
            os.fsync(self._fd)
        trace("ingest:complete")
        self._store._publish(f"{self._folder}/data", digest, self._verifier.count, sync)

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


def _ingest_name(expected: Digest | None, key: str) -> str:
    if not _KEY.issuperset(key) or len(key) > 200:
        raise UsageError(f"invalid key of an upload: {key[:200]!r}")
    if expected is not None:
        return expected.hex
    return f"key-{key}" if key else f"new-{random_name()}"


def _missing(digest: Digest) -> NotFound:
    return NotFound(f"the store does not hold blob {digest}")


def _write_file(path: str, data: bytes, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _remove_folder(folder: str) -> None:
    unlink(f"{folder}/data")
    if os.path.isdir(folder):
        os.rmdir(folder)
