"""Laying out the files of an image as one real folder, for a program that can have no mount.

What regular files hold shares blocks with the store where the file system can, else it is copied; nothing
that a program could write through is shared. Names that are hard links to each other stay so.
"""

from __future__ import annotations

import io
import os
import stat

from ....ground import ids
from ....ground.beneath import Folder, Folders
from ....ground.clone import clone
from ....ground.files import write_all
from ..forms.owners import RecordedOwner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ....words.digest import Digest
    from ..model import Mode
    from ..reading.view import Found, TreeView

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}
_CHUNK = 1 << 20


class Laying:
    """One image into the empty folder `root_fd`.

    `owners` are those that could not be made here; `modes` those of files and folders that had to be opened
    wider, because their owner is not root and could not read them otherwise.
    """

    def __init__(self, root_fd: int, mode: Mode) -> None:
        self._mode = mode
        self._loose = os.geteuid() != 0
        self._folders = Folders(root_fd)
        self._dirs: list[Found] = []
        self._links: dict[tuple[Digest, int], bytes] = {}
        self.owners: dict[bytes, RecordedOwner] = {}
        self.modes: dict[bytes, int] = {}

    def lay(self, view: TreeView) -> None:
        """Make everything that is seen. Raises OSError, StoreError; the folder is then incomplete."""
        try:
            for found in view.walk():
                self._make(found)
            for found in reversed(self._dirs):
                self._dress_folder(found)
        finally:
            self._folders.forget()

    def _make(self, found: Found) -> None:
        if not found.path:
            self._dirs.append(found)
            return
        above, _, name = found.path.rpartition(b"/")
        parent = self._folder(above)
        if found.inode and self._linked(found, parent, name):
            return
        if found.kind == "dir":
            os.mkdir(name, 0o700, dir_fd=parent.fd)
            self._dirs.append(found)
        elif found.kind == "file":
            self._file(found, parent, name)
        elif found.kind == "symlink":
            os.symlink(found.link, name, dir_fd=parent.fd)
            self._dress_name(found, parent, name)
        elif found.kind != "fifo" and not self._mode.devices:
            self._pretend(found, parent, name)
        else:
            device = os.makedev(found.major, found.minor)
            os.mknod(name, _NODES[found.kind] | 0o600, device, dir_fd=parent.fd)
            self._dress_name(found, parent, name)

    def _folder(self, path: bytes) -> Folder:
        """The parent of what is made: a folder of our own, as no other kind has anything in it."""
        found = self._folders.get(path)
        return found or self._folders.keep(path, self._folders.resolve(path))[0]

    def _linked(self, found: Found, parent: Folder, name: bytes) -> bool:
        """Make a further name of a file that is there; False for its first name."""
        key = found.layer, found.inode
        first = self._links.setdefault(key, found.path)
        if first == found.path:
            return False
        above, _, old = first.rpartition(b"/")
        source = self._folder(above)
        os.link(old, name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        for kept in (self.owners, self.modes):
            if first in kept:
                kept[found.path] = kept[first]  # type: ignore[assignment]
        return True

    def _file(self, found: Found, parent: Folder, name: bytes) -> None:
        fd = os.open(name, _NEW, 0o600, dir_fd=parent.fd)
        try:
            if found.size:
                with found.open() as content:
                    _fill(fd, content, found.size)
            self._dress(fd, found)
        finally:
            os.close(fd)

    def _pretend(self, found: Found, parent: Folder, name: bytes) -> None:
        """A device that this user cannot make is an empty file, and remembered."""
        os.close(os.open(name, _NEW, 0o600, dir_fd=parent.fd))
        times = (found.mtime_ns, found.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent.fd, follow_symlinks=False)
        self.owners[found.path] = RecordedOwner(found.uid, found.gid, found.kind, found.major, found.minor)

    def _dress_folder(self, found: Found) -> None:
        fd = self._folders.resolve(found.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._dress(fd, found)
        finally:
            os.close(fd)

    def _dress(self, fd: int, found: Found) -> None:
        """Owner, attributes, mode, times: chown(2) clears set-id bits and security.capability."""
        if not self._mode.single:
            ids.chown(fd, found.uid, found.gid)
        self._attributes(fd, found)
        os.fchmod(fd, self._shown(found))
        os.utime(fd, ns=(found.mtime_ns, found.mtime_ns))

    def _shown(self, found: Found) -> int:
        """The mode on disk, remembered where it is not the real one."""
        if not self._loose:
            return found.mode
        wider = found.mode | (0o700 if found.kind == "dir" else 0o600)
        if wider != found.mode:
            self.modes[found.path] = found.mode
        return wider

    def _dress_name(self, found: Found, parent: Folder, name: bytes) -> None:
        """The looks of what is not opened."""
        if not self._mode.single:
            ids.chown(name, found.uid, found.gid, dir_fd=parent.fd, follow_symlinks=False)
        self._attributes(b"/proc/self/fd/%d/%s" % (parent.fd, name), found)
        if found.kind != "symlink":
            os.chmod(name, found.mode, dir_fd=parent.fd)
        times = (found.mtime_ns, found.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent.fd, follow_symlinks=False)

    def _attributes(self, target: int | bytes, found: Found) -> None:
        """Extended attributes; remembers those, and the owner, that could not be kept."""
        lost = []
        for pair in found.xattrs:
            try:
                os.setxattr(target, *pair, follow_symlinks=isinstance(target, int))
            except OSError:
                lost.append(pair)
        if lost or (self._mode.single and (found.uid or found.gid)):
            self.owners[found.path] = RecordedOwner(found.uid, found.gid, xattrs=tuple(lost))


def _fill(fd: int, content: BinaryIO, size: int) -> None:
    """By the kernel where the bytes lie in one piece of a file, else through memory."""
    raw = getattr(content, "raw", content)
    if isinstance(raw, io.FileIO):
        clone(raw.fileno(), fd, 0, size)
    elif hasattr(raw, "extent"):
        source, start = raw.extent()
        clone(source, fd, start, size)
    else:
        while data := content.read(_CHUNK):
            write_all(fd, data)
