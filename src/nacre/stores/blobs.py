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
from ..words.errors import DigestMismatch, NotFound, UsageError
from ..words.oci import MAX_DOCUMENT
from .database import Database, boot_id
from .layout import names
from .leases import LeaseStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, BinaryIO, Self

    from ..ground.work.syncing import DiskWait
    from .ingest import Ingest

_CHUNK = 1 << 20
_INSERT = "INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?, ?, (SELECT now FROM clock))"
_KEY = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class BlobStore:
    """`ROOT/blobs/<algorithm>/<hex>`; ROOT itself is an OCI image layout. Safe for threads and processes."""

    def __init__(self, root: str, database: Database, leases: LeaseStore) -> None:
        """`Store.open` and `at` make these."""
        self.root, self._database, self.leases = root, database, leases
        self._owner = False
        self._folders: dict[str, DiskWait] = {}

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
        row = (digest, size, boot_id(), int(sync), time.time())
        if sync and self._owner:
            self._publish_alone(temporary, path, row)
        else:
            with self._database.transaction(durable=sync):
                os.rename(temporary, path)
                trace("blob:renamed")
                if sync:
                    sync_path(os.path.dirname(path))
                self._database.change(_INSERT, row)
        trace("blob:published")

    def _publish_alone(self, temporary: str, path: str, row: tuple[object, ...]) -> None:
        """For a registry, whose catalog decides what is there: the row only notes that the file is on the
        disk. Nobody waits for another one's sync, and nothing sweeps.
        """
        os.rename(temporary, path)
        trace("blob:renamed")
        self._wait_for(os.path.dirname(path))
        with self._database.transaction():
            self._database.change(_INSERT, row)

    def _wait_for(self, folder: str) -> None:
        """Until the names in it are on the disk, together with all who wait for that."""
        from ..ground.work.syncing import DiskWait

        self._folders.setdefault(folder, DiskWait(folder)).wait()

    def record(self, found: Iterable[tuple[Digest, int]]) -> None:
        """Take in files that somebody put in their places whole and on the disk. Raises StoreError."""
        with self._database.transaction(durable=True):
            for digest, size in found:
                self._database.change(_INSERT, (digest, size, boot_id(), 1, time.time()))

    def ingest(
        self, expected: Digest | None = None, size: int | None = None, *, key: str = "",
        algorithm: str = "sha256",
    ) -> Ingest:  # fmt: skip
        """Begin to write content. Waits while another thread or process writes the same digest.

        `key` ([a-z0-9-]+) names an upload whose digest is not known yet, so that it can be resumed;
        `algorithm` is that of the digest it will have (with another one it is read again at the end).
        Raises UsageError for a bad key, StoreError.
        """
        from .ingest import Ingest

        self.leases.current()
        name = _ingest_name(expected, key)
        with os_errors("start to write a blob"):
            lock = Lock(f"{self.root}/ingest/{name}.lock")
            try:
                return Ingest(self, name, lock, expected, size, algorithm)
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

    def set_aside(self, digest: Digest, target: str) -> None:
        """Remove it, but keep its file as `target`, on the same file system. Idempotent."""
        with os_errors(f"set blob {digest} aside"), self._database.transaction():
            self._database.change("DELETE FROM blob WHERE digest = ?", (digest,))
            if os.path.lexists(self.path(digest)):
                os.replace(self.path(digest), target)


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
