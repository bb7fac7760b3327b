"""Committed file systems, by diff id, through whichever driver this machine can use."""

from __future__ import annotations

from .base import Mode
from .facade import Active, Trees
from .lookup import Found, TreeView

__all__ = ["Active", "Found", "Mode", "TreeView", "Trees"]
