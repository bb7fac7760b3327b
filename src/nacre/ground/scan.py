"""A file system back to entries, sorted: the inverse of extract.

Nothing of this machine leaks in: no access times, no labels or measurements of its security modules, no
sockets, no inode numbers. Holes count only where they are large, because small ones come and go with the
file system.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from ..grammars.layer.overlay import KINDS, PREFIXES, is_whiteout
from ..grammars.layer.whiteouts import OPAQUE, WHITEOUT
from ..grammars.tar.entry import Entry, Reader, show
from ..words.errors import StoreError, Unsupported
from .beneath import LISTING, Folder, Folders, key_of, open_listing
from .extract import Form

MIN_HOLE = 1 << 20
"""Smallest hole, in bytes, that makes a file sparse; smaller ones are read as zeros."""

_OVERLAY = tuple(map(os.fsdecode, PREFIXES))
_OF_THE_HOST = ("security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Opener = Callable[[], Reader]


Choose = Callable[[bytes, list[bytes]], list[bytes]]


def scan(
    root_fd: int, form: Form | None = None, choose: Choose | None = None
) -> Iterator[tuple[Entry, Opener | None]]:
    """The entries beneath the folder `root_fd`, the root first, a folder before its content, names by bytes.

    Files come with a function that opens their payload (data segments only if sparse); call it before the
    next entry is asked for, and read it then or later: it closes itself at its end. The first name of a
    file with several is the file, the others are hard links to it. In overlay form char devices 0/0 and
    opaque folders come back as `.wh.` entries of mode 0, owner 0, time 0. With `owners` False everything
    belongs to 0:0. Sockets are left out. `choose(folder, names)` says which of the names in a folder are
    wanted; `.wh.` names that it adds come back as above. Raises StoreError for what cannot be read,
    Unsupported for what no layer can express.
    """
    walk = _Walk(root_fd, form or Form(), choose)
    try:
        yield from walk.entries()
    except OSError as error:
        what = f" {show(os.fsencode(error.filename))}" if isinstance(error.filename, str | bytes) else ""
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise StoreError(f"cannot read{what}: {reason}") from error
    finally:
        walk.close()


_Child = tuple[bytes, os.stat_result | None]


class _Walk:
    """One walk over a tree."""

    def __init__(self, root_fd: int, form: Form, choose: Choose | None) -> None:
        self._form, self._choose = form, choose
        self._overlay = form.whiteouts == "overlay"
        self._folders = Folders(root_fd)
        self._root = Folder(open_listing(root_fd), self._folders.root.key)
        self._links: dict[tuple[int, int], bytes] = {}

    def close(self) -> None:
        """Close what is open."""
        self._folders.forget()

    def entries(self) -> Iterator[tuple[Entry, Opener | None]]:
        """All entries of the tree, parents first. Raises StoreError."""
        yield self._root_entry(), None
        stack = [(b"", self._children(b""))]
        while stack:
            above, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                continue
            path = above + b"/" + child[0] if above else child[0]
            item = self._item(above, path, child)
            if item is not None:
                yield item
                if item[0].kind == "dir":
                    stack.append((path, self._children(path)))

    def _root_entry(self) -> Entry:
        entry = self._looks(b"", "dir", os.fstat(self._root.fd))
        return entry._replace(xattrs=attributes(b"/proc/self/fd/%d/." % self._root.fd, b""))

    def _folder(self, path: bytes) -> Folder:
        """The folder at `path`, readable. Its links are never followed: paths come from this walk."""
        found = self._folders.get(path) if path else self._root
        if found is not None:
            return found
        return self._folders.keep(path, self._folders.resolve(path, LISTING))[0]

    def _children(self, path: bytes) -> Iterator[_Child]:
        folder = self._folder(path)
        children: list[_Child] = []
        names = [os.fsencode(name) for name in os.listdir(folder.fd)]
        if self._choose is not None:
            there, names = set(names), self._choose(path, names)
            children += [(name, None) for name in names if name not in there]
            names = [name for name in names if name in there]
        for name in names:
            info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            if name.startswith(WHITEOUT) and self._form.whiteouts != "none":
                where = show(path + b"/" + name)
                raise Unsupported(f"{where} cannot be stored in a layer: the prefix .wh. marks whiteouts")
            hidden = self._overlay and is_whiteout(info.st_mode, info.st_rdev)
            children.append((WHITEOUT + name, None) if hidden else (name, info))
        if self._overlay and self._is_opaque(folder):
            children.append((OPAQUE, None))
        children.sort(key=lambda child: child[0])
        return iter(children)

    def _is_opaque(self, folder: Folder) -> bool:
        try:
            return os.getxattr(folder.fd, self._form.opaque_xattr) == b"y"
        except OSError:
            return False

    def _item(self, above: bytes, path: bytes, child: _Child) -> tuple[Entry, Opener | None] | None:
        name, info = child
        if info is None:
            return Entry(path, "file", 0), None
        kind = KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return None
        entry = self._looks(path, kind, info)
        if kind != "dir" and info.st_nlink > 1:
            first = self._links.setdefault(key_of(info), path)
            if first != path:
                return entry._replace(kind="hardlink", link=first, size=0), None
        return self._whole(self._folder(above), name, entry, info)

    def _looks(self, path: bytes, kind: str, info: os.stat_result) -> Entry:
        uid, gid = (info.st_uid, info.st_gid) if self._form.owners else (0, 0)
        size = info.st_size if kind == "file" else 0
        return Entry(path, kind, stat.S_IMODE(info.st_mode), uid, gid, info.st_mtime_ns, size)

    def _whole(
        self, folder: Folder, name: bytes, entry: Entry, info: os.stat_result
    ) -> tuple[Entry, Opener | None]:
        xattrs = attributes(b"/proc/self/fd/%d/%s" % (folder.fd, name), entry.path)
        if xattrs:
            entry = entry._replace(xattrs=xattrs)
        if entry.kind == "symlink":
            return entry._replace(mode=0o777, link=os.readlink(name, dir_fd=folder.fd)), None
        if entry.kind in ("char", "block"):
            return entry._replace(major=os.major(info.st_rdev), minor=os.minor(info.st_rdev)), None
        if entry.kind != "file":
            return entry, None
        if info.st_size >= MIN_HOLE and info.st_blocks * 512 < info.st_size:
            entry = entry._replace(sparse=_segments(folder, name, info.st_size))
        return entry, partial(_FileContent, folder, name, entry)


class _FileContent:
    """The payload of a file: exactly the bytes that its entry announces. Closes itself at the end."""

    def __init__(self, folder: Folder, name: bytes, entry: Entry) -> None:
        try:
            self._fd = os.open(name, _FILE, dir_fd=folder.fd)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise StoreError(f"cannot read {show(entry.path)}: {reason}") from error
        self._path = entry.path
        self._segments = list(reversed(entry.sparse if entry.sparse is not None else ((0, entry.size),)))

    def read(self, count: int) -> bytes:
        while self._segments and not self._segments[-1][1]:
            self._segments.pop()
        if not self._segments or not count:
            if count:
                self.close()
            return b""
        offset, length = self._segments[-1]
        data = os.pread(self._fd, min(length, count) if count > 0 else length, offset)
        if not data:
            raise StoreError(f"{show(self._path)} was truncated while it was read")
        self._segments[-1] = (offset + len(data), length - len(data))
        return data

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._segments.clear()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


def attributes(target: bytes, path: bytes, *, follow: bool = False) -> tuple[tuple[bytes, bytes], ...]:
    """The extended attributes that belong to the content, sorted. `path` is for the message of Unsupported.

    `target` ends in a name that is not followed, unless `follow`: then it is a link of /proc/self/fd.
    Raises OSError; Unsupported for an incomplete copy at `path`.
    """
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError:
        return ()
    if not names:
        return ()
    _refuse_redirected(names, path)
    kept = [name for name in names if name not in _OF_THE_HOST and not name.startswith(_OVERLAY)]
    values = [os.getxattr(target, name, follow_symlinks=follow) for name in kept]
    return tuple(sorted(zip(map(os.fsencode, kept), values, strict=True)))


def _refuse_redirected(names: list[str], path: bytes) -> None:
    for name in names:
        if name.startswith(_OVERLAY) and name.endswith((".redirect", ".metacopy")):
            raise Unsupported(
                f"{show(path)} is not a complete copy: overlayfs was mounted with redirect_dir or metacopy"
            )


def _segments(folder: Folder, name: bytes, size: int) -> tuple[tuple[int, int], ...] | None:
    """Where the data lies, holes below MIN_HOLE counted as data; None when no hole is left."""
    fd = os.open(name, _FILE, dir_fd=folder.fd)
    try:
        found: list[tuple[int, int]] = []
        for start, end in _data(fd, size):
            if found and start - sum(found[-1]) < MIN_HOLE:
                start = found.pop()[0]
            found.append((start, end - start))
    finally:
        os.close(fd)
    return _without_small_edges(found, size)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end


def _without_small_edges(found: list[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...] | None:
    if found and found[0][0] < MIN_HOLE:
        found[0] = (0, sum(found[0]))
    if found and size - sum(found[-1]) < MIN_HOLE:
        found[-1] = (found[-1][0], size - found[-1][0])
    return None if found == [(0, size)] else tuple(found)
