"""Is a tree what its layer says? Its tar is read once more and every node compared with what is kept.

The tar's digest proves the bytes; the nodes that its headers make, as at the first reading, must be the
nodes that are kept, and no more. A content that lies in the tar itself is proven with it; any other (of
sparse files, in folders, shared with another layer) is compared.
"""

from __future__ import annotations

from hashlib import sha256

from ....grammars.erofs.format import BLOCK, device_parts
from ....grammars.erofs.tree import LayerTree
from ....grammars.layer.nodes import walk
from ....grammars.layer.overlay import OPAQUE, WHITEOUT, kind_of, without_marks
from ....grammars.tar.entry import show
from ....grammars.tar.read import read_tar
from ....ground.files import is_shortage
from ....ground.work.hashing import HashingReader
from ....words.errors import NacreError, StoreError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from ....grammars.layer.nodes import Inode
    from ....grammars.layer.union import Node
    from ....grammars.tar.entry import Entry, Reader
    from ....ground.work.budget import Budget
    from ....words.digest import Digest
    from ..model import StoredTree
    from ..reading.reader import LayerReader

_CHUNK = 1 << 18


class _Fault(Exception):
    """What is wrong, in words that follow on the name of a layer."""


def prove(
    tree: StoredTree, budget: Budget, passed: Callable[[int], object] | None = None,
    blob: Callable[[], Reader] | None = None,
) -> str | None:  # fmt: skip
    """What is wrong with a tree, one phrase; "" for nothing, None when there is no way to tell.

    `passed` is told the bytes read; `blob` gives the tar where the tree itself does not. Raises StoreError
    where the machine lacks something and the tree may be whole.
    """
    try:
        stream = tree.tar()
    except Unsupported:
        return _compared(tree, blob(), None, budget, passed) if blob else None
    except StoreError as error:
        if is_shortage(error):
            raise
        return error.message
    with stream:
        if not stream.seekable():
            return _compared(tree, stream, None, budget, passed)
        with tree.tar() as beside:
            return _compared(tree, stream, beside, budget, passed)


def _compared(
    tree: StoredTree, tar: Reader, beside: BinaryIO | None, budget: Budget,
    passed: Callable[[int], object] | None,
) -> str:  # fmt: skip
    """`beside` counts where contents lie in the tar itself."""
    try:
        reader = tree.read()
    except (OSError, StoreError) as error:
        if is_shortage(error):
            raise
        return str(error)
    try:
        return fault(tree.diff_id, tar, reader, beside, budget, passed or (lambda _count: None))
    finally:
        reader.close()


def fault(
    diff_id: Digest, tar: Reader, reader: LayerReader, beside: BinaryIO | None, budget: Budget,
    passed: Callable[[int], object] = lambda count: None,
) -> str:  # fmt: skip
    """What is wrong with a tree, one phrase; "" when nothing is.

    `tar` is the layer's tar. `beside` is that tar as a file that can seek, when contents may lie in it
    as the index of `reader` says; None compares every content. `passed` is told the bytes read.
    """
    try:
        with HashingReader(_Counted(tar, passed), budget) as stream:
            proof = _Proof(reader, beside)
            trouble = proof.take(stream)
            stream.drain()
            actual = stream.digest()
        if actual != diff_id:
            return f"its tar has digest {actual}"
        if trouble:
            return trouble
        proof.compare()
    except _Fault as error:
        return str(error)
    except (NacreError, OSError) as error:
        if is_shortage(error):
            raise
        if isinstance(error, NacreError):
            return error.message
        return f"it cannot be read: {error.strerror or error}"
    return ""


class _Counted:
    def __init__(self, stream: Reader, passed: Callable[[int], object]) -> None:
        self._stream, self._passed = stream, passed

    def read(self, count: int, /) -> bytes:
        data = self._stream.read(count)
        self._passed(len(data))
        return data


class _Proof:
    """One comparison. The nodes made of the tar have as `block` the number of their content in `contents`."""

    def __init__(self, reader: LayerReader, beside: BinaryIO | None) -> None:
        self._reader, self._beside = reader, beside
        self._tree = LayerTree()
        self._contents: list[tuple[int, bytes]] = []
        self._seen: dict[int, int] = {}

    def take(self, stream: Reader) -> str:
        """Read the tar; what is wrong with it, or ""."""
        try:
            for entry, payload in read_tar(stream):
                number = len(self._contents)
                self._contents.append((entry.offset, self._digest(entry, payload)))
                if inode := self._tree.add(entry):
                    self._tree.place(inode, 1, number)
        except NacreError as error:
            if is_shortage(error):
                raise
            return error.message
        return ""

    def _digest(self, entry: Entry, payload: Reader) -> bytes:
        """Of a content that will have to be compared; b"" for one that may lie in the tar."""
        if entry.kind != "file" or not entry.size or (self._beside is not None and entry.sparse is None):
            return b""
        return _content(payload, entry)

    def compare(self) -> None:
        """Raises _Fault, OSError, StoreError."""
        for path, inode in walk(self._tree.nodes()):
            node = self._reader.node(path)
            if node is None:
                raise _Fault(f"{show(path)} is missing")
            self._same_looks(path, inode, node)
            if inode.children is not None:
                names = sorted(self._reader.names(path))
                if names != sorted(inode.children):
                    extra = sorted(set(names) ^ set(inode.children))
                    raise _Fault(f"{show(path)} has other names in it: {show(extra[0])}")
            elif inode.size:
                self._same_content(path, inode, node)

    def _same_looks(self, path: bytes, inode: Inode, node: Node) -> None:
        kind = kind_of(inode.mode, inode.rdev)
        if (node.kind, node.size) != (kind, inode.size):
            raise _Fault(f"{show(path)} is a {node.kind} of {node.size} bytes, not a {kind} of {inode.size}")
        if kind == WHITEOUT:
            return
        opaque = OPAQUE in inode.xattrs
        if (node.link, node.opaque) != (inode.link, opaque):
            raise _Fault(f"{show(path)} has another target or covers another file")
        if not inode.implied:
            self._same_owner(path, inode, node)

    def _same_owner(self, path: bytes, inode: Inode, node: Node) -> None:
        mode = inode.mode & 0o7777 if node.kind != "symlink" else node.mode
        if (node.mode, node.uid, node.gid, node.mtime_ns) != (mode, inode.uid, inode.gid, inode.mtime_ns):
            raise _Fault(f"{show(path)} has another mode, owner or time")
        numbers = device_parts(inode.rdev) if node.kind in ("char", "block") else (0, 0)
        if (node.major, node.minor) != numbers:
            raise _Fault(f"{show(path)} is another device")
        xattrs = tuple(sorted(without_marks(inode.xattrs)))
        if self._reader.xattrs(path) != xattrs:
            raise _Fault(f"{show(path)} has other extended attributes")

    def _same_content(self, path: bytes, inode: Inode, node: Node) -> None:
        first = self._seen.setdefault(inode.block, node.content)
        if first != node.content:
            raise _Fault(f"{show(path)} is no longer a link to the same file")
        offset, digest = self._contents[inode.block]
        if not digest and node.block == offset // BLOCK:
            return
        with self._reader.open(path) as file:
            same = _content(file) == digest if digest else self._equals(file, offset, inode.size)
        if not same:
            raise _Fault(f"{show(path)} has another content")

    def _equals(self, file: Reader, offset: int, size: int) -> bool:
        """Whether a file has the bytes that lie in the tar at `offset`."""
        assert self._beside is not None
        self._beside.seek(offset)
        while size:
            wanted = self._beside.read(min(_CHUNK, size))
            found = b""
            while len(found) < len(wanted) and (more := file.read(len(wanted) - len(found))):
                found += more
            if not wanted or found != wanted:
                return False
            size -= len(wanted)
        return True


def _content(payload: Reader, entry: Entry | None = None) -> bytes:
    """The digest of a content, with the holes of a sparse entry as zeros."""
    total = sha256()
    segments = entry.sparse if entry is not None else None
    if entry is None or segments is None:
        while data := payload.read(_CHUNK):
            total.update(data)
        return total.digest()
    at = 0
    for offset, length in segments:
        _zeros(total.update, offset - at)
        at = offset + length
        while length and (data := payload.read(min(_CHUNK, length))):
            total.update(data)
            length -= len(data)
    _zeros(total.update, entry.size - at)
    return total.digest()


def _zeros(update: Callable[[bytes], object], count: int) -> None:
    zeros = bytes(min(_CHUNK, max(0, count)))
    while count > 0:
        update(zeros[:count] if count < len(zeros) else zeros)
        count -= len(zeros)
