"""What COPY copies from: a folder of the host or the file system of an image, seen through one protocol."""

from __future__ import annotations

from ...words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ...grammars.tar.entry import Reader

MAX_LINKS = 40


class CopyItem:
    """A file of a source. Fields as in a tar entry; `path` is canonical, b"" the root of the source.

    `identity` is the same for all names of one inode with several, None otherwise; `stamp` changes
    whenever the content of a file on the host may have.
    """

    __slots__ = (
        "gid", "identity", "kind", "link", "major", "minor", "mode", "mtime_ns", "path", "size", "stamp",
        "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self, path: bytes, kind: str, mode: int, mtime_ns: int, *, uid: int = 0, gid: int = 0, size: int = 0,
        link: bytes = b"", major: int = 0, minor: int = 0, identity: tuple[int, ...] | None = None,
        stamp: tuple[int, ...] = (), xattrs: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:  # fmt: skip
        self.path, self.kind, self.mode, self.mtime_ns = path, kind, mode, mtime_ns
        self.uid, self.gid, self.size, self.link = uid, gid, size, link
        self.major, self.minor, self.identity, self.stamp, self.xattrs = major, minor, identity, stamp, xattrs


class FetchedItem(CopyItem):
    """An item that was fetched for one step, and opens by itself."""

    __slots__ = ()

    def open(self) -> Reader:
        """The content of a file."""
        raise NotImplementedError

    def digest(self) -> bytes:
        """The SHA-256 of the content."""
        raise NotImplementedError


def beside(source: CopySource) -> CopySource:
    """A source that has what was fetched as well."""
    return _Beside(source)


class _Beside:
    def __init__(self, source: CopySource) -> None:
        self.name, self._source = source.name, source
        self.lookup, self.children = source.lookup, source.children

    def open(self, item: CopyItem) -> Reader:
        return item.open() if isinstance(item, FetchedItem) else self._source.open(item)

    def digest(self, item: CopyItem) -> bytes:
        return item.digest() if isinstance(item, FetchedItem) else self._source.digest(item)


if TYPE_CHECKING:

    class CopySource(Protocol):
        """A tree to copy from. Paths are canonical: no links on the way, no leading slash."""

        name: str  # for messages: `the build context`, `stage build`, `image debian:12`

        def lookup(self, path: bytes) -> CopyItem | None:
            """What is at `path`, itself a link perhaps; None for nothing, also for what is ignored."""

        def children(self, item: CopyItem) -> list[CopyItem]:
            """What is in a folder, sorted by name, without what is ignored."""

        def open(self, item: CopyItem) -> Reader:
            """The content of a file, exactly `item.size` bytes; closed when read to its end or dropped.

            Raises Conflict when the file changed since it was looked up.
            """

        def digest(self, item: CopyItem) -> bytes:
            """The SHA-256 of a file's content."""


def resolve(
    lookup: Callable[[bytes], CopyItem | None], path: bytes, *, last: bool = True
) -> tuple[bytes, CopyItem | None]:
    """Follow links inside a tree: the canonical path and what is there (None: nothing yet).

    `..` stops at the root and absolute links begin there. `last` False leaves a final link alone.
    Raises UsageError for a loop of links or a way through something that is no folder.
    """
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    at, found, links = b"", lookup(b""), 0
    while todo:
        part = todo.pop()
        if part == b"..":
            at = at.rpartition(b"/")[0]
            found = lookup(at)
            continue
        step = at + b"/" + part if at else part
        found = lookup(step)
        if found is not None and found.kind == "symlink" and (todo or last):
            links += 1
            if links > MAX_LINKS:
                raise UsageError(f"too many levels of symbolic links in {show(path)}")
            at = b"" if found.link.startswith(b"/") else at
            todo += [name for name in reversed(found.link.split(b"/")) if name not in (b"", b".")]
            found = lookup(at)
            continue
        if found is not None and todo and found.kind != "dir":
            raise UsageError(f"{show(step)} is not a directory")
        at = step
    return at, found


def show(path: bytes) -> str:
    """A path for a message, absolute."""
    return "/" + path[:300].decode("utf-8", "backslashreplace").lstrip("/")


def text(path: bytes) -> str:
    """A path for patterns: names that are not UTF-8 survive the way back."""
    return path.decode("utf-8", "surrogateescape")


def raw(path: str) -> bytes:
    """The opposite of `text`."""
    return path.encode("utf-8", "surrogateescape")
