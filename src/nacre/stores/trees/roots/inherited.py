"""Owners kept beside lower layers, for what a program has copied up: a copy has lost them.

The owner of a path is that of the layer which shows it. A line of a layer further down counts for nothing:
what lies above it may belong to 0:0, which needs no line, or hide the path.
"""

from __future__ import annotations

from ..forms import owners
from ..reading.view import open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from ....words.digest import Digest
    from ..forms.owners import RecordedOwner
    from ..model import StoredTree
    from ..reading.view import TreeView

    class Owners(Protocol):
        """Owners by path; a dict is one."""

        def get(self, path: bytes, /) -> RecordedOwner | None:
            """The owner that was kept, None if none was."""


class Inherited:
    """Owners in the active `folder` over `trees`, lowest first. Layers are read when they are asked for."""

    def __init__(self, trees: Sequence[StoredTree], folder: str) -> None:
        self._trees = trees
        self._own = owners.load(folder)
        self._lines: dict[Digest, dict[bytes, RecordedOwner]] = {
            t.diff_id: owners.load(t.folder) for t in trees
        }
        self._view: TreeView | None = None

    def get(self, path: bytes, /) -> RecordedOwner | None:
        """What was said of the path in the active, else in the layer that shows it. Raises StoreError."""
        if path in self._own:
            return self._own[path]
        if not any(path in lines for lines in self._lines.values()):
            return None
        found = self._opened().lookup(path, follow=False)
        return self._lines[found.layer].get(path) if found else None

    def _opened(self) -> TreeView:
        if self._view is None:
            self._view = open_view(self._trees)
        return self._view

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        if self._view is not None:
            self._view.close()
            self._view = None

    __del__ = close
