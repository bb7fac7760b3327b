"""What was deleted, or was under a tag before, and can be restored while the grace time lasts.

    tag          named `digest` until it was deleted or moved
    manifest     with what the catalog knew of it; its content stays
    blob         its content stays
    repository   all of the above with the same time belongs to it

Whatever is taken out of the catalog on somebody's order is written down in the same transaction; what the
collection of garbage removes is not. Content that is named here counts as held.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..words.errors import Conflict, NotFound
from .activity import Action, Author, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

_AT_ONCE = 50
_HINT = "nacre registry undelete lists what there is"
_REGISTRY = Author()
_COLUMNS = "id, at, actor, repository, kind, tag, digest, size"
_INSERT = """
    INSERT INTO removed (at, actor, repository, kind, tag, digest, size, record)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_MANIFEST = """
    SELECT size, media_type, subject, artifact_type, annotations, added FROM manifests
    WHERE repository = ? AND digest = ?"""
_PARTS = """
    SELECT digest FROM parts p WHERE repository = ?1 AND manifest = ?2
    AND (EXISTS (SELECT 1 FROM blobs b WHERE b.repository = ?1 AND b.digest = p.digest)
         OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository = ?1 AND m.digest = p.digest))"""
_ALL_PARTS = "SELECT digest FROM parts WHERE repository = ? AND manifest = ?"
_SHOWN = f"""
    SELECT {_COLUMNS} FROM removed x WHERE id < ?1 AND (?2 = '' OR repository = ?2) AND kind != 'blob'
    AND at > 0
    AND (kind = 'repository' OR NOT EXISTS (
        SELECT 1 FROM removed y WHERE y.repository = x.repository AND y.kind = 'repository' AND y.at = x.at))
    ORDER BY id DESC LIMIT ?3"""
_NEWEST = """
    SELECT at, digest FROM removed WHERE repository = ?1 AND kind = ?2 AND tag = ?3 AND at > 0
    AND (?4 = '' OR digest = ?4) ORDER BY id DESC LIMIT 1"""
_TAGS_OF = """
    SELECT tag, digest FROM removed WHERE repository = ?1 AND kind = 'tag' AND at = ?2
    AND (?3 = '' OR digest = ?3) ORDER BY id"""
_CONTENT_OF = """
    SELECT digest FROM removed WHERE repository = ? AND at = ? AND kind IN ('manifest', 'blob')"""
_PURGED = """
    SELECT id, kind, record FROM removed WHERE repository = ?1 AND (?2 = '' OR tag = ?2 OR digest = ?2
        OR digest IN (SELECT digest FROM removed WHERE repository = ?1 AND kind = 'tag' AND tag = ?2))"""
_UNNEEDED = """
    SELECT b.repository FROM blobs b JOIN repositories r ON r.id = b.repository
    WHERE r.name = ? AND b.digest = ? AND NOT EXISTS (
        SELECT 1 FROM parts p WHERE p.repository = b.repository AND p.digest = b.digest)"""
_OF = "FROM removed WHERE repository = ? AND kind = ? AND digest = ?"
_PUT_MANIFEST = """
    INSERT INTO manifests (repository, digest, size, media_type, subject, artifact_type, annotations, added)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_UNHELD = """
    SELECT kind, digest, max(size), max(at) FROM removed x WHERE kind IN ('manifest', 'blob')
    AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = x.digest)
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = x.digest) GROUP BY kind, digest"""


class Removal(NamedTuple):
    """An order to delete something of a repository. What one order deletes has one time."""

    repository: str
    at: float
    author: Author


class RemovedEntry(NamedTuple):
    """Something that can be restored; `kind` is "tag", "manifest" or "repository"."""

    id: int
    at: float
    actor: str
    repository: str
    kind: str
    tag: str
    digest: str
    size: int


# ── writing down ──


def keep_tag(db: CatalogTransaction, removal: Removal, tag: str, digest: str) -> None:
    """It no longer names `digest`."""
    _keep(db, removal, [("tag", tag, digest, 0, "")])


def keep_manifest(db: CatalogTransaction, removal: Removal, repository: int, digest: str) -> None:
    """Before its row is deleted: with its tags. Blobs that it needs count as used until now."""
    place = (repository, digest)
    size, *known = db.execute(_MANIFEST, place).fetchone()
    named = {row[0] for row in db.execute(_ALL_PARTS, place).fetchall()}
    parts = {row[0] for row in db.execute(_PARTS, place).fetchall()}
    record = json.dumps({"row": known, "parts": sorted(parts), "absent": sorted(named - parts)})
    tags = db.execute("SELECT tag FROM tags WHERE repository = ? AND digest = ?", place).fetchall()
    _keep(db, removal, [("tag", row[0], digest, 0, "") for row in tags])
    _keep(db, removal, [("manifest", "", digest, size, record)])
    sql = "DELETE FROM unused WHERE repository = ? AND digest = ? AND kind = 'blobs'"
    db.executemany(sql, [(repository, part) for part in parts])


def keep_blob(db: CatalogTransaction, removal: Removal, repository: int, digest: str) -> None:
    """Before its row is deleted."""
    sql = "SELECT size FROM blobs WHERE repository = ? AND digest = ?"
    (size,) = db.execute(sql, (repository, digest)).fetchone()
    _keep(db, removal, [("blob", "", digest, size, "")])


def keep_repository(db: CatalogTransaction, removal: Removal, repository: int) -> None:
    """Before it is deleted, with its description; all that is removed at this time belongs to it."""
    sql = "SELECT summary, readme, updated, author FROM descriptions WHERE repository = ?"
    row = db.execute(sql, (repository,)).fetchone()
    _keep(db, removal, [("repository", "", "", 0, json.dumps(list(row)) if row else "")])


def _keep(db: CatalogTransaction, removal: Removal, rows: Iterable[tuple[object, ...]]) -> None:
    head = (removal.at, removal.author.name, removal.repository)
    db.executemany(_INSERT, [(*head, *row) for row in rows])


class RemovedContent:
    """What can be restored in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def page(self, repository: str = "", before: int = 0, limit: int = 100) -> list[RemovedEntry]:
        """The newest first, of one repository or all; what went with a repository is not shown by itself."""
        rows = self._catalog.listed(_SHOWN, before or 1 << 62, repository, limit)
        return [RemovedEntry(*row) for row in rows]

    # ── restoring ──

    def restore_tag(
        self, name: str, tag: str, digest: str = "", author: Author = _REGISTRY, *, frozen: bool = False
    ) -> str:
        """Let a tag name what it named before (`digest`: at some time before); gives that.

        What it names now can be restored in its turn. `frozen`: it stays as it is if it names something else.
        Raises NotFound, Conflict.
        """

        def restore(db: CatalogTransaction) -> str:
            repository = self._catalog.repository(db, name)
            found = _newest(db, name, "tag", tag, digest)[1]
            if frozen:
                _check_free(db, repository, tag, found)
            _Restoring(db, repository, name).manifest(found)
            self._set_tag(db, repository, Removal(name, db.now(), author), tag, found)
            return found

        return self._catalog.change(restore)

    def _set_tag(
        self, db: CatalogTransaction, repository: int, removal: Removal, tag: str, digest: str
    ) -> None:
        sql = f"DELETE {_OF} AND tag = ?"
        db.execute(sql, (removal.repository, "tag", digest, tag))
        former = self._catalog.set_tag(db, repository, removal, tag, digest)
        note(db, removal.author, Action("restore", removal.repository, tag, digest, former))

    def restore_manifest(self, name: str, digest: str, author: Author = _REGISTRY) -> None:
        """With its parts, and the tags that went with it unless they name something else now.

        Raises NotFound, Conflict.
        """

        def restore(db: CatalogTransaction) -> None:
            at = _newest(db, name, "manifest", "", digest)[0]
            repository = self._catalog.repository(db, name)
            _Restoring(db, repository, name).manifest(digest)
            self._restore_tags(db, repository, Removal(name, at, author), digest)
            note(db, author, Action("restore", name, "", digest))

        self._catalog.change(restore)

    def _restore_tags(
        self, db: CatalogTransaction, repository: int, removal: Removal, digest: str = ""
    ) -> None:
        for tag, named in db.execute(_TAGS_OF, (removal.repository, removal.at, digest)).fetchall():
            place = (repository, tag)
            if not db.execute("SELECT 1 FROM tags WHERE repository = ? AND tag = ?", place).fetchone():
                self._set_tag(db, repository, removal, tag, named)

    def restore_repository(self, name: str, author: Author = _REGISTRY) -> None:
        """All that was deleted with it, unless it is there again. Raises NotFound, Conflict."""

        def restore(db: CatalogTransaction) -> None:
            at = _newest(db, name, "repository")[0]
            restoring = _Restoring(db, self._catalog.repository(db, name), name)
            for (digest,) in db.execute(_CONTENT_OF, (name, at)).fetchall():
                restoring.part(digest)
            self._restore_tags(db, restoring.repository, Removal(name, at, author))
            restoring.description(at)
            note(db, author, Action("restore", name))
            sql = "DELETE FROM removed WHERE repository = ? AND at = ? AND kind != 'tag'"
            db.execute(sql, (name, at))

        self._catalog.change(restore)

    # ── the end of the grace time ──

    def purge(self, name: str, reference: str = "") -> int:
        """Let the grace time of all of a repository, of a tag or a digest be over; how many entries that are.

        Blobs that only such a manifest needed go as well. The content goes with the next `expire`. Raises
        NotFound.
        """
        count = self._catalog.change(lambda db: self._purge(db, name, reference))
        if not count:
            raise NotFound(f"nothing is left of {_shown(name, reference)}", hint=_HINT)
        return count

    def _purge(self, db: CatalogTransaction, name: str, reference: str) -> int:
        db.lock(f"repository {name}")
        rows = db.execute(_PURGED, (name, reference)).fetchall()
        db.executemany("UPDATE removed SET at = 0.0 WHERE id = ?", [(row[0],) for row in rows])
        for _, kind, record in rows:
            for part in json.loads(record)["parts"] if kind == "manifest" else ():
                self._purge_blob(db, Removal(name, 0.0, _REGISTRY), part)
        return len(rows)

    def _purge_blob(self, db: CatalogTransaction, removal: Removal, digest: str) -> None:
        row = db.execute(_UNNEEDED, (removal.repository, digest)).fetchone()
        if row:
            keep_blob(db, removal, row[0], digest)
            db.execute("DELETE FROM blobs WHERE repository = ? AND digest = ?", (row[0], digest))

    def is_due(self, grace: float) -> bool:
        """Is there something whose time is over?"""
        return bool(self._due(grace, 1))

    def expire(self, grace: float) -> Iterator[list[tuple[str, int]]]:
        """Forget what was removed so long ago, a little at each step; kind and size of content that went."""
        while rows := self._due(grace, _AT_ONCE):
            yield self._catalog.change(partial(self._expire, rows=rows))

    def _due(self, grace: float, limit: int) -> list[Any]:
        sql = "SELECT id, repository, kind, digest, size FROM removed WHERE at <= ? ORDER BY at LIMIT ?"
        return self._catalog.listed(sql, self._catalog.now() - grace, limit)

    def _expire(
        self, db: CatalogTransaction, rows: Sequence[tuple[int, str, str, str, int]]
    ) -> list[tuple[str, int]]:
        db.lock(*{f"repository {row[1]}" for row in rows})
        db.executemany("DELETE FROM removed WHERE id = ?", [(row[0],) for row in rows])
        found = {digest: (kind, size) for *_, kind, digest, size in rows if kind in ("manifest", "blob")}
        return [what for digest, what in found.items() if self._catalog.drop_content(db, digest)]

    def look(self, grace: float) -> Iterator[tuple[str, int, bool]]:
        """Content that is kept for this alone: kind, size, and whether its time is over."""
        since = self._catalog.now() - grace
        for kind, _, size, at in self._catalog.listed(_UNHELD):
            yield kind, size, at <= since


class _Restoring:
    """One repository in one transaction: what is there stays as it is."""

    def __init__(self, db: CatalogTransaction, repository: int, name: str) -> None:
        self._db, self.repository, self._name = db, repository, name

    def manifest(self, digest: str) -> None:
        """With its parts. Raises NotFound, Conflict."""
        if self._has("manifests", digest):
            return
        place = (self._name, "manifest", digest)
        row = self._db.execute(f"SELECT record, size, at {_OF} ORDER BY id DESC", place).fetchone()
        if row is None:
            raise Conflict(f"{self._name}: {digest} is gone and cannot be restored")
        record, size, at = json.loads(row[0]), row[1], row[2]
        for part in (*record["parts"], *self._went(record["absent"], at)):
            self.part(part)
        values = (self.repository, digest, size, *record["row"][:-1], self._db.now())
        self._db.execute(_PUT_MANIFEST, values)
        sql = "INSERT INTO parts (repository, manifest, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        parts = [*record["parts"], *record["absent"]]
        self._db.executemany(sql, [(self.repository, digest, part) for part in parts])
        self._db.execute(f"DELETE {_OF}", place)

    def _went(self, absent: list[str], at: float) -> list[str]:
        """Manifests of an index that were deleted before it, with the same repository."""
        sql = f"SELECT 1 {_OF} AND at = ?"
        place = (self._name, "manifest")
        return [one for one in absent if self._db.execute(sql, (*place, one, at)).fetchone()]

    def part(self, digest: str) -> None:
        """A blob or a manifest. Raises NotFound, Conflict."""
        if self._has("blobs", digest) or self._has("manifests", digest):
            return
        place = (self._name, "blob", digest)
        row = self._db.execute(f"SELECT size {_OF}", place).fetchone()
        if row is None:
            self.manifest(digest)
            return
        sql = "INSERT INTO blobs (repository, digest, size, added) VALUES (?, ?, ?, ?)"
        self._db.execute(sql, (self.repository, digest, row[0], self._db.now()))
        self._db.execute(f"DELETE {_OF}", place)

    def description(self, at: float) -> None:
        """What people wrote about the repository, unless somebody has written anew."""
        sql = "SELECT record FROM removed WHERE repository = ? AND kind = 'repository' AND at = ?"
        ((record,),) = self._db.execute(sql, (self._name, at)).fetchall()
        if record:
            sql = """INSERT INTO descriptions (repository, summary, readme, updated, author)
                     VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
            self._db.execute(sql, (self.repository, *json.loads(record)))

    def _has(self, table: str, digest: str) -> bool:
        sql = f"SELECT 1 FROM {table} WHERE repository = ? AND digest = ?"
        return self._db.execute(sql, (self.repository, digest)).fetchone() is not None


def _newest(
    db: CatalogTransaction, name: str, kind: str, tag: str = "", digest: str = ""
) -> tuple[float, str]:
    row = db.execute(_NEWEST, (name, kind, tag, digest)).fetchone()
    if row is None:
        what = f"{_shown(name, tag or digest)} cannot be restored: nothing is left of it"
        raise NotFound(what, hint=_HINT)
    return row[0], row[1]


def _check_free(db: CatalogTransaction, repository: int, tag: str, digest: str) -> None:
    sql = "SELECT digest FROM tags WHERE repository = ? AND tag = ? AND digest <> ?"
    row = db.execute(sql, (repository, tag, digest)).fetchone()
    if row:
        raise Conflict(f"tag {tag} is immutable here and names {row[0]}", hint="delete the tag first")


def _shown(name: str, reference: str) -> str:
    return f"{name}{'@' if ':' in reference else ':'}{reference}" if reference else f"the repository {name}"
