"""Folders that a layer needs and does not describe, and whether it hides what lies beneath: beside its tree.

A tar may hold `usr/bin/tool` without `usr` and `usr/bin`. Unpacked on its own such a layer has folders that
nobody described; the tree remembers which, so that they can look as a lower layer has them.

    trees/<hex>/implied     their paths, each ended by a NUL
    trees/<hex>/opaque      empty; only where the root of the layer is opaque
"""

from __future__ import annotations

from ....ground.files import write_atomic
from ..files import IMPLIED, OPAQUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def save(folder: str, paths: Iterable[bytes]) -> None:
    """Keep them beside the tree; nothing is written for none."""
    data = b"".join(path + b"\0" for path in sorted(paths))
    if data:
        write_atomic(f"{folder}/{IMPLIED}", data)


def load(folder: str) -> frozenset[bytes]:
    """The implied folders of a tree, mostly none. Raises OSError."""
    try:
        with open(f"{folder}/{IMPLIED}", "rb") as file:
            return frozenset(file.read().split(b"\0")[:-1])
    except FileNotFoundError:
        return frozenset()


def hide_lower(folder: str) -> None:
    """Note that the tree in `folder` hides all that lies beneath it. Raises StoreError."""
    write_atomic(f"{folder}/{OPAQUE}", b"")
