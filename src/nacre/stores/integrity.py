"""Can every manifest of a registry be pulled?

    rows         every value in the database can be what it is (`rows`)
    content      what repositories hold is there, in its size; with `read` every byte is hashed
    manifests    each is readable and has its digest, its row says what it says, and each of its parts is in
                 its repository

Safe while the registry is served: what was found is looked at again at the end, so what came or went in
between is no finding. Nothing is changed but, with `repair`, rows that the content shows to be wrong.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from ..ground.files import os_errors
from ..ground.work.threads import in_parallel
from ..ground.work.throttle import Throttle
from ..words.digest import Digest, Verifier
from ..words.errors import ContentError, InvalidName, NotFound, RegistryError, StoreError
from ..words.oci import DOCUMENT_TYPES, MAX_DOCUMENT
from ..words.progress import NullProgress
from .catalog.contents import contents
from .catalog.statements import COPY, PART_SIZE
from .catalog.values import is_digest, is_media_type, is_record, is_size, shown
from .copying import content_path
from .rows import RowCheck, WrongValue
from .storage.local import aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..words.oci import Descriptor
    from ..words.progress import Progress
    from .catalog import Catalog, Document
    from .storage.objects import ObjectStorage

_PIECE = 1 << 20
_AGAIN = "made again"
_SAID = ("size", "media_type", "subject", "artifact_type")
_OTHER = "has other content than its digest says"
_AT_ONCE = 500
_REQUEST = 64 << 10
"""Bytes as which a request to a bucket counts."""
_AWAY = 16
"""Threads for content in a bucket: they wait more than they work."""
_MOST_ABOVE = 1000
"""Indexes that are looked through for the tags by which a manifest is known."""
_ROW = """
    SELECT m.repository, r.name, m.digest, m.size, m.media_type, m.subject, m.artifact_type, m.annotations
    FROM manifests m JOIN repositories r ON r.id = m.repository"""
_MANIFESTS = f"{_ROW} WHERE (m.repository, m.digest) > (?, ?) ORDER BY m.repository, m.digest LIMIT ?"
_ONE = f"{_ROW} WHERE m.repository = ? AND m.digest = ?"
_LOST = """
    SELECT t.repository, r.name, t.tag, t.digest FROM tags t JOIN repositories r ON r.id = t.repository
    WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = t.repository AND m.digest = t.digest)
    LIMIT 1000"""
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

    `unneeded` are damaged blobs that no manifest needs, `rows` what is wrong in the database.
    """

    repositories: int
    manifests: int
    blobs: int
    bytes: int
    damaged: tuple[DamagedManifest, ...]
    unneeded: tuple[str, ...]
    rows: tuple[WrongValue, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Can all be pulled, and is nothing wrong in the database any more?"""
        return not self.damaged and all(each.mended for each in self.rows)


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

    def document(self, digest: str) -> bytes:
        """A manifest of any size, verified. Raises StoreError, NotFound, ContentError."""
        try:
            with os_errors("read it"), open(self.path(digest), "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                data = file.read(MAX_DOCUMENT + 1)
        except FileNotFoundError:
            raise NotFound(f"{digest} is missing") from None
        if Digest.of(data, Digest(digest).algorithm) != digest:
            raise ContentError(_OTHER)
        return data


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

    def document(self, digest: str) -> bytes:
        """A manifest of any size, verified. Raises Unavailable, NotFound, ContentError."""
        return self._storage.read(Digest(digest))


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
    `rate`: bytes per second at most, 0 for as many as come. `repair`: write rows again that content shows to
    be wrong, and remove those that cannot be.
    """

    read: bool = False
    sparse: bool = False
    rate: int = 0
    repair: bool = False


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
        self._read, self._sparse, self._repair = options.read, options.sparse, options.repair
        self._throttle = Throttle(options.rate) if options.rate else None
        self._task = (progress or NullProgress()).task("registry")
        self._lock = Lock()
        self._problems: dict[str, tuple[int, str]] = {}
        self._blobs = self._bytes = self._manifests = 0
        self._wrong: dict[tuple[str, str, str], WrongValue] = {}

    def run(self) -> RegistryReport:
        """Look at all of it. Raises StoreError."""
        for each in RowCheck(self._catalog, repair=self._repair).run():
            self._note(each)
        ((count,),) = self._catalog.listed("SELECT count(*) FROM repositories")
        damaged: tuple[DamagedManifest, ...] = ()
        try:
            damaged = self._look()
        except StoreError:
            if not self._wrong:  # else it has been said what cannot be read
                raise
        self._task.done("Checked")
        needed = {each.part for each in damaged}
        unneeded = tuple(sorted(self._problems.keys() - needed))
        counts = (count, self._manifests, self._blobs, self._bytes)
        return RegistryReport(*counts, damaged, unneeded, tuple(self._wrong.values()))

    def _look(self) -> tuple[DamagedManifest, ...]:
        self._look_for_manifests()
        self._look_at_blobs()
        return self._again([each for row in self._rows() for each in self._judge(row)])

    def _note(self, found: WrongValue) -> None:
        """Once each; what was mended stays so."""
        key = (found.table, found.row, found.column or found.value)
        if not (key in self._wrong and self._wrong[key].mended):
            self._wrong[key] = found

    def _look_for_manifests(self) -> None:
        """Those that tags name, but that have no row."""
        for repository, name, tag, digest in self._catalog.listed(_LOST):
            if not (self._repair and self._record(repository, name, digest)):
                self._note(WrongValue("tags", f"{name} {tag}", "", f"there is no manifest {shown(digest)}"))

    def _record(self, repository: int, name: str, digest: str) -> bool:
        """Make the row of a manifest again, if its content is there."""
        try:
            document = self._understood(self._content.document(digest), "")
        except (ContentError, RegistryError, StoreError, NotFound, InvalidName):
            return False
        self._catalog.record(repository, name, digest, document, new=True)
        self._note(WrongValue("manifests", f"{name} {digest}", "", "it is missing", _AGAIN))
        return True

    # content

    def _look_at_blobs(self) -> None:
        sql = "SELECT coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM blobs GROUP BY digest) x"
        self._task.phase("Checking", int(self._catalog.listed(sql)[0][0]))
        for rows in contents(self._catalog, "blobs"):
            in_parallel(lambda row, _stop: self._blob(*row), rows, self._content.threads)

    def _blob(self, digest: str, size: int) -> None:
        if not (is_digest(digest) and is_size(size)):
            return
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
        if not is_digest(digest):
            return
        for part, problem in self._faults(row):
            if self._catalog.listed(_ONE, repository, digest):
                yield DamagedManifest(name, self._references(repository, digest), digest, part, problem)

    def _faults(self, row: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
        repository, name, digest, size, media_type = row[:5]
        try:
            document = self._understood(self._document(digest, size), media_type)
        except (ContentError, RegistryError) as error:
            yield digest, error.message
            return
        self._compare(row, document)
        known = {row[0] for row in self._catalog.listed(_PARTS, repository, digest)}
        if self._repair and not known.issuperset(part.digest for part in document.parts):
            known.update(part.digest for part in document.parts)
            self._write(row, document, "parts", "not all are noted")
        for part in document.parts:
            if problem := self._part(repository, name, part):
                yield part.digest, problem
            elif part.digest not in known:
                yield part.digest, "is not noted as a part, so a collection may remove it"

    def _compare(self, row: tuple[Any, ...], document: Document) -> None:
        """Does the row say what the manifest says?"""
        wanted = (document.size, document.media_type, document.subject, document.artifact_type)
        notes = json.loads(row[7]) if is_record(row[7]) else None
        for column, said, right in zip(_SAID, row[3:7], wanted, strict=True):
            if said != right:
                self._write(row, document, column, shown(said))
        if notes != dict(document.annotations):
            self._write(row, document, "annotations", shown(row[7]))

    def _write(self, row: tuple[Any, ...], document: Document, column: str, value: str) -> None:
        """Say that a column of its row is wrong, and write the row again."""
        repository, name, digest = row[:3]
        if self._repair:
            self._catalog.record(repository, name, digest, document)
        mended = _AGAIN if self._repair else ""
        self._note(WrongValue("manifests", f"{name} {digest}", column, value, mended))

    def _understood(self, data: bytes, media_type: str) -> Document:
        """What a document says; where its row has no media type that can be, by its own. Raises ContentError,
        RegistryError.
        """
        for each in (media_type,) if is_media_type(media_type) else ("", *DOCUMENT_TYPES[:-1]):
            with suppress(ContentError, RegistryError):
                return self._parse(data, each)
        return self._parse(data, media_type if is_media_type(media_type) else DOCUMENT_TYPES[-1])

    def _document(self, digest: str, size: int) -> bytes:
        """The bytes of a manifest, whatever size its row says. Raises ContentError."""
        self._pass(self._content.cost + (size if is_size(size) else 0))
        problem = self._content.problem(digest, size)
        try:
            return self._content.document(digest)
        except (StoreError, NotFound) as error:
            raise ContentError(problem or f"cannot be read: {error.message}") from None
        except ContentError:
            raise ContentError(problem or _OTHER) from None

    def _part(self, repository: int, name: str, part: Descriptor) -> str:
        rows = self._catalog.listed(PART_SIZE, repository, part.digest)
        if not rows:
            # parts of a copy are fetched when they are asked for
            lazy = self._sparse or self._catalog.listed(COPY, repository)
            mended = not lazy and self._repair and self._bring(repository, name, part)
            return "" if lazy or mended else "is not in the repository"
        if rows[0][0] != part.size:
            return self._sized(repository, name, part, rows[0][0])
        return self._problems.get(part.digest, (0, ""))[1]

    def _sized(self, repository: int, name: str, part: Descriptor, said: object) -> str:
        """A row has another size than a manifest: what of both is right says the content."""
        digest = Digest(part.digest)
        if part.media_type in DOCUMENT_TYPES:
            return ""  # the row is held against the document itself
        if self._content.problem(digest, part.size) or not self._is_whole(digest, part.size):
            return f"has {said} bytes, the manifest says {part.size}"
        if self._repair:
            self._catalog.mend_blob(name, digest, part.size)
        mended = _AGAIN if self._repair else ""
        self._problems.pop(digest, None)
        self._note(WrongValue("blobs", f"{name} {digest}", "size", shown(said), mended))
        return ""

    def _bring(self, repository: int, name: str, part: Descriptor) -> bool:
        """Make the row of a part again: the registry took the manifest, so it was there."""
        if part.media_type in DOCUMENT_TYPES:
            return self._record(repository, name, part.digest)
        if not self._is_whole(part.digest, part.size):
            return False
        self._catalog.record_blob(repository, name, part.digest, part.size)
        self._note(WrongValue("blobs", f"{name} {part.digest}", "", "it is missing", _AGAIN))
        return True

    def _is_whole(self, digest: str, size: int) -> bool:
        if not is_digest(digest) or self._content.problem(digest, size):
            return False
        return not any(isinstance(piece, str) for piece in _hash(self._content, digest, size))

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
            if is_digest(digest) and self._is_held(digest) and (problem := self._problem(digest, size)):
                self._problems[digest] = (size, problem)
        keys = dict.fromkeys((each.repository, each.digest) for each in found)
        sql = _ONE.replace("m.repository = ?", "r.name = ?")
        rows = [row for key in keys for row in self._catalog.listed(sql, *key)]
        return tuple(each for row in rows for each in self._judge(row))

    def _is_held(self, digest: str) -> bool:
        return bool(self._catalog.listed("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", digest))
