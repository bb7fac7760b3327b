"""The same beginning for every run: nothing left to write to the disk, and no memory that nobody uses.

The host of a virtual machine may take back memory that is free there, and every first touch of it then costs
several times as much as on a machine that has been up for a while, whose memory is full of cached files.
So what is free is filled with those: with the holes of a sparse file, which costs no disk.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

_LEFT = 1 << 30
_CHUNK = 1 << 22


class Steady:
    """`with` it; `reach` before each run. The memory is let go of at the end."""

    def __init__(self, folder: Path) -> None:
        self._holes = tempfile.TemporaryFile(dir=folder, buffering=0)

    def __enter__(self) -> Steady:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._holes.close()

    def reach(self) -> None:
        """Write what is dirty, and fill what is free but for a gigabyte. The kernel may keep more free."""
        os.sync()
        free = _free()
        if free > _LEFT:
            self._holes.truncate(self._holes.seek(0, os.SEEK_END) + free - _LEFT // 2)
            while self._holes.read(_CHUNK):
                continue


def _free() -> int:
    """Bytes of memory in which there is nothing."""
    found = re.search(r"^MemFree:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
