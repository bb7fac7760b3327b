"""Committed file systems by diff id, and those that are being written."""
