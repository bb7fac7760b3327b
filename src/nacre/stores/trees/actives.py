"""Trees that are being written by a build or a container.

ROOT/active/<key>/        what its root needs; see roots
"""

from __future__ import annotations

import os
import time

from ...ground.files import os_errors, private_dir, random_name, remove_tree, trace
from ...words.digest import Digest
from ...words.errors import Conflict, StoreError, UsageError
from ...words.mount import Mount, Overlay
from ...words.value import Value
from .model import ActiveTree, HeldLocks, Times, root_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .catalog import TreeCatalog
    from .drivers import Driver, DriverChoice
    from .interfaces import Member, Write
    from .model import TreeInfo
    from .roots.comparison import Comparison
    from .roots.kept import Roots
    from .rows import ActiveRows


_EMPTY = Digest.of(bytes(1024))
"""The empty tar."""

_KEY = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


class Active(Value):
    """A tree being written: mount `mount`, write, then `Actives.commit` or `Actives.discard`.

    `upper` is the folder that holds the difference; `layers` are the diff ids beneath, lowest first.
    """

    key: str
    layers: tuple[Digest, ...]
    mount: Mount
    upper: str


class Actives:
    """All actives of a store. `layers` is always diff ids, lowest first."""

    def __init__(self, catalog: TreeCatalog, choice: DriverChoice) -> None:
        self._catalog, self._choice = catalog, choice
        self._database = catalog.database
        self._roots: Roots | None = None

    @property
    def rows(self) -> ActiveRows:
        """What is recorded of actives, for those who look through all of them."""
        from .rows import ActiveRows

        return ActiveRows(self._catalog.root, self._database)

    def prepare(self, key: str, layers: Sequence[Digest], above: str = "") -> Active:
        """A writable file system over the layers. `key` [a-z0-9]+ is new: Conflict if it exists.

        `above` is the difference of another active over the same layers, which is being committed (`stacks`):
        it is shown as one more layer, until `settle`. Kept by the container of that id, else by the lease of
        this store. Raises NotFound, StoreError.
        """
        folder, root = self.folder(key), self._choice.driver.root
        self._insert(key, layers)
        try:
            trees = tuple(self._catalog.stack(layers))
            trace("active:inserted")
            tree = ActiveTree(trees, folder, _root_at(above) if above else root_of(trees))
            if not self._take_root(layers, tree):
                private_dir(folder)
                root.prepare(tree)
            mount, upper = root.mount(tree)
        except BaseException:
            self.discard(key)
            raise
        if above and isinstance(mount, Overlay):
            mount = mount.replace(lowers=(above, *mount.lowers))
        trace("active:prepared")
        return Active(key, tuple(layers), mount, upper)

    @property
    def stacks(self) -> bool:
        """Whether the difference of an active may be `above` the layers of another while it is committed.

        It is mounted, and its files are only read for that.
        """
        driver = self._choice.driver
        return driver.root.is_mounted and not driver.form.keeps_files

    def settle(self, active: Active, layers: Sequence[Digest]) -> Active:
        """An active whose layers were not all known when it was prepared; nothing may be mounted on it."""
        values = (" ".join(layers), active.key)
        self._database.change("UPDATE active SET layers = ? WHERE key = ?", values)
        return active.replace(layers=tuple(layers))

    def folder(self, key: str) -> str:
        """Where an active is (or would be). Raises UsageError for an invalid key."""
        if not key or len(key) > 128 or not _KEY.issuperset(key):
            raise UsageError(f"invalid key of an active tree: {key[:200]!r}")
        return f"{self._catalog.root}/active/{key}"

    def _insert(self, key: str, layers: Sequence[Digest]) -> None:
        values = (key, self._choice.name, " ".join(layers), time.time())
        owned = self._database.one("SELECT 1 FROM container WHERE id = ?", (key,))
        lease = None if owned else self._catalog.leases.current()
        with self._database.transaction():
            if self._database.one("SELECT 1 FROM active WHERE key = ?", (key,)):
                raise Conflict(f"{key} is already being written")
            self._database.change("INSERT INTO active VALUES (?, ?, ?, ?)", values)
            if lease:
                lease.add("active", key)

    def find(self, key: str) -> Active | None:
        """An active that was prepared earlier, perhaps elsewhere. Raises NotFound for a lost layer."""
        folder = self.folder(key)
        row = self._database.one("SELECT driver, layers FROM active WHERE key = ?", (key,))
        if row is None:
            return None
        layers = tuple(Digest(text) for text in row[1].split())
        tree = ActiveTree(tuple(self._catalog.stack(layers)), folder)
        mount, upper = self._catalog.drivers.get(row[0]).root.mount(tree)
        return Active(key, layers, mount, upper)

    def _driver_of(self, active: Active) -> Driver:
        """The one that prepared it, perhaps for another user of this store."""
        row = self._database.one("SELECT driver FROM active WHERE key = ?", (active.key,))
        return self._catalog.drivers.get(row[0]) if row else self._choice.driver

    def _tree(self, active: Active) -> ActiveTree:
        return ActiveTree(tuple(self._catalog.stack(active.layers)), self.folder(active.key))

    def entries(self, active: Active, merged: int = -1) -> Iterator[Member]:
        """The difference as the entries of a layer, sorted, whiteouts as `.wh.` files; nothing is changed.

        With a descriptor of the mounted active, or of a part of it mounted alone, everything in it instead.
        Owners are those that an image has. Raises StoreError, Unsupported.
        """
        tree, root = self._tree(active), self._driver_of(active).root
        return root.entries(tree) if merged < 0 else root.all_entries(tree, merged)

    def compare(self, active: Active) -> tuple[frozenset[bytes], list[tuple[bytes, int]]]:
        """Paths of the difference that are as in the layers beneath: touched, or only parents of such.

        And what was copied, as `drop_unchanged` gives it. Nothing is changed. Raises StoreError, NotFound.
        """
        found = self._compare(active, None, remove=False)
        return (frozenset(found.unchanged), found.copied) if found else (frozenset(), [])

    def drop_unchanged(self, active: Active, *, clamp: int | None = None) -> list[tuple[bytes, int]]:
        """Take out of the difference what is as in the layers beneath, before it is committed.

        Gives path and size of files that were copied only to change mode, owner or attributes. Nothing must
        be mounted on the active. `clamp` as `commit`. Raises StoreError, NotFound.
        """
        found = self._compare(active, clamp, remove=True)
        return found.copied if found else []

    def limit_times(self, active: Active, clamp: int | None) -> None:
        """Give no file of the difference a later time than `clamp`, in seconds. Raises StoreError."""
        if clamp is None:
            return
        with os_errors("date the files of a step"):
            for _, folders, files, fd in os.fwalk(active.upper, topdown=False):
                for name in [*files, *folders]:
                    if os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime > clamp:
                        os.utime(name, (clamp, clamp), dir_fd=fd, follow_symlinks=False)

    def _compare(self, active: Active, clamp: int | None, *, remove: bool) -> Comparison | None:
        root = self._driver_of(active).root
        return root.compare(self._tree(active), clamp, remove=remove)

    def pack(self, active: Active, write: Write, *, clamp: int | None = None) -> Digest:
        """Write the difference as one deterministic tar; gives its diff id. The active stays.

        Raises StoreError, and whatever `write` raises.
        """
        with HeldLocks() as locks:
            return self._pack(active, write, clamp, locks)[0]

    def _pack(
        self, active: Active, write: Write, clamp: int | None, locks: HeldLocks
    ) -> tuple[Digest, TreeInfo]:
        from ...ground.work.hashing import HashingWriter

        driver = self._driver_of(active)
        with HashingWriter(write, self._catalog.budget()) as hashing, os_errors("write a layer"):
            tree = self._tree(active)
            tree = tree.replace(root=root_of(tree.trees))
            with driver.form.writer(tree.folder, hashing.write, locks) as writer:
                info = driver.root.pack(tree, writer, Times(clamp, driver.form.keeps_files))
            return hashing.digest(), info

    def commit(self, active: Active, write: Write, *, clamp: int | None = None, keep: bool = False) -> Digest:
        """`pack`, then the difference becomes the tree of that diff id, without extracting it again.

        The active is gone afterwards, unless `keep` (where it `stacks`). Times are whole seconds as in
        docker's layers, none later than `clamp` (seconds since 1970), in the tar and in the tree. Nothing
        must be mounted on the active any more. A step that changed nothing gives the canonical empty tar.
        When packing fails, the active stays. Raises StoreError, and whatever `write` raises.
        """
        from .making import Making

        catalog = self._catalog
        catalog.leases.current()
        driver, folder = self._driver_of(active), self.folder(active.key)
        with HeldLocks() as locks:
            diff_id, info = self._pack(active, write, clamp, locks)
            trace("tree:packed")
            with Making(catalog.root, diff_id.hex) as making:
                if diff_id not in catalog.standing((diff_id,)):
                    driver.form.adopt(folder, active.upper, making.folder)
                catalog.publish(making.folder, diff_id, info, driver.name, "" if keep else active.key)
        if not keep and not self._keep_root(driver, active, diff_id):
            remove_tree(folder)
        return diff_id

    def discard(self, key: str) -> None:
        """Drop an active. Idempotent. Raises StoreError."""
        folder = self.folder(key)
        try:
            self._forget(key)
        except StoreError:  # the disk may be full, and of nothing but what is in this folder
            remove_tree(folder)
            self._forget(key)
        trace("active:forgotten")
        remove_tree(folder)

    def _forget(self, key: str) -> None:
        with self._database.transaction():
            self._database.change("DELETE FROM active WHERE key = ?", (key,))
            self._database.change("DELETE FROM lease_item WHERE kind = 'active' AND key = ?", (key,))

    def keep_roots(self) -> None:
        """From now on until `drop_roots`, what is committed may serve a later `prepare` as it stands."""
        from .roots.kept import Roots

        self._roots = self._roots or Roots()

    def lend_roots(self) -> None:
        """A process that was just forked has what is kept, and this one nothing until `take_roots`."""
        if self._roots is not None:
            self._roots.take_all()

    def kept_roots(self) -> dict[tuple[Digest, ...], str]:
        """What is kept: for `take_roots`, in the process that this one was forked from."""
        return self._roots.all() if self._roots else {}

    def take_roots(self, kept: Mapping[tuple[Digest, ...], str]) -> None:
        """Keep what a fork has kept. Raises StoreError."""
        for layers, key in kept.items():
            replaced = self._roots.put(layers, key) if self._roots else key
            if replaced:
                self.discard(replaced)

    def drop_roots(self) -> None:
        """Discard those that nobody took. Idempotent. Raises StoreError."""
        roots, self._roots = self._roots, None
        for key in roots.take_all() if roots else ():
            self.discard(key)

    def _keep_root(self, driver: Driver, active: Active, diff_id: Digest) -> bool:
        """Leave the folder of a committed active to the next `prepare`."""
        if self._roots is None or not driver.root.is_reusable():
            return False
        layers = active.layers if diff_id == _EMPTY else (*active.layers, diff_id)
        folder, key = self.folder(active.key), f"root{random_name()}"
        self._insert(key, layers)
        with os_errors(f"move {folder}"):
            os.rename(folder, self.folder(key))
        replaced = self._roots.put(layers, key)
        if replaced:
            self.discard(replaced)
        return True

    def _take_root(self, layers: Sequence[Digest], tree: ActiveTree) -> bool:
        count, key = self._roots.take(layers) if self._roots else (0, "")
        if not key:
            return False
        with os_errors(f"move {tree.folder}"):
            os.rename(self.folder(key), tree.folder)
        self._forget(key)
        if self._choice.driver.root.extend(tree, count):
            return True
        remove_tree(tree.folder)
        return False


def _root_at(folder: str) -> str:
    """ "mode uid gid" of a folder, as `root_of` gives it."""
    with os_errors(f"read {folder}"):
        found = os.stat(folder)
    return f"{found.st_mode & 0o7777:o} {found.st_uid} {found.st_gid}"
