"""Handing a container to an installed OCI runtime (crun, runc) instead of the built-in sandbox.

The root is mounted at BUNDLE/rootfs in a mount namespace of the runtime's own, so nothing of it is
visible outside and nothing has to be unmounted. A runtime that is killed while it starts a container leaves
processes that it has written down nowhere: so its parent is a watcher (`watcher`), and BUNDLE/groups lists
the control groups that it may make. Source: OCI runtime-spec bundle.md; crun(1), runc(8).
"""

from __future__ import annotations

import fcntl
import os

from ...words.errors import SandboxError, Unsupported
from ...words.value import Value
from .. import linux, mounts, userns
from ..fork import fork, fork_through, program
from ..monitor.relay import Relay
from .capabilities import bits
from .child import cannot_start, opened, run_relay
from .process import moving
from .profile import document
from .users import User, resolve
from .watcher import END, be_watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from typing import Any

    from ...words.mount import Mount
    from ..fork import Child, ChildReport
    from .stdio import Attachment, Streams

    Descriptors = tuple[int, int, int]
else:
    import _signal as signal

_STREAMS = 3
_WORDS = ("destination", "type", "source", "options")
"""What the runtime-spec has of a mount."""

_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ENVIRONMENT = {"PATH": ":".join(_FOLDERS), "XDG_RUNTIME_DIR": ""}


def find(program: str) -> str:
    """The path of a runtime by name or absolute path. Raises Unsupported."""
    candidates = [program] if program.startswith("/") else [f"{folder}/{program}" for folder in _FOLDERS]
    for path in candidates:
        if ("/" not in program or program.startswith("/")) and os.access(path, os.X_OK):
            return path
    raise Unsupported(f"the runtime {program!r} is not installed", hint="leave out --runtime")


class Runtime(Value):
    """Another runtime: its `program`, the folder made for it as a `bundle`, its `name` of the container."""

    program: str
    bundle: str
    name: str

    @property
    def id(self) -> str:
        """What the runtime calls the container."""
        return name_of(self.name)


def name_of(number: str) -> str:
    """What a runtime calls the container with an id; so its control groups are called as well."""
    return number[:32]


def first_process(runtime: Runtime) -> int:
    """The pid of the container's first process, as crun and runc write it down; 0 for any other runtime."""
    from ..jsonfile import read_object

    state = f"{runtime.bundle}/state/{runtime.id}"
    crun, runc = read_object(f"{state}/status"), read_object(f"{state}/state.json")
    pid = crun.get("pid") or runc.get("init_process_pid")
    return pid if isinstance(pid, int) else 0


def run(config: Mapping[str, Any], root: Mount, runtime: Runtime, attached: Attachment) -> int:
    """As `process.run`, by another program.

    A terminal of the user's is handed to the runtime as it is; where there is none, one is made, since the
    runtimes refuse to begin without. Raises Unsupported, SandboxError.
    """
    runtime = runtime.replace(program=find(runtime.program))
    os.makedirs(f"{runtime.bundle}/rootfs", exist_ok=True)
    os.makedirs(f"{runtime.bundle}/state", exist_ok=True)
    _note(runtime)
    stdio = attached.stdio
    handed = stdio.tty and stdio.stdin >= 0 and os.isatty(stdio.stdin)
    streams = None if handed else opened(stdio, relayed=False)
    fds = streams.child if streams else (stdio.stdin, stdio.stdout, stdio.stderr)
    try:
        with _fork(config, root, runtime, fds, attached) as started:
            if streams:
                streams.given()
            if attached.on_start:
                attached.on_start(started.pid)
            return _stay(started, runtime, streams, attached)
    finally:
        if streams:
            streams.close()
        end(runtime)


def _stay(started: Child, runtime: Runtime, streams: Streams | None, attached: Attachment) -> int:
    """Its exit code. A watcher must not be killed before it has ended what the runtime started."""
    try:
        _listen(started, runtime.program)
        return run_relay(_relay(started, streams, attached), attached)
    except BaseException:
        started.end(END)
        raise


def _relay(started: Child, streams: Streams | None, attached: Attachment) -> Relay:
    outputs, inputs = (streams.outputs, streams.inputs) if streams else ([], [])
    relay = Relay(started, outputs, inputs, attached.control)
    relay.deadly = END
    relay.on_ready, relay.on_signal = attached.on_running, attached.on_signal
    if streams:
        relay.input, relay.once = streams.input, streams.stdio.once
    if leave := attached.leave:
        kept = streams.kept if streams else ()
        relay.leave = lambda told: leave({**told, "descriptors": kept})
    return relay


def end(runtime: Runtime) -> None:
    """Kill what is left of a container whose runtime was killed, and could not end it. Idempotent.

    A runtime that ends by itself removes its state and its control groups; one that was killed before it had
    written its state knows nothing of them. Source: crun(1), runc-delete(8).
    """
    state = f"{runtime.bundle}/state"
    if os.path.isdir(f"{state}/{runtime.id}"):
        words = [find(runtime.program), "--root", state, "delete", "--force", runtime.id]
        os.waitpid(program(words, (-1, -1, -1)), 0)
    for folder in _noted(runtime):
        if os.path.isdir(folder):
            _remove(folder)


def _remove(folder: str) -> None:
    """A control group, with those beneath and all processes."""
    from ..limits.groups import remove

    for below, _, _ in os.walk(folder, topdown=False):
        remove(below)


def _note(runtime: Runtime) -> None:
    """Which control groups the runtime may make, before it does; none where it can make none.

    Some make them beneath the group that they are in, some (crun, runc 1.1) beneath the root.
    """
    from ..limits.hierarchies import folders, roots

    places = dict.fromkeys([*folders(), *roots()])
    text = "".join(f"{folder}/{runtime.id}\0" for folder in places)
    with open(f"{runtime.bundle}/groups", "wb") as file:
        file.write(os.fsencode(text))


def _noted(runtime: Runtime) -> list[str]:
    try:
        with open(f"{runtime.bundle}/groups", "rb") as file:
            return os.fsdecode(file.read()).split("\0")[:-1]
    except OSError:
        return []


def _fork(
    config: Mapping[str, Any], root: Mount, runtime: Runtime, fds: Descriptors, attached: Attachment
) -> Child:  # fmt: skip
    """Where sockets are switched, the runtime itself is filtered, and so is what it starts."""
    what = f"the process that starts {runtime.program}"

    def work(report: ChildReport) -> None:
        _become(config, root, runtime, fds, report, own_network=bool(attached.further))

    try:
        if move := moving(config, attached):
            return fork_through(move, work, what=what, keep=fds)
        return fork(work, what=what, keep=fds)
    except OSError as error:
        raise cannot_start(error) from None


def _listen(started: Child, path: str) -> None:
    """Until it is the runtime. Raises what the child met."""
    runs = False
    try:
        while told := started.hear():
            (runs,) = told
    except OSError as error:
        raise SandboxError(f"cannot start {path}: {error}") from None
    if not runs:
        raise started.died()


def _become(
    config: Mapping[str, Any], root: Mount, runtime: Runtime, fds: Descriptors, report: ChildReport, *,
    own_network: bool,
) -> None:  # fmt: skip
    """Runs in the child; does not return."""
    path, bundle = runtime.program, runtime.bundle
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    high = [fcntl.fcntl(fd if fd >= 0 else null, fcntl.F_DUPFD_CLOEXEC, _STREAMS) for fd in fds]
    report.fd = fcntl.fcntl(report.fd, fcntl.F_DUPFD_CLOEXEC, _STREAMS)
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    linux.die_with_parent()
    if mounts.leave(linux.CLONE_NEWCGROUP):
        raise SandboxError("another runtime cannot be used in a chroot", hint="leave out --runtime")
    mounts.attach(root, f"{bundle}/rootfs")
    _simplify_cgroups()
    _place_binds(config, bundle)
    _write(f"{bundle}/config.json", translate(config, f"{bundle}/rootfs", own_network))
    options = ["--root", f"{bundle}/state"]
    if not userns.is_first() and path.endswith("crun"):
        options.append("--cgroup-manager=disabled")
    report.tell(True)
    _leave_watcher()
    os.execve(path, [path, *options, "run", "--bundle", bundle, runtime.id], _ENVIRONMENT)


def _leave_watcher() -> None:
    """This process is the watcher from now on, a child of it goes on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    be_watched(unloaded=True)
    linux.die_with_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _place_binds(config: Mapping[str, Any], bundle: str) -> None:
    """What the runtime-spec has no words for is mounted in the bundle, and bound from there."""
    for number, entry in enumerate(config["mounts"]):
        if any(entry.get(word) for word in ("subpath", "userns", "tree")):
            from .binds import volume_bind
            from .room import Room

            path = f"{bundle}/mounts/{number}"
            volume_bind(entry, 0).place(Room(), path)
            entry |= {"source": path, "type": "bind"}


def _simplify_cgroups() -> None:
    """crun takes hybrid hierarchies for an error: take away the second one, or cover both."""
    if not os.path.isdir("/sys/fs/cgroup/unified"):
        return
    if userns.is_first():
        mounts.detach("/sys/fs/cgroup/unified")
    else:
        linux.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0)


def translate(config: Mapping[str, Any], rootfs: str, own_network: bool = False) -> dict[str, Any]:
    """The config in the words of the runtime-spec: numeric user, HOME, list of system calls.

    `own_network`: the runtime is in the network namespace of the container already.
    """
    process, system = dict(config["process"]), dict(config["linux"])
    process.pop("init", None)
    if "username" in process["user"]:
        root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        user: User = resolve(root_fd, process["user"]["username"], process["user"].get("groups", ()))
        os.close(root_fd)
        process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
        if not any(item.startswith("HOME=") for item in process["env"]):
            process["env"] = [*process["env"], f"HOME={user.home}"]
    if system.get("seccomp") == "default":
        system["seccomp"] = document(linux.MACHINE, bits(process["capabilities"]["bounding"]))
    host = not own_network and "network" not in [n["type"] for n in system["namespaces"]]
    entries = [_translate_mount(mount, host) for mount in config["mounts"]]
    return {**config, "process": process, "linux": system, "mounts": entries}


def _translate_mount(mount: Mapping[str, Any], host_network: bool) -> dict[str, Any]:
    """A new sysfs takes a network namespace of one's own unless we are real root."""
    if mount["type"] == "sysfs" and host_network and not userns.is_first():
        return {**mount, "type": "bind", "source": "/sys", "options": ["rbind", "ro"]}
    if mount["type"] == "devpts" and not _group_exists(5):
        return {**mount, "options": [option for option in mount["options"] if option != "gid=5"]}
    found = {key: value for key, value in mount.items() if key in _WORDS}
    if "rro" in mount.get("options", ()) and not os.path.isdir(mount["source"]):
        # crun opens it as a folder
        found["options"] = [option for option in mount["options"] if option != "rro"]
    return found


def _group_exists(gid: int) -> bool:
    with open("/proc/self/gid_map", encoding="ascii") as stream:
        extents = [[int(word) for word in line.split()] for line in stream]
    return any(inside <= gid < inside + count for inside, _, count in extents)


def _write(path: str, value: Any) -> None:
    import json

    with open(path, "w", encoding="utf-8") as stream:
        json.dump(value, stream)
