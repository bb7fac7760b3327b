"""Files of a layer, absolute and all of one time, as one tar."""

from __future__ import annotations

from ....grammars.tar.entry import Entry
from ....grammars.tar.write import TarWriter
from .layout import TIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class LayerWriter:
    """Writes wheels into one tar; folders come before what is in them, once."""

    def __init__(self, write: Callable[[bytes], object], short: str) -> None:
        self._tar, self.short = TarWriter(write), short
        self._folders: set[str] = set()

    def folder(self, path: str, owner: int = 0) -> None:
        """A folder, absolute, and those above it."""
        if path in ("", "/") or path in self._folders:
            return
        self.folder(path.rpartition("/")[0])
        self._folders.add(path)
        self._tar.add(Entry(path[1:].encode(), "dir", 0o755, owner, owner, TIME * 10**9))

    def file(self, path: str, size: int, reader: Any, mode: int = 0o644) -> None:
        """A file, absolute, of this many bytes."""
        self.folder(path.rpartition("/")[0])
        self._tar.add(Entry(path[1:].encode(), "file", mode, mtime_ns=TIME * 10**9, size=size), reader)

    def link(self, path: str, target: str) -> None:
        """A symbolic link, its path absolute."""
        self.folder(path.rpartition("/")[0])
        self._tar.add(Entry(path[1:].encode(), "symlink", 0o777, mtime_ns=TIME * 10**9, link=target.encode()))

    def close(self) -> None:
        """The end of the tar."""
        self._tar.close()
