"""Durable state, one job each: blobs, trees, names, build steps, containers, and the sweep."""

from __future__ import annotations

from .store import Store

__all__ = ["Store"]
