"""What is known of layers: which blob is which tree, and where registries hold it."""

from __future__ import annotations

import time

from ..words.digest import Digest
from ..words.oci import Descriptor
from ..words.quickjson import dumps, loads
from .database import Database

_WITHOUT_RECIPE = """SELECT digest, media_type, layer.size, diff_id FROM layer JOIN tree USING (diff_id)
    WHERE recipe = '' AND digest <> diff_id AND digest NOT IN (SELECT digest FROM blob)
    AND digest NOT IN (SELECT digest FROM source) ORDER BY digest"""


class LayerStore:
    """The relation between compressed layers (digest) and trees (diff id). Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, digest: Digest, diff_id: Digest, media_type: str, size: int, recipe: str = "") -> None:
        """The blob `digest` decompresses to the tar `diff_id`. Idempotent.

        `recipe` says how it was made here (`grammars.codecs.recipe`); once known it stays known.
        """
        self._database.change(
            "INSERT INTO layer VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET diff_id = "
            "excluded.diff_id, media_type = excluded.media_type, size = excluded.size, added = "
            "excluded.added, recipe = coalesce(nullif(excluded.recipe, ''), recipe)",
            (digest, diff_id, media_type, size, time.time(), recipe),
        )

    def remember_packed(self, diff_id: Digest, recipe: str, made: Descriptor) -> None:
        """Compressed by this recipe (`grammars.codecs.recipe`), the tar `diff_id` is `made`. Idempotent."""
        self._database.change(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", (_packed(diff_id, recipe), dumps(made.to_json()))
        )

    def packed(self, diff_id: Digest, recipe: str) -> Descriptor | None:
        """What the tar is when compressed so, if it was once; the blob itself may be gone."""
        row = self._database.one("SELECT value FROM meta WHERE key = ?", (_packed(diff_id, recipe),))
        return Descriptor.from_json(loads(row[0])) if row else None

    def check(self, recipe: str, stamp: str) -> None:
        """What has this stamp was seen to compress by the recipe. Idempotent."""
        self._database.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"current:{recipe}", stamp))

    def checked(self, recipe: str) -> str:
        """The stamp of what was last seen to compress by the recipe, "" for nothing."""
        row = self._database.one("SELECT value FROM meta WHERE key = ?", (f"current:{recipe}",))
        return str(row[0]) if row else ""

    def recipe(self, digest: Digest) -> tuple[Digest, str] | None:
        """The tar of a compressed layer and how it was made of it ("": not here, so nobody knows)."""
        row = self._database.one("SELECT diff_id, recipe FROM layer WHERE digest = ?", (digest,))
        return (Digest(row[0]), row[1]) if row else None

    def diff_id(self, digest: Digest) -> Digest | None:
        """The tar that this blob decompresses to, if known."""
        row = self._database.one("SELECT diff_id FROM layer WHERE digest = ?", (digest,))
        return Digest(row[0]) if row else None

    def blobs_of(self, diff_id: Digest) -> list[Descriptor]:
        """Every compressed form known of this tar, the newest first (the blob itself may be gone)."""
        sql = "SELECT media_type, digest, size FROM layer WHERE diff_id = ? ORDER BY added DESC, digest"
        return [
            Descriptor(kind, Digest(d), size) for kind, d, size in self._database.execute(sql, (diff_id,))
        ]

    def digests(self) -> dict[Digest, list[Digest]]:
        """All compressed forms that are known, by the diff id of their tree."""
        found: dict[Digest, list[Digest]] = {}
        for diff_id, digest in self._database.execute("SELECT diff_id, digest FROM layer"):
            found.setdefault(Digest(diff_id), []).append(Digest(digest))
        return found

    def without_recipe(self) -> list[tuple[Descriptor, Digest]]:
        """Layers, with their diff ids, whose compressed form nobody can give: there is only the tree, and it
        is known neither how they were compressed nor where they came from.
        """
        rows = self._database.execute(_WITHOUT_RECIPE)
        return [(Descriptor(kind, Digest(digest), size), Digest(diff)) for digest, kind, size, diff in rows]

    def add_source(self, digest: Digest, repository: str) -> None:
        """`repository` (`host:port/path`) is known to hold the blob. Idempotent."""
        self._database.change(
            "INSERT OR REPLACE INTO source VALUES (?, ?, ?)", (digest, repository, time.time())
        )

    def drop_source(self, digest: Digest, repository: str) -> None:
        """It turned out not to hold the blob. Idempotent."""
        self._database.change("DELETE FROM source WHERE digest = ? AND repository = ?", (digest, repository))

    def repositories(self) -> list[str]:
        """Every repository that anything came from or went to, the one used last first."""
        sql = "SELECT DISTINCT repository FROM source ORDER BY added DESC"
        return [row[0] for row in self._database.execute(sql)]

    def sources(self, digest: Digest) -> list[str]:
        """Repositories known to hold the blob, the newest first."""
        sql = "SELECT repository FROM source WHERE digest = ? ORDER BY added DESC, repository"
        return [row[0] for row in self._database.execute(sql, (digest,))]


def _packed(diff_id: Digest, recipe: str) -> str:
    return f"packed:{diff_id}:{recipe}"
