"""Containers as they are: looked up, told of and removed; what needs more is in `service`."""

from __future__ import annotations

import os
import time

from ...ground.files import os_errors, remove_tree, trace
from ...stores.containers import BEGUN
from ...stores.events import of_container, of_networks, of_volumes
from ...stores.layout import mount_point
from ...words.digest import Digest
from ...words.errors import Conflict, NotFound
from ...words.quickjson import loads
from . import keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...stores.containers import ContainerRow
    from ...stores.store import Store


def outdated(store: Store, rows: Iterable[ContainerRow]) -> set[str]:
    """Ids of the containers whose image's reference means another image by now, or none.

    Containers of the same reference and image are asked for once.
    """
    current: dict[tuple[str, str], bool] = {}
    found = set()
    for row in rows:
        key = row.image, row.image_ref
        if key not in current:
            current[key] = _still_means(store, row)
        if not current[key]:
            found.add(row.id)
    return found


def _still_means(store: Store, row: ContainerRow) -> bool:
    """Whether the reference of a container's image means that image now; one by digest or id always does."""
    text = row.image_ref
    if "@" in text or text.startswith("host:"):
        return True
    names = {f"{head}{text}{tag}" for head in _HEADS for tag in ("", ":latest")}
    if text and not names.isdisjoint(store.refs.names_of(Digest(row.image))):
        return True
    number = text.removeprefix("sha256:")
    known = (row.image, loads(row.config_json).get("image_id") or "")
    return len(number) > 3 and any(one.startswith(f"sha256:{number}") for one in known)


_HEADS = ("", "docker.io/", "docker.io/library/")
"""What a reference may leave out. Source: distribution/reference, ParseNormalizedNamed."""


class ContainerListing:
    """All containers of `store`. The process must be `userns.mapped()` to remove any."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def folder(self, number: str) -> str:
        """The folder of a container, by full id."""
        return self.store.containers.folder(number)

    def get(self, text: str) -> ContainerRow:
        """By name, id or unique prefix, with its state as it is now. Raises NotFound, Conflict."""
        return self._current(self.store.containers.get(text))

    def list(self, *, all: bool = True) -> list[ContainerRow]:
        """The newest first, with their states as they are now; `all` False: only those that run."""
        rows = []
        for row in self.store.containers.list(all=all):
            try:
                current = self._current(row)
            except NotFound:
                continue
            if (all or current.is_live) and not self._abandoned(row, current):
                rows.append(current)
        return rows

    def tell(self, row: ContainerRow, action: str, **more: object) -> None:
        """Record what happens to a container for `nacre events`, with its image, name and labels."""
        of_container(self.store.root, row, action, more)

    def tell_end(self, row: ContainerRow, code: int, moment: float = 0.0) -> None:
        """It has ended, now or at `moment`, has left its networks, and what it had mounted is free."""
        of_networks(self.store.root, row, connected=False)
        of_volumes(self.store.root, row, mounted=False)
        took = (moment or time.time()) - row.started if row.started else 0.0
        self.tell(row, "die", exitCode=code, execDuration=int(max(took, 0.0)))

    def lift_limits(self, row: ContainerRow) -> None:
        """Remove the control groups that were made for a container, by whom and when ever."""
        if os.path.exists(self.store.containers.file(row.id, "groups")):
            from . import limits

            if limits.finish(self.store, row.id):
                self.tell(row, "oom")

    def _end_rest(self, row: ContainerRow) -> None:
        """What a killed supervisor left to others."""
        self.lift_limits(row)
        if os.path.isdir(self.store.containers.file(row.id, "bundle")):
            from .runtime import end_runtime

            end_runtime(self.store, row)

    def _current(self, row: ContainerRow) -> ContainerRow:
        """A row that says running while nobody keeps the container: its keeper died, and it with it.

        Raises NotFound when it was removed meanwhile and nobody can say how it ended, and for what was never
        whole because its maker died.
        """
        if row.state == BEGUN:
            return self._begun(row)
        if not row.is_live or keeper.is_kept(self.folder(row.id)):
            return row
        self._end_rest(row)
        code, moment = keeper.outcome(self.folder(row.id))
        moment, last = moment or time.time(), keeper.LOST if code is None else code
        changes = {"state": "exited", "pid": 0, "exit_code": last, "finished": moment}
        try:
            if not self.store.containers.end(row.id, **changes):
                return self.store.containers.get(row.id)  # another process has seen it first
        except NotFound:
            if code is None:
                raise
            return row.replace(**changes)
        if code is None or not row.auto_remove:  # nobody was left to tell
            self.tell_end(row, last, moment)
        return row.replace(**changes)

    def _begun(self, row: ContainerRow) -> ContainerRow:
        """For others it is a container as soon as it is there, unless nobody will make it whole any more."""
        if self.store.containers.is_starting(row.id):
            return row.replace(state="created")
        latest = self.store.containers.get(row.id)  # finished just now?
        if latest.state == BEGUN:
            self._discard(row)
            raise NotFound(f"No such container: {row.name}")
        return latest

    def _abandoned(self, before: ContainerRow, current: ContainerRow) -> bool:
        """Remove what a killed keeper of a --rm container left; True if that was so."""
        if not (before.auto_remove and current.state == "exited"):
            return False
        if self.store.containers.is_restarted(before.id):
            return False
        self._discard(before)
        return True

    def remove(self, text: str, *, force: bool = False, volumes: bool = False) -> ContainerRow:
        """Remove a container and all that is its own, with `volumes` its anonymous volumes too.

        Raises NotFound; Conflict when it runs and not `force`.
        """
        row = self.get(text)
        if row.is_live:
            if not force:
                from .pausing import check_not_paused

                what = f'cannot remove container "/{row.name}": container is paused'
                check_not_paused(self, row, f"{what} and must be unpaused first")
                raise Conflict(
                    f'cannot remove container "/{row.name}": container is {row.state}',
                    hint="stop the container before removing it, or force the removal with -f",
                )
            from .ending import end

            end(self, row)
        self._discard(row, volumes=volumes)
        return row

    def _discard(self, row: ContainerRow, *, volumes: bool = False) -> None:
        """Its anonymous volumes go with it when it was `--rm` or never whole, as docker has it."""
        self.lift_limits(row)
        if os.path.isdir(mount_point(self.store.root, row.id)):
            from ...stores.mounted import release

            release(self.store.root, row.id, force=True)
        self.store.actives.discard(row.id)
        trace("container:discarded")
        self.store.containers.delete(row.id)  # before the lock in its folder goes, whose absence means an end
        trace("container:deleted")
        if row.state != BEGUN or row.auto_remove:
            self.tell(row, "destroy")
        folder = self.folder(row.id)
        if os.path.isdir(folder):
            with os_errors(f"remove {folder}"):
                remove_tree(folder)
        anonymous = loads(row.config_json).get("anonymous")
        if anonymous and (volumes or row.auto_remove or row.state == BEGUN):
            from . import filling

            filling.discard(self.store, tuple(anonymous))
