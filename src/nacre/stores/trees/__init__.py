"""Committed file systems, by diff id, through whichever driver this machine can use."""

from __future__ import annotations

from ...words.digest import Digest
from ...words.mount import Mount
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO, Protocol

    class Reader(Protocol):
        """Anything that gives bytes."""

        def read(self, size: int = -1, /) -> bytes:
            """At most `size` bytes; b'' at the end."""


class Active(Value):
    """A tree being written: mount `mount`, write, then `Trees.commit` or `Trees.discard`.

    `upper` is the folder that holds the difference; `layers` are the diff ids beneath, lowest first.
    """

    key: str
    layers: tuple[Digest, ...]
    mount: Mount
    upper: str


class Found:
    """A file found in a stack of layers. Attributes as in a tar entry."""

    path: bytes  # resolved, relative to the root of the image, b"" the root
    kind: str  # 'file' 'dir' 'symlink' 'char' 'block' 'fifo'
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: bytes
    major: int
    minor: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    layer: Digest  # the layer it comes from

    def open(self) -> BinaryIO:
        """The content of a regular file; the caller closes it. Raises NotFound for any other kind."""
        raise NotImplementedError


class TreeView:
    """Reading a stack of layers without mounting; `with` it. Never leaves the image by `..` or links."""

    def lookup(self, path: bytes, *, follow: bool = True) -> Found | None:
        """The file at `path`, symlinks resolved inside the image (the last one only with `follow`)."""
        raise NotImplementedError

    def names(self, path: bytes = b"") -> list[bytes]:
        """Names in a folder, merged over the layers, sorted; [] when it is no folder."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the descriptors held."""

    def __enter__(self) -> TreeView:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Trees:
    """All trees of a store. `layers` is always diff ids, lowest first."""

    name: str  # the driver in use
    why: str  # one sentence: why this driver

    def has(self, diff_id: Digest) -> bool:
        """Is the tree here, whole?"""
        raise NotImplementedError

    def missing(self, layers: Sequence[Digest]) -> list[Digest]:
        """Those that are not here (one query)."""
        raise NotImplementedError

    def ingest(self, stream: Reader, expected: Digest | None = None) -> Digest:
        """Make a tree from an uncompressed layer tar, read to its very end; atomic; gives the diff id.

        Joins an ingest of the same `expected` that is under way (then the stream is not read), and reads
        nothing when the tree exists. Raises DigestMismatch, InvalidArchive, TooLarge, StoreError.
        """
        raise NotImplementedError

    def view(self, layers: Sequence[Digest]) -> Mount:
        """The layers as one read-only file system. Raises NotFound when one is missing."""
        raise NotImplementedError

    def prepare(self, key: str, layers: Sequence[Digest]) -> Active:
        """A writable file system over the layers. `key` [a-z0-9]+ is new: Conflict if it exists.

        Kept by the container of that id, else by the lease of this store.
        """
        raise NotImplementedError

    def active(self, key: str) -> Active | None:
        """An active that was prepared earlier, perhaps by another process."""
        raise NotImplementedError

    def pack(self, active: Active, write: Callable[[bytes], object]) -> Digest:
        """Write the difference as one deterministic tar; gives its diff id. The active stays."""
        raise NotImplementedError

    def commit(
        self, active: Active, write: Callable[[bytes], object], *, clamp: int | None = None
    ) -> Digest:
        """`pack`, then the difference becomes the tree of that diff id without extracting; the active is gone.

        Times are whole seconds as in docker's layers, none later than `clamp` (seconds since 1970), in
        the tar and in the tree. Nothing must be mounted on the active any more. A step that changed
        nothing gives the canonical empty tar. When it fails, the active is as before.
        """
        raise NotImplementedError

    def discard(self, key: str) -> None:
        """Drop an active. Idempotent."""
        raise NotImplementedError

    def own(self, active: Active, path: bytes, uid: int, gid: int) -> None:
        """Record the owner of a path in the active where the system cannot (one id only); else chown it."""
        raise NotImplementedError

    def open(self, layers: Sequence[Digest]) -> TreeView:
        """Read files through the layers without mounting. Raises NotFound."""
        raise NotImplementedError

    def lookup(self, layers: Sequence[Digest], path: bytes, *, follow: bool = True) -> Found | None:
        """One look through `open(layers)`."""
        raise NotImplementedError

    def size(self, diff_id: Digest) -> int:
        """Bytes of content in the tree's files. Raises NotFound."""
        raise NotImplementedError

    def delete(self, diff_id: Digest) -> int:
        """Remove a tree; bytes freed. Only the sweep calls it."""
        raise NotImplementedError
