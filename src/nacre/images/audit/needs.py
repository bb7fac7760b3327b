"""What the images and containers of a store need, as far as their documents can be read."""

from __future__ import annotations

from ...words.digest import Digest
from ...words.errors import ContentError, NotFound
from ...words.oci import Descriptor, ImageConfig, Index, Manifest, parse_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...stores.store import Store

UNREADABLE = (NotFound, ContentError)
"""What a document raises that is lost or damaged. A StoreError says nothing of the document."""


class Needs:
    """Read anew by `look_up`, since a document that has come may tell of others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.users: dict[str, list[str]] = {}
        """The names of the images that need a blob or a tree, by its digest."""
        self.sizes: dict[Digest, int] = {}
        """Bytes of blobs."""
        self.layers: dict[Digest, dict[Digest, Descriptor]] = {}
        """The compressed forms of a tree, by its diff id."""
        self.look_up()

    def look_up(self) -> None:
        """Read all documents. Raises StoreError."""
        self.users.clear()
        for digest, name in self.images():
            for part in self._parts(digest):
                self.users.setdefault(part, []).append(name)

    def images(self) -> list[tuple[Digest, str]]:
        """Every manifest that is kept, with its name; its digest where it has none.

        A container keeps its image also when that has been removed.
        """
        kept = [(digest, name or digest) for digest, name in self._store.refs.kept()]
        used = {Digest(digest) for digest in self._store.containers.images()}
        return kept + [(digest, digest) for digest in sorted(used.difference(dict(kept)))]

    def document(self, digest: Digest) -> Manifest | Index:
        """A manifest or an index. Raises NotFound, ContentError, StoreError."""
        return parse_document(self._store.blobs.read(digest, drop=False))

    def config(self, manifest: Manifest) -> ImageConfig:
        """The config of an image. Raises as `document`."""
        return ImageConfig.parse(self._store.blobs.read(manifest.config.digest, drop=False))

    def _parts(self, digest: Digest) -> set[Digest]:
        """Everything beneath a manifest or an index, itself included."""
        found, waiting = set[Digest](), [digest]
        while waiting:
            if (each := waiting.pop()) not in found:
                found.add(each)
                try:
                    document = self.document(each)
                except UNREADABLE:
                    continue
                if isinstance(document, Index):
                    self._note(document.manifests)
                    waiting += [one.digest for one in document.manifests]
                else:
                    found |= self._parts_of_image(document)
        return found

    def _parts_of_image(self, manifest: Manifest) -> set[Digest]:
        parts = (manifest.config, *manifest.layers)
        self._note(parts)
        found = {one.digest for one in parts}
        try:
            diff_ids = self.config(manifest).diff_ids
        except UNREADABLE:
            return found
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=False):
            self.layers.setdefault(diff_id, {})[layer.digest] = layer
        return found | set(diff_ids)

    def _note(self, parts: Iterable[Descriptor]) -> None:
        self.sizes |= {one.digest: one.size for one in parts}
