"""What stands where in the folder that a layer is extracted into, and what its folders are to become."""

from __future__ import annotations

import errno
import os
import stat

from ...grammars.layer.overlay import kind_of
from ..beneath import Folder, Folders, Key, look, make_searchable, names_in, open_child
from ..work.files import FileWorkers, NoWorkers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...grammars.tar.entry import Entry

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class FolderState:
    """What a folder is to be when all is done: as its entry says, else as it was.

    `path` has no links in it, so that it leads to the same folder at the end. `hidden` are names in it that
    were whiteouts, `marks` those of `layer.rules`.
    """

    __slots__ = ("entry", "existed", "hidden", "key", "marks", "mode", "path", "times")

    def __init__(self, path: bytes, key: Key, mode: int, times: tuple[int, int], existed: bool) -> None:
        self.path, self.key, self.mode, self.times, self.existed = path, key, mode, times, existed
        self.entry: Entry | None = None
        self.marks = 0
        self.hidden: set[bytes] = set()

    @property
    def depth(self) -> int:
        """How many folders are above it."""
        return self.path.count(b"/") + bool(self.path)


class ExtractedTree:
    """The folder as `rules.FullTree`. Every folder that is opened is remembered, to be finished."""

    def __init__(self, root_fd: int, *, alone: bool) -> None:
        """`alone`: there is nothing but the layer in it, so every link may be followed."""
        self._alone = alone
        self._folders = Folders(root_fd)
        self._known, self.root = self._folders.known, self._folders.root
        self.states: dict[Key, FolderState] = {}
        self.workers: NoWorkers | FileWorkers = NoWorkers()
        """They make files at any later time: whoever asks about a name waits for them first."""
        self._see(self.root, b"", os.fstat(root_fd))

    def open(self, path: bytes) -> Folder | None:
        """As in `rules.Tree`: one system call, whatever the depth. Raises OSError."""
        found = self._known.get(path)
        if found is not None or not path:
            return found or self.root
        try:
            fd, real = self._folders.open(path) if self._alone else (self._folders.straight(path), path)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        return self._keep(path, real, fd)

    def remember(self, path: bytes, folder: Folder) -> None:
        """See `layer.rules.Tree`, which this implements."""
        self._folders.also(path, folder)

    def forget(self) -> None:
        """Paths may mean something else now."""
        self._folders.forget()

    def stands(self, folder: Folder, name: bytes) -> str:
        """See `layer.rules.Tree`, which this implements."""
        there = self.look(folder, name)
        return "" if there is None else kind_of(there.st_mode, there.st_rdev) or "socket"

    def look(self, folder: Folder, name: bytes) -> os.stat_result | None:
        """What has the name, or is about to have it. Raises OSError."""
        if (folder.key, name) in self.workers.pending:
            self.workers.flush()
        return look(folder.fd, name)

    def wait_for(self, folder: Folder, name: bytes) -> None:
        """No other process is about to make that name."""
        if (folder.key, name) in self.workers.pending:
            self.workers.flush()

    def child(self, folder: Folder, name: bytes) -> Folder:
        """As in `rules.Tree`. Raises OSError."""
        real = self.path_of(folder, name)
        return self._folders.get(real) or self._keep(real, real, open_child(folder.fd, name))

    def target(self, folder: Folder, name: bytes) -> bytes:
        """As in `rules.Tree`. Raises OSError."""
        return os.readlink(name, dir_fd=folder.fd)

    def path(self, folder: Folder) -> bytes:
        """See `layer.rules.FullTree`, which this implements."""
        return self.states[folder.key].path

    def path_of(self, folder: Folder, name: bytes) -> bytes:
        """The path of a name in a folder, without links."""
        above = self.states[folder.key].path
        return above + b"/" + name if above else name

    def names(self, folder: Folder) -> Iterator[bytes]:
        """As in `rules.FullTree`. Raises OSError."""
        return map(os.fsencode, names_in(folder.fd))

    def make(self, parent: Folder, name: bytes, path: bytes) -> tuple[Folder, FolderState]:
        """A new folder, to which `path` leads as well. Raises OSError, FileExistsError."""
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        folder, _info = self._folders.keep(path, open_child(parent.fd, name))
        state = FolderState(self.path_of(parent, name), folder.key, 0, (0, 0), existed=False)
        self.states[folder.key] = state
        return folder, state

    def reopen(self, state: FolderState) -> int | None:
        """A readable descriptor of a folder; None when its path leads there no more."""
        try:
            return self._folders.resolve(state.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    def _keep(self, path: bytes, real: bytes, fd: int) -> Folder:
        """Take over a descriptor, and remember the folder as it is, for it may be written into."""
        folder, info = self._folders.keep(path, fd)
        self._see(folder, real, info)
        return folder

    def _see(self, folder: Folder, path: bytes, info: os.stat_result) -> None:
        if folder.key not in self.states:
            mode, times = stat.S_IMODE(info.st_mode), (info.st_atime_ns, info.st_mtime_ns)
            existed = bool(path) or not self._alone  # the root of one layer is new
            self.states[folder.key] = FolderState(path, folder.key, mode, times, existed)
            make_searchable(folder.fd, mode)
