"""What keeps content: the rows of one moment, what a sweep forgets of them, and all that the rest reaches.

roots     names, remembered images, containers, kept steps, what living leases name
reach     manifest → config, layers → (by the config) trees; index → manifests; active → trees;
          name → the index that goes with it
spared    what was made or used since the oldest living lease began, reached or not
"""

from __future__ import annotations

import os

from ..words import quickjson
from ..words.digest import Digest
from ..words.errors import NacreError, StoreError
from ..words.oci import MAX_DOCUMENT, Descriptor, ImageConfig, Manifest, parse_document
from ..words.value import Value
from . import mounted
from .containers import BEGUN
from .layout import names
from .links import config_links, manifest_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .containers import ContainerRow
    from .store import Store

    NamedContent = tuple[list[str], list[str]]
    """(blobs, trees)"""

_NO_LEASE = 1 << 62


class SweepOptions(Value):
    """What a sweep is to forget besides what nothing reaches.

    images: 'none' keeps every remembered image; 'dangling' forgets those without a name; 'all' forgets
    those that no container uses, with their names. build_cache: forget steps, and free the folders of
    the builder that no build uses. containers: 'stopped' forgets containers that do not run. max_age:
    seconds for which an interrupted download is kept. shed: drop the blobs of layers that can be had
    again of their trees or from a registry, if the store's policy is not to keep them now.

    Of these only what is picked: image_picked is asked with a manifest's digest, container_picked with the
    row; cache_before is when (seconds since 1970) a step or folder was last used at the latest; cache_items
    are keys of steps and names of folders (None: all).
    """

    images: str = "none"
    build_cache: bool = False
    containers: str = "none"
    max_age: float = 7 * 86400.0
    shed: bool = False
    image_picked: Callable[[Digest], bool] | None = None
    container_picked: Callable[[ContainerRow], bool] | None = None
    cache_before: float = float("inf")
    cache_items: frozenset[str] | None = None


class DroppedRows(Value):
    """What a sweep forgets first: containers (`begun` ones were never whole), keys of steps, images."""

    containers: tuple[ContainerRow, ...] = ()
    begun: tuple[ContainerRow, ...] = ()
    steps: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def items(self) -> list[tuple[str, str, int]]:
        """As `Freed` counts them."""
        ids = [row.id for row in (*self.containers, *self.begun)]
        kinds = ("container", ids), ("step", self.steps), ("image", self.images)
        return [(kind, key, 0) for kind, keys in kinds for key in keys]


class StoreRows:
    """The rows that keep content, at one moment."""

    def __init__(self, store: Store) -> None:
        """Reads all of them. Raises StoreError."""
        execute = store.db.execute
        living = store.leases.living()
        self.since = min((began for _, began in living), default=_NO_LEASE)
        self.leased = [
            item
            for lease, _ in living
            for item in execute("SELECT kind, key FROM lease_item WHERE lease = ?", (lease,))
        ]
        self.containers = store.containers.list()
        self.uses = {row.id: row.images for row in self.containers}
        self.steps = execute("SELECT key, layer, diff_id, used FROM step")
        self.images = [row[0] for row in execute("SELECT digest FROM image ORDER BY digest")]
        self.names: list[tuple[str, str]] = execute("SELECT name, digest FROM ref")
        self.indexes = {name: str(index.digest) for name, index in store.refs.indexes()}
        self.mounted = mounted.images(store.root)
        self.actives: list[tuple[str, str]] = execute("SELECT key, layers FROM active")
        self._store, self._starting = store, dict[str, bool]()

    def is_starting(self, id: str) -> bool:
        """Whether the one who began a container still held on to it when this was asked first."""
        if id not in self._starting:
            self._starting[id] = self._store.containers.is_starting(id)
        return self._starting[id]

    def without(self, gone: DroppedRows) -> StoreRows:
        """Those that remain without these."""
        left = StoreRows.__new__(StoreRows)
        left.__dict__.update(self.__dict__)
        containers = {row.id for row in (*gone.containers, *gone.begun)}
        left.containers = [row for row in self.containers if row.id not in containers]
        steps = set(gone.steps)
        left.steps = [row for row in self.steps if row[0] not in steps]
        images = set(gone.images)
        left.images = [digest for digest in self.images if digest not in images]
        left.names = [(name, digest) for name, digest in self.names if digest not in images]
        names = {name for name, digest in self.names if digest in images}
        left.indexes = {name: digest for name, digest in self.indexes.items() if name not in names}
        return left

    def used(self) -> set[str]:
        """The manifests that containers need."""
        return {digest for row in self.containers for digest in self.uses[row.id]}


class ManifestContents:
    """What manifests and indexes of a store name: remembered from one question to the next."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, NamedContent] = {}

    def named(self, digest: str) -> NamedContent:
        """(blobs, trees) that a manifest or index names; a blob that is neither names nothing.

        Only answers that cannot change are remembered: what is not here now may be here soon. What cannot be
        read for another reason may name anything: then nothing is swept. Raises StoreError.
        """
        return self._known.get(digest) or self._read(digest)

    def _read(self, digest: str) -> NamedContent:
        try:
            data = self._store.blobs.read(Digest(digest), drop=False)
            links = manifest_links(data)
            if links:
                return self._of_image(digest, *links)
            document = parse_document(data)
        except StoreError:
            raise
        except NacreError:
            return [], []
        if isinstance(document, Manifest):
            return self._of_image(digest, document.config.digest, [layer.digest for layer in document.layers])
        found = self._known[digest] = [entry.digest for entry in document.manifests], []
        return found

    def names_any(self, digest: str) -> bool:
        """Whether a manifest or index that was asked for names something."""
        return any(self._known.get(digest, ()))

    def _of_image(self, digest: str, config: Digest, layers: Sequence[str]) -> NamedContent:
        blobs: list[str] = [config, *layers]
        for blob in blobs:
            self._known.setdefault(blob, ([], []))
        try:
            document = self._store.blobs.read(config, drop=False)
        except StoreError:
            raise
        except NacreError:  # an image that can be mended as long as its layers are there
            return blobs, self._unpacked(layers)
        self._known[digest] = blobs, _diff_ids(document)
        return self._known[digest]

    def _unpacked(self, layers: Iterable[str]) -> list[str]:
        """The trees that are known to be these layers."""
        return [str(found) for found in map(self._store.layers.diff_id, map(Digest.named, layers)) if found]

    def reached(self, manifests: Iterable[str]) -> tuple[set[str], set[str]]:
        """Blobs and trees (diff ids) that these manifests or indexes need, as far as they can be read."""
        pending, blobs, trees = list(manifests), set[str](), set[str]()
        while pending:
            digest = pending.pop()
            if digest not in blobs:
                blobs.add(digest)
                inner, found = self.named(digest)
                pending += inner
                trees.update(found)
        return blobs, trees


class ReachableContent:
    """Blobs, trees, actives and folders of containers that rows reach."""

    def __init__(self, store: Store, rows: StoreRows, documents: ManifestContents) -> None:
        """Reads what it has to. Raises StoreError."""
        self.since = rows.since
        ids = {row.id for row in rows.containers}
        sets: dict[str, set[str]] = {"blob": set(), "tree": set(), "active": set(ids), "container": set(ids)}
        for kind, key in rows.leased:
            if kind in sets:
                sets[kind].add(key)
        self.actives, self.folders = sets["active"], sets["container"]
        named = [*rows.images, *(digest for _, digest in rows.names), *rows.used(), *rows.mounted]
        named += [*rows.indexes.values(), *_spared(store, rows.since)]
        blobs, trees = documents.reached(named)
        self.blobs, self.trees = blobs | sets["blob"], trees | sets["tree"]
        for _, layer, diff_id, _ in rows.steps:
            self.trees.add(diff_id)
            if layer:
                self.blobs.add(Descriptor.from_json(quickjson.loads(layer)).digest)
        for key, layers in rows.actives:
            if key in self.actives:
                self.trees.update(layers.split())


class StoredContent:
    """What lies in the folders of a store, reached or not."""

    def __init__(self, store: Store, since: int) -> None:
        """`since`: what was made or used then or later is spared. Raises StoreError."""
        root, execute = store.root, store.db.execute
        self.blobs = list(store.blobs.files())
        self.trees = [f"sha256:{name}" for name in names(f"{root}/trees") if not name.startswith(".")]
        self.actives, self.folders = names(f"{root}/active"), names(f"{root}/containers")
        self._recent = {row[0] for row in execute("SELECT digest FROM blob WHERE used >= ?", (since,))}
        self._rows = {row[0]: row[1] >= since for row in execute("SELECT diff_id, used FROM tree")}

    def garbage_blobs(self, reached: ReachableContent) -> list[str]:
        """Digests of those that can go."""
        return [one for one in self.blobs if one not in reached.blobs and one not in self._recent]

    def garbage_trees(self, reached: ReachableContent) -> list[str]:
        """Diff ids of those that can go. A tree without a row was never whole."""
        rows = self._rows
        return [one for one in self.trees if not (rows.get(one) or (one in rows and one in reached.trees))]


def sheddable(store: Store, since: int) -> Iterable[tuple[str, str, str]]:
    """Digests, diff ids and paths of blobs of layers that are kept as trees and can be had again."""
    from ..grammars.codecs.recipe import is_current

    sql = (
        "SELECT layer.digest, diff_id, recipe, EXISTS (SELECT 1 FROM source WHERE source.digest = "
        "layer.digest) FROM layer JOIN blob ON blob.digest = layer.digest JOIN tree USING (diff_id) "
        "WHERE blob.used < ? AND tree.synced = 1"
    )
    for digest, diff_id, recipe, has_source in store.db.execute(sql, (since,)):
        again = has_source or digest == diff_id or is_current(recipe)
        path = store.blobs.path(Digest(digest))
        if again and os.path.exists(path) and store.trees.can_tar(Digest(diff_id)):
            yield digest, diff_id, path


def _spared(store: Store, since: int) -> list[str]:
    """Manifests that the leases spare: somebody may be about to name them, so they stay whole."""
    sql = "SELECT digest FROM blob WHERE used >= ? AND size <= ?"
    return [
        digest
        for (digest,) in store.db.execute(sql, (since, MAX_DOCUMENT))
        if _looks_like_json(store, digest)
    ]


def _looks_like_json(store: Store, digest: str) -> bool:
    try:
        with open(store.blobs.path(Digest(digest)), "rb", buffering=0) as file:
            return file.read(1) == b"{"
    except FileNotFoundError:
        return False


def forgotten(rows: StoreRows, wishes: SweepOptions, documents: ManifestContents) -> DroppedRows:
    """The roots that the caller no longer wants. Raises StoreError."""
    containers, begun = _containers(rows, wishes)
    left = rows.without(DroppedRows(containers, begun))
    images = () if wishes.images == "none" else tuple(_images(left, wishes, documents))
    return DroppedRows(containers, begun, _steps(rows, wishes), images)


def _containers(
    rows: StoreRows, wishes: SweepOptions
) -> tuple[tuple[ContainerRow, ...], tuple[ContainerRow, ...]]:
    """Those that do not run, and those that were never whole; not one that somebody is about to start."""
    stopped, picked = wishes.containers == "stopped", wishes.container_picked
    found: tuple[list[ContainerRow], list[ContainerRow]] = [], []
    for row in rows.containers:
        wanted = stopped and not row.is_live and (picked is None or picked(row))
        if (wanted or row.state == BEGUN) and not rows.is_starting(row.id):
            found[not wanted].append(row)
    return tuple(found[0]), tuple(found[1])


def _steps(rows: StoreRows, wishes: SweepOptions) -> tuple[str, ...]:
    """Keys of the steps; not of one that a build at work has made."""
    items, before = wishes.cache_items, wishes.cache_before
    if not wishes.build_cache:
        return ()
    leased = {key for kind, key in rows.leased if kind == "step"}
    steps = [(key, used) for key, _, _, used in rows.steps if key not in leased]
    if items is None:
        return tuple(key for key, used in steps if used < before)
    return tuple(sorted(key for key, _ in steps if key in items))


def _images(rows: StoreRows, wishes: SweepOptions, documents: ManifestContents) -> Iterable[str]:
    used, picked = rows.used(), wishes.image_picked
    if wishes.images != "all":
        used |= {digest for _, digest in rows.names}
    for digest in rows.images:
        needed = digest in used or not used.isdisjoint(documents.named(digest)[0])
        if not needed and (picked is None or picked(Digest(digest))):
            yield digest


def _diff_ids(config: bytes) -> list[str]:
    """Trees of an image config; of an artifact's none."""
    links = config_links(config)
    if links:
        return links[1]
    try:
        return list(ImageConfig.parse(config).diff_ids)
    except NacreError:
        return []
