"""The health checks of a container while its supervisor is the shim, which loads this when one is due."""

from __future__ import annotations

from ...stores.store import Store
from .health import HealthMonitor, tell_status
from .service import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.monitor.loop import EventLoop


def wake(loop: EventLoop, told: dict[str, Any]) -> Callable[[], object]:
    """Make the check that is due, and go on; what is to be called at the end."""

    def tell(status: str) -> None:
        with Store.open(told["root"], create=False) as store:
            tell_status(Containers(store), told["id"], status)

    monitor = HealthMonitor.adopt(loop, told["health"], tell)
    monitor.probe()
    return monitor.close
