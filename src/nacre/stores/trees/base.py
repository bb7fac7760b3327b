"""What a tree driver is: `overlay`, `erofs` (an index over the tar) and `plain` (copies) have the same verbs.

A driver turns folders into trees and back and never decides when: names, hashes, locks, rows of the
database, atomic publication and leases are the facade's (`Trees`). It never mounts: it emits `Mount`.
"""

from __future__ import annotations

import os

from ...ground import linux, userns
from ...words.digest import Digest
from ...words.mount import Erofs, Mount
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO, Protocol, Self

    from ...grammars.tar.entry import Entry
    from ...grammars.tar.entry import Reader as TarReader

    class Reader(Protocol):
        """Anything that gives bytes."""

        def read(self, count: int, /) -> bytes:
            """At most `count` bytes; b"" only at the end."""

    class Writer(Protocol):
        """Takes the members of a tar."""

        def add(self, entry: Entry, payload: TarReader | None = None, /) -> object:
            """Write one member."""

        def close(self) -> None:
            """Write the end."""

    Write = Callable[[bytes], object]
else:
    Protocol = object


_CAP_CHOWN, _CAP_SYS_ADMIN, _CAP_MKNOD = 1 << 0, 1 << 21, 1 << 27
_NODES = _CAP_SYS_ADMIN | _CAP_MKNOD


class Mode(Value):
    """What this process may do to files. `single`: chown is impossible, owners are kept beside.

    `devices`: nodes are made. Who may not mount cannot keep a program from using them, so then they are not.
    """

    userxattr: bool = False
    single: bool = False
    devices: bool = True

    @classmethod
    def detect(cls, single: bool | None = None) -> Mode:
        """Read from the user namespace of this process; `single` given overrides.

        In the first namespace root may do everything and trusted.* attributes work; anywhere else, and
        without CAP_SYS_ADMIN, overlayfs keeps its marks in user.* (overlayfs.rst, "userxattr"). Somebody
        who is not root in his namespace, or lacks CAP_CHOWN, can chown nothing.
        """
        with open("/proc/self/uid_map", encoding="ascii") as file:
            counts = [int(line.split()[2]) for line in file]
        first, rights = os.geteuid() == 0 and userns.is_first(), linux.capabilities()[0]
        if single is None:
            single = os.geteuid() != 0 or sum(counts) == 1 or not rights & _CAP_CHOWN
        devices = first and rights & _NODES == _NODES
        return cls(userxattr=not (first and bool(rights & _CAP_SYS_ADMIN)), single=single, devices=devices)


class Placed(Value):
    """A committed tree as a driver sees it: `folder` holds it, `driver` made it."""

    diff_id: Digest
    folder: str
    driver: str


class Made(Value):
    """What a driver made: bytes of content, and `root` = "mode uid gid" if the layer sets its root."""

    size: int
    root: str = ""


class Held:
    """Descriptors whose locks keep from the sweep what a new layer borrows. `with` it.

    Held until the layer is published or given up: before, its list of what it borrows is on its way through
    folders, where the sweep cannot be sure to find it.
    """

    def __init__(self) -> None:
        self._fds: list[int] = []

    def keep(self, fd: int) -> None:
        """Own a descriptor until the end."""
        self._fds.append(fd)

    def close(self) -> None:
        """Let go. Idempotent."""
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Node:
    """One path of one layer, not merged with others. `kind` as in a tar entry, or 'whiteout'.

    `implied`: a folder that the layer needs but does not describe; what is beneath says how it looks.
    `content` is the same number for names of a layer that are one file (hard links); 0: nobody's else.
    `inode` likewise, for everything but folders and only where there are several names; 0: none, or unknown.
    `block` is where the content of a file begins in the layer's tar, -1 when it lies elsewhere.
    """

    __slots__ = (
        "block", "content", "gid", "implied", "inode", "kind", "link", "major", "minor", "mode", "mtime_ns",
        "opaque",
        "size", "uid",
    )  # fmt: skip

    def __init__(self, kind: str, mode: int, uid: int, gid: int, mtime_ns: int, size: int) -> None:
        self.kind, self.mode, self.uid, self.gid = kind, mode, uid, gid
        self.mtime_ns, self.size = mtime_ns, size
        self.link = b""
        self.major = self.minor = self.content = self.inode = 0
        self.block = -1
        self.opaque = self.implied = False


class LayerReader(Protocol):
    """Reads one tree by literal paths: `path` holds no link, `..` or empty part; b"" is the root."""

    def node(self, path: bytes) -> Node | None:
        """What the layer has there; a folder on the way that is none means None."""

    def names(self, path: bytes) -> list[bytes]:
        """Names in a folder of this layer, whiteouts included."""

    def open(self, path: bytes) -> BinaryIO:
        """A regular file, for reading, which can seek; the caller closes it. Raises NotFound, OSError."""

    def xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted, without overlay's own."""

    def close(self) -> None:
        """Close what it holds. Idempotent."""


class TreeDriver(Protocol):
    """One way to keep trees. Folders are absolute paths that the facade made or is to publish.

    Every method may raise StoreError; none leaves something outside of the folders it was given.
    """

    name: str

    def probe(self, scratch: str) -> str:
        """Try it in the empty folder `scratch`; one sentence why it works. Raises Unsupported."""

    def ingest(self, stream: Reader, folder: str, held: Held) -> Made:
        """Fill the empty `folder` from an uncompressed layer; need not read past the end marker.

        What the tree shares with others must be whole until `held` is closed, which comes after the folder
        was published. Raises InvalidArchive; the facade then drops the folder.
        """

    def view(self, trees: Sequence[Placed], empty: str) -> Mount:
        """Read-only; `trees` lowest first, `empty` an empty folder to fill up with."""

    def prepare(self, trees: Sequence[Placed], empty: str, folder: str, root: str) -> tuple[Mount, str]:
        """Make what an active needs in the empty `folder`; (mount, folder of the difference).

        `root` is the "mode uid gid" that the new root must have, "" for the default.
        """

    def active(self, trees: Sequence[Placed], empty: str, folder: str) -> tuple[Mount, str]:
        """The same for an active prepared earlier."""

    def pack(
        self, trees: Sequence[Placed], folder: str, write: Write, clamp: int | None, root: str, held: Held
    ) -> Made:
        """Write the difference of an active as one deterministic tar; its files get the times written.

        `held` as in `ingest`.
        """

    def entries(
        self, trees: Sequence[Placed], folder: str, merged: int
    ) -> Iterator[tuple[Entry, Callable[[], TarReader] | None]]:
        """The difference of an active as entries of a layer, or of `merged` (a descriptor) if not -1."""

    def adopt(self, folder: str, into: str) -> None:
        """Make the packed difference of the active `folder` the tree in the empty folder `into`."""

    def renew(self, folder: str) -> bool:
        """After `adopt`: whether the active `folder` is still a whole root, for `extend` to go on with."""

    def extend(self, trees: Sequence[Placed], count: int, empty: str, folder: str, root: str) -> bool:
        """As `prepare`, from a root that holds the lowest `count` of the trees. False if it cannot.

        The folder must then be emptied.
        """

    def own(self, folder: str, path: bytes, uid: int, gid: int) -> None:
        """Give a path of the active an owner."""

    def reader(self, tree: Placed) -> LayerReader:
        """Read one tree. Raises OSError."""

    def tar(self, tree: Placed) -> BinaryIO:
        """The layer's tar, bit for bit as it came in or was packed; the caller closes it, one thread reads.

        Not verified: the bytes are those of the diff id unless the disk has damaged them. Raises
        Unsupported when this tree cannot give it, StoreError.
        """

    def lower(self, tree: Placed) -> str | Erofs:
        """The tree as a lower layer of an overlay mount."""
