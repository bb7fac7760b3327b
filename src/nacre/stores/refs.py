"""Names for images, and the images there are."""

from __future__ import annotations

import time

from ..ground.files import trace
from ..words.digest import Digest
from ..words.errors import NotFound
from ..words.oci import Descriptor
from ..words.quickjson import dumps, loads
from ..words.value import Value
from .database import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from builtins import list as List


_DIGESTS = "digest:"
_INDEX = "index:"
_MOST_IMAGES = 64
"""Images kept under one digest: the platforms of an index that were asked for."""


class Ref(Value):
    """A mutable name; `updated` in seconds since 1970."""

    name: str
    descriptor: Descriptor
    updated: float


class RefStore:
    """Names (canonical references, `str(Reference)`) and known manifests. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.changed = False

    def set(self, name: str, descriptor: Descriptor, index: Descriptor | None = None) -> None:
        """Let `name` mean `descriptor`, also remembered as an image; on disk when this returns.

        `index` is one that names the image and what is attached to it; it goes with the name. What it meant
        before stays remembered. Raises NotFound when the store does not hold the manifest: a name never
        dangles.
        """
        text = _encode(descriptor)
        with self._database.transaction(durable=True):
            self._remember(descriptor, text)
            self._database.change(
                "INSERT OR REPLACE INTO ref VALUES (?, ?, ?, ?)", (name, descriptor.digest, text, time.time())
            )
            self._keep_index(name, index)
        trace("ref:set")
        self.changed = True

    def _keep_index(self, name: str, index: Descriptor | None) -> None:
        if index is None:
            self._database.change("DELETE FROM meta WHERE key = ?", (f"{_INDEX}{name}",))
            return
        self._use(index.digest)
        self._database.change(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{_INDEX}{name}", _encode(index))
        )

    def _use(self, digest: Digest) -> None:
        """Let no sweep of now take a document. Raises NotFound."""
        sql = "UPDATE blob SET used = (SELECT now FROM clock) WHERE digest = ?"
        if not self._database.change(sql, (digest,)):
            raise NotFound(f"the store does not hold manifest {digest}")

    def _remember(self, descriptor: Descriptor, text: str) -> None:
        self._use(descriptor.digest)
        self._database.change(
            "INSERT OR IGNORE INTO image VALUES (?, ?, ?)", (descriptor.digest, text, time.time())
        )

    def get(self, name: str) -> Descriptor | None:
        """The descriptor that `name` refers to, None if there is none."""
        row = self._database.one("SELECT descriptor FROM ref WHERE name = ?", (name,))
        return _decode(row[0]) if row else None

    def index(self, name: str) -> Descriptor | None:
        """The index that goes with a name, None for most."""
        row = self._database.one("SELECT value FROM meta WHERE key = ?", (f"{_INDEX}{name}",))
        return _decode(row[0]) if row else None

    def indexes(self) -> List[tuple[str, Descriptor]]:
        """All that go with a name, and these."""
        sql = "SELECT key, value FROM meta WHERE key >= ? AND key < ?"
        rows = self._database.execute(sql, (_INDEX, _INDEX[:-1] + chr(ord(":") + 1)))
        return [(key[len(_INDEX) :], _decode(value)) for key, value in rows]

    def delete(self, name: str, digest: Digest | None = None) -> bool:
        """Drop the name (the image stays remembered); False if there was none.

        With `digest` only while it means that manifest: another process may have given it to another.
        """
        with self._database.transaction(durable=True):
            sql = "DELETE FROM ref WHERE name = ? AND digest = coalesce(?, digest)"
            gone = self._database.change(sql, (name, digest)) > 0
            if gone:
                self._keep_index(name, None)
        self.changed |= gone
        return gone

    def list(self) -> List[Ref]:
        """All names with their descriptors, sorted."""
        rows = self._database.execute("SELECT name, descriptor, updated FROM ref ORDER BY name")
        return [Ref(name, _decode(text), updated) for name, text, updated in rows]

    def names_of(self, digest: Digest) -> List[str]:
        """The names of one manifest, sorted."""
        sql = "SELECT name FROM ref WHERE digest = ? ORDER BY name"
        return [row[0] for row in self._database.execute(sql, (digest,))]

    def remember(self, descriptor: Descriptor) -> None:
        """Keep an image that has no name. Raises NotFound when the manifest is not stored."""
        with self._database.transaction(durable=True):
            self._remember(descriptor, _encode(descriptor))

    def forget(self, digest: Digest, *, named: bool = True) -> bool:
        """No longer keep it for its own sake; the sweep frees the content. False if nothing was kept.

        Names of it go as well; with `named` False an image that has any, perhaps since a moment ago and
        from another process, stays.
        """
        with self._database.transaction(durable=True):
            if not named and self._database.one("SELECT 1 FROM ref WHERE digest = ?", (digest,)):
                return False
            for name in self.names_of(digest):
                self._keep_index(name, None)
            self._database.change("DELETE FROM ref WHERE digest = ?", (digest,))
            gone = self._database.change("DELETE FROM image WHERE digest = ?", (digest,)) > 0
        self.changed |= gone
        return gone

    def images(self) -> List[Descriptor]:
        """Every manifest or index kept, named or dangling, the newest first."""
        rows = self._database.execute("SELECT descriptor FROM image ORDER BY added DESC, digest")
        return [_decode(row[0]) for row in rows]

    def image_digests(self) -> List[Digest]:
        """As `images`, the digests alone."""
        rows = self._database.execute("SELECT digest FROM image ORDER BY added DESC, digest")
        return [Digest(row[0]) for row in rows]

    def image(self, digest: Digest) -> Descriptor | None:
        """The manifest or index of this digest, None where it is not kept."""
        row = self._database.one("SELECT descriptor FROM image WHERE digest = ?", (digest,))
        return _decode(row[0]) if row else None

    def kept(self) -> List[tuple[Digest, str]]:
        """Every manifest that is named or remembered, once for each name; "" for one without a name."""
        rows = self._database.execute(
            "SELECT digest, name FROM ref UNION SELECT digest, '' FROM image WHERE digest NOT IN "
            "(SELECT digest FROM ref) ORDER BY 2, 1"
        )
        return [(Digest(digest), name) for digest, name in rows]

    def find(self, prefix: str) -> List[Descriptor]:
        """Images whose manifest digest begins with these hexadecimal digits."""
        low = f"sha256:{prefix}"
        sql = "SELECT descriptor FROM image WHERE digest >= ? AND digest < ? ORDER BY digest"
        return [_decode(row[0]) for row in self._database.execute(sql, (low, low + "g"))]

    def add_digest(self, repository: str, digest: Digest, image: Digest) -> None:
        """In `repository` (`host/path`) `digest` names the manifest `image`, itself or by an index."""
        key = f"{_DIGESTS}{repository}@{digest}"
        if self._behind(key)[:1] == [image]:
            return
        with self._database.transaction():
            known = [other for other in self._behind(key) if other != image]
            value = dumps([image, *known[: _MOST_IMAGES - 1]])
            self._database.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def digests(self, repository: str, image: Digest) -> List[Digest]:
        """What is known to name the manifest `image` in a repository: what pulls and pushes printed."""
        low = f"{_DIGESTS}{repository}@"
        sql = "SELECT key, value FROM meta WHERE key >= ? AND key < ? ORDER BY key"
        rows = self._database.execute(sql, (low, low[:-1] + chr(ord("@") + 1)))
        return [Digest(key[len(low) :]) for key, value in rows if image in loads(value)]

    def of_digest(self, repository: str, digest: Digest) -> Descriptor | None:
        """The image that was last known under a digest of a repository, if it is still kept."""
        for image in self._behind(f"{_DIGESTS}{repository}@{digest}"):
            row = self._database.one("SELECT descriptor FROM image WHERE digest = ?", (image,))
            if row:
                return _decode(row[0])
        return None

    def beside(self, repository: str, image: Digest) -> List[Descriptor]:
        """Other kept images that are known under a digest of `image` in a repository: of the same index."""
        keys = [f"{_DIGESTS}{repository}@{digest}" for digest in self.digests(repository, image)]
        others = dict.fromkeys(other for key in keys for other in self._behind(key) if other != image)
        found = [self.image(Digest(other)) for other in others]
        return [descriptor for descriptor in found if descriptor is not None]

    def _behind(self, key: str) -> List[str]:
        row = self._database.one("SELECT value FROM meta WHERE key = ?", (key,))
        return list(loads(row[0])) if row else []


def _encode(descriptor: Descriptor) -> str:
    return dumps(descriptor.to_json())


def _decode(text: str) -> Descriptor:
    return Descriptor.from_json(loads(text))
