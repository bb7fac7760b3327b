"""Trees for machines that permit no mount: an ordinary pod, a hardened host.

    trees/<hex>/…            as the erofs driver's (a tar and its index: no owner, device, mark or mode needs
                             a right to be kept), or as the overlay driver's where files can share blocks
    active/<key>/merged/     a whole root, laid out from the layers
    active/<key>/record      what it held then; see roots/record.py
    active/<key>/owners      owners, devices and attributes that could not be made here
    active/<key>/modes       modes that had to be wider for an owner who is not root
    active/<key>/aside/      what is covered while a program runs (ground.sandbox.standins)

A commit compares `merged` with `record` and with the layers, and looks at nothing outside of it.
"""

from __future__ import annotations

import os

from ...ground import ids
from ...ground.clone import can_share
from ...ground.files import os_errors, private_dir, unlink, write_atomic
from ...words.errors import StoreError, Unsupported
from ...words.mount import Folder
from ...words.quickjson import dumps, loads
from .erofs import ErofsDriver
from .forms import owners
from .forms.owners import Owner
from .overlay import OverlayDriver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from ...grammars.tar.entry import Entry
    from ...grammars.tar.entry import Reader as TarReader
    from ...words.digest import Digest
    from ...words.mount import Erofs, Mount
    from .base import Held, LayerReader, Made, Placed, Reader, Writer
    from .reading.view import TreeView
    from .roots import record
    from .roots.inherited import Known

    Opener = Callable[[], TarReader]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODES, _MARKS, _INDEX = "modes", "marks", "index.erofs"


class PlainDriver(ErofsDriver):
    """See TreeDriver."""

    name = "plain"

    def probe(self, scratch: str) -> str:
        """Works everywhere; says by what means."""
        from ...ground.sandbox.permitted import describe

        how = "sharing their blocks" if self._shares(scratch) else "copying them"
        return f"files can be laid out by {how}, and {describe()}"

    def _shares(self, folder: str) -> bool:
        """Whether layers are folders, of whose files those of a container are clones. Only root reads all."""
        try:
            return os.geteuid() == 0 and can_share(folder)
        except OSError:
            return False

    def ingest(self, stream: Reader, folder: str, held: Held) -> Made:
        """As overlay's or as erofs's. Raises InvalidArchive, StoreError."""
        if not self._shares(folder):
            return super().ingest(stream, folder, held)
        if self.mode.userxattr:
            write_atomic(f"{folder}/{_MARKS}", b"user")
        return OverlayDriver.ingest(self, stream, folder, held)

    def tar(self, tree: Placed) -> BinaryIO:
        """Raises Unsupported for a folder."""
        return super().tar(tree) if _is_indexed(tree) else OverlayDriver.tar(self, tree)

    def lower(self, tree: Placed) -> str | Erofs:  # type: ignore[override]
        """For a driver that mounts. Raises Unsupported where overlayfs would not see what a layer hides."""
        if _is_indexed(tree):
            return super().lower(tree)
        if not self.mode.userxattr and os.path.exists(f"{tree.folder}/{_MARKS}"):
            raise Unsupported(
                f"layer {tree.diff_id} was unpacked without CAP_SYS_ADMIN and cannot be mounted with it",
                hint="use --storage-driver plain, or remove the image and pull it again",
            )
        return f"{tree.folder}/fs"

    def reader(self, tree: Placed) -> LayerReader:
        """Raises StoreError."""
        return super().reader(tree) if _is_indexed(tree) else OverlayDriver.reader(self, tree)

    def view(self, trees: Sequence[Placed], empty: str) -> Mount:
        """For whoever may mount. Raises Unsupported: everybody else reads the layers as they are."""
        if self.mode.userxattr:
            hint = "`nacre cp`, `export` and `explore` read an image without mounting it"
            raise Unsupported("no mount is permitted here", hint=hint)
        return super().view(trees, empty)

    def prepare(self, trees: Sequence[Placed], empty: str, folder: str, root: str) -> tuple[Mount, str]:
        """Lay out the layers in `folder`/merged and record it. Raises StoreError."""
        from .roots import record

        merged = f"{folder}/merged"
        private_dir(merged)
        with os_errors(f"lay out {merged}"):
            fd = os.open(merged, _DIRECTORY)
            try:
                self._lay(trees, fd, folder, root)
                record.save(folder, record.stock(fd))
            finally:
                os.close(fd)
        return self.active(trees, empty, folder)

    def _lay(self, trees: Sequence[Placed], fd: int, folder: str, root: str) -> None:
        from .roots.laying import Laying

        laying = Laying(fd, self.mode.replace(devices=self._devices()))
        with self._view(trees) as view:
            laying.lay(view)
        self._dress_root(fd, root)
        owners.save(folder, laying.owners)
        if laying.modes:
            pairs = [[path.decode("latin-1"), mode] for path, mode in laying.modes.items()]
            write_atomic(f"{folder}/{_MODES}", dumps(pairs).encode())

    def _devices(self) -> bool:
        """Where nothing can be mounted, root in a chroot could use the nodes that an image brings."""
        from ...ground.sandbox import permitted

        return self.mode.devices and permitted.way() == "mounts"

    def _dress_root(self, fd: int, root: str) -> None:
        mode, uid, gid = (root or "755 0 0").split()
        if root and not self.mode.single:
            ids.chown(fd, int(uid), int(gid))
        os.fchmod(fd, int(mode, 8) | (0o700 if os.geteuid() else 0))

    def _view(self, trees: Sequence[Placed]) -> TreeView:
        from .reading.view import TreeView

        readers: list[tuple[Digest, LayerReader]] = []
        try:
            for tree in trees:
                readers.append((tree.diff_id, self._read(tree)))
        except BaseException:
            TreeView(readers).close()
            raise
        return TreeView(readers)

    def active(self, trees: Sequence[Placed], empty: str, folder: str) -> tuple[Mount, str]:
        """Nothing is made."""
        return Folder(f"{folder}/merged", f"{folder}/aside"), f"{folder}/merged"

    def _pack(
        self, trees: Sequence[Placed], folder: str, writer: Writer, clamp: int | None, root: str
    ) -> Made:
        from .overlay import Packing

        fd = os.open(f"{folder}/merged", _DIRECTORY)
        try:
            known = owners.load(folder)
            found = self._found(trees, folder, fd, known)
            made = Packing(fd, writer, clamp, root, known).run(self._changes(folder, fd, found))
            found.settle(whole=bool(made.root))
            _save_owners(folder, {path: owner for path, owner in known.items() if path in found.paths})
            return made
        finally:
            os.close(fd)

    def entries(
        self, trees: Sequence[Placed], folder: str, merged: int
    ) -> Iterator[tuple[Entry, Opener | None]]:
        """Only what has changed, or all that is at the descriptor `merged`; nothing is written."""
        if merged >= 0:
            modes = _modes(folder)
            for entry, payload in super().entries(trees, folder, merged):
                yield _with_mode(entry, modes), payload
            return
        from .overlay import restored

        fd = os.open(f"{folder}/merged", _DIRECTORY)
        try:
            known = owners.load(folder)
            found = self._found(trees, folder, fd, known)
            for entry, payload in self._changes(folder, fd, found):
                yield restored(entry, known), payload
        finally:
            os.close(fd)

    def _found(
        self, trees: Sequence[Placed], folder: str, fd: int, known: dict[bytes, Owner]
    ) -> record.Changes:
        from ...ground.sandbox.standins import covered
        from .roots.record import Changes

        with self._view(trees) as view:
            return Changes(fd, view, folder, known, covered(f"{folder}/aside"))

    def _changes(self, folder: str, fd: int, found: record.Changes) -> Iterator[tuple[Entry, Opener | None]]:
        """The entries of the layer that turns what was laid out into what is there."""
        from ...ground.scan import scan

        modes = _modes(folder)
        for entry, payload in scan(fd, self.form().replace(whiteouts="delete"), found.choose):
            yield _with_mode(entry, modes), payload

    def renew(self, folder: str) -> bool:
        """For root, whose files have their real modes."""
        return os.geteuid() == 0

    def extend(self, trees: Sequence[Placed], count: int, empty: str, folder: str, root: str) -> bool:
        """Apply the layers that came since, from their tars."""
        from .roots import record

        if not all(map(_is_indexed, trees[count:])):
            return False
        known = owners.load(folder)
        with os_errors(f"lay out {folder}"):
            fd = os.open(f"{folder}/merged", _DIRECTORY)
            try:
                for tree in trees[count:]:
                    self._apply(tree, fd, known)
                self._dress_root(fd, root)
                _save_owners(folder, known)
                record.save(folder, record.stock(fd))
            finally:
                os.close(fd)
        return True

    def _apply(self, tree: Placed, fd: int, known: dict[bytes, Owner]) -> None:
        from ...grammars.tar.read import read_tar
        from ...ground.extract import Form, extract

        form = Form(
            whiteouts="delete", owners=not self.mode.single, devices=self._devices(), links=False,
            notes=owners.Notes(known),
        )  # fmt: skip
        with super().tar(tree) as tar:
            extract(read_tar(tar), fd, form)

    def _inherited(self, trees: Sequence[Placed], folder: str) -> Known:
        return owners.load(folder)

    def own(self, folder: str, path: bytes, uid: int, gid: int) -> None:
        """chown beneath the merged folder, or a line in `owners`. Raises StoreError."""
        self._own(folder, f"{folder}/merged", path, uid, gid)


def _save_owners(folder: str, known: dict[bytes, Owner]) -> None:
    """Replace what was kept."""
    unlink(f"{folder}/{owners.FILE}")
    owners.save(folder, known)


def _with_mode(entry: Entry, modes: Mapping[bytes, int]) -> Entry:
    """The mode that was meant, unless somebody has changed it since."""
    real = modes.get(entry.path)
    if real is not None and entry.mode == real | (0o700 if entry.kind == "dir" else 0o600):
        return entry._replace(mode=real)
    return entry


def _is_indexed(tree: Placed) -> bool:
    return os.path.exists(f"{tree.folder}/{_INDEX}")


def _modes(folder: str) -> dict[bytes, int]:
    try:
        with open(f"{folder}/{_MODES}", "rb") as file:
            return {path.encode("latin-1"): int(mode) for path, mode in loads(file.read())}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder}/{_MODES} is damaged: {error}") from None
