"""Containers of a store: made, started, watched, ended and removed. No daemon."""

from .service import Containers, CreateRequest

__all__ = ["Containers", "CreateRequest"]
