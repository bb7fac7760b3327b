"""Layers onto a file system: every path opened beneath the root by descriptor, never by a string.

How an entry finds its place:

    parent    the folder of its path, made if missing, links followed within the root (grammars.layer.paths)
    name      never followed; what is there already gives way, but folders merge; the last entry wins
    content   written through a descriptor opened with O_EXCL
    looks     owner, then xattrs, then mode, then times: chown(2) clears set-id bits and security.capability

Folders are 0700 while they are filled and get their looks at the end: children would change their times, a
default ACL would be inherited, and an ordinary user could not write into a folder of mode 0555.

Whiteouts speak of lower layers only, so the order inside a layer must not matter: what this layer made
stays, wherever in the archive the whiteout is (OCI image-spec layer.md, "Whiteouts").
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from ..grammars.layer.paths import ABSENT, LONG, LOOP, NO_FOLDER, NoFolder, Refused, walk
from ..grammars.layer.whiteouts import whiteout
from ..grammars.tar.entry import Entry, Reader, show
from ..grammars.tar.read import read_tar
from ..words.errors import InvalidArchive, NacreError, StoreError
from ..words.value import Value
from . import ids
from . import twins as twinning
from .beneath import Folder, Folders, Key, key_of, look, make_searchable, names_in, open_child, remove
from .twins import Twins
from .work.budget import Budget
from .work.files import FileWorkers, NoWorkers, start_workers

MAX_PATH = 4095
"""Longest path that the kernel takes in one piece; what is deeper could never be opened by name."""

_CHUNK = 1 << 20
_MANY = 1000
"""Ordinary files after which helpers are worth their start (8 ms each)."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_UNKEEPABLE = (errno.ENOTSUP, errno.EPERM)


class Form(Value):
    """How a tree looks on disk.

    `whiteouts` "overlay" keeps them as overlayfs does (char device 0/0 and `opaque_xattr`), for a root that
    holds one layer; "delete" removes what lies beneath, for a root that holds the lower layers already;
    "none" takes their names for ordinary ones. `keep_kinds` refuses to let a folder replace something else
    or something else replace a folder. `links` False: a folder takes the place of a link that lower layers
    left on the way, as overlayfs shows it; links of the layer itself are always followed.
    `owners` False: never chown (a namespace with one id). `devices` False: device nodes are made as empty
    files (a user namespace), whiteouts excepted. `notes` is told what could not be made as it is.
    `budget`: with one, other processes may be started that make files (work/files.py); never for a root that
    is not nacre's own, or in namespaces of a container. `twins` are files of other trees, to share
    (twins.py). `placed` is called with each file and its path without links, before its payload is read.
    """

    whiteouts: str = "overlay"
    opaque_xattr: bytes = b"trusted.overlay.opaque"
    owners: bool = True
    devices: bool = True
    notes: Notes | None = None
    keep_kinds: bool = False
    links: bool = True
    budget: Budget | None = None
    twins: Twins | None = None
    placed: Callable[[Entry, bytes], None] | None = None


class Notes(Protocol):
    """Keeps what a file system cannot: owners, devices and xattrs. Paths are without links."""

    def lost(self, entry: Entry) -> None:
        """Something of it could not be made."""

    def made(self, path: bytes) -> None:
        """All of it could be made, whatever was there before."""

    def linked(self, path: bytes, first: bytes) -> None:
        """A further name of the file `first`."""

    def removed(self, path: bytes, folder: bool) -> None:
        """It is gone, with all that was in it if it was a folder."""


class Stats(Value):
    """What an extraction met: `entries`, bytes of content `size`, and how many entries are `unkept`:
    their owner, device or an xattr could not be made here. `implied` are folders that were made as
    parents and that no entry described. `replaced`: how many files and folders gave way to a later entry.
    `shared`: bytes of content that are those of another tree's file, by a link.
    """

    entries: int = 0
    size: int = 0
    unkept: int = 0
    implied: tuple[bytes, ...] = ()
    replaced: int = 0
    shared: int = 0


def extract(entries: Iterable[tuple[Entry, Reader]], root_fd: int, form: Form | None = None) -> Stats:
    """Make the entries of one layer beneath the folder `root_fd`, which stays open.

    Nothing is ever made, changed or removed outside of it. Parents that the layer does not name are made
    as 0755, owner 0, time 0; folders that were there and are not named keep mode and times. xattrs of
    overlayfs itself are dropped. Not atomic: raises InvalidArchive for an entry that cannot be made and
    StoreError for a full disk and the like, and the tree is then incomplete: the caller drops it.
    """
    tree = _Tree(root_fd, form or Form())
    count = size = 0
    try:
        for entry, payload in entries:
            tree.make(entry, payload)
            count += 1
            size += entry.size
        tree.finish()
    finally:
        tree.close()
    return Stats(count, size, tree.unkept, tuple(tree.implied), tree.replaced, tree.shared)


def apply(stream: Reader, root_fd: int, form: Form | None = None) -> Stats:
    """`extract` of the uncompressed tar in `stream`."""
    return extract(read_tar(stream), root_fd, form)


class _Looks:
    """What a folder shall look like when all is done: as its entry says, else as it was.

    `path` has no links in it, so that it leads to the same folder at the end. `gone` are names in it that
    were whiteouts.
    """

    __slots__ = ("entry", "existed", "gone", "implied", "key", "mode", "opaque", "path", "times", "whiteouts")

    def __init__(self, path: bytes, key: Key, mode: int, times: tuple[int, int], existed: bool) -> None:
        self.path, self.key, self.mode, self.times, self.existed = path, key, mode, times, existed
        self.entry: Entry | None = None
        self.implied = self.opaque = self.whiteouts = False
        self.gone: set[bytes] = set()


class _Tree:
    """One extraction at work."""

    def __init__(self, root_fd: int, form: Form) -> None:
        self._form = form
        self._overlay, self._literal = form.whiteouts == "overlay", form.whiteouts == "none"
        self._folders = Folders(root_fd)
        self._looks: dict[Key, _Looks] = {}
        self._made: set[bytes] = set()
        self._strayed = False
        self.unkept = self.replaced = self._shared = self._files = 0
        self.implied: list[bytes] = []
        self._workers: NoWorkers | FileWorkers = NoWorkers()
        self._makers: dict[str, Callable[[Entry, Reader], None]] = {
            "file": self._file, "dir": self._dir, "symlink": self._symlink, "hardlink": self._hardlink,
            "char": self._node, "block": self._node, "fifo": self._node,
        }  # fmt: skip
        self._see(self._folders.root, b"", os.fstat(root_fd))

    def make(self, entry: Entry, payload: Reader) -> None:
        """Make one entry."""
        try:
            if self._literal or b".wh." not in entry.path or not self._whiteout(entry.path):
                self._makers[entry.kind](entry, payload)
        except Refused as why:
            raise InvalidArchive(f"archive entry {show(entry.path)} {why}") from None
        except OSError as error:
            raise _explained(entry.path, error) from error

    def finish(self) -> None:
        """Give the folders their looks, the deepest first: a parent may then forbid its owner to enter."""
        self._workers.flush()
        for looks in sorted(self._looks.values(), key=_depth, reverse=True):
            try:
                self._finish_folder(looks)
            except OSError as error:
                raise _explained(looks.path, error) from error

    @property
    def shared(self) -> int:
        """Bytes shared with other trees."""
        return self._shared + self._workers.shared

    def close(self) -> None:
        """Close what is open; nothing is made any more when this returns."""
        self._workers.close()
        self._folders.forget()

    # --- places

    def _place(self, path: bytes) -> tuple[Folder, bytes]:
        """The parent, made if missing, and the name."""
        above, _slash, name = path.rpartition(b"/")
        if not name or len(path) > MAX_PATH:
            raise OSError(errno.ENAMETOOLONG if name else errno.ENOTDIR, "")
        folder = self._folders.get(above) or self._enter(above)
        if not self._overlay:
            self._made.add(self._real(folder, name))
        if (folder.key, name) in self._workers.pending:
            self._workers.flush()
        return folder, name

    def _real(self, folder: Folder, name: bytes) -> bytes:
        """The path of a name, without links."""
        above = self._looks[folder.key].path
        return above + b"/" + name if above else name

    def _look(self, folder: Folder, name: bytes) -> os.stat_result | None:
        """What has the name, or is about to have it."""
        if (folder.key, name) in self._workers.pending:
            self._workers.flush()
        return look(folder.fd, name)

    def _enter(self, path: bytes, *, mark: bool = False) -> Folder:
        """Open the folder at `path`, with those above it made where they are missing.

        For a `mark` nothing is made where a link of lower layers leads: NoFolder.
        """
        try:
            return self._existing(path) if self._overlay else self._straight(path)
        except OSError:
            pass  # not there as a whole: part by part below, making what is missing
        folder, self._strayed = self._folders.root, False
        way = walk(path, folder, self._step)
        if mark and self._strayed and None in (found for _, found in way):
            raise NoFolder
        for name, found in way:
            if not self._overlay:
                self._made.add(self._real(folder, name))
            folder = found or self._implied_in(folder, name)
        self._folders.also(path, folder)
        return folder

    def _straight(self, path: bytes) -> Folder:
        """A folder that exists, with no link on the way; all of it is this layer's now. Raises OSError."""
        fd = self._folders.straight(path)
        at = len(path)
        while at > 0 and path[:at] not in self._made:
            self._made.add(path[:at])
            at = path.rfind(b"/", 0, at)
        return self._keep(path, path, fd)

    def _step(self, folder: Folder, name: bytes) -> Folder | bytes | None:
        """For `walk`: what gives way to a folder that is only implied is nothing."""
        there = self._look(folder, name)
        if there is None:
            return None
        if stat.S_ISDIR(there.st_mode):
            return self._child(folder, name)
        ours = self._overlay or self._real(folder, name) in self._made
        if stat.S_ISLNK(there.st_mode) and (ours or self._form.links):
            self._strayed = self._strayed or not ours
            return os.readlink(name, dir_fd=folder.fd)
        if not ours or (self._overlay and _is_whiteout(there)):
            return None
        raise NoFolder

    def _child(self, folder: Folder, name: bytes) -> Folder:
        """A folder that is in another."""
        real = self._real(folder, name)
        return self._folders.get(real) or self._keep(real, real, open_child(folder.fd, name))

    def _implied_in(self, parent: Folder, name: bytes) -> Folder:
        """A folder that no entry has described so far."""
        entry = Entry(self._real(parent, name), "dir", 0o755)
        folder = self._new_folder(parent, entry, name, self._look(parent, name))
        looks = self._looks[folder.key]
        looks.implied = not looks.opaque  # what has been removed says nothing about its looks
        return folder

    def _existing(self, path: bytes) -> Folder:
        """A folder that exists, links followed within the root. Raises OSError."""
        found = self._folders.get(path)
        if found is not None:
            return found
        fd, real = self._folders.open(path)
        return self._keep(path, real, fd)

    def _keep(self, path: bytes, real: bytes, fd: int) -> Folder:
        """Take over a descriptor, and remember how the folder looks, for it may be written into."""
        folder, info = self._folders.keep(path, fd)
        self._see(folder, real, info)
        return folder

    def _see(self, folder: Folder, path: bytes, info: os.stat_result) -> None:
        if folder.key not in self._looks:
            mode, times = stat.S_IMODE(info.st_mode), (info.st_atime_ns, info.st_mtime_ns)
            existed = bool(path) or not self._overlay  # the root of one layer is new
            self._looks[folder.key] = _Looks(path, folder.key, mode, times, existed)
            make_searchable(folder.fd, mode)

    def _new_folder(self, parent: Folder, entry: Entry, name: bytes, there: os.stat_result | None) -> Folder:
        if there is not None and self._form.keep_kinds:
            raise NotADirectoryError(errno.ENOTDIR, "")
        if there is not None:
            self._clear(parent, name, there)
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        folder, _info = self._folders.keep(entry.path, open_child(parent.fd, name))
        real = self._real(parent, name)
        looks = self._looks[folder.key] = _Looks(real, folder.key, 0, (0, 0), existed=False)
        looks.entry = entry
        looks.opaque = name in self._looks[parent.key].gone
        return folder

    def _clear(self, parent: Folder, name: bytes, there: os.stat_result) -> None:
        """Remove what has the name, for something else to take its place."""
        if self._form.keep_kinds and stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, "")
        self._workers.flush()
        if stat.S_ISLNK(there.st_mode) or stat.S_ISDIR(there.st_mode):
            self._folders.forget()  # paths through it mean something else now
        self.replaced += stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)
        remove(parent.fd, name)
        if self._form.notes is not None:
            self._form.notes.removed(self._real(parent, name), stat.S_ISDIR(there.st_mode))

    def _make_way(self, parent: Folder, name: bytes) -> None:
        there = self._look(parent, name)
        if there is not None:
            self._clear(parent, name, there)

    # --- kinds

    def _file(self, entry: Entry, payload: Reader) -> None:
        self._files += 1
        if self._files == _MANY and self._form.budget is not None:
            self._workers = start_workers(self._form.budget, self._here, _explained)
        parent, name = self._place(entry.path)
        if self._form.placed is not None:
            self._form.placed(entry, self._real(parent, name))
        if self._workers.accepts(name, entry):
            self._make_way(parent, name)  # now: nothing may go through a folder that is to be replaced
            twin = self._twin(parent, name, entry)
            self._workers.submit(parent, name, entry, payload, self._form.owners, twin)
            self._note(entry, parent, name, lost=False)
        else:
            self._here(entry, payload)

    def _twin(self, parent: Folder, name: bytes, entry: Entry) -> Folder | None:
        if self._form.twins is None:
            return None
        return self._form.twins.find(self._looks[parent.key].path, name, entry)

    def _here(self, entry: Entry, payload: Reader) -> None:
        """Make a file in this process."""
        parent, name = self._place(entry.path)
        rest: Reader | None = payload
        twin = self._twin(parent, name, entry)
        if twin is not None:
            self._make_way(parent, name)
            rest = twinning.share(twin, parent, name, payload)
            self._shared += 0 if rest else entry.size
        lost = rest is not None and self._write(parent, name, entry, rest)
        self._note(entry, parent, name, lost)

    def _write(self, parent: Folder, name: bytes, entry: Entry, payload: Reader) -> bool:
        """Write a file; whether some attributes were refused."""
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=parent.fd)
        except FileExistsError:
            self._make_way(parent, name)
            fd = os.open(name, _NEW, 0o600, dir_fd=parent.fd)
        try:
            _write(fd, entry, payload)
            if self._form.owners:
                ids.chown(fd, entry.uid, entry.gid)
            lost = bool(entry.xattrs) and _put_xattrs(fd, entry)
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        return lost

    def _dir(self, entry: Entry, _payload: Reader) -> None:
        folder = self._dir_place(entry) if entry.path else self._folders.root
        looks = self._looks[folder.key]
        looks.entry, looks.implied = entry, False

    def _dir_place(self, entry: Entry) -> Folder:
        parent, name = self._place(entry.path)
        there = self._look(parent, name)
        if there is None or not stat.S_ISDIR(there.st_mode):
            return self._new_folder(parent, entry, name, there)
        return self._child(parent, name)

    def _symlink(self, entry: Entry, _payload: Reader) -> None:
        parent, name = self._place(entry.path)
        try:
            os.symlink(entry.link, name, dir_fd=parent.fd)
        except FileExistsError:
            self._make_way(parent, name)
            os.symlink(entry.link, name, dir_fd=parent.fd)
        self._dress_name(parent, name, entry)

    def _hardlink(self, entry: Entry, _payload: Reader) -> None:
        above, _slash, source_name = entry.link.rpartition(b"/")
        parent, name = self._place(entry.path)
        source = self._find(above)
        there = self._look(source, source_name) if source else None
        if source is None or there is None or (self._overlay and _is_whiteout(there)):
            where = " in this layer" if self._overlay else ""
            raise Refused(f"is a hard link to {show(entry.link)}, which does not exist{where}")
        if stat.S_ISDIR(there.st_mode):
            raise Refused("is a hard link to a folder")
        old = self._look(parent, name)
        if old is not None and key_of(old) == key_of(there):
            return
        if old is not None:
            self._clear(parent, name, old)
        os.link(source_name, name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        if self._form.notes is not None:
            self._form.notes.linked(self._real(parent, name), self._real(source, source_name))

    def _find(self, path: bytes) -> Folder | None:
        """The folder at `path`; None if it does not exist."""
        found = self._folders.get(path)
        if found is not None:
            return found
        way = walk(path, self._folders.root, self._step)
        return way[-1][1] if way else self._folders.root

    def _node(self, entry: Entry, payload: Reader) -> None:
        device = entry.kind != "fifo"
        if self._overlay and device and entry.kind == "char" and entry.major == entry.minor == 0:
            self._hide(entry.path)  # overlayfs would take it for a whiteout, as docker does
            return
        if device and not self._form.devices:
            plain = entry._replace(kind="file", xattrs=())
            self._file(plain, payload)
            self._note(entry, *self._place(entry.path), lost=True)
            return
        parent, name = self._place(entry.path)
        self._make_way(parent, name)
        kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.kind]
        os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent.fd)
        self._dress_name(parent, name, entry)

    # --- looks

    def _dress_name(self, parent: Folder, name: bytes, entry: Entry) -> None:
        """The looks of what cannot be opened for writing: a link, a device, a pipe."""
        if self._form.owners:
            ids.chown(name, entry.uid, entry.gid, dir_fd=parent.fd, follow_symlinks=False)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            lost = bool(entry.xattrs) and _put_xattrs(b"/proc/self/fd/%d/%s" % (parent.fd, name), entry)
            if entry.kind != "symlink":
                os.chmod(f"/proc/self/fd/{fd}", entry.mode)  # the very inode, whatever the name means by now
        finally:
            os.close(fd)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent.fd, follow_symlinks=False)
        self._note(entry, parent, name, lost)

    def _finish_folder(self, looks: _Looks) -> None:
        try:
            fd = self._folders.resolve(looks.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _GONE:
                return
            raise
        try:
            if key_of(os.fstat(fd)) == looks.key:
                self._dress_folder(fd, looks)
                if looks.implied:
                    self.implied.append(looks.path)
        finally:
            os.close(fd)

    def _dress_folder(self, fd: int, looks: _Looks) -> None:
        entry, mode, times = looks.entry, looks.mode, looks.times
        if self._literal and entry is None and looks.existed:
            if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
                os.fchmod(fd, mode)
            return
        if entry is not None:
            mode, times = entry.mode, (entry.mtime_ns, entry.mtime_ns)
            if self._form.owners:
                ids.chown(fd, entry.uid, entry.gid)
            if looks.existed:
                _drop_xattrs(fd, entry)
            self._tell(entry, looks.path, _put_xattrs(fd, entry))
        if looks.opaque:
            os.setxattr(fd, self._form.opaque_xattr, b"y")
        if looks.whiteouts:
            # without it overlayfs would list the whiteouts of a folder that no lower layer has
            os.setxattr(fd, self._form.opaque_xattr.removesuffix(b"opaque") + b"origin", b"")
        os.fchmod(fd, mode)
        os.utime(fd, ns=times)

    def _note(self, entry: Entry, parent: Folder, name: bytes, lost: bool) -> None:
        if self._form.owners and self._form.notes is None:
            self.unkept += lost
        else:
            self._tell(entry, self._real(parent, name), lost)

    def _tell(self, entry: Entry, path: bytes, lost: bool) -> None:
        """Tell whoever keeps what this file system cannot."""
        if not self._form.owners and (entry.uid or entry.gid):
            lost = True
        self.unkept += lost
        if self._form.notes is not None:
            if lost:
                self._form.notes.lost(entry._replace(path=path))
            else:
                self._form.notes.made(path)

    # --- whiteouts

    def _whiteout(self, path: bytes) -> bool:
        """Do what a whiteout says; False when the path is none."""
        found = whiteout(path)
        if found is None:
            return False
        verb, target = found
        try:
            if verb == "remove":
                (self._hide if self._overlay else self._delete)(target)
            elif verb == "opaque":
                self._opaque(self._folders.get(target) or self._enter(target, mark=True))
        except NoFolder:
            pass  # lower layers have nothing there
        return True

    def _opaque(self, folder: Folder) -> None:
        looks = self._looks[folder.key]
        if self._overlay:
            looks.opaque = True
        else:
            self._prune(looks.path)

    def _hide(self, path: bytes) -> None:
        """Overlay's whiteout; what this layer has under the name stays and hides what is lower."""
        parent, name = self._place(path)
        self._looks[parent.key].gone.add(name)
        there = self._look(parent, name)
        if there is None:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
            self._looks[parent.key].whiteouts = True
        elif stat.S_ISDIR(there.st_mode):
            looks = self._looks[self._child(parent, name).key]
            looks.opaque, looks.implied = True, False

    def _delete(self, path: bytes) -> None:
        """Remove what lower layers left under the name, and the looks that they gave it."""
        above, _slash, name = path.rpartition(b"/")
        parent = self._folders.get(above) or self._enter(above, mark=True)
        there = self._look(parent, name)
        if there is None:
            return
        if self._real(parent, name) not in self._made:
            self._clear(parent, name, there)
        elif stat.S_ISDIR(there.st_mode):
            self._renew(self._child(parent, name))
            self._prune(self._real(parent, name))

    def _prune(self, path: bytes) -> None:
        """Remove everything in a folder that this layer did not make; `path` has no links."""
        todo = [path]
        while todo:
            folder = self._existing(todo.pop())
            for name in map(os.fsencode, names_in(folder.fd)):
                there = look(folder.fd, name)
                if there is None:
                    continue
                if self._real(folder, name) not in self._made:
                    self._clear(folder, name, there)
                elif stat.S_ISDIR(there.st_mode):
                    self._renew(self._child(folder, name))
                    todo.append(self._real(folder, name))

    def _renew(self, folder: Folder) -> None:
        """What no entry has described yet looks as if it were new."""
        looks = self._looks[folder.key]
        looks.entry = looks.entry or Entry(looks.path, "dir", 0o755)


def _depth(looks: _Looks) -> int:
    return looks.path.count(b"/") + bool(looks.path)


def _is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _write(fd: int, entry: Entry, payload: Reader) -> None:
    if entry.sparse is None:
        if entry.size:
            _copy(fd, entry.size, entry, payload)
        return
    for offset, length in entry.sparse:
        os.lseek(fd, offset, os.SEEK_SET)
        _copy(fd, length, entry, payload)
    os.ftruncate(fd, entry.size)


def _copy(fd: int, left: int, entry: Entry, payload: Reader) -> None:
    while left:
        data = payload.read(min(left, _CHUNK))
        if not data:
            raise InvalidArchive(f"the content of {show(entry.path)} is {left} bytes short")
        left -= len(data)
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, data[written:])


def _put_xattrs(target: int | bytes, entry: Entry) -> bool:
    """Set what the entry has, by descriptor or by a path that ends in an unfollowed name. True if some were
    refused: not supported there, or not allowed to this user.
    """
    lost = False
    for name, value in entry.xattrs:
        if name.startswith(_OVERLAY):
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno not in _UNKEEPABLE:
                raise _xattr_error(entry, name, value, error) from error
            lost = True
    return lost


def _drop_xattrs(fd: int, entry: Entry) -> None:
    """An entry says all about a folder: attributes that an earlier layer gave it go."""
    wanted = {name for name, _value in entry.xattrs}
    for name in map(os.fsencode, os.listxattr(fd)):
        if name not in wanted and name != b"security.selinux" and not name.startswith(_OVERLAY):
            with suppress(PermissionError):
                os.removexattr(fd, name)


def _xattr_error(entry: Entry, name: bytes, value: bytes, error: OSError) -> NacreError:
    what = f"attribute {show(name)} of {show(entry.path)}, {len(value)} bytes"
    if error.errno in (errno.EINVAL, errno.ERANGE):
        return InvalidArchive(f"{what}, is not what the kernel accepts")
    return StoreError(f"{what}, cannot be kept: {_reason(error)}")


_SENTENCES = {
    errno.ENOENT: ABSENT,
    errno.ENOTDIR: NO_FOLDER,
    errno.EISDIR: "would replace a folder in use",
    errno.ELOOP: LOOP,
    errno.ENAMETOOLONG: LONG,
    errno.EXDEV: "leads out of the root",
    errno.EFBIG: "is larger than the file system allows",
    errno.EMLINK: "has more links than the file system allows",
    errno.EINVAL: "is nothing that the file system accepts",
    errno.EILSEQ: "has a name that the file system does not accept",
}


def _explained(path: bytes, error: OSError) -> NacreError:
    """The archive's fault or the machine's, as a sentence."""
    if isinstance(error, ids.NoSuchId):
        return StoreError(f"cannot extract {show(path)}: {error.strerror}", hint=error.hint)
    sentence = _SENTENCES.get(error.errno or 0)
    if sentence:
        return InvalidArchive(f"archive entry {show(path)} {sentence}")
    hint = ""
    if error.errno == errno.EPERM:
        hint = "owners and device nodes need root or a user namespace"
    return StoreError(f"cannot extract {show(path)}: {_reason(error)}", hint=hint)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
