"""Trees as folders, one per layer, joined by overlayfs.

    trees/<hex>/fs       the layer, whiteouts as char devices 0/0, opaque folders by an extended attribute
    trees/<hex>/skeleton   how to make its tar again; see forms/skeleton.py
    trees/<hex>/opaque   only where the layer hides everything beneath it
    trees/<hex>/owners   only where the namespace has one id; see forms/owners.py
    active/<key>/upper   the difference, becomes `fs` when it is committed
    active/<key>/work    overlayfs's own

Mount it with redirect_dir, metacopy and index off: a difference that says "renamed from" or "only the
metadata changed" is no layer (overlayfs.rst, "Redirects", "Metadata only copy up").
"""

from __future__ import annotations

import os

from ...ground import ids
from ...ground.files import os_errors, private_dir, trace, write_atomic
from ...words.errors import SandboxError, Unsupported
from ...words.mount import Erofs, Mount, Overlay
from .base import Made, Mode, Placed
from .forms import implied, owners
from .forms.owners import Notes, Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from ...grammars.tar.entry import Entry
    from ...grammars.tar.entry import Reader as TarReader
    from ...ground.extract import Form, Stats
    from .base import Held, LayerReader, Reader, TreeDriver, Write, Writer
    from .forms.skeleton import Ingesting
    from .reading.view import TreeView
    from .roots.comparison import Comparison
    from .roots.inherited import Known

_NANO = 1_000_000_000
_OPAQUE = "opaque"


class OverlayDriver:
    """See TreeDriver; also reads and uses what another process with more or fewer rights made."""

    name = "overlay"
    adopts_files = True
    """Whether the files that were written become the tree, and so need the times of the tar."""

    def __init__(
        self, mode: Mode, drivers: Mapping[str, TreeDriver] | None = None,
        peers: Callable[[], Sequence[str]] = tuple,
    ) -> None:  # fmt: skip
        """`drivers` by name: those whose trees may lie beneath or between, this one too.

        `peers` gives folders of trees whose files a new one may share, those used last first.
        """
        self.mode = mode
        self._peers = peers
        self._drivers: Mapping[str, TreeDriver] = {self.name: self} if drivers is None else drivers

    def probe(self, scratch: str) -> str:
        """Mount one for a moment, attached nowhere, and write through it. Raises Unsupported."""
        from ...ground.mounts import detached

        for name in ("low", "more", "upper", "work"):
            private_dir(f"{scratch}/{name}")
        lowers = (f"{scratch}/low", f"{scratch}/more")
        try:
            fd = detached(Overlay(lowers, f"{scratch}/upper", f"{scratch}/work", self.mode.userxattr))
            try:
                os.mkdir("made", dir_fd=fd)
            finally:
                os.close(fd)
        except (OSError, SandboxError) as error:
            raise Unsupported(f"overlayfs cannot be mounted on this store: {error}") from None
        return "overlayfs can be mounted" + (" in this user namespace" if self.mode.userxattr else "")

    def form(self, notes: Notes | None = None) -> Form:
        """How files look on this disk, for extract and scan."""
        from ...ground.extract import Form

        marks = b"user" if self.mode.userxattr else b"trusted"
        return Form(
            opaque_xattr=marks + b".overlay.opaque", owners=not self.mode.single, devices=self.mode.devices,
            notes=notes,
        )  # fmt: skip

    def ingest(self, stream: Reader, folder: str, _held: Held) -> Made:
        """Extract into `folder`/fs. Raises InvalidArchive, StoreError."""
        from .forms.skeleton import Ingesting

        private_dir(f"{folder}/fs")
        os.chmod(f"{folder}/fs", 0o755)
        kept = _Kept()
        with Ingesting(stream, folder) as skeleton:
            stats, opaque = self._extract(skeleton, kept, folder)
            skeleton.done(replaced=stats.replaced)
        if opaque:
            hide_lower(folder)
        owners.save(folder, kept.notes.known)
        implied.save(folder, stats.implied)
        return Made(stats.size, kept.root)

    def _extract(self, skeleton: Ingesting, kept: _Kept, folder: str) -> tuple[Stats, bool]:
        """What was made, and whether the root hides everything beneath it."""
        from ...grammars.tar.read import read_tar
        from ...ground.extract import extract
        from ...ground.twins import Twins

        twins = Twins(self._peers, owners=not self.mode.single)
        fd = os.open(f"{folder}/fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            form = self.form(kept.notes).replace(helpers=True, twins=twins, placed=skeleton.file)
            stats = extract(kept.watch(read_tar(skeleton.stream)), fd, form)
            return stats, os.fsdecode(form.opaque_xattr) in os.listxattr(fd)
        finally:
            os.close(fd)
            twins.close()

    def tar(self, tree: Placed) -> BinaryIO:
        """Made from its skeleton. Raises Unsupported when it has none, StoreError."""
        from .forms.skeleton import open_tar

        return open_tar(tree, self.reader(tree))

    def lower(self, tree: Placed) -> str | Erofs:
        """The folder of the layer."""
        return f"{tree.folder}/fs"

    def _lowers(self, trees: Sequence[Placed]) -> tuple[str | Erofs, ...]:
        """Lower layers for overlayfs, topmost first, each with its brow above it.

        A layer that comes twice is left out where it is lower: nothing of it shows there, and overlayfs
        refuses a folder that it has already (ELOOP).
        """
        trees = list({tree.diff_id: tree for tree in reversed(_visible(trees))}.values())[::-1]
        done, merged = self._merged(trees)
        lowers: list[str | Erofs] = [merged] if merged else []
        for count, tree in enumerate(trees[done:], done + 1):
            lowers.append(self._lower(tree))
            brow = implied.brow(trees[:count], self._read, owners=not self.mode.single)
            lowers += [brow] if brow else []
        return tuple(reversed(lowers))

    def _lower(self, tree: Placed) -> str | Erofs:
        lower = self._drivers[tree.driver].lower(tree)
        if self.mode.userxattr and isinstance(lower, Erofs):
            raise Unsupported(
                f"layer {tree.diff_id} is kept as an index, which this user cannot mount",
                hint="use --storage-driver plain, or remove the image and pull it again",
            )
        return lower

    def _merged(self, trees: Sequence[Placed]) -> tuple[int, Erofs | None]:
        """How many of the lowest trees one lower layer stands for, and that; (0, None) for none."""
        return 0, None

    def _read(self, tree: Placed) -> LayerReader:
        return self._drivers[tree.driver].reader(tree)

    def view(self, trees: Sequence[Placed], empty: str) -> Mount:
        """Overlay without an upper needs two lower folders at least (overlayfs.rst)."""
        lowers = self._lowers(trees)
        return Overlay(
            (*lowers, empty) if len(lowers) > 1 else (*lowers, empty, empty)[:2],
            userxattr=self.mode.userxattr,
        )

    def prepare(self, trees: Sequence[Placed], empty: str, folder: str, root: str) -> tuple[Mount, str]:
        """Make upper and work; the mode and owner of upper's root are what the container sees as `/`."""
        mount, upper = self.active(trees, empty, folder)
        with os_errors(f"make {folder}"):
            os.mkdir(f"{folder}/work", 0o700)
            os.mkdir(upper, 0o700)
            mode, uid, gid = (root or "755 0 0").split()
            if root and not self.mode.single:
                ids.chown(upper, int(uid), int(gid))
            os.chmod(upper, int(mode, 8))
        return mount, upper

    def active(self, trees: Sequence[Placed], empty: str, folder: str) -> tuple[Mount, str]:
        """Nothing is made."""
        lowers = self._lowers(trees) or (empty,)
        upper = f"{folder}/upper"
        return Overlay(lowers, upper, f"{folder}/work", self.mode.userxattr), upper

    def pack(
        self, trees: Sequence[Placed], folder: str, write: Write, clamp: int | None, root: str, _held: Held
    ) -> Made:
        """Scan the upper folder into a tar. Times become whole seconds, none after `clamp`."""
        from .forms.skeleton import Packing

        with Packing(write, folder) as writer:
            return self._pack(trees, folder, writer, clamp, root)

    def _pack(
        self, trees: Sequence[Placed], folder: str, writer: Writer, clamp: int | None, root: str
    ) -> Made:
        from ...ground.scan import scan

        fd = os.open(f"{folder}/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            packing = Packing(fd, writer, clamp, root, self._inherited(trees, folder), self.adopts_files)
            made = packing.run(scan(fd, self.form()))
        finally:
            os.close(fd)
        owners.save(folder, packing.kept)
        return made

    def entries(
        self, trees: Sequence[Placed], folder: str, merged: int
    ) -> Iterator[tuple[Entry, Callable[[], TarReader] | None]]:
        """Scan the upper folder, or what is mounted at the descriptor `merged`; nothing is changed."""
        from ...ground.scan import scan

        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        upper, form = f"{folder}/upper", self.form()
        fd = os.open(upper, flags) if merged < 0 else os.open(".", flags, dir_fd=merged)
        try:
            known = self._inherited(trees, folder)
            for entry, payload in scan(fd, form if merged < 0 else form.replace(whiteouts="none")):
                yield restored(entry, known), payload
        finally:
            os.close(fd)

    def compare(
        self, view: TreeView, trees: Sequence[Placed], folder: str, clamp: int | None, *, remove: bool
    ) -> Comparison:
        """The difference of an active against the layers beneath: `sameness`. Raises StoreError."""
        from .roots.comparison import Comparison

        known = self._inherited(trees, folder)

        comparison = Comparison(
            view, self.form(), lambda entry: restored(entry, known), clamp=clamp, remove=remove
        )
        comparison.run(f"{folder}/upper")
        return comparison

    def _inherited(self, trees: Sequence[Placed], folder: str) -> Known:
        """Owners beside the lower layers and the active, which a copy into upper has lost."""
        from .roots.inherited import Inherited

        return Inherited(trees, folder, self._read)

    def adopt(self, folder: str, into: str) -> None:
        """Rename: nothing is extracted. Files that another tree has are shared with it."""
        with os_errors(f"move {folder}/upper"):
            for name in (owners.FILE, "skeleton"):
                if os.path.exists(f"{folder}/{name}"):
                    os.rename(f"{folder}/{name}", f"{into}/{name}")
            os.rename(f"{folder}/upper", f"{into}/fs")
        self._share(f"{into}/fs")
        trace("tree:adopted")

    def renew(self, folder: str) -> bool:
        """Never: mounting the layers anew costs nothing."""
        return False

    def extend(self, trees: Sequence[Placed], count: int, empty: str, folder: str, root: str) -> bool:
        """Not asked for."""
        return False

    def _share(self, root: str) -> None:
        from ...ground.twins import Twins, relink

        twins = Twins(self._peers, owners=not self.mode.single)
        try:
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                relink(fd, twins)
            finally:
                os.close(fd)
        except OSError:
            pass  # a saving that cannot be made
        finally:
            twins.close()

    def own(self, folder: str, path: bytes, uid: int, gid: int) -> None:
        """chown beneath the upper folder, or a line in `owners`. Raises StoreError."""
        self._own(folder, f"{folder}/upper", path, uid, gid)

    def _own(self, folder: str, root: str, path: bytes, uid: int, gid: int) -> None:
        from ...ground.files import Root

        with os_errors("change an owner"):
            if self.mode.single:
                owners.append(folder, path, Owner(uid, gid))
                return
            with Root(root) as upper:
                parent, name = upper.parent(path)
                try:
                    ids.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
                finally:
                    os.close(parent)

    def reader(self, tree: Placed) -> LayerReader:
        """Raises StoreError."""
        from .forms.folderread import FolderReader

        with os_errors(f"read tree {tree.diff_id}"):
            return FolderReader(f"{tree.folder}/fs", tree.folder)


def hide_lower(folder: str) -> None:
    """Note that the tree in `folder` hides all that lies beneath it. Raises StoreError."""
    write_atomic(f"{folder}/{_OPAQUE}", b"")


def _visible(trees: Sequence[Placed]) -> Sequence[Placed]:
    """From the topmost layer with an opaque root: overlayfs takes no notice of that mark on a root."""
    hiding = (n for n in range(len(trees) - 1, 0, -1) if os.path.exists(f"{trees[n].folder}/{_OPAQUE}"))
    return trees[next(hiding, 0) :]


class _Kept:
    """Follows an extraction: owners that could not be made, and what the layer says of its root."""

    def __init__(self) -> None:
        self.notes = Notes({})
        self.root = ""

    def watch(self, members: Iterable[tuple[Entry, TarReader]]) -> Iterator[tuple[Entry, TarReader]]:
        for entry, payload in members:
            if entry.path == b"":
                self.root = f"{entry.mode:o} {entry.uid} {entry.gid}"
            yield entry, payload


class Packing:
    """One difference on its way into a tar."""

    def __init__(
        self,
        fd: int,
        writer: Writer,
        clamp: int | None,
        root: str,
        known: Known,
        set_times: bool = True,
    ) -> None:
        self.fd, self.writer, self.root, self.known, self.set_times = fd, writer, root, known, set_times
        self.clamp = None if clamp is None else clamp * _NANO
        self.kept: dict[bytes, Owner] = {}
        self.made_root = ""
        self.size = 0

    def run(self, found: Iterable[tuple[Entry, Callable[[], TarReader] | None]]) -> Made:
        """Write them all, and the end."""
        for entry, payload in found:
            entry = self._settled(self._restored(entry))
            if entry.path or self._root_differs(entry):
                self.size += entry.size
                self.writer.add(entry, payload() if payload else None)
        self.writer.close()
        return Made(self.size, self.made_root)

    def _restored(self, entry: Entry) -> Entry:
        owner = self.known.get(entry.path)
        if owner is None or _is_mark(entry.path):
            return entry
        self.kept[entry.path] = owner
        return _with_owner(entry, owner)

    def _settled(self, entry: Entry) -> Entry:
        """The time that goes into the tar, and onto a file of the tree, so that it equals its tar."""
        if _is_mark(entry.path):
            return entry._replace(mtime_ns=0)
        time = entry.mtime_ns // _NANO * _NANO
        time = time if self.clamp is None else min(time, self.clamp)
        if self.set_times and time != entry.mtime_ns and entry.kind != "hardlink":
            os.utime(entry.path or b".", ns=(time, time), dir_fd=self.fd, follow_symlinks=False)
        return entry._replace(mtime_ns=time)

    def _root_differs(self, entry: Entry) -> bool:
        """A root of the same mode and owner as beneath is no change; its time always moves."""
        mine = f"{entry.mode:o} {entry.uid} {entry.gid}"
        if mine == (self.root or "755 0 0") and not entry.xattrs:
            return False
        self.made_root = mine
        return True


def restored(entry: Entry, known: Known) -> Entry:
    """With the owner that was kept beside it."""
    owner = None if _is_mark(entry.path) else known.get(entry.path)
    return _with_owner(entry, owner) if owner else entry


def _with_owner(entry: Entry, owner: Owner) -> Entry:
    if not owner.kind or (entry.kind == "file" and entry.size == 0):
        kind = owner.kind or entry.kind
        entry = entry._replace(kind=kind, major=owner.major or entry.major, minor=owner.minor or entry.minor)
    return entry._replace(uid=owner.uid, gid=owner.gid, xattrs=_union(entry.xattrs, owner.xattrs))


def _is_mark(path: bytes) -> bool:
    from ...grammars.layer.whiteouts import is_whiteout  # `nacre run` loads this file and makes no layer

    return is_whiteout(path)


def _union(
    first: tuple[tuple[bytes, bytes], ...], second: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted((dict(second) | dict(first)).items()))
