"""`system check --repair`: what is damaged is made again, else fetched again, else named as lost.

    tree    from its own tar (then only the index was damaged), a blob, a repository
    blob    of a layer: dropped when its tree gives it; else fetched. Of a document: fetched

`REPAIRS` says for every fault which of these mends it, or why nothing does. The new content is complete and
verified before it takes the place of the damaged; what cannot be had again stays as it is, for there may be
something good in it.
"""

from __future__ import annotations

from functools import partial

from ...ground.work.pipe import copy
from ...words.errors import DigestMismatch, NacreError
from ...words.oci import MAX_DOCUMENT, Descriptor
from ...words.value import Value
from ..layers.compressed import is_remade
from ..layers.recipes import find_recipe
from .finding import Fault, Mended, Remedy
from .otherrepositories import OtherRepositories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ...words.digest import Digest
    from ..layers.compressed import Sources
    from ..model.source import Content
    from .check import Checking
    from .finding import Finding

    Came = tuple[()] | tuple[Descriptor, str]
    Repair = Callable[["Mending", Digest], Mended | None]


_DEPTH = 4
"""Rounds in which documents that came may tell of others: index, manifest, config, layers."""


class Mending:
    """Works on the findings of a check, and notes there what it did."""

    def __init__(self, checking: Checking, sources: Sources | None) -> None:
        self._checking, self._store, self._needs = checking, checking.store, checking.needs
        self._elsewhere = OtherRepositories(checking.store, sources, checking.needs.users)
        self._done: dict[tuple[Repair, Digest], Mended] = {}

    def all(self) -> None:
        """Mend content, then what images and containers miss: a document that came tells of more.

        Documents come before layers: they say what layers there should be.
        """
        self._each("blob")
        self._checking.prove_again()
        self._each("tree")
        for _ in range(_DEPTH):
            self._needs.look_up()
            self._checking.reach()
            if not self._each("image", "container"):
                break
        for layer, diff_id in self._store.layers.without_recipe():
            find_recipe(self._store, layer, diff_id)

    def _each(self, *kinds: str) -> int:
        """How many it mended."""
        return sum(self._apply(one) for one in self._checking.wrong if one.kind in kinds)

    def _apply(self, finding: Finding) -> bool:
        """A finding may be about content that another one was already mended for."""
        repair, digest = REPAIRS[finding.fault], finding.digest
        if isinstance(repair, NoRepair) or digest is None:
            return False
        try:
            mended = self._done.get((repair, digest)) or repair(self, digest)
        except NacreError:
            return False
        if mended:
            self._done[repair, digest] = mended
            self._checking.note_mended(finding, mended)
        return bool(mended)

    # blobs

    def blob(self, digest: Digest) -> Mended | None:
        """Drop the blob of a layer if its tree gives it, else fetch it; None if nobody has it."""
        diff_id = self._store.layers.diff_id(digest)
        if diff_id is None:
            return self.document(digest)
        layer = next(one for one in self._store.layers.blobs_of(diff_id) if one.digest == digest)
        if not self._store.trees.repair.prove(diff_id) and self._is_remade(layer, diff_id):
            self._store.blobs.delete(digest)
            return Mended(Remedy.DROPPED)
        return self._fetched(layer)

    def _is_remade(self, layer: Descriptor, diff_id: Digest) -> bool:
        return is_remade(self._store, layer) or find_recipe(self._store, layer, diff_id)

    def _fetched(self, layer: Descriptor) -> Mended | None:
        for where, content in self._elsewhere.layer(layer):
            try:
                self._replace(layer, content)
            except NacreError:
                continue
            self._store.layers.add_source(layer.digest, where)
            return Mended(Remedy.FETCHED, where)
        return None

    def _replace(self, layer: Descriptor, content: Content) -> None:
        with content, self._store.blobs.ingest(key=f"repair-{layer.digest.hex}") as ingest:
            ingest.restart()
            copy(content, ingest.write)
            if ingest.verify() != layer.digest:
                raise DigestMismatch(layer.digest, ingest.verify())
            self._store.blobs.delete(layer.digest)
            ingest.commit(layer.digest)

    def document(self, digest: Digest) -> Mended | None:
        """Fetch a manifest, a config, or what an artifact has in their place; None if nobody has it."""
        size = self._needs.sizes.get(digest, self._checking.blobs.get(digest, 0))
        if size > MAX_DOCUMENT:
            return self._fetched(Descriptor("", digest, size))
        found = self._elsewhere.document(digest, size)
        if found is None:
            return None
        where, data = found
        self._store.blobs.delete(digest)
        self._store.blobs.add(data, digest)
        self._store.layers.add_source(digest, where)
        return Mended(Remedy.FETCHED, where)

    # trees

    def tree(self, diff_id: Digest) -> Mended | None:
        """Make a tree by the first way that gives the right tar; None if there is none, or it is in use."""
        if self._store.trees.repair.is_in_use(diff_id):
            return None
        for mended, opened, came in self._tars(diff_id):
            try:
                with opened() as content:
                    self._store.trees.repair.replace(diff_id, _plain(content))
            except NacreError:
                continue
            if came:
                self._remember(diff_id, *came)
            return mended
        return None

    def _remember(self, diff_id: Digest, layer: Descriptor, where: str) -> None:
        self._store.layers.record(layer.digest, diff_id, layer.media_type, layer.size)
        self._store.layers.add_source(layer.digest, where)

    def _tars(self, diff_id: Digest) -> Iterator[tuple[Mended, Callable[[], Content], Came]]:
        """What is said of a way, how it is gone, and which layer it fetches from where."""
        store, forms = self._store, self._compressed(diff_id)
        if store.trees.can_tar(diff_id):
            yield Mended(Remedy.INDEXED), partial(store.trees.tar, diff_id), ()
        for layer in forms:
            if store.blobs.has(layer.digest):
                yield Mended(Remedy.UNPACKED), partial(store.blobs.open, layer.digest), ()
        for layer in forms:
            for where, content in self._elsewhere.layer(layer):
                yield Mended(Remedy.FETCHED, where), partial(_given, content), (layer, where)

    def _compressed(self, diff_id: Digest) -> list[Descriptor]:
        """All forms that are known, and those that any image names."""
        known = {layer.digest: layer for layer in self._store.layers.blobs_of(diff_id)}
        return list((known | self._needs.layers.get(diff_id, {})).values())


class NoRepair(Value):
    """A fault that no repair mends, and why."""

    why: str


_SWEPT = NoRepair("nothing refers to it, so the next sweep frees it")

REPAIRS: Mapping[Fault, Repair | NoRepair] = {
    Fault.BLOB_LOST: Mending.blob,
    Fault.BLOB_DAMAGED: Mending.blob,
    Fault.BLOB_UNREADABLE: Mending.blob,
    Fault.BLOB_UNRECORDED: _SWEPT,
    Fault.TREE_LOST: Mending.tree,
    Fault.TREE_DAMAGED: Mending.tree,
    Fault.TREE_UNRECORDED: _SWEPT,
    Fault.IMAGE_MANIFEST_LOST: Mending.document,
    Fault.IMAGE_CONFIG_LOST: Mending.document,
    Fault.IMAGE_LAYER_LOST: Mending.tree,
    Fault.CONTAINER_IMAGE_LOST: Mending.document,
    Fault.CONTAINER_LAYER_LOST: Mending.tree,
    Fault.CONTAINER_FILES_LOST: NoRepair("what a container has written is nowhere else"),
    Fault.CONTAINER_UNRECORDED: _SWEPT,
    Fault.STEP_LAYER_LOST: NoRepair("a build makes the layer again when it needs it"),
    Fault.LEASE_UNRECORDED: _SWEPT,
    Fault.DATABASE_DAMAGED: NoRepair("the database is rebuilt before its store is checked"),
}
"""Which repair mends a fault; it is given the digest of the content. None from it: nobody has the content."""


def _given(content: Content) -> Content:
    """What has been opened already."""
    return content


def _plain(content: Content) -> Content:
    from ...grammars.codecs.stream import decompress

    return decompress(content)  # type: ignore[return-value]
