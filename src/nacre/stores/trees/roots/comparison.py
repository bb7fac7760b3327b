"""What of a difference is as in the layers beneath, and what was copied only to change its looks.

overlayfs copies a file up when it is opened for writing or its owner is set, also to what it was. Such a copy
need not be in the layer. Only names that the layers have as well are compared, a folder at a time, so files
in new folders cost nothing; content is read only where all but the time and the looks agree, and up to the
first difference.

A file of which only the time moved forward (touch, the same bytes written again) is left out as well when
nothing else changed in its folder or beneath: then nobody compares it with a neighbour, as python does a
module with its .pyc and make a target with its source.
"""

from __future__ import annotations

import os
import stat

from ....grammars.layer.overlay import KINDS
from ....grammars.tar.entry import Entry
from ....ground.extract import Form
from ....ground.files import os_errors
from ....ground.scan import MIN_HOLE, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..reading.view import Found, Place, TreeView

_NANO = 1_000_000_000
_CHUNK = 1 << 20
_DEEPEST = 100
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Comparison:
    """One walk over the upper folder of an overlay. Results: `unchanged` paths and `copied`.

    `copied`: path and size of files whose content is as beneath while mode, owner or attributes are not.
    """

    def __init__(
        self, view: TreeView, form: Form, owned: Callable[[Entry], Entry], *, clamp: int | None = None,
        remove: bool = False,
    ) -> None:  # fmt: skip
        """`owned` gives an entry the owner that the file system could not keep; `clamp` as `Trees.commit`.

        `remove`: take out of the folder what is unchanged. It must not be mounted then.
        """
        self._view, self._form, self._owned, self._remove = view, form, owned, remove
        self._clamp = None if clamp is None else clamp * _NANO
        self.unchanged: set[bytes] = set()
        self.copied: list[tuple[bytes, int]] = []

    def run(self, upper: str) -> None:
        """Compare the directory with the layers. Raises StoreError."""
        with os_errors(f"compare {upper} with the layers beneath"):
            fd = os.open(upper, _LISTING)
            try:
                self._folder(fd, b"", self._view.top(), 0)
            finally:
                os.close(fd)

    def _folder(self, fd: int, path: bytes, place: Place, depth: int) -> bool:
        """Whether something in the folder is changed, what lies deeper included."""
        beneath = self._view.candidates(place)
        gone: list[bytes] = []
        times: list[bytes] = []
        changed = False
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            lower = self._view.step(place, name) if name in beneath else None
            verdict = self._verdict(fd, name, lower, depth) if lower is not None else "changed"
            changed = changed or verdict == "changed"
            if verdict != "changed":
                (gone if verdict == "same" else times).append(name)
        gone += () if changed else times
        self.unchanged.update(_join(path, name) for name in gone)
        if gone and self._remove:
            _take_out(fd, gone)
        return changed

    def _verdict(self, fd: int, name: bytes, lower: Place, depth: int) -> str:
        """'same', 'changed' or 'time'."""
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        kind = KINDS.get(stat.S_IFMT(info.st_mode))
        found = self._view.found(lower)
        if kind != found.kind or (kind != "dir" and info.st_nlink > 1):
            return "changed"
        mine = self._entry(fd, name, found.path, kind, info)
        alike = _looks(mine) == _looks(found)
        if kind == "dir":
            return "same" if not self._inside(fd, name, lower, depth) and alike else "changed"
        if not _same_content(fd, name, info, mine, found):
            return "changed"
        if not alike:
            if info.st_size:
                self.copied.append((found.path, info.st_size))
            return "changed"
        return self._time(info.st_mtime_ns, found.mtime_ns)

    def _entry(self, fd: int, name: bytes, path: bytes, kind: str, info: os.stat_result) -> Entry:
        uid, gid = (info.st_uid, info.st_gid) if self._form.owners else (0, 0)
        xattrs = attributes(b"/proc/self/fd/%d/%s" % (fd, name), path)
        entry = Entry(path, kind, stat.S_IMODE(info.st_mode), uid, gid, size=info.st_size, xattrs=xattrs)
        if kind in ("char", "block"):
            entry = entry._replace(major=os.major(info.st_rdev), minor=os.minor(info.st_rdev))
        return self._owned(entry)

    def _inside(self, fd: int, name: bytes, lower: Place, depth: int) -> bool:
        """Whether a folder that is there above and beneath holds a change. One too deep to look at does."""
        if depth >= _DEEPEST:
            return True
        below = os.open(name, _LISTING, dir_fd=fd)
        try:
            opaque = os.fsdecode(self._form.opaque_xattr) in os.listxattr(below)
            return opaque or self._folder(below, lower[0], lower, depth + 1)
        finally:
            os.close(below)

    def _time(self, mine: int, theirs: int) -> str:
        mine, theirs = mine // _NANO, theirs // _NANO
        if self._clamp is not None:
            mine = min(mine, self._clamp // _NANO)
        if mine == theirs:
            return "same"
        return "time" if mine > theirs else "changed"


def _take_out(fd: int, names: list[bytes]) -> None:
    """Remove files and emptied folders; the time of the folder stays."""
    before = os.fstat(fd)
    for name in names:
        if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=fd)
        else:
            os.unlink(name, dir_fd=fd)
    os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))


def _looks(file: Entry | Found) -> tuple[object, ...]:
    mode = 0 if file.kind == "symlink" else file.mode
    return mode, file.uid, file.gid, file.xattrs


def _same_content(fd: int, name: bytes, info: os.stat_result, mine: Entry, found: Found) -> bool:
    if mine.kind == "symlink":
        return os.readlink(name, dir_fd=fd) == found.link
    if mine.kind != "file":
        return (mine.major, mine.minor) == (found.major, found.minor)
    sparse = info.st_size >= MIN_HOLE and info.st_blocks * 512 < info.st_size
    if info.st_size != found.size or sparse:
        return False
    return not info.st_size or _same_bytes(os.open(name, _FILE, dir_fd=fd), found)


def _same_bytes(fd: int, found: Found) -> bool:
    with open(fd, "rb", buffering=0) as mine, found.open() as theirs:
        while piece := mine.read(_CHUNK):
            if theirs.read(len(piece)) != piece:
                return False
    return True


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
