"""Where uploads were broken off, so that another process can go on with them.

    FOLDER/<sha256 of repository and digest>         { "location": URL, "time": seconds }, mode 0600
    FOLDER/<…>.lock                                  held while somebody uploads

The URL of an upload may hold a secret of the registry, so the folder is private. A record older than a
day is dropped: registries forget uploads sooner or later. It is a hint and no truth: what the registry
has is asked for before anything is sent.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from hashlib import sha256
from typing import Protocol

from ...ground.files import Lock, private_dir, read_bounded, unlink, write_atomic
from ...words.errors import NacreError

LIFETIME = 24 * 3600.0
_MAX_RECORD = 64 * 1024


class UploadRecord(Protocol):
    """The record of one upload. Nothing here raises: without a record a transfer only costs more."""

    @property
    def location(self) -> str:
        """The URL, "" if none is known."""

    def set(self, location: str) -> None:
        """Record the URL of an upload; "" removes it."""

    def close(self) -> None:
        """Let others have it."""


class Kept(Protocol):
    """A place for the records."""

    def hold(self, repository: str, digest: str) -> UploadRecord:
        """The record for a blob on its way to a repository; one that keeps nothing while others hold it."""


class _Nothing:
    location = ""

    def set(self, location: str) -> None:
        pass

    def close(self) -> None:
        pass


class NoUploadRecords:
    """A record of uploads that keeps nothing."""

    def hold(self, _repository: str, _digest: str) -> UploadRecord:  # noqa: D102
        return _Nothing()


class UploadFolder:
    """Records in a folder, made when first needed. Safe for threads and processes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._swept = False

    def hold(self, repository: str, digest: str) -> UploadRecord:
        """Lock and return the record of one upload, as `Kept.hold` says."""
        name = sha256(f"{repository}@{digest}".encode()).hexdigest()
        try:
            private_dir(self.path)
            self._sweep()
            lock = Lock.attempt(f"{self.path}/{name}.lock")
        except (OSError, NacreError):
            lock = None
        return _Record(f"{self.path}/{name}", lock) if lock else _Nothing()

    def _sweep(self) -> None:
        """Drop what is too old, once for each client."""
        if self._swept:
            return
        self._swept = True
        limit = time.time() - LIFETIME
        with os.scandir(self.path) as entries:
            old = [entry.path for entry in entries if entry.stat(follow_symlinks=False).st_mtime < limit]
        for path in old:
            lock = Lock.attempt(path.removesuffix(".lock") + ".lock")
            if lock:
                unlink(lock.path.removesuffix(".lock"))
                lock.release(remove=True)


class _Record:
    def __init__(self, path: str, lock: Lock) -> None:
        self._path, self._lock = path, lock
        self.location = self._read()

    def _read(self) -> str:
        try:
            with open(self._path, "rb") as file:
                fields = json.loads(read_bounded(file.read, _MAX_RECORD, "a record of an upload"))
            fresh = 0 <= time.time() - fields["time"] < LIFETIME
            return str(fields["location"]) if fresh else ""
        except (OSError, ValueError, KeyError, TypeError, NacreError):
            return ""

    def set(self, location: str) -> None:
        self.location = location
        with suppress(OSError, NacreError):
            if not location:
                unlink(self._path)
                return
            record = {"location": location, "time": time.time()}
            write_atomic(self._path, json.dumps(record).encode())

    def close(self) -> None:
        with suppress(OSError):
            self._lock.release(remove=not self.location)
