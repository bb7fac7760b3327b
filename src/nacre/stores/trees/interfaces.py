"""What a form and a root of trees can do.

Only for who checks types: a start loads none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...grammars.tar.entry import Entry
from ...ground.scan import Opener

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO, Self

    from ...grammars.tar.entry import Reader
    from ...words.mount import Erofs, Mount
    from .model import ActiveTree, HeldLocks, StoredTree, Times, TreeInfo
    from .reading.reader import LayerReader
    from .roots.comparison import Comparison

Member = tuple[Entry, Opener | None]
Write = Callable[[bytes], object]


class Writer(Protocol):
    """Takes the members of a tar."""

    def add(self, entry: Entry, payload: Reader | None = None, /) -> object:
        """Write one entry with its content."""

    def close(self) -> None:
        """Write the end of the tar."""


class TreeWriter(Writer, Protocol):
    """A Writer that keeps what a form needs of the tar. `with` it: its files are closed in the end."""

    def __enter__(self) -> Self:
        """Enter `with`; opens nothing."""

    def __exit__(self, *_exc: object) -> None:
        """Close the files, whatever happened."""


class TreeForm(Protocol):
    """How a layer is kept in a folder. Folders are absolute paths; those to be filled are empty.

    Every method may raise StoreError; none leaves something outside of the folders it was given. When and
    under which name a folder is published is not its concern, and it never mounts.
    """

    keeps_files: bool
    """Whether the files that a difference consists of become the tree, and so need the times of its tar."""

    def ingest(self, stream: Reader, folder: str, locks: HeldLocks) -> TreeInfo:
        """Fill `folder` from an uncompressed layer; need not read past the end marker.

        What the tree shares with others must be whole until `locks` are closed, which comes after the folder
        was published. Raises InvalidArchive; the folder is then dropped.
        """

    def writer(self, folder: str, write: Write, locks: HeldLocks) -> TreeWriter:
        """A writer of a difference as one deterministic tar, which goes to `write`.

        Keeps in the `folder` of the active what `adopt` needs, instead of what an earlier one that failed
        has left there. `locks` as in `ingest`.
        """

    def adopt(self, folder: str, upper: str, into: str) -> None:
        """Make the packed difference of the active `folder` the tree in the folder `into`.

        `upper` is where its files are; a form that takes them leaves none.
        """

    def holds(self, folder: str) -> bool:
        """Whether the folder holds a tree of this form: asked where no row says so."""

    def describe(self, tree: StoredTree) -> TreeInfo:
        """What its row would hold; of a damaged one as if it were empty: whoever proves it finds out."""

    def read(self, tree: StoredTree) -> LayerReader:
        """Read its files; the caller closes it. Raises OSError."""

    def tar(self, tree: StoredTree) -> BinaryIO:
        """The layer's tar, bit for bit as it came in or was packed; the caller closes it, one thread reads.

        It can seek where contents lie in it as they are. Not verified: the bytes are those of the diff id
        unless the disk has damaged them. Raises Unsupported when this tree cannot give it.
        """

    def gives_tar(self, tree: StoredTree) -> bool:
        """Whether `tar` would give it, without loading what makes it. Raises Unsupported, StoreError."""

    def lower(self, tree: StoredTree) -> str | Erofs:
        """The tree as a lower layer of an overlay mount. Raises Unsupported where it cannot be one."""

    def is_unpacked(self, tree: StoredTree) -> bool:
        """Whether its files lie in the folder as they are: they must not go while a container shows them."""


class TreeRoot(Protocol):
    """How layers are shown as one root, and what was written into it is told from them.

    Every method may raise StoreError. None mounts: it emits `Mount`.
    """

    is_mounted: bool
    """Whether it is shown by mounting: then a program in it can have mounts of its own."""

    def view(self, trees: Sequence[StoredTree]) -> Mount:
        """The trees, lowest first, read-only. Raises Unsupported."""

    def prepare(self, active: ActiveTree) -> None:
        """Make what it needs in its empty folder."""

    def mount(self, active: ActiveTree) -> tuple[Mount, str]:
        """The root of an active prepared earlier, and the folder that its difference is in."""

    def entries(self, active: ActiveTree) -> Iterator[Member]:
        """The difference as entries of a layer; nothing is changed."""

    def all_entries(self, active: ActiveTree, fd: int) -> Iterator[Member]:
        """Everything in the mounted root `fd`, or in a part of it mounted alone."""

    def pack(self, active: ActiveTree, writer: Writer, times: Times) -> TreeInfo:
        """Write the difference, and the end of the tar."""

    def compare(self, active: ActiveTree, clamp: int | None, *, remove: bool) -> Comparison | None:
        """The difference against the layers beneath; None where it is told by comparing anyway.

        `remove`: what is unchanged is taken out of the difference.
        """

    def is_reusable(self) -> bool:
        """Whether a root that was packed is worth keeping for `extend`: it holds what the layers hold now."""

    def extend(self, active: ActiveTree, count: int) -> bool:
        """As `prepare`, from a root that holds the lowest `count` of the trees. False if it cannot.

        The folder must then be emptied.
        """
