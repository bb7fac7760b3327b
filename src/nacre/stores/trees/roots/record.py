"""What a folder held when it was handed out, and what has changed in it since.

    record    beside the folder: when it was written (u64, ns), then for each path PATH NUL ROW

A row is what the kernel says of a file: mode, owner, size, times, inode. A file whose row is the same has
not been written to, because nobody can set the change time. One whose row differs is compared with the
layers, so that what was touched and not changed does not count. A folder is the same one while its inode
and the time at which it was made are.
"""

from __future__ import annotations

import os
import stat
from struct import Struct
from struct import error as StructError
from time import time_ns

from ....grammars.layer.owner import ATTRIBUTE
from ....grammars.layer.whiteouts import OPAQUE, WHITEOUT
from ....grammars.tar.entry import Entry
from ....ground import linux
from ....ground.files import write_atomic
from ....words.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..forms.owners import RecordedOwner
    from ..reading.view import Found, TreeView

    Row = tuple[int, int, int, int, int, int, int, int, int]

FILE = "record"

_ROW = Struct("=IIIQqqQQq")
_STAMP = Struct("=Q")
_MODE, _UID, _GID, _SIZE, _MTIME, _CTIME, _INODE, _DEVICE, _BORN = range(9)
_NANO = 1_000_000_000
_TICK = 20_000_000
"""Longer than any clock tick, in ns: two writes within one may leave the same time."""
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STRAIGHT = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS
_CHUNK = 1 << 20


def stock(root_fd: int, skip: Collection[bytes] = ()) -> dict[bytes, Row]:
    """A row for each path beneath `root_fd`, a folder before what is in it; without `skip` and all in it.

    Raises OSError.
    """
    rows: dict[bytes, Row] = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        if path in skip:
            continue
        fd = linux.openat2(root_fd, path or b".", _LISTING, 0, _STRAIGHT)
        try:
            rows[path] = _row(os.fstat(fd), linux.born(fd, b"."))
            for name in os.listdir(b"/proc/self/fd/%d" % fd):
                _take(fd, name, path + b"/" + name if path else name, rows, waiting)
        finally:
            os.close(fd)
    for path in skip:
        rows.pop(path, None)
    return rows


def _take(fd: int, name: bytes, path: bytes, rows: dict[bytes, Row], waiting: list[bytes]) -> None:
    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        waiting.append(path)
    else:
        rows[path] = _row(info)


def _row(info: os.stat_result, born: int = 0) -> Row:
    return (
        info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino,
        info.st_rdev, born,
    )  # fmt: skip


def save(folder: str, rows: dict[bytes, Row]) -> None:
    """Keep them beside the folder. Raises StoreError."""
    parts = [_STAMP.pack(time_ns())]
    for path, row in rows.items():
        parts += [path, b"\0", _ROW.pack(*row)]
    write_atomic(f"{folder}/{FILE}", b"".join(parts))


def load(folder: str) -> tuple[int, dict[bytes, Row]]:
    """When they were kept, and the rows. Raises OSError, StoreError when the file is damaged."""
    with open(f"{folder}/{FILE}", "rb") as file:
        data = file.read()
    rows: dict[bytes, Row] = {}
    try:
        stamp, at = _STAMP.unpack_from(data)[0], _STAMP.size
        while at < len(data):
            end = data.index(b"\0", at)
            rows[data[at:end]] = _ROW.unpack_from(data, end + 1)
            at = end + 1 + _ROW.size
    except (ValueError, StructError) as error:
        raise StoreError(f"{folder}/{FILE} is damaged: {error}") from None
    return stamp, rows


class Changes:
    """What has changed in the folder `root_fd` since it was recorded in `folder` over the layers of `view`.

    `owners` are those that could not be made. Raises OSError, StoreError.
    `changed` are paths, with the folders above them; `gone` names by the folder that held them; `opaque`
    folders that are not those of the same name beneath. `skip` and what is in it counts as unchanged. A new
    time alone is a change where it is one for `Comparison`; `clamp` as there.
    """

    def __init__(
        self, root_fd: int, view: TreeView, folder: str, owners: Mapping[bytes, RecordedOwner],
        skip: Collection[bytes] = (), clamp: int | None = None,
    ) -> None:  # fmt: skip
        stamp, self._old = load(folder)
        self._fd, self._view, self._safe = root_fd, view, stamp - _TICK
        self._owners, self._skip, self._clamp = owners, skip, clamp
        self._touched: list[bytes] = []
        self._links: dict[int, list[bytes]] = {}
        self.changed: set[bytes] = set()
        self.gone: dict[bytes, list[bytes]] = {}
        self.opaque: set[bytes] = set()
        self._fresh: set[bytes] = set()
        self._new = stock(root_fd, skip)
        self._find(self._new)

    @property
    def paths(self) -> Collection[bytes]:
        """All that is there now."""
        return self._new.keys()

    def undo_touches(self, *, whole: bool) -> None:
        """What was touched and not changed gets its time back; sockets, which no layer has, are removed.

        After this the folder holds what the layers with this one hold. `whole`: the layer has its root.
        """
        for path, row in self._new.items():
            before = self._old.get(path)
            same = path not in self.changed if path else not whole
            if same and before is not None and row[_MTIME] != before[_MTIME]:
                self._stamp(path, before[_MTIME])
            elif stat.S_ISSOCK(row[_MODE]):
                self._remove(path)

    def _stamp(self, path: bytes, time: int) -> None:
        above, _, name = path.rpartition(b"/")
        fd = linux.openat2(self._fd, above or b".", _LISTING, 0, _STRAIGHT)
        try:
            os.utime(name or b".", ns=(time, time), dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def _remove(self, path: bytes) -> None:
        above, _, name = path.rpartition(b"/")
        fd = linux.openat2(self._fd, above or b".", _LISTING, 0, _STRAIGHT)
        try:
            before = os.fstat(fd)
            os.unlink(name, dir_fd=fd)
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(fd)

    def choose(self, folder: bytes, names: list[bytes]) -> list[bytes]:
        """For `scan`: what of a folder belongs to the layer, whiteouts included."""
        prefix = folder + b"/" if folder else b""
        kept = [name for name in names if prefix + name in self.changed]
        kept += [WHITEOUT + name for name in self.gone.get(folder, ())]
        return [*kept, OPAQUE] if folder in self.opaque else kept

    def _find(self, new: dict[bytes, Row]) -> None:
        for path in sorted(new):
            row, before = new[path], self._old.get(path)
            if stat.S_ISDIR(row[_MODE]):
                self._folder(path, row, before)
            else:
                self._other(path, row, before)
        for path in self._old:
            if path not in new:
                self._missing(path, new)
        self._count_times()
        self._complete()

    def _above_is_fresh(self, path: bytes) -> bool:
        return path.rpartition(b"/")[0] in self._fresh if path else False

    def _folder(self, path: bytes, row: Row, before: Row | None) -> None:
        inside = self._above_is_fresh(path)
        if path and (inside or before is None or not _same_folder(row, before)):
            self._fresh.add(path)
            self.changed.add(path)
            self._mark_above(path)
            if before is not None and not inside:
                self.opaque.add(path)  # as overlayfs does for a folder that takes the place of something
        elif before is not None and self._differs(path, row, before):
            self._mark(path)

    def _other(self, path: bytes, row: Row, before: Row | None) -> None:
        self._links.setdefault(row[_INODE], []).append(path)
        if self._above_is_fresh(path) or before is None or self._differs(path, row, before):
            self._mark(path)
        elif row[_MTIME] != before[_MTIME]:
            self._touched.append(path)

    def _count_times(self) -> None:
        """A time that went back is a change, one that went on if something else in the folder has changed."""
        later = [path for path in self._touched if not self._went_back(path)]
        folders = {path.rpartition(b"/")[0] for path in self.changed if path} | self.gone.keys()
        for path in later:
            if path.rpartition(b"/")[0] in folders and self._seconds(path) != self._beneath(path):
                self._mark(path)

    def _went_back(self, path: bytes) -> bool:
        if self._seconds(path) >= self._beneath(path):
            return False
        self._mark(path)
        return True

    def _seconds(self, path: bytes) -> int:
        time = self._new[path][_MTIME] // _NANO
        return time if self._clamp is None else min(time, self._clamp)

    def _beneath(self, path: bytes) -> int:
        found = self._view.lookup(path, follow=False)
        return found.mtime_ns // _NANO if found else 0

    def _differs(self, path: bytes, row: Row, before: Row) -> bool:
        if row == before and row[_CTIME] < self._safe:
            return False
        if row[:_SIZE] != before[:_SIZE] or row[_DEVICE] != before[_DEVICE]:
            return True
        kind = stat.S_IFMT(row[_MODE])
        if kind == stat.S_IFREG and row[_SIZE] != before[_SIZE]:
            return True
        return self._differs_inside(path, kind)

    def _differs_inside(self, path: bytes, kind: int) -> bool:
        """Compared with what the layers have there: link, attributes and content."""
        lower = self._view.lookup(path, follow=False)
        if lower is None:
            return True
        fd = linux.openat2(
            self._fd, path or b".", os.O_PATH | os.O_NOFOLLOW, 0,
            linux.RESOLVE_BENEATH | linux.RESOLVE_NO_MAGICLINKS,
        )  # fmt: skip
        try:
            if kind == stat.S_IFLNK:
                return os.readlink(b"", dir_fd=fd) != lower.link
            if self._differs_in_attributes(fd, path, lower):
                return True
            return kind == stat.S_IFREG and lower.kind == "file" and not _equal(fd, lower)
        finally:
            os.close(fd)

    def _differs_in_attributes(self, fd: int, path: bytes, lower: Found) -> bool:
        """The owner counts if a program has given it."""
        from ....ground.scan import attributes
        from .difference import restored

        found = attributes(b"/proc/self/fd/%d" % fd, path, follow=True)
        entry = restored(Entry(path, "file", 0, xattrs=found), self._owners)
        moved = ATTRIBUTE in dict(found) and (entry.uid, entry.gid) != (lower.uid, lower.gid)
        return moved or entry.xattrs != lower.xattrs

    def _missing(self, path: bytes, new: dict[bytes, Row]) -> None:
        above, _, name = path.rpartition(b"/")
        row = new.get(above)
        if path in self._skip or _is_beneath(path, self._skip):
            return
        if row is not None and stat.S_ISDIR(row[_MODE]) and above not in self._fresh:
            self.gone.setdefault(above, []).append(name)
            self.changed.add(above)
            self._mark_above(above)

    def _mark(self, path: bytes) -> None:
        self.changed.add(path)
        self._mark_above(path)

    def _mark_above(self, path: bytes) -> None:
        while path:
            path = path.rpartition(b"/")[0]
            if path in self.changed:
                return
            self.changed.add(path)

    def _complete(self) -> None:
        """A link in a layer must point into that layer: all names of a file go in, or none."""
        for paths in self._links.values():
            if len(paths) > 1 and not self.changed.isdisjoint(paths):
                for path in paths:
                    self._mark(path)


def _same_folder(row: Row, before: Row) -> bool:
    one, other = row[_BORN], before[_BORN]
    same = row[_INODE] == before[_INODE] and stat.S_ISDIR(before[_MODE])
    return same and (one == other or not one or not other)


def _is_beneath(path: bytes, folders: Collection[bytes]) -> bool:
    return any(path.startswith(folder + b"/") for folder in folders)


def _equal(fd: int, lower: Found) -> bool:
    with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as one, lower.open() as other:
        while True:
            first = one.read(_CHUNK)
            if first != _exactly(other, len(first) or 1):
                return False
            if not first:
                return True


def _exactly(file: object, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        data = file.read(count)  # type: ignore[attr-defined]
        if not data:
            break
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
