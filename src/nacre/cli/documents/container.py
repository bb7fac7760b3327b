"""A container as `docker container inspect` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...grammars.gotemplate import Struct
from ...grammars.ports import single_ports
from ...stores.containers import ContainerRow
from ..columns import is_anonymous, mounts_of, state_of
from ..context import Context
from ..output import rfc3339
from .image import config_of
from .network import bindings, settings
from .shapes import SHAPES

_FILES = {"ResolvConfPath": "resolv.conf", "HostnamePath": "hostname", "HostsPath": "hosts", "LogPath": "log"}
_SHM = 64 << 20


def container_document(context: Context, row: ContainerRow, size: bool = False) -> Struct:
    """All that is known of it, and docker's zero for the rest; with `size` what its files take."""
    from json import loads

    kept = loads(row.config_json)
    process = kept.get("config", {}).get("process", {})
    args = process.get("args") or [""]
    mounts = mounts_of(kept, context.root)
    known = {
        "Id": row.id,
        "Created": rfc3339(row.created),
        "Path": args[0],
        "Args": args[1:],
        "State": _state(context, row),
        "Image": kept.get("image_id") or row.image,
        **{field: context.engine.store.containers.file(row.id, name) for field, name in _FILES.items()},
        "Name": f"/{row.name}",
        "RestartCount": context.engine.containers.restarts(row),
        "Driver": context.engine.store.driver.name,
        **({"LogPath": ""} if kept.get("log_driver") in ("none", "journald") else {}),
        "Platform": "linux",
        "HostConfig": _host_config(row, kept, mounts),
        "GraphDriver": {"Name": context.engine.store.driver.name},
        "Mounts": mounts,
        "Config": _config(row, kept, process) | _anonymous(kept, mounts),
        "NetworkSettings": settings(context, row, kept),
    }
    return SHAPES.fill("Container", known | (_sizes(context, row) if size else {}))


def _sizes(context: Context, row: ContainerRow) -> dict[str, int]:
    written = context.engine.containers.size(row)
    return {"SizeRw": written, "SizeRootFs": written + image_size(context, row)}


def image_size(context: Context, row: ContainerRow) -> int:
    """Bytes of content of the image of a container; 0 when it cannot be read."""
    from ..images import size_of

    image = context.engine.containers.image_of(row)
    return size_of(image) if image else 0


def _config(row: ContainerRow, kept: Mapping[str, Any], process: Mapping[str, Any]) -> dict[str, Any]:
    asked = kept.get("asked")
    found: dict[str, Any] = asked or {}
    image = {} if asked is None else {name: asked.get(name) for name in _OF_IMAGE}
    user = process.get("user", {})
    return config_of(image) | {
        "Hostname": kept.get("config", {}).get("hostname", ""),
        "User": user.get("username") or "",
        "Tty": bool(kept.get("tty")),
        "OpenStdin": bool(kept.get("interactive")),
        "StdinOnce": bool(kept.get("stdin_once")),
        "Env": found.get("Env") if _is_new(kept) else process.get("env") or [],
        "AttachStdin": bool(kept.get("stdin_once")),
        "AttachStdout": bool(kept.get("attached")),
        "AttachStderr": bool(kept.get("attached")),
        "Cmd": asked.get("Cmd") if asked is not None else process.get("args"),
        "Image": row.image_ref,
        "WorkingDir": found.get("WorkingDir", "") if _is_new(kept) else process.get("cwd") or "/",
        "Domainname": found.get("Domainname"),
        "StopTimeout": found.get("StopTimeout"),
        "Labels": kept.get("labels") or {},
        "ExposedPorts": _exposed(kept),
    }


def _is_new(kept: Mapping[str, Any]) -> bool:
    """Whether it keeps all that was asked for; what an earlier version made does not."""
    return "attached" in kept


def _exposed(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Each port by itself; what the image calls a port and is none as it stands there."""
    return {port: {} for text in kept.get("ports") or () for port in single_ports(text) or (text,)}


def _anonymous(kept: Mapping[str, Any], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    """The folders that are volumes of no name: those of the image, and of `-v /FOLDER`."""
    named = (kept.get("asked") or {}).get("Volumes") or {}
    if _is_new(kept):
        return {"Volumes": named or None}
    return {"Volumes": {**named, **{m["Destination"]: {} for m in mounts if is_anonymous(m)}} or None}


_OF_IMAGE = ("Entrypoint", "StopSignal", "Volumes", "Healthcheck", "OnBuild", "Shell")


_ASKED = (
    "CapAdd", "CapDrop", "ExtraHosts", "SecurityOpt", "Tmpfs", "Init", "Dns", "DnsSearch", "DnsOptions",
    "GroupAdd", "Ulimits", "Sysctls", "OomScoreAdj", "Annotations", "Privileged",
    "DeviceRequests", "DeviceCgroupRules", "VolumesFrom", "Mounts",
)  # fmt: skip
_EMPTY = (
    "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps", "Dns", "DnsOptions", "DnsSearch", "Ulimits",
)  # fmt: skip
"""What docker shows as empty lists where it has nothing to show."""


def _host_config(row: ContainerRow, kept: Mapping[str, Any], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    config, asked = kept.get("config", {}), kept.get("asked") or {}
    linux = config.get("linux", {})
    return {
        **{name: [] for name in _EMPTY},
        **{name: asked[name] for name in _ASKED if name in asked},
        "Binds": asked.get("Binds") if _is_new(kept) else [_bind(m) for m in mounts if _is_bind(m)] or None,
        "LogConfig": {"Type": kept.get("log_driver") or "json-file", "Config": kept.get("log_options") or {}},
        "NetworkMode": kept.get("network") or "none",
        "PortBindings": bindings(kept),
        "PublishAllPorts": bool(kept.get("publish_all")),
        "RestartPolicy": _restart_policy(kept),
        "AutoRemove": row.auto_remove,
        "ConsoleSize": [0, 0],
        "CgroupnsMode": asked.get("CgroupnsMode") or ("private" if _has(linux, "cgroup") else "host"),
        "IpcMode": asked.get("IpcMode") or ("private" if _has(linux, "ipc") else "host"),
        "PidMode": asked.get("PidMode") or ("" if _has(linux, "pid") else "host"),
        "UsernsMode": asked.get("UsernsMode", ""),
        "UTSMode": asked.get("UTSMode") or ("" if _has(linux, "uts") else "host"),
        "ReadonlyRootfs": bool(config.get("root", {}).get("readonly")),
        "ShmSize": asked.get("ShmSize", _SHM),
        "Runtime": kept.get("runtime") or "builtin",
        "Devices": [_device(path) for path in asked.get("Devices", ())],
        "MaskedPaths": linux.get("maskedPaths"),
        "ReadonlyPaths": linux.get("readonlyPaths"),
        **_limits(kept.get("limits") or {}),
    }  # fmt: skip


def _limits(kept: Mapping[str, Any]) -> dict[str, Any]:
    """By docker's names; what is not there has docker's zero."""
    found = {_LIMITS[name]: value for name, value in kept.items() if name in _LIMITS}
    found |= {
        field: [{"Path": path, key: value} for path, value in kept[name]]
        for name, (field, key) in _OF_DEVICES.items() if name in kept
    }  # fmt: skip
    return found | ({"NanoCpus": round(kept["cpus"] * 10**9)} if "cpus" in kept else {})


_LIMITS = {
    "memory": "Memory", "memory_swap": "MemorySwap", "memory_reservation": "MemoryReservation",
    "memory_swappiness": "MemorySwappiness", "oom_kill_disable": "OomKillDisable", "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota", "cpu_rt_period": "CpuRealtimePeriod", "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares", "cpuset_cpus": "CpusetCpus", "cpuset_mems": "CpusetMems",
    "pids_limit": "PidsLimit", "blkio_weight": "BlkioWeight", "cgroup_parent": "CgroupParent",
}  # fmt: skip
_OF_DEVICES = {
    "blkio_weight_device": ("BlkioWeightDevice", "Weight"),
    "device_read_bps": ("BlkioDeviceReadBps", "Rate"), "device_write_bps": ("BlkioDeviceWriteBps", "Rate"),
    "device_read_iops": ("BlkioDeviceReadIOps", "Rate"),
    "device_write_iops": ("BlkioDeviceWriteIOps", "Rate"),
}  # fmt: skip


def _has(linux: Mapping[str, Any], namespace: str) -> bool:
    return any(one.get("type") == namespace for one in linux.get("namespaces") or ())


def _is_bind(mount: Mapping[str, Any]) -> bool:
    return mount["Type"] != "image" and not is_anonymous(mount)


def _bind(mount: Mapping[str, Any]) -> str:
    source = mount.get("Name") or mount["Source"]
    return f"{source}:{mount['Destination']}" + ("" if mount["RW"] else ":ro")


def _restart_policy(kept: Mapping[str, Any]) -> dict[str, Any]:
    name, maximum = kept.get("restart") or ("no", 0)
    return {"Name": name, "MaximumRetryCount": maximum}


def _device(path: str | dict[str, str]) -> dict[str, str]:
    if isinstance(path, dict):
        return path
    return {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}


def _state(context: Context, row: ContainerRow) -> dict[str, Any]:
    status = state_of(context, row)
    return {
        "Status": status,
        "Paused": status == "paused",
        "OOMKilled": context.engine.containers.oom_killed(row),
        "Running": row.is_live,
        "Restarting": row.state == "restarting",
        "Dead": row.state == "dead",
        "Pid": context.engine.containers.pid(row),
        "ExitCode": row.exit_code,
        "Error": context.engine.containers.failure(row),
        "StartedAt": rfc3339(row.started),
        "FinishedAt": rfc3339(row.finished),
        **({"Health": health} if row.started and (health := context.engine.containers.health(row)) else {}),
    }
