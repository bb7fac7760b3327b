"""The supervisor of a container once more, after its program has ended: see `supervisor`."""

from __future__ import annotations

import os

from ...ground.monitor import handover
from ...stores.store import Store
from .keeper import Keeper
from .service import Containers
from .signalbuffer import SignalBuffer
from .supervision import Supervision


def resume(fd: int) -> None:
    """Take our place back from the shim, which tells by the descriptor what happened."""
    told = handover.received(fd)
    for number in told["descriptors"]:
        os.set_inheritable(number, False)
    kept = Keeper.adopt(told["lock"], told["control"])
    shield = SignalBuffer(kept.control)
    handover.let_signals_in()
    with Store.open(told["root"], create=False) as store:
        row = store.containers.get(told["id"])
        supervision = Supervision(Containers(store), row, kept, shield)
        try:
            supervision.resume(told)
            supervision.go_on()
        finally:
            supervision.end()
