"""Starting a container's process and staying with it until it ends."""

from __future__ import annotations

import fcntl
import marshal
import os
import sys

from ...words.errors import CommandNotExecutable, CommandNotFound, NacreError, SandboxError
from .. import linux
from .fork import fork
from .plan import plan
from .relay import Relay
from .room import Room
from .stdio import Stdio, Streams
from .tidy import tidy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...words.mount import Mount
    from .operations import Operation
else:
    import _signal as signal

_ERRORS = (SandboxError, CommandNotFound, CommandNotExecutable)
_REPORT, _PTS = 3, 4


def run(
    config: Mapping[str, Any],
    root: Mount,
    *,
    stdio: Stdio | None = None,
    on_start: Callable[[int], object] | None = None,
    on_running: Callable[[], object] | None = None,
    signals: bool = True,
    control: int = -1,
    volatile: bool = False,
) -> int:
    """Run the OCI runtime `config` on `root` and wait; the exit code, 128+n for signal n.

    The caller must be `userns.mapped()`. `on_start(pid)` is called once the process exists, before
    its program runs, `on_running()` once that runs and signals are forwarded. `signals`: forward SIGTERM
    and others while waiting (main thread only). `control`: a FIFO open for reading and writing, whose
    lines are signal numbers to send; the way for other processes, which may not be allowed to signal
    into this user namespace. `volatile`: what is written to the root is of no use afterwards.

    The container ends when the calling thread does. Raises SandboxError, CommandNotFound,
    CommandNotExecutable; then nothing is left running.
    """
    streams = Streams(stdio or Stdio(), _devpts_options(config), relayed=not is_root(config))
    made: list[str] = []
    try:
        operations = plan(config, root, machine=linux.MACHINE, volatile=volatile, owned=streams.owned)
        pid, report = _fork(config, operations, streams)
        try:
            streams.given()
            if on_start:
                on_start(pid)
            listen(report, made)
            return stay(pid, streams, signals, control, on_running)
        except BaseException:
            kill(pid)
            raise
    finally:
        streams.close()
        if not volatile:
            tidy(root, made)


def is_root(config: Mapping[str, Any]) -> bool:
    """Whether the program is meant to run as user 0, as far as the config itself says."""
    user = config["process"]["user"]
    return user.get("username", "").partition(":")[0] in ("", "0", "root") and not user.get("uid")


def _devpts_options(config: Mapping[str, Any]) -> str:
    for mount in config.get("mounts") or ():
        if mount.get("type") == "devpts":
            ignored = ("nosuid", "noexec", "rw")
            return ",".join(option for option in mount.get("options") or () if option not in ignored)
    return "newinstance,ptmxmode=0666,mode=0620"


def _fork(config: Mapping[str, Any], operations: list[Operation], streams: Streams) -> tuple[int, int]:
    """The child, and the end of the pipe on which it reports."""
    report, write_report = os.pipe2(os.O_CLOEXEC)
    kinds = [namespace["type"] for namespace in config["linux"]["namespaces"]]
    try:
        pid, wait_for = fork() if "pid" in kinds else (os.fork(), -1)
        if pid == 0:
            child(operations, streams, write_report, wait_for)
    except OSError as error:
        os.close(report)
        raise SandboxError(f"cannot start a container: {error.strerror}") from None
    finally:
        os.close(write_report)
    return pid, report


def listen(report: int, made: list[str]) -> None:
    """Wait until the program runs; adds to `made` the paths made to mount on. Raises what the child met."""
    error: NacreError | None = SandboxError("the process that was to run the program has died")
    with open(report, "rb") as stream:
        while head := stream.read(4):
            kind, paths, *values = marshal.loads(stream.read(int.from_bytes(head, "big")))
            made[:], error = paths, None
            if kind == "error":
                error = _ERRORS[values[0]](values[1], hint=values[2])
    if error:
        raise error


def stay(
    pid: int, streams: Streams, signals: bool, control: int, on_running: Callable[[], object] | None,
    deadly: int = signal.SIGKILL,
) -> int:  # fmt: skip
    """Pass bytes and signals to a running process until it ends; its exit code. SIGKILL becomes `deadly`."""
    relay = Relay(pid, streams.outputs, streams.inputs, control)
    relay.deadly = deadly
    relay.on_ready = on_running
    if streams.terminal >= 0:
        relay.on_resize = streams.resize
    streams.begin()
    return relay.run(signals=signals)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """End a child that may have ended already and may have been waited for."""
    try:
        os.kill(pid, number)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def child(operations: list[Operation], streams: Streams, report: int, wait_for: int) -> None:
    """Never returns. Whatever goes wrong is told to the parent, which raises it."""
    room = Room()
    room.report = report
    try:
        if wait_for >= 0:
            os.read(wait_for, 1)
        _arrange(room, streams, report)
        for operation in operations[:-1]:
            operation.apply(room)
        _ready(room)
        operations[-1].apply(room)
    except NacreError as error:
        kind = _ERRORS.index(type(error)) if type(error) in _ERRORS else 0
        _tell(room, "error", kind, error.message, error.hint)
    except OSError as error:
        _tell(room, "error", 0, f"cannot set up the container: {error}", "")
    except BaseException as error:
        _tell(room, "error", 0, f"cannot set up the container: {type(error).__name__}: {error}", "")
    finally:
        os._exit(125)


def _arrange(room: Room, streams: Streams, report: int) -> None:
    """Put descriptors where they belong (0, 1, 2, the report, perhaps devpts) and close all others.

    From here on nothing can be imported: in the new root that would run code of the image with our
    privileges (docker CVE-2019-14271).
    """
    sys.meta_path.clear()
    fds = [*streams.child, report, *([streams.pts] if streams.pts >= 0 else [])]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(fds)) for fd in fds]
    room.report = high[_REPORT]  # 3 may be anything until it is ours: a database, say
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=number < _REPORT)
    room.report = _REPORT
    linux.close_range(len(fds))
    os.umask(0)
    if streams.terminal >= 0:
        room.terminal = 0
    if streams.pts >= 0:
        room.pts = _PTS
    linux.keyctl_join_session()


def _ready(room: Room) -> None:
    """The last moments: default signals, and no life without the parent.

    The death signal is forgotten at a change of user, so it comes last; a parent that had died
    before is noticed by the pipe it no longer reads.
    """
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    linux.die_with_parent()
    _tell(room, "ready")


def _tell(room: Room, kind: str, *values: Any) -> None:
    data = marshal.dumps((kind, room.made, *values))
    os.write(room.report, len(data).to_bytes(4, "big") + data)
