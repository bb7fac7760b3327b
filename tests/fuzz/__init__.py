"""Bytes that nobody wrote on purpose, for everything that reads them."""
