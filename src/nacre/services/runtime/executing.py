"""One more program in a container that runs. Source: runc-exec(8)."""

from __future__ import annotations

import os

from ...ground import linux
from ...ground.bundle import plan, process
from ...ground.bundle.namespaces import begin
from ...ground.sandbox.identity import Execute
from ...ground.sandbox.joining import KINDS, Look, foreign
from ...ground.userns import become_root
from ...words.errors import Conflict, SandboxError
from ...words.value import Value
from . import lifecycle
from .containers import CREATED, RUNNING, held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...ground.fork import Child
    from .containers import ContainerFolder, Record


class ExecRequest(Value):
    """What the command line says of one more program. `process` is that of the runtime-spec, checked."""

    mask: int
    pid_file: str = ""
    console: str = ""
    preserved: int = 0
    no_keyring: bool = False


def execute(folder: ContainerFolder, given: dict[str, Any], request: ExecRequest) -> Child:
    """Start the program; it runs when this returns. Raises Conflict, SandboxError, UsageError.

    Whoever has called waits for the child, or ends and leaves it to the nearest subreaper.
    """
    record = folder.record()
    if folder.status(record) not in (RUNNING, CREATED):
        raise _not_running(record)
    lifecycle.check_console(bool(given.get("terminal")), request.console)
    given["existing"] = True
    config = folder.config()
    system = {name: value for name, value in config["linux"].items() if name in ("seccomp", "personality")}
    asked = plan.SetupOptions(record.bundle, request.mask, False, request.no_keyring, request.preserved)
    operations = [
        Look(),
        *plan.program(given, system, asked),
        process.ReportReady(),
        Execute(tuple(given["args"]), tuple(given.get("env") or ())),
    ]
    channel = lifecycle.connected(request.console)
    try:
        ends = process.Descriptors(request.preserved, channel=channel.fileno() if channel else -1)
        child = lifecycle.started(_entering(record, given), operations, ends, {})
    finally:
        if channel:
            channel.close()
    return _running(child, request)


def _running(child: Child, request: ExecRequest) -> Child:
    """Once it is the program."""
    try:
        lifecycle.expect(child, process.CREATED)
        if child.hear() is not None:
            raise child.died()
        lifecycle.write_pid(request.pid_file, child.pid)
    except OSError as error:
        child.end()
        child.close()
        raise SandboxError(f"cannot run the program: {error.strerror}") from None
    except BaseException:
        child.end()
        child.close()
        raise
    child.close()
    return child


def _entering(record: Record, given: Mapping[str, Any]) -> Callable[[], None]:
    affinity = given.get("execCPUAffinity") or {}
    score = given.get("oomScoreAdj")

    def enter() -> None:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        pin(affinity.get("initial", ""))
        pidfd = opened(record)
        begin(record.folders, score)
        try:
            _join(pidfd, record.pid)
        except ProcessLookupError:
            raise _not_running(record) from None
        except OSError as error:
            raise SandboxError(f"cannot enter the container: {error.strerror}") from None
        pin(affinity.get("final", ""))
        os.close(pidfd)

    return enter


def opened(record: Record) -> int:
    """A pidfd of the container's process, surely of this one. Raises Conflict."""
    pidfd = held(record)
    if pidfd < 0:
        raise _not_running(record)
    return pidfd


def _not_running(record: Record) -> Conflict:
    return Conflict(f"cannot exec in container {record.id}: container not running")


def _join(pidfd: int, pid: int) -> None:
    """Those that are not ours already, all at once; in another user namespace we are its root."""
    kinds = foreign(pid, {**KINDS, "time": linux.CLONE_NEWTIME})
    if kinds:
        linux.setns(pidfd, kinds)
    if kinds & linux.CLONE_NEWUSER:
        become_root()


def pin(cpus: str) -> None:
    """Run on these processors only: `0-2,7`. Raises SandboxError."""
    if not cpus:
        return
    try:
        found: set[int] = set()
        for part in cpus.split(","):
            first, _, last = part.partition("-")
            if int(last or first) > 65535:
                raise ValueError(part)
            found.update(range(int(first), int(last or first) + 1))
        os.sched_setaffinity(0, found)
    except (ValueError, OSError):
        raise SandboxError(f"process.execCPUAffinity: cannot run on the processors {cpus!r}") from None
