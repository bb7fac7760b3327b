"""Records which repositories have a blob, so that a copy within one registry can mount it.

    FOLDER/<sha256 of the registry>     a line for each: digest, a space, repository; the newest last

Only a hint: a mount that fails costs nothing, for the upload that the registry opens instead is used. A file
that has grown beyond 1 MiB loses its older half; it may be lost at any time.
"""

from __future__ import annotations

import os
from threading import Lock

from ...ground.files import private_dir, write_atomic
from ...words.digest import Digest
from ...words.errors import NacreError
from ...words.lines import lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 1 << 20
_CANDIDATES = 4


class BlobInfoCache:
    """The hints in a folder. Safe for threads and processes; nothing here raises."""

    def __init__(self, folder: str) -> None:
        """Made when something is first added."""
        self._folder, self._lock = folder, Lock()
        self._read: dict[str, dict[str, list[str]]] = {}

    def repositories(self, registry: str, digest: Digest) -> list[str]:
        """Full names (`registry/repository`) of where a blob was seen, the latest first."""
        with self._lock:
            if registry not in self._read:
                self._read[registry] = _parsed(self._content(registry))
            found = self._read[registry].get(digest, [])
        return [f"{registry}/{name}" for name in found[: -_CANDIDATES - 1 : -1]]

    def add(self, where: str, digests: Iterable[Digest]) -> None:
        """Blobs that a repository has."""
        registry, slash, name = where.partition("/")
        known = _parsed(self._content(registry)) if slash else {}
        lines = [f"{digest} {name}\n" for digest in digests if name not in known.get(digest, [])]
        if not lines or not slash:
            return
        with self._lock:
            try:
                private_dir(self._folder)
                self._append(self._path(registry), "".join(lines).encode())
            except (OSError, NacreError):
                return

    def _append(self, path: str, data: bytes) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, data)
            size = os.fstat(fd).st_size
            if size > MOST:
                half = os.pread(fd, size, size // 2)
                write_atomic(path, half[half.find(b"\n") + 1 :])
        finally:
            os.close(fd)

    def _content(self, registry: str) -> bytes:
        try:
            with open(self._path(registry), "rb") as file:
                return file.read(2 * MOST)
        except OSError:
            return b""

    def _path(self, registry: str) -> str:
        return f"{self._folder}/{Digest.of(registry.encode()).hex}"


def _parsed(data: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines(data.decode("ascii", "replace")):
        digest, _, name = line.partition(" ")
        if name:
            found.setdefault(digest, []).append(name)
    return found
