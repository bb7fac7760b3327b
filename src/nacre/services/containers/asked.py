"""What was asked for a container, as far as its runtime config does not show it: kept for `inspect`."""

from __future__ import annotations

from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...images.model.runtime import RunOptions
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import CreateRequest

_SHOWN_COMMAND = 4096


def check_possible(store: Store, row: ContainerRow) -> None:
    """Raises SandboxError for what a chroot cannot give where that is all, before anything is made."""
    if not store.driver.mounts_roots:
        from ...ground.sandbox.chrooted import refuse_here

        refuse_here(loads(row.config_json)["config"])


def asked(request: CreateRequest, options: RunOptions) -> dict[str, Any]:
    """docker's names for it; what is not there was left to the image, or to nacre."""
    image = request.image.config
    own = options.entrypoint is not None
    found: dict[str, Any] = {
        "Entrypoint": list(options.entrypoint or ()) if own else image.entrypoint,
        "Cmd": list(options.command) if own or options.command else image.cmd,
        "User": options.user or image.user,
        "StopSignal": request.stop_signal or image.run.get("StopSignal"),
        "Volumes": image.run.get("Volumes"),
        "Healthcheck": _health(request),
        "OnBuild": image.run.get("OnBuild"),
        "Shell": image.run.get("Shell"),
        "CapAdd": list(options.cap_add),
        "CapDrop": list(options.cap_drop),
        "Dns": list(request.dns),
        "ExtraHosts": list(request.hosts),
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in options.temporary},
        "SecurityOpt": list(options.security.written),
        "Devices": [device.path for device in options.devices],
        "DeviceRequests": _requests(options),
        "Privileged": options.privileged,
        "Init": options.init or None,
        "ShmSize": options.shm_size,
        **_more(request, options),
    }
    return {name: value for name, value in found.items() if value or value == 0}


def _requests(options: RunOptions) -> list[dict[str, Any]]:
    if not options.cdi:
        return []
    request = {"Driver": "cdi", "Count": 0, "DeviceIDs": list(options.cdi)}
    return [request | {"Capabilities": None, "Options": None}]


def _health(request: CreateRequest) -> object:
    if not request.health:
        return request.image.config.run.get("Healthcheck")
    from ...images.model.healthcheck import merged

    return merged(request.image.config, request.health)


def shown(args: list[str]) -> str:
    """As docker's COMMAND column has it."""
    return " ".join(arg if arg and " " not in arg else f"'{arg}'" for arg in args)[:_SHOWN_COMMAND]


def _more(request: CreateRequest, options: RunOptions) -> dict[str, Any]:
    ulimits = [{"Name": name, "Hard": hard, "Soft": soft} for name, soft, hard in options.ulimits]
    return {
        "DnsSearch": list(request.dns_search),
        "DnsOptions": list(request.dns_options),
        "StopTimeout": request.stop_timeout,
        "LogDriver": request.log_driver,
        "GroupAdd": list(options.groups),
        "Ulimits": ulimits,
        "Sysctls": dict(options.sysctls),
        "OomScoreAdj": options.oom_score,
        "Domainname": options.domainname,
        "Annotations": dict(options.annotations),
        "PidMode": options.pid,
        "IpcMode": options.ipc,
        "UTSMode": options.uts,
        "UsernsMode": options.userns,
        "CgroupnsMode": options.cgroupns,
    }
