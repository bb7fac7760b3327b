"""config.json of a bundle, and the documents of `exec` and `update`.

Source: OCI runtime-spec 1.3.0, config.md and config-linux.md.
"""

from __future__ import annotations

from ...words import quickjson
from ...words.errors import UsageError
from ..jsonnode import JsonNode
from .limits import RESOURCES
from .shapes import each, fields, number, path, plain, refused, switch, table, text, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


LARGEST = 4 << 20
"""Bytes that a document may have."""

_ID, _LONG, _UNSIGNED = (1 << 32) - 2, (1 << 63) - 1, (1 << 64) - 1
_INT = (1 << 31) - 1
_ids = number(0, _ID)
_count = number(0, (1 << 32) - 1)
_NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
_LIMITS = (
    "AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS",
    "RTPRIO", "RTTIME", "SIGPENDING", "STACK",
)  # fmt: skip
_POLICIES = tuple(f"SCHED_{name}" for name in ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"))
_MAPPINGS = each(fields("containerID hostID size", containerID=_count, hostID=_count, size=_count), 340)
_SETS = each(text, 128)
_USER = fields(
    uid=_ids, gid=_ids, umask=number(0, 0o777), additionalGids=each(_ids), username=refused("is for Windows"),
)  # fmt: skip
_SCHEDULER = fields(
    "policy", policy=word(*_POLICIES), nice=number(-20, 19), priority=number(0, 99),
    flags=each(word(*(f"SCHED_FLAG_{name}" for name in (
        "RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN",
        "UTIL_CLAMP_MAX",
    )))),
    runtime=number(0, _UNSIGNED), deadline=number(0, _UNSIGNED), period=number(0, _UNSIGNED),
)  # fmt: skip


_CLASS: Any = {"class": word("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")}


def _variable(node: JsonNode) -> str:
    found = text(node)
    if "=" not in found[1:]:
        raise node.wrong(f"is {node.shown()}, not NAME=value")
    return found


_PROCESS = fields(
    "cwd",
    terminal=switch, consoleSize=fields("height width", height=number(0, 65535), width=number(0, 65535)),
    cwd=path, env=each(_variable, 65536), args=each(plain, 65536), commandLine=refused("is for Windows"),
    rlimits=each(fields(
        "type soft hard", type=word(*(f"RLIMIT_{name}" for name in _LIMITS)), soft=number(0, _UNSIGNED),
        hard=number(0, _UNSIGNED),
    )),
    apparmorProfile=plain, selinuxLabel=plain, noNewPrivileges=switch, oomScoreAdj=number(-1000, 1000),
    capabilities=fields(
        effective=_SETS, bounding=_SETS, inheritable=_SETS, permitted=_SETS, ambient=_SETS
    ),
    scheduler=_SCHEDULER,
    ioPriority=fields("class", priority=number(0, 7), **_CLASS),
    execCPUAffinity=fields(initial=plain, final=plain), user=_USER,
)  # fmt: skip


def _list(node: JsonNode) -> dict[str, Any]:
    """Of system calls: checked by its own grammar when the filter is made."""
    return node.object()


_DEVICE = fields(
    "type path", type=word("c", "b", "u", "p"), path=path, major=number(0, _INT), minor=number(0, _INT),
    fileMode=number(0, 0o777777), uid=_ids, gid=_ids,
)  # fmt: skip
_LINUX = fields(
    namespaces=each(fields("type", type=word(*_NAMESPACES), path=plain), 16),
    uidMappings=_MAPPINGS, gidMappings=_MAPPINGS,
    timeOffsets=table(fields(secs=number(-_LONG, _LONG), nanosecs=number(0, 999_999_999)), 8),
    devices=each(_DEVICE), netDevices=refused(), cgroupsPath=plain, resources=RESOURCES,
    intelRdt=refused(), memoryPolicy=refused(), sysctl=table(plain), seccomp=_list,
    rootfsPropagation=word("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate",
                           "runbindable", ""),
    maskedPaths=each(path), readonlyPaths=each(path), mountLabel=plain,
    personality=fields("domain", domain=word("LINUX", "LINUX32"), flags=refused()),
)  # fmt: skip
_HOOKS = each(
    fields("path", path=path, args=each(plain), env=each(text, 65536), timeout=number(1, _INT)), 256
)
_MOUNT = fields(
    "destination", destination=text, source=plain, type=plain, options=each(plain),
    uidMappings=refused(), gidMappings=refused(),
)  # fmt: skip
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""By the moments of a container's life, in order."""

_CONFIG = fields(
    "ociVersion root",
    ociVersion=text, root=fields("path", path=text, readonly=switch), mounts=each(_MOUNT), process=_PROCESS,
    hostname=plain, domainname=plain, hooks=fields("", **dict.fromkeys(HOOKS, _HOOKS)),
    annotations=table(plain),
    linux=_LINUX, solaris=refused("is not supported: this is Linux"),
    windows=refused("is not supported: this is Linux"), vm=refused("is not supported: this is Linux"),
    freebsd=refused("is not supported: this is Linux"), zos=refused("is not supported: this is Linux"),
)  # fmt: skip


def read_config(data: bytes, what: str = "config.json") -> dict[str, Any]:
    """A config from its bytes, checked; nulls and unknown names are left out. Raises UsageError."""
    node = _node(data, what)
    config: dict[str, Any] = _CONFIG(node)
    _check_version(node.at("ociVersion"))
    config.setdefault("linux", {})
    _check_process(node.at("process"), config.get("process"))
    _check_linux(node.at("linux"), config)
    return config


def read_process(data: bytes, what: str = "the process") -> dict[str, Any]:
    """One more process, as `exec --process` takes it. Raises UsageError."""
    node = _node(data, what)
    process: dict[str, Any] = _PROCESS(node)
    _check_process(node, process)
    return process


def read_resources(data: bytes, what: str = "the resources") -> dict[str, Any]:
    """As `update --resources` takes them. Raises UsageError."""
    resources: dict[str, Any] = RESOURCES(_node(data, what))
    return resources


def _node(data: bytes, what: str) -> JsonNode:
    if len(data) > LARGEST:
        raise UsageError(f"{what} is larger than {LARGEST >> 20} MiB")
    try:
        return JsonNode(quickjson.loads(data), what)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{what} is not JSON: {why}") from None


def _check_version(node: JsonNode) -> None:
    parts = node.value.partition("-")[0].partition("+")[0].split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise node.wrong(f"is {node.shown()}, not a version as 1.2.3")
    if int(parts[0]) != 1:
        raise node.wrong(f"is {node.shown()}; versions 1.x are supported")


def _check_process(node: JsonNode, process: dict[str, Any] | None) -> None:
    if process is None:
        return
    if not process.get("args"):
        raise node.at("args").wrong("is missing")
    if not process["args"][0]:
        raise node.at("args").wrong("begins with an empty string")
    for place, limit in zip(node.at("rlimits").items(), process.get("rlimits", ()), strict=True):
        if limit["soft"] > limit["hard"]:
            raise place.wrong("has a soft limit above the hard one")
    kinds = [limit["type"] for limit in process.get("rlimits", ())]
    if len(set(kinds)) < len(kinds):
        raise node.at("rlimits").wrong("has one type twice")


def _check_linux(node: JsonNode, config: dict[str, Any]) -> None:
    system, root = config["linux"], JsonNode(config, node.what)
    kinds = [each["type"] for each in system.get("namespaces", ())]
    if len(set(kinds)) < len(kinds):
        raise node.at("namespaces").wrong("has one type twice")
    for name, kind in (("hostname", "uts"), ("domainname", "uts")):
        if config.get(name) and kind not in kinds:
            raise root.at(name).wrong(f"needs linux.namespaces to have {kind}")
    for name, kind in (("uidMappings", "user"), ("gidMappings", "user"), ("timeOffsets", "time")):
        if system.get(name) and kind not in kinds:
            raise node.at(name).wrong(f"needs linux.namespaces to have {kind}")
    for clock in system.get("timeOffsets", ()):
        if clock not in ("monotonic", "boottime"):
            raise node.at("timeOffsets").at(clock).wrong("is no clock that has an offset")
    for place, device in zip(node.at("devices").items() if system.get("devices") else (),
                             system.get("devices", ()), strict=True):  # fmt: skip
        if device["type"] != "p" and not {"major", "minor"} <= set(device):
            raise place.wrong("needs major and minor")
