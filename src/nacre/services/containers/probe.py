"""One run of a health check: a process that is told by descriptor 3 what to do, and answers on 1.

{"ExitCode": …, "Output": "…"}       as docker's State.Health.Log; -1 if it did not run to its end
"""

from __future__ import annotations

import os
from time import monotonic

from ...ground import linux
from ...ground.monitor import handover
from ...ground.monitor.paused import MARK as PAUSED
from ...ground.sandbox import Attachment, Stdio
from ...stores.containers import ContainerRow
from ...words.errors import NacreError
from ...words.mount import Directory
from ...words.quickjson import dumps, loads
from .executing import Extra, execution, switched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...images.model.healthcheck import HealthCheck
    from .listing import ContainerListing

__all__ = ["PAUSED", "main", "told", "words"]
_MOST = 4096
_TOLD = 3


def told(containers: ContainerListing, row: ContainerRow, check: HealthCheck) -> dict[str, Any]:
    """What a probe of the container needs to know, as plain values."""
    active = containers.store.actives.find(row.id)
    folder = active.mount.path if active and isinstance(active.mount, Directory) else ""
    fields = dict(zip(row._fields, row._astuple(), strict=True))
    return {
        "row": fields, "command": list(check.command), "timeout": check.timeout, "folder": folder,
        "switched": switched(containers, row, loads(row.config_json)),
    }  # fmt: skip


def words() -> list[str]:
    """The command line of a probe: this module in a new interpreter."""
    return handover.command(handover.python(), (__name__, "main"), _TOLD)


def main(fd: int) -> None:
    """Run the program, answer."""
    linux.die_with_parent()
    os.write(1, dumps(_result(handover.received(fd))).encode())


def _result(todo: dict[str, Any]) -> dict[str, Any]:
    output, begun = _Beginning(), monotonic()
    try:
        code = _run(todo, Stdio(-1, -1, -1, log=output.take))
    except NacreError as error:
        return {"ExitCode": -1, "Output": error.message}
    if code == 128 + 9 and monotonic() - begun >= todo["timeout"]:
        said = f"Health check exceeded timeout ({_duration(todo['timeout'])})"
        return {"ExitCode": -1, "Output": f"{said}: {output.text()}" if output.text() else said}
    return {"ExitCode": code, "Output": output.text()}


def _run(todo: dict[str, Any], stdio: Stdio) -> int:
    row = ContainerRow(**todo["row"])
    extra = Extra(tuple(todo["command"]), timeout=todo["timeout"])
    root = Directory(todo["folder"]) if todo["folder"] else None
    return execution(row, root, extra, todo["switched"])(Attachment(stdio))


class _Beginning:
    """The beginning of what it writes."""

    def __init__(self) -> None:
        self._data, self._cut = b"", False

    def take(self, _stream: str, data: bytes) -> None:
        self._cut = self._cut or len(self._data) + len(data) > _MOST
        self._data = (self._data + data)[:_MOST]

    def text(self) -> str:
        return self._data.decode(errors="replace") + ("..." if self._cut else "")


def _duration(seconds: float) -> str:
    """As Go shows it: 500ms, 5s, 1m30s, 1h0m0s."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:g}s"
