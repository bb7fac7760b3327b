"""The kernel's FUSE protocol as far as a read-only file system speaks it: requests ⇄ values, no I/O.

    request   length:u32 opcode:u32 unique:u64 node:u64 uid:u32 gid:u32 pid:u32 extensions:u16 padding body
    reply     length:u32 error:i32 unique:u64 body

Numbers are those of this machine. A request comes whole with one read of the device, a reply goes whole with
one write. Nothing is open anywhere: OPEN and OPENDIR are answered ENOSYS, after which the kernel opens files
by itself and keeps what it has read of them. So whoever answers needs no state, and another one may take his
place; the kernel then gives him what was not answered (RESEND, Linux 6.9).

Source: linux, include/uapi/linux/fuse.h, fs/fuse/dev.c, Documentation/filesystems/fuse.rst.
"""

from __future__ import annotations

import stat
from struct import Struct
from struct import error as struct_error

from ..words.errors import InvalidDocument

ROOT = 1
"""The node of the root."""
LOOKUP, FORGET, GETATTR, READLINK, OPEN, READ, STATFS = 1, 2, 3, 5, 14, 15, 17
GETXATTR, LISTXATTR, INIT, OPENDIR, READDIR, INTERRUPT, DESTROY = 22, 23, 26, 27, 28, 36, 38
BATCH_FORGET, READDIRPLUS = 42, 44
UNANSWERED = frozenset((FORGET, BATCH_FORGET))
RESEND = Struct("=IiQ").pack(16, 7, 0)
"""Tells the kernel to give all that was not answered once more."""
MAX_READ = 1 << 20
"""Most bytes of one READ."""
BUFFER = 1 << 14
"""Bytes that one request takes at most: the kernel wants room for a WRITE, which never comes."""

_MAJOR, _MINOR = 7, 40
_PAGE = 4096
_ASYNC_READ, _READDIRPLUS, _READDIRPLUS_AUTO = 1 << 0, 1 << 13, 1 << 14
_NO_OPEN, _PARALLEL, _MAX_PAGES, _CACHE_LINKS, _NO_OPENDIR = 1 << 17, 1 << 18, 1 << 22, 1 << 23, 1 << 24
_INIT_EXT, _HAS_RESEND = 1 << 30, 1 << 39
_WANTED = (
    _ASYNC_READ | _READDIRPLUS | _READDIRPLUS_AUTO | _NO_OPEN | _PARALLEL | _MAX_PAGES | _CACHE_LINKS
    | _NO_OPENDIR | _INIT_EXT | _HAS_RESEND
)  # fmt: skip
_FOREVER = 1 << 30
"""Seconds for which names and attributes are true: nothing here changes."""

_REQUEST, _REPLY = Struct("=IIQQIIIHH"), Struct("=IiQ")
_INIT_IN, _INIT_OUT = Struct("=IIIII"), Struct("=IIIIHHIIHHI28x")
_ATTRIBUTES = Struct("=QQQQQQIIIIIIIIII")
_ENTRY, _ATTR = Struct("=QQQQII"), Struct("=QII")
_READ, _SIZE, _UNIQUE = Struct("=QQI"), Struct("=II"), Struct("=Q")
_DIRENT, _STATFS = Struct("=QQII"), Struct("=QQQQQIII28x")


class KernelRequest:
    """What the kernel asks; `node` as it was told, `pid` in the namespace of whoever mounted.

    No `Value`: there are tens of thousands, and somebody waits for each.
    """

    __slots__ = ("body", "node", "opcode", "pid", "unique")

    def __init__(self, opcode: int, unique: int, node: int, pid: int, body: bytes) -> None:
        self.opcode, self.unique, self.node, self.pid, self.body = opcode, unique, node, pid, body

    @property
    def name(self) -> bytes:
        """Of LOOKUP. Raises InvalidDocument."""
        return _terminated(self.body)

    @property
    def span(self) -> tuple[int, int]:
        """Of READ, READDIR and READDIRPLUS: where it begins, and how many bytes. Raises InvalidDocument."""
        _, offset, size = _unpacked(_READ, self.body)
        return offset, min(size, MAX_READ)

    @property
    def attribute(self) -> tuple[int, bytes]:
        """Of GETXATTR: how many bytes there is room for, 0 for the question how many it takes; its name.

        Raises InvalidDocument.
        """
        return self.room, _terminated(self.body[_SIZE.size :])

    @property
    def room(self) -> int:
        """Of GETXATTR and LISTXATTR, as `attribute`. Raises InvalidDocument."""
        return int(_unpacked(_SIZE, self.body)[0])

    @property
    def interrupted(self) -> int:
        """Of INTERRUPT: the `unique` of the request that somebody would rather not wait for."""
        return int(_unpacked(_UNIQUE, self.body)[0])


def parse(data: bytes) -> KernelRequest:
    """One request. Raises InvalidDocument, which a kernel gives no reason for."""
    length, opcode, unique, node, _, _, pid, _, _ = _unpacked(_REQUEST, data)
    if length != len(data):
        raise InvalidDocument("the kernel sent a part of a FUSE request")
    return KernelRequest(opcode, unique, node, pid, data[_REQUEST.size :])


def _unpacked(form: Struct, data: bytes) -> tuple[int, ...]:
    try:
        return form.unpack_from(data)
    except struct_error:
        raise InvalidDocument("the kernel sent a FUSE request that is too short") from None


def _terminated(data: bytes) -> bytes:
    name, end, _ = data.partition(b"\0")
    if not end:
        raise InvalidDocument("the kernel sent a FUSE request with a name that does not end")
    return name


def reply(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    """An answer: `error` is an errno, with which there is no body."""
    return _REPLY.pack(_REPLY.size + len(body), -error, unique) + body


def init(request: KernelRequest) -> bytes:
    """The body of the answer to INIT: what is used of what the kernel offers. Raises InvalidDocument."""
    major, minor, ahead, low, high = _unpacked(_INIT_IN, request.body.ljust(_INIT_IN.size, b"\0"))
    if major != _MAJOR or minor < _MINOR:
        raise InvalidDocument("the kernel is older than Linux 6.9")
    flags = (low | high << 32) & _WANTED
    pages = MAX_READ // _PAGE
    return _INIT_OUT.pack(_MAJOR, _MINOR, ahead, flags & 0xFFFFFFFF, 64, 48, _PAGE, 1, pages, 0, flags >> 32)


class Attributes:
    """What stat(2) gives; `rdev` as the kernel stores it."""

    __slots__ = ("gid", "mode", "mtime_ns", "nlink", "number", "rdev", "size", "uid")

    def __init__(
        self, number: int, kind: tuple[int, int], owner: tuple[int, int], size: int, nlink: int, mtime_ns: int
    ) -> None:
        """`kind` is mode and rdev, `owner` uid and gid."""
        self.number, self.size, self.nlink, self.mtime_ns = number, size, nlink, mtime_ns
        self.mode, self.rdev = kind
        self.uid, self.gid = owner

    def encode(self) -> bytes:
        """As in the answers that have them."""
        seconds, nano = divmod(self.mtime_ns, 1_000_000_000)
        seconds &= 0xFFFFFFFFFFFFFFFF
        return _ATTRIBUTES.pack(
            self.number, self.size, -(-self.size // 512), seconds, seconds, seconds, nano, nano, nano,
            self.mode, self.nlink, self.uid, self.gid, self.rdev, _PAGE, 0,
        )  # fmt: skip


def attributes(found: Attributes) -> bytes:
    """The body of the answer to GETATTR."""
    return _ATTR.pack(_FOREVER, 0, 0) + found.encode()


def entry(node: int, found: Attributes) -> bytes:
    """The body of the answer to LOOKUP."""
    return _ENTRY.pack(node, 0, _FOREVER, _FOREVER, 0, 0) + found.encode()


NOTHING = _ENTRY.pack(0, 0, _FOREVER, 0, 0, 0) + bytes(_ATTRIBUTES.size)
"""The body of the answer to LOOKUP of a name that is not there, which is remembered."""
UNKNOWN = bytes(_ENTRY.size + _ATTRIBUTES.size)
"""In the place of `entry` in a folder: nothing is said of that name."""


def dirent(name: bytes, number: int, kind: int, following: int, head: bytes = b"") -> bytes:
    """One name of a folder: `kind` is a mode, `following` where READDIR goes on; `head` for READDIRPLUS."""
    data = head + _DIRENT.pack(number, following, len(name), stat.S_IFMT(kind) >> 12) + name
    return data.ljust(len(data) + 7 & ~7, b"\0")


def sized(room: int, data: bytes) -> bytes | None:
    """The body of the answer to GETXATTR and LISTXATTR; None for ERANGE."""
    if not room:
        return _SIZE.pack(len(data), 0)
    return data if len(data) <= room else None


def statfs(files: int, size: int) -> bytes:
    """The body of the answer to STATFS: a full file system."""
    return _STATFS.pack(-(-size // _PAGE), 0, 0, files, 0, _PAGE, 255, _PAGE)
