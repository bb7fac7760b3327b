"""One extraction: the decisions of `layer.rules` carried out by system calls."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable

from ...grammars.layer import rules
from ...grammars.layer.paths import Refused
from ...grammars.tar.entry import Entry, Reader, show
from ...grammars.tar.read import read_tar
from ...words.errors import InvalidArchive
from .. import ids
from .. import twins as twinning
from ..beneath import Folder, key_of, remove
from ..work.files import start_workers
from .errors import explained
from .form import Form, Stats
from .metadata import drop_xattrs, put_xattrs, write_content
from .places import ExtractedTree, FolderState

MANY_FILES = 1000
"""Ordinary files after which helpers are worth their start (8 ms each)."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def extract(entries: Iterable[tuple[Entry, Reader]], root_fd: int, form: Form | None = None) -> Stats:
    """Make the entries of one layer beneath the folder `root_fd`, which stays open.

    Nothing is ever made, changed or removed outside of it. Parents that the layer does not name are made
    as 0755, owner 0, time 0; folders that were there and are not named keep mode and times. xattrs of
    overlayfs itself are dropped. Not atomic: raises InvalidArchive for an entry that cannot be made and
    StoreError for a full disk and the like, and the tree is then incomplete: the caller drops it.
    """
    tree = _Extraction(root_fd, form or Form())
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


class _Extraction:
    """One extraction at work."""

    def __init__(self, root_fd: int, form: Form) -> None:
        self._form, self._literal = form, form.whiteouts == "none"
        alone = form.whiteouts == "overlay"
        self._places = ExtractedTree(root_fd, alone=alone)
        self._rules = rules.LayerRules(self._places) if alone else self._applying(form)
        self._decide = self._rules.decide
        self.unkept = self.replaced = self._shared = self._files = 0
        self.implied: list[bytes] = []
        self._makers: dict[str, Callable[[Entry, Reader, Folder, bytes], None]] = {
            "file": self._file, "symlink": self._symlink, "char": self._device, "block": self._device,
            "fifo": self._node,
        }  # fmt: skip
        self._verbs: dict[str, Callable[[Entry, Folder, bytes], object]] = {
            rules.LINK: self._link, rules.MAKE: self._make_folder, rules.MERGE: self._describe,
            rules.WHITEOUT: self._whiteout, rules.COVER: self._cover, rules.HIDE: self._hide,
            rules.MARK_OPAQUE: self._mark_opaque, rules.REMOVE: self._remove, rules.RENEW: self._renew,
            rules.RESET: self._reset, rules.PRUNE: self._prune, rules.NOTHING: lambda *_: None,
        }  # fmt: skip

    def _applying(self, form: Form) -> rules.ApplyRules[Folder]:
        found = rules.ApplyRules(self._places, whiteouts=not self._literal, links=form.links)
        self._leftovers = found.leftovers
        return found

    def make(self, entry: Entry, payload: Reader) -> None:
        """Make one entry beneath the root. Raises InvalidArchive and OSError."""
        try:
            verb, folder, missing, name = self._decide(entry)
            if missing:
                folder = self._parents(folder, missing)
            if verb is rules.PUT:
                self._makers[entry.kind](entry, payload, folder, name)
            else:
                self._verbs[verb](entry, folder, name)
        except Refused as why:
            raise InvalidArchive(f"archive entry {show(entry.path)} {why}") from None
        except OSError as error:
            raise explained(entry.path, error) from error

    def finish(self) -> None:
        """Finish the folders, the deepest first: a parent may then forbid its owner to enter."""
        self._places.workers.flush()
        for state in sorted(self._places.states.values(), key=lambda state: state.depth, reverse=True):
            try:
                self._finish(state)
            except OSError as error:
                raise explained(state.path, error) from error

    @property
    def shared(self) -> int:
        """Bytes shared with other trees."""
        return self._shared + self._places.workers.shared

    def close(self) -> None:
        """Close what is open; nothing is made any more when this returns."""
        self._places.workers.close()
        self._places.forget()

    # --- folders

    def _parents(self, folder: Folder, names: tuple[bytes, ...]) -> Folder:
        """Folders that no entry has described so far."""
        for name in names:
            path = self._places.path_of(folder, name)
            folder = self._new_folder(folder, name, Entry(path, "dir", 0o755), described=False)
        return folder

    def _make_folder(self, entry: Entry, parent: Folder, name: bytes) -> None:
        self._new_folder(parent, name, entry, described=True)

    def _new_folder(self, parent: Folder, name: bytes, entry: Entry, *, described: bool) -> Folder:
        try:
            folder, state = self._places.make(parent, name, entry.path)
        except FileExistsError:
            self._make_way(parent, name, folder=True)
            folder, state = self._places.make(parent, name, entry.path)
        hidden = name in self._state(parent).hidden
        state.entry, state.marks = entry, rules.marks_of_new(hidden=hidden, described=described)
        return folder

    def _describe(self, entry: Entry, folder: Folder, _name: bytes) -> None:
        state = self._state(folder)
        state.entry, state.marks = entry, rules.described(state.marks)

    def _state(self, folder: Folder) -> FolderState:
        return self._places.states[folder.key]

    def _make_way(self, parent: Folder, name: bytes, *, folder: bool = False) -> None:
        """Remove what has the name, for something else, a `folder` or not, to take its place."""
        there = self._places.look(parent, name)
        if there is None:
            return
        if self._form.keep_kinds and folder:
            raise NotADirectoryError(errno.ENOTDIR, "")
        self._clear(parent, name, there)

    def _clear(self, parent: Folder, name: bytes, there: os.stat_result) -> None:
        if self._form.keep_kinds and stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, "")
        self._places.workers.flush()
        if stat.S_ISLNK(there.st_mode) or stat.S_ISDIR(there.st_mode):
            self._places.forget()
        self.replaced += stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)
        remove(parent.fd, name)
        if self._form.notes is not None:
            self._form.notes.removed(self._places.path_of(parent, name), stat.S_ISDIR(there.st_mode))

    # --- files

    def _file(self, entry: Entry, payload: Reader, parent: Folder, name: bytes) -> None:
        self._files += 1
        if self._files == MANY_FILES and self._form.budget is not None:
            self._places.workers = start_workers(self._form.budget, self._again, explained)
        if self._form.placed is not None:
            self._form.placed(entry, self._places.path_of(parent, name))
        workers = self._places.workers
        if workers.accepts(name, entry):
            self._make_way(parent, name)  # now: nothing may go through a folder that is to be replaced
            twin = self._twin(parent, name, entry)
            workers.submit(parent, name, entry, payload, self._form.owners, twin)
            self._note(entry, parent, name, lost=False)
        else:
            self._here(entry, payload, parent, name)

    def _again(self, entry: Entry, payload: Reader) -> None:
        """Make a file whose place was taken when a helper came to it."""
        folder, missing, name = self._rules.place(entry.path)
        self._here(entry, payload, self._parents(folder, missing), name)

    def _twin(self, parent: Folder, name: bytes, entry: Entry) -> Folder | None:
        if self._form.twins is None:
            return None
        return self._form.twins.find(self._places.path(parent), name, entry)

    def _here(self, entry: Entry, payload: Reader, parent: Folder, name: bytes) -> None:
        """Make a file in this process."""
        self._places.wait_for(parent, name)
        rest: Reader | None = payload
        twin = self._twin(parent, name, entry)
        if twin is not None:
            self._make_way(parent, name)
            rest = twinning.link_twin(twin, parent, name, payload)
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
            write_content(fd, entry, payload)
            if self._form.owners:
                ids.chown(fd, entry.uid, entry.gid)
            lost = bool(entry.xattrs) and put_xattrs(fd, entry)
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        return lost

    def _symlink(self, entry: Entry, _payload: Reader, parent: Folder, name: bytes) -> None:
        self._places.wait_for(parent, name)
        try:
            os.symlink(entry.link, name, dir_fd=parent.fd)
        except FileExistsError:
            self._make_way(parent, name)
            os.symlink(entry.link, name, dir_fd=parent.fd)
        self._describe_name(entry, parent, name)

    def _device(self, entry: Entry, payload: Reader, parent: Folder, name: bytes) -> None:
        if self._form.devices:
            self._node(entry, payload, parent, name)
        else:
            self._file(entry._replace(kind="file", xattrs=()), payload, parent, name)
            self._note(entry, parent, name, lost=True)

    def _node(self, entry: Entry, _payload: Reader, parent: Folder, name: bytes) -> None:
        self._make_way(parent, name)
        kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.kind]
        os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent.fd)
        self._describe_name(entry, parent, name)

    def _link(self, entry: Entry, parent: Folder, name: bytes) -> None:
        old = self._places.look(parent, name)
        if old is not None and stat.S_ISDIR(old.st_mode):
            self._clear(parent, name, old)
            old = None
        source, source_name = self._rules.source(entry.link)
        if old is not None:
            there = self._places.look(source, source_name)
            if there is not None and key_of(there) == key_of(old):
                return
            self._clear(parent, name, old)
        os.link(source_name, name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        if self._form.notes is not None:
            names = self._places.path_of(parent, name), self._places.path_of(source, source_name)
            self._form.notes.linked(*names)

    # --- metadata

    def _describe_name(self, entry: Entry, parent: Folder, name: bytes) -> None:
        """The metadata of what cannot be opened for writing: a link, a device, a pipe."""
        if self._form.owners:
            ids.chown(name, entry.uid, entry.gid, dir_fd=parent.fd, follow_symlinks=False)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            lost = bool(entry.xattrs) and put_xattrs(b"/proc/self/fd/%d/%s" % (parent.fd, name), entry)
            if entry.kind != "symlink":
                os.chmod(f"/proc/self/fd/{fd}", entry.mode)  # the very inode, whatever the name means by now
        finally:
            os.close(fd)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent.fd, follow_symlinks=False)
        self._note(entry, parent, name, lost)

    def _finish(self, state: FolderState) -> None:
        fd = self._places.reopen(state)
        if fd is None:
            return
        try:
            if key_of(os.fstat(fd)) == state.key:
                self._finish_folder(fd, state)
                if state.marks & rules.IMPLIED:
                    self.implied.append(state.path)
        finally:
            os.close(fd)

    def _finish_folder(self, fd: int, state: FolderState) -> None:
        entry, mode, times = state.entry, state.mode, state.times
        if self._literal and entry is None and state.existed:
            if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
                os.fchmod(fd, mode)
            return
        if entry is not None:
            mode, times = entry.mode, (entry.mtime_ns, entry.mtime_ns)
            if self._form.owners:
                ids.chown(fd, entry.uid, entry.gid)
            if state.existed:
                drop_xattrs(fd, entry)
            self._tell(entry, state.path, put_xattrs(fd, entry))
        if state.marks & rules.OPAQUE:
            os.setxattr(fd, self._form.opaque_xattr, b"y")
        if state.marks & rules.ORIGIN:
            os.setxattr(fd, self._form.origin_xattr, b"")
        os.fchmod(fd, mode)
        os.utime(fd, ns=times)

    def _note(self, entry: Entry, parent: Folder, name: bytes, lost: bool) -> None:
        if self._form.owners and self._form.notes is None:
            self.unkept += lost
        else:
            self._tell(entry, self._places.path_of(parent, name), lost)

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

    def _hide(self, _entry: Entry, parent: Folder, name: bytes) -> None:
        self._state(parent).hidden.add(name)

    def _whiteout(self, entry: Entry, parent: Folder, name: bytes) -> None:
        self._hide(entry, parent, name)
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
        self._state(parent).marks |= rules.ORIGIN

    def _cover(self, entry: Entry, parent: Folder, name: bytes) -> None:
        self._hide(entry, parent, name)
        state = self._state(self._places.child(parent, name))
        state.marks = rules.covering(state.marks)

    def _mark_opaque(self, _entry: Entry, folder: Folder, _name: bytes) -> None:
        self._state(folder).marks |= rules.OPAQUE

    def _remove(self, _entry: Entry, parent: Folder, name: bytes) -> None:
        self._make_way(parent, name)

    def _renew(self, _entry: Entry, parent: Folder, name: bytes) -> None:
        state = self._state(self._places.child(parent, name))
        state.entry = state.entry or Entry(state.path, "dir", 0o755)

    def _reset(self, entry: Entry, parent: Folder, name: bytes) -> None:
        self._renew(entry, parent, name)
        self._prune(entry, self._places.child(parent, name), b"")

    def _prune(self, entry: Entry, folder: Folder, _name: bytes) -> None:
        for verb, above, _missing, name in self._leftovers(folder):
            self._verbs[verb](entry, above, name)
