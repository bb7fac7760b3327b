"""What a container may use of the machine, in docker's words, and what that is for a runtime. Pure.

Source: moby daemon/daemon_unix.go (verifyPlatformContainerResources) and container/container_unix.go
(UpdateContainer), of docker 28; OCI runtime-spec config-linux.md "Control groups".
"""

from __future__ import annotations

from ...words.errors import Conflict, UsageError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...ground.limits.machine import Machine

    Rates = tuple[tuple[str, int], ...]
    Numbers = Callable[[str], tuple[int, int]]

_LEAST_MEMORY = 6 << 20
_LEAST_CPUS = 0.01
_BILLION = 10**9
_PERIOD = 100_000
_SHORTEST, _LONGEST = 1000, 1_000_000
_LIGHTEST, _HEAVIEST = 10, 1000
_MOST = 1 << 63
_MOST_SWAPPY = 100


class Limits(Value):
    """As on the command line; 0 and "" are no limit, and in an update no change.

    `memory` and the like in bytes; `memory_swap` is memory and swap together, 0 for twice the memory, -1 for
    any amount; `memory_swappiness` -1 leaves it. `cpus` is a number of processors, `cpu_period`, `cpu_quota`
    and the real-time values microseconds. `pids_limit` below 0 is no limit. The values for devices are pairs
    of a path and a weight, bytes per second or operations per second.
    """

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    cpus: float = 0.0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    blkio_weight_device: Rates = ()
    device_read_bps: Rates = ()
    device_read_iops: Rates = ()
    device_write_bps: Rates = ()
    device_write_iops: Rates = ()
    cgroup_parent: str = ""

    def fields(self) -> dict[str, Any]:
        """What is set, for JSON."""
        return {name: getattr(self, name) for name in self._fields if getattr(self, name) != _DEFAULTS[name]}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Limits:
        """The limits that `fields` gave."""
        return cls(**{name: _frozen(value) for name, value in fields.items()})


_DEFAULTS = {name: getattr(Limits, name) for name in Limits._fields}


def _frozen(value: Any) -> Any:
    return tuple(map(tuple, value)) if isinstance(value, list) else value


def checked(limits: Limits, machine: Machine) -> Limits:
    """The same with docker's defaults. Raises UsageError in docker's words."""
    for check in (_check_numbers, _check_memory, _check_processors, _check_parent):
        check(limits)
    _check_count(limits, machine)
    _check_set("cpus", "CPUs", limits.cpuset_cpus, machine.cpus)
    _check_set("mems", "memory nodes", limits.cpuset_mems, machine.mems)
    if limits.memory and not limits.memory_swap:
        return limits.replace(memory_swap=limits.memory * 2)
    return limits


def _check_numbers(limits: Limits) -> None:
    for name in limits._fields:
        value = getattr(limits, name)
        for number in [each for _, each in value] if isinstance(value, tuple) else [value]:
            if isinstance(number, int) and not -_MOST <= number < _MOST:
                raise UsageError(f"the value {number} of {name.replace('_', '-')} is out of range")
    for name in ("memory", "memory_reservation"):
        if getattr(limits, name) < 0:
            raise UsageError(f"invalid {name.replace('_', '-')}: {getattr(limits, name)} is negative")


def _check_memory(limits: Limits) -> None:
    memory, swap, soft = limits.memory, limits.memory_swap, limits.memory_reservation
    if 0 < memory < _LEAST_MEMORY:
        raise UsageError("Minimum memory limit allowed is 6MB")
    if memory and 0 < swap < memory:
        raise UsageError("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0:
        raise UsageError("You should always set the Memory limit when using Memoryswap limit, see usage")
    if not -1 <= limits.memory_swappiness <= _MOST_SWAPPY:
        raise UsageError(
            f"invalid value: {limits.memory_swappiness}. Valid memory swappiness range is 0-{_MOST_SWAPPY}"
        )
    if 0 < soft < _LEAST_MEMORY:
        raise UsageError("Minimum memory reservation allowed is 6MB")
    if memory and soft > memory:
        raise UsageError("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_processors(limits: Limits) -> None:
    if limits.cpus and limits.cpu_period:
        raise UsageError("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if limits.cpus and limits.cpu_quota:
        raise UsageError("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if limits.cpu_shares < 0:
        raise UsageError(f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer")
    if limits.cpu_shares == 1:
        raise UsageError("invalid CPU shares (1): the kernel knows no fewer than 2")
    if limits.cpu_period and not _SHORTEST <= limits.cpu_period <= _LONGEST:
        raise UsageError(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < limits.cpu_quota < _SHORTEST:
        raise UsageError("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.blkio_weight and not _LIGHTEST <= limits.blkio_weight <= _HEAVIEST:
        raise UsageError(f"Range of blkio weight is from {_LIGHTEST} to {_HEAVIEST}")


def _check_count(limits: Limits, machine: Machine) -> None:
    if limits.cpus and not _LEAST_CPUS <= limits.cpus <= machine.processors:
        raise UsageError(
            f"range of CPUs is from 0.01 to {machine.processors}.00, as there are only "
            f"{machine.processors} CPUs available"
        )


def _check_set(name: str, what: str, text: str, available: str) -> None:
    if not text:
        return
    try:
        wanted = numbers_of(text)
    except ValueError:
        raise UsageError(f"Invalid value {text} for cpuset {name}: invalid format: {text}") from None
    if not wanted <= numbers_of(available):
        raise UsageError(f"Requested {what} are not available - requested {text}, available: {available}")


def numbers_of(text: str) -> set[int]:
    """Of a list like `0-3,7`. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not all(one.isascii() and one.isdigit() and len(one) < 6 for one in (first, last or first)):
            raise ValueError(f"{text} is not a list of numbers")
        if dash and (not last or int(last) < int(first)):
            raise ValueError(f"{text} is not a list of numbers")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _check_parent(limits: Limits) -> None:
    parts = limits.cgroup_parent.split("/")
    if ".." in parts or any(not one.isprintable() for one in limits.cgroup_parent):
        raise UsageError(f"invalid cgroup parent {limits.cgroup_parent!r}: it must be a path without '..'")


def updated(old: Limits, new: Limits) -> Limits:
    """The limits after an update. Raises Conflict in docker's words; the result is yet to be `checked`."""
    conflicts = (
        (new.cpus and old.cpu_period, "Nano CPUs cannot be updated as CPU Period has already been set"),
        (new.cpus and old.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        (new.cpu_period and old.cpus, "CPU Period cannot be updated as NanoCPUs has already been set"),
        (new.cpu_quota and old.cpus, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    )
    for conflict, why in conflicts:
        if conflict:
            raise Conflict(f"Conflicting options: {why}")
    if new.memory > old.memory_swap > 0 and not new.memory_swap:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    return old.replace(**new.fields())


def resources(limits: Limits, device: Numbers) -> dict[str, Any]:
    """`linux.resources` of the runtime-spec, without devices; `device` gives the numbers of a path."""
    sections = {
        "memory": _memory(limits),
        "cpu": _cpu(limits),
        "pids": {"limit": max(limits.pids_limit, -1)} if limits.pids_limit else {},
        "blockIO": _block(limits, device),
    }
    return {name: section for name, section in sections.items() if section}


def _memory(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {
        "limit": limits.memory, "reservation": limits.memory_reservation, "swap": limits.memory_swap,
        "disableOOMKiller": limits.oom_kill_disable,
    }  # fmt: skip
    found = {name: value for name, value in found.items() if value}
    return found | ({"swappiness": limits.memory_swappiness} if limits.memory_swappiness >= 0 else {})


def _cpu(limits: Limits) -> dict[str, Any]:
    period, quota = limits.cpu_period, limits.cpu_quota
    if limits.cpus:
        period, quota = _PERIOD, round(limits.cpus * _BILLION) * _PERIOD // _BILLION
    found = {
        "shares": limits.cpu_shares, "quota": quota, "period": period, "cpus": limits.cpuset_cpus,
        "mems": limits.cpuset_mems, "realtimePeriod": limits.cpu_rt_period,
        "realtimeRuntime": limits.cpu_rt_runtime,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _block(limits: Limits, device: Numbers) -> dict[str, Any]:
    def entries(rates: Rates, key: str) -> list[dict[str, int]]:
        named = [(device(path), value) for path, value in rates]
        return [{"major": major, "minor": minor, key: value} for (major, minor), value in named]

    found: dict[str, Any] = {
        "weight": limits.blkio_weight,
        "weightDevice": entries(limits.blkio_weight_device, "weight"),
        "throttleReadBpsDevice": entries(limits.device_read_bps, "rate"),
        "throttleWriteBpsDevice": entries(limits.device_write_bps, "rate"),
        "throttleReadIOPSDevice": entries(limits.device_read_iops, "rate"),
        "throttleWriteIOPSDevice": entries(limits.device_write_iops, "rate"),
    }
    return {name: value for name, value in found.items() if value}
