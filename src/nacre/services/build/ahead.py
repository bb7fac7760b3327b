"""Layers of a cache that goes elsewhere, sent while later steps are at work.

One process at a time sends one layer. What has not gone when all steps are done goes with the cache itself,
and so does what could not be sent: only that can fail.
"""

from __future__ import annotations

import os
import select
from collections import deque
from contextlib import suppress
from functools import partial

from ...ground import linux
from ...ground.fork import RAISING, Blocked, fork
from ...stores.forkguard import resting
from ...words.errors import NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...ground.fork import Child, ChildReport
    from ...words.oci import Descriptor
    from .report import StepReport
    from .session import BuildSession
    from .waiting import Name


class LayersAhead:
    """Close it, or `stop` it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[BuildSession, Descriptor, bool]] = deque()
        self._offered: set[str] = set()
        self._child: Child | None = None
        self._step: StepReport | None = None

    def offer(self, session: BuildSession, layer: Descriptor, stage: Name) -> None:
        """A layer that a step of `stage` has made; nothing where no cache wants it."""
        if session.sources.ahead is not None and layer.digest not in self._offered:
            self._offered.add(layer.digest)
            self._waiting.append((session, layer, stage[1] in _result(session)))

    def go_on(self) -> None:
        """Send the next one, unless one is on its way. Does not wait."""
        if self._child is not None and select.select([self._child.fileno()], [], [], 0)[0]:
            self._reap(self._child)
        if self._child is None and self._waiting:
            self._send(*self._waiting.popleft())

    def _send(self, session: BuildSession, layer: Descriptor, is_result: bool) -> None:
        if self._step is None:
            self._step = session.report.step("sending layers to the cache")
            self._step.begin()
        with resting(), Blocked() as mask:
            self._child = fork(
                partial(_sent, session, layer, is_result, os.getpid()), what="a process of the build cache",
                keep=None, signals=RAISING, mask=mask,
            )  # fmt: skip

    def _reap(self, child: Child) -> None:
        with suppress(NacreError, OSError):
            while child.hear() is not None:
                continue
        child.close()
        child.wait()
        self._child = None

    def close(self) -> None:
        """Wait for the one that is on its way: it would have to be sent again."""
        if self._child is not None:
            self._reap(self._child)
        if self._step is not None:
            self._step.done()

    def stop(self) -> None:
        """End what is on its way. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.ask_to_end()
            child.close()
        if self._step is not None:
            self._step.canceled()


def _sent(
    session: BuildSession, layer: Descriptor, is_result: bool, parent: int, _report: ChildReport
) -> None:
    """Runs in the child."""
    linux.die_with_parent()
    if os.getppid() == parent and session.sources.ahead is not None:
        session.sources.forked()
        with suppress(NacreError, OSError):  # it is said when the cache is written
            session.sources.ahead(layer, is_result)


def _result(session: BuildSession) -> set[object]:
    """The stages whose layers the image has."""
    found: set[object] = set()
    index: int | None = session.plan.target
    while index is not None:
        found.add(index)
        index = session.plan.stages[index].base.stage
    return found
