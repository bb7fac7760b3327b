"""What a folder in ROOT/trees is, when no row says so: which driver made it, and what its row would hold."""

from __future__ import annotations

import os

from ...ground.files import content_size
from ...words.errors import NacreError, Unsupported
from . import files
from .base import Made, Placed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Reader, TreeDriver

_USUAL_ROOT = "755 0 0"


def driver_of(folder: str) -> str:
    """The driver that reads it; "" where there is no tree. An index that is lost is made of the tar."""
    if os.path.exists(f"{folder}/{files.TAR}"):
        return "erofs"
    if not os.path.isdir(f"{folder}/fs"):
        return ""
    return "plain" if os.path.exists(f"{folder}/marks") else "overlay"


def described(driver: TreeDriver, tree: Placed) -> Made:
    """By its tar where it gives one. A damaged one is described as empty: whoever checks it finds out."""
    try:
        with driver.tar(tree) as tar:
            return _of_tar(tar)
    except Unsupported:
        return _of_folder(driver, tree)
    except (NacreError, OSError):
        return Made(0)


def _of_tar(tar: Reader) -> Made:
    from ...grammars.tar.read import read_tar

    size, root = 0, ""
    for entry, _payload in read_tar(tar):
        size += entry.size
        if entry.path == b"":
            root = f"{entry.mode:o} {entry.uid} {entry.gid}"
    return Made(size, root)


def _of_folder(driver: TreeDriver, tree: Placed) -> Made:
    """Without a tar nobody knows whether the layer describes its root; one that is as usual needs it not."""
    reader = driver.reader(tree)
    try:
        node = reader.node(b"")
    finally:
        reader.close()
    root = f"{node.mode:o} {node.uid} {node.gid}" if node else _USUAL_ROOT
    return Made(content_size(f"{tree.folder}/fs"), "" if root == _USUAL_ROOT else root)
