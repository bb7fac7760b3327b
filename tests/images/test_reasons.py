"""Why a file differs between two builds of the same."""

from __future__ import annotations

import gzip
import struct

import pytest

from nacre.images.audit.reasons import of_content

NOW = 1700000000
GZIP = "a timestamp in the header of gzip"
TOLD = (float(NOW), NOW + 60.0), [b"first-host", b"second-host"]


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        (b"d", b"built at 12:03:04\n", b"built at 12:03:59\n", "a timestamp in the content"),
        (b"d", b"x 2026-01-31 y", b"x 2026-02-01 y", "a timestamp in the content"),
        (b"d", b"t=1700000001;", b"t=1700000059;", "a timestamp in the content"),
        (b"d", b"ab" + struct.pack("<I", NOW) + b"cd", b"ab" + struct.pack("<I", NOW + 9) + b"cd",
         "a timestamp in the content"),
        (b"d", b"ab" + struct.pack(">I", NOW) + b"cd", b"ab" + struct.pack(">I", NOW + 9) + b"cd",
         "a timestamp in the content"),
        (b"g", gzip.compress(b"x", mtime=1), gzip.compress(b"x", mtime=2), GZIP),
        (b"m.pyc", b"m" * 16 + b"code", b"n" * 16 + b"code", "byte code that holds the time of its source"),
        (b"m.pyc", b"m" * 16 + b"code", b"m" * 16 + b"edoc", "byte code"),
        (b"h", b"on first-host", b"on second-host", "the host name"),
        (b"o", b"a\nb\nc\n", b"c\na\nb\n", "the order of lines"),
        (b"o", b"a,b,c", b"c,a,b", "the order of entries"),
        (b"r", b"2fd4e1c6", b"7a2d28fc", "random content"),
        (b"r", b"", b"x", "random content"),
        (b"r", b"x" * 9, b"x" * 10, "random content"),
    ],
)  # fmt: skip
def test_causes_of_another_content(path: bytes, old: bytes, new: bytes, reason: str) -> None:
    assert of_content(path, old, new, TOLD) == reason
