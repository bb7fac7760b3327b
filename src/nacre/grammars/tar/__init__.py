"""Tar archives as streams of entries: reading, writing, and the headers apart from the contents."""
