"""What takes space in a store, in blocks of disk, and what each prune would give back.

Every inode is counted once: where the first of images, containers, volumes, build cache, leftovers has it.
What would be freed is what a sweep would find (`stores.reclaimable`), so the figures are those that the sweep
then reports.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property
from itertools import chain

from ...stores import blocks, caches, volumes
from ...stores.layout import content
from ...stores.marking import SweepOptions
from ...stores.reclaimable import Reclaimable
from ...words.digest import Digest
from ...words.errors import NacreError
from ...words.value import Value
from ..model.image import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...stores.blocks import Inodes
    from ...stores.containers import ContainerRow
    from ...stores.store import Store


class Kind(Value):
    """One kind of thing: how many there are and are in use; bytes of disk; bytes that its prune frees."""

    name: str
    total: int
    active: int
    stored: int
    reclaimable: int


class ImageUsage(Value):
    """One image. `size` bytes of content in its layers; `stored` bytes of disk for layers and documents,

    `shared` of them with other images, so that `stored - shared` would come back without it.
    """

    digest: Digest
    id: Digest
    names: tuple[str, ...]
    created: str
    size: int
    stored: int
    shared: int
    containers: int


class LayerUsage(Value):
    """One layer: as `ImageUsage`; `blob` the bytes of disk for its compressed form, 0 where it is not kept.

    `images` is how many need it, `shared` the bytes that other layers have too (equal files).
    """

    diff_id: Digest
    driver: str
    size: int
    stored: int
    shared: int
    blob: int
    images: int


class UsageItem(Value):
    """A container, a volume or a part of the build cache: bytes of disk, `links` how often it is in use."""

    name: str
    stored: int
    created: float = 0.0
    links: int = 0


class DiskUsage(Value):
    """A whole store. `total` is all of its folder, `other` the part of it that is none of the kinds'
    (database, reserve, a registry). `prunable` is what `system prune -a --volumes` frees.
    """

    kinds: tuple[Kind, ...]
    images: tuple[ImageUsage, ...]
    layers: tuple[LayerUsage, ...]
    containers: tuple[UsageItem, ...]
    volumes: tuple[UsageItem, ...]
    cache: tuple[UsageItem, ...]
    total: int
    other: int
    prunable: int


def disk_usage(store: Store) -> DiskUsage:
    """Look through a store; nothing is changed. Raises StoreError."""
    return _Survey(store).result()


def disk_summary(store: Store) -> tuple[tuple[Kind, ...], int]:
    """`kinds` and `prunable` of `disk_usage` alone, for half of its time. Raises StoreError."""
    survey = _Survey(store)
    return survey.kinds(), survey.prunable()


class _Survey:
    def __init__(self, store: Store) -> None:
        self.store = store
        self._reclaimable = Reclaimable(store)
        self.rows = self._reclaimable.rows.containers
        self.steps = store.steps.all()
        self.volumes = volumes.every(store)
        self._counted: Inodes = {}

    def inodes(self, paths: Iterable[str]) -> Inodes:
        found: Inodes = {}
        for path in paths:
            found |= self._reclaimable.usage.inodes(path)
        return found

    def _tree(self, diff_id: str) -> str:
        return self.store.trees.rows.folder(Digest(diff_id))

    def _paths(self, blobs: Iterable[str], trees: Iterable[str]) -> list[str]:
        return [*(self.store.blobs.path(Digest(blob)) for blob in blobs), *map(self._tree, trees)]

    def _stored(self, paths: Iterable[str]) -> int:
        """Bytes of disk of what no kind before has."""
        found = {key: size for key, size in self.inodes(paths).items() if key not in self._counted}
        self._counted |= found
        return sum(found.values())

    def result(self) -> DiskUsage:
        kinds = self.kinds()
        total = sum(blocks.inodes(self.store.root).values())
        cache = tuple(self._cache_items())
        return DiskUsage(
            kinds, self._each_image(), self._each_layer(), self._each_container(), self._each_volume(),
            cache, total, max(0, total - sum(kind.stored for kind in kinds)), self.prunable(),
        )  # fmt: skip

    def kinds(self) -> tuple[Kind, ...]:
        """All five, in the order in which they count an inode."""
        return self._images(), self._containers(), self._volumes(), self._cache(), self._leftovers()

    def _images(self) -> Kind:
        kept = self._reclaimable.rows.images
        used, documents = self._reclaimable.rows.used(), self._reclaimable.documents
        blobs, trees = documents.reached([*kept, *used])
        listed = [digest for digest in kept if documents.names_any(digest)]
        active = sum(digest in used for digest in listed)
        self.base = self._reclaimable.of()[1]
        freed = self._reclaimable.of(images="all")[1] - self.base
        stored = self._stored(self._paths(blobs, trees))
        return Kind("Images", len(listed), active, stored, freed)

    def _containers(self) -> Kind:
        running = sum(row.is_live for row in self.rows)
        stored = self._stored(path for row in self.rows for path in self._folders(row))
        freed = self._reclaimable.of(containers="stopped")[1] - self.base
        return Kind("Containers", len(self.rows), running, stored, freed)

    def _folders(self, row: ContainerRow) -> list[str]:
        return [self.store.actives.folder(row.id), self.store.containers.folder(row.id)]

    def _folder(self, volume: volumes.Volume) -> str:
        """What goes with a volume; a folder of the host that it stands for stays."""
        return volumes.place(self.store.root, volume.name)

    def _volumes(self) -> Kind:
        paths = [self._folder(volume) for volume in self.volumes]
        unused = [self._folder(volume) for volume in self.volumes if not volume.users]
        used = len(paths) - len(unused)
        return Kind(
            "Local Volumes", len(paths), used, self._stored(paths), self._reclaimable.usage.freed(unused)
        )

    def _cache(self) -> Kind:
        folders = [path for path, _ in caches.sizes(self.store.root)]
        layers = [(step.layer.digest, step.diff_id) for step in self.steps if step.layer and step.diff_id]
        paths = self._paths((digest for digest, _ in layers), (diff_id for _, diff_id in layers))
        freed = self._reclaimable.of(build_cache=True)[1] - self.base
        count = len(self.steps) + len(folders)
        return Kind("Build Cache", count, 0, self._stored([*paths, *folders]), freed)

    def _leftovers(self) -> Kind:
        """Whatever else lies among the content: nothing reaches it, or it waits to be resumed."""
        count, freed = self._reclaimable.of(max_age=-1.0)
        return Kind("Leftovers", count, 0, self._stored(content(self.store.root)), freed)

    def prunable(self) -> int:
        """Bytes that `system prune -a --volumes` frees."""
        stopped = {row.id for row in self.rows if not row.is_live}
        gone = [volume for volume in self.volumes if volume.anonymous and stopped.issuperset(volume.users)]
        wishes = SweepOptions("all", True, "stopped", -1.0, True)
        return self._reclaimable.of(wishes)[1] + self._reclaimable.usage.freed(map(self._folder, gone))

    def _each_image(self) -> tuple[ImageUsage, ...]:
        needs = [self._needs(image) for image in self.images]
        users, containers = _counts(needs), _counts([row.image] for row in self.rows)
        rows = zip(self.images, needs, strict=True)
        return tuple(self._image(image, found, users, containers) for image, found in rows)

    def _needs(self, image: Image) -> Inodes:
        return self.inodes(self._paths(*self._reclaimable.documents.reached([image.digest])))

    def _image(
        self, image: Image, found: Inodes, users: Mapping[object, int], containers: Mapping[object, int]
    ) -> ImageUsage:
        shared = sum(size for key, size in found.items() if users[key] > 1)
        size = sum(self._sizes.get(diff_id, 0) for diff_id in set(image.diff_ids))
        return ImageUsage(
            image.digest, image.id, image.names, image.config.created, size,
            sum(found.values()), shared, containers.get(image.digest, 0),
        )  # fmt: skip

    def _each_layer(self) -> tuple[LayerUsage, ...]:
        rows, digests = self.store.trees.rows.all(), self.store.layers.digests()
        needs = {row.diff_id: self.inodes([self._tree(row.diff_id)]) for row in rows}
        users = _counts(needs.values())
        layers = []
        for row in rows:
            found = needs[row.diff_id]
            shared = sum(bytes for key, bytes in found.items() if users[key] > 1)
            blob = sum(self.inodes(self._paths(digests.get(row.diff_id, ()), ())).values())
            images, stored = self._links.get(row.diff_id, 0), sum(found.values())
            layers.append(LayerUsage(row.diff_id, row.driver, row.size, stored, shared, blob, images))
        return tuple(layers)

    @cached_property
    def images(self) -> list[Image]:
        """All that can be read."""
        return list(_images(self.store))

    @cached_property
    def _sizes(self) -> dict[Digest, int]:
        return self.store.trees.rows.sizes()

    @cached_property
    def _links(self) -> Mapping[object, int]:
        """How many images have a layer."""
        return _counts(set(image.diff_ids) for image in self.images)

    def _each_container(self) -> tuple[UsageItem, ...]:
        return tuple(
            UsageItem(row.id, sum(self.inodes(self._folders(row)).values()), row.created) for row in self.rows
        )

    def _each_volume(self) -> tuple[UsageItem, ...]:
        return tuple(
            UsageItem(
                volume.name,
                sum(self.inodes([self._folder(volume)]).values()),
                volume.created,
                len(volume.users),
            )
            for volume in self.volumes
        )

    def _cache_items(self) -> Iterable[UsageItem]:
        for step in self.steps:
            tree = [self._tree(step.diff_id)] if step.diff_id else []
            links = self._links.get(step.diff_id, 0)
            yield UsageItem(step.key, sum(self.inodes(tree).values()), step.created, links)
        for path, stored in caches.sizes(self.store.root):
            yield UsageItem(os.path.basename(path), stored)


def _counts(groups: Iterable[Iterable[object]]) -> Mapping[object, int]:
    """In how many of the groups a thing is."""
    return Counter(chain.from_iterable(groups))


def _images(store: Store) -> Iterable[Image]:
    for descriptor in store.refs.images():
        try:
            yield Image.load(store, descriptor)
        except NacreError:
            continue
