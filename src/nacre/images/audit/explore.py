"""Where the bytes of an image are, and which of them nobody can see.

Pure: `survey` takes what each layer has and gives what became of it. A byte is wasted when the file that
it belongs to is overwritten or deleted by a later layer: it is stored and sent, and never read. Files with
several names in a layer count once, under the first name, and are seen for as long as one name is.
"""

from __future__ import annotations

from contextlib import ExitStack

from ...grammars.layer import rules
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ...stores.trees.reading.view import TreeView
    from ...words.digest import Digest
    from ..model.image import Image


COPIED = "copied"
_CHUNK = 1 << 20


class LayerPath(Value):
    """One path of one layer; `kind` file, dir, whiteout or another. `content` joins hard links (0: none)."""

    path: bytes
    kind: str
    size: int = 0
    opaque: bool = False
    content: int = 0


class Waste(Value):
    """A file that a later layer hides: bytes, the layers (from 0), and `how`: overwritten, copied or deleted.

    Copied: the later layer has the same bytes once more, with another owner, mode or time.
    """

    path: bytes
    size: int
    layer: int
    hidden_by: int
    how: str


class LayerUse(Value):
    """One layer: bytes of content, number of files, bytes that later layers hide, who else has it."""

    diff_id: Digest
    created_by: str
    size: int
    files: int
    wasted: int
    shared_with: tuple[str, ...] = ()


class Exploration(Value):
    """Where an image's bytes are. `size` = `seen` + `wasted`, all in bytes of content.

    `folders` are (path, bytes seen in it and below), every folder that has any; `waste` the largest first;
    `shares` (name or id of another image, bytes of layers both have), the most first. `lost` as `folders`,
    of what is wasted.
    """

    size: int
    seen: int
    wasted: int
    layers: tuple[LayerUse, ...]
    folders: tuple[tuple[bytes, int], ...]
    waste: tuple[Waste, ...]
    shares: tuple[tuple[str, int], ...] = ()
    lost: tuple[tuple[bytes, int], ...] = ()

    @property
    def copied(self) -> int:
        """Bytes wasted because a later layer has them again with another owner, mode or time."""
        return sum(gone.size for gone in self.waste if gone.how == COPIED)

    def largest(self, depth: int = 2, count: int = 20) -> list[tuple[bytes, int]]:
        """The folders at most `depth` deep in which the most is seen."""
        return [(path, seen) for path, seen, _ in self.heaviest(depth, len(self.folders)) if seen][:count]

    def heaviest(self, depth: int = 2, count: int = 20) -> list[tuple[bytes, int, int]]:
        """The folders at most `depth` deep that weigh the most: path, bytes seen, bytes wasted."""
        seen, lost = dict(self.folders), dict(self.lost)
        near = [path for path in seen.keys() | lost.keys() if path and path.count(b"/") < depth]
        rows = [(path, seen.get(path, 0), lost.get(path, 0)) for path in near]
        return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))[:count]


class _Kept:
    """A file that is seen so far: its content counts as long as `names` are left."""

    __slots__ = ("layer", "names", "path", "size")

    def __init__(self, path: bytes, size: int, layer: int) -> None:
        self.path, self.size, self.layer, self.names = path, size, layer, 0


class _Folder:
    """A folder of the merged tree: files by name, folders by name."""

    __slots__ = ("files", "folders")

    def __init__(self) -> None:
        self.files: dict[bytes, _Kept] = {}
        self.folders: dict[bytes, _Folder] = {}


class Survey:
    """The layers merged one by one, lowest first."""

    def __init__(self) -> None:
        self._root = _Folder()
        self.waste: list[Waste] = []
        self.alike: set[int] = set()
        """Which of `waste` were replaced by a file of the same size."""
        self.sizes: list[int] = []
        self.files: list[int] = []

    def add(self, items: Iterable[LayerPath]) -> None:
        """Add the next layer, from the base up."""
        layer, groups = len(self.sizes), dict[int, _Kept]()
        self.sizes.append(0)
        self.files.append(0)
        for verb, item in rules.over_lower(items):
            if verb == rules.REMOVE:
                above, _, name = item.path.rpartition(b"/")
                self._drop(self._find(above), name, layer, "deleted")
            elif verb == rules.PRUNE:
                self._empty(item.path, layer)
            elif verb == rules.MERGE:
                self._make_folder(item.path, layer)
            else:
                self._put(item, layer, groups)

    def _empty(self, path: bytes, layer: int) -> None:
        folder = self._find(path)
        for name in [*folder.files, *folder.folders] if folder else ():
            self._drop(folder, name, layer, "deleted")

    def _find(self, path: bytes) -> _Folder | None:
        folder: _Folder | None = self._root
        for name in path.split(b"/") if path else ():
            folder = folder.folders.get(name) if folder else None
        return folder

    def _make_folder(self, path: bytes, layer: int) -> _Folder:
        folder = self._root
        for name in path.split(b"/") if path else ():
            if name in folder.files:
                self._drop(folder, name, layer, "overwritten")
            folder = folder.folders.setdefault(name, _Folder())
        return folder

    def _put(self, item: LayerPath, layer: int, groups: dict[int, _Kept]) -> None:
        above, _, name = item.path.rpartition(b"/")
        folder = self._make_folder(above, layer)
        before = folder.files.get(name)
        self._drop(folder, name, layer, "overwritten")
        if before and not before.names and before.size == item.size > 0 and before.path == item.path:
            self.alike.add(len(self.waste) - 1)
        kept = groups.get(item.content) if item.content else None
        if kept is None or not kept.names:
            kept = _Kept(item.path, item.size, layer)
            self.sizes[layer] += item.size
            if item.content:
                groups[item.content] = kept
        self.files[layer] += 1
        kept.names += 1
        folder.files[name] = kept

    def _drop(self, folder: _Folder | None, name: bytes, layer: int, how: str) -> None:
        """Forget a name and all below it."""
        waiting = [(folder, name)] if folder else []
        while waiting:
            folder, name = waiting.pop()
            kept, inner = folder.files.pop(name, None), folder.folders.pop(name, None)
            if kept is not None:
                self._lose(kept, layer, how)
            waiting += [(inner, child) for child in (*inner.files, *inner.folders)] if inner else []

    def _lose(self, kept: _Kept, layer: int, how: str) -> None:
        kept.names -= 1
        if not kept.names and kept.size:
            self.waste.append(Waste(kept.path, kept.size, kept.layer, layer, how))

    def folders(self) -> list[tuple[bytes, int]]:
        """Bytes seen in every folder and below, sorted by path; those with none left out."""
        totals: dict[bytes, int] = {}
        counted: set[int] = set()
        waiting = [(b"", self._root)]
        while waiting:
            path, folder = waiting.pop()
            for kept in folder.files.values():
                if id(kept) not in counted:
                    counted.add(id(kept))
                    _count(totals, path, kept.size)
            waiting += [(path + b"/" + name if path else name, f) for name, f in folder.folders.items()]
        return sorted((path, size) for path, size in totals.items() if size)


def _count(totals: dict[bytes, int], path: bytes, size: int) -> None:
    """Add to a folder and all above it."""
    while size:
        totals[path] = totals.get(path, 0) + size
        if not path:
            return
        path = path.rpartition(b"/")[0]


def survey(
    layers: Iterable[Iterable[LayerPath]], diff_ids: Sequence[Digest], created_by: Sequence[str],
    is_copy: Callable[[Waste], bool] | None = None,
) -> Exploration:  # fmt: skip
    """What became of the layers' bytes; layers, ids and texts lowest first.

    `is_copy` is asked of a file that was overwritten by one of the same size: are the bytes the same?
    """
    work = Survey()
    for items in layers:
        work.add(items)
    if is_copy:
        for index in work.alike:
            if is_copy(work.waste[index]):
                work.waste[index] = work.waste[index].replace(how=COPIED)
    lost = [0] * len(work.sizes)
    for gone in work.waste:
        lost[gone.layer] += gone.size
    uses = zip(diff_ids, created_by, work.sizes, work.files, lost, strict=True)
    size, wasted = sum(work.sizes), sum(lost)
    waste = tuple(sorted(work.waste, key=lambda item: (-item.size, item.path, item.layer)))
    rows = tuple(LayerUse(*use) for use in uses)
    folders, gone_from = tuple(work.folders()), _totals(waste)
    return Exploration(size, size - wasted, wasted, rows, folders, waste, lost=gone_from)


def _totals(waste: Iterable[Waste]) -> tuple[tuple[bytes, int], ...]:
    totals: dict[bytes, int] = {}
    for gone in waste:
        _count(totals, gone.path.rpartition(b"/")[0], gone.size)
    return tuple(sorted(totals.items()))


def explore(image: Image) -> Exploration:
    """Read the layers of an image and survey them. Raises NotFound when one is missing, StoreError."""

    def is_copy(gone: Waste) -> bool:
        return _same_bytes(views[gone.layer], views[gone.hidden_by], gone.path)

    with ExitStack() as stack:
        views = [stack.enter_context(image.store.trees.open((diff_id,))) for diff_id in image.diff_ids]
        created_by = [layer.created_by for layer in image.layers]
        found = survey(map(_items, views), image.diff_ids, created_by, is_copy)
    having, shares = _sharing(image, found)
    layers = tuple(use.replace(shared_with=tuple(having.get(use.diff_id, ()))) for use in found.layers)
    return found.replace(layers=layers, shares=shares)


def _items(view: TreeView) -> Iterator[LayerPath]:
    for path, node in view.own():
        size = node.size if node.kind == "file" else 0
        yield LayerPath(path, node.kind, size, node.opaque, node.content)


def _same_bytes(first: TreeView, second: TreeView, path: bytes) -> bool:
    """Whether two layers have the same file; read up to the first difference."""
    one, other = first.lookup(path, follow=False), second.lookup(path, follow=False)
    if one is None or other is None or (one.kind, other.kind) != ("file", "file"):
        return False
    with one.open() as left, other.open() as right:
        while piece := left.read(_CHUNK):
            if right.read(_CHUNK) != piece:
                return False
        return True


def _sharing(image: Image, found: Exploration) -> tuple[dict[Digest, list[str]], tuple[tuple[str, int], ...]]:
    """Who else in the store has which of the layers, and how many bytes that makes for each."""
    sizes = {use.diff_id: use.size for use in found.layers}
    having: dict[Digest, list[str]] = {}
    shares: dict[str, int] = {}
    for other in others(image):
        common = sizes.keys() & set(other.diff_ids)
        for diff_id in common:
            having.setdefault(diff_id, []).append(title(other))
        if common:
            shares[title(other)] = sum(sizes[diff_id] for diff_id in common)
    ordered = sorted(shares.items(), key=lambda share: (-share[1], share[0]))
    return {diff_id: sorted(names) for diff_id, names in having.items()}, tuple(ordered)


def others(image: Image) -> Iterator[Image]:
    """The other images of its store that can be read."""
    from ...words.errors import NacreError
    from ..model.image import Image

    for descriptor in image.store.refs.images():
        try:
            other = Image.load(image.store, descriptor)
        except NacreError:  # an index, or something that is no image
            continue
        if other != image:
            yield other


def title(image: Image) -> str:
    """A name of the image as a user writes it, else its short id."""
    from ...words.reference import Reference

    names = image.names
    return Reference.parse(names[0]).familiar if names else image.id.short
