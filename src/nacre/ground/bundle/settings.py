"""Files of control groups for what only a config can ask for; `ground.limits.settings` has the rest. Pure.

Source: OCI runtime-spec config-linux.md "Control groups"; Linux Documentation/admin-guide, cgroup-v1 and
cgroup-v2.rst.
"""

from __future__ import annotations

from ...words.errors import UsageError
from ..limits.settings import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Resources = Mapping[str, Any]


_ZERO_IS_ABSENT = {
    "memory": ("limit", "reservation", "swap", "kernel", "kernelTCP", "disableOOMKiller"),
    "cpu": ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"),
    "blockIO": ("weight", "leafWeight"),
    "pids": ("limit",),
    "network": ("classID",),
}
"""What callers written in Go leave in a config for "nothing was said", as runc reads it."""


def wanted(resources: Resources) -> Resources:
    """Without what is there and says nothing."""
    found = dict(resources)
    for section, names in _ZERO_IS_ABSENT.items():
        values = resources.get(section) or {}
        found[section] = {key: value for key, value in values.items() if value or key not in names}
    return found


def more_settings(resources: Resources, version: int) -> list[Setting]:
    """In the order in which they are to be written. Raises UsageError for what no kernel has any more."""
    parts = (_memory, _cpu, _huge, _network, _block, _rdma, _unified)
    return [setting for part in parts for setting in part(resources, version)]


def _memory(resources: Resources, version: int) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    for name, file in (
        ("kernel", "memory.kmem.limit_in_bytes"),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ):
        if name in memory:
            choices = ((file, str(memory[name])),) if version == 1 else ()
            yield Setting("memory", choices, f"memory.{name}")
    if memory.get("useHierarchy") is False:
        raise UsageError("config.json: linux.resources.memory.useHierarchy is always true here")


def _cpu(resources: Resources, version: int) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    if "burst" in cpu:
        file = "cpu.cfs_burst_us" if version == 1 else "cpu.max.burst"
        yield Setting("cpu", ((file, str(cpu["burst"])),), "cpu.burst")
    if "idle" in cpu:
        yield Setting("cpu", (("cpu.idle", str(cpu["idle"])),), "cpu.idle")


def _huge(resources: Resources, version: int) -> Iterator[Setting]:
    for entry in resources.get("hugepageLimits") or ():
        size = entry["pageSize"]
        if not size[:-2].isdecimal() or size[-2:] not in ("KB", "MB", "GB"):
            raise UsageError(
                f"config.json: linux.resources.hugepageLimits has {size!r}, which is no page size"
            )
        file = f"hugetlb.{size}.limit_in_bytes" if version == 1 else f"hugetlb.{size}.max"
        yield Setting("hugetlb", ((file, str(entry["limit"])),), f"hugepageLimits of {size}")


def _network(resources: Resources, version: int) -> Iterator[Setting]:
    network = resources.get("network") or {}
    if network.get("classID") is not None:
        choices = (("net_cls.classid", str(network["classID"])),) if version == 1 else ()
        yield Setting("net_cls", choices, "network.classID")
    for entry in network.get("priorities") or ():
        choices = (("net_prio.ifpriomap", f"{entry['name']} {entry['priority']}"),) if version == 1 else ()
        yield Setting("net_prio", choices, "network.priorities")


def _block(resources: Resources, version: int) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    if "leafWeight" in block:
        choices = (("blkio.leaf_weight", str(block["leafWeight"])),) if version == 1 else ()
        yield Setting("blkio", choices, "blockIO.leafWeight")
    for entry in block.get("weightDevice") or ():
        if "leafWeight" in entry:
            text = f"{entry['major']}:{entry['minor']} {entry['leafWeight']}"
            choices = (("blkio.leaf_weight_device", text),) if version == 1 else ()
            yield Setting("blkio", choices, "blockIO.weightDevice.leafWeight")


def _rdma(resources: Resources, _version: int) -> Iterator[Setting]:
    for device, entry in (resources.get("rdma") or {}).items():
        names = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
        values = " ".join(f"{key}={entry[name]}" for name, key in names if name in entry)
        yield Setting("rdma", (("rdma.max", f"{device} {values}"),), "rdma")


def _unified(resources: Resources, version: int) -> Iterator[Setting]:
    for name, value in (resources.get("unified") or {}).items():
        if version == 1:
            raise UsageError("config.json: linux.resources.unified needs control groups of version 2")
        if "/" in name or "." not in name or name.startswith("."):
            raise UsageError(
                f"config.json: linux.resources.unified has {name!r}, which is no file of a group"
            )
        yield Setting("", ((name, value),), name)
