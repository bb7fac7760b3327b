"""Writing a tar, the same bytes for the same entries: ustar where it fits, PAX records where not."""

from __future__ import annotations

from collections.abc import Callable

from .tarentry import Entry, Reader


class TarWriter:
    """Writes members one after the other through `write`; never closes anything."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.offset = 0
        """Bytes written so far."""

    def add(self, entry: Entry, payload: Reader | None = None) -> Entry:
        """Write one member; `payload` gives exactly its data (a sparse file: its segments).

        Returns the entry with its `offset` set. Raises InvalidArchive when the payload is short.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write the end marker, two blocks of zeros."""
        raise NotImplementedError
