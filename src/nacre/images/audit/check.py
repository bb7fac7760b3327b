"""`system check`: is everything in a store what its name says, and is all there that a name needs?

    content     every blob has its digest, every tree is what its tar says (`stores.trees.forms.proof`)
    reach       every name, image and container has its documents, its layers and its files
    records     rows without files, files without rows, leases of the dead: what a kill leaves

The last are no damage, since they count as absent and the next sweep frees them; they are told apart by
`wrong`. A finding about something that changed while it was looked at is dropped.
"""

from __future__ import annotations

import os
from threading import Lock

from ...ground.work.threads import in_parallel
from ...stores.rebuild import database_faults, refuse_damaged
from ...words.digest import Digest
from ...words.oci import Index
from ...words.progress import NullProgress
from ...words.value import Value
from .finding import Fault, Finding
from .needs import UNREADABLE, Needs
from .proof import blob_fault, tree_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from ...words.errors import NacreError
    from ...words.oci import Descriptor
    from ...words.progress import Progress
    from ..layers.compressed import Sources
    from .finding import Mended


class Report(Value):
    """What a check has looked at, and found; `bytes` are those read."""

    findings: tuple[Finding, ...]
    blobs: int
    trees: int
    images: int
    bytes: int

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Damage that is there still."""
        return tuple(one for one in self.findings if one.wrong and not one.mended)


def check(
    store: Store, *, repair: bool = False, progress: Progress | None = None, sources: Sources | None = None
) -> Report:
    """Read all of a store, two things at a time. `repair`: mend what can be mended (`repair`).

    Damaged content is made again from what is here, or fetched from a repository that `sources` gives.
    Safe beside running work. Without `repair` nothing is changed. Raises StoreError, and DamagedStore where
    the database must be made again first (`stores.rebuild`).
    """
    if repair:
        refuse_damaged(store)
    with store.leases.hold():
        checking = Checking(store, progress or NullProgress())
        checking.content()
        if repair:
            from .repair import Mending

            Mending(checking, sources).all()
        else:
            checking.reach()
        checking.records()
    return checking.report()


class Checking:
    """One run. `findings` grow from call to call; `blobs` and `trees` are the sizes of what is recorded."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store, self.findings = store, list[Finding]()
        self._task = progress.task("store")
        self._mutex, self._read = Lock(), 0
        self.blobs, self.trees = store.blobs.sizes(), store.trees.rows.sizes()
        self.needs = Needs(store)
        self._unproven: list[Digest] = []

    def find(
        self, fault: Fault, name: str, digest: Digest | None = None, *, detail: str = "", wrong: bool = True
    ) -> None:
        """Note a finding, once."""
        images = tuple(dict.fromkeys(self.needs.users.get(name, ())))
        finding = Finding(fault, name, digest, detail, images, wrong)
        with self._mutex:
            if finding not in self.findings:
                self.findings.append(finding)

    @property
    def wrong(self) -> list[Finding]:
        """Damage that is there still."""
        return [one for one in self.findings if one.wrong and not one.mended]

    def note_mended(self, finding: Finding, mended: Mended) -> None:
        """Note what was done about one."""
        self.findings[self.findings.index(finding)] = finding.replace(mended=mended)

    def passed(self, count: int) -> None:
        """So many bytes more were read."""
        with self._mutex:
            self._read += count
        self._task.advance(count)

    def report(self) -> Report:
        """What was found, damage first."""
        found = sorted(self.findings, key=lambda one: not one.wrong)
        return Report(tuple(found), len(self.blobs), len(self.trees), len(self.needs.images()), self._read)

    # content

    def content(self) -> None:
        """Every blob and every tree, the largest first, by as many threads as there are processors."""
        work: list[tuple[int, Digest, Callable[[Digest], object]]] = []
        work += [(size, digest, self._blob) for digest, size in self.blobs.items()]
        work += [(size, diff_id, self._tree) for diff_id, size in self.trees.items()]
        self._task.phase("Checking", sum(size for size, _, _ in work))
        work.sort(key=lambda item: item[:2], reverse=True)
        in_parallel(lambda item, _stop: item[2](item[1]), work, self.store.budget.processors)
        self._excuse()
        self._task.done("Checked")

    def _excuse(self) -> None:
        """Folders that were held against a blob that turned out to be damaged are proven by nothing."""
        damaged = [one.digest for one in self.wrong if one.kind == "blob" and one.digest]
        known = {self.store.layers.diff_id(digest) for digest in damaged}
        for one in [one for one in self.findings if one.kind == "tree" and one.digest in known]:
            if one.digest and not self.store.trees.can_tar(one.digest):
                self.findings.remove(one)
                self._unproven.append(one.digest)

    def prove_again(self) -> None:
        """Look once more at what was excused, now that blobs may have been mended."""
        again, self._unproven = self._unproven, []
        for diff_id in again:
            self._tree(diff_id)
        self._excuse()

    def _blob(self, digest: Digest) -> None:
        """A file that is gone is damage only if something needs it; so is a folder below."""
        fault = blob_fault(self.store, digest, self.passed)
        if fault and self.store.blobs.is_recorded(digest):
            wrong = fault[0] is not Fault.BLOB_LOST or self._is_needed(digest)
            self.find(fault[0], digest, digest, detail=fault[1], wrong=wrong)

    def _is_needed(self, digest: Digest) -> bool:
        """A blob of a layer whose tree is here need not be."""
        diff_id = self.store.layers.diff_id(digest)
        return digest in self.needs.users and (diff_id is None or diff_id not in self.trees)

    def _tree(self, diff_id: Digest) -> None:
        fault = tree_fault(self.store, diff_id, self.blobs, self.passed)
        if fault and self.store.trees.rows.has(diff_id):
            wrong = fault[0] is not Fault.TREE_LOST or diff_id in self.needs.users
            self.find(fault[0], diff_id, diff_id, detail=fault[1], wrong=wrong)

    # reach

    def reach(self) -> None:
        """Every image and container has what it needs."""
        self.trees = self.store.trees.rows.sizes()
        for digest, name in self.needs.images():
            self._image(digest, name)
        for row in self.store.containers.list():
            self._container(row)

    def _image(self, digest: Digest, name: str) -> None:
        """What of an image is missing; what is damaged was told of already."""
        try:
            document = self.needs.document(digest)
        except UNREADABLE as error:
            self._lost(Fault.IMAGE_MANIFEST_LOST, name, digest, error)
            return
        if isinstance(document, Index):
            return  # its images are kept one by one, as far as they are here
        try:
            config = self.needs.config(document)
        except UNREADABLE as error:
            self._lost(Fault.IMAGE_CONFIG_LOST, name, document.config.digest, error)
            return
        for layer, diff_id in zip(document.layers, config.diff_ids, strict=False):
            if not self._has_layer(layer, diff_id):
                self.find(Fault.IMAGE_LAYER_LOST, name, diff_id)

    def _lost(self, fault: Fault, name: str, digest: Digest, error: NacreError) -> None:
        if all(one.name != digest for one in self.wrong):
            self.find(fault, name, digest, detail=error.message)

    def _has_layer(self, layer: Descriptor, diff_id: Digest) -> bool:
        """As a tree, or as a blob from which the tree is made when it is needed."""
        return diff_id in self.trees or os.path.exists(self.store.blobs.path(layer.digest))

    def _container(self, row: ContainerRow) -> None:
        actives, image = self.store.actives, Digest(row.image)
        layers = actives.rows.layers(row.id)
        if not self.store.containers.has(row.id):
            return
        for diff_id in layers or ():
            if diff_id not in self.trees:
                self.find(Fault.CONTAINER_LAYER_LOST, row.name, diff_id)
        if not os.path.exists(self.store.blobs.path(image)):
            self.find(Fault.CONTAINER_IMAGE_LOST, row.name, image)
        if layers is not None and not os.path.isdir(actives.folder(row.id)):
            self.find(Fault.CONTAINER_FILES_LOST, row.name)

    # records

    def records(self) -> None:
        """Rows and files that have lost each other, and the database itself."""
        store = self.store
        for problem in database_faults(store):
            self.find(Fault.DATABASE_DAMAGED, "nacre.db", detail=problem)
        self._leftovers(Fault.BLOB_UNRECORDED, store.blobs.unrecorded())
        self._leftovers(Fault.TREE_UNRECORDED, store.trees.rows.unrecorded())
        self._leftovers(Fault.CONTAINER_UNRECORDED, store.actives.rows.unrecorded())
        self._leftovers(Fault.STEP_LAYER_LOST, (key[:12] for key in store.steps.without_tree()))
        self._leftovers(Fault.LEASE_UNRECORDED, store.leases.unrecorded())
        self._mark_synced()

    def _leftovers(self, fault: Fault, names: Iterable[str]) -> None:
        for name in names:
            self.find(fault, name, wrong=False)

    def _mark_synced(self) -> None:
        """Content of an earlier boot was proven by now."""
        bad = {one.name for one in self.wrong}
        for rows in (self.store.blobs, self.store.trees.rows):
            for digest in rows.unsynced():
                if digest not in bad:
                    rows.mark_synced(digest)
