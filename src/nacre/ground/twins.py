"""Files that other trees have already, to be shared by a hard link instead of stored once more.

A twin has the same path, size, mode, owner and time as the new file, no attributes, and, once they are
compared, the same bytes: nothing else is trusted. Only the same path counts, because of two trees at most one
shows what it has there: no image ever sees two names of one file that its layers did not link. What an image
can see is that the link count is higher than the names it finds; as cron refuses tables with such a count,
nothing beneath etc and var is shared. Whoever writes copies first (overlayfs,
copy-up), so a shared file never changes; a tree gives up its links when it is removed.

Which trees to look in is found by trying: of some files the twins are looked up in all of them, and for the
next few thousand only the trees that had most of them are asked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ..grammars.tar.entry import Entry, Reader
from . import linux
from .beneath import LISTING, Folder, Key, key_of, look
from .work import file_worker

MAX_TREES = 32
"""Most trees that are tried."""

_SAMPLE, _SPAN, _BEST = 48, 4096, 3
_MAX_USED = 1 << 20
_CHUNK = 1 << 18
_APART = (b"etc", b"var")
_BENEATH = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Twins:
    """The twins of one new tree. `close` it."""

    def __init__(self, trees: Callable[[], Sequence[str]], *, owners: bool) -> None:
        """`trees` gives folders, the likeliest first; `owners` False: all files belong to this user."""
        self._trees = trees
        self._own = None if owners else (os.geteuid(), os.getegid())
        self._roots: list[Folder] | None = None
        self._asked: list[Folder] = []
        self._hits: dict[Key, int] = {}
        self._count = 0
        self._where = b"/"
        self._there: list[tuple[Key, Folder]] = []
        self._used: set[Key] = set()

    def find(self, above: bytes, name: bytes, entry: Entry) -> Folder | None:
        """A folder that has a file of this name and these looks; its bytes are still to be compared.

        `above` is the path of the folder without links.
        """
        if not entry.size or entry.xattrs or entry.sparse is not None or above.partition(b"/")[0] in _APART:
            return None
        self._choose()
        if not self._asked:
            return None
        best = None
        for root, folder in self._folders(above):
            info = look(folder.fd, name)
            if info is not None and self._alike(info, entry):
                self._hits[root] += 1
                best = best or (folder if self._unused(info) else None)
        return best

    def _choose(self) -> None:
        """Ask all trees for the first files of every span, then those that had most of them."""
        turn = self._count % _SPAN
        self._count += 1
        if turn and turn != _SAMPLE:
            return
        roots, hits = self._opened(), self._hits
        if turn == _SAMPLE:
            best = sorted((r for r in roots if hits[r.key]), key=lambda r: -hits[r.key])
            self._asked = best[:_BEST]
        else:
            self._asked = roots
            self._hits = {root.key: 0 for root in roots}
        self._where = b"/"

    def _opened(self) -> list[Folder]:
        if self._roots is None:
            self._roots = []
            for path in self._trees()[:MAX_TREES]:
                with suppress(OSError):  # swept meanwhile
                    self._roots.append(_folder(os.open(path, _FOLDER)))
        return self._roots

    def _folders(self, above: bytes) -> list[tuple[Key, Folder]]:
        if above != self._where:
            self._where, self._there = above, []
            for root in self._asked:
                with suppress(OSError):
                    fd = linux.openat2(root.fd, above or b".", _FOLDER, resolve=_BENEATH)
                    self._there.append((root.key, _folder(fd)))
        return self._there

    def _alike(self, info: os.stat_result, entry: Entry) -> bool:
        return (
            info.st_size == entry.size
            and info.st_mtime_ns == entry.mtime_ns
            and info.st_mode == stat.S_IFREG | entry.mode
            and (info.st_uid, info.st_gid) == (self._own or (entry.uid, entry.gid))
        )

    def _unused(self, info: os.stat_result) -> bool:
        """Whether no other name of the new tree has this file: where it was linked, it may differ here."""
        if info.st_nlink == 1:
            return True
        if key_of(info) in self._used or len(self._used) >= _MAX_USED:
            return False
        self._used.add(key_of(info))
        return True

    def close(self) -> None:
        """Release the roots. Idempotent."""
        self._there, self._asked, self._roots = [], [], []


def _folder(fd: int) -> Folder:
    return Folder(fd, key_of(os.fstat(fd)))


def link_twin(twin: Folder, into: Folder, name: bytes, payload: Reader) -> Reader | None:
    """Link the twin if `payload` gives its bytes; None when that is done, else the payload from the start.

    Raises FileExistsError when the place is taken, and what `payload` raises.
    """
    try:
        fd = os.open(name, file_worker.OLD, dir_fd=twin.fd)
    except OSError:
        return payload
    comparing = _Comparing(fd, payload)
    if comparing.equal() and file_worker.link(twin.fd, into.fd, name):
        return None
    return comparing


class _Comparing:
    """A payload that is compared to an open file, and read again from that as far as they are equal."""

    def __init__(self, fd: int, payload: Reader) -> None:
        self._fd, self._payload = fd, payload
        self._equal = self._given = 0
        self._rest = b""

    def equal(self) -> bool:
        """Read the payload until it differs from the file. One whose attributes are not bare differs."""
        while file_worker.bare(self._fd) if not self._equal else True:
            data = self._payload.read(_CHUNK)
            if data != _exactly(self._fd, len(data) or 1, self._equal):
                self._rest = data
                return False
            if not data:
                return True
            self._equal += len(data)
        return False

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes of content; b"" at the end."""
        if self._given < self._equal:
            data = os.pread(self._fd, min(count, self._equal - self._given), self._given)
            self._given += len(data)
            return data
        if self._rest:
            data, self._rest = self._rest[:count], self._rest[count:]
            return data
        return self._payload.read(count)

    def __del__(self) -> None:
        os.close(self._fd)


def _exactly(fd: int, count: int, at: int) -> bytes:
    data = os.pread(fd, count, at)
    while len(data) < count and (more := os.pread(fd, count - len(data), at + len(data))):
        data += more
    return data


def relink(root_fd: int, twins: Twins) -> int:
    """Replace files of a finished tree by their twins; the bytes that are shared then.

    For a tree that nobody uses yet. Each is replaced by one rename, and folders keep their times. What cannot
    be replaced stays as it is. Raises OSError for what cannot be read.
    """
    shared = 0
    for path, fd in _walk(root_fd):
        before, changed = os.fstat(fd), 0
        for name in map(os.fsencode, os.listdir(fd)):
            changed += _relinked(fd, path, name, twins)
        if changed:
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        shared += changed
    return shared


def _walk(root_fd: int) -> Iterator[tuple[bytes, int]]:
    """All folders, each open while it is at file_worker."""
    todo = [b""]
    while todo:
        path = todo.pop()
        fd = linux.openat2(root_fd, path or b".", LISTING, resolve=_BENEATH)
        try:
            yield path, fd
            for name in map(os.fsencode, os.listdir(fd)):
                info = look(fd, name)
                if info is not None and stat.S_ISDIR(info.st_mode):
                    todo.append(path + b"/" + name if path else name)
        finally:
            os.close(fd)


def _relinked(fd: int, path: bytes, name: bytes, twins: Twins) -> int:
    """The bytes of the file that was replaced; 0 if it was not. A file with several names stays."""
    info = look(fd, name)
    if info is None or not stat.S_ISREG(info.st_mode) or info.st_nlink > 1 or not info.st_size:
        return 0
    mode = stat.S_IMODE(info.st_mode)
    entry = Entry(name, "file", mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_size)
    twin = twins.find(path, name, entry)
    with suppress(OSError):
        if twin is not None and _replaced(fd, name, twin):
            return info.st_size
    return 0


def _replaced(fd: int, name: bytes, twin: Folder) -> bool:
    own = os.open(name, file_worker.OLD, dir_fd=fd)
    try:
        comparing = _Comparing(os.open(name, file_worker.OLD, dir_fd=twin.fd), _FileReader(own))
        if not file_worker.bare(own) or not comparing.equal():
            return False
    finally:
        os.close(own)
    scratch = b".nacre-%s" % os.urandom(8).hex().encode()
    os.link(name, scratch, src_dir_fd=twin.fd, dst_dir_fd=fd, follow_symlinks=False)
    os.rename(scratch, name, src_dir_fd=fd, dst_dir_fd=fd)
    return True


class _FileReader:
    """An open file as a reader."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes of content; b"" at the end."""
        return os.read(self._fd, count)
