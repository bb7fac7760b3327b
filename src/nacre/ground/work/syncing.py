"""Waits for the disk once for all threads that wait for the same file.

A sync takes as long for one writer as for many. Whatever was written before it began is on the disk when it
ends, so who comes meanwhile waits for the next one, together with all others that came by then.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ...words.errors import StoreError
from ..files import os_errors

if TYPE_CHECKING:
    from collections.abc import Callable


class _Round:
    """One sync, and those who wait for it."""

    def __init__(self) -> None:
        self.is_over = False
        self.error: StoreError | None = None


class DiskWait:
    """For the file or folder `path`, by `sync` of its descriptor. Any thread may use it."""

    def __init__(self, path: str, sync: Callable[[int], object] | None = None) -> None:
        self._path, self._sync = path, sync or os.fsync
        self._next, self._joining, self._turn = _Round(), threading.Lock(), threading.Lock()

    def wait(self) -> None:
        """Return when all that was written before is on the disk. Raises StoreError."""
        with self._joining:
            mine = self._next
        with self._turn:
            if not mine.is_over:
                self._begin(mine)
        if mine.error:
            raise type(mine.error)(mine.error.message)

    def _begin(self, mine: _Round) -> None:
        with self._joining:
            self._next = _Round()
        try:
            with os_errors(f"write {self._path}"):
                self._write()
        except StoreError as error:
            mine.error = error
        mine.is_over = True

    def _write(self) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sync(fd)
        finally:
            os.close(fd)
