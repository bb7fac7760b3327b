"""Tar archives as streams of entries: the face of tarentry, tarread and tarwrite."""

from __future__ import annotations

from .tarentry import OPAQUE, WHITEOUT, Entry, Reader, whiteout
from .tarread import MAX_ENTRIES, read_tar
from .tarwrite import TarWriter

__all__ = ["MAX_ENTRIES", "OPAQUE", "WHITEOUT", "Entry", "Reader", "TarWriter", "read_tar", "whiteout"]
