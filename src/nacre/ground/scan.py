"""A file system back to entries, sorted: the inverse of extract."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..grammars.entries import Entry, Reader
from .extract import Form


def scan(root_fd: int, form: Form | None = None) -> Iterator[tuple[Entry, Callable[[], Reader] | None]]:
    """The entries beneath the folder `root_fd`, the root first, a folder before its content, else by bytes.

    Files come with a function that opens their payload (which closes itself at its end). The first name of a
    file with several is the file, the others are hard links. Overlay's whiteouts and opaque marks come back
    as `.wh.` entries. Sockets are left out.
    """
    raise NotImplementedError
