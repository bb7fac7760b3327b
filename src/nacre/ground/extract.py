"""Layers onto a file system: every path opened beneath the root by descriptor, never by a string.

How an entry finds its place:

    parent    the folder of its path, made if missing, links followed within the root (RESOLVE_IN_ROOT)
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

from ..grammars.entries import Entry, Reader, read_tar, whiteout
from ..grammars.tarentry import show
from ..words.errors import InvalidArchive, NacreError, StoreError
from ..words.value import Value
from . import ids
from . import twins as twinning
from .beneath import Folder, Folders, Key, key_of, look, make_searchable, names_in, open_child, remove
from .crew import Alone, Crew, hire
from .twins import Twins

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
    or something else replace a folder.
    `owners` False: never chown (a namespace with one id). `devices` False: device nodes are made as empty
    files (a user namespace), whiteouts excepted. `owned` is called with each entry whose owner, device or
    xattrs could not be made as they are, so that somebody can keep them; for one path the last call counts.
    `helpers`: other processes may be started that make files (crew.py); never for a root that is not nacre's
    own, or in namespaces of a container. `twins` are files of other trees, to share (twins.py). `placed` is
    called with each file and its path without links, before its payload is read.
    """

    whiteouts: str = "overlay"
    opaque_xattr: bytes = b"trusted.overlay.opaque"
    owners: bool = True
    devices: bool = True
    owned: Callable[[Entry], None] | None = None
    keep_kinds: bool = False
    helpers: bool = False
    twins: Twins | None = None
    placed: Callable[[Entry, bytes], None] | None = None


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

    `path` has no links in it, so that it leads to the same folder at the end.
    """

    __slots__ = ("entry", "existed", "implied", "key", "mode", "mtime_ns", "opaque", "path", "whiteouts")

    def __init__(self, path: bytes, key: Key, mode: int, mtime_ns: int, existed: bool) -> None:
        self.path, self.key, self.mode, self.mtime_ns, self.existed = path, key, mode, mtime_ns, existed
        self.entry: Entry | None = None
        self.implied = self.opaque = self.whiteouts = False


class _Tree:
    """One extraction at work."""

    def __init__(self, root_fd: int, form: Form) -> None:
        self._form = form
        self._overlay, self._literal = form.whiteouts == "overlay", form.whiteouts == "none"
        self._folders = Folders(root_fd)
        self._looks: dict[Key, _Looks] = {}
        self._made: set[tuple[Key, bytes]] = set()
        self._gone: set[tuple[Key, bytes]] = set()
        self._noted: set[bytes] = set()
        self.unkept = self.replaced = self._shared = self._files = 0
        self.implied: list[bytes] = []
        self._crew: Alone | Crew = Alone()
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
        except OSError as error:
            raise _explained(entry.path, error) from error

    def finish(self) -> None:
        """Give the folders their looks, the deepest first: a parent may then forbid its owner to enter."""
        self._crew.settle()
        for looks in sorted(self._looks.values(), key=_depth, reverse=True):
            try:
                self._finish_folder(looks)
            except OSError as error:
                raise _explained(looks.path, error) from error

    @property
    def shared(self) -> int:
        """Bytes shared with other trees."""
        return self._shared + self._crew.shared

    def close(self) -> None:
        """Close what is open; nothing is made any more when this returns."""
        self._crew.close()
        self._folders.forget()

    # --- places

    def _place(self, path: bytes) -> tuple[Folder, bytes]:
        """The parent, made if missing, and the name."""
        above, _slash, name = path.rpartition(b"/")
        if not name or len(path) > MAX_PATH:
            raise OSError(errno.ENAMETOOLONG if name else errno.ENOTDIR, "")
        folder = self._folders.get(above) or self._enter(above)
        if not self._overlay:
            self._made.add((folder.key, name))
        if (folder.key, name) in self._crew.pending:
            self._crew.settle()
        return folder, name

    def _look(self, folder: Folder, name: bytes) -> os.stat_result | None:
        """What has the name, or is about to have it."""
        if (folder.key, name) in self._crew.pending:
            self._crew.settle()
        return look(folder.fd, name)

    def _enter(self, path: bytes) -> Folder:
        """Open the folder at `path`, with those above it made where they are missing."""
        if self._overlay:
            try:
                return self._existing(path)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                pass  # not there as a whole: part by part below, making what is missing
        at, folder = 0, self._folders.root
        while at <= len(path):
            end = path.find(b"/", at)
            end = len(path) if end < 0 else end
            folder = self._step(folder, path[at:end], path[:end])
            at = end + 1
        return folder

    def _step(self, parent: Folder, name: bytes, path: bytes) -> Folder:
        place = (parent.key, name)
        ours = place in self._made
        if not self._overlay:
            self._made.add(place)
        found = self._folders.get(path)
        if found is not None:
            return found
        there = self._look(parent, name)
        if there is None or self._gives_way(there, ours):
            folder = self._new_folder(parent, Entry(path, "dir", 0o755), name, there)
            self._looks[folder.key].implied = True
            return folder
        return self._existing(path)

    def _gives_way(self, there: os.stat_result, ours: bool) -> bool:
        """Whether something may be replaced by a folder that is only implied: a whiteout, a lower file."""
        if self._overlay:
            return _is_whiteout(there)
        return not ours and not stat.S_ISDIR(there.st_mode) and not stat.S_ISLNK(there.st_mode)

    def _existing(self, path: bytes) -> Folder:
        """A folder that exists, links followed within the root. Raises OSError."""
        found = self._folders.get(path)
        if found is not None:
            return found
        fd, real = self._folders.open(path)
        folder, info = self._folders.keep(path, fd)
        self._see(folder, real, info)
        return folder

    def _see(self, folder: Folder, path: bytes, info: os.stat_result) -> None:
        """Remember how a folder looks that may be written into."""
        if folder.key not in self._looks:
            mode = stat.S_IMODE(info.st_mode)
            existed = bool(path) or not self._overlay  # the root of one layer is new
            self._looks[folder.key] = _Looks(path, folder.key, mode, info.st_mtime_ns, existed)
            make_searchable(folder.fd, mode)

    def _new_folder(self, parent: Folder, entry: Entry, name: bytes, there: os.stat_result | None) -> Folder:
        if there is not None and self._form.keep_kinds:
            raise NotADirectoryError(errno.ENOTDIR, "")
        if there is not None:
            self._clear(parent, name, there)
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        folder, _info = self._folders.keep(entry.path, open_child(parent.fd, name))
        above = self._looks[parent.key].path
        real = above + b"/" + name if above else name
        looks = self._looks[folder.key] = _Looks(real, folder.key, 0, 0, existed=False)
        looks.entry = entry
        looks.opaque = (parent.key, name) in self._gone
        return folder

    def _clear(self, parent: Folder, name: bytes, there: os.stat_result) -> None:
        """Remove what has the name, for something else to take its place."""
        if self._form.keep_kinds and stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, "")
        self._crew.settle()
        if stat.S_ISLNK(there.st_mode) or stat.S_ISDIR(there.st_mode):
            self._folders.forget()  # paths through it mean something else now
        self.replaced += stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)
        remove(parent.fd, name)

    def _make_way(self, parent: Folder, name: bytes) -> None:
        there = self._look(parent, name)
        if there is not None:
            self._clear(parent, name, there)

    # --- kinds

    def _file(self, entry: Entry, payload: Reader) -> None:
        self._files += 1
        if self._files == _MANY and self._form.helpers:
            self._crew = hire(self._here, _explained)
        parent, name = self._place(entry.path)
        if self._form.placed is not None:
            above = self._looks[parent.key].path
            self._form.placed(entry, above + b"/" + name if above else name)
        if self._crew.takes(name, entry):
            self._make_way(parent, name)  # now: nothing may go through a folder that is to be replaced
            twin = self._twin(parent, name, entry)
            self._crew.give(parent, name, entry, payload, self._form.owners, twin)
            self._note(entry, lost=False)
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
        self._note(entry, lost=rest is not None and self._write(parent, name, entry, rest))

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
        return self._existing(entry.path)

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
        source = self._existing(above)
        there = self._look(source, source_name)
        if there is None or (self._overlay and _is_whiteout(there)):
            raise FileNotFoundError(errno.ENOENT, "")
        if stat.S_ISDIR(there.st_mode):
            raise InvalidArchive(f"archive entry {show(entry.path)} is a hard link to a folder")
        old = self._look(parent, name)
        if old is not None and key_of(old) == key_of(there):
            return
        if old is not None:
            self._clear(parent, name, old)
        os.link(source_name, name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)

    def _node(self, entry: Entry, payload: Reader) -> None:
        device = entry.kind != "fifo"
        if self._overlay and device and entry.kind == "char" and entry.major == entry.minor == 0:
            self._hide(entry.path)  # overlayfs would take it for a whiteout, as docker does
            return
        if device and not self._form.devices:
            plain = entry._replace(kind="file", xattrs=())
            self._file(plain, payload)
            self._note(entry, lost=True)
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
        self._note(entry, lost)

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
        entry, mode, mtime_ns = looks.entry, looks.mode, looks.mtime_ns
        if self._literal and entry is None and looks.existed:
            if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
                os.fchmod(fd, mode)
            return
        if entry is not None:
            mode, mtime_ns = entry.mode, entry.mtime_ns
            if self._form.owners:
                ids.chown(fd, entry.uid, entry.gid)
            if looks.existed:
                _drop_xattrs(fd, entry)
            self._note(entry, _put_xattrs(fd, entry))
        if looks.opaque:
            os.setxattr(fd, self._form.opaque_xattr, b"y")
        if looks.whiteouts:
            # without it overlayfs would list the whiteouts of a folder that no lower layer has
            os.setxattr(fd, self._form.opaque_xattr.removesuffix(b"opaque") + b"origin", b"")
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime_ns, mtime_ns))

    def _note(self, entry: Entry, lost: bool) -> None:
        """Tell whoever keeps what this file system cannot."""
        if not self._form.owners and (entry.uid or entry.gid):
            lost = True
        self.unkept += lost
        if (lost or entry.path in self._noted) and self._form.owned is not None:
            self._noted.add(entry.path)
            self._form.owned(entry)

    # --- whiteouts

    def _whiteout(self, path: bytes) -> bool:
        """Do what a whiteout says; False when the path is none."""
        found = whiteout(path)
        if found is None:
            return False
        verb, target = found
        if verb == "remove":
            (self._hide if self._overlay else self._delete)(target)
        elif verb == "opaque" and self._overlay:
            self._looks[(self._folders.get(target) or self._enter(target)).key].opaque = True
        elif verb == "opaque":
            self._prune(target)
        return True

    def _hide(self, path: bytes) -> None:
        """Overlay's whiteout; what this layer has under the name stays and hides what is lower."""
        parent, name = self._place(path)
        self._gone.add((parent.key, name))
        there = self._look(parent, name)
        if there is None:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
            self._looks[parent.key].whiteouts = True
        elif stat.S_ISDIR(there.st_mode):
            self._looks[self._existing(path).key].opaque = True

    def _delete(self, path: bytes) -> None:
        """Remove what lower layers left under the name."""
        above, _slash, name = path.rpartition(b"/")
        parent = self._lower(above)
        there = None if parent is None else self._look(parent, name)
        if parent is None or there is None:
            return
        if (parent.key, name) not in self._made:
            self._clear(parent, name, there)
        elif stat.S_ISDIR(there.st_mode):
            self._prune(path)

    def _lower(self, path: bytes) -> Folder | None:
        try:
            return self._existing(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _prune(self, path: bytes) -> None:
        """Remove everything in a folder that this layer did not make."""
        todo = [path]
        while todo:
            path = todo.pop()
            folder = self._lower(path)
            for name in map(os.fsencode, names_in(folder.fd)) if folder else ():
                there = look(folder.fd, name) if folder else None
                if folder is None or there is None:
                    continue
                if (folder.key, name) not in self._made:
                    self._clear(folder, name, there)
                elif stat.S_ISDIR(there.st_mode):
                    todo.append(path + b"/" + name if path else name)


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
    errno.ENOENT: "leads through or to something that does not exist",
    errno.ENOTDIR: "leads through something that is no folder",
    errno.EISDIR: "would replace a folder in use",
    errno.ELOOP: "leads through a loop of symbolic links",
    errno.ENAMETOOLONG: "has a name longer than the file system allows",
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
