"""What every room of trees speaks of: a tree, the form in which it is kept, and what this process may do."""

from __future__ import annotations

import os

from ...ground import linux, userns
from ...words.digest import Digest
from ...words.value import Value
from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO, Protocol, Self

    from ...grammars.tar.entry import Entry, Reader
    from ...ground import extract
    from ...ground.scan import Opener
    from ...words.mount import Erofs, Mount
    from .reading.reader import LayerReader
    from .roots.comparison import Comparison

    Member = tuple[Entry, Opener | None]

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
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            counts = [int(line.split()[2]) for line in file]
        first, rights = os.geteuid() == 0 and userns.is_first(), linux.capabilities()[0]
        if single is None:
            single = os.geteuid() != 0 or sum(counts) == 1 or not rights & _CAP_CHOWN
        devices = first and rights & _NODES == _NODES
        return cls(userxattr=not (first and bool(rights & _CAP_SYS_ADMIN)), single=single, devices=devices)

    def on_disk(self, notes: extract.MetadataRecorder | None = None) -> extract.Form:
        """How files of a layer look on this disk, for extract and scan."""
        from ...ground.extract import Form

        marks = b"user" if self.userxattr else b"trusted"
        opaque = marks + b".overlay.opaque"
        return Form(opaque_xattr=opaque, owners=not self.single, devices=self.devices, notes=notes)


class TreeInfo(Value):
    """What is recorded of a tree: bytes of content, and "mode uid gid" of its root if the layer sets that."""

    size: int
    root: str = ""


class HeldLocks:
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
        """Close the descriptors, which releases the locks. Idempotent."""
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


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

    def lower(self, tree: StoredTree) -> str | Erofs:
        """The tree as a lower layer of an overlay mount. Raises Unsupported where it cannot be one."""

    def is_unpacked(self, tree: StoredTree) -> bool:
        """Whether its files lie in the folder as they are: they must not go while a container shows them."""


PLAIN_ROOT = "755 0 0"
"""What `/` is where no layer says it: mode, uid, gid."""


class StoredTree:
    """A committed tree: `folder` holds it, in a `form`.

    `root` is the "mode uid gid" that its layer gives `/`, "" where it says nothing.
    """

    __slots__ = ("diff_id", "folder", "form", "root")

    def __init__(self, diff_id: Digest, folder: str, form: TreeForm, root: str = "") -> None:
        self.diff_id, self.folder, self.form, self.root = diff_id, folder, form, root

    def read(self) -> LayerReader:
        """As `TreeForm.read`. Raises StoreError, OSError."""
        return self.form.read(self)

    def tar(self) -> BinaryIO:
        """As `TreeForm.tar`. Raises Unsupported, StoreError."""
        return self.form.tar(self)

    def lower(self) -> str | Erofs:
        """As `TreeForm.lower`. Raises Unsupported, StoreError."""
        return self.form.lower(self)

    @property
    def is_unpacked(self) -> bool:
        """Whether the files lie in the folder, as `TreeForm.is_unpacked` says."""
        return self.form.is_unpacked(self)

    @property
    def is_opaque(self) -> bool:
        """Whether it hides everything beneath it."""
        return os.path.exists(f"{self.folder}/{files.OPAQUE}")

    @property
    def has_implied(self) -> bool:
        """Whether it has folders that its layer does not describe."""
        return os.path.exists(f"{self.folder}/{files.IMPLIED}")


def root_of(trees: Sequence[StoredTree]) -> str:
    """ "mode uid gid" of `/`, from the topmost tree that says it; "" when none does."""
    return next((tree.root for tree in reversed(trees) if tree.root), "")


class ActiveTree(Value):
    """An active as its root sees it: the trees beneath, lowest first, and the `folder` that is its own.

    `root` is the "mode uid gid" that `/` has in the layers, "" for the default.
    """

    trees: tuple[StoredTree, ...]
    folder: str
    root: str = ""


class Times(Value):
    """Times in a tar are whole seconds, none later than `clamp` (seconds since 1970).

    `on_files`: the files that are packed get them as well.
    """

    clamp: int | None = None
    on_files: bool = False


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
