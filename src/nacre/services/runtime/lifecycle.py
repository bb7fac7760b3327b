"""create, start, state, kill, delete. Source: OCI runtime-spec runtime.md."""

from __future__ import annotations

import _socket
import os
import select
import time

from ...grammars.runtimespec import LARGEST, read_config
from ...ground import userns
from ...ground.bundle import groups, plan, process
from ...ground.bundle.hooks import run_hooks
from ...ground.bundle.namespaces import read_namespaces
from ...ground.bundle.settings import wanted as said
from ...ground.files import write_atomic
from ...ground.limits.groups import ControlGroup
from ...ground.monitor.logfile import stamp
from ...ground.sandbox.identity import Execute
from ...words import quickjson
from ...words.errors import Conflict, NacreError, NotFound, SandboxError, UsageError
from ...words.value import Value
from .containers import CREATED, CREATING, PAUSED, RUNNING, STOPPED, Record, held, process_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ...ground.fork import Child
    from .containers import ContainerFolder, KnownContainers
else:
    import _signal as signal

_LONGEST = 1 << 16
_PATIENCE = 10_000
"""Milliseconds in which a killed process has to end."""


class ContainerRequest(Value):
    """What the command line says of a new container. `listen` are descriptors of socket activation."""

    id: str
    bundle: str
    mask: int
    pid_file: str = ""
    console: str = ""
    no_pivot: bool = False
    no_keyring: bool = False
    preserved: int = 0
    listen: int = 0
    created: str = ""

    @property
    def asked(self) -> plan.SetupOptions:
        """The same for the plan of the container."""
        return plan.SetupOptions(self.bundle, self.mask, self.no_pivot, self.no_keyring, self.descriptors)

    @property
    def descriptors(self) -> int:
        """How many go to the program from 3 on."""
        return self.preserved + self.listen


def config_of(bundle: str) -> dict[str, Any]:
    """The config of a bundle, checked. Raises UsageError, NotFound."""
    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as file:
            return read_config(file.read(LARGEST + 1))
    except FileNotFoundError:
        raise NotFound(f"there is no config.json in {bundle}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def create(states: KnownContainers, request: ContainerRequest) -> Record:
    """Make a container whose process waits to be started. Raises NacreError; then nothing is left."""
    config = config_of(request.bundle)
    given = config.get("process")
    if given is not None:
        check_console(bool(given.get("terminal")), request.console)
        add_descriptors(given, request.listen)
    operations = [
        *plan.setup(config, request.asked),
        process.WaitForStart(hooks_of(config, "startContainer")),
        *_execute(config),
    ]
    with states.new(request.id) as folder:
        try:
            folder.write("config.json", config)
            return _made(folder, config, request, operations)
        except BaseException:
            folder.remove()
            raise


def _execute(config: Mapping[str, Any]) -> list[Execute]:
    given = config.get("process")
    return [Execute(tuple(given["args"]), tuple(given.get("env") or ()))] if given else []


def hooks_of(config: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """Those of one moment."""
    return (config.get("hooks") or {}).get(name) or ()


def check_console(terminal: bool, console: str) -> None:
    """A terminal needs somebody who takes it. Raises UsageError."""
    if terminal and not console:
        raise UsageError("process.terminal is true, and there is no --console-socket to send the terminal to")
    if console and not terminal:
        raise UsageError("--console-socket is of no use: process.terminal is not true")


def add_descriptors(given: dict[str, Any], count: int) -> None:
    """Descriptors of socket activation, sd_listen_fds(3)."""
    if count:
        given["env"] = [*(given.get("env") or ()), f"LISTEN_FDS={count}", "LISTEN_PID=1"]


def _made(
    folder: ContainerFolder, config: Mapping[str, Any], request: ContainerRequest, operations: Sequence[Any]
) -> Record:
    system = config["linux"]
    resources = system.get("resources") or {}
    limited = any(value for name, value in said(resources).items() if name != "devices")
    found = groups.find(system.get("cgroupsPath") or "", request.id)
    allowed = groups.rules(resources)
    made = groups.make(found, resources, needed=limited)
    folders = tuple(group.folder for group in made)
    try:
        _limit_devices(made, allowed)
        folder.keep(_record(config, request, 0, made))  # who is killed leaves what `delete` can remove
        score = (config.get("process") or {}).get("oomScoreAdj")
        names = read_namespaces(system, folders, score)
        return _forked(folder, config, request, (names.enter, operations, made))
    except BaseException:
        groups.remove(folders)
        raise


def _limit_devices(made: Sequence[ControlGroup], allowed: Sequence[Mapping[str, Any]]) -> None:
    """In a user namespace of an ordinary user nobody can open what that user could not."""
    if not (userns.is_first() and userns.mapped()):
        return
    try:
        limited = groups.limit_devices(made, allowed)
    except OSError as error:
        raise SandboxError(f"cannot limit devices by a control group: {error.strerror}") from None
    if not limited and not any(rule.get("type") == "a" for rule in allowed):
        raise SandboxError("linux.resources.devices: no control group here can limit devices")


def _forked(
    folder: ContainerFolder, config: Mapping[str, Any], request: ContainerRequest, parts: tuple[Any, ...]
) -> Record:
    enter, operations, made = parts
    reader, gate = os.pipe2(os.O_CLOEXEC)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    channel = connected(request.console)
    ends = process.Descriptors(
        request.descriptors, reader, listener.fileno(), channel.fileno() if channel else -1
    )
    state = state_of(request.id, request.bundle, config, (CREATING, 0))
    try:
        listener.bind(folder.socket)
        listener.listen(1)
        with started(enter, operations, ends, state) as child:
            return _accompanied(folder, config, request, (child, gate, made))
    finally:
        for fd in (reader, gate):
            os.close(fd)
        listener.close()
        if channel:
            channel.close()


def started(
    enter: Callable[[], None], operations: Sequence[Any], ends: process.Descriptors, state: Mapping[str, Any]
) -> Child:
    """The process of a container. Raises SandboxError."""
    try:
        return process.begin(enter, operations, ends, state)
    except OSError as error:
        raise SandboxError(f"cannot start a container: {error.strerror}") from None


def connected(path: str) -> _socket.socket | None:
    """The socket that takes a terminal; None for no path. Raises UsageError."""
    if not path:
        return None
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        channel.connect(path)
    except OSError as error:
        channel.close()
        raise UsageError(f"cannot connect to --console-socket {path}: {error.strerror}") from None
    return channel


def _accompanied(
    folder: ContainerFolder,
    config: Mapping[str, Any],
    request: ContainerRequest,
    parts: tuple[Child, int, Any],
) -> Record:
    """Until it is created."""
    child, gate, made = parts
    expect(child, process.MOUNTED)
    state = state_of(request.id, request.bundle, config, (CREATING, child.pid))
    for name in ("prestart", "createRuntime"):
        run_hooks(hooks_of(config, name), name, state)
    os.write(gate, str(child.pid).encode())
    expect(child, process.CREATED)
    record = _record(config, request, child.pid, made)
    folder.keep(record)
    write_pid(request.pid_file, child.pid)
    return record


def expect(child: Child, word: str) -> None:
    """Raises what it met, SandboxError when it has died."""
    try:
        told = child.hear()
    except OSError as error:
        raise SandboxError(f"cannot set up the container: {error.strerror}") from None
    if told != (word,):
        raise child.died()


def _record(config: Mapping[str, Any], request: ContainerRequest, pid: int, made: Any) -> Record:
    pairs = tuple((group.folder, ",".join(group.controllers)) for group in made)
    annotations = tuple((config.get("annotations") or {}).items())
    return Record(
        request.id, config["ociVersion"], request.bundle, pid, process_state(pid)[1], request.created,
        str(os.getuid()), pairs, annotations,
    )  # fmt: skip


def write_pid(path: str, pid: int) -> None:
    """At once: who waits for the file finds all of it. Raises StoreError."""
    if path:
        write_atomic(path, str(pid).encode(), 0o644)


def state_of(name: str, bundle: str, config: Mapping[str, Any], now: tuple[str, int]) -> dict[str, Any]:
    """The state as the runtime-spec has it; `now` is the status and the pid."""
    found = {
        "ociVersion": config["ociVersion"],
        "id": name,
        "status": now[0],
        "pid": now[1],
        "bundle": bundle,
    }
    if config.get("annotations"):
        found["annotations"] = config["annotations"]
    return found


def state(folder: ContainerFolder) -> dict[str, Any]:
    """The same of a container, with what runc adds. Raises NotFound."""
    record = folder.record()
    status = folder.status(record)
    found = {
        "ociVersion": record.version, "id": record.id, "status": status,
        "pid": 0 if status == STOPPED else record.pid, "bundle": record.bundle,
        "created": record.created, "owner": record.owner,
    }  # fmt: skip
    return {**found, "annotations": dict(record.annotations)} if record.annotations else found


def start(folder: ContainerFolder) -> None:
    """Let the program run. Raises Conflict, SandboxError."""
    record, config = folder.record(), folder.config()
    status = folder.status(record)
    if status != CREATED:
        raise Conflict(f"cannot start container {record.id}: it is {status}, not created")
    if not config.get("process"):
        raise UsageError(f"cannot start container {record.id}: config.json has no process")
    try:
        _let_run(folder)
        run_hooks(hooks_of(config, "poststart"), "poststart", _hooked(record, config, RUNNING))
    except BaseException:
        end(record)
        raise


def _hooked(record: Record, config: Mapping[str, Any], status: str) -> dict[str, Any]:
    return state_of(record.id, record.bundle, config, (status, 0 if status == STOPPED else record.pid))


def _let_run(folder: ContainerFolder) -> None:
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        channel.connect(folder.socket)
        folder.mark_started()
        told = _all(channel)
    except OSError as error:
        raise SandboxError(f"cannot start the container: {error.strerror}") from None
    finally:
        channel.close()
    if told:
        try:
            problem = process.heard(told)
        except ValueError:
            problem = SandboxError("the process of the container has died")
        raise problem


def _all(channel: _socket.socket) -> bytes:
    told = b""
    while len(told) < _LONGEST and (piece := channel.recv(_LONGEST)):
        told += piece
    return told


def kill(folder: ContainerFolder, number: int, *, everybody: bool = False) -> None:
    """Send a signal. Raises Conflict in the words that containerd looks for."""
    record = folder.record()
    if everybody and record.groups:
        groups.send(record.folders, number)
        return
    if folder.status(record) == STOPPED or not send(record, number):
        raise Conflict(f"cannot kill container {record.id}: container not running")
    if number == signal.SIGKILL:
        _thaw(record)


def _thaw(record: Record) -> None:
    if groups.is_frozen(record.groups):
        groups.freeze(record.groups, still=False)


def send(record: Record, number: int) -> bool:
    """Surely to the process of this container; False if it has ended."""
    fd = held(record)
    if fd < 0:
        return False
    try:
        return _sent(fd, number)
    finally:
        os.close(fd)


def _sent(fd: int, number: int) -> bool:
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    return True


def end(record: Record) -> None:
    """SIGKILL, and wait. Raises SandboxError if it does not end."""
    fd = held(record)
    if fd < 0:
        return
    try:
        if not _sent(fd, signal.SIGKILL):
            return
        _thaw(record)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(_PATIENCE):
            raise SandboxError(f"cannot end container {record.id}: its process does not die")
    finally:
        os.close(fd)


def delete(folder: ContainerFolder, *, force: bool = False) -> list[str]:
    """Remove a container that has stopped; warnings. Raises Conflict, SandboxError."""
    try:
        record = folder.record()
    except NotFound:
        if not force:
            raise
        folder.remove()  # who made it was killed
        return []
    status = folder.status(record)
    if status != STOPPED:
        if not force:
            raise Conflict(f"cannot delete container {record.id} that is not stopped: {status}")
        end(record)
    config = folder.config()
    groups.remove(record.folders)
    folder.remove()
    return _after(record, config)


def _after(record: Record, config: Mapping[str, Any]) -> list[str]:
    """The last hooks: one that fails is a warning, and the others are run all the same."""
    warnings = []
    for number, hook in enumerate(hooks_of(config, "poststop")):
        try:
            run_hooks([hook], "poststop", _hooked(record, config, STOPPED))
        except NacreError as error:
            warnings.append(f"poststop[{number}]: {error.message}")
    return warnings


def freeze(folder: ContainerFolder, *, still: bool) -> None:
    """`pause` and `resume`. Raises Conflict, Unsupported."""
    from ...words.errors import Unsupported

    record = folder.record()
    status, needed = folder.status(record), (RUNNING, CREATED) if still else (PAUSED,)
    if status not in needed:
        verb = "pause" if still else "resume"
        raise Conflict(f"cannot {verb} container {record.id}: it is {status}")
    if not groups.freeze(record.groups, still=still):
        raise Unsupported(f"container {record.id} has no control group that can stop it")


def update(folder: ContainerFolder, resources: Mapping[str, Any]) -> None:
    """Change the limits of a container. Raises Conflict, SandboxError, UsageError."""
    record = folder.record()
    if folder.status(record) == STOPPED:
        raise Conflict(f"cannot update container {record.id}: container not running")
    if resources.get("devices"):
        raise UsageError("--resources: devices cannot be changed while a container runs")
    found = [_group(folder_, names) for folder_, names in record.groups]
    groups.apply(found, resources)


def _group(folder: str, names: str) -> ControlGroup:
    version = 2 if os.path.exists(f"{folder}/cgroup.controllers") else 1
    return ControlGroup(version, folder, tuple(names.split(",")) if names else ())


def now() -> str:
    """The time as RFC 3339 has it, with nanoseconds, as in runc."""
    return stamp(time.time_ns())


def shown(value: Mapping[str, Any]) -> str:
    """As JSON, a line for each name."""
    lines = (f"  {quickjson.dumps(name)}: {quickjson.dumps(entry)}" for name, entry in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"
