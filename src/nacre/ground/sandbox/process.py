"""Starting a container's process and staying with it until it ends."""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from ...words.mount import BY_DESCRIPTOR, Overlay
from .. import cgroups, linux, userns
from ..fork import BLOCKED, Blocked, fork, fork_held, fork_through
from .child import WHAT, cannot_start, child, hide, listen, opened, stay
from .operations import shown
from .plan import plan
from .program import is_root, shares_processes
from .stdio import Attachment, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ...words.mount import Mount
    from ..fork import Child, Work
    from .room import Operation


def run(
    config: Mapping[str, Any], root: Mount, attached: Attachment | None = None, *, volatile: bool = False
) -> int:
    """Run the OCI runtime `config` on `root` and wait; the exit code, 128+n for signal n.

    The caller must be `userns.mapped()`. `volatile`: what is written to the root is of no use afterwards.

    The container ends when the calling thread does. Raises SandboxError, CommandNotFound,
    CommandNotExecutable; then nothing is left running.
    """
    made: list[str] = []
    if volatile and isinstance(root, Overlay):
        root = root.replace(volatile=True)
    attached = attached or Attachment()
    streams = opened(attached.stdio, _devpts_options(config), relayed=not is_root(config))
    streams.lowers = lowers_passed(root)
    try:
        operations = plan(config, root, machine=linux.MACHINE, owned=streams.owned, cgroup=cgroups.new_name())
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


def lowers_passed(root: Mount) -> tuple[int, ...]:
    """Descriptors of ours by which the root names mounts beneath it: our /proc may be closed to the child."""
    lowers = root.lowers if isinstance(root, Overlay) else ()
    return tuple(
        int(lower.removeprefix(BY_DESCRIPTOR))
        for lower in lowers
        if isinstance(lower, str) and lower.startswith(BY_DESCRIPTOR)
    )


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
            return _through(move, work, streams.passed, alone=bool(pids))
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
    return _first(work, keep) if alone else fork(work, what=WHAT, keep=keep, signals=BLOCKED)


def _first(work: Work, keep: Iterable[int]) -> Child:
    """A child in a new pid namespace, no signal let in. Raises OSError, SandboxError.

    unshare(CLONE_NEWPID) counts for later children only. As real root the parent makes the namespace, forks,
    and goes back to its own; no process stands in the middle. In a user namespace the way back is barred (the
    old pid namespace belongs to somebody else), so a helper makes the namespace, forks and ends, and the
    child falls to us. Source: pid_namespaces(7).
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(own, linux.CLONE_NEWPID)
    except PermissionError:
        return fork_through(_unshare, work, what=WHAT, keep=keep, signals=BLOCKED)
    else:
        return _and_back(own, work, keep)
    finally:
        os.close(own)


def _through(move: Callable[[], None], work: Work, keep: Iterable[int], *, alone: bool) -> Child:
    """A child where `move` leads, `alone` in a pid namespace. Raises OSError, SandboxError."""

    def both() -> None:
        move()
        if alone:
            _unshare()

    return fork_through(both, work, what=WHAT, keep=keep, signals=BLOCKED)


def _and_back(own: int, work: Work, keep: Iterable[int]) -> Child:
    """Back in any case: else this program could start nothing any more once the container has ended."""
    child: Child | None = None
    try:
        with Blocked():
            try:
                _unshare()
                child = fork(work, what=WHAT, keep=keep, signals=BLOCKED)
            finally:
                linux.setns(own, linux.CLONE_NEWPID)
    except BaseException:
        if child:
            child.__exit__(BaseException)
        raise
    return child


def _unshare() -> None:
    linux.unshare(linux.CLONE_NEWPID)
