"""A folder for what one build needs for a while; it cannot outlive its process for long.

It lies among the folders of containers and is named by a lease, so the sweep frees it when the
process that made it has died.
"""

from __future__ import annotations

from ...ground.files import private_dir, random_name, remove_tree, surely

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.store import Store


class ScratchDirectory:
    """The folder `path`, made at once. `with` it, or `close` it. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        key = f"build-{random_name()}"
        self._lease = store.leases.hold()
        self.path = store.containers.folder(key)
        try:
            self._lease.add("container", key)
            private_dir(self.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove it with all it holds. Idempotent."""
        surely(remove_tree, self.path)
        self._lease.close()

    def __enter__(self) -> ScratchDirectory:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
