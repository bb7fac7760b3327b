"""A container that runs once so that it is known which parts of its image a program reads."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from time import sleep

from ...ground.fork import start
from ...ground.sandbox import Stdio
from ...words.errors import NotFound
from ...words.value import Value
from .ending import stop
from .service import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.shared import Shared
    from ...stores.store import Store
    from ...stores.trees.actives import Active
    from ...stores.trees.recording import RecordedMount
    from .service import CreateRequest

_PAUSE = 0.05


class RecordedRun(Value):
    """How a container ended whose reads were recorded: (number of the layer, offset, length), in order.

    `stopped`: it was stopped when its time was over.
    """

    exit_code: int
    stopped: bool
    reads: tuple[tuple[int, int, int], ...]


class RecordedContainers(Containers):
    """Containers for one that is recorded. Needs what `LazyTrees.obstacle` asks for."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._mounts: list[RecordedMount] = []

    def record(self, request: CreateRequest, stdio: Stdio, seconds: float = 0.0) -> RecordedRun:
        """Run it to its end, or stop it after some seconds; nothing is left of it. Raises as `run`."""
        timer = _Timer(self.store, seconds)
        try:
            code = self.run(request.replace(auto_remove=True), stdio, on_start=timer.begin) or 0
        finally:
            stopped = timer.end()
        return RecordedRun(code, stopped, tuple(read for mount in self._mounts for read in mount.reads))

    def _shared(self, active: Active) -> Shared:
        self._mounts.append(self.store.trees.recorded(active.mount, active.layers))
        return self._mounts[-1]


class _Timer:
    """A process that stops a container after some seconds, 0 for never."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store, self._seconds = store, seconds
        self._pid = self._said = -1

    def begin(self, number: str) -> None:
        """The container of this id is about to start."""
        if not self._seconds:
            return
        self._said, says = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._store.rest()
        self._pid = start(lambda: self._stop(number, says), keep=(says,))
        os.close(says)

    def _stop(self, number: str, says: int) -> None:
        with type(self._store).open(self._store.root, create=False) as fresh, suppress(NotFound):
            found = Containers(fresh)
            while not found.get(number).is_live:
                sleep(_PAUSE)
            sleep(self._seconds)
            os.write(says, b".")
            stop(found, number, None, 0)

    def end(self) -> bool:
        """The container has ended; whether it was stopped."""
        if self._pid < 0:
            return False
        try:
            os.kill(self._pid, signal.SIGTERM)
            os.waitpid(self._pid, 0)
            with suppress(BlockingIOError):
                return bool(os.read(self._said, 1))
            return False
        finally:
            os.close(self._said)
