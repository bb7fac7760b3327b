"""Reports the bytes that were copied up only to change the owner or mode of files."""

from __future__ import annotations

from ...words.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Copied = Sequence[tuple[bytes, int]]
    """Path, relative to the root, and size of each such file."""

WORTH_TELLING = 1 << 20
"""Bytes in all."""

_MOST = 0.9


def cost_of(copied: Copied) -> str:
    """A sentence on it, "" if it is not worth one."""
    total = sum(size for _, size in copied)
    if total < WORTH_TELLING:
        return ""
    place = common_folder(copied).decode("utf-8", "backslashreplace")
    count = f"{len(copied)} file{'s' * (len(copied) > 1)}"
    return f"WARNING: {human_size(total)} copied only to change owner or mode ({count}, most in /{place})"


def common_folder(copied: Copied) -> bytes:
    """The deepest folder, relative to the root, that holds nine tenths of the bytes."""
    enough = _MOST * sum(size for _, size in copied)
    sums: dict[bytes, int] = {}
    for path, size in copied:
        while path := path.rpartition(b"/")[0]:
            sums[path] = sums.get(path, 0) + size
    return max((path for path, size in sums.items() if size >= enough), key=len, default=b"")
