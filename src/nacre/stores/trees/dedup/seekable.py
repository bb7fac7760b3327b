"""What files have in common that are parts of other files."""

from __future__ import annotations

import io
import os


class Seeking(io.RawIOBase):
    """Readable, of `_size` bytes, the next one read is that at `_at`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._at = size, 0

    def readable(self) -> bool:
        """True, as io.RawIOBase asks."""
        return True

    def seekable(self) -> bool:
        """True, as io.RawIOBase asks."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As for any file; beyond the end nothing is read. Raises OSError before the beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(22, os.strerror(22))
        self._at = base + offset
        return self._at
