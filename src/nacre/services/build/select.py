"""What a COPY takes: its source words and the tree they are looked up in give a list of files. No writing.

    source = path / pattern          from the root of the tree, "..": never above it; cleaned
    --parents: [ pattern "/./" ] path the folders of `path` are kept

A source that is a link is followed, links inside a folder are copied as links. A pattern may fit
nothing, a path may not. Source: Dockerfile reference, "COPY"; BuildKit's fsutil.
"""

from __future__ import annotations

import posixpath

from ...grammars.dockerfile.glob import has_wildcard, matcher
from ...grammars.dockerfile.ignore import Ignore
from ...words.errors import UsageError
from ...words.value import Value
from .items import raw, resolve, show, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .items import CopyItem, CopySource


class Selection(Value):
    """One source: `name` the last part of how it was written, `files` by path relative to it.

    The first file is the source itself, with the relative path b"". `kept` says that paths are kept
    (--parents): then `files` has no such first one.
    """

    name: bytes
    files: tuple[tuple[bytes, CopyItem], ...]
    kept: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether the content of a folder is meant."""
        return self.kept or self.files[0][1].kind == "dir"

    @property
    def newest(self) -> int:
        """The newest time of what is copied, 0 for an empty folder: a folder gives its content only."""
        skip = self.is_folder and not self.kept
        return max((item.mtime_ns for _, item in self.files[skip:]), default=0)


def select(
    source: CopySource, word: str, excludes: Sequence[str] = (), parents: bool = False
) -> list[Selection]:
    """The files that one source word means; [] when nothing is there. Raises UsageError, StoreError."""
    exclude = Ignore(excludes)
    if parents:
        return _with_parents(source, word, exclude)
    path = posixpath.normpath("/" + word).lstrip("/")
    found = _matches(source, path)
    return [Selection(raw(name), tuple(_files(source, item, exclude))) for name, item in found]


def _matches(source: CopySource, path: str) -> list[tuple[str, CopyItem]]:
    """Items that a cleaned path means, with the name by which each is known."""
    if not has_wildcard(path):
        found = resolve(source.lookup, raw(path))[1]
        return [(path.rpartition("/")[2], found)] if found is not None else []
    parts = path.split("/")
    fixed = next(i for i, part in enumerate(parts) if has_wildcard(part))
    top = resolve(source.lookup, raw("/".join(parts[:fixed])))[1]
    if top is None or top.kind != "dir":
        return []
    return [(name, _followed(source, item)) for name, item in _glob(source, top, parts[fixed:])]


def _followed(source: CopySource, item: CopyItem) -> CopyItem:
    found = resolve(source.lookup, item.path)[1]
    if found is None:
        raise UsageError(f"{show(item.path)} is a broken link in {source.name}")
    return found


def _glob(source: CopySource, folder: CopyItem, parts: list[str]) -> Iterator[tuple[str, CopyItem]]:
    """As Go's filepath.Match on the whole relative path: no part of a pattern crosses a slash."""
    matches = matcher(parts[0])
    for child in source.children(folder):
        name = text(child.path.rpartition(b"/")[2])
        if not matches(name):
            continue
        if len(parts) == 1:
            yield name, child
        elif child.kind == "dir":
            yield from _glob(source, child, parts[1:])


Files = list[tuple[bytes, "CopyItem"]]


def _files(source: CopySource, top: CopyItem, exclude: Ignore) -> Files:
    """An item and what is below it, with paths relative to it, folders first."""
    files: Files = [(b"", top)]
    if top.kind == "dir":
        add = _Adder(source, exclude, files)
        add.below(top, b"", None) if exclude else add.all_below(top, len(top.path) + bool(top.path))
    return files


class _Adder:
    """Adds the content of folders to a list; an excluded folder only if something in it is kept."""

    def __init__(self, source: CopySource, exclude: Ignore, files: Files) -> None:
        self._children, self._exclude, self._files = source.children, exclude, files

    def all_below(self, folder: CopyItem, cut: int) -> None:
        """Without exclusions; `cut` is where relative paths begin."""
        append = self._files.append
        for child in self._children(folder):
            append((child.path[cut:], child))
            if child.kind == "dir":
                self.all_below(child, cut)

    def below(self, folder: CopyItem, relative: bytes, state: tuple[bool, ...] | None) -> None:
        """With them; `state` is what they think of the folder."""
        for child in self._children(folder):
            name = child.path.rpartition(b"/")[2]
            path = relative + b"/" + name if relative else name
            excluded, inner = self._exclude.child(text(path), state)
            before = len(self._files)
            self._files.append((path, child))
            if child.kind == "dir" and (not excluded or self._exclude.may_keep_below(text(path))):
                self.below(child, path, inner)
            if excluded and len(self._files) == before + 1:
                self._files.pop()


def _with_parents(source: CopySource, word: str, exclude: Ignore) -> list[Selection]:
    """--parents: everything below the pivot that the pattern (with `**`) matches, with its folders.

    What stands before the pivot may have wildcards as well: then each folder that it matches is one.
    """
    before, pivot, pattern = word.partition("/./")
    if not pivot:
        before, pattern = "/", word
    wanted = Ignore([posixpath.normpath("/" + pattern).lstrip("/") or "**"])
    tops = (item for _, item in _matches(source, posixpath.normpath("/" + before).lstrip("/")))
    found = [_below(source, top, wanted, exclude) for top in tops if top.kind == "dir"]
    return [Selection(b"", tuple(files.items()), kept=True) for files in found if files]


def _below(source: CopySource, top: CopyItem, wanted: Ignore, exclude: Ignore) -> dict[bytes, CopyItem]:
    files: dict[bytes, CopyItem] = {}
    for path, item in _files(source, top, exclude):
        if path and wanted.ignores(text(path)):
            _add_parents(files, source, top, path)
            files[path] = item
    return files


def _add_parents(files: dict[bytes, CopyItem], source: CopySource, top: CopyItem, path: bytes) -> None:
    parts = path.split(b"/")
    for count in range(1, len(parts)):
        parent = b"/".join(parts[:count])
        if parent not in files:
            found = source.lookup(top.path + b"/" + parent if top.path else parent)
            if found is not None:
                files[parent] = found
