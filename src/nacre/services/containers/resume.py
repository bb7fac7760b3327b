"""The supervisor of a container once more, after its program has ended: see `supervisor`."""

from __future__ import annotations

import os

from ...ground.monitor import handover
from ...stores.store import Store
from .service import Containers


def resume(fd: int) -> None:
    """Take our place back from the shim, which tells by the descriptor what happened."""
    told = handover.received(fd)
    for number in told["descriptors"]:
        if number >= 0:
            os.set_inheritable(number, False)
    with Store.open(told["root"], create=False) as store:
        containers = Containers(store)
        containers.resume(store.containers.get(told["id"]), told)
