"""The questions that a registry asks, and its changes.

Every change is one transaction: what it checks still holds when it commits, so no manifest is ever recorded
without its parts and no part goes while a manifest needs it. A change locks what it looks at: repositories,
then content, then the rows of quotas, at last the journal of activity.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ...grammars.wire.conditions import ANYTHING
from ...grammars.wire.errors import Code, refusal
from ...words.digest import Digest
from ...words.errors import StoreError, Unavailable
from ..activity import Action, Author, note, pushed
from ..removed import Removal, keep_blob, keep_manifest, keep_repository, keep_tag
from . import uploads
from .cache import AnswerCache
from .model import FREE, Upload
from .quotas import QuotaExceeded, Quotas, charge
from .statements import (
    ADD_PART,
    ADD_REPOSITORY,
    BLOB_SIZE,
    BY_DIGEST,
    BY_TAG,
    CHILDREN,
    COPY,
    END_UPLOAD,
    FIND,
    HELD,
    IDLE_UPLOADS,
    KEEP_USED,
    LINK_BLOB,
    MANIFEST,
    NAMED,
    NEEDED_BY,
    NOTED,
    PART_SIZE,
    PUT_MANIFEST,
    REFERRERS,
    REFERRING,
    REPOSITORIES,
    SET_TAG,
    TAGGED,
    TAGGED_OTHERWISE,
    TAGS,
    TOUCH_UPLOAD,
    UPLOAD,
)
from .values import is_size, referrer, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from typing import TypeVar

    from ..storage.protocol import Placed
    from .model import (
        CatalogDatabase,
        CatalogTransaction,
        Contents,
        Document,
        Referrer,
        Stored,
        UploadLimits,
        WriteConditions,
    )

    T = TypeVar("T")

_REGISTRY = Author()
_AT_ONCE = 200
"""Rows of a repository that one transaction deletes."""


class Catalog:
    """What `database` holds; `close` closes it. Any thread may use it. Everything raises StoreError.

    `contents` is told, inside the transaction, of content that a repository gets and of a digest that none
    holds any more. Files of such a digest go after the commit, while a lock keeps everybody from it: a commit
    that fails would leave rows without them.
    """

    def __init__(self, database: CatalogDatabase, contents: Contents) -> None:
        self._database, self._contents = database, contents
        self._pins: dict[Digest, int] = {}
        self._pin_lock = threading.Lock()
        self.is_remote = database.is_remote
        self.read, self.listed, self.now = database.read, database.listed, database.now
        self.version = database.version
        self.every, self.problems = database.every, database.problems
        self.rebuild_indexes = database.rebuild_indexes
        self.quotas = Quotas(database)
        self._manifests, self._blobs = (AnswerCache(database.version) for _ in range(2))
        self.keeps_removed = True
        """Can what somebody deletes be restored for a while?"""

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self._database.close()

    # ── reading ──

    def exists(self, name: str) -> bool:
        """Was anything ever pushed to this repository?"""
        return bool(self._database.read(FIND, name))

    def manifest(self, name: str, reference: str) -> Stored | None:
        """The manifest under a tag or a digest. Raises DamagedStore for a row that cannot be."""
        return self._manifests.ask(self._manifest, name, reference)

    def _manifest(self, name: str, reference: str) -> Stored | None:
        rows = self._read("manifests", BY_DIGEST if ":" in reference else BY_TAG, name, reference)
        return stored(name, rows[0][:3]) if rows else None

    def blob(self, name: str, digest: Digest) -> int | None:
        """The size of a blob of this repository; None when it is not (or not visibly) there, -1 where the
        database has something else.
        """
        return self._blobs.ask(self._blob, name, digest)

    def _blob(self, name: str, digest: str) -> int | None:
        rows = self._read("blobs", BLOB_SIZE, name, digest)
        if not rows:
            return None
        return int(rows[0][0]) if is_size(rows[0][0]) else -1

    def mend_blob(self, name: str, digest: Digest, size: int) -> None:
        """Its content, which was hashed, has this size, and the row of `name` another."""
        sql = "UPDATE blobs SET size = ? WHERE repository = ? AND digest = ?"
        self.change(lambda db: db.execute(sql, (size, _find(db, name), digest)).rowcount)

    def _read(self, table: str, sql: str, name: str, reference: str) -> list[Any]:
        """What is asked for a client. Another process may be about to remove it: what a client is told of is
        no longer unused. (The memory of one process has that for itself: `garbage.Mentions`.)
        """
        rows = self._database.read(NOTED[sql] if self.is_remote else sql, name, reference)
        if rows and self.is_remote and rows[0][-1]:
            digest = rows[0][0] if table == "manifests" else reference
            return rows if self.change(lambda db: _keep_used(db, name, table, digest)) else []
        return rows

    def record(
        self, repository: int, name: str, digest: str, document: Document, *, new: bool = False
    ) -> None:
        """Write the row of a manifest whose content is there, and its parts, as pushing it does; only where
        it is still there, unless it is `new`.
        """

        def write(db: CatalogTransaction) -> None:
            db.lock(f"repository {name}")
            if new or db.execute(MANIFEST, (repository, digest)).fetchone():
                _insert_manifest(db, repository, digest, document)

        self.change(write)

    def record_blob(self, repository: int, name: str, digest: str, size: int) -> None:
        """Write the row of a blob whose content is there."""

        def write(db: CatalogTransaction) -> None:
            db.lock(f"repository {name}")
            _lock_content(db, digest)
            _link_blob(db, repository, digest, size)

        self.change(write)

    def repositories(self, last: str, limit: int) -> list[str]:
        """Names after `last` in order, at most `limit`."""
        return [row[0] for row in self.listed(REPOSITORIES, last, limit)]

    def tags(self, name: str, last: str, limit: int) -> list[str]:
        """Tags after `last` in the spec's order (case does not count), at most `limit`."""
        return [row[0] for row in self.listed(TAGS, name, last, limit)]

    def referrers(
        self, name: str, subject: Digest, artifact_type: str, last: str, limit: int
    ) -> list[Referrer]:
        """What names `subject` as its subject, by digest after `last`; `artifact_type` "" is any."""
        rows = self.listed(REFERRERS, name, subject, last, artifact_type, limit)
        return [referrer(name, row) for row in rows]

    def check_parts(self, name: str, document: Document, *, sparse: bool = False) -> int:
        """Raises and gives what `put_manifest` would, before anything is written."""
        found = self.listed(FIND, name)
        repository = found[0][0] if found else None
        return _check_parts(self.listed, repository, document, sparse)

    # ── writing ──

    @contextmanager
    def pinned(self, digest: Digest) -> Iterator[None]:
        """While this lasts, nobody removes the content of `digest`, though no repository may hold it yet.

        Content that still belongs to no repository at the end is removed.
        """
        self._pin(digest)
        try:
            self.change(lambda db: _lock_content(db, digest))  # a removal that has begun is over
            yield
        except BaseException:
            self._unpin(digest)
            self._drop(digest)
            raise
        self._unpin(digest)

    def _pin(self, digest: Digest) -> None:
        with self._pin_lock:
            self._pins[digest] = self._pins.get(digest, 0) + 1

    def _unpin(self, digest: Digest) -> None:
        with self._pin_lock:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]

    def change(self, function: Callable[[CatalogTransaction], T], *, durable: bool = True) -> T:
        """`function(transaction)` as `CatalogDatabase.change` does it; then content goes that it orphaned."""
        orphans: list[Digest] = []

        def run(db: CatalogTransaction) -> T:
            answer = function(db)
            orphans[:] = db.orphans
            return answer

        answer = self._database.change(run, durable=durable)
        if orphans:
            with suppress(StoreError, Unavailable):  # the change is made; the next start tidies up
                self._database.change(lambda db: self._remove_unheld(db, orphans))
        return answer

    def _remove_unheld(self, db: CatalogTransaction, digests: list[Digest]) -> None:
        db.lock(*(f"content {digest}" for digest in digests))
        for digest in digests:
            if self._is_free(db, digest):
                self._contents.drop(digest)

    def _is_free(self, db: CatalogTransaction, digest: str) -> bool:
        return digest not in self._pins and not db.execute(HELD, (digest,)).fetchone()

    def drop_content(self, db: CatalogTransaction, digest: str) -> bool:
        """Remove the content of a digest if no repository holds it any more; was it so?"""
        _lock_content(db, digest)
        gone = self._is_free(db, digest)
        if gone:
            self._contents.remove(db, Digest(digest))
        return gone

    def forget(self, db: CatalogTransaction, table: str, repository: int, digest: str) -> int:
        """Take a row out of `manifests` or `blobs`, with what followed it; bytes of content that are gone."""
        place, where = (repository, digest), f"FROM {table} WHERE repository = ? AND digest = ?"
        (size,) = db.execute(f"SELECT size {where}", place).fetchone()
        below = _below(db, repository, digest) if table == "manifests" else []
        db.execute(f"DELETE {where}", place)
        freed = size if self.drop_content(db, digest) else 0
        self._delete_unnamed(db, repository, below)
        return int(freed)

    def drop_unheld(self, digests: Iterable[Digest]) -> None:
        """Remove the content of those that no repository holds and nobody is about to add."""
        for digest in digests:
            if not self.listed(HELD, digest):
                self._drop(digest)

    def _drop(self, digest: Digest) -> None:
        self.change(lambda db: self.drop_content(db, digest))

    def add_blob(self, name: str, placed: Placed, upload: str = "") -> None:
        """A blob was pushed to `name`, by that upload, which ends.

        Raises RegistryError BLOB_UPLOAD_UNKNOWN if it has ended already.
        """

        def add(db: CatalogTransaction) -> None:
            if upload and not db.execute(END_UPLOAD, (upload,)).rowcount:
                raise refusal(Code.BLOB_UPLOAD_UNKNOWN)
            self._contents.end(db, upload, placed.key)
            repository = _repository(db, name)
            self._keep_content(db, placed)
            charge(db, name, placed.digest, placed.size)
            _link_blob(db, repository, placed.digest, placed.size)

        self._charged(add)

    def _keep_content(self, db: CatalogTransaction, placed: Placed) -> None:
        _lock_content(db, placed.digest)
        self._contents.keep(db, placed)

    def _charged(self, change: Callable[[CatalogTransaction], T]) -> T:
        """A change by which a namespace may grow. Raises QuotaExceeded (DENIED) if it got too large."""
        try:
            return self.change(change)
        except QuotaExceeded as error:
            if self.quotas.recount(error.quota).used >= error.quota.used:
                raise
        return self.change(change)

    def mount(self, name: str, digest: Digest, source: str, author: Author = _REGISTRY) -> bool:
        """Make the blob of repository `source` one of `name` too; False when `source` does not have it."""

        def link(db: CatalogTransaction) -> bool:
            db.lock(f"repository {name}")
            _lock_content(db, digest)  # before it is looked at: the last that has it may just let go
            row = db.execute(BLOB_SIZE, (source, digest)).fetchone()
            if row:
                charge(db, name, digest, row[0])
                _link_blob(db, _repository(db, name), digest, row[0])
                note(db, author, Action("mount", name, source, digest))
            return row is not None

        return self._charged(link)

    def put_manifest(
        self, name: str, placed: Placed, document: Document, tags: Sequence[str] = (),
        guard: WriteConditions = FREE, author: Author = _REGISTRY,
    ) -> int:  # fmt: skip
        """Record a manifest and tags for it; gives the number of its parts that are absent. Idempotent.

        Raises RegistryError PRECONDITION_FAILED or DENIED (409) by `guard`, SIZE_INVALID when a part has
        another size than the manifest says, and MANIFEST_BLOB_UNKNOWN when one is not in the repository and
        must be: such an image could not be pulled.
        """

        def put(db: CatalogTransaction) -> int:
            digest, repository = placed.digest, _repository(db, name)
            _check_guard(db, name, guard)
            _check_frozen(db, repository, guard.frozen, digest)
            absent = _check_parts(_rows_of(db), repository, document, guard.sparse)
            self._keep_content(db, placed)
            charge(db, name, digest, document.size)
            new = _insert_manifest(db, repository, digest, document)
            removal = Removal(name, db.now(), author)
            former = {tag: self.set_tag(db, repository, removal, tag, digest) for tag in tags}
            note(db, author, *pushed(name, digest, former, new=new))
            return absent

        return self._charged(put)

    def delete_tag(
        self, name: str, tag: str, guard: WriteConditions = FREE, author: Author = _REGISTRY
    ) -> bool:
        """Forget a tag; the manifest stays. False when there is none. Raises PRECONDITION_FAILED."""

        def delete(db: CatalogTransaction) -> bool:
            place = (_find(db, name), tag)
            _check_guard(db, name, guard)
            row = db.execute(TAGGED, place).fetchone()
            if row:
                self._keep_tag(db, Removal(name, db.now(), author), tag, row[0])
                db.execute("DELETE FROM tags WHERE repository = ? AND tag = ?", place)
                note(db, author, Action("delete", name, tag, row[0]))
            return row is not None

        return self.change(delete)

    def delete_manifest(
        self, name: str, digest: Digest, guard: WriteConditions = FREE, author: Author = _REGISTRY, *,
        children: bool = False,
    ) -> bool:  # fmt: skip
        """Forget a manifest and its tags, and with `children` those of its manifests that no tag and no
        other index names. False when there is none.

        Raises RegistryError UNSUPPORTED (405) when an index of the repository needs it, PRECONDITION_FAILED.
        """

        def delete(db: CatalogTransaction) -> bool:
            db.lock(f"repository {name}")
            _check_guard(db, name, guard)
            return self._delete(db, "manifests", Action("delete", name, "", digest), author, children)

        return self.change(delete)

    def delete_blob(self, name: str, digest: Digest, author: Author = _REGISTRY) -> bool:
        """Forget a blob. False when there is none.

        Raises RegistryError UNSUPPORTED (405) when a manifest of the repository needs it.
        """
        action = Action("delete", name, "", digest)
        return self.change(lambda db: self._delete(db, "blobs", action, author))

    def _delete(
        self, db: CatalogTransaction, table: str, action: Action, author: Author, children: bool = False
    ) -> bool:
        repository, digest = _find(db, action.repository), action.digest
        place, where = (repository, digest), f"FROM {table} WHERE repository = ? AND digest = ?"
        if repository is None or not db.execute(f"SELECT 1 {where}", place).fetchone():
            return False
        _check_unused(db, repository, digest)
        below = _children(db, repository, digest) if children else []
        removal = Removal(action.repository, db.now(), author)
        self._remove_row(db, table, repository, digest, removal)
        self._delete_unnamed(db, repository, below, removal)
        note(db, author, action)
        return True

    def _delete_unnamed(
        self, db: CatalogTransaction, repository: int, found: list[str], removal: Removal | None = None
    ) -> None:
        """Delete those that nothing names any more, and what is below them."""
        while found:
            digest = found.pop()
            if not db.execute(NAMED, (repository, digest)).fetchone():
                found += _children(db, repository, digest)
                self._remove_row(db, "manifests", repository, digest, removal)

    def _remove_row(
        self, db: CatalogTransaction, table: str, repository: int, digest: str, removal: Removal | None
    ) -> None:
        """With `removal` it can be restored for a while."""
        if removal and self.keeps_removed:
            keep = keep_manifest if table == "manifests" else keep_blob
            keep(db, removal, repository, digest)
        db.execute(f"DELETE FROM {table} WHERE repository = ? AND digest = ?", (repository, digest))
        self.drop_content(db, digest)

    def _keep_tag(self, db: CatalogTransaction, removal: Removal, tag: str, digest: str) -> None:
        if self.keeps_removed:
            keep_tag(db, removal, tag, digest)

    def repository(self, db: CatalogTransaction, name: str) -> int:
        """The number of a repository; it is made if there is none."""
        return _repository(db, name)

    def set_tag(
        self, db: CatalogTransaction, repository: int, removal: Removal, tag: str, digest: str
    ) -> str:
        """Gives what it named before, "" if it was not set; that can be restored for a while."""
        row = db.execute(TAGGED, (repository, tag)).fetchone()
        if row and row[0] != digest:
            self._keep_tag(db, removal, tag, row[0])
        db.execute(SET_TAG, (repository, tag, digest, db.now()))
        return str(row[0]) if row else ""

    def delete_repository(self, name: str, author: Author = _REGISTRY) -> Iterator[int]:
        """Forget a repository with all that is in it, a little at each step; how much is gone so far.

        Nothing is given where there is none. What is pushed meanwhile goes as well.
        """
        at = self.change(lambda db: self._begin_deletion(db, name, author))
        count, some = 0, 1 if at else 0
        while some:
            some = self.change(lambda db: self._delete_some(db, Removal(name, at, author)))
            count += some
            yield count

    def _begin_deletion(self, db: CatalogTransaction, name: str, author: Author) -> float:
        repository, at = _find(db, name), db.now()
        if repository is None:
            return 0.0
        if self.keeps_removed and not _is_copy(db, repository):
            keep_repository(db, Removal(name, at, author), repository)
        note(db, author, Action("delete", name))
        return at

    def _delete_some(self, db: CatalogTransaction, removal: Removal) -> int:
        repository = _find(db, removal.repository)
        if repository is None:
            return 0
        if _is_copy(db, repository):  # it can be fetched again: its grace time is over at once
            removal = removal._replace(at=0.0)
        for table in ("manifests", "blobs"):
            sql = f"SELECT digest FROM {table} WHERE repository = ? LIMIT {_AT_ONCE}"
            rows = db.execute(sql, (repository,)).fetchall()
            for (digest,) in rows:
                self._remove_row(db, table, repository, digest, removal)
            if rows:
                return len(rows)
        for table in ("unused", "descriptions", "used", "cached"):
            db.execute(f"DELETE FROM {table} WHERE repository = ?", (repository,))
        db.execute("DELETE FROM repositories WHERE id = ?", (repository,))
        return 0

    # ── uploads: a power cut may forget them, their content is not synced either ──

    def begin_upload(
        self, upload: str, row: Upload, limits: UploadLimits, busy: AbstractSet[str] = frozenset()
    ) -> str:
        """Record a session. Gives the id of the one that had to give way to it, "" if none had.

        Of an owner who has too many the oldest goes that is empty, or that nobody has used for `idle`
        seconds, and is not `busy`; if all have too many together, one of the owner who has most. Raises
        RegistryError TOOMANYREQUESTS when none can.
        """

        def begin(db: CatalogTransaction) -> str:
            loser = uploads.begin(db, upload, row, limits, busy)
            self._contents.end(db, loser)
            return loser

        return self.change(begin, durable=False)

    def upload(self, upload: str) -> Upload | None:
        """An unfinished upload by its id; None when there is none."""
        rows = self._database.read(UPLOAD, upload)
        return Upload(*rows[0]) if rows else None

    def touch_upload(self, upload: str, received: int) -> bool:
        """The session was used now and has `received` bytes; False when it is gone."""

        def touch(db: CatalogTransaction) -> bool:
            return db.execute(TOUCH_UPLOAD, (db.now(), received, upload)).rowcount > 0

        return self.change(touch, durable=False)

    def end_upload(self, upload: str) -> None:
        """Delete the row of an upload. Idempotent."""

        def end(db: CatalogTransaction) -> None:
            self._contents.end(db, upload)
            db.execute(END_UPLOAD, (upload,))

        self.change(end, durable=False)

    def idle_uploads(self, seconds: float) -> Sequence[str]:
        """Sessions that nobody used for so long."""
        return [row[0] for row in self._database.read(IDLE_UPLOADS, self.now() - seconds)]


def _find(db: CatalogTransaction, name: str) -> int | None:
    """The number of a repository, locked for the rest of the transaction."""
    db.lock(f"repository {name}")
    row = db.execute(FIND, (name,)).fetchone()
    return row[0] if row else None


def _repository(db: CatalogTransaction, name: str) -> int:
    found = _find(db, name)
    if found is None:
        db.execute(ADD_REPOSITORY, (name,))
        found = _find(db, name)
    assert found is not None
    return found


def _lock_content(db: CatalogTransaction, digest: str) -> None:
    db.lock(f"content {digest}")


def _check_guard(db: CatalogTransaction, name: str, guard: WriteConditions) -> None:
    if guard.conditions != ANYTHING:
        sql = BY_DIGEST if ":" in guard.reference else BY_TAG
        row = db.execute(sql, (name, guard.reference)).fetchone()
        guard.conditions.check_change(row[0] if row else "")


def _keep_used(db: CatalogTransaction, name: str, table: str, digest: str) -> bool:
    """It is not unused any more; False if it is gone."""
    place = (_find(db, name), digest)
    db.execute(KEEP_USED, (*place, table))
    sql = f"SELECT 1 FROM {table} WHERE repository = ? AND digest = ?"
    return db.execute(sql, place).fetchone() is not None


def _link_blob(db: CatalogTransaction, repository: int, digest: str, size: int) -> None:
    db.execute(LINK_BLOB, (repository, digest, size, db.now()))


def _rows_of(db: CatalogTransaction) -> Callable[..., list[Any]]:
    return lambda sql, *values: db.execute(sql, values).fetchall()


def _check_parts(
    rows: Callable[..., list[Any]], repository: int | None, document: Document, sparse: bool
) -> int:
    absent = 0
    for part in document.parts:
        found = rows(PART_SIZE, repository, part.digest)
        if not found and sparse:
            absent += 1
        elif not found:
            text = f"manifest needs {part.digest}, which is not in this repository"
            raise refusal(Code.MANIFEST_BLOB_UNKNOWN, text)
        elif found[0][0] != part.size:
            text = f"{part.digest} has {found[0][0]} bytes, the manifest says {part.size}"
            raise refusal(Code.SIZE_INVALID, text)
    return absent


def _insert_manifest(db: CatalogTransaction, repository: int, digest: str, document: Document) -> bool:
    """Was it not there before?"""
    new = not db.execute(MANIFEST, (repository, digest)).fetchone()
    notes = json.dumps(dict(document.annotations))
    size, kind = document.size, document.media_type
    row = (repository, digest, size, kind, document.subject, document.artifact_type, notes, db.now())
    db.execute(PUT_MANIFEST, row)
    db.executemany(ADD_PART, [(repository, digest, part.digest) for part in document.parts])
    return new


def _below(db: CatalogTransaction, repository: int, digest: str) -> list[str]:
    """What goes with a manifest unless something else names it: its manifests, and its referrers."""
    referring = [row[0] for row in db.execute(REFERRING, (repository, digest))]
    return _children(db, repository, digest) + referring


def _is_copy(db: CatalogTransaction, repository: int) -> bool:
    return db.execute(COPY, (repository,)).fetchone() is not None


def _check_frozen(db: CatalogTransaction, repository: int, tags: Sequence[str], digest: str) -> None:
    for tag in tags:
        row = db.execute(TAGGED_OTHERWISE, (repository, tag, digest)).fetchone()
        if row:
            raise refusal(Code.DENIED, f"tag {tag} is immutable here and names {row[0]}", status=409)


def _children(db: CatalogTransaction, repository: int, digest: str) -> list[str]:
    """The parts of a manifest that are manifests themselves."""
    return [row[0] for row in db.execute(CHILDREN, (repository, digest))]


def _check_unused(db: CatalogTransaction, repository: int, digest: str) -> None:
    row = db.execute(NEEDED_BY, (repository, digest)).fetchone()
    if row:
        raise refusal(Code.UNSUPPORTED, f"{digest} is needed by {row[0]}: delete that first")
