"""One more program in a container that runs."""

from __future__ import annotations

import os

from ...ground.sandbox import Attachment, Stdio
from ...ground.sandbox.capabilities import ALL
from ...stores.containers import CONTAINER
from ...stores.layout import laid_out
from ...words.errors import Conflict, Unsupported, UsageError
from ...words.mount import Directory
from ...words.quickjson import loads
from ...words.value import Value
from .pausing import is_paused
from .signalbuffer import SignalBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.fork import ChildReport
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from ...words.mount import Mount
    from .listing import ContainerListing

    Execution = Callable[[Attachment], int]


class Extra(Value):
    """One more program for a running container; what is empty is as for its first program.

    `timeout`: seconds after which it is killed, 0 for never.
    """

    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    privileged: bool = False
    timeout: float = 0.0

    def config(self, base: dict[str, Any]) -> dict[str, Any]:
        """The config of the container with another process."""
        first = base["process"]
        merged = dict(item.partition("=")[::2] for item in (*first["env"], *self.environment))
        if self.tty:
            merged.setdefault("TERM", "xterm")
        process = first | {
            "args": list(self.command),
            "env": [f"{name}={value}" for name, value in merged.items()],
            "cwd": self.working_dir or first["cwd"],
            "user": {"username": self.user} if self.user else first["user"],
            "init": False,
            "existing": True,
            "timeout": self.timeout,
        }
        if not self.privileged:
            return base | {"process": process}
        process["capabilities"] = {"bounding": ALL}
        return base | {"process": process, "linux": base["linux"] | {"seccomp": None}}


def execute(containers: ContainerListing, text: str, extra: Extra, stdio: Stdio | None = None) -> int | None:
    """Run one more program in a running container; its exit code, None when the user has left it alone.

    The process must not have entered a user namespace of its own unless it is the container's.
    Raises NotFound, Conflict when it does not run, and as `start`.
    """
    execution, attached = _execution(containers, text, extra), Attachment(stdio or Stdio())
    if not attached.stdio.is_detachable:
        return execution(attached)
    from .foreground import Foreground, detachable

    def work(report: ChildReport) -> None:
        code = execution(detachable(attached, report))
        if report.fd >= 0:
            report.tell(code)

    containers.store.rest()
    return Foreground(attached.stdio).attend(work, "the process that runs the program")


def execute_detached(containers: ContainerListing, text: str, extra: Extra) -> None:
    """As `execute`, seen through by a process in the background; returns once the program runs."""
    from .supervisor import begin

    run = _execution(containers, text, extra)

    def work(report: ChildReport) -> None:
        def running() -> None:
            report.tell(True)
            report.close()

        os.chdir("/")
        run(Attachment(Stdio(-1, -1, -1, tty=extra.tty), on_running=running))

    begin(work, "the process that runs the program")


def _execution(containers: ContainerListing, text: str, extra: Extra) -> Execution:
    """What is to be done once the store is not needed any more."""
    row = containers.get(text)
    if row.state == "restarting":
        raise Conflict(f"Container {text} is restarting, wait until the container is running")
    if row.state != "running":
        raise Conflict(f"container {row.id} is not running")
    if is_paused(containers, row):
        raise Conflict(f"container {text} is paused, unpause the container before exec")
    _check_folder(extra.working_dir)
    record = loads(row.config_json)
    if record["runtime"] != "builtin":
        raise Unsupported(f"exec into a container of the runtime {record['runtime']} is not possible")
    root = _folder(containers.store, row.id)
    command, number = " ".join(extra.command), os.urandom(32).hex()
    containers.tell(row, f"exec_create: {command}", execID=number)
    inner = execution(row, root, extra, switched(containers, row, record))

    def told(attached: Attachment) -> int:
        containers.tell(row, f"exec_start: {command}", execID=number)
        shield = SignalBuffer(-1, forward=False)
        try:
            code = inner(attached.replace(on_running=shield.before(attached.on_running)))
        finally:
            shield.close()
        containers.tell(row, "exec_die", execID=number, exitCode=code)
        return code

    return told


def _folder(store: Store, key: str) -> Mount | None:
    """The root of a container where that is a folder."""
    if not os.path.isdir(laid_out(store.root, key)):
        return None
    active = store.actives.find(key)
    return active.mount if active else None


def execution(row: ContainerRow, root: Mount | None, extra: Extra, folder: str = "") -> Execution:
    """What is to be done in a container that runs; `root` matters where that is a folder.

    `folder` as from `switched`.
    """
    config = extra.config(loads(row.config_json)["config"])
    if folder:
        return lambda attached: _enter_switched(config, folder, row, attached)
    if not isinstance(root, Directory):
        return lambda attached: _enter(config, row, attached)
    return lambda attached: _enter_folder(config, root, row, attached)


def _check_folder(path: str) -> None:
    """Raises UsageError, with docker's exit code."""
    if path and not path.startswith("/"):
        error = UsageError(f"the working directory {path!r} is invalid, it needs to be an absolute path")
        error.exit_code = 128
        raise error


def switched(containers: ContainerListing, row: ContainerRow, record: dict[str, Any]) -> str:
    """The folder of a container whose sockets are switched; "" for others."""
    if "endpoints" not in record and not record["network"].startswith(CONTAINER):
        return ""
    return containers.folder(row.id) if containers.store.containers.network(row).get("switched") else ""


def _enter_switched(config: dict[str, Any], folder: str, row: ContainerRow, attached: Attachment) -> int:
    from .networksocket import channel

    connection = channel(folder)
    try:
        return _enter(config, row, attached.replace(channel=connection.fileno()))
    finally:
        connection.close()


def _enter(config: dict[str, Any], row: ContainerRow, attached: Attachment) -> int:
    from ...ground.sandbox.join import join
    from .program import Program

    with Program(row) as (pid, pidfd):
        return join(config, pidfd, pid, attached.replace(timeout=config["process"]["timeout"]))


def _enter_folder(config: dict[str, Any], root: Directory, row: ContainerRow, attached: Attachment) -> int:
    """Where the container has its namespaces they are joined, else its root is entered once more."""
    from ...ground import cgroups, userns
    from ...ground.sandbox import chrooted, permitted

    userns.attempt()
    if permitted.way() != "mounts":
        if cgroups.is_limited(row.pid):
            from ...ground.limits.joining import folders

            config = config | {"linux": config["linux"] | {"groups": folders(row.pid)}}
        return chrooted.join(config, root, attached.replace(timeout=config["process"]["timeout"]))
    return _enter(config, row, attached)
