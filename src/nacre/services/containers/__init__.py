"""Containers of a store: made, started, watched, ended and removed. No daemon."""
