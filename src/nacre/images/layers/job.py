"""One layer on its way from a source into the store."""

from __future__ import annotations

from ...ground.work.pipe import Stopped
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Event

    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ...words.progress import Task
    from ..model.source import Source


class LayerJob(Value):
    """To make the tree `diff_id` of the blob `layer` of a source. `task` is told how far it is.

    `stop`, once set, ends it: by then another layer has failed.
    """

    store: Store
    layer: Descriptor
    diff_id: Digest
    source: Source
    task: Task
    stop: Event | None = None

    def check(self) -> None:
        """Raises Stopped when the transfer was stopped."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped("the transfer was stopped")

    def phase(self, name: str) -> None:
        """What is done to the whole blob from now on."""
        self.task.phase(name, self.layer.size)

    @property
    def has_tree(self) -> bool:
        """Whether the tree is there already, perhaps out of another blob."""
        return self.store.trees.has(self.diff_id)

    @property
    def keeps_blob(self) -> bool:
        """Whether the blob is to stay: by the policy, or because nobody else is known to have it.

        A plain layer is its tree's tar, which is there anyway.
        """
        at_registry = "/" in self.source.where
        return self.layer.digest != self.diff_id and (not at_registry or self.store.keeping.keeps)
