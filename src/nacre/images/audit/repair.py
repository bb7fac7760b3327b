"""`system check --repair`: what is damaged is made again, else fetched again, else named as lost.

    tree    from its own tar (then only the index was damaged), a blob, a repository
    blob    of a layer: dropped when its tree gives it; else fetched. Of a document: fetched

The new content is complete and verified before it takes the place of the damaged; what cannot be had again
stays as it is, for there may be something good in it.
"""

from __future__ import annotations

from functools import partial

from ...ground.work.pipe import copy
from ...words.digest import Digest
from ...words.errors import DigestMismatch, NacreError
from ...words.oci import Descriptor, Manifest, parse_document
from ..layers.compressed import is_remade
from ..layers.recipes import find_recipe
from .elsewhere import Elsewhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..layers.compressed import Sources
    from ..model.source import Content
    from .check import Checking, Finding

    Came = tuple[()] | tuple[Descriptor, str]


_DEPTH = 4
"""Rounds in which documents that came may tell of others: index, manifest, config, layers."""


class Mending:
    """Works on the findings of a check, and notes there what it did."""

    def __init__(self, checking: Checking, sources: Sources | None) -> None:
        self._checking, self._store = checking, checking.store
        self._elsewhere = Elsewhere(checking.store, sources, checking.users)

    def all(self) -> None:
        """Mend content, then what images miss: a document that came tells of more that may be missing."""
        self._content()
        for _ in range(_DEPTH):
            self._checking.look_up()
            self._checking.reach()
            if not self._each("image", self._image):
                break
        for layer, diff_id in self._store.layers.without_recipe():
            find_recipe(self._store, layer, diff_id)

    def _content(self) -> None:
        """Documents first: they say what layers there should be."""
        self._each("blob", self._blob)
        self._checking.prove_again()
        self._each("tree", self._tree)

    def _each(self, kind: str, remedy: Callable[[Finding], str]) -> int:
        """How many it mended."""
        found = [one for one in self._checking.wrong if one.kind == kind]
        return sum(self._apply(finding, remedy) for finding in found)

    def _apply(self, finding: Finding, remedy: Callable[[Finding], str]) -> bool:
        try:
            done = remedy(finding)
        except NacreError:
            return False
        if done:
            self._checking.remedied(finding, done)
        return bool(done)

    # blobs

    def _blob(self, finding: Finding) -> str:
        digest = Digest(finding.name)
        diff_id = self._store.layers.diff_id(digest)
        if diff_id is None:
            return self._document(digest)
        layer = next(one for one in self._store.layers.blobs_of(diff_id) if one.digest == digest)
        if not self._store.trees.prove(diff_id) and self._is_remade(layer, diff_id):
            self._store.blobs.delete(digest)
            return "dropped, since it can be made again of its tree"
        return self._fetched(layer)

    def _is_remade(self, layer: Descriptor, diff_id: Digest) -> bool:
        return is_remade(self._store, layer) or find_recipe(self._store, layer, diff_id)

    def _fetched(self, layer: Descriptor) -> str:
        for where, content in self._elsewhere.layer(layer):
            try:
                self._replace(layer, content)
            except NacreError:
                continue
            self._store.layers.add_source(layer.digest, where)
            return f"fetched again from {where}"
        return ""

    def _replace(self, layer: Descriptor, content: Content) -> None:
        with content, self._store.blobs.ingest(key=f"repair-{layer.digest.hex}") as ingest:
            ingest.restart()
            copy(content, ingest.write)
            if ingest.verify() != layer.digest:
                raise DigestMismatch(layer.digest, ingest.verify())
            self._store.blobs.delete(layer.digest)
            ingest.commit(layer.digest)

    def _document(self, digest: Digest) -> str:
        """A config or a manifest."""
        size = self._checking.sizes.get(digest, self._checking.blobs.get(digest, 0))
        found = self._elsewhere.document(digest, size)
        if found is None:
            return ""
        where, data = found
        self._store.blobs.delete(digest)
        self._store.blobs.add(data, digest)
        self._store.layers.add_source(digest, where)
        return f"fetched again from {where}"

    # trees

    def _tree(self, finding: Finding) -> str:
        return self._remade_tree(Digest(finding.name))

    def _remade_tree(self, diff_id: Digest) -> str:
        """By the first way that gives the right tar."""
        if self._store.trees.rows.is_mounted(diff_id):
            return ""
        for remedy, opened, came in self._tars(diff_id):
            try:
                with opened() as content:
                    self._store.trees.replace(diff_id, _plain(content))
            except NacreError:
                continue
            if came:
                self._remember(diff_id, *came)
            return remedy
        return ""

    def _remember(self, diff_id: Digest, layer: Descriptor, where: str) -> None:
        self._store.layers.record(layer.digest, diff_id, layer.media_type, layer.size)
        self._store.layers.add_source(layer.digest, where)

    def _tars(self, diff_id: Digest) -> Iterator[tuple[str, Callable[[], Content], Came]]:
        """What is said of a way, how it is gone, and which layer it fetches from where."""
        store, forms = self._store, self._compressed(diff_id)
        if store.trees.can_tar(diff_id):
            yield "indexed again", partial(store.trees.tar, diff_id), ()
        for layer in forms:
            if store.blobs.has(layer.digest):
                yield "unpacked again", partial(store.blobs.open, layer.digest), ()
        for layer in forms:
            for where, content in self._elsewhere.layer(layer):
                yield f"fetched again from {where}", partial(_given, content), (layer, where)

    def _compressed(self, diff_id: Digest) -> list[Descriptor]:
        """All forms that are known, and those that any image names."""
        known = {layer.digest: layer for layer in self._store.layers.blobs_of(diff_id)}
        return list((known | self._checking.layers.get(diff_id, {})).values())

    # images

    def _image(self, finding: Finding) -> str:
        words = finding.problem.split()
        if words[0] == "layer":
            return self._remade_tree(Digest(words[1]))
        digest = next(digest for digest, name in self._checking.images() if name == finding.name)
        if words[1] == "manifest":
            return self._document(digest)
        document = parse_document(self._store.blobs.read(digest, drop=False))
        return self._document(document.config.digest) if isinstance(document, Manifest) else ""


def _given(content: Content) -> Content:
    """What has been opened already."""
    return content


def _plain(content: Content) -> Content:
    from ...grammars.codecs.stream import decompress

    return decompress(content)  # type: ignore[return-value]
