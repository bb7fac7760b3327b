"""How a layer is to look on disk, who is told what could not be made, and what an extraction met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...grammars.tar.entry import Entry
from ...words.value import Value
from ..twins import Twins
from ..work.budget import Budget


class Form(Value):
    """How a tree looks on disk.

    `whiteouts` "overlay" keeps them as overlayfs does (char device 0/0 and `opaque_xattr`), for a root that
    holds one layer; "delete" removes what lies beneath, for a root that holds the lower layers already;
    "none" takes their names for ordinary ones. `keep_kinds` refuses to let a folder replace something else
    or something else replace a folder. `links` False: a folder takes the place of a link that lower layers
    left on the way, as overlayfs shows it; links of the layer itself are always followed.
    `owners` False: never chown (a namespace with one id). `devices` False: device nodes are made as empty
    files (a user namespace), whiteouts excepted. `notes` is told what could not be made as it is.
    `budget`: with one, other processes may be started that make files (work/files.py); never for a root that
    is not nacre's own, or in namespaces of a container. `twins` are files of other trees, to share
    (twins.py). `placed` is called with each file and its path without links, before its payload is read.
    """

    whiteouts: str = "overlay"
    opaque_xattr: bytes = b"trusted.overlay.opaque"
    owners: bool = True
    devices: bool = True
    notes: MetadataRecorder | None = None
    keep_kinds: bool = False
    links: bool = True
    budget: Budget | None = None
    twins: Twins | None = None
    placed: Callable[[Entry, bytes], None] | None = None

    @property
    def origin_xattr(self) -> bytes:
        """The mark of a folder that holds whiteouts."""
        return self.opaque_xattr.removesuffix(b"opaque") + b"origin"


class MetadataRecorder(Protocol):
    """Keeps what a file system cannot: owners, devices and xattrs. Paths are without links."""

    def lost(self, entry: Entry) -> None:
        """Something of it could not be made."""

    def made(self, path: bytes) -> None:
        """All of it could be made, whatever was there before."""

    def linked(self, path: bytes, first: bytes) -> None:
        """A further name of the file `first`."""

    def removed(self, path: bytes, folder: bool) -> None:
        """It is gone, with all that was in it if it was a folder."""


class Stats(Value):
    """What an extraction met: `entries`, bytes of content `size`, and how many entries are `unkept`:
    their owner, device or an xattr could not be made here. `implied` are folders that were made as
    parents and that no entry described. `replaced`: how many files and folders gave way to a later entry.
    `shared`: bytes of content that are those of another tree's file, by a link.
    """

    entries: int = 0
    size: int = 0
    unkept: int = 0
    implied: tuple[bytes, ...] = ()
    replaced: int = 0
    shared: int = 0
