"""One more program in a container that runs."""

from __future__ import annotations

from ...ground.sandbox.capabilities import ALL
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.sandbox import Stdio
    from ...stores.containers import ContainerRow
    from ...words.mount import Directory

    Execution = Callable[[Stdio | None, Callable[[], object] | None], int]


class Extra(Value):
    """One more program for a running container; what is empty is as for its first program."""

    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    privileged: bool = False

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
        }
        if not self.privileged:
            return base | {"process": process}
        process["capabilities"] = {"bounding": ALL}
        return base | {"process": process, "linux": base["linux"] | {"seccomp": None}}


def execution(config: dict[str, Any], folder: Directory | None, row: ContainerRow) -> Execution:
    """What is to be done once the store is not needed any more; `folder` is a root that is not mounted."""
    if folder is None:
        return lambda stdio, running: _enter(config, row, stdio, running)
    return lambda stdio, running: _enter_folder(config, folder, row, stdio, running)


def _enter(
    config: dict[str, Any], row: ContainerRow, stdio: Stdio | None, on_running: Callable[[], object] | None
) -> int:
    from ...ground.sandbox.join import join
    from .program import Program

    with Program(row) as (pid, pidfd):
        return join(config, pidfd, pid, stdio=stdio, on_running=on_running)


def _enter_folder(
    config: dict[str, Any], root: Directory, row: ContainerRow, stdio: Stdio | None,
    on_running: Callable[[], object] | None,
) -> int:  # fmt: skip
    """Where the container has its namespaces they are joined, else its root is entered once more."""
    from ...ground import userns
    from ...ground.sandbox import chrooted, permitted

    userns.attempt()
    if permitted.way() != "mounts":
        return chrooted.join(config, root, stdio=stdio, on_running=on_running)
    return _enter(config, row, stdio, on_running)
