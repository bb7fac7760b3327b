"""What the row of a container keeps: all that a later start or an `inspect` needs."""

from __future__ import annotations

from ...words.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...images.model.runtime import Device, RunOptions
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from .service import CreateRequest

_SHOWN_COMMAND = 4096


def check_possible(store: Store, row: ContainerRow) -> None:
    """Raises SandboxError for what a chroot cannot give where that is all, before anything is made."""
    if not store.driver.mounts_roots:
        from ...ground.sandbox.chrooted import refuse_here

        refuse_here(loads(row.config_json)["config"])


def record(request: CreateRequest, options: RunOptions, config: dict[str, Any]) -> dict[str, Any]:
    """What the row keeps: all that a later start or an `inspect` needs."""
    image, network = request.image.config, {}
    if request.endpoints:
        from . import endpoints

        network = endpoints.record(request)
    return {
        "config": config,
        "image_id": str(request.image.id),
        "labels": image.labels | dict(request.labels),
        "stop_signal": _signal_number(request.stop_signal or image.run.get("StopSignal") or ""),
        "asked": _asked(request, options),
        "runtime": request.runtime,
        "tty": options.tty,
        "interactive": options.interactive,
        "attached": request.stdin_once,
        "stdin_once": options.interactive and request.stdin_once,
        "network": options.network,
        "volumes": [v.source for v in options.volumes],
        "anonymous": [v.name for v in options.volumes if v.anonymous],
        "make": [v.source for v in options.volumes if v.make],
        "images": [v.image for v in options.volumes if v.image],
        "sources": bool(options.uids) or any(v.image or v.idmap for v in options.volumes),
        "ports": sorted({*(image.run.get("ExposedPorts") or ()), *request.ports}),
        "stop_timeout": request.stop_timeout,
        **({"restart": [request.restart.name, request.restart.maximum]} if request.restart else {}),
        "log_driver": request.log_driver,
        "log_options": dict(request.log_options),
        "health": _probes(request),
        "pid_of": options.pid.partition(":")[2],
        "ipc_of": options.ipc.partition(":")[2],
        **({"limits": request.limits.fields()} if request.limits else {}),
        **network,
    }


def _asked(request: CreateRequest, options: RunOptions) -> dict[str, Any]:
    """What was asked for, as far as the runtime config does not show it, by docker's names.

    What is not there was left to the image, or to nacre.
    """
    image = request.image.config
    own, mounted = options.entrypoint is not None, dict(options.mounted_as)
    found: dict[str, Any] = {
        "Entrypoint": list(options.entrypoint or ()) if own else image.entrypoint,
        "Cmd": list(options.command) if own or options.command else image.cmd,
        "User": options.user or image.user,
        "StopSignal": request.stop_signal or image.run.get("StopSignal"),
        "Volumes": {**(image.run.get("Volumes") or {}), **mounted.pop("Volumes", {})},
        "Env": _environment(image.env, options.environment),
        "WorkingDir": options.working_dir or image.run.get("WorkingDir"),
        "Healthcheck": _health(request),
        "OnBuild": image.run.get("OnBuild"),
        "Shell": image.run.get("Shell"),
        "CapAdd": [_capability(name) for name in options.cap_add],
        "CapDrop": [_capability(name) for name in options.cap_drop],
        "Dns": list(request.dns),
        "ExtraHosts": list(request.hosts),
        "SecurityOpt": list(options.security.written),
        "Devices": [] if options.privileged else [_device(device) for device in options.devices],
        "DeviceCgroupRules": list(options.device_rules),
        "DeviceRequests": _requests(options),
        "Privileged": options.privileged,
        "Init": options.init or None,
        "ShmSize": options.shm_size,
        **_more(request, options),
        **mounted,
    }
    return {name: value for name, value in found.items() if value or value == 0}


def _environment(image: Sequence[str], given: Sequence[str]) -> list[str]:
    """As docker merges them."""
    names = {item.partition("=")[0] for item in given}
    return [*given, *(item for item in image if item.partition("=")[0] not in names)]


def _capability(name: str) -> str:
    name = name.upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _device(device: Device) -> dict[str, str]:
    source = device.source or device.path
    return {"PathOnHost": source, "PathInContainer": device.path, "CgroupPermissions": device.access}


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


def _probes(request: CreateRequest) -> dict[str, Any] | None:
    """docker's document, None if nothing is to be run. Raises Unsupported."""
    if not (request.health or request.image.config.run.get("Healthcheck")):
        return None
    from .health import wanted

    return wanted(request)


def _signal_number(name: str) -> int:
    if not name:
        return 0
    from .signals import number

    return number(name)
