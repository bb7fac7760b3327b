"""Namespaces that a container takes over from another one: `container:NAME`."""

from __future__ import annotations

from ...stores.containers import CONTAINER
from ...words.errors import Conflict, SandboxError, Unsupported
from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...stores.containers import ContainerRow
    from .service import Containers, CreateRequest


def with_others(containers: Containers, request: CreateRequest) -> CreateRequest:
    """`container:` and the id of the other container, for pid and IPC. Raises NotFound, Unsupported."""
    options = request.options
    if options.pid.startswith(CONTAINER):
        options = options.replace(pid=_named(containers, options.pid))
    if options.ipc.startswith(CONTAINER):
        if request.runtime != "builtin":
            raise Unsupported(f"--ipc {options.ipc} is not possible with the runtime {request.runtime}")
        options = options.replace(ipc=_named(containers, options.ipc))
    return request.replace(options=options)


def _named(containers: Containers, mode: str) -> str:
    return f"{CONTAINER}{containers.get(mode.removeprefix(CONTAINER)).id}"


def join(containers: Containers, record: dict[str, Any]) -> ContainerRow | None:
    """Have the config of a container that starts name the namespaces of the others, which must run.

    Gives the one whose network is to be shared if sockets are switched there. Raises NotFound, Conflict;
    SandboxError for an IPC namespace that is not shareable.
    """
    config = record["config"]
    if record.get("pid_of"):
        _join(config, "pid", "PID", containers.get(record["pid_of"]))
    if record.get("ipc_of"):
        other = containers.get(record["ipc_of"])
        _join(config, "ipc", "IPC", other)
        _check_shareable(other)
    if record["network"].startswith(CONTAINER):
        other = _owner(containers, record["network"])
        _join(config, "network", "network", other)
        if containers.store.containers.network(other).get("switched"):
            return other
    return None


def _owner(containers: Containers, network: str) -> ContainerRow:
    """The container that a network is of: the one that is named may have that of another as well."""
    while network.startswith(CONTAINER):
        other = containers.get(network.removeprefix(CONTAINER))
        network = loads(other.config_json)["network"]
    return other


def _join(config: dict[str, Any], kind: str, title: str, other: ContainerRow) -> None:
    if other.state != "running":
        raise Conflict(f"cannot join {title} of a non running container: {other.id}")
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] == kind:
            namespace["path"] = f"/proc/{other.pid}/ns/{'net' if kind == 'network' else kind}"
            namespace["started"] = other.pid_start


def _check_shareable(other: ContainerRow) -> None:
    mode = loads(other.config_json)["asked"].get("IpcMode") or ""
    if mode not in ("host", "shareable") and not mode.startswith(CONTAINER):
        raise SandboxError(
            f"failed to join IPC namespace: that of container {other.name} is not shareable",
            hint="start that container with --ipc shareable",
        )
