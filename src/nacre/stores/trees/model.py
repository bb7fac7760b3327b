"""What every room of trees speaks of: a tree, what is recorded of it, and what this process may do."""

from __future__ import annotations

import os

from ...ground import linux, userns
from ...words.digest import Digest
from ...words.value import Value
from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO, Self

    from ...ground import extract
    from ...words.mount import Erofs
    from .interfaces import TreeForm
    from .reading.reader import LayerReader

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
        counts = [int(word) for word in linux.read_proc("/proc/self/uid_map").split()[2::3]]
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

    def gives_tar(self) -> bool:
        """As `TreeForm.gives_tar`. Raises Unsupported, StoreError."""
        return self.form.gives_tar(self)

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
