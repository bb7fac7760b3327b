"""Telling at once that memory has run out in a container: as an event, and in what `inspect` says.

Another runtime makes the control group and removes it again, so it is there before: what happens in it is
known afterwards. That is possible in hierarchies of version 1.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ...ground import userns
from ...ground.limits.hierarchies import places
from ...ground.limits.memory import MemoryWatch
from ...stores.events import of_container
from ...stores.store import Store
from .limits import groups_of, note_oom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ...ground.monitor.loop import EventLoop
    from ...ground.sandbox import Attachment
    from ...stores.containers import ContainerRow

PLACE = __name__, "wake"


class MemoryNotification:
    """`with MemoryNotification(store, row, watch) as told:` it is to be run as `told.before` says."""

    def __init__(self, store: Store, row: ContainerRow, watch: MemoryWatch | None) -> None:
        """Without a `watch` nothing is told."""
        self._store, self._row, self._watch = store, row, watch

    def before(self, attached: Attachment) -> Attachment:
        """The same, and memory is watched while the program runs, by the shim as well."""
        watch, begin, leave = self._watch, attached.beside, attached.leave
        if watch is None:
            return attached

        def beside(loop: EventLoop) -> Callable[[], object]:
            loop.watch_for_others(watch.fd, self.look)
            return begin(loop) if begin else self.look

        def leaving(told: dict[str, Any]) -> None:
            described = watch.describe()
            descriptors = [*told["descriptors"], *described[1]]
            if leave:
                told = {**told, "descriptors": descriptors}
                leave({**told, "memory": {"place": PLACE, "watch": described}})

        return attached.replace(beside=beside, leave=leaving if leave else None)

    def look(self) -> None:
        """Tell if there is news."""
        if self._watch and self._watch.heard():
            self._tell()

    def _tell(self) -> None:
        note_oom(self._store, self._row.id)
        of_container(self._store.root, self._row, "oom", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        watch, self._watch = self._watch, None
        if watch:
            watch.close()


class ForeignMemoryNotification(MemoryNotification):
    """Of a container whose control group its runtime removes."""

    def __exit__(self, *exc: object) -> None:
        if self._watch and self._watch.heard_at_last():
            self._tell()
        super().__exit__(*exc)


def noticed(store: Store, row: ContainerRow, record: dict[str, Any]) -> MemoryNotification:
    """For a container that is to run, with a limit of memory. Gives `record` what its runtime must know."""
    if record["runtime"] != "builtin":
        return ForeignMemoryNotification(store, row, _of_runtime(row, record))
    groups = groups_of(store, row.id)
    with suppress(OSError):
        for group in groups.groups:
            if "memory" in group.controllers:
                return MemoryNotification(store, row, MemoryWatch(group.folder, group.version))
    return MemoryNotification(store, row, None)


def _of_runtime(row: ContainerRow, record: dict[str, Any]) -> MemoryWatch | None:
    from ...ground.sandbox.external import name_of

    first = [place for place in places() if place.version == 1 and "memory" in place.controllers]
    if not first or not userns.is_first():
        return None
    name = name_of(row.id)
    folder = f"{first[0].top}/{name}"
    try:
        os.makedirs(folder, 0o755, exist_ok=True)
        watch = MemoryWatch(folder)
    except OSError:
        return None
    config = record["config"]
    record["config"] = config | {"linux": config["linux"] | {"cgroupsPath": f"/{name}"}}
    return watch


def wake(told: dict[str, Any]) -> tuple[str, list[int], int]:
    """In the shim: tell what has happened; how to go on watching. Raises NacreError, OSError."""
    watch = MemoryWatch.adopt(*told["memory"]["watch"])
    with Store.open(told["root"], create=False) as store:
        MemoryNotification(store, store.containers.get(told["id"]), watch).look()
    return watch.describe()
