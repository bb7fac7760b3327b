"""The trees of a store: names, hashes, locks, rows and leases around a driver.

ROOT/trees/<hex>/         published by one rename inside the transaction that inserts its row
ROOT/trees/.empty/        an empty folder
ROOT/ingest/tree-<hex>/   being made, guarded by the lock ROOT/ingest/tree-<hex>.lock
ROOT/active/<key>/        being written by a build or a container
"""

from __future__ import annotations

import os
import time

from ...ground.files import Lock, os_errors, private_dir, random_name, remove_tree, surely, trace
from ...ground.userns import rights
from ...words.digest import Digest
from ...words.errors import Conflict, DigestMismatch, NotFound, StoreError, Unsupported, UsageError
from ...words.mount import Mount
from ...words.value import Value
from ..database import Database, boot_id
from ..leases import LeaseStore
from .drivers import NAMES, Drivers
from .model import ActiveTree, HeldLocks, Mode, Times, Tree, TreeInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO

    from ...grammars.tar.entry import Entry, Reader
    from ...ground.scan import Opener
    from ...ground.work.budget import Budget
    from .drivers import Driver
    from .model import Write
    from .reading.node import LayerReader
    from .reading.view import Found, TreeView
    from .roots.comparison import Comparison
    from .roots.kept import Roots
    from .rows import TreeRows

    Passed = Callable[[int], object]
    BlobTar = Callable[[], Reader]

_ALONE = """SELECT 1 FROM tree WHERE diff_id = ? AND synced = 0 AND NOT EXISTS (
    SELECT 1 FROM layer WHERE layer.diff_id = tree.diff_id AND (layer.digest IN (SELECT digest FROM blob)
        OR layer.digest IN (SELECT digest FROM source)))"""

_EMPTY = Digest.of(bytes(1024))
"""The empty tar."""

_KEY = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


class Active(Value):
    """A tree being written: mount `mount`, write, then `Trees.commit` or `Trees.discard`.

    `upper` is the folder that holds the difference; `layers` are the diff ids beneath, lowest first.
    """

    key: str
    layers: tuple[Digest, ...]
    mount: Mount
    upper: str


class Trees:
    """All trees of a store. `layers` is always diff ids, lowest first."""

    def __init__(
        self, root: str, database: Database, leases: LeaseStore, *, driver: str = "auto",
        mode: Mode | None = None, budget: Callable[[], Budget] | None = None,
    ) -> None:  # fmt: skip
        """`Store.open` makes these. Raises UsageError for an unknown driver."""
        self._root, self._database, self._leases = root, database, leases
        self._wanted, self._budget = driver, budget or _of_machine
        self._drivers = Drivers(root, mode or Mode.detect(), self._budget, self._peers, self._trusted)
        if driver not in ("auto", *NAMES):
            known = ", ".join(("auto", *NAMES))
            raise UsageError(f"unknown storage driver {driver!r}", hint=f"there are: {known}")
        self._candidates = NAMES if driver == "auto" else (driver,)
        self._chosen: Driver | None = None
        self._roots: Roots | None = None
        self.restore: Callable[[Digest], object] = _nothing
        """Asked for a tree that is not here; makes it, if it can. `Store` sets it."""

    @property
    def _driver(self) -> Driver:
        """The first candidate that works here; the last one without a trial."""
        if self._chosen is None:
            *others, last = map(self._drivers.get, self._candidates)
            self._chosen = next((driver for driver in others if not self._fault(driver)), last)
        return self._chosen

    @property
    def mode(self) -> Mode:
        """What this process may do to files."""
        return self._drivers.mode

    @property
    def name(self) -> str:
        """The driver in use."""
        return self._driver.name

    @property
    def mounts_roots(self) -> bool:
        """Whether a root is mounted. Where it is laid out, a program in it may find no mount permitted."""
        return self._driver.root.is_mounted

    @property
    def why(self) -> str:
        """One sentence: why this driver, or why it will not work here. Tried once per boot."""
        how = "asked for" if self._wanted != "auto" else "chosen"
        before = self._candidates[: self._candidates.index(self.name)]
        refused = "".join(f"; {self._fault(self._drivers.get(name))}" for name in before)
        try:
            return f"{how}; {self._probe(self._driver)}{refused}"
        except Unsupported as error:
            return f"{how}, but {error.message}{refused}"

    def _fault(self, driver: Driver) -> str:
        """Why a driver does not work here; "" if it does."""
        try:
            self._probe(driver)
        except (Unsupported, StoreError) as error:  # a full disk, for one, is no reason to stop
            return error.message
        return ""

    def _probe(self, driver: Driver) -> str:
        """The answer of the driver's trial, remembered for this boot and what it depends on."""
        key = f"probe:{driver.name}:{_circumstances(self._drivers.mode, self._root)}"
        row = self._database.one("SELECT value FROM meta WHERE key = ?", (key,))
        boot, _, answer = row[0].partition(" ") if row else ("", "", "")
        if boot != boot_id():
            answer = self._try(driver)
            values = (key, f"{boot_id()} {answer}")
            self._database.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
        if answer.startswith("!"):
            raise Unsupported(answer[1:])
        return answer

    def _try(self, driver: Driver) -> str:
        with _Making(self._root, f"tree-{random_name()}") as making:
            try:
                return driver.trial(making.folder)
            except Unsupported as error:
                return "!" + error.message

    def folder(self, diff_id: Digest) -> str:
        """Where the tree is (or would be)."""
        return f"{self._root}/trees/{diff_id.hex}"

    @property
    def rows(self) -> TreeRows:
        """What is recorded of trees and actives, for those who look through all of them."""
        from .rows import TreeRows

        return TreeRows(self._root, self._database)

    def has(self, diff_id: Digest) -> bool:
        """Is the tree here, whole? A leased store keeps what it was told is here until the lease ends."""
        return not self.missing((diff_id,))

    def missing(self, layers: Sequence[Digest]) -> list[Digest]:
        """Those that are not here, in order. A tree that a power cut may have torn is not here."""
        placed = self._placed(layers)
        return [diff_id for diff_id in dict.fromkeys(layers) if diff_id not in placed]

    def _rows(self, layers: Sequence[Digest]) -> dict[str, tuple[Any, ...]]:
        wanted = tuple(set(layers))
        marks = ", ".join("?" * len(wanted))
        sql = f"SELECT diff_id, driver, root, boot, synced, used FROM tree WHERE diff_id IN ({marks})"
        return {row[0]: row for row in self._database.execute(sql, wanted)}

    def _trusted(self) -> set[str]:
        """Names of the folders in ROOT/trees that no power cut can have torn."""
        rows = self._database.execute("SELECT diff_id FROM tree WHERE synced OR boot = ?", (boot_id(),))
        return {Digest(row[0]).hex for row in rows}

    def _peers(self) -> list[str]:
        """Folders of unpacked trees, those used last first: what a new one may share files with."""
        sql = (
            "SELECT diff_id FROM tree WHERE driver = 'overlay' AND (synced OR boot = ?) "
            "ORDER BY used DESC, written DESC LIMIT 32"
        )
        return [f"{self.folder(Digest(row[0]))}/fs" for row in self._database.execute(sql, (boot_id(),))]

    def _placed(self, layers: Sequence[Digest]) -> dict[Digest, Tree]:
        """Those of the layers that are here, kept by this store's lease if it holds one."""
        found = {}
        for row in self._rows(layers).values():
            diff_id = Digest(row[0])
            placed = self._tree(diff_id, row[1])
            if not os.path.isdir(placed.folder):
                continue
            whole = row[4] or row[3] == boot_id() or self._survived(placed)
            if whole and self._keeps(diff_id, row[5]):
                found[diff_id] = placed
        return found

    def _tree(self, diff_id: Digest, driver: str) -> Tree:
        return Tree(diff_id, self.folder(diff_id), self._drivers.get(driver).form)

    def _survived(self, tree: Tree) -> bool:
        """Whether a tree that the machine may have gone down on is whole, which only its tar can prove."""
        from .forms.proof import prove

        if prove(tree, self._budget()) != "":
            return False
        self._database.change("UPDATE tree SET synced = 1 WHERE diff_id = ?", (tree.diff_id,))
        return True

    def prove(self, diff_id: Digest, passed: Passed | None = None, blob: BlobTar | None = None) -> str | None:
        """What is wrong with a tree, one phrase; "" for nothing, None when there is no way to tell.

        `passed` is told the bytes read; `blob` gives the tar where the tree itself does not. Raises NotFound.
        """
        row = self._database.one("SELECT driver FROM tree WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"the store does not hold the tree of layer {diff_id}")
        if row[0] not in NAMES:
            return f"it is of the driver {row[0]}, which this version does not have"
        if not os.path.isdir(self.folder(diff_id)):
            return "its folder is gone"
        from .forms.proof import prove

        return prove(self._tree(diff_id, row[0]), self._budget(), passed, blob)

    def _keeps(self, diff_id: Digest, used: int) -> bool:
        if used >= self._leases.began:
            return True
        sql = "UPDATE tree SET used = (SELECT now FROM clock) WHERE diff_id = ?"
        return self._database.change(sql, (diff_id,)) > 0

    def _stack(self, layers: Sequence[Digest]) -> list[Tree]:
        placed = self._placed(layers)
        for diff_id in layers:
            if diff_id not in placed:
                self.restore(diff_id)
                placed |= self._placed((diff_id,))
            if diff_id not in placed:
                raise NotFound(f"the store does not hold the tree of layer {diff_id}", hint="pull it again")
        return [placed[diff_id] for diff_id in layers]

    def ingest(self, stream: Reader, expected: Digest | None = None) -> Digest:
        """Make a tree from an uncompressed layer tar, read to its very end; atomic; gives the diff id.

        Joins an ingest of the same `expected` that is under way (then the stream is not read), and reads
        nothing when the tree exists. Raises DigestMismatch, InvalidArchive, TooLarge, StoreError.
        """
        self._leases.current()
        if expected is not None and self.has(expected):
            return expected
        name = f"tree-{expected.hex if expected else random_name()}"
        with _Making(self._root, name) as making:
            if expected is not None and self.has(expected):
                return expected
            return self._ingest(stream, expected, making)

    def _ingest(self, stream: Reader, expected: Digest | None, making: _Making) -> Digest:
        from ...ground.work.hashing import HashingReader

        with HeldLocks() as locks:
            with HashingReader(stream, self._budget()) as hashing, os_errors("write a tree"):
                made = self._driver.form.ingest(hashing, making.folder, locks)
                hashing.drain()
                actual = hashing.digest()
            if expected is not None and actual != expected:
                raise DigestMismatch(expected, actual, what="layer")
            trace("tree:extracted")
            self._publish(making.folder, actual, made, self._driver)
        return actual

    def _publish(self, folder: str, diff_id: Digest, made: TreeInfo, driver: Driver, key: str = "") -> None:
        """Rename into place, insert the row, forget the active `key` it was made from: all or nothing."""
        values = (diff_id, driver.name, made.size, made.root, boot_id(), time.time())
        with os_errors(f"publish tree {diff_id}"), self._database.transaction():
            if not self.has(diff_id):
                self._clear(diff_id)
                os.rename(folder, self.folder(diff_id))
                trace("tree:renamed")
                sql = "INSERT INTO tree VALUES (?, ?, ?, ?, ?, 0, ?, (SELECT now FROM clock))"
                self._database.change(sql, values)
            self._database.change("DELETE FROM active WHERE key = ?", (key,))
        trace("tree:published")

    def replace(self, diff_id: Digest, stream: Reader) -> None:
        """Make a tree of its tar and put it in the place of one that is damaged, or of none; atomic.

        What was there goes to the trash: no running container may have a folder of it. Raises as `ingest`.
        """
        from ...ground.work.hashing import HashingReader

        self._leases.current()
        with _Making(self._root, f"tree-{diff_id.hex}") as making, HeldLocks() as locks:
            with HashingReader(stream, self._budget()) as hashing, os_errors("write a tree"):
                made = self._driver.form.ingest(hashing, making.folder, locks)
                hashing.drain()
                actual = hashing.digest()
            if actual != diff_id:
                raise DigestMismatch(diff_id, actual, what="layer")
            with os_errors(f"replace tree {diff_id}"), self._database.transaction():
                self._clear(diff_id)
                self._publish(making.folder, diff_id, made, self._driver)

    def take_in(self, diff_id: Digest) -> bool:
        """Give a folder that no row speaks of its row; it is believed only after it was proven.

        False if there is no tree in it.
        """
        folder = self.folder(diff_id)
        if not (driver := self._drivers.of_folder(folder)):
            return False
        made = driver.form.describe(Tree(diff_id, folder, driver.form))
        values = (diff_id, driver.name, made.size, made.root, os.stat(folder).st_mtime)
        sql = "INSERT OR IGNORE INTO tree VALUES (?, ?, ?, ?, '', 0, ?, (SELECT now FROM clock))"
        return self._database.change(sql, values) > 0

    def _clear(self, diff_id: Digest) -> None:
        """Make way: what a kill or a power cut left under this name moves to the trash."""
        self._database.change("DELETE FROM tree WHERE diff_id = ?", (diff_id,))
        if os.path.lexists(self.folder(diff_id)):
            os.rename(self.folder(diff_id), f"{self._root}/trash/{random_name()}")

    def view(self, layers: Sequence[Digest]) -> Mount:
        """The layers as one read-only file system. Raises NotFound when one is missing."""
        return self._driver.root.view(self._stack(layers))

    def prepare(self, key: str, layers: Sequence[Digest]) -> Active:
        """A writable file system over the layers. `key` [a-z0-9]+ is new: Conflict if it exists.

        Kept by the container of that id, else by the lease of this store. Raises NotFound, StoreError.
        """
        folder = self.active_folder(key)
        self._insert_active(key, layers)
        try:
            stack = self._stack(layers)
            trace("active:inserted")
            tree = ActiveTree(tuple(stack), folder, self._root_of(layers))
            if not self._take_root(layers, tree):
                private_dir(folder)
                self._driver.root.prepare(tree)
            mount, upper = self._driver.root.mount(tree)
        except BaseException:
            self.discard(key)
            raise
        trace("active:prepared")
        return Active(key, tuple(layers), mount, upper)

    def keep_roots(self) -> None:
        """From now on until `drop_roots`, what is committed may serve a later `prepare` as it stands."""
        from .roots.kept import Roots

        self._roots = self._roots or Roots()

    def drop_roots(self) -> None:
        """Discard those that nobody took. Idempotent. Raises StoreError."""
        roots, self._roots = self._roots, None
        for key in roots.take_all() if roots else ():
            self.discard(key)

    def _keep_root(self, driver: Driver, active: Active, diff_id: Digest) -> bool:
        """Leave the folder of a committed active to the next `prepare`."""
        folder = self.active_folder(active.key)
        if self._roots is None or not driver.root.is_reusable():
            return False
        layers = active.layers if diff_id == _EMPTY else (*active.layers, diff_id)
        key = f"root{random_name()}"
        self._insert_active(key, layers)
        with os_errors(f"move {folder}"):
            os.rename(folder, self.active_folder(key))
        replaced = self._roots.put(layers, key)
        if replaced:
            self.discard(replaced)
        return True

    def _take_root(self, layers: Sequence[Digest], tree: ActiveTree) -> bool:
        count, key = self._roots.take(layers) if self._roots else (0, "")
        if not key:
            return False
        with os_errors(f"move {tree.folder}"):
            os.rename(self.active_folder(key), tree.folder)
        self._forget_active(key)
        if self._driver.root.extend(tree, count):
            return True
        remove_tree(tree.folder)
        return False

    def _insert_active(self, key: str, layers: Sequence[Digest]) -> None:
        values = (key, self._driver.name, " ".join(layers), time.time())
        owned = self._database.one("SELECT 1 FROM container WHERE id = ?", (key,))
        lease = None if owned else self._leases.current()
        with self._database.transaction():
            if self._database.one("SELECT 1 FROM active WHERE key = ?", (key,)):
                raise Conflict(f"{key} is being written already")
            self._database.change("INSERT INTO active VALUES (?, ?, ?, ?)", values)
            if lease:
                lease.add("active", key)

    def _root_of(self, layers: Sequence[Digest]) -> str:
        """ "mode uid gid" of `/`, from the topmost layer that says it; "" when none does."""
        rows = self._rows(layers)
        return next((rows[d][2] for d in reversed(layers) if d in rows and rows[d][2]), "")

    def active_folder(self, key: str) -> str:
        """Where an active is (or would be). Raises UsageError for an invalid key."""
        if not key or len(key) > 128 or not _KEY.issuperset(key):
            raise UsageError(f"invalid key of an active tree: {key[:200]!r}")
        return f"{self._root}/active/{key}"

    def active(self, key: str) -> Active | None:
        """An active that was prepared earlier, perhaps elsewhere. Raises NotFound for a lost layer."""
        folder = self.active_folder(key)
        row = self._database.one("SELECT driver, layers FROM active WHERE key = ?", (key,))
        if row is None:
            return None
        layers = tuple(Digest(text) for text in row[1].split())
        tree = ActiveTree(tuple(self._stack(layers)), folder)
        mount, upper = self._drivers.get(row[0]).root.mount(tree)
        return Active(key, layers, mount, upper)

    def _driver_of(self, active: Active) -> Driver:
        """The one that prepared it, perhaps for another user of this store."""
        row = self._database.one("SELECT driver FROM active WHERE key = ?", (active.key,))
        return self._drivers.get(row[0]) if row else self._driver

    def _active_tree(self, active: Active) -> ActiveTree:
        return ActiveTree(tuple(self._stack(active.layers)), self.active_folder(active.key))

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
        with HashingWriter(write, self._budget()) as hashing, os_errors("write a layer"):
            tree = self._active_tree(active).replace(root=self._root_of(active.layers))
            with driver.form.writer(tree.folder, hashing.write, locks) as writer:
                made = driver.root.pack(tree, writer, Times(clamp, driver.form.keeps_files))
            return hashing.digest(), made

    def entries(self, active: Active, merged: int = -1) -> Iterator[tuple[Entry, Opener | None]]:
        """The difference as the entries of a layer, sorted, whiteouts as `.wh.` files; nothing is changed.

        With a descriptor of the mounted active, or of a part of it mounted alone, everything in it instead.
        Owners are those that an image has. Raises StoreError, Unsupported.
        """
        tree, root = self._active_tree(active), self._driver_of(active).root
        return root.entries(tree) if merged < 0 else root.all_entries(tree, merged)

    def compare(self, active: Active) -> tuple[frozenset[bytes], list[tuple[bytes, int]]]:
        """Paths of the difference that are as in the layers beneath: touched, or only parents of such.

        And what was copied, as `settle` gives it. Nothing is changed. Raises StoreError, NotFound.
        """
        found = self._compare(active, None, remove=False)
        return (frozenset(found.unchanged), found.copied) if found else (frozenset(), [])

    def settle(self, active: Active, *, clamp: int | None = None) -> list[tuple[bytes, int]]:
        """Take out of the difference what is as in the layers beneath, before it is committed.

        Gives path and size of files that were copied only to change mode, owner or attributes. Nothing must
        be mounted on the active. `clamp` as `commit`. Raises StoreError, NotFound.
        """
        found = self._compare(active, clamp, remove=True)
        return found.copied if found else []

    def _compare(self, active: Active, clamp: int | None, *, remove: bool) -> Comparison | None:
        root = self._driver_of(active).root
        return root.compare(self._active_tree(active), clamp, remove=remove)

    def commit(self, active: Active, write: Write, *, clamp: int | None = None) -> Digest:
        """`pack`, then the difference becomes the tree of that diff id, without extracting it again.

        The active is gone afterwards. Times are whole seconds as in docker's layers, none later than
        `clamp` (seconds since 1970), in the tar and in the tree. Nothing must be mounted on the active
        any more. A step that changed nothing gives the canonical empty tar. When packing fails, the
        active stays. Raises StoreError, and whatever `write` raises.
        """
        self._leases.current()
        driver, folder = self._driver_of(active), self.active_folder(active.key)
        with HeldLocks() as locks:
            diff_id, made = self._pack(active, write, clamp, locks)
            trace("tree:packed")
            with _Making(self._root, f"tree-{diff_id.hex}") as making:
                if not self.has(diff_id):
                    driver.form.adopt(folder, active.upper, making.folder)
                self._publish(making.folder, diff_id, made, driver, active.key)
        if not self._keep_root(driver, active, diff_id):
            remove_tree(folder)
        return diff_id

    def discard(self, key: str) -> None:
        """Drop an active. Idempotent. Raises StoreError."""
        folder = self.active_folder(key)
        try:
            self._forget_active(key)
        except StoreError:  # the disk may be full, and of nothing but what is in this folder
            remove_tree(folder)
            self._forget_active(key)
        trace("active:forgotten")
        remove_tree(folder)

    def _forget_active(self, key: str) -> None:
        with self._database.transaction():
            self._database.change("DELETE FROM active WHERE key = ?", (key,))
            self._database.change("DELETE FROM lease_item WHERE kind = 'active' AND key = ?", (key,))

    def own(self, active: Active, path: bytes, uid: int, gid: int) -> None:
        """Give a path of the active an owner; where the system cannot (one id only), record it."""
        self._driver_of(active).root.chown(self._active_tree(active), path, uid, gid)

    def open(self, layers: Sequence[Digest]) -> TreeView:
        """Read files through the layers without mounting; close it. Raises NotFound, StoreError."""
        from .reading.view import open_view

        return open_view(self._stack(layers))

    def recent(self, most: int) -> list[Digest]:
        """The trees that were made last, the newest first, at most so many."""
        rows = self._database.execute("SELECT diff_id FROM tree ORDER BY written DESC LIMIT ?", (most,))
        return [Digest(row[0]) for row in rows]

    def reader(self, diff_id: Digest) -> LayerReader:
        """Read one tree by literal paths; close it. Raises NotFound, StoreError, OSError."""
        (tree,) = self._stack((diff_id,))
        return tree.read()

    def lookup(self, layers: Sequence[Digest], path: bytes, *, follow: bool = True) -> Found | None:
        """One look through `open(layers)`, which for more than one is cheaper. Raises NotFound, StoreError.

        The descriptors behind it are closed when the result is no longer referred to.
        """
        return self.open(layers).lookup(path, follow=follow)

    def tar(self, diff_id: Digest) -> BinaryIO:
        """The layer's tar, bit for bit; the caller closes it and verifies what it reads against the diff id.

        Raises NotFound, Unsupported when the tree was kept in a form that cannot give it, StoreError.
        """
        (tree,) = self._stack((diff_id,))
        return tree.tar()

    def can_tar(self, diff_id: Digest) -> bool:
        """Whether the tree is here and gives its tar: then its compressed form need not be kept beside it."""
        try:
            self.tar(diff_id).close()
        except (NotFound, Unsupported, StoreError):
            return False
        return True

    def secure(self, layers: Sequence[Digest]) -> int:
        """Those of the layers that exist nowhere else are on the disk when this returns; how many were not.

        Nowhere else: neither as a blob here nor in a repository that is known. Raises StoreError.
        """
        from ..settle import secure

        alone = [diff_id for diff_id in layers if self._database.one(_ALONE, (diff_id,))]
        if alone:
            with os_errors("write trees"):
                secure([self.folder(diff_id) for diff_id in alone])
            with self._database.transaction(durable=True):
                for diff_id in alone:
                    self._database.change("UPDATE tree SET synced = 1 WHERE diff_id = ?", (diff_id,))
        return len(alone)

    def size(self, diff_id: Digest) -> int:
        """Bytes of content in the tree's files. Raises NotFound."""
        row = self._database.one("SELECT size FROM tree WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"the store does not hold the tree of layer {diff_id}")
        return int(row[0])

    def delete(self, diff_id: Digest) -> int:
        """Remove a tree; bytes of disk freed. Only for tests and repair: the sweep has its own way."""
        with os_errors(f"remove tree {diff_id}"), self._database.transaction():
            self._clear(diff_id)
        from ..sweep import empty_trash

        return empty_trash(self._root)


def _nothing(_diff_id: Digest) -> None:
    pass


def _of_machine() -> Budget:
    from ...ground.work.budget import Budget

    return Budget.of_machine()


class _Making:
    """A folder in which something is made, with its lock; what is left in it at the end is removed."""

    def __init__(self, root: str, name: str) -> None:
        self.folder = f"{root}/ingest/{name}"

    def __enter__(self) -> _Making:
        with os_errors("begin to make a tree"):
            self._lock = Lock(self.folder + ".lock")
        try:
            remove_tree(self.folder)
            private_dir(self.folder)
            trace("tree:begun")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            surely(remove_tree, self.folder)
        finally:
            self._lock.release(remove=True)


def _circumstances(mode: Mode, root: str) -> str:
    """What may change an answer within one boot: the marks in use, who asks with which rights, the disk."""
    return f"{mode.userxattr}:{os.geteuid()}:{rights()}:{os.stat(root).st_dev:x}"
