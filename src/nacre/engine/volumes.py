"""Volumes: made, listed and removed."""

from __future__ import annotations

from ..stores import volumes
from ..words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores.volumes import Volume
    from .wiring import Wiring

    Volumes = list[Volume]
    Freed = tuple[list[str], int]


class VolumeCollection:
    """The volumes of an engine's store."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def create(self, name: str = "") -> str:
        """Make a volume unless there is one of this name, "" for a new name; its name. Raises UsageError."""
        from ..services.containers.names import is_name, new_id

        name = name or new_id()
        if not is_name(name):
            raise UsageError(f"{name!r} includes invalid characters for a volume name")
        self._engine.inside(lambda store: volumes.make(store.root, name))
        return name

    def list(self) -> Volumes:
        """All volumes by name."""
        return volumes.every(self._engine.store)

    def get(self, name: str) -> Volume:
        """One volume. Raises NotFound."""
        return volumes.find(self._engine.store, name)

    def remove(self, name: str) -> int:
        """Remove a volume and what is in it; bytes of disk. Raises NotFound, Conflict while it is in use."""
        return self._engine.inside(lambda store: volumes.remove(store, name))

    def prune(self, *, all: bool = False) -> Freed:
        """Remove volumes that no container has, with a name only if `all`; their names, and bytes of disk."""

        def work() -> Freed:
            unused = [one for one in self.list() if not one.users and (all or one.anonymous)]
            return [one.name for one in unused], sum(self.remove(one.name) for one in unused)

        return self._engine.inside(lambda store: work())
