"""What happens to containers between their start and their end."""

from __future__ import annotations

from ..services.containers.listing import ContainerListing
from ..stores.containers import CONTAINER
from ..stores.layout import has_lazy
from ..words.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ..ground.limits.usage import ContainerUsage
    from ..ground.sandbox import Stdio
    from ..images.model.limits import Limits
    from ..services.containers.processes import ProcessList
    from ..services.containers.service import Containers
    from ..stores.containers import ContainerRow
    from ..stores.store import Store
    from .wiring import Wiring

    T = TypeVar("T")


class Lifecycle:
    """The part of `ContainerCollection` that concerns containers which run."""

    _engine: Wiring
    _permit: Callable[..., None]

    def stop(self, name: str, *, timeout: float | None = None, signal: str = "") -> ContainerRow:
        """Send the stop signal, and SIGKILL after `timeout` seconds (None: those of the container)."""
        from ..services.containers.ending import stop

        number = _number(signal) if signal else 0
        return self._inside(lambda found: stop(found, name, timeout, number))

    def kill(self, name: str, signal: str = "KILL") -> ContainerRow:
        """Send a signal to a running container. Raises Conflict when it does not run."""
        from ..services.containers.ending import kill

        number = _number(signal)
        return self._inside(lambda found: kill(found, name, number))

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> ContainerRow:
        """Remove a container; with `force` also one that runs, `volumes` with those that have no name."""
        return self._inside(lambda found: found.remove(name, force=force, volumes=volumes))

    def pause(self, name: str) -> ContainerRow:
        """All processes of a container stand still. Raises Conflict when it does not run, or is paused."""
        from ..services.containers.pausing import pause

        return self._inside(lambda found: pause(found, name))

    def unpause(self, name: str) -> ContainerRow:
        """They go on. Raises Conflict when the container is not paused."""
        from ..services.containers.pausing import unpause

        return self._inside(lambda found: unpause(found, name))

    def update(self, name: str, limits: Limits | None = None, *, restart: str = "") -> ContainerRow:
        """Change limits of a container, at once if it runs, and its restart policy.

        What `limits` does not say stays as it is. Raises UsageError and Conflict for values that do not fit,
        SandboxError for what the kernel refuses.
        """
        from ..services.containers.updating import update

        return self._inside(lambda found: update(found, name, limits, restart, self._engine.config.warn))

    def stats(self, name: str) -> ContainerUsage | None:
        """What a running container uses at this moment; None for one that does not run."""
        from ..services.containers.updating import used

        return self._inside(lambda found: used(found, name))

    def pid(self, row: ContainerRow) -> int:
        """The first process of a running container, 0 for one that does not run."""
        from ..services.containers.program import first_process

        return self._engine.inside(lambda store: first_process(store, row))

    def oom_killed(self, row: ContainerRow) -> bool:
        """Whether a process of a container was killed since its last start because memory ran out."""
        from ..services.containers.limits import oom_killed

        return self._engine.inside(lambda store: oom_killed(store, row.id))

    def failure(self, row: ContainerRow) -> str:
        """Why the last start of a container failed, "" when it did not."""
        from ..services.containers.failure import read

        return self._engine.inside(lambda store: read(store, row))

    def health(self, row: ContainerRow) -> dict[str, Any] | None:
        """docker's State.Health of a container (Status, FailingStreak, Log), None without a check."""
        from ..words.quickjson import loads

        record = loads(row.config_json)
        if not record.get("health"):
            return None
        from ..services.containers.health import state

        return state(ContainerListing(self._engine.store), row, record)

    def missing(self, row: ContainerRow) -> tuple[int, int, str] | None:
        """Bytes of its image that are here, of how many, and what keeps the rest away; None of a whole one.

        Only an image that was pulled lazily comes while its containers run.
        """
        if not has_lazy(self._engine.root):
            return None
        from ..stores.shared import lazy_folders
        from ..stores.trees.files import missing

        folders = lazy_folders(self._engine.store, row.id)
        if not folders:
            return None

        found = [one for one in map(missing, folders) if one]
        troubles = [one[2] for one in found if one[2]]
        return sum(one[0] for one in found), sum(one[1] for one in found), (troubles or [""])[0]

    def is_paused(self, row: ContainerRow) -> bool:
        """Whether a container stands still."""
        from ..services.containers.pausing import is_paused

        return self._engine.inside(lambda store: is_paused(ContainerListing(store), row))

    def restart(self, name: str, *, timeout: float | None = None, signal: str = "") -> ContainerRow:
        """Stop a container if it runs, as `stop`, and start it in the background. Raises as both do."""
        from ..services.containers.ending import restart

        number = _number(signal) if signal else 0

        def work(containers: Containers) -> ContainerRow:
            row = containers.get(name)
            self._permit(containers, networked=row.networked)
            return restart(containers, row.id, timeout, number)

        return self._inside(work, self._shared(name))

    def restarts(self, row: ContainerRow) -> int:
        """How often its policy has started a container again, since a user has."""
        from ..services.containers.supervision import RESTARTS, restarts

        return self._engine.inside(lambda store: restarts(store.containers.file(row.id, RESTARTS)))

    def may_start(self, row: ContainerRow) -> bool:
        """Whether nobody has stopped it, for a container that is to run unless somebody does."""
        from ..services.containers.supervision import is_held_back

        return self._engine.inside(lambda store: not is_held_back(store, row))

    def size(self, row: ContainerRow) -> int:
        """Bytes that a container has written into its own layer."""
        from ..ground.files import content_size

        def work(store: Store) -> int:
            active = store.actives.find(row.id)
            return content_size(active.upper) if active else 0

        return self._engine.inside(work)

    def rename(self, name: str, new_name: str) -> ContainerRow:
        """Give a container another name, running or not. Raises InvalidName; Conflict when it is taken."""
        from ..services.containers.renaming import rename

        return self._inside(lambda found: rename(found, name, new_name))

    def top(self, name: str, options: Sequence[str] = ()) -> ProcessList:
        """The processes of a container; `options` are for the `ps` of this machine, () needs none.

        Raises Conflict when it does not run, NotFound where there is no `ps`.
        """
        from ..services.containers.processes import processes

        def work() -> ProcessList:
            with self._outside(name) as store:
                return processes(ContainerListing(store), name, options)

        return self._engine.apart(work)

    def attach(self, name: str, stdio: Stdio) -> int | None:
        """Show what a container writes from now on, and pass `stdio.stdin` to it; its exit code.

        None when the user has typed `stdio.detach`. Signals that this process gets go to the program, unless
        `stdio.forward` is False. Raises Conflict when it does not run, Unsupported if its output is not here.
        """
        from ..services.containers.attaching import attach

        return self._inside(lambda found: attach(found, name, stdio))

    def wait(self, name: str, condition: str = "not-running") -> int:
        """The exit code of a container, once it has ended; one that does not run answers at once.

        `condition` next-exit waits for its next end in any case, removed until it is gone. Raises UsageError.
        """
        from ..services.containers.waiting import wait

        return self._inside(lambda found: wait(found, name, condition))

    def _inside(self, work: Callable[[Containers], T], network: str = "") -> T:
        """`network`: that of a container which starts, as its options have it."""
        from ..services.containers.service import Containers

        if not network.startswith(CONTAINER) or self._engine.is_root:
            return self._engine.inside(lambda store: work(Containers(store)))
        from .userns import UserNamespaceOf

        with UserNamespaceOf(self._engine, network) as beside:
            return self._engine.inside(lambda store: work(Containers(store)), beside=beside)

    def _shared(self, name: str) -> str:
        """The network of a container that is to start, if it is another's."""
        from .userns import shared_by

        return shared_by(self._engine, name)

    def _outside(self, name: str) -> Store:
        """The store for work inside the namespace of a container that runs. To be closed."""
        try:
            return self._engine.outside()
        except NotFound:
            raise NotFound(f"No such container: {name}") from None


def _number(signal: str) -> int:
    from ..services.containers.signals import number

    return number(signal)
