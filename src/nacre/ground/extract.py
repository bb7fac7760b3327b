"""Layers onto a file system: every path opened beneath the root by descriptor, never by a string."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..grammars.entries import Entry, Reader
from ..words.value import Value


class Form(Value):
    """How a tree looks on disk.

    `whiteouts` "overlay" keeps them as overlayfs does (char device 0/0 and `opaque_xattr`), "delete"
    removes what lies beneath, as when a layer is applied onto a root that holds the lower ones.
    `owners` False: never chown (a namespace with one id). `devices` False: device nodes are made as empty
    files (a user namespace), whiteouts excepted. `owned` is called with each entry whose owner, device or
    xattrs could not be made as they are, so that somebody can keep them.
    """

    whiteouts: str = "overlay"
    opaque_xattr: bytes = b"trusted.overlay.opaque"
    owners: bool = True
    devices: bool = True
    owned: Callable[[Entry], None] | None = None


class Stats(Value):
    """What an extraction made: members, and bytes of content."""

    entries: int = 0
    size: int = 0


def extract(entries: Iterable[tuple[Entry, Reader]], root_fd: int, form: Form | None = None) -> Stats:
    """Make the entries of one layer beneath the folder `root_fd`, which stays open.

    Nothing is ever made, changed or removed outside of it. Raises InvalidArchive for an entry that cannot
    be made (the tree is then incomplete: the caller drops it) and StoreError for a full disk and the like.
    """
    raise NotImplementedError


def apply(stream: Reader, root_fd: int, form: Form | None = None) -> Stats:
    """`extract` of the uncompressed tar in `stream`."""
    raise NotImplementedError
