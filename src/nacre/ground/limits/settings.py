"""From `linux.resources` of a runtime config to the files of control groups. Pure.

Source: Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; the conversions between the two are those
of runc (libcontainer/cgroups/utils.go).
"""

from __future__ import annotations

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_ANY = -1
_FEWEST_SHARES, _MOST_SHARES = 2, 262144
_LIGHTEST, _HEAVY, _HEAVIEST = 10, 1000, 10000
_PERIOD = 100_000
_MEMORY = (
    ("limit", "memory.limit_in_bytes", "memory"), ("swap", "memory.memsw.limit_in_bytes", "memory-swap"),
    ("reservation", "memory.soft_limit_in_bytes", "memory-reservation"),
    ("swappiness", "memory.swappiness", "memory-swappiness"),
)  # fmt: skip
_CPU = (
    ("shares", "cpu.shares", "cpu-shares"), ("period", "cpu.cfs_period_us", "cpu-period"),
    ("quota", "cpu.cfs_quota_us", "cpu-quota"), ("realtimePeriod", "cpu.rt_period_us", "cpu-rt-period"),
    ("realtimeRuntime", "cpu.rt_runtime_us", "cpu-rt-runtime"),
)  # fmt: skip
_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps", "rbps", "device-read-bps"),
    ("throttleWriteBpsDevice", "write_bps", "wbps", "device-write-bps"),
    ("throttleReadIOPSDevice", "read_iops", "riops", "device-read-iops"),
    ("throttleWriteIOPSDevice", "write_iops", "wiops", "device-write-iops"),
)  # fmt: skip


class Setting(Value):
    """`choices` are pairs of a file and a text; the first file that there is gets its text.

    None: this version of control groups has no such limit. `option` is what the user calls it.
    """

    controller: str
    choices: tuple[tuple[str, str], ...]
    option: str


def settings(resources: Mapping[str, Any], version: int) -> list[Setting]:
    """In the order in which they are to be written."""
    parts = (
        (_memory, _cpu, _cpuset, _pids, _block) if version == 1 else (_memory2, _cpu2, _cpuset, _pids, _io2)
    )
    return [setting for part in parts for setting in part(resources)]


def _each(
    controller: str, section: Mapping[str, Any], names: tuple[tuple[str, str, str], ...]
) -> Iterator[Setting]:
    """What is written as it stands: a name in the section, a file, an option."""
    for name, file, option in names:
        if name in section:
            yield Setting(controller, ((file, str(section[name])),), option)


def _memory(resources: Mapping[str, Any]) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    yield from _each("memory", memory, _MEMORY)
    if memory.get("disableOOMKiller"):
        yield Setting("memory", (("memory.oom_control", "1"),), "oom-kill-disable")


def _memory2(resources: Mapping[str, Any]) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    if "limit" in memory:
        yield Setting("memory", (("memory.max", _or_max(memory["limit"])),), "memory")
    if "swap" in memory:
        swap = "max" if memory["swap"] == _ANY else str(memory["swap"] - max(memory.get("limit", 0), 0))
        yield Setting("memory", (("memory.swap.max", swap),), "memory-swap")
    if "reservation" in memory:
        yield Setting("memory", (("memory.low", _or_max(memory["reservation"])),), "memory-reservation")
    for name, option in (("swappiness", "memory-swappiness"), ("disableOOMKiller", "oom-kill-disable")):
        if name in memory:
            yield Setting("memory", (), option)


def _or_max(number: int) -> str:
    return "max" if number == _ANY else str(number)


def _cpu(resources: Mapping[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    if "quota" in cpu:
        cpu = {**cpu, "quota": max(cpu["quota"], _ANY)}
    yield from _each("cpu", cpu, _CPU)


def _cpu2(resources: Mapping[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    if "shares" in cpu:
        yield Setting("cpu", (("cpu.weight", str(_weight_of_shares(cpu["shares"]))),), "cpu-shares")
    if "period" in cpu or "quota" in cpu:
        quota = cpu.get("quota", 0)
        text = f"{quota if quota > 0 else 'max'} {cpu.get('period') or _PERIOD}"
        yield Setting("cpu", (("cpu.max", text),), "cpu-quota" if "quota" in cpu else "cpu-period")
    for name, option in (("realtimePeriod", "cpu-rt-period"), ("realtimeRuntime", "cpu-rt-runtime")):
        if name in cpu:
            yield Setting("cpu", (), option)


def _weight_of_shares(shares: int) -> int:
    within = min(max(shares, _FEWEST_SHARES), _MOST_SHARES)
    return 1 + (within - _FEWEST_SHARES) * 9999 // (_MOST_SHARES - _FEWEST_SHARES)


def _cpuset(resources: Mapping[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    for name in ("cpus", "mems"):
        if name in cpu:
            yield Setting("cpuset", ((f"cpuset.{name}", cpu[name]),), f"cpuset-{name}")


def _pids(resources: Mapping[str, Any]) -> Iterator[Setting]:
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        yield Setting("pids", (("pids.max", str(limit) if limit > 0 else "max"),), "pids-limit")


def _block(resources: Mapping[str, Any]) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    if "weight" in block:
        yield _weight("", str(block["weight"]), "blkio-weight")
    for entry in _weighed(block):
        yield _weight("_device", _of_device(entry, "weight"), "blkio-weight-device")
    for name, file, _, option in _THROTTLES:
        for entry in block.get(name, ()):
            yield Setting("blkio", ((f"blkio.throttle.{file}_device", _of_device(entry, "rate")),), option)


def _weighed(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in block.get("weightDevice", ()) if "weight" in entry)


def _weight(kind: str, text: str, option: str) -> Setting:
    return Setting("blkio", tuple((f"blkio.{name}weight{kind}", text) for name in ("", "bfq.")), option)


def _io2(resources: Mapping[str, Any]) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    if "weight" in block:
        yield _weight2("default ", block["weight"], "blkio-weight")
    for entry in _weighed(block):
        yield _weight2(f"{entry['major']}:{entry['minor']} ", entry["weight"], "blkio-weight-device")
    for name, _, key, option in _THROTTLES:
        for entry in block.get(name, ()):
            text = f"{entry['major']}:{entry['minor']} {key}={entry['rate'] or 'max'}"
            yield Setting("io", (("io.max", text),), option)


def _weight2(device: str, weight: int, option: str) -> Setting:
    """io.bfq.weight has docker's range, io.weight one of 1 to 10000."""
    wide = 1 + (weight - _LIGHTEST) * (_HEAVIEST - 1) // (_HEAVY - _LIGHTEST)
    choices = (("io.bfq.weight", f"{device}{weight}"), ("io.weight", f"{device}{wide}"))
    return Setting("io", choices, option)


def _of_device(entry: Mapping[str, Any], key: str) -> str:
    return f"{entry['major']}:{entry['minor']} {entry[key]}"
