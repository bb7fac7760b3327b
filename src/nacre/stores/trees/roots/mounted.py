"""Layers joined by overlayfs: what is written lies apart, so it is the difference.

    active/<key>/upper   the difference
    active/<key>/work    overlayfs's own

Mount it with redirect_dir, metacopy and index off: a difference that says "renamed from" or "only the
metadata changed" is no layer (overlayfs.rst, "Redirects", "Metadata only copy up").
"""

from __future__ import annotations

import os

from ....ground.files import os_errors
from ....words.errors import Unsupported
from ....words.mount import Erofs, Overlay
from ..model import PLAIN_ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ....words.mount import Mount
    from ..interfaces import Member, Writer
    from ..model import ActiveTree, Mode, StoredTree, Times, TreeInfo
    from .comparison import Comparison
    from .inherited import Owners

MOST_INDEXES = 16
"""Indexes that are mounted one by one; more are merged."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Mounted:
    """See TreeRoot; the layers may be of any form."""

    is_mounted = True

    def __init__(self, mode: Mode, empty: str) -> None:
        """`empty`: an empty folder, to fill up with."""
        self._mode, self._empty = mode, empty

    def view(self, trees: Sequence[StoredTree]) -> Mount:
        """Overlay without an upper needs two lower folders at least (overlayfs.rst)."""
        lowers, empty = self._lowers(trees), self._empty
        return Overlay(
            (*lowers, empty) if len(lowers) > 1 else (*lowers, empty, empty)[:2],
            userxattr=self._mode.userxattr,
        )

    def _lowers(self, trees: Sequence[StoredTree]) -> tuple[str | Erofs, ...]:
        """Lower layers for overlayfs, topmost first, each with its attribute overlay above it.

        A layer that comes twice is left out where it is lower: nothing of it shows there, and overlayfs
        refuses a folder that it has already (ELOOP).
        """
        trees = list({tree.diff_id: tree for tree in reversed(_visible(trees))}.values())[::-1]
        lowers = [self._lower(tree) for tree in trees]
        done, merged = (0, None) if self._mode.userxattr else _merged(trees, lowers)
        shown: list[str | Erofs] = [merged] if merged else []
        for count, lower in enumerate(lowers[done:], done + 1):
            shown.append(lower)
            shown += self._attributes(trees[:count])
        return tuple(reversed(shown))

    def _lower(self, tree: StoredTree) -> str | Erofs:
        lower = tree.lower()
        if self._mode.userxattr and isinstance(lower, Erofs) and not lower.lazy:
            raise Unsupported(
                f"layer {tree.diff_id} is stored as an EROFS index, which this user cannot mount",
                hint="use --storage-driver plain, or remove the image and pull it again",
            )
        return lower

    def _attributes(self, trees: Sequence[StoredTree]) -> list[str]:
        """What is laid over the topmost tree."""
        if len(trees) < 2 or not trees[-1].has_implied:
            return []
        from .attributes import attribute_overlay

        overlay = attribute_overlay(trees, owners=not self._mode.single)
        return [overlay]

    def prepare(self, active: ActiveTree) -> None:
        """Make upper and work; the mode and owner of upper's root are what the container sees as `/`."""
        upper = f"{active.folder}/upper"
        with os_errors(f"make {active.folder}"):
            os.mkdir(f"{active.folder}/work", 0o700)
            os.mkdir(upper, 0o700)
            mode, uid, gid = (active.root or PLAIN_ROOT).split()
            if active.root and not self._mode.single:
                from ....ground import ids

                ids.chown(upper, int(uid), int(gid))
            os.chmod(upper, int(mode, 8))

    def mount(self, active: ActiveTree) -> tuple[Mount, str]:
        """The root of an active tree, and the folder of its difference; creates nothing."""
        lowers = self._lowers(active.trees) or (self._empty,)
        upper = f"{active.folder}/upper"
        return Overlay(lowers, upper, f"{active.folder}/work", self._mode.userxattr), upper

    def entries(self, active: ActiveTree) -> Iterator[Member]:
        """Scan the upper folder."""
        from ....ground.scan import scan
        from .difference import restored

        fd = os.open(f"{active.folder}/upper", _FOLDER)
        try:
            known = _owners(active)
            for entry, payload in scan(fd, self._mode.on_disk()):
                yield restored(entry, known), payload
        finally:
            os.close(fd)

    def all_entries(self, active: ActiveTree, fd: int) -> Iterator[Member]:
        """Scan what is mounted."""
        from ....ground.scan import scan
        from .difference import restored

        fd = os.open(".", _FOLDER, dir_fd=fd)
        try:
            known = _owners(active)
            for entry, payload in scan(fd, self._mode.on_disk().replace(whiteouts="none")):
                yield restored(entry, known), payload
        finally:
            os.close(fd)

    def pack(self, active: ActiveTree, writer: Writer, times: Times) -> TreeInfo:
        """Scan the upper folder; the owners of its files that were kept beside lower layers come along."""
        from ....ground.scan import scan
        from ..forms import owners
        from .difference import DifferencePacker

        fd = os.open(f"{active.folder}/upper", _FOLDER)
        try:
            packing = DifferencePacker(fd, active, writer, times, _owners(active))
            info = packing.run(scan(fd, self._mode.on_disk()))
        finally:
            os.close(fd)
        owners.save(active.folder, packing.kept)
        return info

    def compare(self, active: ActiveTree, clamp: int | None, *, remove: bool) -> Comparison:
        """Compare the difference with the layers beneath. Raises StoreError."""
        from ..reading.view import open_view
        from .comparison import Comparison
        from .difference import restored

        known = _owners(active)
        with open_view(active.trees) as view:
            comparison = Comparison(
                view, self._mode.on_disk(), lambda entry: restored(entry, known), clamp=clamp, remove=remove
            )
            comparison.run(f"{active.folder}/upper")
        return comparison

    def is_reusable(self) -> bool:
        """Never: mounting the layers anew costs nothing."""
        return False

    def extend(self, active: ActiveTree, count: int) -> bool:
        """Never used by this driver: False."""
        return False


def _owners(active: ActiveTree) -> Owners:
    """Owners beside the lower layers and the active, which a copy into upper has lost."""
    from .inherited import Inherited

    return Inherited(active.trees, active.folder)


def _visible(trees: Sequence[StoredTree]) -> Sequence[StoredTree]:
    """From the topmost layer with an opaque root: overlayfs takes no notice of that mark on a root."""
    hiding = (n for n in range(len(trees) - 1, 0, -1) if trees[n].is_opaque)
    return trees[next(hiding, 0) :]


def _merged(trees: Sequence[StoredTree], lowers: Sequence[str | Erofs]) -> tuple[int, Erofs | None]:
    """How many of the lowest trees one index stands for, and that; (0, None) for none."""
    indexes = []
    for lower in lowers:
        if not isinstance(lower, Erofs):
            break
        indexes.append(lower)
    if len(indexes) <= MOST_INDEXES:
        return 0, None
    from .merging import lowest

    return lowest(trees[: len(indexes)], indexes, MOST_INDEXES)
