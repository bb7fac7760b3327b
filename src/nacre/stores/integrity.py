"""Can every manifest of a registry be pulled?

    content      what repositories hold is there, in its size; with `read` every byte is hashed
    manifests    each is readable and has its digest, and each of its parts is in its repository

Safe while the registry is served: what was found is looked at again at the end, so what came or went in
between is no finding. Nothing is changed.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from ..ground.files import os_errors
from ..ground.work.threads import in_parallel
from ..ground.work.throttle import Throttle
from ..words.digest import Digest, Verifier
from ..words.errors import ContentError, NotFound, RegistryError, StoreError
from ..words.progress import NullProgress
from .catalog.contents import contents
from .catalog.statements import COPY, PART_SIZE
from .copying import content_path
from .storage.local import aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..words.progress import Progress
    from .catalog import Catalog, Document
    from .storage.objects import ObjectStorage

_PIECE = 1 << 20
_OTHER = "has other content than its digest says"
_AT_ONCE = 500
_REQUEST = 64 << 10
"""Bytes as which a request to a bucket counts."""
_AWAY = 16
"""Threads for content in a bucket: they wait more than they work."""
_MOST_ABOVE = 1000
"""Indexes that are looked through for the tags by which a manifest is known."""
_MANIFESTS = """
    SELECT m.repository, r.name, m.digest, m.size, m.media_type FROM manifests m
    JOIN repositories r ON r.id = m.repository WHERE (m.repository, m.digest) > (?, ?)
    ORDER BY m.repository, m.digest LIMIT ?"""
_ONE = """
    SELECT m.repository, r.name, m.digest, m.size, m.media_type FROM manifests m
    JOIN repositories r ON r.id = m.repository WHERE m.repository = ? AND m.digest = ?"""
_PARTS = "SELECT digest FROM parts WHERE repository = ? AND manifest = ?"


class DamagedManifest(NamedTuple):
    """A manifest that cannot be pulled: the tags by which it is known, also by an index that has it.

    `part` is what is wrong with it: the digest of a part, or its own.
    """

    repository: str
    references: tuple[str, ...]
    digest: str
    part: str
    problem: str

    @property
    def names(self) -> list[str]:
        """As a user would push it."""
        return [f"{self.repository}:{tag}" for tag in self.references] or [f"{self.repository}@{self.digest}"]


class RegistryReport(NamedTuple):
    """What was looked at; `bytes` is the size of all content, which was read or only counted.

    `unneeded` are damaged blobs that no manifest needs.
    """

    repositories: int
    manifests: int
    blobs: int
    bytes: int
    damaged: tuple[DamagedManifest, ...]
    unneeded: tuple[str, ...]


class ContentFiles:
    """The content of a registry in the folder `root`, as it is on the disk."""

    cost, threads = 0, os.cpu_count() or 1
    """Bytes as which a look counts, and how many threads look."""

    def __init__(self, root: str) -> None:
        self._root = root

    def path(self, digest: str) -> str:
        """Where it is, or would be."""
        return content_path(self._root, digest)

    def problem(self, digest: str, size: int) -> str:
        """What can be seen without reading it, "" for nothing."""
        try:
            found = os.stat(self.path(digest)).st_size
        except OSError:
            was_damaged = os.path.lexists(aside(self._root, digest))
            return "was damaged and has been set aside" if was_damaged else "is missing"
        return "" if found == size else f"has {found} of {size} bytes"

    def pieces(self, digest: str, size: int) -> Iterator[bytes]:
        """The bytes that the disk has, not those that the system remembers. Raises StoreError."""
        with os_errors("read it"), open(self.path(digest), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while data := file.read(_PIECE):
                yield data


class ContentObjects:
    """The content of a registry in a bucket."""

    cost, threads = _REQUEST, _AWAY

    def __init__(self, storage: ObjectStorage) -> None:
        self._storage = storage

    def problem(self, digest: str, size: int) -> str:
        """What the bucket says of its object, "" for nothing. Raises Unavailable."""
        found = self._storage.locate(Digest(digest), size)
        return self._storage.problem(found) if found else "is missing, or was damaged and has been set aside"

    def pieces(self, digest: str, size: int) -> Iterator[bytes]:
        """The bytes of its object. Raises Unavailable, NotFound, DigestMismatch."""
        found = self._storage.locate(Digest(digest), size)
        if found is None:
            raise NotFound("it is gone")
        reader = self._storage.open(found, 0, size)
        try:
            while data := reader.read():
                yield data
        finally:
            reader.close()


def _hash(content: ContentFiles | ContentObjects, digest: str, size: int) -> Iterator[int | str]:
    """Bytes as they pass, at the end what is wrong. Raises Unavailable."""
    verifier = Verifier(Digest(digest), size)
    try:
        for data in content.pieces(digest, size):
            verifier.update(data)
            yield len(data)
        verifier.verify()
    except StoreError as error:
        yield f"cannot be read: {error.message}"
    except ContentError:
        yield _OTHER
    except NotFound:
        yield "is missing"


class CheckOptions(NamedTuple):
    """How to look. `read`: hash every byte. `sparse`: a registry takes manifests without all their parts.
    `rate`: bytes per second at most, 0 for as many as come.
    """

    read: bool = False
    sparse: bool = False
    rate: int = 0


class IntegrityCheck:
    """One look at everything. `parse` understands a document of a media type; it raises ContentError or
    RegistryError.
    """

    def __init__(
        self, catalog: Catalog, content: ContentFiles | ContentObjects,
        parse: Callable[[bytes, str], Document], options: CheckOptions | None = None,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self._catalog, self._content, self._parse = catalog, content, parse
        options = options or CheckOptions()
        self._read, self._sparse = options.read, options.sparse
        self._throttle = Throttle(options.rate) if options.rate else None
        self._task = (progress or NullProgress()).task("registry")
        self._lock = Lock()
        self._problems: dict[str, tuple[int, str]] = {}
        self._blobs = self._bytes = self._manifests = 0

    def run(self) -> RegistryReport:
        """Look at all of it. Raises StoreError."""
        ((count,),) = self._catalog.listed("SELECT count(*) FROM repositories")
        self._look_at_blobs()
        found = [each for row in self._rows() for each in self._judge(row)]
        damaged = self._again(found)
        self._task.done("Checked")
        needed = {each.part for each in damaged}
        unneeded = tuple(sorted(self._problems.keys() - needed))
        return RegistryReport(count, self._manifests, self._blobs, self._bytes, damaged, unneeded)

    # content

    def _look_at_blobs(self) -> None:
        sql = "SELECT coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM blobs GROUP BY digest) x"
        self._task.phase("Checking", int(self._catalog.listed(sql)[0][0]))
        for rows in contents(self._catalog, "blobs"):
            in_parallel(lambda row, _stop: self._blob(*row), rows, self._content.threads)

    def _blob(self, digest: str, size: int) -> None:
        problem = self._problem(digest, size)
        with self._lock:
            self._blobs, self._bytes = self._blobs + 1, self._bytes + size
            if problem:
                self._problems[digest] = (size, problem)

    def _problem(self, digest: str, size: int) -> str:
        self._pass(self._content.cost)
        problem = self._content.problem(digest, size)
        if problem or not self._read:
            self._task.advance(size)
            return problem
        for piece in _hash(self._content, digest, size):
            if isinstance(piece, str):
                return piece
            self._pass(piece)
            self._task.advance(piece)
        return ""

    def _pass(self, count: int) -> None:
        if self._throttle and count:
            self._throttle.take(count)

    # manifests

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        last: tuple[Any, ...] = (0, "")
        while rows := self._catalog.listed(_MANIFESTS, *last, _AT_ONCE):
            yield from rows
            self._manifests += len(rows)
            last = (rows[-1][0], rows[-1][2])

    def _judge(self, row: tuple[Any, ...]) -> Iterator[DamagedManifest]:
        """Each thing that is wrong with a manifest."""
        repository, name, digest = row[:3]
        for part, problem in self._faults(row):
            if self._catalog.listed(_ONE, repository, digest):
                yield DamagedManifest(name, self._references(repository, digest), digest, part, problem)

    def _faults(self, row: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
        repository, _, digest, size, media_type = row
        try:
            document = self._parse(self._document(digest, size), media_type)
        except (ContentError, RegistryError) as error:
            yield digest, error.message
            return
        known = {row[0] for row in self._catalog.listed(_PARTS, repository, digest)}
        for part in document.parts:
            if problem := self._part(repository, part.digest, part.size):
                yield part.digest, problem
            elif part.digest not in known:
                yield part.digest, "is not noted as a part, so a collection may remove it"

    def _document(self, digest: str, size: int) -> bytes:
        """The bytes of a manifest. Raises ContentError."""
        self._pass(self._content.cost + size)
        if problem := self._content.problem(digest, size):
            raise ContentError(problem)
        try:
            data = b"".join(self._content.pieces(digest, size))
        except (StoreError, NotFound) as error:
            raise ContentError(f"cannot be read: {error.message}") from None
        if Digest.of(data, Digest(digest).algorithm) != digest:
            raise ContentError(_OTHER)
        return data

    def _part(self, repository: int, digest: str, size: int) -> str:
        rows = self._catalog.listed(PART_SIZE, repository, digest)
        if not rows:
            # parts of a copy are fetched when they are asked for
            lazy = self._sparse or self._catalog.listed(COPY, repository)
            return "" if lazy else "is not in the repository"
        if rows[0][0] != size:
            return f"has {rows[0][0]} bytes, the manifest says {size}"
        return self._problems.get(digest, (0, ""))[1]

    def _references(self, repository: int, digest: str) -> tuple[str, ...]:
        """Tags that mean it, or an index above it."""
        pending, seen, tags = [digest], {digest}, set[str]()
        while pending and len(seen) < _MOST_ABOVE:
            place = (repository, pending.pop())
            sql = "SELECT tag FROM tags WHERE repository = ? AND digest = ? LIMIT 100"
            tags |= {row[0] for row in self._catalog.listed(sql, *place)}
            sql = "SELECT manifest FROM parts WHERE repository = ? AND digest = ?"
            above = {row[0] for row in self._catalog.listed(sql, *place)} - seen
            pending += above
            seen |= above
        return tuple(sorted(tags))

    def _again(self, found: list[DamagedManifest]) -> tuple[DamagedManifest, ...]:
        """Those that are wrong still."""
        suspects, self._problems = self._problems, {}
        for digest, (size, _) in suspects.items():
            if self._is_held(digest) and (problem := self._problem(digest, size)):
                self._problems[digest] = (size, problem)
        keys = dict.fromkeys((each.repository, each.digest) for each in found)
        sql = _ONE.replace("m.repository = ?", "r.name = ?")
        rows = [row for key in keys for row in self._catalog.listed(sql, *key)]
        return tuple(each for row in rows for each in self._judge(row))

    def _is_held(self, digest: str) -> bool:
        return bool(self._catalog.listed("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", digest))
