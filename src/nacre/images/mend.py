"""`system check --repair`: what is damaged is made again, else fetched again, else named as lost.

    tree    from its own tar (then only the index was damaged), a blob, a repository
    blob    of a layer: dropped when its tree gives it; else fetched. Of a document: fetched

The new content is complete and verified before it takes the place of the damaged; what cannot be had again
stays as it is, for there may be something good in it.
"""

from __future__ import annotations

from functools import partial

from ..words.digest import Digest
from ..words.errors import NacreError
from ..words.oci import MAX_DOCUMENT, Descriptor
from ..words.reference import Reference
from .compressed import Forms, is_remade
from .pipes import copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..stores.store import Store
    from .check import Checking, Finding
    from .compressed import Sources
    from .source import Content


class Mending:
    """Works on the findings of a check, and notes there what it did."""

    def __init__(self, checking: Checking, sources: Sources | None) -> None:
        self._checking, self._sources = checking, sources
        self._store: Store = checking.store
        self._forms = Forms(self._store, sources)

    def content(self) -> None:
        """Documents first: they say what layers there should be."""
        self._each("blob", self._blob)
        self._checking.prove_again()
        self._each("tree", self._tree)

    def _each(self, kind: str, remedy: Callable[[Finding], str]) -> None:
        for finding in [one for one in self._checking.findings if one.kind == kind and not one.remedy]:
            if finding.wrong:
                self._apply(finding, remedy)

    def reach(self) -> None:
        """Documents and layers that images miss."""
        self._each("image", self._image)

    def forms(self) -> None:
        """What a rebuilt database does not know: how layers were compressed that were made here."""
        from .recipes import find_recipe, unknown

        for layer, diff_id in unknown(self._store):
            find_recipe(self._store, layer, diff_id)

    def _apply(self, finding: Finding, remedy: Callable[[Finding], str]) -> None:
        try:
            done = remedy(finding)
        except NacreError:
            return
        if done:
            self._checking.remedied(finding, done)

    # blobs

    def _blob(self, finding: Finding) -> str:
        digest = Digest(finding.name)
        diff_id = self._store.layers.diff_id(digest)
        if diff_id is None:
            return self._document(digest)
        layer = next(one for one in self._store.layers.blobs_of(diff_id) if one.digest == digest)
        if is_remade(self._store, layer) and not self._store.trees.prove(diff_id):
            self._store.blobs.delete(digest)
            return "dropped, since it can be made again of its tree"
        return self._fetched(layer)

    def _fetched(self, layer: Descriptor) -> str:
        content = self._forms.fetch(layer)
        if content is None:
            return ""
        with content, self._store.blobs.ingest(key=f"repair-{layer.digest.hex}") as ingest:
            ingest.restart()
            copy(content, ingest.write)
            if ingest.verify() != layer.digest:
                return ""
            self._store.blobs.delete(layer.digest)
            ingest.commit(layer.digest)
        return "fetched again"

    def _document(self, digest: Digest) -> str:
        """A config from where it came, a manifest by its digest from where a name of it points."""
        for fetch in self._ways(digest):
            try:
                data = fetch()
            except NacreError:
                continue
            if Digest.of(data, digest.algorithm) == digest:
                self._store.blobs.delete(digest)
                self._store.blobs.add(data, digest)
                return "fetched again"
        return ""

    def _ways(self, digest: Digest) -> Iterator[Callable[[], bytes]]:
        from .transfer import fetch_small

        sources = self._sources
        if sources is None:
            return
        row = self._store.db.one("SELECT size FROM blob WHERE digest = ?", (digest,))
        size = min(int(row[0]) if row else 0, MAX_DOCUMENT)
        for where in self._store.layers.sources(digest):
            yield partial(fetch_small, sources(where), Descriptor("", digest, size), "a document")
        for name in self._store.refs.names_of(digest):
            yield partial(_resolved, sources, Reference.parse(name).replace(tag="", digest=digest))

    # trees

    def _tree(self, finding: Finding) -> str:
        return self._remade_tree(Digest(finding.name))

    def _remade_tree(self, diff_id: Digest) -> str:
        """By the first way that gives the right tar."""
        if self._is_in_use(diff_id):
            return ""
        for remedy, opened in self._tars(diff_id):
            try:
                content = opened()
                if content is None:
                    continue
                with content:
                    self._store.trees.replace(diff_id, _plain(content))
            except NacreError:
                continue
            return remedy
        return ""

    def _is_in_use(self, diff_id: Digest) -> bool:
        """Whether a running container has the folder mounted: its files must not go."""
        sql = (
            "SELECT layers FROM active JOIN container ON container.id = active.key "
            "WHERE state = 'running' AND EXISTS "
            "(SELECT 1 FROM tree WHERE diff_id = ? AND tree.driver <> 'erofs')"
        )
        return any(diff_id in row[0].split() for row in self._store.db.execute(sql, (diff_id,)))

    def _tars(self, diff_id: Digest) -> Iterator[tuple[str, Callable[[], Content | None]]]:
        store = self._store
        if store.trees.can_tar(diff_id):
            yield "indexed again", partial(store.trees.tar, diff_id)
        for layer in store.layers.blobs_of(diff_id):
            if store.blobs.has(layer.digest):
                yield "unpacked again", partial(store.blobs.open, layer.digest)
        for layer in store.layers.blobs_of(diff_id):
            yield "fetched again", partial(self._forms.fetch, layer)

    # images

    def _image(self, finding: Finding) -> str:
        words = finding.problem.split()
        if words[0] == "layer":
            return self._remade_tree(Digest(words[1]))
        digest = next(digest for digest, name in self._checking.images() if name == finding.name)
        return self._document(digest) if words[1] == "manifest" else ""


def _resolved(sources: Sources, reference: Reference) -> bytes:
    return sources(reference.name).resolve(reference)[1]


def _plain(content: Content) -> Content:
    from ..grammars.codec import decompress

    return decompress(content)  # type: ignore[return-value]
