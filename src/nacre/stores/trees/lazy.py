"""Trees that can be used before their contents are here: a read of what is missing waits until it has come.

    trees/<hex>/layer.tar   with holes; marked, so that the kernel tells of a read before it happens
    trees/<hex>/lazy        how far it is (`LazyTree.note`); gone once the tree is an ordinary one

The row of such a tree says `lazy` in the place of the boot. It counts as here only while a process sees to
its content, which is written down as a shared mount is (`stores.shared`); after a reboot nobody does. Whoever
shows the tree to a container holds the group of its marks first (`ground.precontent`): without any holder
holes would read as zeros. With one, and nobody who fills the tree, readers wait until `fail_readers`.

In a user namespace the kernel neither mounts the index nor has readers wait. There a process of ours shows
the index (`stores.served`), and asks for content before it reads the tar (`ground.asking`): so does all else
that reads the tree (`awaiting`). When all is here the tree is made anew in the form of the store's driver.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import sha256

from ...ground.asking import AskedReads
from ...ground.files import os_errors, remove_tree, trace, unlink
from ...ground.precontent import ContentGroup, fail_all
from ...words.digest import Digest
from ...words.errors import DigestMismatch, StoreError
from ...words.value import Value
from .. import shared
from ..database import boot_id
from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...ground.asking import ReadQueue
    from .catalog import TreeCatalog
    from .drivers import DriverChoice
    from .forms.hollow import Pieces
    from .making import Making
    from .model import TreeInfo

_PIECE = 1 << 18


class LazyTree(Value):
    """One that was laid: `tar` and what `content` has are descriptors of this process and its children.

    Reads and writes through `tar` make no events.
    """

    diff_id: Digest
    folder: str
    tar: int
    content: ReadQueue

    @property
    def is_here(self) -> bool:
        """Whether its folder was not removed meanwhile, with the image."""
        return os.path.exists(f"{self.folder}/{files.LAZY}")

    def note(self, here: int, total: int, trouble: str = "") -> None:
        """Say how far it is, in bytes of content, and what keeps the rest from coming. Raises OSError."""
        self._write_down(f"{here} {total} {trouble}".encode("utf-8", "replace")[: files.NOTE])

    def note_whole(self) -> None:
        """Say that all is here and was proven. Raises OSError."""
        self._write_down(files.WHOLE)

    def _write_down(self, text: bytes) -> None:
        fd = os.open(f"{self.folder}/{files.LAZY}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, text.ljust(files.NOTE), 0)
        finally:
            os.close(fd)


class LazyTrees:
    """Of one store, for who brings layers in."""

    def __init__(self, catalog: TreeCatalog, choice: DriverChoice) -> None:
        self._catalog, self._choice = catalog, choice

    @property
    def is_served(self) -> bool:
        """Whether trees that are lazy are shown by a process of ours (FUSE), as in any user namespace."""
        return self._catalog.drivers.mode.userxattr

    @property
    def obstacle(self) -> str:
        """Why no tree can be lazy here, one phrase; "" where it can. Asked of the kernel each time."""
        if not self.is_served:
            return self.obstacle_to_events
        from ...ground import fuse

        driver = self._choice.driver.name
        return fuse.obstacle() if driver == "overlay" else f"the storage driver is {driver}, not overlay"

    @property
    def obstacle_to_events(self) -> str:
        """As `obstacle`: why the kernel does not tell of what is read here."""
        driver = self._choice.driver.name
        unsuited = "" if driver == "erofs" else f"the storage driver is {driver}, not erofs"
        try:
            content = ContentGroup()
        except PermissionError:  # whatever the driver: nobody should look for another one
            return "only root of the first user namespace can have reads wait (fanotify)"
        except OSError as error:
            return unsuited or f"fanotify is not to be had: {error.strerror}"
        try:
            with open(f"{self._catalog.root}/oci-layout", "rb") as file:
                content.mark(file.fileno())
        except OSError:
            return unsuited or "the kernel is older than Linux 6.14"
        finally:
            os.close(content.group)
        return unsuited

    def begin(self, diff_id: Digest) -> LazyMaking | None:
        """Begin to lay a tree, to be ended; None if it is here by now, or another process makes it.

        Raises StoreError.
        """
        from .making import Making

        self._catalog.leases.current()
        making = Making.attempt(self._catalog.root, diff_id.hex)
        if making is None:
            return None
        laying = LazyMaking(self._catalog, diff_id, making)
        if diff_id in self._catalog.standing((diff_id,)):
            laying.end()
            return None
        return laying

    def let_go(self, tree: LazyTree) -> None:
        """This process does not hold it any more: close the descriptors. Raises OSError."""
        shared.release_group(self._catalog.root, f"{tree.folder}/{files.INDEX}", tree.content.group)
        tree.content.close()
        os.close(tree.tar)

    def complete(self, tree: LazyTree, *, proven: bool = False) -> None:
        """All contents are here: nobody who reads waits any more. Prove the tar, and be an ordinary tree.

        `proven`: the tar is known to have its diff id.

        Raises DigestMismatch, after which the tree is not here any more, and what is read of it from now on
        and lies in no cache of the kernel fails with EIO.
        """
        if not tree.is_here:
            return
        tree.content.unmark(tree.tar)
        trace("lazy:unmarked")
        actual, at = (tree.diff_id, 0) if proven else _hashed(tree.tar)
        trace("lazy:proven")
        if actual != tree.diff_id:
            sql = "DELETE FROM tree WHERE diff_id = ? AND boot = ?"
            self._catalog.database.change(sql, (tree.diff_id, files.LAZY))
            tree.note(0, at, f"layer {tree.diff_id.short} is not what its image says")
            os.ftruncate(tree.tar, 0)
            raise DigestMismatch(tree.diff_id, actual, what="layer")
        if self.is_served:
            self._unpack(tree)
            return
        unlink(f"{tree.folder}/{files.LAZY}")
        trace("lazy:whole")
        sql = "UPDATE tree SET boot = ?, written = ? WHERE diff_id = ? AND boot = ?"
        self._catalog.database.change(sql, (boot_id(), time.time(), tree.diff_id, files.LAZY))

    def _unpack(self, tree: LazyTree) -> None:
        """Make it anew as the driver has trees. Who shows it as it was goes on with that, and needs nobody.

        Raises StoreError, after which it is not here any more.
        """
        from .making import Making, ingest
        from .model import HeldLocks

        tree.note_whole()
        trace("lazy:whole")
        catalog, driver = self._catalog, self._choice.driver
        try:
            with Making(catalog.root, tree.diff_id.hex) as making, HeldLocks() as locks:
                with open(tree.tar, "rb", closefd=False) as tar:
                    tar.seek(0)
                    _, info = ingest(tar, driver.form, making.folder, locks, catalog.budget())
                before = catalog.supersede(making.folder, tree.diff_id, info, driver.name)
        except BaseException:
            sql = "DELETE FROM tree WHERE diff_id = ? AND boot = ?"
            catalog.database.change(sql, (tree.diff_id, files.LAZY))
            unlink(f"{tree.folder}/{files.LAZY}")
            raise
        trace("lazy:unpacked")
        with suppress(OSError, StoreError):  # a sweep will free it
            remove_tree(before)


class LazyMaking:
    """A tree of one layer that is made of what its tar is made of, with holes."""

    def __init__(self, catalog: TreeCatalog, diff_id: Digest, making: Making) -> None:
        self._catalog, self._diff_id, self._making = catalog, diff_id, making

    def fill(self, pieces: Pieces) -> TreeInfo:
        """Write its tar and its index; for `publish`, which may be called in the parent of this process.

        Raises InvalidArchive, Unsupported, StoreError, and what `pieces` raises.
        """
        from .forms.hollow import lay

        with os_errors(f"lay layer {self._diff_id}"):
            return lay(pieces, self._making.folder)

    def publish(self, info: TreeInfo) -> LazyTree:
        """The tree is here. This process holds it from now on, and must fill it, or have it filled by a
        process that it forks and that calls `hold` (below). Raises StoreError.
        """
        with os_errors(f"lay layer {self._diff_id}"):
            return self._published(info, self._making.folder)

    def _published(self, info: TreeInfo, folder: str) -> LazyTree:
        tar, group = os.open(f"{folder}/{files.TAR}", os.O_RDWR | os.O_CLOEXEC), -1
        try:
            by_asking = self._catalog.drivers.mode.userxattr
            content: ReadQueue = AskedReads(folder) if by_asking else ContentGroup()
            group = content.group
            content.mark(tar)
            tree = LazyTree(self._diff_id, self._catalog.folder(self._diff_id), tar, content)
            os.close(os.open(f"{folder}/{files.LAZY}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            shared.hold_group(self._catalog.root, f"{folder}/{files.INDEX}", group)
            trace("lazy:held")
            self._catalog.publish(folder, self._diff_id, info, "erofs", boot=files.LAZY)
        except BaseException:
            _close(tar, group)
            raise
        return tree

    def end(self) -> None:
        """What is left of it is removed."""
        self._making.__exit__()


def _hashed(fd: int) -> tuple[Digest, int]:
    """The digest of a file, and its length. Raises OSError."""
    digest, at, buffer = sha256(), 0, bytearray(_PIECE)
    view = memoryview(buffer)
    while count := os.preadv(fd, [buffer], at):
        digest.update(view[:count])
        at += count
    return Digest(f"sha256:{digest.hexdigest()}"), at


def hold(root: str, tree: LazyTree) -> None:
    """This process, which has the descriptors of the one that laid it, holds it, too. Raises OSError."""
    shared.hold_group(root, f"{tree.folder}/{files.INDEX}", tree.content.group)


def is_filled(root: str, folder: str) -> bool:
    """Whether somebody sees to the content of the tree in a folder."""
    return shared.is_filled(root, f"{folder}/{files.INDEX}")


def fail_readers(root: str, folder: str) -> None:
    """Where nobody fills a lazy tree any more, those who wait for its content get EIO."""
    index = f"{folder}/{files.INDEX}"
    try:
        if not os.path.exists(f"{folder}/{files.LAZY}") or shared.is_filled(root, index):
            return
        group = shared.borrow_group(root, index)
    except OSError:
        return
    if group >= 0:
        try:
            fail_all(group)
        finally:
            os.close(group)


def _close(*descriptors: int) -> None:
    for fd in descriptors:
        if fd >= 0:
            os.close(fd)
