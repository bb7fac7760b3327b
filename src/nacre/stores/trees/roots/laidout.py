"""A whole root of real files, for machines that permit no mount: an ordinary pod, a hardened host.

    active/<key>/merged/     the root, laid out from the layers
    active/<key>/record      what it held then; see record.py
    active/<key>/owners      owners, devices and attributes that could not be made here
    active/<key>/modes       modes that had to be wider for an owner who is not root
    active/<key>/aside/      what is covered while a program runs (ground.sandbox.standins)

A commit compares `merged` with `record` and with the layers, and looks at nothing outside of it.
"""

from __future__ import annotations

import os

from ....ground import ids
from ....ground.files import os_errors, private_dir, unlink, write_atomic
from ....words.errors import StoreError, Unsupported
from ....words.mount import Directory
from ....words.quickjson import dumps, loads
from ..files import OWNERS
from ..forms import owners
from ..model import PLAIN_ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ....grammars.tar.entry import Entry
    from ....words.mount import Mount
    from ..forms.owners import RecordedOwner
    from ..interfaces import Member, Writer
    from ..model import ActiveTree, Mode, StoredTree, Times, TreeInfo
    from .mounted import Mounted
    from .record import Changes

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODES = "modes"


class LaidOut:
    """See TreeRoot; the layers may be of any form."""

    is_mounted = False

    def __init__(self, mode: Mode, mounted: Mounted) -> None:
        """`mounted` shows the layers read-only to whoever may mount."""
        self._mode, self._mounted = mode, mounted

    def view(self, trees: Sequence[StoredTree]) -> Mount:
        """Raises Unsupported where no mount is permitted: layers are then read as they are."""
        if self._mode.userxattr:
            hint = "`nacre cp`, `export` and `explore` read an image without a mount"
            raise Unsupported("mounts are not permitted here", hint=hint)
        return self._mounted.view(trees)

    def prepare(self, active: ActiveTree) -> None:
        """Lay out the layers in `merged` and record it. Raises StoreError."""
        from . import record

        merged = f"{active.folder}/merged"
        private_dir(merged)
        with os_errors(f"fill {merged}"):
            fd = os.open(merged, _FOLDER)
            try:
                self._lay(active, fd)
                record.save(active.folder, record.stock(fd))
            finally:
                os.close(fd)

    def _lay(self, active: ActiveTree, fd: int) -> None:
        from ..reading.view import open_view
        from .laying import Laying

        laying = Laying(fd, self._mode.replace(devices=self._makes_devices()))
        with open_view(active.trees) as view:
            laying.lay(view)
        self._set_root(fd, active.root)
        owners.save(active.folder, laying.owners)
        if laying.modes:
            pairs = [[path.decode("latin-1"), mode] for path, mode in laying.modes.items()]
            write_atomic(f"{active.folder}/{_MODES}", dumps(pairs).encode())

    def _makes_devices(self) -> bool:
        """Where nothing can be mounted, root in a chroot could use the nodes that an image brings."""
        from ....ground.sandbox import permitted

        return self._mode.devices and permitted.way() == "mounts"

    def _set_root(self, fd: int, root: str) -> None:
        mode, uid, gid = (root or PLAIN_ROOT).split()
        if root and not self._mode.single:
            ids.chown(fd, int(uid), int(gid))
        os.fchmod(fd, int(mode, 8) | (0o700 if os.geteuid() else 0))

    def mount(self, active: ActiveTree) -> tuple[Mount, str]:
        """The root of an active tree, and the folder of its difference; creates nothing."""
        merged = f"{active.folder}/merged"
        return Directory(merged, f"{active.folder}/aside"), merged

    def entries(self, active: ActiveTree) -> Iterator[Member]:
        """Only what has changed."""
        from .difference import restored

        fd = os.open(f"{active.folder}/merged", _FOLDER)
        try:
            known = owners.load(active.folder)
            for entry, payload in self._members(active, fd, _changes(active, fd, known)):
                yield restored(entry, known), payload
        finally:
            os.close(fd)

    def all_entries(self, active: ActiveTree, fd: int) -> Iterator[Member]:
        """All that is at the descriptor."""
        from ....ground.scan import scan
        from .difference import restored

        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            known, modes = owners.load(active.folder), _modes(active.folder)
            for entry, payload in scan(fd, self._mode.on_disk().replace(whiteouts="none")):
                yield _with_mode(restored(entry, known), modes), payload
        finally:
            os.close(fd)

    def pack(self, active: ActiveTree, writer: Writer, times: Times) -> TreeInfo:
        """What has changed. The files get their times too: the root may be used again as it stands."""
        from .difference import DifferencePacker

        fd = os.open(f"{active.folder}/merged", _FOLDER)
        try:
            known = owners.load(active.folder)
            changes = _changes(active, fd, known, times.clamp)
            packing = DifferencePacker(fd, active, writer, times.replace(on_files=True), known)
            info = packing.run(self._members(active, fd, changes))
            changes.undo_touches(whole=bool(info.root))
            now = known | packing.kept
            _save_owners(active.folder, {path: now[path] for path in now if path in changes.paths})
            return info
        finally:
            os.close(fd)

    def _members(self, active: ActiveTree, fd: int, changes: Changes) -> Iterator[Member]:
        """The entries of the layer that turns what was laid out into what is there."""
        from ....ground.scan import scan

        modes = _modes(active.folder)
        for entry, payload in scan(fd, self._mode.on_disk().replace(whiteouts="delete"), changes.choose):
            yield _with_mode(entry, modes), payload

    def compare(self, active: ActiveTree, clamp: int | None, *, remove: bool) -> None:
        """What was written is not apart from what was there: `entries` are compared already."""

    def is_reusable(self) -> bool:
        """For root, whose files have their real modes."""
        return os.geteuid() == 0

    def extend(self, active: ActiveTree, count: int) -> bool:
        """Apply the layers that came since, from their tars. Files of unpacked ones are cloned instead."""
        from . import record

        if any(tree.is_unpacked for tree in active.trees[count:]):
            return False
        known = owners.load(active.folder)
        with os_errors(f"lay out {active.folder}"):
            fd = os.open(f"{active.folder}/merged", _FOLDER)
            try:
                for tree in active.trees[count:]:
                    self._apply(tree, fd, known)
                self._set_root(fd, active.root)
                _save_owners(active.folder, known)
                record.save(active.folder, record.stock(fd))
            finally:
                os.close(fd)
        return True

    def _apply(self, tree: StoredTree, fd: int, known: dict[bytes, RecordedOwner]) -> None:
        from ....grammars.tar.read import read_tar
        from ....ground.extract import Form, extract

        form = Form(
            whiteouts="delete", owners=not self._mode.single, devices=self._makes_devices(), links=False,
            notes=owners.OwnersRecorder(known),
        )  # fmt: skip
        with tree.tar() as tar:
            extract(read_tar(tar), fd, form)


def _changes(
    active: ActiveTree, fd: int, known: dict[bytes, RecordedOwner], clamp: int | None = None
) -> Changes:
    """What is in the root `fd` and was not, or not so."""
    from ....ground.sandbox.standins import covered
    from ..reading.view import open_view
    from .record import Changes

    with open_view(active.trees) as view:
        return Changes(fd, view, active.folder, known, covered(f"{active.folder}/aside"), clamp)


def _save_owners(folder: str, known: dict[bytes, RecordedOwner]) -> None:
    """Replace what was kept."""
    unlink(f"{folder}/{OWNERS}")
    owners.save(folder, known)


def _with_mode(entry: Entry, modes: Mapping[bytes, int]) -> Entry:
    """The mode that was meant, unless somebody has changed it since."""
    real = modes.get(entry.path)
    if real is not None and entry.mode == real | (0o700 if entry.kind == "dir" else 0o600):
        return entry._replace(mode=real)
    return entry


def _modes(folder: str) -> dict[bytes, int]:
    try:
        with open(f"{folder}/{_MODES}", "rb") as file:
            return {path.encode("latin-1"): int(mode) for path, mode in loads(file.read())}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder}/{_MODES} is damaged: {error}") from None
