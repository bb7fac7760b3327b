"""What one folder has that another has not, as the entries of a layer.

Both are walked side by side in the order of `scan`. A file counts as the same when its looks, its time in
seconds and its bytes are; of a group of hard links all go into the layer or none, because a link in a layer
must point into that layer. Above every change its folders are named, so that no tool has to guess at them.
"""

from __future__ import annotations

import os

from ..grammars.layer.whiteouts import whiteout_of
from ..grammars.tar.entry import Entry, Reader
from .extract import Form
from .scan import Opener, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NANO = 1_000_000_000
_CHUNK = 1 << 20
_END: tuple[Entry, Opener | None] = (Entry(b""), None)


def compare(old_fd: int, new_fd: int, form: Form | None = None) -> Iterator[tuple[Entry, Opener | None]]:
    """The entries that turn the folder `old_fd` into the folder `new_fd`, sorted, whiteouts first in each.

    `form` says whether owners count (`owners`). Times are whole seconds; the root is named only when it
    changed in more than its time. Raises StoreError, Unsupported.
    """
    plain = (form or Form()).replace(whiteouts="delete")
    changes = _ChangedPaths()
    changes.find(scan(old_fd, plain), scan(new_fd, plain))
    for entry, payload in scan(new_fd, plain):
        if changes.has(entry):
            yield entry._replace(mtime_ns=entry.mtime_ns // _NANO * _NANO), payload
        for name in changes.gone.get(entry.path, ()) if entry.kind == "dir" else ():
            yield Entry(whiteout_of(entry.path + b"/" + name if entry.path else name), "file", 0), None


class _ChangedPaths:
    """Paths that differ: `changed` and the folders above them, `gone` names by folder."""

    def __init__(self) -> None:
        self.changed: set[bytes] = set()
        self.gone: dict[bytes, list[bytes]] = {}
        self._links: dict[bytes, list[bytes]] = {}

    def has(self, entry: Entry) -> bool:
        return entry.path in self.changed

    def find(
        self, old: Iterator[tuple[Entry, Opener | None]], new: Iterator[tuple[Entry, Opener | None]]
    ) -> None:
        left, right = next(old, _END), next(new, _END)
        while left is not _END or right is not _END:
            before = right is _END or (left is not _END and _key(left[0]) < _key(right[0]))
            after = left is _END or (right is not _END and _key(right[0]) < _key(left[0]))
            if before:
                left = self._removed(left[0], old)
                continue
            if after or not _same(left, right):
                self._mark(right[0].path)
            self._remember(right[0])
            left = left if after else self._passed(left[0], right[0], old)
            right = next(new, _END)
        self._complete()

    def _passed(
        self, left: Entry, right: Entry, old: Iterator[tuple[Entry, Opener | None]]
    ) -> tuple[Entry, Opener | None]:
        """The next of the old ones; what lay in a folder that is none any more is hidden with it."""
        return _beyond(left.path, old) if left.kind == "dir" != right.kind else next(old, _END)

    def _removed(
        self, entry: Entry, old: Iterator[tuple[Entry, Opener | None]]
    ) -> tuple[Entry, Opener | None]:
        folder, _, name = entry.path.rpartition(b"/")
        self.gone.setdefault(folder, []).append(name)
        self._mark_folder(folder)
        return _beyond(entry.path, old) if entry.kind == "dir" else next(old, _END)

    def _mark(self, path: bytes) -> None:
        self.changed.add(path)
        self._mark_folder(path.rpartition(b"/")[0])

    def _mark_folder(self, folder: bytes) -> None:
        while folder and folder not in self.changed:
            self.changed.add(folder)
            folder = folder.rpartition(b"/")[0]

    def _remember(self, entry: Entry) -> None:
        if entry.kind == "hardlink":
            self._links.setdefault(entry.link, []).append(entry.path)

    def _complete(self) -> None:
        for first, others in self._links.items():
            if not self.changed.isdisjoint((first, *others)):
                for path in (first, *others):
                    self._mark(path)


def _key(entry: Entry) -> list[bytes]:
    return entry.path.split(b"/") if entry.path else []


def _beyond(folder: bytes, entries: Iterator[tuple[Entry, Opener | None]]) -> tuple[Entry, Opener | None]:
    """The first entry that does not lie in `folder`."""
    inside = folder + b"/"
    return next((item for item in entries if not item[0].path.startswith(inside)), _END)


def _same(left: tuple[Entry, Opener | None], right: tuple[Entry, Opener | None]) -> bool:
    one, other = left[0], right[0]
    if _looks(one) != _looks(other):
        return False
    if one.kind != "file" or not left[1] or not right[1]:
        return True
    return _equal(left[1](), right[1]())


def _looks(entry: Entry) -> tuple[object, ...]:
    seconds = entry.mtime_ns // _NANO if entry.path else 0
    return entry._replace(mtime_ns=seconds, offset=-1)


def _equal(one: Reader, other: Reader) -> bool:
    """Whether two readers give the same bytes, in pieces of whatever sizes."""
    first = second = b""
    while True:
        first, second = first or one.read(_CHUNK), second or other.read(_CHUNK)
        count = min(len(first), len(second))
        if not count:
            return not first and not second
        if first[:count] != second[:count]:
            return False
        first, second = first[count:], second[count:]


def open_folder(path: str) -> int:
    """A descriptor of a folder to be compared. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
