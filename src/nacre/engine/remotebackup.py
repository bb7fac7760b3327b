"""A backup of a registry elsewhere, over its management API: names at one moment, then what they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..stores.copying import FetchedCopy
from ..stores.namecopy import check_names

if TYPE_CHECKING:
    from ..services.client.download import BlobReader
    from ..stores.copying import ContentCopy
    from ..words.digest import Digest
    from ..words.progress import Task
    from .remoteapi import RegistryApi

_MOST_NAMES = 64 << 30
_PIECE = 1 << 20


class RemoteBackupSource:
    """A `BackupSource`, as its administrator. Raises as `RegistryApi.ask`."""

    threads = 4

    def __init__(self, api: RegistryApi) -> None:
        self._api, self.name = api, api.registry

    def take_names(self, path: str) -> None:
        """As `BackupSource`. What comes must be a database that is whole."""
        self._api.save("getBackupNames", path, _MOST_NAMES)
        check_names(path)

    def copy(self, folder: str, task: Task, *, read: bool) -> ContentCopy:
        """As `BackupSource` says it."""
        return FetchedCopy(self._fetch, folder, task, read=read)

    def _fetch(self, digest: Digest, size: int) -> _RemoteContent:
        reader = self._api.content("getBackupContent", size, digest=digest)
        reader.open()
        return _RemoteContent(reader)

    def has_lost(self, digest: str) -> bool:
        """The registry says so by itself, when it is asked for content."""
        return False


class _RemoteContent:
    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader

    def read(self) -> bytes:
        """The next piece, b"" at the end."""
        return self._reader.read(_PIECE)

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()
