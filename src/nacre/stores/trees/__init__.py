"""Committed file systems, by diff id, through whichever driver this machine can use."""

from __future__ import annotations

from .base import Mode
from .facade import Active, Trees

__all__ = ["Active", "Mode", "Trees"]
