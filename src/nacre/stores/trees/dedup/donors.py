"""Borrowing: a layer that is being written points to contents that other tars of the store hold already.

The borrower hard-links the donor's tar into its own folder, `lent-00` and so on, so it depends on the file
and on nobody's folder. Until it is published with its list of cuts, a shared flock(2) on the donor keeps the
sweep from giving back what it points to (see reclaim.py).

Trust: a donor is found only in trees that are on disk or of this boot. A tree that borrows from an unsynced
one is itself unsynced, and becomes synced by a syncfs(2) that comes after both; so whatever a power cut
leaves of a donor, no borrower that is trusted afterwards has less.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from ....grammars.erofs.format import BLOCK
from ....ground.files import trace
from ....words.errors import StoreError
from ..files import LENT, TAR, lent, open_locked
from .hints import FILE as HINTS
from .hints import Hints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import HeldLocks

MOST = 16
"""Donors of one layer: each is one more file to open at every mount."""
_MOST_TRIED = 4 * MOST
_STEP = 50_000_000
_TOLD = 1 << 13
"""Contents that are kept in memory before the table hears of them."""


class Donor:
    """A tar that contents may be borrowed from. `number` is -1 until it is, 0 is the borrower's own."""

    __slots__ = ("blocks", "fd", "number", "path")

    def __init__(self, fd: int, path: str, number: int = -1) -> None:
        self.fd, self.path, self.number = fd, path, number
        self.blocks = os.fstat(fd).st_size // BLOCK


class Donors:
    """All tars of a store that may be borrowed from. One for a store, safe for threads."""

    def __init__(self, root: str, trusted: Callable[[], set[str]]) -> None:
        """`trusted` gives the names of the folders in ROOT/trees that may be relied on."""
        self._root, self._trusted = root, trusted
        self._lock = allocate_lock()
        self._hints: Hints | None = None
        self._paths: dict[int, str] = {}
        self._seen = -1

    def hints(self) -> Hints | None:
        """The table of hints; None when it cannot be had, which costs room only."""
        with self._lock:
            try:
                if self._hints is None or not self._hints.current():
                    self._hints = self._fresh()
            except (OSError, StoreError):
                return None
            return self._hints

    def _fresh(self) -> Hints:
        """The one before is left to whoever still uses it."""
        path = f"{self._root}/{HINTS}"
        Hints(path).grow()
        return Hints(path)

    def path(self, inode: int) -> str | None:
        """Where a tar with this inode number lies now."""
        with self._lock:
            if self._changed():
                self._paths = self._scan()
            return self._paths.get(inode)

    def _changed(self) -> bool:
        """Have folders been added or removed since the last look? Times have steps of some milliseconds."""
        now = os.stat(f"{self._root}/trees").st_mtime_ns
        changed, self._seen = now != self._seen, now if time.time_ns() - now > _STEP else -1
        return changed

    def _scan(self) -> dict[int, str]:
        paths: dict[int, str] = {}
        for name in self._trusted():
            try:
                with os.scandir(f"{self._root}/trees/{name}") as found:
                    paths.update((e.inode(), e.path) for e in found if e.name == TAR or e.name[:5] == LENT)
            except OSError:
                continue
        return paths


class Borrowing:
    """What one layer borrows while it is written into `folder`, its own tar open as `fd`."""

    def __init__(self, donors: Donors | None, folder: str, fd: int) -> None:
        self._store, self._folder = donors, folder
        self._hints = donors.hints() if donors else None
        self._inode = os.fstat(fd).st_ino
        self._own = Donor(fd, "", 0)
        self._donors: dict[int, Donor | None] = {}
        self._told: dict[bytes, int] = {}
        self.used: list[Donor] = []
        """Those that lend, in the order of their numbers, which begin at 1."""

    def find(self, key: bytes, blocks: int) -> tuple[Donor, int] | None:
        """Where a content of this key may lie, whole, and at which block. The bytes are not compared."""
        block = self._told.get(key)
        if block is not None:
            return self._own, block
        found = self._hints.find(key) if self._hints else None
        if found is None:
            return None
        inode, block = found
        donor = self._own if inode == self._inode else self._donor(inode)
        if donor is None or (donor.number and block + blocks > donor.blocks):
            return None
        return donor, block

    def _donor(self, inode: int) -> Donor | None:
        if inode not in self._donors:
            room = len(self.used) < MOST and len(self._donors) < _MOST_TRIED
            self._donors[inode] = self._open(inode) if room else None
        donor = self._donors[inode]
        return None if donor is None or (donor.number < 0 and len(self.used) >= MOST) else donor

    def _open(self, inode: int) -> Donor | None:
        path = self._store.path(inode) if self._store else None
        if path is None:
            return None
        try:
            fd = open_locked(path)
        except OSError:
            return None
        if os.fstat(fd).st_ino != inode:
            os.close(fd)
            return None
        return Donor(fd, path)

    def take(self, donor: Donor) -> bool:
        """The layer will point to this donor: link it. False when it cannot be had."""
        if donor.number >= 0:
            return True
        path = f"{self._folder}/{lent(len(self.used))}"
        if not _link(donor, path):
            donor.blocks = 0
            return False
        self.used.append(donor)
        donor.number = len(self.used)
        trace("tree:lent")
        return True

    def tell(self, key: bytes, block: int) -> None:
        """A content has been written to the borrower's own tar."""
        self._told[key] = block
        if len(self._told) >= _TOLD:
            self.publish()

    def publish(self) -> None:
        """Let other layers find what this one has written."""
        if self._hints and self._store:
            self._hints.tell(self._inode, self._told)
            self._hints = self._store.hints()
        self._told = {}

    def leave(self, locks: HeldLocks) -> None:
        """Leave the locks on those that lend to `locks`."""
        for inode, donor in list(self._donors.items()):
            if donor is not None and donor.number > 0:
                locks.keep(donor.fd)
                del self._donors[inode]

    def close(self) -> None:
        """Let go of all donors. Idempotent."""
        for donor in self._donors.values():
            if donor is not None:
                os.close(donor.fd)
        self._donors.clear()


def _link(donor: Donor, path: str) -> bool:
    """False when its name is gone, or is another file's by now, or no further link is allowed."""
    try:
        os.link(donor.path, path)
    except OSError:
        return False
    if os.stat(path).st_ino == os.fstat(donor.fd).st_ino:
        return True
    os.unlink(path)
    return False
