"""Committed file systems by diff id, and those that are being written."""

from __future__ import annotations

from .actives import Active, Actives
from .committed import Trees
from .model import Mode

__all__ = ["Active", "Actives", "Mode", "Trees"]
