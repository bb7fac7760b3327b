"""The storage folder of distribution (docker's registry, and what is built on it), read.

    docker/registry/v2/blobs/sha256/<xx>/<hex>/data
    docker/registry/v2/repositories/<name>/_layers/sha256/<hex>/link
                                          /_manifests/revisions/sha256/<hex>/link
                                          /_manifests/tags/<tag>/current/link       "sha256:<hex>"

Nothing is changed, no link is followed and nothing outside is opened. Source: distribution,
registry/storage/paths.go.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISREG
from typing import TYPE_CHECKING

from ..grammars.wire.routes import is_name, is_tag
from ..ground.files import read_bounded
from ..ground.linux import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from ..words.digest import ALGORITHMS, Digest
from ..words.errors import InvalidName, NotFound, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_INNER = "docker/registry/v2"
_MOST_LINK = 300
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


class DistributionFolder:
    """The folder `path`, or one that holds `docker/registry/v2`. Close it.

    Raises NotFound for what is none, and everywhere StoreError for what cannot be read or is a link.
    """

    def __init__(self, path: str) -> None:
        inner = f"{path}/{_INNER}"
        self._path = inner if os.path.isdir(inner) else path
        if not os.path.isdir(f"{self._path}/repositories"):
            raise NotFound(f"{path} is no storage folder of a registry", hint=f"it would hold {_INNER}")
        self._fd = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def repositories(self) -> Iterator[str]:
        """Their names, in order."""
        pending = [""]
        while pending:
            name = pending.pop()
            entries = self._names(f"repositories/{name}".rstrip("/"))
            if "_manifests" in entries or "_layers" in entries:
                yield name
            below = [f"{name}/{entry}".lstrip("/") for entry in entries if not entry.startswith("_")]
            pending += [each for each in reversed(below) if is_name(each)]

    def layers(self, name: str) -> Iterator[Digest]:
        """Blobs of a repository, configs too."""
        return self._digests(f"repositories/{name}/_layers")

    def manifests(self, name: str) -> Iterator[Digest]:
        """Manifests and indexes of a repository."""
        return self._digests(f"repositories/{name}/_manifests/revisions")

    def tags(self, name: str) -> Iterator[tuple[str, Digest]]:
        """Tags of a repository, and what they name."""
        folder = f"repositories/{name}/_manifests/tags"
        for tag in self._names(folder):
            digest = self._linked(f"{folder}/{tag}/current/link") if is_tag(tag) else None
            if digest:
                yield tag, digest

    def open(self, digest: Digest) -> int:
        """A descriptor of a blob's file, for the caller to close. Raises NotFound."""
        algorithm, _, encoded = digest.partition(":")
        return self._file(f"blobs/{algorithm}/{encoded[:2]}/{encoded}/data")

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob, as it is. Raises NotFound, TooLarge."""
        fd = self.open(digest)
        try:
            return read_bounded(lambda count: os.read(fd, count), limit, f"blob {digest}")
        finally:
            os.close(fd)

    def _digests(self, folder: str) -> Iterator[Digest]:
        for algorithm in self._names(folder):
            for encoded in self._names(f"{folder}/{algorithm}") if algorithm in ALGORITHMS else ():
                if digest := self._linked(f"{folder}/{algorithm}/{encoded}/link"):
                    yield digest

    def _linked(self, path: str) -> Digest | None:
        """What a link file names; None for none, which is how distribution deletes."""
        try:
            fd = self._file(path)
        except NotFound:
            return None
        try:
            return Digest(os.read(fd, _MOST_LINK).decode("ascii", "replace").strip())
        except InvalidName:
            raise StoreError(f"{self._path}/{path} names no digest") from None
        finally:
            os.close(fd)

    def _names(self, folder: str) -> list[str]:
        try:
            fd = self._open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except NotFound:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _file(self, path: str) -> int:
        fd = self._open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StoreError(f"{self._path}/{path} is no file")
        return fd

    def _open(self, path: str, flags: int) -> int:
        try:
            return openat2(self._fd, path, flags | os.O_CLOEXEC, 0, _RESOLVE)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self._path}/{path} is not there") from None
        except OSError as error:
            why = "leads through a link" if error.errno in _LINKS else error.strerror
            raise StoreError(f"{self._path}/{path}: {why}") from None


_LINKS = (errno.ELOOP, errno.EXDEV)
"""ELOOP, EXDEV: what openat2(2) says of a link, and of one that leads out."""
