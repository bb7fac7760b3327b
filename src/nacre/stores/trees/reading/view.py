"""Files of an image without mounting it: the layers merged as overlayfs would, path by path.

A folder is the stack of the folders of that path, topmost layer first, down to the first that is
opaque; a name is what the topmost of them has, unless a whiteout comes first. Links are followed
within the image: `..` stops at its root, absolute targets begin there (as inside a chroot).
"""

from __future__ import annotations

from ....grammars.layer.overlay import WHITEOUT
from ....grammars.layer.paths import MAX_LINKS
from ....grammars.layer.union import Stack, seen
from ....words.digest import Digest
from ....words.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from typing import BinaryIO

    from ....grammars.layer.union import Node
    from ..model import StoredTree
    from .reader import LayerReader


class Found:
    """A file found in a stack of layers. Attributes as in a tar entry; `layer` is where it comes from.

    `inode`: the same number for all names of one file of a layer, 0 where there is one name or nobody knows.
    `path` is resolved and relative to the root of the image, b"" the root. `kind` is file, dir,
    symlink, char, block or fifo. `open` and `xattrs` work until the view that gave it is closed.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: bytes
    major: int
    minor: int
    layer: Digest
    inode: int

    def __init__(self, path: bytes, node: Node, layer: Digest, reader: LayerReader) -> None:
        self.path, self.kind, self.layer, self._reader = path, node.kind, layer, reader
        self.mode, self.uid, self.gid, self.mtime_ns = node.mode, node.uid, node.gid, node.mtime_ns
        self.size, self.link, self.major, self.minor = node.size, node.link, node.major, node.minor
        self.inode = node.inode

    @property
    def xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted by name. Raises OSError."""
        return self._reader.xattrs(self.path)

    def open(self) -> BinaryIO:
        """The content of a regular file; the caller closes it. Raises NotFound for any other kind."""
        if self.kind != "file":
            raise NotFound(f"{self.path.decode('utf-8', 'backslashreplace')!r} is not a regular file")
        return self._reader.open(self.path)

    def __repr__(self) -> str:
        return f"Found({self.path!r}, {self.kind!r}, size={self.size})"


Place = tuple[bytes, Stack]


class TreeView:
    """Reading a stack of layers without mounting; `with` it. Never leaves the image by `..` or links."""

    def __init__(self, layers: Sequence[tuple[Digest, LayerReader]]) -> None:
        """`layers` lowest first; the view closes the readers."""
        self._layers = list(reversed(layers))

    def lookup(self, path: bytes, *, follow: bool = True) -> Found | None:
        """The file at `path`, symlinks resolved inside the image (the last one only with `follow`).

        None when there is nothing, when a part on the way is no folder, or when links form a loop.
        """
        place = self._walk(path, follow)
        if place is None or not place[1]:
            return None
        return self.found(place)

    def found(self, place: Place) -> Found:
        """What is at a place, of `top` or `step`."""
        index, node = place[1].shown
        digest, reader = self._layers[index]
        return Found(place[0], node, digest, reader)

    def top(self) -> Place:
        """The root, from which a walk of one's own begins."""
        return b"", self._root()

    def candidates(self, folder: Place) -> set[bytes]:
        """Names that may be in a folder, for a cheap no; `step` knows."""
        return {name for index, _ in folder[1] for name in self._layers[index][1].names(folder[0])}

    def step(self, folder: Place, name: bytes) -> Place | None:
        """What is in a folder by that name, links not followed; None for nothing."""
        stack = self._step(folder, name)
        return (_join(folder[0], name), stack) if stack else None

    def names(self, path: bytes = b"") -> list[bytes]:
        """Names in a folder, merged over the layers, sorted; [] when it is no folder."""
        place = self._walk(path, True)
        if place is None or not place[1] or place[1][0][1].kind != "dir":
            return []
        seen: set[bytes] = set()
        there: list[bytes] = []
        for index, _ in place[1]:
            new = set(self._layers[index][1].names(place[0])) - seen
            seen |= new
            there += [name for name in new if self._shows(index, _join(place[0], name))]
        return sorted(there)

    def walk(self) -> Iterator[Found]:
        """Everything that is seen, the root first, a folder before what is in it, names sorted."""
        waiting: list[Place] = [(b"", self._root())]
        while waiting:
            place = waiting.pop()
            if place[1]:
                index, node = place[1].shown
                yield Found(place[0], node, *self._layers[index])
                if place[1][0][1].kind == "dir":
                    waiting += reversed(self._children(place))

    def _children(self, folder: Place) -> list[Place]:
        path, stack = folder
        names = {name for index, _ in stack for name in self._layers[index][1].names(path)}
        return [(_join(path, name), self._step(folder, name)) for name in sorted(names)]

    def own(self) -> Iterator[tuple[bytes, Node]]:
        """All that the topmost layer itself has, whiteouts too, folders before what is in them."""
        waiting, reader = [b""], self._layers[0][1]
        while waiting:
            path = waiting.pop()
            node = reader.node(path)
            if node is not None:
                yield path, node
                if node.kind == "dir":
                    waiting += [_join(path, name) for name in sorted(reader.names(path), reverse=True)]

    def touched(self, path: bytes, layers: Container[Digest]) -> bool:
        """Whether one of these layers has anything at this very path, a whiteout too."""
        return any(digest in layers and reader.node(path) is not None for digest, reader in self._layers)

    def _shows(self, index: int, path: bytes) -> bool:
        node = self._layers[index][1].node(path)
        return node is not None and node.kind != WHITEOUT

    def _walk(self, path: bytes, follow: bool) -> Place | None:
        todo = _parts(path)
        done: list[Place] = [(b"", self._root())]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                del done[max(1, len(done) - 1) :]
                continue
            stack = self._step(done[-1], part)
            if not stack or (todo and stack[0][1].kind not in ("dir", "symlink")):
                return None
            if stack[0][1].kind == "symlink" and (todo or follow):
                links += 1
                if links > MAX_LINKS:
                    return None
                _follow(stack[0][1].link, todo, done)
            else:
                done.append((_join(done[-1][0], part), stack))
        return done[-1]

    def _root(self) -> Stack:
        nodes = ((index, reader.node(b"")) for index, (_, reader) in enumerate(self._layers))
        return seen(nodes)

    def _step(self, folder: Place, part: bytes) -> Stack:
        """The stack of one name in a folder; [] if there is no such name."""
        path = _join(folder[0], part)
        return seen((index, self._layers[index][1].node(path)) for index, _ in folder[1])

    def close(self) -> None:
        """Close the descriptors held. Idempotent."""
        for _, reader in self._layers:
            reader.close()

    def __enter__(self) -> TreeView:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def open_view(trees: Sequence[StoredTree]) -> TreeView:
    """The trees as a stack, lowest first; close it. Raises StoreError, OSError."""
    readers: list[tuple[Digest, LayerReader]] = []
    try:
        for tree in trees:
            readers.append((tree.diff_id, tree.read()))
    except BaseException:
        TreeView(readers).close()
        raise
    return TreeView(readers)


def _parts(path: bytes) -> list[bytes]:
    """Components, the first one last."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]


def _follow(target: bytes, todo: list[bytes], done: list[Place]) -> None:
    if target.startswith(b"/"):
        del done[1:]
    todo += _parts(target)


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
