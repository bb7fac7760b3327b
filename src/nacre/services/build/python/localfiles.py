"""Wheels in folders of this machine (find-links): their names are listed once, and each is hashed once.

A file that has not changed since is known by its SHA-256 without being read, as files of a context are.
"""

from __future__ import annotations

import os

from ....grammars.python.files import IndexFile
from ....grammars.python.names import canonical
from ....ground.files import os_errors
from ....words.errors import DigestMismatch
from ..filehash import FileHashes
from ..items import CopyItem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDS = (".whl", ".tar.gz")


def path_of(url: str) -> str:
    """The path that a URL of a local file, or a path, means."""
    return url.removeprefix("file://")


class LocalFiles:
    """Files in folders; `tables` is where digests are kept. `save` keeps those that are new."""

    def __init__(self, tables: str) -> None:
        self._tables = tables
        self._names: dict[str, dict[str, list[str]]] = {}
        self._hashes: dict[str, FileHashes] = {}

    def files(self, folder: str, name: str) -> list[IndexFile]:
        """What a folder has of a package. Raises StoreError."""
        folder = path_of(folder)
        if folder not in self._names:
            self._names[folder] = _listed(folder)
        return [IndexFile(one, f"{folder}/{one}") for one in self._names[folder].get(name, ())]

    def identified(self, file: IndexFile) -> IndexFile:
        """The file with its size and SHA-256, read only if it has changed. Raises StoreError.

        DigestMismatch for another SHA-256 than the one that it has already.
        """
        folder, _, name = path_of(file.url).rpartition("/")
        hashes = self._hashes.setdefault(folder, FileHashes(self._tables, folder))
        with os_errors(f"read {file.url}"), open(f"{folder}/{name}", "rb", buffering=0) as opened:
            found = os.fstat(opened.fileno())
            stamp = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
            item = CopyItem(os.fsencode(name), "file", found.st_mode, found.st_mtime_ns, stamp=stamp)
            digest = hashes.digest(item, None) or hashes.digest(item, opened)
        verify(file, {"sha256": digest.hex()})
        return file.replace(hashes=(("sha256", digest.hex()),), size=found.st_size)

    def save(self) -> None:
        """Write the tables that have grown."""
        for hashes in self._hashes.values():
            hashes.save()


def verify(file: IndexFile, found: Mapping[str, str]) -> None:
    """Raises DigestMismatch if a file has another hash than it should."""
    for name, value in file.strong:
        if found[name] != value:
            raise DigestMismatch(
                f"{name}:{value}", f"{name}:{found[name]}", what=file.name,
                hint="the index has another file than the one that was locked",
            )  # fmt: skip


def _listed(folder: str) -> dict[str, list[str]]:
    with os_errors(f"look for wheels in {folder}"):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found: dict[str, list[str]] = {}
    for one in names:
        if one.endswith(_ENDS):
            found.setdefault(canonical(one.partition("-")[0]), []).append(one)
    return found
