"""Starting a container's process and staying with it until it ends."""

from __future__ import annotations

import fcntl
import os
import sys

from ...words.errors import NacreError, SandboxError
from .. import cgroups, linux, userns
from ..fork import BLOCKED, fork, fork_held
from ..monitor.relay import FORWARDED, Relay
from .fork import WHAT, first, through
from .operations import shown
from .plan import is_root, plan, shares_processes
from .room import Room
from .stdio import Attachment, Stdio, StreamDescriptors, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...words.mount import Mount
    from ..fork import Child, ChildReport, Work
    from .operations import Operation
else:
    import _signal as signal

_REPORT, _PTS = 3, 4
_DEFAULT = (
    *FORWARDED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
)  # fmt: skip
"""Signals that may be ignored or handled here, and are not in a container."""


def run(
    config: Mapping[str, Any], root: Mount, attached: Attachment | None = None, *, volatile: bool = False
) -> int:
    """Run the OCI runtime `config` on `root` and wait; the exit code, 128+n for signal n.

    The caller must be `userns.mapped()`. `volatile`: what is written to the root is of no use afterwards.

    The container ends when the calling thread does. Raises SandboxError, CommandNotFound,
    CommandNotExecutable; then nothing is left running.
    """
    made: list[str] = []
    attached = attached or Attachment()
    streams = opened(attached.stdio, _devpts_options(config), relayed=not is_root(config))
    try:
        operations = plan(
            config, root, machine=linux.MACHINE, volatile=volatile, owned=streams.owned,
            cgroup=cgroups.new_name(),
        )  # fmt: skip
        attached = _may_leave(attached, config, made, volatile)
        if attached.channel < 0 and not userns.is_first():
            from .calls import attend, notified

            attached = attend(config, attached, streams)
            operations = notified(operations, config) if streams.channel >= 0 else operations
        with _fork(config, operations, streams, attached) as started:
            streams.given()
            if attached.on_start:
                attached.on_start(started.pid)
            listen(started, made)
            return _stay(started, streams, attached, shares_processes(config))
    finally:
        streams.close()
        clean(root, made, volatile=volatile)


def clean(root: Mount, made: list[str], *, volatile: bool) -> None:
    """Take away what a container that has ended needed; `made` are the paths made to mount on."""
    cgroups.tidy()
    if not volatile:
        from .tidy import tidy

        tidy(root, made)


def _may_leave(
    attached: Attachment, config: Mapping[str, Any], made: list[str], volatile: bool
) -> Attachment:
    """The shim is told what is to be cleaned; it cannot hide, and waits only for its own child."""
    hidden, leave = hide(config), attached.leave
    joins = any(one["type"] == "pid" and one.get("path") for one in config["linux"]["namespaces"])
    if hidden or joins or not leave:
        return attached.replace(leave=None)
    return attached.replace(leave=lambda told: leave({**told, "made": made, "volatile": volatile}))


def opened(stdio: Stdio | None, devpts_options: str = "", *, relayed: bool) -> Streams:
    """Open the standard streams of the container. Raises SandboxError."""
    try:
        return Streams(stdio or Stdio(), devpts_options, relayed=relayed)
    except OSError as error:
        raise cannot_start(error) from None


def cannot_start(error: OSError) -> SandboxError:
    """Something that a container needs of this system is not to be had."""
    return SandboxError(f"cannot start a container: {error.strerror}")


def hide(config: Mapping[str, Any]) -> bool:
    """From a program that may trace others: where it is shown the /proc around us, we are in there.

    In a user namespace it has its rights over us too, but not over what cannot be dumped: ptrace(2). Gives
    whether that is so; execve(2) ends it.
    """
    traces = "CAP_SYS_PTRACE" in config["process"]["capabilities"]["bounding"] and not userns.is_first()
    if traces:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    return traces


def _devpts_options(config: Mapping[str, Any]) -> str:
    for mount in config.get("mounts") or ():
        if mount.get("type") == "devpts":
            ignored = ("nosuid", "noexec", "rw")
            return ",".join(option for option in mount.get("options") or () if option not in ignored)
    return "newinstance,ptmxmode=0666,mode=0620"


def _stay(started: Child, streams: Streams, attached: Attachment, shared: bool) -> int:
    """`shared`: a watcher ends what the program has started, and must not be killed before it has."""
    if not shared:
        return stay(started, streams, attached)
    from .watcher import END

    try:
        return stay(started, streams, attached, END)
    except BaseException:
        started.end(END)
        raise


def _fork(
    config: Mapping[str, Any], operations: list[Operation], streams: Streams, attached: Attachment
) -> Child:
    pids = [namespace for namespace in config["linux"]["namespaces"] if namespace["type"] == "pid"]
    work = child(operations, streams)
    try:
        move = moving(config, attached)
        if pids and pids[0].get("path"):
            return _into(pids[0], work, streams, move)
        if move:
            return through(move, work, streams.passed, alone=bool(pids))
        return begin(work, streams, alone=bool(pids))
    except OSError as error:
        raise cannot_start(error) from None


def moving(config: Mapping[str, Any], attached: Attachment) -> Callable[[], None] | None:
    """What leads a helper where the container belongs, if that is more than a pid namespace."""
    if not attached.further:
        return None
    from . import calls, switched

    code = calls.switched_program(config)
    return switched.entering(attached.channel, attached.further, code)


def _into(
    namespace: Mapping[str, Any], work: Work, streams: Streams, before: Callable[[], None] | None
) -> Child:
    """A child in the pid namespace of another container, which ends what it starts: see `watcher`."""
    from .watcher import END

    def move() -> None:
        if before:
            before()
        linux.setns(fd, linux.CLONE_NEWPID)

    fd = -1
    try:
        fd = shown(namespace["path"], namespace.get("started", 0))
        return fork_held(move, work, what=WHAT, keep=streams.passed, deadly=END)
    except PermissionError:
        raise SandboxError(
            "cannot join the pid namespace of another container: it is in another user namespace",
            hint="containers created by root can",
        ) from None
    finally:
        if fd >= 0:
            os.close(fd)


def begin(work: Work, streams: Streams, *, alone: bool) -> Child:
    """A child that has the descriptors of a container only; `alone`: in a pid namespace. Raises OSError."""
    keep = streams.passed
    return first(work, keep) if alone else fork(work, what=WHAT, keep=keep, signals=BLOCKED)


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
    """Put descriptors where they belong (0, 1, 2, the report, perhaps devpts and channel), close all others.

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
    linux.close_range(len(fds))
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
