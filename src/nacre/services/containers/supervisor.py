"""Detached containers: a small process of ours that keeps one container, writes its log and its end."""

from __future__ import annotations

import os

from ...ground.sandbox import Stdio
from ...words.errors import (
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    NacreError,
    NotFound,
    SandboxError,
    StoreError,
)
from ...words.quickjson import loads
from .log import LogWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import Containers

_KINDS: tuple[type[NacreError], ...] = (
    SandboxError, CommandNotFound, CommandNotExecutable, Conflict, NotFound, StoreError,
)  # fmt: skip
_RUNS = b"runs"


def launch(service: type[Containers], store: Store, row: ContainerRow) -> None:
    """Start `row` under a supervisor of its own; returns once its program runs, raises what went wrong.

    Forked twice, so that the supervisor belongs to nobody who could forget to wait for it.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _detach(service, store, row, writer)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, "rb") as stream:
        answer = stream.read()
    if answer != _RUNS:
        raise _error(answer)


def _error(answer: bytes) -> NacreError:
    kind, _, rest = answer.decode(errors="replace").partition("\n")
    message, _, hint = rest.partition("\n")
    if not kind.isdigit():
        return SandboxError("the supervisor of the container died")
    return _KINDS[int(kind)](message, hint=hint)


def _detach(service: type[Containers], store: Store, row: ContainerRow, report: int) -> None:
    """Never returns. `store` is the parent's and must not be used, nor collected, on this side."""
    try:
        os.setsid()
        if os.fork() == 0:
            _silence()
            _supervise(service, store, row, report)
    finally:
        os._exit(0)


def _silence() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.chdir("/")


def _supervise(service: type[Containers], store: Store, row: ContainerRow, report: int) -> None:
    def running() -> None:
        os.write(report, _RUNS)
        os.close(report)

    try:
        fresh = type(store).open(store.root, create=False)
        containers = service(fresh)
        log = LogWriter(f"{containers.folder(row.id)}/log")
        tty = bool(loads(row.config_json).get("tty"))
        stdio = Stdio(-1, -1, -1, tty=tty, log=log.write)
        containers.keep(row, stdio, running, log.close)
        fresh.close()
    except NacreError as error:
        kind = _KINDS.index(type(error)) if type(error) in _KINDS else 0
        _tell(report, f"{kind}\n{error.message}\n{error.hint}")
    except BaseException as error:
        _tell(report, f"0\n{type(error).__name__}: {error}\n")


def _tell(report: int, text: str) -> None:
    try:
        os.write(report, text.encode(errors="replace"))
    except OSError:
        return
