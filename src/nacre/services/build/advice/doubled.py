"""Files that a RUN has written again though only their owner or mode changed, which doubles their bytes."""

from __future__ import annotations

from ....words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....grammars.layer.union import Node
    from ....stores.trees.reading.reader import LayerReader

_SECOND = 1_000_000_000
_FOLDERS = 4096
_COMPARED = 200
"""Files of a layer whose content is compared: the largest, and as many of the rest."""
_PIECE = 64 << 10


class DoubledFile(Value):
    """A file that `layer`, counted from the lowest, has with the same content; what else has changed."""

    path: bytes
    size: int
    layer: int
    uid: int
    gid: int
    mode: int
    has_owner: bool
    has_mode: bool


class DoubledFiles:
    """Finds them while the files of a layer go by; `beneath` reads the layers below, lowest first."""

    def __init__(self, reader: LayerReader, beneath: Sequence[LayerReader]) -> None:
        self._reader = reader
        self._beneath = list(enumerate(beneath))[::-1]
        self._names: dict[bytes, list[tuple[int, LayerReader, frozenset[bytes]]]] = {}
        self._found: list[DoubledFile] = []
        self._contents: set[int] = set()

    def add(self, path: bytes, node: Node) -> None:
        """A regular file with content."""
        folder, _, name = path.rpartition(b"/")
        for layer, reader, names in self._below(folder):
            before = reader.node(path) if name in names else None
            if before is not None:
                self._compare(path, node, before, layer)
                return

    def _below(self, folder: bytes) -> list[tuple[int, LayerReader, frozenset[bytes]]]:
        """The layers beneath that have anything in a folder, the topmost first."""
        if folder not in self._names:
            if len(self._names) >= _FOLDERS:
                self._names.clear()
            all_names = ((layer, reader, frozenset(reader.names(folder))) for layer, reader in self._beneath)
            self._names[folder] = [one for one in all_names if one[2]]
        return self._names[folder]

    def _compare(self, path: bytes, node: Node, before: Node, layer: int) -> None:
        if before.kind != "file" or before.size != node.size:
            return
        if before.mtime_ns // _SECOND != node.mtime_ns // _SECOND or node.content in self._contents:
            return
        owner, mode = (before.uid, before.gid) != (node.uid, node.gid), before.mode != node.mode
        if owner or mode:
            if node.inode:
                self._contents.add(node.content)
            found = DoubledFile(path, node.size, layer, node.uid, node.gid, node.mode, owner, mode)
            self._found.append(found)

    def found(self) -> list[DoubledFile]:
        """Those whose content is the same, as far as it is compared; none of a layer where one's is not.

        Raises OSError, StoreError.
        """
        ordered = sorted(self._found, key=lambda one: -one.size)
        rest = ordered[_COMPARED:]
        sample = ordered[:_COMPARED] + rest[:: max(len(rest) // _COMPARED, 1)]
        others = {one.path for one in sample if not self._is_same(one)}
        if len(others) * 50 > len(sample):
            rest = []
        return [one for one in ordered[:_COMPARED] + rest if one.path not in others]

    def _is_same(self, one: DoubledFile) -> bool:
        """Whether both begin and end with the same bytes."""
        below = dict(self._beneath)[one.layer]
        with self._reader.open(one.path) as left, below.open(one.path) as right:
            if left.read(_PIECE) != right.read(_PIECE):
                return False
            if one.size <= _PIECE:
                return True
            for file in (left, right):
                file.seek(max(one.size - _PIECE, 0))
            return left.read(_PIECE) == right.read(_PIECE)
