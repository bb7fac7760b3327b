"""The file system of an image, or of a stage that was built, as a `Source`."""

from __future__ import annotations

from .filehash import content_digest
from .items import CopyItem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ...stores.trees.reading.view import Found, Place
    from ...words.digest import Digest


_DEEP = 100
"""Folders above a path, beyond which it is looked for from the root."""


class Layers:
    """A stack of layers, read without mounting. `with` it, or `close` it."""

    def __init__(self, store: Store, diff_ids: Sequence[Digest], name: str) -> None:
        """Raises NotFound when a tree is missing."""
        self.name = name
        self._view = store.trees.open(diff_ids)
        self._seen: dict[bytes, tuple[CopyItem, Found] | None] = {}
        self._folders: dict[bytes, Place | None] = {}

    def lookup(self, path: bytes) -> CopyItem | None:
        """The item at `path`, None if there is none, as `Source` says."""
        seen = self._look(path)
        if seen is None:
            return None if path else CopyItem(b"", "dir", 0o755, 0)  # no layer says what the root is
        return seen[0]

    def _look(self, path: bytes) -> tuple[CopyItem, Found] | None:
        if path not in self._seen:
            found = self._found(path)
            self._seen[path] = (_item(found), found) if found is not None else None
        return self._seen[path]

    def _found(self, path: bytes) -> Found | None:
        """What is at a path, the last link not followed: looked for in its folder, which is kept."""
        above, _, name = path.rpartition(b"/")
        folder = self._folder(above) if _is_name(name) and path.count(b"/") < _DEEP else None
        if folder is None:
            return self._view.lookup(path, follow=False)
        place = self._view.step(folder, name)
        return self._view.found(place) if place else None

    def _folder(self, path: bytes) -> Place | None:
        """A folder to which no link leads; None for anything else, or nothing."""
        if path not in self._folders:
            place = self._step(path) if path else self._view.top()
            is_folder = place and place[1] and place[1][0][1].kind == "dir"
            self._folders[path] = place if is_folder else None
        return self._folders[path]

    def _step(self, path: bytes) -> Place | None:
        above, _, name = path.rpartition(b"/")
        folder = self._folder(above) if _is_name(name) else None
        return self._view.step(folder, name) if folder else None

    def children(self, item: CopyItem) -> list[CopyItem]:
        """The items of a directory, as `Source` says."""
        base = item.path + b"/" if item.path else b""
        found = (self.lookup(base + name) for name in self._view.names(item.path))
        return [child for child in found if child is not None]

    def open(self, item: CopyItem) -> Reader:
        """Open the content of a file, as `Source` says."""
        seen = self._look(item.path)
        if seen is None:
            raise LookupError(item.path)
        return seen[1].open()

    def digest(self, item: CopyItem) -> bytes:
        """The digest of a file's content, as `Source` says."""
        return content_digest(self.open(item))

    def read(self, path: bytes, limit: int) -> bytes:
        """The first `limit` bytes of a file, links followed inside the image; b"" for anything else."""
        found = self._found(path)
        if found is not None and found.kind == "symlink":
            found = self._view.lookup(path)
        if found is None or found.kind != "file":
            return b""
        with found.open() as file:
            return file.read(limit)

    def close(self) -> None:
        """Close the descriptors held. Idempotent."""
        self._view.close()

    def __enter__(self) -> Layers:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _is_name(part: bytes) -> bool:
    return part not in (b"", b".", b"..")


def _item(found: Found) -> CopyItem:
    return CopyItem(
        found.path, found.kind, found.mode, found.mtime_ns, uid=found.uid, gid=found.gid, size=found.size,
        link=found.link, major=found.major, minor=found.minor, xattrs=found.xattrs,
        identity=(int(found.layer.hex[:16], 16), found.inode) if found.inode else None,
    )  # fmt: skip
