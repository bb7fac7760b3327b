"""What each entry of a layer means: entries in, decisions out, and no I/O.

Whoever makes the tree of a layer, as files or as columns of an index, is asked what stands at a name
(`Tree`) and carries out what `decide` says. The rules:

    place        links on the way are followed (`paths`), parents that are missing are made
    same name    the last entry wins, but a folder merges with a folder
    hard link    its target must be there, and be no folder
    whiteout     speaks of lower layers only: what this layer has by the name stays, and hides what is lower,
                 wherever in the archive the whiteout stands (OCI image-spec layer.md, "Whiteouts")

A layer is either kept by itself and marks what it hides as overlayfs does (`LayerRules`), or it is applied
to a folder that holds the lower layers, and what it hides is removed (`ApplyRules`).
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from ..tar.entry import Entry, show
from . import overlay
from .paths import LONG, NAMELESS, NoFolder, Refused, walk
from .whiteouts import WHITEOUT as WHITEOUT_NAME
from .whiteouts import whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NAME = 255
MAX_PATH = 4095
"""Longest path that the kernel takes in one piece; what is deeper could never be opened by name."""

PUT = "put"
"""Make the entry by the name, in place of whatever has it."""
LINK = "link"
"""Make the name a further one of `source(entry.link)`, in place of whatever has it. A folder that has it is
removed before the source is asked for, which may have been in it."""
MAKE = "make"
"""Make a folder by the name, in place of whatever has it, with `marks_of_new`."""
MERGE = "merge"
"""The entry describes the folder itself: `described`."""
WHITEOUT = "whiteout"
"""Make a whiteout by the name, which is remembered as hidden; its folder is marked ORIGIN."""
COVER = "cover"
"""The folder of that name, which is remembered as hidden, hides what lower layers have there: `covering`."""
HIDE = "hide"
"""Remember the name as hidden: a folder that takes its place later is opaque."""
MARK_OPAQUE = "opaque"
"""Mark the folder itself OPAQUE."""
REMOVE = "remove"
"""Remove what has the name: a lower layer left it."""
RENEW = "renew"
"""The folder of that name looks as if it were new, unless an entry has described it."""
RESET = "reset"
"""RENEW the folder of that name, then do what `leftovers` says of it."""
PRUNE = "prune"
"""Do what `leftovers` says of the folder itself."""
NOTHING = "nothing"

IMPLIED, OPAQUE, ORIGIN = 1, 2, 4
"""Marks of a folder. Implied: it is only on the way to something, and no entry has described it."""

F = TypeVar("F")
"""A folder, as whoever makes the tree knows it."""
Decision = tuple[str, F, tuple[bytes, ...], bytes]
"""What to do; a folder; parents to be made in it first, one in the other; and a name in the last of them."""


class Tree(Protocol[F]):
    """Answers what stands where. Names are single parts of a path."""

    root: F

    def open(self, path: bytes, /) -> F | None:
        """The folder at `path` if the tree knows it at once; None does not say that there is none."""

    def remember(self, path: bytes, folder: F, /) -> None:
        """`path` leads to that folder, which `open` may know from now on."""

    def stands(self, folder: F, name: bytes, /) -> str:
        """What has the name: a kind as `overlay.kind_of` gives it, "" for nothing."""

    def child(self, folder: F, name: bytes, /) -> F:
        """The folder of that name, which stands there."""

    def target(self, folder: F, name: bytes, /) -> bytes:
        """Where the link of that name leads."""


class FullTree(Tree[F], Protocol[F]):
    """A tree that holds the lower layers as well. Its `open` follows no link."""

    def path(self, folder: F, /) -> bytes:
        """The path of a folder, without links."""

    def names(self, folder: F, /) -> Iterable[bytes]:
        """All that is in a folder."""


def marks_of_new(*, hidden: bool, described: bool) -> int:
    """Of a folder that takes a place; `hidden`: a whiteout has named it. An opaque one inherits nothing."""
    return OPAQUE if hidden else 0 if described else IMPLIED


def described(marks: int) -> int:
    """Of a folder that an entry describes."""
    return marks & ~IMPLIED


def covering(marks: int) -> int:
    """Of a folder whose name a whiteout removes from lower layers: what they say of it counts no more."""
    return marks & ~IMPLIED | OPAQUE


class LayerRules(Generic[F]):
    """A layer that is kept by itself: all that the tree has is of this layer."""

    _where = " in this layer"

    def __init__(self, tree: Tree[F]) -> None:
        self._tree, self._open = tree, tree.open

    def decide(self, entry: Entry) -> Decision[F]:
        """What the next entry means; to be carried out before the one after it is asked about.

        Raises Refused, InvalidArchive for an entry that cannot be made.
        """
        path, kind = entry.path, entry.kind
        if path.count(WHITEOUT_NAME) and (decision := self._whiteout(path)):
            return decision
        if kind == "file":  # most are
            return PUT, *self.place(path)
        if kind == "dir":
            return self._dir(path)
        if kind == "char" and entry.major == entry.minor == 0 and (decision := self._device_0_0(path)):
            return decision
        return LINK if kind == "hardlink" else PUT, *self.place(path)

    def place(self, path: bytes) -> tuple[F, tuple[bytes, ...], bytes]:
        """Where a path belongs: the last three parts of a decision."""
        above, _, name = path.rpartition(b"/")
        if not name or len(name) > MAX_NAME or len(path) > MAX_PATH:
            raise Refused(LONG if name else NAMELESS)
        folder = self._open(above)
        if folder is None:
            folder, missing = self._enter(above)
            return folder, missing, name
        return folder, (), name

    def source(self, link: bytes) -> tuple[F, bytes]:
        """Where the target of a hard link is: a folder and a name in it. Raises Refused."""
        above, _, name = link.rpartition(b"/")
        folder = self._open(above)
        if folder is None:
            way = walk(above, self._tree.root, self._step)
            folder = way[-1][1] if way else self._tree.root
        there = "" if folder is None else self._tree.stands(folder, name)
        if folder is None or not there or self._is_void(there):
            raise Refused(f"is a hard link to {show(link)}, which does not exist{self._where}")
        if there == "dir":
            raise Refused("is a hard link to a directory")
        return folder, name

    def _dir(self, path: bytes) -> Decision[F]:
        if not path:
            return MERGE, self._tree.root, (), b""
        folder, missing, name = self.place(path)
        if not missing and self._tree.stands(folder, name) == "dir":
            return MERGE, self._tree.child(folder, name), (), b""
        return MAKE, folder, missing, name

    # --- the way

    def _enter(self, path: bytes) -> tuple[F, tuple[bytes, ...]]:
        """The folder at `path` as far as it is there, and the parts that are missing."""
        way = walk(path, self._tree.root, self._step)
        missing = tuple(name for name, found in way if found is None)
        folder = next((found for _, found in reversed(way) if found is not None), self._tree.root)
        if not missing:
            self._tree.remember(path, folder)
        elif max(map(len, missing)) > MAX_NAME:
            raise Refused(LONG)
        return folder, missing

    def _step(self, folder: F, name: bytes) -> F | bytes | None:
        """For `walk`: what gives way to a folder is nothing."""
        there = self._tree.stands(folder, name)
        if there == "dir":
            return self._tree.child(folder, name)
        if there == "symlink":
            return self._tree.target(folder, name)
        if there and not self._is_void(there):
            raise NoFolder
        return None

    def _is_void(self, kind: str) -> bool:
        return kind == overlay.WHITEOUT

    # --- whiteouts

    def _whiteout(self, path: bytes) -> Decision[F] | None:
        found = whiteout(path)
        if found is None:
            return None
        verb, target = found
        try:
            if verb == "opaque":
                return self._opaque(target)
            if verb == "remove":
                return self._hide(target)
        except NoFolder:
            pass  # lower layers have nothing beneath a file of this one
        return NOTHING, self._tree.root, (), b""

    def _opaque(self, path: bytes) -> Decision[F]:
        folder = self._open(path)
        folder, missing = self._enter(path) if folder is None else (folder, ())
        return MARK_OPAQUE, folder, missing, b""

    def _hide(self, path: bytes) -> Decision[F]:
        folder, missing, name = self.place(path)
        there = "" if missing else self._tree.stands(folder, name)
        return COVER if there == "dir" else HIDE if there else WHITEOUT, folder, missing, name

    def _device_0_0(self, path: bytes) -> Decision[F] | None:
        """overlayfs would take it for a whiteout, as docker does."""
        return self._hide(path)


class ApplyRules(LayerRules[F]):
    """A layer that is applied to a folder with the lower layers in it.

    What this layer has made is remembered by its path: a whiteout removes the rest.
    """

    _tree: FullTree[F]
    _where = ""

    def __init__(self, tree: FullTree[F], *, whiteouts: bool = True, links: bool = True) -> None:
        """`whiteouts` False: their names are ordinary ones.

        `links` False: a folder takes the place of a link that lower layers left on the way, as overlayfs
        shows it; links of the layer itself are always followed.
        """
        super().__init__(tree)
        self._whiteouts, self._links, self._strayed = whiteouts, links, False
        self._made = {b""}

    def place(self, path: bytes) -> tuple[F, tuple[bytes, ...], bytes]:
        """As `LayerRules`; what lies there belongs to this layer from now on."""
        folder, missing, name = LayerRules.place(self, path)
        above, made = self._tree.path(folder), self._made
        if missing or above not in made:
            above = self._claim(folder, missing)
        made.add(above + b"/" + name if above else name)
        return folder, missing, name

    def leftovers(self, folder: F) -> Iterator[Decision[F]]:
        """What becomes of what is in a folder: REMOVE what lower layers left, RENEW this one's folders."""
        waiting = [self._tree.path(folder)]
        while waiting:
            path = waiting.pop()
            above = self._tree.open(path)
            assert above is not None
            for name in self._tree.names(above):
                inner = _join(path, name)
                if inner not in self._made:
                    yield REMOVE, above, (), name
                elif self._tree.stands(above, name) == "dir":
                    yield RENEW, above, (), name
                    waiting.append(inner)

    def _claim(self, folder: F, names: tuple[bytes, ...]) -> bytes:
        """A folder with the way to it and what is made in it belongs to this layer; the path of the last."""
        path, made = self._tree.path(folder), self._made
        above = path
        while above not in made:
            made.add(above)
            above = above.rpartition(b"/")[0]
        for name in names:
            path = _join(path, name)
            made.add(path)
        return path

    def _is_made(self, folder: F, name: bytes) -> bool:
        return _join(self._tree.path(folder), name) in self._made

    def _step(self, folder: F, name: bytes) -> F | bytes | None:
        there = self._tree.stands(folder, name)
        if there in ("", "dir"):
            return self._tree.child(folder, name) if there else None
        made = self._is_made(folder, name)
        if there == "symlink" and (made or self._links):
            self._strayed = self._strayed or not made
            return self._tree.target(folder, name)
        if made:
            raise NoFolder
        return None

    def _is_void(self, kind: str) -> bool:
        return False

    def _folder(self, path: bytes) -> tuple[F, tuple[bytes, ...]]:
        """The folder that a whiteout speaks of. Nothing is made where a link of lower layers leads."""
        folder, self._strayed = self._open(path), False
        folder, missing = self._enter(path) if folder is None else (folder, ())
        if missing and self._strayed:
            raise NoFolder
        self._claim(folder, missing)
        return folder, missing

    def _whiteout(self, path: bytes) -> Decision[F] | None:
        return super()._whiteout(path) if self._whiteouts else None

    def _opaque(self, path: bytes) -> Decision[F]:
        return PRUNE, *self._folder(path), b""

    def _hide(self, path: bytes) -> Decision[F]:
        above, _, name = path.rpartition(b"/")
        folder, missing = self._folder(above)
        there = "" if missing else self._tree.stands(folder, name)
        if there and not self._is_made(folder, name):
            return REMOVE, folder, (), name
        return RESET if there == "dir" else NOTHING, folder, missing, name

    def _device_0_0(self, path: bytes) -> Decision[F] | None:
        return None


class Item(Protocol):
    """One path of one layer; `kind` as `overlay.kind_of` gives it."""

    @property
    def kind(self) -> str:
        """The kind of entry: `file`, `dir`, `symlink` and so on."""

    @property
    def opaque(self) -> bool:
        """Whether it is a folder that hides what lower layers have in it."""


T = TypeVar("T", bound=Item)


def over_lower(items: Iterable[T]) -> Iterator[tuple[str, T]]:
    """What a whole layer does to those beneath it: REMOVE by a whiteout and PRUNE by an opaque folder first,
    whatever their order in the layer; then MERGE a folder, which takes the place of what is none, and PUT.
    """
    found = list(items)
    for item in found:
        if item.kind == overlay.WHITEOUT or item.opaque:
            yield PRUNE if item.opaque else REMOVE, item
    for item in found:
        if item.kind != overlay.WHITEOUT:
            yield MERGE if item.kind == "dir" else PUT, item


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
