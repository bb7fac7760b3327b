"""An index as a file system that the kernel asks for (`grammars.fuse`): requests → answers, no I/O.

A node of the kernel is the nid of an inode, so nothing has to be remembered of what the kernel knows. READ is
answered by where the content lies; whoever asked this object reads it there.
"""

from __future__ import annotations

import errno
import stat

from ...words.errors import InvalidArchive, InvalidDocument
from .. import fuse
from ..layer.overlay import OPAQUE, ORIGIN, PREFIXES
from .format import BLOCK, HEAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..fuse import KernelRequest
    from ..layer.nodes import Inode
    from ..tar.entry import Xattrs
    from .read import ErofsIndex

    Span = tuple[int, int, int]
    """Device from 1, offset and count of bytes that are a part of a file."""

_REMEMBERED = 1 << 14
_USER = b"user.overlay."
_HIDDEN = (*PREFIXES, b"trusted.", b"system.posix_acl_")


class ContentWanted:
    """The answer to a READ: what lies in `spans`, one after the other."""

    __slots__ = ("spans", "unique")

    def __init__(self, unique: int, spans: tuple[Span, ...]) -> None:
        self.unique, self.spans = unique, spans


class IndexAnswers:
    """Of one index, for overlayfs in a user namespace: marks are `user.overlay.*`.

    `single`: there is one id only, so everything is its own.
    """

    def __init__(self, index: ErofsIndex, *, single: bool) -> None:
        self._index, self._single = index, single
        self._nodes: dict[int, Inode] = {}
        self._listed: tuple[int, list[tuple[bytes, int]]] = (0, [])

    def answer(self, request: KernelRequest) -> bytes | ContentWanted | None:
        """What is to be written, or read first; None where the kernel waits for no answer.

        Damage of the index is EIO, what nobody has asked for ENOSYS.
        """
        if request.opcode in fuse.UNANSWERED:
            return None
        try:
            return self._answer(request)
        except (InvalidArchive, InvalidDocument):
            return fuse.reply(request.unique, error=errno.EIO)
        except OSError as error:
            return fuse.reply(request.unique, error=error.errno or errno.EIO)

    def _answer(self, request: KernelRequest) -> bytes | ContentWanted:
        if request.opcode == fuse.READ:
            return self._read(request)
        make = _BODIES.get(request.opcode)
        if make is None:
            raise OSError(errno.ENOSYS, "")
        return fuse.reply(request.unique, make(self, request))

    def _nid(self, request: KernelRequest) -> int:
        return self._index.root if request.node == fuse.ROOT else request.node

    def _node(self, nid: int) -> Inode:
        found = self._nodes.get(nid)
        if found is None:
            if len(self._nodes) >= _REMEMBERED:
                self._nodes.clear()
            found = self._nodes[nid] = self._index.node(nid)
        return found

    def _attributes(self, nid: int) -> fuse.Attributes:
        node = self._node(nid)
        owner = (0, 0) if self._single else (node.uid, node.gid)
        size = len(node.link) if stat.S_ISLNK(node.mode) else node.size
        links = self._index.links(nid)
        return fuse.Attributes(nid, (node.mode, node.rdev), owner, size, links, node.mtime_ns)

    def _init(self, request: KernelRequest) -> bytes:
        return fuse.init(request)

    def _lookup(self, request: KernelRequest) -> bytes:
        nid = self._index.lookup(self._nid(request), request.name)
        return fuse.NOTHING if nid is None else fuse.entry(nid, self._attributes(nid))

    def _getattr(self, request: KernelRequest) -> bytes:
        return fuse.attributes(self._attributes(self._nid(request)))

    def _readlink(self, request: KernelRequest) -> bytes:
        return self._node(self._nid(request)).link

    def _statfs(self, _request: KernelRequest) -> bytes:
        return fuse.statfs(self._index.count, sum(self._index.devices) * BLOCK)

    def _readdir(self, request: KernelRequest) -> bytes:
        """As many names as there is room for."""
        names, (at, room) = self._names(self._nid(request)), request.span
        parts = list[bytes]()
        for number, (name, nid) in enumerate(names[at:], at + 1):
            item = self._item(name, nid, number, plus=request.opcode == fuse.READDIRPLUS)
            room -= len(item)
            if room < 0:
                break
            parts.append(item)
        return b"".join(parts)

    def _item(self, name: bytes, nid: int, number: int, *, plus: bool) -> bytes:
        """With `plus` the kernel need not look it up; but `.` and `..` it knows."""
        head = b""
        if plus:
            head = fuse.UNKNOWN if name in (b".", b"..") else fuse.entry(nid, self._attributes(nid))
        return fuse.dirent(name, nid, self._node(nid).mode, number, head)

    def _names(self, nid: int) -> list[tuple[bytes, int]]:
        """A folder is read in several requests: the last one stays at hand."""
        if self._listed[0] != nid:
            self._listed = nid, list(self._index.listed(nid))
        return self._listed[1]

    def _getxattr(self, request: KernelRequest) -> bytes:
        room, name = request.attribute
        for own, value in self._xattrs(self._nid(request)):
            if own == name:
                return _fitting(room, value)
        raise OSError(errno.ENODATA, "")

    def _listxattr(self, request: KernelRequest) -> bytes:
        names = (name + b"\0" for name, _ in self._xattrs(self._nid(request)))
        return _fitting(request.room, b"".join(names))

    def _xattrs(self, nid: int) -> Xattrs:
        """Those that a process in a user namespace may see, with the marks that its overlayfs looks for."""
        found = []
        for name, value in self._node(nid).xattrs:
            mark = name.replace(PREFIXES[0], _USER)
            if (name, value) in (OPAQUE, ORIGIN):
                found.append((mark, value))
            elif not name.startswith(_HIDDEN):
                found.append((name, value))
        return tuple(found)

    def _read(self, request: KernelRequest) -> ContentWanted:
        node, (offset, room) = self._node(self._nid(request)), request.span
        if not stat.S_ISREG(node.mode):
            raise OSError(errno.EINVAL, "")
        end = min(offset + room, node.size)
        return ContentWanted(request.unique, tuple(_spans(node, offset, end)))


def _spans(node: Inode, start: int, end: int) -> list[Span]:
    """Where the bytes of a file lie, which may be apart for its head."""
    found, middle = [], HEAD * BLOCK if node.head else 0
    if node.head and start < min(middle, end):
        device, block = node.head
        found.append((device, block * BLOCK + start, min(middle, end) - start))
    start = max(start, middle)
    if start < end:
        found.append((node.device, node.block * BLOCK + start, end - start))
    return found


def _fitting(room: int, data: bytes) -> bytes:
    body = fuse.sized(room, data)
    if body is None:
        raise OSError(errno.ERANGE, "")
    return body


_BODIES: dict[int, Callable[[IndexAnswers, KernelRequest], bytes]] = {
    fuse.INIT: IndexAnswers._init,
    fuse.LOOKUP: IndexAnswers._lookup,
    fuse.GETATTR: IndexAnswers._getattr,
    fuse.READLINK: IndexAnswers._readlink,
    fuse.STATFS: IndexAnswers._statfs,
    fuse.READDIR: IndexAnswers._readdir,
    fuse.READDIRPLUS: IndexAnswers._readdir,
    fuse.GETXATTR: IndexAnswers._getxattr,
    fuse.LISTXATTR: IndexAnswers._listxattr,
}
"""What answers which question by a body."""
