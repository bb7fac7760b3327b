"""What people look at in a registry: repositories and tags with what is known of them, and what is shared.

Every list comes in pages, by key and never by number, so the last of a million costs what the first does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from ..words.errors import UsageError
from .catalog.statements import FIND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

MOST_SUMMARY, MOST_README = 200, 64 << 10
"""Characters."""
MOST_COUNTED = 10_000
"""Counting ends there: the number of a page must not take longer than the page."""
_WRITTEN = "SELECT summary, readme FROM descriptions WHERE repository = ?"
_ABOUT = """SELECT d.summary, d.readme, d.updated, d.author FROM descriptions d
    JOIN repositories r ON r.id = d.repository WHERE r.name = ?"""
_REPOSITORIES = """
    SELECT r.name, COALESCE(d.summary, ''),
        (SELECT count(*) FROM (SELECT 1 FROM tags t WHERE t.repository = r.id LIMIT {most}) counted),
        COALESCE((SELECT t.updated FROM tags t WHERE t.repository = r.id ORDER BY t.updated DESC LIMIT 1), 0)
    FROM repositories r LEFT JOIN descriptions d ON d.repository = r.id WHERE r.name > ?"""
_MATCHES = r""" AND (LOWER(r.name) LIKE ? ESCAPE '\' OR LOWER(COALESCE(d.summary, '')) LIKE ? ESCAPE '\'
    OR LOWER(COALESCE(d.readme, '')) LIKE ? ESCAPE '\'
    OR EXISTS (SELECT 1 FROM (
        SELECT t.digest FROM tags t WHERE t.repository = r.id ORDER BY t.updated DESC, t.tag DESC LIMIT 5) n
        JOIN manifests m ON m.repository = r.id AND m.digest = n.digest
        WHERE LOWER(m.annotations) LIKE ? ESCAPE '\'))"""
"""Of the newest tags alone: a search that finds nothing looks through all repositories."""
_TAGS = """
    SELECT t.tag, t.digest, m.media_type, t.updated FROM (
        SELECT n.repository, n.tag FROM tags n
        WHERE n.repository = (SELECT id FROM repositories WHERE name = ?) AND {after}{like}
        ORDER BY {order} LIMIT ?) f
    JOIN tags t ON t.repository = f.repository AND t.tag = f.tag
    JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest ORDER BY {outer}"""
"""What is looked through stands in an index; the rest is fetched for what is shown alone."""
_BY_AGE, _BY_NAME = "{0}.updated DESC, {0}.tag DESC", "{0}.tag"
_HOLDERS = """
    SELECT tag FROM (
        SELECT t.tag FROM parts p JOIN tags t ON t.repository = p.repository AND t.digest = p.manifest
        WHERE p.repository = (SELECT id FROM repositories WHERE name = ?1) AND p.digest = ?2 LIMIT ?3) images
    UNION SELECT tag FROM (
        SELECT t.tag FROM parts p JOIN parts i ON i.repository = p.repository AND i.digest = p.manifest
        JOIN tags t ON t.repository = i.repository AND t.digest = i.manifest
        WHERE p.repository = (SELECT id FROM repositories WHERE name = ?1) AND p.digest = ?2 LIMIT ?3) indexes
    ORDER BY 1 LIMIT ?3"""
_HELD_IN = """
    SELECT r.name FROM blobs b JOIN repositories r ON r.id = b.repository
    WHERE b.digest = ? AND r.name > ? ORDER BY r.name LIMIT ?"""
_STORED = """
    SELECT count(*), COALESCE(sum(size), 0) FROM (
        SELECT b.size FROM blobs b WHERE b.repository = (SELECT id FROM repositories WHERE name = ?)
        UNION ALL
        SELECT m.size FROM manifests m WHERE m.repository = (SELECT id FROM repositories WHERE name = ?)
    ) held"""
_ALONE = """
    SELECT COALESCE(sum(b.size), 0) FROM blobs b
    WHERE b.repository = (SELECT id FROM repositories WHERE name = ?)
    AND NOT EXISTS (SELECT 1 FROM blobs o WHERE o.digest = b.digest AND o.repository <> b.repository)"""
_MANIFESTS = """
    SELECT repository, digest FROM manifests WHERE (repository, digest) > (?, ?)
    ORDER BY repository, digest LIMIT ?"""
_NEEDED = """
    SELECT COALESCE(sum(b.size), 0) FROM parts p
    JOIN blobs b ON b.repository = p.repository AND b.digest = p.digest
    WHERE (p.repository, p.manifest) > (?, ?) AND (p.repository, p.manifest) <= (?, ?)"""
_DESCRIBE = """
    INSERT INTO descriptions (repository, summary, readme, updated, author) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (repository) DO UPDATE SET summary = excluded.summary, readme = excluded.readme,
    updated = excluded.updated, author = excluded.author"""
_DISTINCT = "SELECT count(*), COALESCE(sum(size), 0) FROM (SELECT DISTINCT digest, size FROM blobs) held"
_WINDOW = 500


class RepositoryLine(NamedTuple):
    """A repository in a list; `tags` counted up to MOST_COUNTED, `updated` 0 if never."""

    name: str
    summary: str
    tags: int
    updated: float


class TagLine(NamedTuple):
    """A tag in a list."""

    tag: str
    digest: str
    media_type: str
    updated: float


class About(NamedTuple):
    """What people wrote about a repository: a line and a page (Markdown), when and by whom."""

    summary: str = ""
    readme: str = ""
    updated: float = 0.0
    author: str = ""


class RepositoryDetails(NamedTuple):
    """A repository: what people wrote about it; how many tags it has, up to MOST_COUNTED; how much it holds,
    each content once.
    """

    name: str
    about: About
    tags: int
    contents: int
    bytes: int


class Totals(NamedTuple):
    """Bytes: of all images as if each were stored alone, and of what is stored once."""

    logical: int
    stored: int
    contents: int


class Browsing:
    """Reads the catalog for the page; in threads, for each may take milliseconds. Raises StoreError."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def repositories(self, text: str, last: str, limit: int) -> list[RepositoryLine]:
        """Those after `last` by name, with `text` in their name, in their description, or in the annotations
        of their newest tags; at most `limit`.
        """
        like, escaped = (f"%{_literal(each.lower())}%" for each in (text, json.dumps(text)[1:-1]))
        sql = _REPOSITORIES.format(most=MOST_COUNTED) + (_MATCHES if text else "")
        values = (last, like, like, like, escaped) if text else (last,)
        rows = self._catalog.listed(f"{sql} ORDER BY r.name LIMIT ?", *values, limit)
        return [RepositoryLine(*row) for row in rows]

    def newest(self, name: str, text: str, last: tuple[float, str], limit: int) -> list[TagLine]:
        """Tags with `text` in them that were set before `last` (a time and a tag), the newest first."""
        sql = _tags("(n.updated, n.tag) < (?, ?)", text, _BY_AGE)
        rows = self._catalog.listed(sql, name, *last, *_tag_values(text), limit)
        return [TagLine(*row) for row in rows]

    def tags(self, name: str, text: str, last: str, limit: int) -> list[TagLine]:
        """Tags with `text` in them after `last`, by name."""
        sql = _tags("n.tag > ?", text, _BY_NAME)
        rows = self._catalog.listed(sql, name, last, *_tag_values(text), limit)
        return [TagLine(*row) for row in rows]

    def count_tags(self, name: str) -> int:
        """How many tags a repository has, up to MOST_COUNTED."""
        sql = """SELECT count(*) FROM (SELECT 1 FROM tags WHERE
                 repository = (SELECT id FROM repositories WHERE name = ?) LIMIT ?) counted"""
        return int(self._catalog.listed(sql, name, MOST_COUNTED)[0][0])

    def holders(self, name: str, digest: str, limit: int) -> list[str]:
        """Some of the tags of a repository whose image, or one of whose images, needs that content."""
        return [str(row[0]) for row in self._catalog.listed(_HOLDERS, name, digest, limit)]

    def named(self, name: str, digests: Sequence[str]) -> list[str]:
        """Tags of a repository that are names of one of these manifests."""
        sql = """SELECT tag FROM tags WHERE repository = (SELECT id FROM repositories WHERE name = ?)
                 AND digest IN ({}) ORDER BY tag LIMIT 100""".format(",".join("?" * len(digests)))
        return [str(row[0]) for row in self._catalog.listed(sql, name, *digests)]

    def held_in(self, digest: str, last: str, limit: int) -> list[str]:
        """Repositories that have a blob, after `last`."""
        return [str(row[0]) for row in self._catalog.listed(_HELD_IN, digest, last, limit)]

    def about(self, name: str) -> About:
        """What was written about a repository."""
        rows = self._catalog.listed(_ABOUT, name)
        return About(*rows[0]) if rows else About()

    def describe(self, name: str, summary: str | None, readme: str | None, author: str) -> bool:
        """Write it, in place of what was there; None leaves that. False when there is no such repository.

        The summary becomes one line. Raises UsageError for what is too long.
        """
        line = None if summary is None else " ".join(summary.split())
        if len(line or "") > MOST_SUMMARY or len(readme or "") > MOST_README:
            raise UsageError(f"a summary has at most {MOST_SUMMARY} characters, a README {MOST_README}")

        def put(db: CatalogTransaction) -> bool:
            db.lock(f"repository {name}")  # or it may be deleted in between
            row = db.execute(FIND, (name,)).fetchone()
            if row is None:
                return False
            before, page = db.execute(_WRITTEN, (row[0],)).fetchone() or ("", "")
            now = before if line is None else line, page if readme is None else readme
            db.execute(_DESCRIBE, (row[0], *now, db.now(), author))
            return True

        return self._catalog.change(put)

    def details(self, name: str) -> RepositoryDetails:
        """What is known of a repository that is there."""
        return RepositoryDetails(name, self.about(name), self.count_tags(name), *self.stored(name))

    def stored(self, name: str) -> tuple[int, int]:
        """Contents of a repository, and their bytes, each once."""
        count, size = self._catalog.listed(_STORED, name, name)[0]
        return int(count), int(size)

    def alone(self, name: str) -> int:
        """Bytes of blobs that no other repository has."""
        return int(self._catalog.listed(_ALONE, name)[0][0])

    def totals(self) -> Iterator[Totals]:
        """Of the whole registry, so far after each short step; the last is all of it."""
        contents, stored = self._catalog.listed(_DISTINCT)[0]
        logical, after = 0, (0, "")
        yield Totals(logical, int(stored), int(contents))
        while window := self._catalog.listed(_MANIFESTS, *after, _WINDOW):
            last: Sequence[object] = window[-1]
            logical += int(self._catalog.listed(_NEEDED, *after, *last)[0][0])
            after = (int(window[-1][0]), str(window[-1][1]))
            yield Totals(logical, int(stored), int(contents))


def _tags(after: str, text: str, order: str) -> str:
    like = r" AND LOWER(n.tag) LIKE ? ESCAPE '\'" if text else ""
    return _TAGS.format(after=after, like=like, order=order.format("n"), outer=order.format("t"))


def _tag_values(text: str) -> tuple[str, ...]:
    return (f"%{_literal(text.lower())}%",) if text else ()


def _literal(text: str) -> str:
    r"""`%`, `_` and `\` mean themselves."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
