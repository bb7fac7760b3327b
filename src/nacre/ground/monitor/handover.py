"""Another program takes the place of this process: its pid, its children, its locks and descriptors stay.

What it has to know goes with it as JSON in memory. Its interpreter is this one, without `site` and whatever
the environment says, and takes nacre from where this one did. All signals are blocked until it lets them in,
so none is lost, and none ends it before it is ready.
"""

from __future__ import annotations

import os
import sys

from ...words.quickjson import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Collection, Iterable
    from typing import Any
else:
    import _signal as signal

_ALL = signal.valid_signals()
_LONGEST = 1e6
_SOURCE = "import sys; sys.path.append(sys.argv[1]); from {module} import {name}; {name}(int(sys.argv[2]))"
_WAITING = """\
import sys; sys.path.append(sys.argv[1])
try:
    from {module} import {name}; {name}(int(sys.argv[2]))
except Exception:
    import os, select
    end, poll = os.pidfd_open({pid}), select.poll()
    for fd in (end, {control}, *{outputs}):
        poll.register(fd, select.POLLIN)
    while end not in (ready := [fd for fd, _ in poll.poll()]):
        for fd in ready:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
            for word in data.split() if fd == {control} else ():
                if word.isdigit():
                    os.kill({pid}, {deadly} if int(word) == 9 else int(word))
    code = os.waitstatus_to_exitcode(os.waitpid({pid}, 0)[1])
    os.pwrite({lock}, str(code if code >= 0 else 128 - code).encode(), 0)
"""
"""The same long after, when this package may be another, or gone: then the container can still be stopped."""


def python() -> str:
    """The interpreter itself, not a link to it in an environment that may be removed; "" if unknown."""
    return os.path.realpath(sys.executable) if sys.executable else ""


def command(interpreter: str, place: tuple[str, str], fd: int) -> list[str]:
    """The command line that calls the function `place` (module, name) with a descriptor: see `received`."""
    module, name = place
    folder = os.path.dirname(__file__).removesuffix("/nacre/ground/monitor")
    options = ["-S", "-I", *(["-B"] if sys.dont_write_bytecode else [])]
    return [interpreter, *options, "-c", _SOURCE.format(module=module, name=name), folder, str(fd)]


def become(
    place: tuple[str, str], told: dict[str, Any], descriptors: Iterable[int], label: str,
    until: Collection[int] = (), due: float | None = None,
) -> None:  # fmt: skip
    """Be the function `place` (module, name) of a new interpreter, which gets `told`: see `received`.

    `descriptors` stay open, whatever they are; those that close themselves are closed. `label` is for those
    who look at the list of processes. With `until` nothing is loaded before one of these is ready, or the
    time `due` has come, where that is possible (`idle`). Raises OSError, and then everything is as it was.
    """
    kept = [fd for fd in (0, 1, 2, *descriptors) if fd >= 0 and not os.get_inheritable(fd)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    memory = os.memfd_create("nacre", 0)
    try:
        interpreter = told.get("python") or python()
        os.write(memory, dumps({**told, "python": interpreter}).encode())
        for fd in kept:
            os.set_inheritable(fd, True)
        words = [*command(interpreter, place, memory), label]
        if until:
            words[words.index("-c") + 1] = _later(place, told)
            _wait(words, until, due)
        os.execv(interpreter, words)
    finally:
        os.close(memory)
        for fd in kept:
            os.set_inheritable(fd, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _later(place: tuple[str, str], told: dict[str, Any]) -> str:
    module, name = place
    known = {key: told[key] for key in ("pid", "lock", "control", "deadly")}
    return _WAITING.format(module=module, name=name, outputs=[fd for fd, _ in told["outputs"]], **known)


def _wait(words: list[str], until: Collection[int], due: float | None) -> None:
    """Returns where it is not possible."""
    from time import monotonic

    from . import idle
    from .relay import FORWARDED

    try:
        seconds = _LONGEST if due is None else min(max(0.0, due - monotonic()), _LONGEST)
        idle.wait(words, until, FORWARDED, -1 if due is None else int(seconds * 1000) + 1)
    except (OSError, LookupError):
        return


def received(fd: int) -> dict[str, Any]:
    """What this program was told. Raises ValueError, OSError."""
    try:
        data = bytearray()
        while piece := os.pread(fd, 1 << 16, len(data)):
            data += piece
    finally:
        os.close(fd)
    told: dict[str, Any] = loads(bytes(data))
    return told


def let_signals_in() -> None:
    """Once there is somebody to deal with them."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
