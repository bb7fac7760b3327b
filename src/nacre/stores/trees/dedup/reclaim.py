"""What layers lend each other, looked at from outside: giving back what nobody borrows any more.

A tar that lends is linked into the folder of every borrower (donors.py). When the folder it was made in
goes, the file stays for the borrowers, whole. What none of them points to is then punched out of it, in
whole blocks of the file system, so that the room does come back.

A borrower that is just being made holds a shared flock(2) on the tar until it is published, and so does
whoever reads a tar; then the tar is left alone until the next sweep. So whoever has the lock alone finds the
list of every borrower at its place. Each folder is listed only when those that files come from have been
looked at (active, ingest, trees), and a link is known by its name: nothing is missed or mistaken on its way.
"""

from __future__ import annotations

import fcntl
import os

from ....grammars.erofs.format import BLOCK
from ....ground.files import os_errors, trace
from ....ground.linux import punch_hole
from ....words.errors import StoreError
from ..files import TAR, lender
from .restore import load_cuts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Ranges = list[tuple[int, int]]
    Links = dict[int, list[tuple[str, str]]]

_PLACES = ("active", "ingest", "trees")


def free_orphans(root: str) -> int:
    """Free what is left of tars whose own layer is gone and that no other layer points to; bytes of disk.

    The sweep calls it after it has removed trees. Idempotent, safe beside layers being made and read; where
    the file system cannot punch holes nothing is freed. Raises StoreError.
    """
    with os_errors(f"free unused parts of the layers in {root}"):
        return sum(_shrink(root, inode, links) for inode, links in _orphans(_folders(root)).items())


class TarLinks:
    """Which folders of a store have which tars, at one moment."""

    def __init__(self, root: str) -> None:
        """Looks into every folder. Raises StoreError."""
        self._root = root
        with os_errors(f"look at the layers in {root}"):
            self._tars = {folder: tars for folder in _folders(root) if (tars := _tars(folder))}
        self._lent = any(map(lender, (name for tars in self._tars.values() for name in tars)))

    def reclaimable(self, paths: Iterable[str]) -> int:
        """Bytes of disk that `free_orphans` frees once the folders of trees among these paths are gone.

        What comes back by removing the folders themselves (`blocks.freed`) is not counted. Exact but for the
        blocks in which a file system keeps its own records of a file with many holes, or where it punches
        none. Nothing is changed. Raises StoreError.
        """
        if not self._lent:
            return 0
        gone = set(paths)
        with os_errors(f"look at the layers in {self._root}"):
            left = {folder: tars for folder, tars in self._tars.items() if folder not in gone}
            return sum(map(_punchable, _only_lent(left.items()).values()))


def _folders(root: str) -> Iterator[str]:
    """Never all at once: see above."""
    for place in _PLACES:
        try:
            names = os.listdir(f"{root}/{place}")
        except FileNotFoundError:
            continue
        yield from (f"{root}/{place}/{name}" for name in names)


def _orphans(folders: Iterable[str]) -> Links:
    return _only_lent((folder, _tars(folder)) for folder in folders)


def _tars(folder: str) -> dict[str, int]:
    """Names and inodes of its tars."""
    try:
        with os.scandir(folder) as found:
            return {entry.name: entry.inode() for entry in found if _is_tar(entry.name)}
    except (NotADirectoryError, FileNotFoundError):
        return {}


def _only_lent(folders: Iterable[tuple[str, dict[str, int]]]) -> Links:
    """Inodes of tars that are only lent: the folders that have a link, and the names of these."""
    owned: set[int] = set()
    links: Links = {}
    for folder, inodes in folders:
        owned.update(inode for name, inode in inodes.items() if name == TAR)
        for name in filter(lender, inodes):
            links.setdefault(inodes[name], []).append((folder, name))
    return {inode: places for inode, places in links.items() if inode not in owned}


def _is_tar(name: str) -> bool:
    return name == TAR or lender(name) > 0


def _needed(links: Iterable[tuple[str, str]]) -> Ranges | None:
    """The ranges that borrowers point to, in bytes; None when one of them cannot say."""
    ranges: Ranges = []
    for folder, name in links:
        try:
            cuts = load_cuts(folder)
        except (OSError, StoreError):
            return None
        if cuts is None:  # it is being made, or moved
            return None
        ranges += [(b * BLOCK, (b + n) * BLOCK) for _, n, donor, b in cuts if donor == lender(name)]
    return ranges


def _holes(ranges: Ranges, size: int, block: int) -> Ranges:
    """What lies between the ranges, in whole blocks of the file system."""
    holes: Ranges = []
    end = 0
    for start, stop in sorted(ranges):
        if start // block * block > end:
            holes.append((end, start // block * block))
        end = max(end, -(-stop // block) * block)
    if end < size:
        holes.append((end, -(-size // block) * block))
    return holes


def _punchable(links: list[tuple[str, str]]) -> int:
    """Bytes that `_shrink` would free of a tar with these links."""
    ranges, fd = _needed(links), _open(links[0], os.O_RDONLY)
    if fd < 0:
        return 0
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if ranges is None:
        return 0
    size, block = found.st_size, found.st_blksize
    needed = -(-size // block) * block - sum(stop - start for start, stop in _holes(ranges, size, block))
    return max(0, found.st_blocks * 512 - needed)


def _shrink(root: str, inode: int, links: list[tuple[str, str]]) -> int:
    """Punch one tar, unless somebody holds it. Bytes freed."""
    fd = _open(links[0], os.O_RDWR)
    if fd < 0:
        return 0
    try:
        if os.fstat(fd).st_ino != inode:
            return 0
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # looked at again: whoever let go of the lock before has its list in place by now
        links = _orphans(_folders(root)).get(inode, [])
        needed = _needed(links) if links else None
        return 0 if needed is None else _punch(fd, needed)
    except OSError:  # somebody holds it, or the file system cannot
        return 0
    finally:
        os.close(fd)


def _open(link: tuple[str, str], access: int) -> int:
    """The tar behind one of its links; -1 when that is gone."""
    try:
        return os.open("/".join(link), access | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return -1


def _punch(fd: int, ranges: Ranges) -> int:
    before = os.fstat(fd)
    trace("lending:punching")
    for start, stop in _holes(ranges, before.st_size, before.st_blksize):
        punch_hole(fd, start, stop - start)
    return max(0, before.st_blocks - os.fstat(fd).st_blocks) * 512
