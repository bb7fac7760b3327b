"""Content in a folder: the blob store of `stores.blobs`, which hashes while it receives and whose files the
server sends without reading them.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ...ground.files import os_errors
from ...words.digest import Verifier
from ...words.errors import DigestMismatch, NotFound, StoreError, TooLarge
from .protocol import Located, Placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ...words.digest import Digest
    from ..blobs import BlobStore
    from ..catalog.model import CatalogTransaction

_DAMAGED = "damaged"
_KEPT = 30 * 24 * 3600.0
"""Seconds that it stays there at least."""
_PIECE = 1 << 19


class LocalStorage:
    """`blobs` as the storage of a registry, of one process. `close` it: that closes `blobs`.

    `pinned` and `tidy` are those of who knows which content the repositories have.
    """

    is_shared = False

    def __init__(
        self,
        blobs: BlobStore,
        pinned: Callable[[Digest], AbstractContextManager[None]],
        tidy: Callable[[], Iterator[None]],
    ) -> None:
        self._blobs, self.adding, self.tidy = blobs, pinned, tidy

    def locate(self, digest: Digest, size: int) -> Located | None:
        """Its file, if that has the size. On the event loop: a thread costs twenty times what this takes."""
        path = self.path(digest)
        try:
            return Located(digest, size, path) if os.stat(path).st_size == size else None
        except OSError:
            return None

    def path(self, digest: Digest) -> str:
        """The file that holds it, or would."""
        return self._blobs.path(digest)

    def read(self, digest: Digest) -> bytes:
        """Small content, verified. Raises NotFound, TooLarge, DigestMismatch."""
        return self._blobs.read(digest)

    def open(self, found: Located, start: int, length: int) -> FileReader:
        """A span of its file. Raises NotFound."""
        return FileReader(found.path, start, length)

    def link(self, found: Located) -> str:
        """Files have no URL of their own."""
        return ""

    def add(self, data: bytes, digest: Digest) -> Placed:
        """On disk when this returns, and whole, whatever was there: it may exist nowhere else."""
        try:
            self._blobs.read(digest)
        except (NotFound, DigestMismatch):
            with self._blobs.ingest() as ingest:
                ingest.write(data)
                ingest.commit(digest)
        return Placed(digest, len(data))

    def upload(self, upload: str, algorithm: str = "sha256") -> LocalUpload:
        """Its file, and the lock of it; what is there already is hashed again."""
        return LocalUpload(self._blobs, upload, algorithm)

    def received(self, upload: str) -> int:
        """Bytes of an upload that are in its file."""
        return self._blobs.partial(upload)

    def drop(self, placed: Placed) -> None:
        """`adding` sees to it."""

    def whole_size(self, digest: Digest) -> int | None:
        """Bytes of its file, which is read, if that has this digest; None where it has not."""
        try:
            with open(self.path(digest), "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                verifier = Verifier(digest, size)
                while data := file.read(_PIECE):
                    verifier.update(data)
            verifier.verify()
        except (OSError, DigestMismatch, TooLarge):
            return None
        return size

    def reject(self, digest: Digest, key: str = "") -> None:
        """Set the file aside, where nobody looks for it, and remove its row. Idempotent."""
        target = aside(self._blobs.root, digest)
        folder = os.path.dirname(target)
        with os_errors(f"set {digest} aside"):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _remove_older(folder, time.time() - _KEPT)
        self._blobs.set_aside(digest, target)

    def check(self) -> None:
        """Is the folder of the content there?"""
        folder = f"{self._blobs.root}/blobs/sha256"
        with os_errors(f"read {folder}"):
            os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def close(self) -> None:
        """Close the blob store."""
        self._blobs.close()


class FolderContents:
    """What a change of the catalog does to the files: `delete` those that no repository has any more."""

    def __init__(self, delete: Callable[[Digest], object]) -> None:
        self._delete = delete

    def keep(self, db: CatalogTransaction, placed: Placed, /) -> None:
        """The file is there."""

    def remove(self, db: CatalogTransaction, digest: Digest, /) -> None:
        """After the commit: a file is never missing where a repository has it."""
        db.orphans.append(digest)

    def drop(self, digest: Digest, /) -> None:
        """Delete the file, as no repository has it."""
        self._delete(digest)

    def end(self, db: CatalogTransaction, upload: str, key: str = "", /) -> None:
        """What it brought lies under its own name."""


class LocalUpload:
    """An upload into a file: what was written is safe at once."""

    def __init__(self, blobs: BlobStore, upload: str, algorithm: str) -> None:
        self._ingest = blobs.ingest(key=upload, algorithm=algorithm)

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return self._ingest.offset

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; on a full disk the upload ends and gives its room back."""
        self._ingest.write(data)

    def resume(self) -> None:
        """Nobody else can have gone on."""

    def rest(self) -> None:
        """It is kept already."""

    def commit(self, digest: Digest) -> Placed:
        """Verify it and give it its name. Raises DigestMismatch."""
        size = self._ingest.offset
        self._ingest.commit(digest)
        self._ingest.close()
        return Placed(digest, size)

    def abort(self) -> None:
        """Drop the file and its lock."""
        self._ingest.abort()
        self._ingest.close()

    def close(self) -> None:
        """Let go of the file and its lock."""
        self._ingest.close()


def aside(root: str, digest: str) -> str:
    """Where the registry in the folder `root` keeps content that turned out to be damaged."""
    return f"{root}/{_DAMAGED}/{digest.replace(':', '-')}"


def _remove_older(folder: str, since: float) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_ctime < since:
                os.unlink(entry.path)


class FileReader:
    """A span of a file."""

    def __init__(self, path: str, start: int, length: int) -> None:
        self._path, self._offset, self._left = path, start, length
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"{path} is gone") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def read(self) -> bytes:
        """The next piece, b"" at the end. Raises StoreError."""
        with os_errors(self._path):
            piece = os.pread(self._fd, min(_PIECE, self._left), self._offset) if self._left else b""
        if self._left and not piece:
            raise StoreError(f"{self._path} was truncated")
        self._offset, self._left = self._offset + len(piece), self._left - len(piece)
        return piece

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
