"""Who reads one layer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Protocol

    from ....grammars.layer.union import Node
else:
    Protocol = object


class LayerReader(Protocol):
    """Reads one tree by literal paths: `path` holds no link, `..` or empty part; b"" is the root."""

    def node(self, path: bytes) -> Node | None:
        """What the layer has there; a folder on the way that is none means None."""

    def names(self, path: bytes) -> list[bytes]:
        """Names in a folder of this layer, whiteouts included."""

    def open(self, path: bytes) -> BinaryIO:
        """A regular file, for reading, which can seek; the caller closes it. Raises NotFound, OSError."""

    def xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted, without overlay's own."""

    def close(self) -> None:
        """Close what it holds. Idempotent."""
