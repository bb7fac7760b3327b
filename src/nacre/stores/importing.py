"""From the storage folder of another registry into one of ours: repositories, tags, manifests, blobs.

Everything is hashed on its way. What is here already is not brought again, so an import that was broken off
goes on when it is begun again, and a tag that names something else here stays as it is.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

from ..grammars.wire.errors import Code
from ..words.digest import Digest
from ..words.errors import ContentError, DigestMismatch, NotFound, RegistryError
from ..words.oci import MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST, decode_json
from ..words.progress import NullProgress
from .catalog import WriteConditions

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..words.progress import Progress, Task
    from .catalog import Document
    from .distribution import DistributionFolder
    from .registry import RegistryStore

    Parse = Callable[[bytes, str], Document]

_PIECE = 1 << 20


class ImportReport(NamedTuple):
    """What was looked at, and of it what came now; `bytes` are those that were copied.

    `kept` are tags that name something else here. `failed`: what could not be brought, and why.
    """

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    kept: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class StorageImport:
    """Brings what `source` has into `store`. `parse` understands a document; it raises RegistryError.

    `sparse`: manifests come although parts of them are missing there.
    """

    def __init__(
        self, source: DistributionFolder, store: RegistryStore, parse: Parse, *, sparse: bool = False,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self._source, self._store, self._parse = source, store, parse
        self._guard, self._progress = WriteConditions(sparse=sparse), progress or NullProgress()
        self._holder: dict[Digest, str] = {}
        self._report = ImportReport()

    def run(self) -> ImportReport:
        """All repositories. Raises StoreError; what came before stays."""
        for name in self._source.repositories():
            task = self._progress.task(name)
            task.phase("Importing")
            for digest in self._source.layers(name):
                self._blob(name, digest, task)
            self._manifests(name)
            self._count(repositories=1)
            task.done("Imported")
        return self._report

    def _count(self, **more: int) -> None:
        self._report = self._report._replace(
            **{field: getattr(self._report, field) + count for field, count in more.items()}
        )

    def _fail(self, what: str, why: object) -> None:
        self._report = self._report._replace(failed=(*self._report.failed, f"{what}: {why}"))

    # ── blobs ──

    def _blob(self, name: str, digest: Digest, task: Task) -> None:
        if self._is_here(name, digest):
            self._holder[digest] = name
        elif digest in self._holder and self._store.catalog.mount(name, digest, self._holder[digest]):
            self._count(blobs=1)
        else:
            self._bring(name, digest, task)

    def _is_here(self, name: str, digest: Digest) -> bool:
        size = self._store.catalog.blob(name, digest)
        return size is not None and self._store.storage.locate(digest, size) is not None

    def _bring(self, name: str, digest: Digest, task: Task) -> None:
        try:
            size = self._copy(name, digest, task)
        except (NotFound, DigestMismatch) as error:
            self._fail(f"{name}@{digest}", error.message)
        else:
            self._holder[digest] = name
            self._count(blobs=1, bytes=size)

    def _copy(self, name: str, digest: Digest, task: Task) -> int:
        fd, storage = self._source.open(digest), self._store.storage
        writer = storage.upload(secrets.token_hex(16), digest.algorithm)
        try:
            with storage.adding(digest):
                while data := os.read(fd, _PIECE):
                    writer.write(data)
                    task.advance(len(data))
                placed = writer.commit(digest)
                self._store.catalog.add_blob(name, placed)
            return placed.size
        except BaseException:
            writer.abort()
            raise
        finally:
            writer.close()
            os.close(fd)

    # ── manifests ──

    def _manifests(self, name: str) -> None:
        """Those first that others need: as long as one comes, those that wait are tried again."""
        tags: dict[Digest, list[str]] = {}
        for tag, digest in self._source.tags(name):
            tags.setdefault(digest, []).append(tag)
        waiting = dict.fromkeys(self._source.manifests(name), "")
        while waiting:
            before = len(waiting)
            waiting = {digest: why for digest in waiting if (why := self._manifest(name, digest, tags))}
            if len(waiting) == before:
                break
        for digest, why in waiting.items():
            self._fail(f"{name}@{digest}", why)

    def _manifest(self, name: str, digest: Digest, tags: dict[Digest, list[str]]) -> str:
        """Why it has to wait, "" if it is done with."""
        wanted = [tag for tag in tags.get(digest, ()) if self._is_free(name, tag, digest)]
        if self._store.catalog.manifest(name, digest) and not wanted:
            return ""
        try:
            data = self._source.read(digest, MAX_DOCUMENT)
            if (actual := Digest.of(data, digest.algorithm)) != digest:
                raise DigestMismatch(digest, actual)
            self._put(name, digest, data, wanted)
        except RegistryError as error:
            if error.code == Code.MANIFEST_BLOB_UNKNOWN.name:
                return error.message
            self._fail(f"{name}@{digest}", error.message)
        except (ContentError, NotFound) as error:
            self._fail(f"{name}@{digest}", error.message)
        return ""

    def _is_free(self, name: str, tag: str, digest: Digest) -> bool:
        """Is a tag to be set? Not if it is, or names something else here."""
        stored = self._store.catalog.manifest(name, tag)
        if stored and stored.digest != digest:
            kept = dict.fromkeys((*self._report.kept, f"{name}:{tag}"))
            self._report = self._report._replace(kept=tuple(kept))
        return stored is None

    def _put(self, name: str, digest: Digest, data: bytes, tags: list[str]) -> None:
        document = self._parse(data, _media_type(data))
        storage, catalog = self._store.storage, self._store.catalog
        is_new = catalog.manifest(name, digest) is None
        with storage.adding(digest):
            catalog.check_parts(name, document, sparse=self._guard.sparse)
            placed = storage.add(data, digest)
            catalog.put_manifest(name, placed, document, tags, self._guard)
        self._count(manifests=int(is_new), tags=len(tags))


def _media_type(data: bytes) -> str:
    """Distribution keeps none beside the document: it says so itself, or by its form."""
    fields = decode_json(data, "manifest")
    usual = OCI_INDEX if isinstance(fields, dict) and "manifests" in fields else OCI_MANIFEST
    return str(fields.get("mediaType") or usual) if isinstance(fields, dict) else usual
