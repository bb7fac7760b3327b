"""What the registry holds under which name: one SQLite file, `ROOT/registry.db`.

    repositories ──< blobs       which content was pushed or mounted there (nothing else is visible)
                 ──< manifests ──< parts     what a manifest needs, of blobs and of other manifests
                 ──< tags        names of manifests
    uploads                      sessions that have begun and not ended
    unused                       what nothing names, and since when: see `garbage`
    activity                     who did what: see `activity`
    jobs                         who does what beside the requests: see `joblocks`

Content itself is in the blob store. Every change is one IMMEDIATE transaction: what it checks still
holds when it commits, so no manifest is ever recorded without its parts and no part goes while a
manifest needs it. A `Catalog` may be used from any thread; reads never wait for a writer (WAL), and
take some 20 µs, so the event loop makes them itself.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..grammars.wire.conditions import ANYTHING, Conditions
from ..grammars.wire.errors import Code, refusal
from ..ground.files import os_errors
from ..words.digest import Digest
from ..words.errors import DiskFull, StoreError
from .activity import Action, Author, note, pushed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from ..words.oci import Descriptor

VERSION = 4
_ACTIVITY = """
CREATE TABLE activity (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, client TEXT NOT NULL,
    action TEXT NOT NULL, repository TEXT NOT NULL, reference TEXT NOT NULL, digest TEXT NOT NULL,
    former TEXT NOT NULL);
CREATE INDEX activity_repository ON activity (repository, id);
CREATE TABLE jobs (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL, ended REAL NOT NULL) WITHOUT ROWID;
"""
_SCHEMA = f"""
CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE blobs (
    repository INTEGER NOT NULL REFERENCES repositories, digest TEXT NOT NULL, size INTEGER NOT NULL,
    added REAL NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX blobs_digest ON blobs (digest);
CREATE TABLE manifests (
    repository INTEGER NOT NULL REFERENCES repositories, digest TEXT NOT NULL, size INTEGER NOT NULL,
    media_type TEXT NOT NULL, subject TEXT NOT NULL, artifact_type TEXT NOT NULL,
    annotations TEXT NOT NULL, added REAL NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX manifests_digest ON manifests (digest);
CREATE INDEX manifests_subject ON manifests (repository, subject, digest) WHERE subject != '';
CREATE TABLE parts (
    repository INTEGER NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, digest),
    FOREIGN KEY (repository, manifest) REFERENCES manifests ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX parts_digest ON parts (repository, digest);
CREATE TABLE tags (
    repository INTEGER NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, updated REAL NOT NULL,
    PRIMARY KEY (repository, tag),
    FOREIGN KEY (repository, digest) REFERENCES manifests ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX tags_order ON tags (repository, tag COLLATE NOCASE, tag);
CREATE INDEX tags_digest ON tags (repository, digest);
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, touched REAL NOT NULL, owner TEXT NOT NULL DEFAULT '',
    received INTEGER NOT NULL DEFAULT 0, algorithm TEXT NOT NULL DEFAULT 'sha256') WITHOUT ROWID;
CREATE INDEX uploads_owner ON uploads (owner, touched);
CREATE TABLE unused (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (repository, digest, kind)) WITHOUT ROWID;
CREATE INDEX unused_since ON unused (kind, since);
{_ACTIVITY}"""
_STEPS = {
    1: """ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
          ALTER TABLE uploads ADD COLUMN received INTEGER NOT NULL DEFAULT 0;
          ALTER TABLE uploads ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'sha256';
          CREATE INDEX uploads_owner ON uploads (owner, touched);""",
    2: """CREATE TABLE unused (
              repository INTEGER NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, since REAL NOT NULL,
              PRIMARY KEY (repository, digest, kind)) WITHOUT ROWID;
          CREATE INDEX unused_since ON unused (kind, since);""",
    3: _ACTIVITY,
}
"""What makes a database of the format that is the key one of the next."""
_HELD = "SELECT 1 FROM blobs WHERE digest = ? UNION ALL SELECT 1 FROM manifests WHERE digest = ?"
_NAMED = """SELECT 1 FROM tags WHERE repository = ? AND digest = ?
    UNION ALL SELECT 1 FROM parts WHERE repository = ? AND digest = ?"""
_BY_TAG = """
    SELECT m.digest, m.media_type, m.size FROM tags t JOIN repositories r ON r.id = t.repository
    JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest WHERE r.name = ? AND t.tag = ?"""
_BY_DIGEST = """
    SELECT m.digest, m.media_type, m.size FROM repositories r
    JOIN manifests m ON m.repository = r.id WHERE r.name = ? AND m.digest = ?"""
_BLOB_SIZE = """
    SELECT b.size FROM blobs b JOIN repositories r ON r.id = b.repository WHERE r.name = ? AND b.digest = ?"""
_REFERRERS = """
    SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations FROM repositories r
    JOIN manifests m ON m.repository = r.id
    WHERE r.name = ? AND m.subject = ? AND m.digest > ? AND (? = '' OR m.artifact_type = ?)
    ORDER BY m.digest"""


class Stored(NamedTuple):
    """A manifest as a repository knows it."""

    digest: Digest
    media_type: str
    size: int


class Document(NamedTuple):
    """What is recorded of a pushed manifest or index, `size` in bytes.

    `parts` must be in the repository; `subject` ("" if none) need not be.
    """

    media_type: str
    size: int
    parts: tuple[Descriptor, ...]
    subject: str
    artifact_type: str
    annotations: tuple[tuple[str, str], ...]


class Upload(NamedTuple):
    """An unfinished upload to a repository: whose it is, and the algorithm of the digest it will have."""

    repository: str
    owner: str = ""
    algorithm: str = "sha256"


class UploadLimits(NamedTuple):
    """How many unfinished uploads there may be, of all and of each owner; seconds until one is idle."""

    most: int
    each: int
    idle: float


class WriteConditions(NamedTuple):
    """What must be under `reference` (a tag or a digest) for a change to be made.

    `frozen`: tags that the change sets only where they are not set yet. `sparse`: parts may be absent.
    """

    reference: str = ""
    conditions: Conditions = ANYTHING
    frozen: tuple[str, ...] = ()
    sparse: bool = False


_FREE = WriteConditions()
_REGISTRY = Author()


class Referrer(NamedTuple):
    """A manifest whose subject is another one."""

    digest: str
    media_type: str
    size: int
    artifact_type: str
    annotations: dict[str, str]


class Catalog:
    """Opens or makes the database `path`. Close it. Raises StoreError.

    `remove` deletes the content of a digest that no repository holds any more; it is called inside the
    transaction that found this out.
    """

    def __init__(self, path: str, remove: Callable[[Digest], object]) -> None:
        self._remove = remove
        self._pins: dict[Digest, int] = {}
        self._write_lock, self._read_lock, self._list_lock = (threading.Lock() for _ in range(3))
        with os_errors(f"open {path}"):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with _sqlite_errors(), ExitStack() as opened:
            self._writer = opened.enter_context(closing(_connect(path)))
            _prepare(self._writer)
            self._reader = opened.enter_context(closing(_connect(path)))
            self._lister = opened.enter_context(closing(_connect(path)))
            opened.pop_all()

    def close(self) -> None:
        """Close the database. Nothing may be called afterwards."""
        with self._write_lock, self._read_lock, self._list_lock:
            for connection in (self._writer, self._reader, self._lister):
                connection.close()

    # ── reading ──

    def _rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self._read_lock, _sqlite_errors():
            return self._reader.execute(sql, values).fetchall()

    def listed(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """For what may take long: by a connection of its own, so that the event loop's never waits."""
        with self._list_lock, _sqlite_errors():
            return self._lister.execute(sql, values).fetchall()

    def exists(self, name: str) -> bool:
        """Was anything ever pushed to this repository?"""
        return bool(self._rows("SELECT 1 FROM repositories WHERE name = ?", name))

    def manifest(self, name: str, reference: str) -> Stored | None:
        """The manifest under a tag or a digest."""
        rows = self._rows(_BY_DIGEST if ":" in reference else _BY_TAG, name, reference)
        return Stored(Digest(str(rows[0][0])), *rows[0][1:]) if rows else None  # type: ignore[arg-type]

    def blob(self, name: str, digest: Digest) -> int | None:
        """The size of a blob of this repository; None when it is not (or not visibly) there."""
        rows = self._rows(_BLOB_SIZE, name, digest)
        return int(str(rows[0][0])) if rows else None

    def repositories(self, last: str, limit: int) -> list[str]:
        """Names after `last` in order, at most `limit`."""
        sql = "SELECT name FROM repositories WHERE name > ? ORDER BY name LIMIT ?"
        return [str(row[0]) for row in self.listed(sql, last, limit)]

    def tags(self, name: str, last: str, limit: int) -> list[str]:
        """Tags after `last` in the spec's order (case does not count), at most `limit`."""
        sql = """SELECT tag FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?)
                 AND (tag COLLATE NOCASE, tag) > (?, ?) ORDER BY tag COLLATE NOCASE, tag LIMIT ?"""
        return [str(row[0]) for row in self.listed(sql, name, last, last, limit)]

    def referrers(
        self, name: str, subject: Digest, artifact_type: str, last: str, limit: int
    ) -> list[Referrer]:
        """What names `subject` as its subject, by digest after `last`; `artifact_type` "" is any."""
        values = (name, subject, last, artifact_type, artifact_type)
        rows = self.listed(f"{_REFERRERS} LIMIT {int(limit)}", *values)
        return [_referrer(row) for row in rows]

    def check_parts(self, name: str, document: Document, *, sparse: bool = False) -> int:
        """Raises and gives what `put_manifest` would, before anything is written."""
        with self._read_lock, _sqlite_errors():
            return _check_parts(self._reader, _find(self._reader, name), document, sparse)

    # ── writing ──

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which nobody else's change comes between."""
        with self._write_lock, _sqlite_errors():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._commit()

    def _commit(self) -> None:
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def pinned(self, digest: Digest) -> Iterator[None]:
        """While this lasts, nobody removes the content of `digest`, though no repository may hold it yet.

        Content that still belongs to no repository at the end is removed.
        """
        with self._write_lock:
            self._pins[digest] = self._pins.get(digest, 0) + 1
        try:
            yield
        except BaseException:
            self._unpin(digest, abandoned=True)
            raise
        self._unpin(digest, abandoned=False)

    def _unpin(self, digest: Digest, *, abandoned: bool) -> None:
        with self._write_lock:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]
        if abandoned:
            with self.change() as db:
                self._drop_content(db, digest)

    def _drop_content(self, db: sqlite3.Connection, digest: str) -> bool:
        gone = digest not in self._pins and not db.execute(_HELD, (digest, digest)).fetchone()
        if gone:
            self._remove(Digest(digest))
        return gone

    def forget(self, db: sqlite3.Connection, table: str, repository: int, digest: str) -> int:
        """Take a row out of `manifests` or `blobs`, with what followed it; bytes of content that are gone."""
        place, where = (repository, digest), f"FROM {table} WHERE repository = ? AND digest = ?"
        (size,) = db.execute(f"SELECT size {where}", place).fetchone()
        below = _below(db, repository, digest) if table == "manifests" else []
        db.execute(f"DELETE {where}", place)
        freed = size if self._drop_content(db, digest) else 0
        self._delete_unnamed(db, repository, below)
        return int(freed)

    def drop_unheld(self, digests: Iterable[Digest]) -> None:
        """Remove the content of those that no repository holds and nobody is about to add."""
        for digest in digests:
            if not self.listed(_HELD, digest, digest):
                with self.change() as db:
                    self._drop_content(db, digest)

    def add_blob(self, name: str, digest: Digest, size: int) -> None:
        """A blob was pushed to `name`."""
        with self.change() as db:
            _link_blob(db, _repository(db, name), digest, size)

    def mount(self, name: str, digest: Digest, source: str, author: Author = _REGISTRY) -> bool:
        """Make the blob of repository `source` one of `name` too; False when `source` does not have it."""
        with self.change() as db:
            row = db.execute(_BLOB_SIZE, (source, digest)).fetchone()
            if row:
                _link_blob(db, _repository(db, name), digest, row[0])
                note(db, author, Action("mount", name, source, digest))
            return row is not None

    def put_manifest(
        self, name: str, digest: Digest, document: Document, tags: Sequence[str] = (),
        guard: WriteConditions = _FREE, author: Author = _REGISTRY,
    ) -> int:  # fmt: skip
        """Record a manifest and tags for it; gives the number of its parts that are absent. Idempotent.

        Raises RegistryError PRECONDITION_FAILED or DENIED (409) by `guard`, SIZE_INVALID when a part has
        another size than the manifest says, and MANIFEST_BLOB_UNKNOWN when one is not in the repository and
        must be: such an image could not be pulled.
        """
        with self.change() as db:
            repository = _repository(db, name)
            _check_guard(db, name, guard)
            _check_frozen(db, repository, guard.frozen, digest)
            absent = _check_parts(db, repository, document, guard.sparse)
            new = _insert_manifest(db, repository, digest, document)
            former = {tag: _set_tag(db, repository, tag, digest) for tag in tags}
            note(db, author, *pushed(name, digest, former, new=new))
        return absent

    def delete_tag(
        self, name: str, tag: str, guard: WriteConditions = _FREE, author: Author = _REGISTRY
    ) -> bool:
        """Forget a tag; the manifest stays. False when there is none. Raises PRECONDITION_FAILED."""
        with self.change() as db:
            _check_guard(db, name, guard)
            place = (_find(db, name), tag)
            row = db.execute("SELECT digest FROM tags WHERE repository = ? AND tag = ?", place).fetchone()
            if row:
                db.execute("DELETE FROM tags WHERE repository = ? AND tag = ?", place)
                note(db, author, Action("delete", name, tag, row[0]))
            return row is not None

    def delete_manifest(
        self, name: str, digest: Digest, guard: WriteConditions = _FREE, author: Author = _REGISTRY, *,
        children: bool = False,
    ) -> bool:  # fmt: skip
        """Forget a manifest and its tags, and with `children` those of its manifests that no tag and no
        other index names. False when there is none.

        Raises RegistryError UNSUPPORTED (405) when an index of the repository needs it, PRECONDITION_FAILED.
        """
        with self.change() as db:
            _check_guard(db, name, guard)
            return self._delete(db, "manifests", Action("delete", name, "", digest), author, children)

    def delete_blob(self, name: str, digest: Digest, author: Author = _REGISTRY) -> bool:
        """Forget a blob. False when there is none.

        Raises RegistryError UNSUPPORTED (405) when a manifest of the repository needs it.
        """
        with self.change() as db:
            return self._delete(db, "blobs", Action("delete", name, "", digest), author)

    def _delete(
        self, db: sqlite3.Connection, table: str, action: Action, author: Author, children: bool = False
    ) -> bool:
        repository, digest = _find(db, action.repository), action.digest
        sql = f"SELECT 1 FROM {table} WHERE repository = ? AND digest = ?"
        if repository is None or not db.execute(sql, (repository, digest)).fetchone():
            return False
        _check_unused(db, repository, digest)
        below = _children(db, repository, digest) if children else []
        db.execute(f"DELETE FROM {table} WHERE repository = ? AND digest = ?", (repository, digest))
        note(db, author, action)
        self._drop_content(db, digest)
        self._delete_unnamed(db, repository, below)
        return True

    def _delete_unnamed(self, db: sqlite3.Connection, repository: int, found: list[str]) -> None:
        """Delete those that nothing names any more, and what is below them."""
        while found:
            digest = found.pop()
            if not db.execute(_NAMED, (repository, digest, repository, digest)).fetchone():
                found += _children(db, repository, digest)
                db.execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", (repository, digest))
                self._drop_content(db, digest)

    # ── uploads ──

    def begin_upload(
        self, upload: str, row: Upload, limits: UploadLimits, busy: AbstractSet[str] = frozenset()
    ) -> str:
        """Record a session. Gives the id of the one that had to give way to it, "" if none had.

        Of an owner who has too many the oldest goes that is empty, or that nobody has used for `idle`
        seconds, and is not `busy`; if all have too many together, one of the owner who has most. Raises
        RegistryError TOOMANYREQUESTS when none can.
        """
        with self.change() as db:
            loser = _loser(db, row.owner, limits, busy)
            db.execute("DELETE FROM uploads WHERE id = ?", (loser,))
            values = (upload, row.repository, time.time(), row.owner, row.algorithm)
            db.execute(
                "INSERT INTO uploads (id, repository, touched, owner, algorithm) VALUES (?, ?, ?, ?, ?)",
                values,
            )
        return loser

    def upload(self, upload: str) -> Upload | None:
        """An unfinished upload by its id; None when there is none."""
        rows = self._rows("SELECT repository, owner, algorithm FROM uploads WHERE id = ?", upload)
        return Upload(*map(str, rows[0])) if rows else None

    def touch_upload(self, upload: str, received: int) -> bool:
        """The session was used now and has `received` bytes; False when it is gone."""
        with self.change() as db:
            sql = "UPDATE uploads SET touched = ?, received = ? WHERE id = ?"
            return db.execute(sql, (time.time(), received, upload)).rowcount > 0

    def end_upload(self, upload: str) -> None:
        """Delete the row of an upload. Idempotent."""
        with self.change() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (upload,))

    def idle_uploads(self, seconds: float) -> Sequence[str]:
        """Sessions that nobody used for so long."""
        rows = self._rows("SELECT id FROM uploads WHERE touched < ?", time.time() - seconds)
        return [str(row[0]) for row in rows]


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise StoreError(f"the registry was written by a newer nacre (version {found}, known {VERSION})")
    if found == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    for before in range(found, VERSION) if found else ():
        step = f"{_STEPS[before]} PRAGMA user_version = {before + 1};"
        db.executescript(f"BEGIN IMMEDIATE; {step} COMMIT;")


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL"):
            raise DiskFull("registry database: no space left on device") from error
        raise StoreError(f"registry database: {error}") from error


def _find(db: sqlite3.Connection, name: str) -> int | None:
    row = db.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _check_guard(db: sqlite3.Connection, name: str, guard: WriteConditions) -> None:
    if guard.conditions != ANYTHING:
        sql = _BY_DIGEST if ":" in guard.reference else _BY_TAG
        row = db.execute(sql, (name, guard.reference)).fetchone()
        guard.conditions.check_change(row[0] if row else "")


def _loser(db: sqlite3.Connection, owner: str, limits: UploadLimits, busy: AbstractSet[str]) -> str:
    """The upload that gives way to a new one of `owner`, "" if there is room."""
    count = "SELECT count(*) FROM uploads"
    if db.execute(f"{count} WHERE owner = ?", (owner,)).fetchone()[0] >= limits.each:
        return _oldest(db, owner, limits, busy) or _refuse(f"you have {limits.each} unfinished uploads")
    if db.execute(count).fetchone()[0] < limits.most:
        return ""
    sql = "SELECT owner FROM uploads GROUP BY owner ORDER BY count(*) DESC"
    found = (_oldest(db, row[0], limits, busy) for row in db.execute(sql).fetchall())
    return next(filter(None, found), "") or _refuse(f"there are {limits.most} unfinished uploads")


def _oldest(db: sqlite3.Connection, owner: str, limits: UploadLimits, busy: AbstractSet[str]) -> str:
    sql = """SELECT id FROM uploads WHERE owner = ? AND (received = 0 OR touched < ?)
             ORDER BY received > 0, touched"""
    rows = db.execute(sql, (owner, time.time() - limits.idle))
    return next((row[0] for row in rows if row[0] not in busy), "")


def _refuse(what: str) -> NoReturn:
    raise refusal(Code.TOOMANYREQUESTS, f"{what}: finish or cancel some")


def _repository(db: sqlite3.Connection, name: str) -> int:
    db.execute("INSERT OR IGNORE INTO repositories (name) VALUES (?)", (name,))
    found = _find(db, name)
    assert found is not None
    return found


def _referrer(row: tuple[Any, ...]) -> Referrer:
    digest, media_type, size, artifact_type, notes = row
    return Referrer(digest, media_type, size, artifact_type, json.loads(notes))


def _link_blob(db: sqlite3.Connection, repository: int, digest: str, size: int) -> None:
    values = (repository, digest, size, time.time())
    db.execute("INSERT INTO blobs VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET added = ?4", values)


def _check_parts(
    db: sqlite3.Connection, repository: int | None, document: Document, sparse: bool = False
) -> int:
    absent = 0
    sql = """SELECT size FROM blobs WHERE repository = ?1 AND digest = ?2
             UNION ALL SELECT size FROM manifests WHERE repository = ?1 AND digest = ?2"""
    for part in document.parts:
        row = db.execute(sql, (repository, part.digest)).fetchone()
        if row is None and sparse:
            absent += 1
        elif row is None:
            text = f"manifest needs {part.digest}, which is not in this repository"
            raise refusal(Code.MANIFEST_BLOB_UNKNOWN, text)
        elif row[0] != part.size:
            text = f"{part.digest} has {row[0]} bytes, the manifest says {part.size}"
            raise refusal(Code.SIZE_INVALID, text)
    return absent


def _set_tag(db: sqlite3.Connection, repository: int, tag: str, digest: str) -> str:
    """What it named before, "" if it was not set."""
    place = (repository, tag)
    row = db.execute("SELECT digest FROM tags WHERE repository = ? AND tag = ?", place).fetchone()
    db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", (*place, digest, time.time()))
    return str(row[0]) if row else ""


def _insert_manifest(db: sqlite3.Connection, repository: int, digest: str, document: Document) -> bool:
    """Was it not there before?"""
    sql = "SELECT 1 FROM manifests WHERE repository = ? AND digest = ?"
    new = db.execute(sql, (repository, digest)).fetchone() is None
    notes = json.dumps(dict(document.annotations))
    size, kind = document.size, document.media_type
    row = (repository, digest, size, kind, document.subject, document.artifact_type)
    # not REPLACE: that would delete the row first, and its tags with it
    sql = """INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET media_type = ?4, added = ?8"""
    db.execute(sql, (*row, notes, time.time()))
    parts = [(repository, digest, part.digest) for part in document.parts]
    db.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?, ?)", parts)
    return new


def _below(db: sqlite3.Connection, repository: int, digest: str) -> list[str]:
    """What goes with a manifest unless something else names it: its manifests, and its referrers."""
    sql = "SELECT digest FROM manifests WHERE repository = ? AND subject = ?"
    return _children(db, repository, digest) + [row[0] for row in db.execute(sql, (repository, digest))]


def _check_frozen(db: sqlite3.Connection, repository: int, tags: Sequence[str], digest: str) -> None:
    sql = "SELECT digest FROM tags WHERE repository = ? AND tag = ? AND digest != ?"
    for tag in tags:
        row = db.execute(sql, (repository, tag, digest)).fetchone()
        if row:
            raise refusal(Code.DENIED, f"tag {tag} is immutable here and names {row[0]}", status=409)


def _children(db: sqlite3.Connection, repository: int, digest: str) -> list[str]:
    """The parts of a manifest that are manifests themselves."""
    sql = """SELECT p.digest FROM parts p
             JOIN manifests m ON m.repository = p.repository AND m.digest = p.digest
             WHERE p.repository = ? AND p.manifest = ?"""
    return [row[0] for row in db.execute(sql, (repository, digest))]


def _check_unused(db: sqlite3.Connection, repository: int, digest: str) -> None:
    sql = "SELECT manifest FROM parts WHERE repository = ? AND digest = ? LIMIT 1"
    row = db.execute(sql, (repository, digest)).fetchone()
    if row:
        raise refusal(Code.UNSUPPORTED, f"{digest} is needed by {row[0]}: delete that first")
