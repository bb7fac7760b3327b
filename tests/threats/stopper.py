"""The command line, stopped by a signal at a chosen moment: `python stopper.py SIGNAL MOMENT nacre-args…`.

MOMENT is the name of a trace point of the engine (`blob:renamed`), `name#3` its third time, or a number
N: the Nth call of a Python function, counted from the start of the command, over all modules. `count`
only prints that number on standard error at the end.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

TIDYING = frozenset(
    ("surely", "remove_tree", "discard", "abort", "close", "release", "release_all", "__exit__")
)


def main() -> None:
    number, moment = int(sys.argv[1]), sys.argv[2]
    del sys.argv[1:3]
    sys.argv[0] = "nacre"
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as bin/nacre
    from nacre.cli.main import entry

    if moment == "count" or moment.isdigit():
        _at_call(number, int(moment) if moment.isdigit() else -1)
    else:
        _at_trace(number, moment)
    entry()


def _at_call(number: int, wanted: int) -> None:
    seen = 0
    me = os.getpid()

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal seen
        if event == "call" and os.getpid() == me:
            seen += 1
            if seen == wanted:
                sys.setprofile(None)
                if _is_tidying(frame):
                    os.write(2, b"(stopped while tidying up)\n")
                os.kill(me, number)
            if wanted < 0 and frame.f_code.co_name == "_flush":
                os.write(2, b"calls: %d\n" % seen)

    sys.setprofile(count)


def _is_tidying(frame: FrameType | None) -> bool:
    """Whether the command was removing what it had made. A signal there may leave some of it."""
    while frame is not None:
        if frame.f_code.co_name in TIDYING:
            return True
        frame = frame.f_back
    return False


def _at_trace(number: int, moment: str) -> None:
    from nacre.ground.files import install_trace

    name, _, nth = moment.partition("#")
    seen, me = 0, os.getpid()  # a fork of it may pass there

    def hook(passed: str) -> None:
        nonlocal seen
        if passed == name:
            seen += 1
            if seen == int(nth or 1):
                os.kill(me, number)

    install_trace(hook)


if __name__ == "__main__":
    main()
