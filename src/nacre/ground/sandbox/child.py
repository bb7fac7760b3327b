"""The child that becomes a program of a container: what it does, and how its parent stays with it."""

from __future__ import annotations

import fcntl
import os
import sys

from ...words.errors import NacreError, SandboxError
from .. import linux, userns
from ..monitor.relay import FORWARDED, Relay
from .room import Room
from .stdio import Attachment, Stdio, StreamDescriptors, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from typing import Any

    from ..fork import Child, ChildReport, Work
    from .room import Operation
else:
    import _signal as signal

WHAT = "the process that sets up the container"
_REPORT, _PTS = 3, 4
_DEFAULT = (
    *FORWARDED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
)  # fmt: skip
"""Signals that may be ignored or handled here, and are not in a container."""


def opened(stdio: Stdio | None, devpts_options: str = "", *, relayed: bool, process: int = 0) -> Streams:
    """Open the standard streams of the container, those of `process` if it runs. Raises SandboxError."""
    try:
        return Streams(stdio or Stdio(), devpts_options, relayed=relayed, process=process)
    except OSError as error:
        raise cannot_start(error) from None


def cannot_start(error: OSError) -> SandboxError:
    """Something that a container needs of this system is not to be had."""
    return SandboxError.of_start("a container", error)


def hide(config: Mapping[str, Any]) -> bool:
    """From a program that may trace others: where it is shown the /proc around us, we are in there.

    In a user namespace it has its rights over us too, but not over what cannot be dumped: ptrace(2). Gives
    whether that is so; execve(2) ends it.
    """
    traces = "CAP_SYS_PTRACE" in config["process"]["capabilities"]["bounding"] and not userns.is_first()
    if traces:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    return traces


def listen(started: Child, made: list[str]) -> None:
    """Wait until the program runs; adds to `made` the paths made to mount on. Raises what the child met."""
    runs = False
    try:
        while told := started.hear():
            runs, made[:] = told
    except OSError as error:
        raise SandboxError(f"cannot set up the container: {error}") from None
    if not runs:
        raise started.died()


def stay(started: Child, streams: Streams, attached: Attachment, deadly: int = signal.SIGKILL) -> int:
    """Pass bytes and signals to a running process until it ends; its exit code. SIGKILL becomes `deadly`."""
    relay = Relay(started, streams.outputs, streams.inputs, attached.control)
    relay.deadly = deadly
    relay.input, relay.once = streams.input, streams.stdio.once and not streams.stdio.tty
    relay.on_ready, relay.on_signal = attached.on_running, attached.on_signal
    if attached.on_detach:
        _let_detach(relay, streams, attached)
    else:
        _let_leave(relay, streams, attached)
    if streams.terminal >= 0:
        relay.on_resize = streams.resize
    streams.begin()
    if attached.timeout:
        relay.loop.call_later(attached.timeout, relay.kill)
    return run_relay(relay, attached)


def run_relay(relay: Relay, attached: Attachment) -> int:
    """What is done beside goes on as long as the process does; its exit code."""
    end = attached.beside(relay.loop) if attached.beside else None
    try:
        return relay.run(signals=attached.signals)
    finally:
        if end:
            end()


def _let_leave(relay: Relay, streams: Streams, attached: Attachment) -> None:
    """The shim is told which descriptors keep the container's streams."""
    leave = attached.leave
    if leave:
        relay.leave = lambda told: leave({**told, "descriptors": streams.kept})


def _let_detach(relay: Relay, streams: Streams, attached: Attachment) -> None:
    """At the keys the user's terminal is let go, and the container goes on as if nobody had seen it start."""
    flow = relay.inputs[0]

    def detach() -> None:
        relay.loop.forget(attached.user)
        if flow in relay.inputs:
            relay.inputs.remove(flow)
        streams.let_go()
        relay.on_resize = None
        if attached.on_detach:
            attached.on_detach()
        _let_leave(relay, streams, attached)
        relay.plan_to_leave()

    def over() -> None:
        detach() if getattr(flow, "detached", False) else relay.hang_up(streams.terminal)

    flow.on_end = over
    if attached.user >= 0:
        relay.loop.watch(attached.user, detach, 0)


def child(operations: list[Operation], streams: Streams | StreamDescriptors) -> Work:
    """What the child does. Whatever goes wrong is told to the parent, which raises it."""

    def work(report: ChildReport) -> None:
        room = Room()
        try:
            _arrange(room, streams, report)
            for operation in operations[:-1]:
                operation.apply(room)
            _ready(room, report)
            operations[-1].apply(room)
        except BaseException as error:
            report.tell(False, room.made)
            raise _sandbox_error(error) from None

    return work


def _sandbox_error(error: BaseException) -> BaseException:
    if isinstance(error, NacreError):
        return error if isinstance(error, SandboxError) else SandboxError(error.message, hint=error.hint)
    text = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return SandboxError(f"cannot set up the container: {text}")


def _arrange(room: Room, streams: Streams | StreamDescriptors, report: ChildReport) -> None:
    """Put descriptors where they belong (0, 1, 2, the report, perhaps devpts and channel).

    All others are closed but those of the lower mounts.
    From here on nothing can be imported: in the new root that would run code of the image with our
    privileges (docker CVE-2019-14271).
    """
    sys.meta_path.clear()
    fds = [*streams.child, report.fd, *(fd for fd in (streams.pts, streams.channel) if fd >= 0)]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(fds)) for fd in fds]
    report.fd = high[_REPORT]  # 3 may be anything until it is ours
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=number < _REPORT)
    report.fd = _REPORT
    free = len(fds)
    for fd in sorted(streams.lowers):
        if fd > free:
            linux.close_range(free, fd - 1)
        free = fd + 1
    linux.close_range(free)
    os.umask(0)
    if streams.terminal >= 0:
        room.terminal = 0
    if streams.pts >= 0:
        room.pts = _PTS
    if streams.channel >= 0:
        room.channel = len(fds) - 1
    linux.keyctl_join_session()


def _ready(room: Room, report: ChildReport) -> None:
    """The last moments: default signals, and no life without the parent.

    Signals that came until now were not meant for the program. The death signal is forgotten at a change of
    user, so it comes last; a parent that had died before is noticed by the pipe it no longer reads.
    """
    os.umask(0o022)
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_IGN)  # forgets what is pending
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    linux.die_with_parent()
    report.tell(True, room.made)
