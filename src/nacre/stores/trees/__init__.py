"""Committed file systems, by diff id, through whichever driver this machine can use."""

from __future__ import annotations

from .facade import Active, Trees
from .model import Mode

__all__ = ["Active", "Mode", "Trees"]
