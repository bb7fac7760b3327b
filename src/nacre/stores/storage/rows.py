"""What the catalog knows of a bucket.

    contents       which object holds a digest that a repository has; a `damaged` one counts as absent
    upload_parts   objects that unfinished uploads consist of
    discarded      objects that nobody needs, since when: removed later, as somebody may still read them
    bucket         which bucket it is: two registries never share one

An object is never named again once it was given up, and every push makes a new one: so a digest that goes
while another replica pushes it again is not lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...grammars.wire.errors import Code, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...words.digest import Digest
    from ..catalog import Catalog
    from ..catalog.model import CatalogTransaction
    from .protocol import Placed

CONTENT = "SELECT key, size, tag FROM contents WHERE digest = ? AND damaged = 0"
KEY = "SELECT key FROM contents WHERE digest = ?"
KEEP = """
    INSERT INTO contents (digest, key, size, tag, damaged) VALUES (?, ?, ?, ?, 0) ON CONFLICT (digest)
    DO UPDATE SET key = excluded.key, size = excluded.size, tag = excluded.tag, damaged = 0"""
PARTS = "SELECT start, size, key, tag FROM upload_parts WHERE upload = ? ORDER BY start"
GROW = "UPDATE uploads SET touched = ?, received = ? WHERE id = ? AND received = ?"
ADD_PART = "INSERT INTO upload_parts (upload, start, size, key, tag) VALUES (?, ?, ?, ?, ?)"
DISCARD = "INSERT INTO discarded (key, since) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
DUE = "SELECT key FROM discarded WHERE since < ? ORDER BY since LIMIT ?"
NAMED = "SELECT 1 FROM contents WHERE key = ?1 UNION ALL SELECT 1 FROM upload_parts WHERE key = ?1"


class Part(NamedTuple):
    """An object that holds the bytes of an upload from `start` on."""

    start: int
    size: int
    key: str
    tag: str = ""


class ObjectRows:
    """These tables of one catalog. Raises StoreError."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def content(self, digest: Digest) -> tuple[str, int, str] | None:
        """Key, size and state of the object of a digest; None where there is none, or a damaged one."""
        rows = self._catalog.read(CONTENT, digest)
        return rows[0] if rows else None

    def reject(self, digest: Digest, key: str) -> None:
        """The object is not what it should be; nothing happens if the digest has another one by now."""
        sql = "UPDATE contents SET damaged = 1 WHERE digest = ? AND key = ?"
        self._catalog.change(lambda db: db.execute(sql, (digest, key)))

    def parts(self, upload: str) -> list[Part]:
        """The objects of an upload in order."""
        return [Part(*row) for row in self._catalog.read(PARTS, upload)]

    def check_open(self, upload: str) -> None:
        """Raises RegistryError BLOB_UPLOAD_UNKNOWN when it has ended."""
        if self._catalog.upload(upload) is None:
            raise refusal(Code.BLOB_UPLOAD_UNKNOWN)

    def add_part(self, upload: str, part: Part) -> None:
        """The next part of an upload. Raises RegistryError when it has ended, or goes on elsewhere."""

        def add(db: CatalogTransaction) -> None:
            values = (db.now(), part.start + part.size, upload, part.start)
            if not db.execute(GROW, values).rowcount:
                text = "another request went on with this upload"
                raise refusal(Code.BLOB_UPLOAD_INVALID, text, status=409)
            db.execute(ADD_PART, (upload, *part))

        self._catalog.change(add)

    def discard(self, keys: Iterable[str]) -> None:
        """Nobody needs these objects, and nobody was ever told of them."""
        rows = [(key, 0.0) for key in keys]
        self._catalog.change(lambda db: db.executemany(DISCARD, rows))

    def note(self, keys: Sequence[str]) -> None:
        """They were found in the bucket and nothing names them: they go when that is so for a while."""
        self._catalog.change(lambda db: db.executemany(DISCARD, [(key, db.now()) for key in keys]))

    def due(self, grace: float, limit: int) -> list[str]:
        """Objects that were discarded so long ago."""
        return [row[0] for row in self._catalog.listed(DUE, self._catalog.now() - grace, limit)]

    def unnamed(self, keys: Sequence[str]) -> list[str]:
        """Those that neither content nor an upload names."""
        return [key for key in keys if not self._catalog.listed(NAMED, key)]

    def forget(self, keys: Sequence[str]) -> None:
        """They are removed, or are named after all."""
        rows = [(key,) for key in keys]
        self._catalog.change(lambda db: db.executemany("DELETE FROM discarded WHERE key = ?", rows))

    def bucket(self) -> str:
        """The name that the registry's bucket has; "" if it never had one."""
        rows = self._catalog.listed("SELECT name FROM bucket")
        return str(rows[0][0]) if rows else ""

    def take_bucket(self, name: str) -> None:
        """From now on it is this one."""
        sql = "INSERT INTO bucket (name, listed) VALUES (?, 0)"
        self._catalog.change(lambda db: db.execute(sql, (name,)))

    def may_list(self, every: float) -> bool:
        """Is it time to list the whole bucket? Only one process is told so."""
        sql = "UPDATE bucket SET listed = ? WHERE listed < ?"
        return self._catalog.change(lambda db: db.execute(sql, (db.now(), db.now() - every)).rowcount > 0)


class BucketContents:
    """What a change of the catalog does to the content that it names (`stores.catalog.contents`)."""

    def keep(self, db: CatalogTransaction, placed: Placed, /) -> None:
        """From now on this object is the digest's; one that was is given up."""
        for (key,) in db.execute(KEY, (placed.digest,)).fetchall():
            if key != placed.key:
                db.execute(DISCARD, (key, db.now()))
        db.execute(KEEP, (placed.digest, placed.key, placed.size, placed.tag))

    def remove(self, db: CatalogTransaction, digest: Digest, /) -> None:
        """No repository has it any more."""
        rows = [(key, db.now()) for (key,) in db.execute(KEY, (digest,)).fetchall()]
        db.executemany(DISCARD, rows)
        db.execute("DELETE FROM contents WHERE digest = ?", (digest,))

    def drop(self, digest: Digest, /) -> None:
        """All is in the rows."""

    def end(self, db: CatalogTransaction, upload: str, key: str = "", /) -> None:
        """An upload is over; of its objects, that of `key` became content."""
        rows = [(part[2], 0.0) for part in db.execute(PARTS, (upload,)).fetchall() if part[2] != key]
        db.executemany(DISCARD, rows)
        db.execute("DELETE FROM upload_parts WHERE upload = ?", (upload,))
