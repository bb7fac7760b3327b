"""Where the bytes are that a step copied only to change an owner or a mode."""

from __future__ import annotations

import pytest

from nacre.images.layers.copyup import common_folder


@pytest.mark.parametrize(
    ("copied", "folder"),
    [
        ([(b"app/a/one", 5)], b"app/a"),
        ([(b"app/a/one", 5), (b"app/b/two", 5)], b"app"),
        ([(b"app/a/one", 95), (b"srv/two", 5)], b"app/a"),
        ([(b"app/a/one", 50), (b"srv/two", 50)], b""),
        ([(b"file", 50)], b""),
    ],
)
def test_common_folder(copied: list[tuple[bytes, int]], folder: bytes) -> None:
    assert common_folder(copied) == folder
