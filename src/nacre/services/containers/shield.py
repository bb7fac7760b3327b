"""No signal interrupts the beginning or the end of a container.

Between the two the sandbox forwards signals to the program. One that comes before is kept for the
program; one that comes after has nobody left to go to, and must not stop the removal half way.
"""

from __future__ import annotations

import os

from ...ground.sandbox.relay import FORWARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from .keeper import Keeper
else:
    import _signal as signal  # `signal` itself imports `enum`: 2 ms


class Shield:
    """From now on until `close` signals to be passed on are noted and do nothing. Main thread only."""

    def __init__(self, kept: Keeper) -> None:
        self._kept = kept
        self._noted: list[int] = []
        self._before: dict[int, Any] = {}
        try:
            for number in FORWARDED:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        except ValueError:  # another thread: signals do not come here
            return

    def _note(self, number: int, _frame: object) -> None:
        self._noted.append(number)

    def before(self, then: Callable[[], object] | None) -> Callable[[], None]:
        """To be called once the program runs: sends it what came meanwhile, then calls `then`."""

        def running() -> None:
            for number in self._noted:
                os.write(self._kept.control, f"{number}\n".encode())
            self._noted.clear()
            if then:
                then()

        return running

    def close(self) -> None:
        """Handlers as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
