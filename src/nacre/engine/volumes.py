"""Volumes: made, listed and removed."""

from __future__ import annotations

from ..stores import volumes
from ..words.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..stores.store import Store
    from ..stores.volumes import Volume
    from .wiring import Wiring

    Volumes = list[Volume]
    Freed = tuple[list[str], int]


class VolumeCollection:
    """The volumes of an engine's store."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def create(
        self, name: str = "", *, labels: Mapping[str, str] | None = None, driver: str = "local",
        options: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Make a volume unless there is one of this name, "" for a new name; its name.

        `options` are those of docker's driver `local`, for a folder of the host. Raises UsageError,
        Unsupported.
        """
        from ..services.containers.driveroptions import check_driver, check_options
        from ..services.containers.names import new_id
        from ..services.containers.volumes import check_name

        check_driver(driver)
        check_options(options or {})
        name = name or new_id()
        check_name(name)
        more = tuple((labels or {}).items()), tuple((options or {}).items())
        self._engine.inside(lambda store: volumes.make(store.root, name, *more))
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

    def prune(self, *, all: bool = False, picked: Callable[[Volume], bool] | None = None) -> Freed:
        """Remove volumes that no container has, with a name only if `all`; their names, and bytes of disk.

        `picked` says which of them.
        """

        def work(store: Store) -> Freed:
            names, freed = [], 0
            for one in volumes.every(store):
                if not one.users and (all or one.anonymous) and (picked is None or picked(one)):
                    try:
                        freed += volumes.remove(store, one.name)
                    except (Conflict, NotFound):  # a container has it now, or somebody was faster
                        continue
                    names.append(one.name)
            return names, freed

        names, freed = self._engine.inside(work)
        self._engine.tell("volume", "prune", "", reclaimed=str(freed))
        return names, freed
