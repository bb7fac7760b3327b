"""What a tree's row would hold, by its tar."""

from __future__ import annotations

from ..model import TreeInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....grammars.tar.entry import Reader


def of_tar(tar: Reader) -> TreeInfo:
    """Bytes of content, and what the layer says of its root. Raises InvalidArchive, StoreError, OSError."""
    from ....grammars.tar.read import read_tar

    size, root = 0, ""
    for entry, _payload in read_tar(tar):
        size += entry.size
        if entry.path == b"":
            root = f"{entry.mode:o} {entry.uid} {entry.gid}"
    return TreeInfo(size, root)
