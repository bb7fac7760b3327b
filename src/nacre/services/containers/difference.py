"""What a container has changed: listed, exported whole, or committed as an image.

The container lives on, running or not: nothing of its tree is written. What was made in it only to mount
on (an empty /etc/resolv.conf, /proc) is no change.
"""

from __future__ import annotations

from ...grammars.layer.whiteouts import OPAQUE, whiteout
from ...grammars.tar.entry import Entry
from ...grammars.tar.write import TarWriter
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ...stores.trees.actives import Active
    from ...stores.trees.reading.view import Found, TreeView

    Member = tuple[Entry, Callable[[], Reader] | None]

_NANO = 1_000_000_000
_OWN = (b"proc", b"dev", b"sys", b"etc/resolv.conf", b"etc/hosts", b"etc/hostname")


class Change(Value):
    """One path, relative to the root, and its `kind`: A added, C changed, D deleted."""

    kind: str
    path: bytes


def mount_points(config: Mapping[str, Any]) -> frozenset[bytes]:
    """Where a container of this runtime config has something mounted, relative to its root."""
    targets = (mount["destination"].encode("utf-8", "surrogateescape") for mount in config.get("mounts", ()))
    return frozenset((*_OWN, *(target.strip(b"/") for target in targets)))


def changes(store: Store, active: Active, hidden: frozenset[bytes] = frozenset()) -> list[Change]:
    """What the active has changed, sorted by path, folders that hold changes included. Raises StoreError.

    `hidden`: mount points; empty files and folders that stand there and are new count as no change.
    """
    with store.trees.open(active.layers) as view:
        found = _ChangeFollower(view, hidden)
        for entry, _ in store.actives.entries(active):
            found.add(entry)
        return found.result()


class _ChangeFollower:
    """Follows the entries of one difference, parents first."""

    def __init__(self, view: TreeView, hidden: frozenset[bytes]) -> None:
        self.view, self.hidden = view, hidden
        self.kinds: dict[bytes, str] = {}
        self.folders: dict[bytes, bool] = {}
        """Every folder met; False for one that counts only for what changed in it."""
        self.replaced: set[bytes] = set()
        self.opaque: list[bytes] = []

    def add(self, entry: Entry) -> None:
        mark = whiteout(entry.path)
        if mark is None:
            self._path(entry)
        elif mark[0] == "opaque":
            self.opaque.append(mark[1])
        elif self._lower(mark[1]) is not None:
            self.kinds[mark[1]] = "D"

    def _lower(self, path: bytes) -> Found | None:
        return None if _parent(path) in self.replaced else self.view.lookup(path, follow=False)

    def _path(self, entry: Entry) -> None:
        path = entry.path
        lower = self._lower(path) if path else None
        if path and (lower is None or lower.kind != entry.kind == "dir"):
            self.replaced.add(path)
        if entry.kind == "dir":
            self.folders[path] = self._counts(entry, lower)
            if path:
                self.kinds[path] = "A" if lower is None else "C"
        elif lower is not None or path not in self.hidden or entry.size:
            self.kinds[path] = "A" if lower is None else "C"

    def _counts(self, entry: Entry, lower: Found | None) -> bool:
        if lower is None:
            inside = entry.path + b"/"
            return entry.path not in self.hidden and not any(h.startswith(inside) for h in self.hidden)
        return _looks(entry) != _looks(lower)

    def result(self) -> list[Change]:
        for folder in self.opaque:
            self._vanished(folder)
        needed: set[bytes] = set()
        for path in self.kinds:
            if self.folders.get(path, True):
                needed.update(_above(path))
        for folder, counts in self.folders.items():
            if not counts and folder not in needed:
                self.kinds.pop(folder, None)
        return [Change(kind, path) for path, kind in sorted(self.kinds.items())]

    def _vanished(self, folder: bytes) -> None:
        if folder and folder in self.replaced:
            return
        for name in self.view.names(folder):
            path = folder + b"/" + name if folder else name
            self.kinds.setdefault(path, "D")


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _above(path: bytes) -> Iterator[bytes]:
    while path := _parent(path):
        yield path


def _looks(found: Entry | Found) -> tuple[object, ...]:
    return found.kind, found.mode, found.uid, found.gid, found.xattrs


def layer(store: Store, active: Active, found: Iterable[Change], write: Callable[[bytes], object]) -> None:
    """Write the changes `found` as one deterministic layer tar, times in whole seconds."""
    wanted = {change.path for change in found}
    write_tar((m for m in store.actives.entries(active) if _belongs(m[0], wanted)), write)


def _belongs(entry: Entry, wanted: set[bytes]) -> bool:
    mark = whiteout(entry.path)
    if mark is None:
        return entry.path in wanted
    return mark[1] in wanted


def write_tar(members: Iterable[Member], write: Callable[[bytes], object]) -> None:
    """The members as one tar. What overlayfs cannot tell (sub-second times of an image) is left out."""
    writer = TarWriter(write)
    for entry, payload in members:
        name = entry.path.rpartition(b"/")[2]
        rounded = entry if name == OPAQUE else entry._replace(mtime_ns=entry.mtime_ns // _NANO * _NANO)
        writer.add(rounded, payload() if payload else None)
    writer.close()


def merged(store: Store, active: Active) -> Iterator[Member]:
    """Everything that the container has, for an export. The process must be `userns.mapped()`.

    The layers and the difference are mounted read-only for as long as this is read, attached nowhere;
    what is mounted in the container is not in it. Raises SandboxError, StoreError.
    """
    import os

    from ...stores.shared import opened

    fd = opened(store.root, frozen(active))
    try:
        for entry, payload in store.actives.entries(active, fd):
            if entry.path:
                yield entry, payload
    finally:
        os.close(fd)


def frozen(active: Active) -> Any:
    """The active as it is, read-only: can be mounted beside the container's own mount of it."""
    from ...words.mount import Overlay

    mount = active.mount
    if not isinstance(mount, Overlay):
        return mount
    return Overlay((active.upper, *mount.lowers), userxattr=mount.userxattr)
