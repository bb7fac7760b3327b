"""Several layers as one, which does to those beneath it what they do together.

For each path that one of them has anything at, what is seen of all layers is compared with what is beneath:

    nothing any more    a whiteout, if it was there
    a folder            itself, and opaque if one of them hides what is beneath
    anything else       itself
"""

from __future__ import annotations

from io import BytesIO

from ...grammars.layer.overlay import WHITEOUT
from ...grammars.layer.whiteouts import OPAQUE, whiteout_of
from ...grammars.tar.entry import Entry
from ...grammars.tar.write import TarWriter
from ...ground.work.pipe import Pipe, PipeBuffer
from ...ground.work.threads import Worker, running
from .export import FoundContent
from .ingest import EMPTY_DIFF_ID, add_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ...stores.trees.reading.view import Found, TreeView
    from ...words.digest import Digest
    from ...words.oci import Descriptor


def squash(
    store: Store, beneath: Sequence[Digest], above: Sequence[Digest]
) -> tuple[Descriptor, Digest] | None:  # fmt: skip
    """The layer that `above` come to over `beneath`, both lowest first; None if they change nothing.

    The same layers give the same bytes. Raises NotFound, StoreError.
    """
    pipe = Pipe()
    stage = Worker(lambda: _write(store, beneath, above, pipe), feeds=pipe)
    with running([stage], [pipe]):
        descriptor, diff_id = add_layer(store, pipe)
        pipe.satisfy()
    return None if diff_id == EMPTY_DIFF_ID else (descriptor, diff_id)


def _write(store: Store, beneath: Sequence[Digest], above: Sequence[Digest], pipe: Pipe) -> None:
    buffer = PipeBuffer(pipe)
    tar = TarWriter(buffer.write)
    with store.trees.open([*beneath, *above]) as whole, store.trees.open(beneath) as lower:
        for entry, payload in _SquashedLayers(whole, lower, _touched(store, above)).entries():
            tar.add(entry, payload)
    tar.close()
    buffer.flush()


def _touched(store: Store, layers: Sequence[Digest]) -> dict[bytes, bool]:
    """All paths that the layers have anything at, and whether one of them hides there what is beneath."""
    found: dict[bytes, bool] = {}
    for layer in layers:
        with store.trees.open([layer]) as view:
            for path, node in view.own():
                hides = node.opaque or node.kind == WHITEOUT or node.kind != "dir"
                found[path] = found.get(path, False) or hides
    found.pop(b"", None)
    return found


class _SquashedLayers:
    def __init__(self, whole: TreeView, lower: TreeView, touched: dict[bytes, bool]) -> None:
        self._whole, self._lower, self._touched = whole, lower, touched
        self._new: set[bytes] = set()
        self._names: dict[tuple[str, int], bytes] = {}

    def entries(self) -> Iterator[tuple[Entry, Reader | None]]:
        """A folder before what is in it, names sorted."""
        for path in sorted(self._touched, key=lambda path: path.split(b"/")):
            found = _at(self._whole, path)
            if found is None:
                yield from self._gone(path)
            elif found.kind == "dir":
                yield from self._folder(found, hides=self._touched[path])
            else:
                yield self._file(found)

    def _gone(self, path: bytes) -> Iterator[tuple[Entry, Reader | None]]:
        above = path.rpartition(b"/")[0]
        folder = _at(self._whole, above)
        is_folder = not above if folder is None else folder.kind == "dir"
        if is_folder and self._was_there(path):
            yield Entry(whiteout_of(path), "file", 0), BytesIO()

    def _folder(self, found: Found, *, hides: bool) -> Iterator[tuple[Entry, Reader | None]]:
        yield _entry(found), None
        before = _at(self._lower, found.path)
        if not self._was_there(found.path) or before is None or before.kind != "dir":
            self._new.add(found.path)
        elif hides:
            self._new.add(found.path)
            yield Entry(found.path + b"/" + OPAQUE, "file", 0), BytesIO()

    def _was_there(self, path: bytes) -> bool:
        """Whether lower layers show anything there, up to what was said so far."""
        if path.rpartition(b"/")[0] in self._new:
            return False
        return _at(self._lower, path) is not None

    def _file(self, found: Found) -> tuple[Entry, Reader | None]:
        entry = _entry(found)
        if found.inode:
            first = self._names.setdefault((found.layer, found.inode), found.path)
            if first != found.path:
                return entry._replace(kind="hardlink", size=0, link=first, xattrs=()), None
        return entry, FoundContent(found) if found.kind == "file" else None


def _at(view: TreeView, path: bytes) -> Found | None:
    """What is at this very path: no link leads there."""
    found = view.lookup(path, follow=False)
    return found if found is not None and found.path == path else None


def _entry(found: Found) -> Entry:
    return Entry(
        found.path, found.kind, found.mode, found.uid, found.gid, found.mtime_ns, found.size, found.link,
        found.major, found.minor, found.xattrs,
    )  # fmt: skip
