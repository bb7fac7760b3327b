"""Containers of a store: made, started, watched, ended and removed. No daemon."""

from .service import Containers, Request

__all__ = ["Containers", "Request"]
