"""What the handlers of a program that calls us raise while a container runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from nacre.ground.monitor.relay import Flow, Relay


class Sleeper:
    """A child that ends, be it late."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "10"])
        self.pid = self.process.pid

    def pidfd(self) -> int:
        return os.pidfd_open(self.pid)

    def wait(self) -> int | None:
        return self.process.wait()


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    made = Sleeper()
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def output() -> Iterator[int]:
    source, target = os.pipe()
    os.write(target, b"word")
    yield source
    os.close(source)
    os.close(target)


def alarm(_number: int, _frame: object) -> None:
    raise TimeoutError("too long")


def ring(*_: object) -> None:
    signal.raise_signal(signal.SIGALRM)


def ring_unheard() -> None:
    try:
        ring()
    except OSError:
        return


@pytest.mark.parametrize(("write", "ready"), [(ring, None), (lambda _: None, ring_unheard)])
def test_an_error_of_the_system_raised_by_a_handler_ends_it(
    sleeper: Sleeper, output: int, write: Callable[[bytes], object], ready: Callable[[], object] | None
) -> None:
    """Also in the middle of a step that takes such an error for one of its own."""
    relay = Relay(sleeper, [Flow(output, write)], [])
    relay.on_ready = ready
    with pytest.raises(TimeoutError, match="too long"):
        relay.run(signals={signal.SIGALRM: alarm})
