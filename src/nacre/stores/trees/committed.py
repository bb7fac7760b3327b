"""Committed trees: what stands, making one of a layer's tar, and reading them."""

from __future__ import annotations

from ...ground.files import os_errors
from ...words.errors import DigestMismatch, NotFound, StoreError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from ...grammars.tar.entry import Reader
    from ...words.digest import Digest
    from ...words.mount import Mount
    from .catalog import TreeCatalog
    from .drivers import DriverChoice
    from .lazy import LazyTrees
    from .making import Making
    from .reading.reader import LayerReader
    from .reading.view import Found, TreeView
    from .recording import RecordedMount
    from .repair import TreeRepair
    from .rows import TreeRows

_ALONE = """SELECT 1 FROM tree WHERE diff_id = ? AND synced = 0 AND NOT EXISTS (
    SELECT 1 FROM layer WHERE layer.diff_id = tree.diff_id AND (layer.digest IN (SELECT digest FROM blob)
        OR layer.digest IN (SELECT digest FROM source)))"""


class Trees:
    """All trees of a store. `layers` is always diff ids, lowest first."""

    def __init__(self, catalog: TreeCatalog, choice: DriverChoice) -> None:
        self._catalog, self._choice = catalog, choice

    @property
    def rows(self) -> TreeRows:
        """What is recorded of trees, for those who look through all of them."""
        from .rows import TreeRows

        return TreeRows(self._catalog.root, self._catalog.database)

    @property
    def lazy(self) -> LazyTrees:
        """Trees whose contents come when they are read."""
        from .lazy import LazyTrees

        return LazyTrees(self._catalog, self._choice)

    @property
    def repair(self) -> TreeRepair:
        """Proving trees and putting others in their place."""
        from .repair import TreeRepair

        return TreeRepair(self._catalog, self._choice)

    def has(self, diff_id: Digest) -> bool:
        """Is the tree here, whole? A leased store keeps what it was told is here until the lease ends."""
        return diff_id in self._catalog.standing((diff_id,))

    def missing(self, layers: Sequence[Digest]) -> list[Digest]:
        """Those that are not here, in order. A tree that a power cut may have torn is not here."""
        standing = self._catalog.standing(layers)
        return [diff_id for diff_id in dict.fromkeys(layers) if diff_id not in standing]

    def ingest(self, stream: Reader, expected: Digest | None = None) -> Digest:
        """Make a tree from an uncompressed layer tar, read to its very end; atomic; gives the diff id.

        Joins an ingest of the same `expected` that is under way (then the stream is not read), and reads
        nothing when the tree exists. Raises DigestMismatch, InvalidArchive, TooLarge, StoreError.
        """
        from ...ground.files import random_name
        from .making import Making

        self._catalog.leases.current()
        if expected is not None and self.has(expected):
            return expected
        with Making(self._catalog.root, expected.hex if expected else random_name()) as making:
            if expected is not None and self.has(expected):
                return expected
            return self._ingest(stream, expected, making)

    def _ingest(self, stream: Reader, expected: Digest | None, making: Making) -> Digest:
        from ...ground.files import trace
        from .making import ingest
        from .model import HeldLocks

        driver = self._choice.driver
        with HeldLocks() as locks:
            actual, info = ingest(stream, driver.form, making.folder, locks, self._catalog.budget())
            if expected is not None and actual != expected:
                raise DigestMismatch(expected, actual, what="layer")
            trace("tree:extracted")
            self._catalog.publish(making.folder, actual, info, driver.name)
        return actual

    def sync_trees(self, layers: Sequence[Digest]) -> int:
        """Those of the layers that exist nowhere else are on the disk when this returns; how many were not.

        Nowhere else: neither as a blob here nor in a repository that is known. Raises StoreError.
        """
        from ..syncing import sync_trees

        database = self._catalog.database
        alone = [diff_id for diff_id in layers if database.one(_ALONE, (diff_id,))]
        if alone:
            with os_errors("write trees"):
                sync_trees([self._catalog.folder(diff_id) for diff_id in alone])
            with database.transaction(durable=True):
                for diff_id in alone:
                    database.change("UPDATE tree SET synced = 1 WHERE diff_id = ?", (diff_id,))
        return len(alone)

    def recorded(self, mount: Mount, layers: Sequence[Digest]) -> RecordedMount:
        """The mount of these layers, for a container whose reads are recorded. Raises NotFound."""
        from .recording import RecordedMount

        return RecordedMount(self._catalog.root, mount, tuple(self._catalog.stack(layers)))

    def keep_reads(self, layer: Digest, data: bytes) -> None:
        """Keep what was read of an image with its topmost layer that came lazily, if that is here still."""
        from ...ground.files import surely, write_atomic
        from .files import READS

        surely(write_atomic, f"{self._catalog.folder(layer)}/{READS}", data, 0o600)

    def reads(self, layers: Sequence[Digest], most: int) -> bytes:
        """What was kept with the topmost of the layers that has it, b"" for nothing or more than `most`."""
        from .files import READS

        for layer in reversed(layers):
            try:
                with open(f"{self._catalog.folder(layer)}/{READS}", "rb") as file:
                    data = file.read(most + 1)
                return data if len(data) <= most else b""
            except OSError:
                continue
        return b""

    def tar(self, diff_id: Digest) -> BinaryIO:
        """The layer's tar, bit for bit; the caller closes it and verifies what it reads against the diff id.

        Raises NotFound, Unsupported when the tree was kept in a form that cannot give it, StoreError.
        """
        (tree,) = self._catalog.stack((diff_id,))
        return tree.tar()

    def can_tar(self, diff_id: Digest) -> bool:
        """Whether the tree is here and gives its tar: then its compressed form need not be kept beside it."""
        try:
            (tree,) = self._catalog.stack((diff_id,))
            return tree.gives_tar()
        except (NotFound, Unsupported, StoreError):
            return False

    def read(self, diff_id: Digest) -> LayerReader:
        """Read one tree by literal paths; close it. Raises NotFound, StoreError, OSError."""
        (tree,) = self._catalog.stack((diff_id,))
        return tree.read()

    def open(self, layers: Sequence[Digest]) -> TreeView:
        """Read files through the layers without mounting; close it. Raises NotFound, StoreError."""
        from .reading.view import open_view

        return open_view(self._catalog.stack(layers))

    def lookup(self, layers: Sequence[Digest], path: bytes, *, follow: bool = True) -> Found | None:
        """One look through `open(layers)`, which for more than one is cheaper. Raises NotFound, StoreError.

        The descriptors behind it are closed when the result is no longer referred to.
        """
        return self.open(layers).lookup(path, follow=follow)

    def view(self, layers: Sequence[Digest]) -> Mount:
        """The layers as one read-only file system. Raises NotFound when one is missing."""
        return self._choice.driver.root.view(self._catalog.stack(layers))
