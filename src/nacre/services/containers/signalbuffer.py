"""Buffers signals while a container is being set up or removed.

Between the two the sandbox forwards signals to the program. Where it runs for a program that calls us, that
program's own handlers are in force instead, and what they raise ends the container. A signal that comes
before is kept until then. One that comes after must not stop the removal half way: it has nobody left to go
to, or is the caller's afterwards.
"""

from __future__ import annotations

import os

from ...ground.fork import Ended
from ...ground.monitor.relay import give_back, take_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import NoReturn

    from ...ground.monitor.relay import Signals
else:
    import _signal as signal  # `signal` itself imports `enum`: 2 ms


class SignalBuffer:
    """From now on until `close` signals to be passed on are noted and do nothing. Main thread only.

    `control` is that of the container; without `forward` it is not used, and signals that come before the
    program runs are raised once more when it does.
    """

    def __init__(self, control: int, *, forward: bool = True) -> None:
        self._control, self._forward = control, forward
        self._noted: list[int] = []
        self.to_control = False
        """Whether signals are written to the control, which somebody waits for."""
        self._before = take_signals(self._note)

    def _note(self, number: int, _frame: object) -> None:
        if self.to_control:
            os.write(self._control, f"{number}\n".encode())
        else:
            self._noted.append(number)

    @property
    def meanwhile(self) -> Signals:
        """For the time in which the program runs."""
        if self._forward:
            return True
        return {
            number: self._end if before == signal.SIG_DFL else before
            for number, before in self._before.items()
        }

    def _end(self, number: int, frame: object) -> NoReturn:
        """The caller would die of it, and does once the container is gone."""
        self._note(number, frame)
        raise Ended(number)

    def before(self, then: Callable[[], object] | None) -> Callable[[], None]:
        """To be called once the program runs: sends it what came meanwhile, then calls `then`."""

        def running() -> None:
            noted, self._noted = self._noted, []
            for number in noted:
                if self._forward:
                    os.write(self._control, f"{number}\n".encode())
                else:
                    signal.raise_signal(number)
            if then:
                then()

        return running

    def close(self) -> None:
        """Handlers as they were; the caller's get what is left for them."""
        give_back(self._before)
        self._before.clear()
        noted, self._noted = self._noted, []
        for number in noted if not self._forward else ():
            signal.raise_signal(number)
