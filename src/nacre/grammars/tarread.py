"""Reading a tar stream: v7, ustar, GNU, star and PAX, bounded and safe on hostile input."""

from __future__ import annotations

from collections.abc import Iterator

from .tarentry import Entry, Reader

MAX_ENTRIES = 10_000_000
"""Most members of one archive, unless the caller says otherwise."""


def read_tar(stream: Reader, max_entries: int = MAX_ENTRIES) -> Iterator[tuple[Entry, Reader]]:
    """The members of an archive in its order, each with its payload.

    The payload must be read before the next member is asked for; what is left is skipped. For a sparse
    file it gives the data segments only, one after the other. Reading stops after the end marker: what
    follows is left in `stream`. Raises InvalidArchive, which names the entry, for anything damaged,
    truncated, hostile or over a bound. Does not close `stream`.
    """
    raise NotImplementedError
