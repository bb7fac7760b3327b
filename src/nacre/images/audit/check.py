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

from ...ground.files import is_shortage
from ...ground.work.pipe import CHUNK
from ...ground.work.threads import in_parallel
from ...stores.rebuild import database_faults, refuse_damaged
from ...words.digest import Digest, Verifier
from ...words.errors import NacreError, StoreError
from ...words.oci import Descriptor, ImageConfig, Index, Manifest, parse_document
from ...words.processors import processors
from ...words.progress import NullProgress
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from ...stores.store import Store
    from ...words.progress import Progress
    from ..layers.compressed import Sources
    from ..model.source import Reader


class Finding(Value):
    """One thing that is not as it should be.

    `kind` blob, tree, image, container, step, lease or database; `name` a digest, name or id; `images` whom
    it affects. `wrong`: damage, not only a leftover. `remedy` is what was done about it, "" if nothing.
    """

    kind: str
    name: str
    problem: str
    images: tuple[str, ...] = ()
    wrong: bool = True
    remedy: str = ""

    @property
    def line(self) -> str:
        """All of it in one line."""
        of = f" (of {', '.join(self.images)})" if self.images else ""
        end = (
            f"; repaired: {self.remedy}" if self.remedy else "" if self.wrong else "; the next prune frees it"
        )
        return f"{self.kind} {self.name}{of}: {self.problem}{end}"


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
        return tuple(one for one in self.findings if one.wrong and not one.remedy)


def check(
    store: Store, *, repair: bool = False, progress: Progress | None = None, sources: Sources | None = None
) -> Report:
    """Read all of a store, two things at a time. `repair`: mend what can be mended (`mend`).

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
    """One run. `findings` grow from call to call."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store, self.findings = store, list[Finding]()
        self._task = progress.task("store")
        self._mutex, self._read = Lock(), 0
        self.blobs, self.trees = store.blobs.sizes(), store.trees.rows.sizes()
        self.unproven: list[Digest] = []
        self.users: dict[str, list[str]] = {}
        self.sizes: dict[str, int] = {}
        self.layers: dict[str, dict[Digest, Descriptor]] = {}
        self.look_up()

    def look_up(self) -> None:
        """What documents say that can be read: `users`, the names of the images that need a blob or a tree,
        and `sizes` of blobs, by digest; `layers`, the compressed forms of a tree, by diff id.
        """
        self.users.clear()
        for digest, name in self.images():
            for part in self._parts(digest):
                self.users.setdefault(part, []).append(name)

    def images(self) -> list[tuple[Digest, str]]:
        """Every manifest that is kept, with its name; a digest where it has none."""
        return [(digest, name or digest) for digest, name in self.store.refs.kept()]

    def _parts(self, digest: Digest) -> list[str]:
        found, waiting = [str(digest)], [digest]
        while waiting:
            try:
                document = parse_document(self.store.blobs.read(waiting.pop(), drop=False))
                parts = document.manifests if isinstance(document, Index) else _blobs_of(document)
                self.sizes |= {one.digest: one.size for one in parts}
                found += [one.digest for one in parts]
                if isinstance(document, Index):
                    waiting += [one.digest for one in parts]
                else:
                    found += self._layers_of(document)
            except StoreError:
                raise
            except NacreError:
                continue
        return found

    def _layers_of(self, document: Manifest) -> tuple[Digest, ...]:
        config = ImageConfig.parse(self.store.blobs.read(document.config.digest, drop=False))
        for layer, diff_id in zip(document.layers, config.diff_ids, strict=False):
            self.layers.setdefault(diff_id, {})[layer.digest] = layer
        return config.diff_ids

    def find(self, kind: str, name: str, problem: str, *, wrong: bool = True) -> None:
        """Note a finding."""
        finding = Finding(kind, name, problem, tuple(dict.fromkeys(self.users.get(name, ()))), wrong)
        with self._mutex:
            if finding not in self.findings:
                self.findings.append(finding)

    @property
    def wrong(self) -> list[Finding]:
        """Damage that is there still."""
        return [one for one in self.findings if one.wrong and not one.remedy]

    def remedied(self, finding: Finding, remedy: str) -> None:
        """Note what was done about one."""
        self.findings[self.findings.index(finding)] = finding.replace(remedy=remedy)

    def passed(self, count: int) -> None:
        """So many bytes more were read."""
        with self._mutex:
            self._read += count
        self._task.advance(count)

    # content

    def content(self) -> None:
        """Every blob and every tree, the largest first, by as many threads as there are processors."""
        work = [(size, "blob", name) for name, size in self.blobs.items()]
        work += [(size, "tree", name) for name, size in self.trees.items()]
        self._task.phase("Checking", sum(size for size, _, _ in work))
        in_parallel(self._look, sorted(work, reverse=True), processors())
        self._excuse()
        self._task.done("Checked")

    def _excuse(self) -> None:
        """Folders that were held against a blob that turned out to be damaged are proven by nothing."""
        damaged = {one.name for one in self.wrong if one.kind == "blob"}
        known = {self.store.layers.diff_id(Digest(name)) for name in damaged}
        for one in [one for one in self.findings if one.kind == "tree" and one.name in known]:
            if not self.store.trees.can_tar(Digest(one.name)):
                self.findings.remove(one)
                self.unproven.append(Digest(one.name))

    def prove_again(self) -> None:
        """Look once more at what was excused, now that blobs may have been mended."""
        again, self.unproven = self.unproven, []
        for diff_id in again:
            self._look((0, "tree", diff_id))
        self._excuse()

    def _look(self, item: tuple[int, str, str], _stop: Event | None = None) -> None:
        _, kind, name = item
        problem = self.blob_fault(Digest(name)) if kind == "blob" else self.tree_fault(Digest(name))
        if problem and self._is_recorded(kind, Digest(name)):
            absent = problem in (_NO_FILE, _NO_FOLDER) and not self._is_needed(kind, name)
            self.find(kind, name, problem, wrong=not absent)

    def _is_recorded(self, kind: str, digest: Digest) -> bool:
        """Whether it is there still, and was not removed or replaced while it was looked at."""
        return self.store.blobs.is_recorded(digest) if kind == "blob" else self.store.trees.rows.has(digest)

    def _is_needed(self, kind: str, name: str) -> bool:
        """A blob of a layer whose tree is here need not be."""
        if kind == "blob":
            known = self.store.layers.diff_id(Digest(name))
            return name in self.users and (known is None or known not in self.trees)
        return name in self.users

    def blob_fault(self, digest: Digest) -> str:
        """What is wrong with a blob, "" for nothing."""
        verifier = Verifier(digest, what="it")
        try:
            with open(self.store.blobs.path(digest), "rb", buffering=0) as file:
                while data := file.read(CHUNK):
                    verifier.update(data)
                    self.passed(len(data))
            verifier.verify()
        except FileNotFoundError:
            return _NO_FILE
        except NacreError as error:
            return error.message
        except OSError as error:
            if is_shortage(error):
                raise StoreError(f"cannot check the store: {error}") from None
            return f"it cannot be read: {error.strerror or error}"
        return ""

    def tree_fault(self, diff_id: Digest) -> str:
        """What is wrong with a tree, "" for nothing. One that nothing can prove is taken for whole."""
        blob = next((b for b in self.store.layers.blobs_of(diff_id) if b.digest in self.blobs), None)
        try:
            if blob is None or not os.path.exists(self.store.blobs.path(blob.digest)):
                return self.store.trees.prove(diff_id, self.passed) or ""
            with open(self.store.blobs.path(blob.digest), "rb", buffering=0) as file:
                return self.store.trees.prove(diff_id, self.passed, lambda: _plain(file)) or ""
        except (NacreError, OSError) as error:
            if is_shortage(error):
                raise StoreError(f"cannot check the store: {error}") from None
            return str(error)

    # reach

    def reach(self) -> None:
        """Every image and container has what it needs."""
        self.trees = self.store.trees.rows.sizes()
        bad = {one.name for one in self.wrong}
        for digest, name in self.images():
            for problem in self._image_faults(digest, bad):
                self.find("image", name, problem)
        for row in self.store.containers.list():
            self._container(row.id, row.name, row.image)

    def _image_faults(self, digest: Digest, bad: set[str]) -> Iterator[str]:
        """What of an image is missing; what is damaged was told of already."""
        document = self._document(digest)
        if isinstance(document, str):
            if digest not in bad:
                yield f"its manifest {document}"
            return
        if isinstance(document, Index):
            return  # its images are kept one by one, as far as they are here
        try:
            config = ImageConfig.parse(self.store.blobs.read(document.config.digest, drop=False))
        except StoreError:
            raise
        except NacreError as error:
            if document.config.digest not in bad:
                yield f"its config cannot be read: {error.message}"
            return
        for layer, diff_id in zip(document.layers, config.diff_ids, strict=False):
            if not self._has_layer(layer, diff_id):
                yield f"layer {diff_id} is missing"

    def _document(self, digest: Digest) -> Manifest | Index | str:
        try:
            return parse_document(self.store.blobs.read(digest, drop=False))
        except StoreError:
            raise
        except NacreError as error:
            return f"cannot be read: {error.message}"

    def _has_layer(self, layer: Descriptor, diff_id: Digest) -> bool:
        """As a tree, or as a blob from which the tree is made when it is needed."""
        return diff_id in self.trees or os.path.exists(self.store.blobs.path(layer.digest))

    def _container(self, id: str, name: str, image: str) -> None:
        layers = self.store.trees.rows.layers_of_active(id)
        lost = [diff_id for diff_id in layers or () if diff_id not in self.trees]
        if not self.store.containers.has(id):
            return
        if lost:
            self.find("container", name, f"layer {lost[0]} is missing")
        if not os.path.exists(self.store.blobs.path(Digest(image))):
            self.find("container", name, f"its image {image} is missing")
        if layers is not None and not self.store.trees.rows.has_active_folder(id):
            self.find("container", name, "its files are gone")

    # records

    def records(self) -> None:
        """Rows and files that have lost each other, and the database itself."""
        for problem in database_faults(self.store):
            self.find("database", "nacre.db", problem)
        for digest in self.store.blobs.unrecorded():
            self.find("blob", digest, "a file that no record speaks of", wrong=False)
        for diff_id in self.store.trees.rows.unrecorded():
            self.find("tree", diff_id, "a folder that no record speaks of", wrong=False)
        for key in self.store.trees.rows.unrecorded_actives():
            self.find("container", key, "files of a container or build that is gone", wrong=False)
        for key in self.store.steps.without_tree():
            self.find(
                "step", key[:12], "its layer is gone, so it is built again when it is needed", wrong=False
            )
        for id in self.store.leases.unrecorded():
            self.find("lease", id, "of a process that never began", wrong=False)
        self._mark_synced()

    def _mark_synced(self) -> None:
        """Content of an earlier boot was proven by now."""
        bad = {one.name for one in self.wrong}
        for rows in (self.store.blobs, self.store.trees.rows):
            for digest in rows.unsynced():
                if digest not in bad:
                    rows.mark_synced(digest)

    def report(self) -> Report:
        """What was found, damage first."""
        found = sorted(self.findings, key=lambda one: not one.wrong)
        return Report(tuple(found), len(self.blobs), len(self.trees), len(self.images()), self._read)


def _blobs_of(manifest: Manifest) -> tuple[Descriptor, ...]:
    return (manifest.config, *manifest.layers)


_NO_FILE, _NO_FOLDER = "its file is gone", "its folder is gone"


def _plain(file: Reader) -> Reader:
    from ...grammars.codecs.stream import decompress

    return decompress(file)
