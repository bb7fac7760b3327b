"""A context that is an archive: read where it lies, never unpacked.

    plain file       read in place; a change during the build is an error
    anything else    decompressed once into a file without a name

Its members are put into a tree in memory by the rules of ADD, so no name and no link of it leads out. Owners,
modes and times are those of the members, and no .dockerignore holds, as with BuildKit.
"""

from __future__ import annotations

import io
import os
import stat

from ...grammars.codecs.stream import PrefixedReader, sniff
from ...grammars.tar.read import read_tar
from ...ground.files import os_errors
from ...words.errors import Conflict, ContentError
from .context import ContextFiles
from .filehash import FileHashes
from .items import CopyItem
from .place import CopyOptions, LayerTarget
from .scratch import ScratchDirectory
from .unpack import Archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...stores.store import Store

HEAD = 1 << 10
"""How many bytes show what a stream is."""


class TarContext(ContextFiles):
    """The files of an archive. Closes it."""

    def __init__(self, archive: Archive, name: str = "the build context") -> None:
        """Raises InvalidArchive, UsageError; then the archive is closed."""
        super().__init__(name, FileHashes("", ""))
        self._archive: Archive | None = archive
        tree = LayerTarget(lambda _: None, CopyOptions(), any_name=True)
        try:
            archive.put(tree, b"")
        except BaseException:
            self.close()
            raise
        self._files = tree.files
        self._below: dict[bytes, list[CopyItem]] = {}
        for number, path in enumerate(sorted(self._files)):
            item = self._files[path][0]
            if item.kind == "file":
                item.stamp = (number, 0, 0, item.size)
            self._below.setdefault(path.rpartition(b"/")[0], []).append(item)

    def lookup(self, path: bytes) -> CopyItem | None:
        """What is at a path, as `Source` says."""
        if not path:
            return CopyItem(b"", "dir", 0o755, 0)
        found = self._files.get(path)
        return found[0] if found else None

    def children(self, item: CopyItem) -> list[CopyItem]:
        """What is in a folder, as `Source` says."""
        return self._below.get(item.path, [])

    def open(self, item: CopyItem) -> Reader:
        """The content of a file, as `Source` says."""
        found, opener = self._files[item.path]
        return opener(found) if opener else io.BytesIO()

    def close(self) -> None:
        """Let go of the archive."""
        archive, self._archive = self._archive, None
        if archive is not None:
            archive.close()


def is_archive(head: bytes) -> bool:
    """Whether the first bytes (HEAD are enough) are those of an archive, as docker tells it."""
    if sniff(head) or head[257:262] == b"ustar":
        return True
    try:
        return next(iter(read_tar(io.BytesIO(head))), None) is not None
    except ContentError:
        return False


def tar_context(store: Store, head: bytes, stream: Reader, name: str = "the build context") -> TarContext:
    """The files of the archive that `stream` goes on with after `head`.

    Raises InvalidArchive, UsageError, StoreError.
    """
    archive = None if sniff(head) else _in_place(stream, len(head), name)
    if archive is None:
        with ScratchDirectory(store) as scratch:
            archive = Archive.read(PrefixedReader(head, stream), scratch.path, name)
    return TarContext(archive, name)


def _in_place(stream: Reader, done: int, name: str) -> Archive | None:
    """A plain archive that is all of a file, of which `done` bytes were read."""
    if not isinstance(stream, io.BufferedReader | io.FileIO):
        return None
    try:
        fd = stream.fileno()
        if not stat.S_ISREG(os.fstat(fd).st_mode) or stream.tell() != done:
            return None
    except OSError:  # it has no descriptor, or no position
        return None
    with os_errors("read the build context"):
        return UnchangedArchive(os.dup(fd), name)


class UnchangedArchive(Archive):
    """An archive that is somebody else's file, and must not change."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, name)
        self._was = self._stamp()

    def _stamp(self) -> tuple[int, ...]:
        found = os.fstat(self._fd)
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def check(self) -> None:
        """Raise Conflict if it has changed."""
        if self._stamp() != self._was:
            raise Conflict(
                f"{self._name} changed while it was being read",
                hint="build again when no process writes there",
            )
