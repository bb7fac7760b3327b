"""Programs that a config wants to be run at moments of a container's life.

Each gets the state as JSON on its standard input, has the environment that the config gives it and nothing
else, and is killed when its time is over. Source: OCI runtime-spec config.md, "POSIX-platform Hooks".
"""

from __future__ import annotations

import os
import select
from time import monotonic

from ...words import quickjson
from ...words.errors import SandboxError
from ..fork import fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..fork import ChildReport

_LONGEST = 4096
_PIECE = 65536


def run_hooks(hooks: Sequence[Mapping[str, Any]], name: str, state: Mapping[str, Any]) -> None:
    """One after the other. Raises SandboxError for the first that fails."""
    for number, hook in enumerate(hooks):
        _run(hook, f"the hook {name}[{number}], {hook['path']},", quickjson.dumps(state).encode())


def _run(hook: Mapping[str, Any], what: str, state: bytes) -> None:
    (reader, writer), (heard, said) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    try:
        child = fork(lambda _report: _become(hook, reader, said, _report), what=what, keep=(reader, said))
    except OSError as error:
        raise SandboxError(f"cannot start {what} {error.strerror}") from None
    finally:
        os.close(reader)
        os.close(said)
    with child:
        try:
            child.hear()
            told = _feed(child.pidfd(), (writer, heard), state, hook.get("timeout"))
        except OSError as error:
            raise SandboxError(f"cannot run {what} {error.strerror}") from None
        finally:
            os.close(writer)
            os.close(heard)
        if told is None:
            child.end()
            raise SandboxError(f"{what} took more than {hook['timeout']} seconds")
        code = os.waitstatus_to_exitcode(child.wait() or 0)
    if code:
        fate = f"failed with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        raise SandboxError(f"{what} {fate}{told and ': ' + told}")


def _become(hook: Mapping[str, Any], reader: int, said: int, _report: ChildReport) -> None:
    for fd, number in ((reader, 0), (said, 1), (said, 2)):
        os.dup2(fd, number)
    environment = dict(item.partition("=")[::2] for item in hook.get("env") or ())
    os.execve(hook["path"], hook.get("args") or [hook["path"]], environment)


def _feed(pidfd: int, ends: tuple[int, int], state: bytes, timeout: int | None) -> str | None:
    """What it said, after its end; None if its time was over. It need not read what it is told."""
    writer, heard = ends
    end = monotonic() + timeout if timeout else None
    said, view = bytearray(), memoryview(state)
    os.set_blocking(writer, False)
    poll = select.poll()
    for fd, events in ((pidfd, select.POLLIN), (heard, select.POLLIN), (writer, select.POLLOUT)):
        poll.register(fd, events)
    try:
        while True:
            left = None if end is None else max(0, int((end - monotonic()) * 1000))
            ready = dict(poll.poll(left))
            if not ready:
                return None
            if heard in ready and not _hear(heard, said):
                poll.unregister(heard)
            if writer in ready and (ready[writer] & select.POLLERR or not (view := _write(writer, view))):
                poll.unregister(writer)
                os.dup2(heard, writer)  # its end, for the reader; the number stays ours to close
            if pidfd in ready and heard not in ready:
                return bytes(said[:_LONGEST]).decode(errors="replace").strip()
    finally:
        os.close(pidfd)


def _hear(heard: int, said: bytearray) -> bool:
    piece = os.read(heard, _PIECE)
    if len(said) < _LONGEST:
        said += piece
    return bool(piece)


def _write(writer: int, view: memoryview) -> memoryview:
    try:
        return view[os.write(writer, view) :]
    except BrokenPipeError:
        return view[:0]
