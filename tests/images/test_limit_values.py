"""What limits mean, and which make no sense: docker's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.ground.limits.machine import Machine, disk_numbers
from nacre.ground.limits.settings import settings
from nacre.images.model.limits import Limits, checked, numbers_of, resources, updated
from nacre.words.errors import Conflict, UsageError

MIB = 1 << 20
MACHINE = Machine(4, "0-3", "0")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(memory=5 * MIB), "Minimum memory limit allowed is 6MB"),
        (Limits(memory=-1), "invalid memory: -1 is negative"),
        (
            Limits(memory=8 * MIB, memory_swap=7 * MIB),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            Limits(memory_swap=8 * MIB),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (Limits(memory_swappiness=101), "invalid value: 101. Valid memory swappiness range is 0-100"),
        (Limits(memory_reservation=MIB), "Minimum memory reservation allowed is 6MB"),
        (
            Limits(memory=8 * MIB, memory_reservation=9 * MIB),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (Limits(cpus=5), "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        (Limits(cpus=-1), "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        (Limits(cpus=0.001), "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        (
            Limits(cpus=1, cpu_period=5000),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (Limits(cpus=1, cpu_quota=5000), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (
            Limits(cpu_period=10),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (Limits(cpu_quota=10), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (Limits(cpu_shares=-1), "invalid CPU shares (-1): value must be a positive integer"),
        (Limits(cpu_shares=1), "invalid CPU shares (1): the kernel knows no fewer than 2"),
        (Limits(cpuset_cpus="7"), "Requested CPUs are not available - requested 7, available: 0-3"),
        (Limits(cpuset_cpus="a"), "Invalid value a for cpuset cpus: invalid format: a"),
        (Limits(cpuset_cpus="1-0"), "Invalid value 1-0 for cpuset cpus: invalid format: 1-0"),
        (Limits(cpuset_mems="3"), "Requested memory nodes are not available - requested 3, available: 0"),
        (Limits(blkio_weight=5), "Range of blkio weight is from 10 to 1000"),
        (Limits(pids_limit=1 << 70), "the value 1180591620717411303424 of pids-limit is out of range"),
        (Limits(cgroup_parent="../x"), "invalid cgroup parent '../x': it must be a path without '..'"),
        (Limits(cgroup_parent="a\nb"), "invalid cgroup parent 'a\\nb': it must be a path without '..'"),
    ],
)
def test_what_makes_no_sense(limits: Limits, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(limits, MACHINE)
    assert caught.value.message == said


def test_swap_is_twice_the_memory() -> None:
    assert checked(Limits(memory=8 * MIB), MACHINE).memory_swap == 16 * MIB
    assert checked(Limits(memory=8 * MIB, memory_swap=-1), MACHINE).memory_swap == -1


def test_limits_survive_being_kept() -> None:
    limits = Limits(memory=8 * MIB, cpus=1.5, device_read_bps=(("/dev/a", 1),), oom_kill_disable=True)
    kept = limits.fields()
    assert set(kept) == {"memory", "cpus", "device_read_bps", "oom_kill_disable"}
    assert Limits.of({**kept, "device_read_bps": [["/dev/a", 1]]}) == limits


def test_an_update_keeps_the_rest() -> None:
    old = Limits(memory=8 * MIB, memory_swap=16 * MIB, pids_limit=3)
    new = updated(old, Limits(pids_limit=4))
    assert (new.memory, new.memory_swap, new.pids_limit) == (8 * MIB, 16 * MIB, 4)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (Limits(memory=8 * MIB, memory_swap=16 * MIB), Limits(memory=17 * MIB), "Memory limit should"),
        (Limits(cpus=1), Limits(cpu_quota=2000), "CPU Quota cannot be updated as NanoCPUs has already"),
        (Limits(cpus=1), Limits(cpu_period=2000), "CPU Period cannot be updated as NanoCPUs has already"),
        (Limits(cpu_quota=2000), Limits(cpus=1), "Nano CPUs cannot be updated as CPU Quota has already"),
        (Limits(cpu_period=2000), Limits(cpus=1), "Nano CPUs cannot be updated as CPU Period has already"),
    ],
)  # fmt: skip
def test_updates_that_contradict(old: Limits, new: Limits, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        updated(old, new)


FULL = Limits(
    memory=8 * MIB, memory_swap=12 * MIB, memory_reservation=7 * MIB, memory_swappiness=10,
    oom_kill_disable=True, cpus=0.5, cpu_shares=1024, cpuset_cpus="0-1", cpuset_mems="0", pids_limit=-5,
    blkio_weight=500, blkio_weight_device=(("/dev/d", 10),), device_read_bps=(("/dev/d", 1),),
    device_write_bps=(("/dev/d", 2),), device_read_iops=(("/dev/d", 3),), device_write_iops=(("/dev/d", 4),),
    cpu_rt_period=1, cpu_rt_runtime=2,
)  # fmt: skip


def written(version: int) -> dict[str, str]:
    """By option: all that may be written, or "" for what this version lacks."""
    found = resources(FULL, lambda _path: (8, 16))
    return {
        each.option: " | ".join(f"{file}={text}" for file, text in each.choices)
        for each in settings(found, version)
    }


def test_files_of_version_1() -> None:
    assert written(1) == {
        "memory": "memory.limit_in_bytes=8388608",
        "memory-swap": "memory.memsw.limit_in_bytes=12582912",
        "memory-reservation": "memory.soft_limit_in_bytes=7340032",
        "memory-swappiness": "memory.swappiness=10",
        "oom-kill-disable": "memory.oom_control=1",
        "cpu-shares": "cpu.shares=1024",
        "cpu-period": "cpu.cfs_period_us=100000",
        "cpu-quota": "cpu.cfs_quota_us=50000",
        "cpu-rt-period": "cpu.rt_period_us=1",
        "cpu-rt-runtime": "cpu.rt_runtime_us=2",
        "cpuset-cpus": "cpuset.cpus=0-1",
        "cpuset-mems": "cpuset.mems=0",
        "pids-limit": "pids.max=max",
        "blkio-weight": "blkio.weight=500 | blkio.bfq.weight=500",
        "blkio-weight-device": "blkio.weight_device=8:16 10 | blkio.bfq.weight_device=8:16 10",
        "device-read-bps": "blkio.throttle.read_bps_device=8:16 1",
        "device-write-bps": "blkio.throttle.write_bps_device=8:16 2",
        "device-read-iops": "blkio.throttle.read_iops_device=8:16 3",
        "device-write-iops": "blkio.throttle.write_iops_device=8:16 4",
    }


def test_files_of_version_2() -> None:
    assert written(2) == {
        "memory": "memory.max=8388608",
        "memory-swap": "memory.swap.max=4194304",
        "memory-reservation": "memory.low=7340032",
        "memory-swappiness": "",
        "oom-kill-disable": "",
        "cpu-shares": "cpu.weight=39",
        "cpu-quota": "cpu.max=50000 100000",
        "cpu-rt-period": "",
        "cpu-rt-runtime": "",
        "cpuset-cpus": "cpuset.cpus=0-1",
        "cpuset-mems": "cpuset.mems=0",
        "pids-limit": "pids.max=max",
        "blkio-weight": "io.bfq.weight=default 500 | io.weight=default 4950",
        "blkio-weight-device": "io.bfq.weight=8:16 10 | io.weight=8:16 1",
        "device-read-bps": "io.max=8:16 rbps=1",
        "device-write-bps": "io.max=8:16 wbps=2",
        "device-read-iops": "io.max=8:16 riops=3",
        "device-write-iops": "io.max=8:16 wiops=4",
    }


def test_no_limit_of_swap_in_version_2() -> None:
    found = resources(Limits(memory=8 * MIB, memory_swap=-1), disk_numbers)
    assert ("memory.swap.max", "max") in [each.choices[0] for each in settings(found, 2)]


@pytest.mark.parametrize("path", ["/dev/null", "/nothing/there", "/tmp", "/dev/\0x"])
def test_only_disks_have_rates(path: str) -> None:
    with pytest.raises(UsageError, match="cannot limit the device "):
        resources(Limits(device_read_bps=((path, 1),)), disk_numbers)


@pytest.mark.parametrize("text", ["", "-", "1-", "-1", "1,", "a", "0x1", "٣", "1-2-3", "3-1", "999999999999"])
def test_bad_lists(text: str) -> None:
    with pytest.raises(ValueError, match="is not a list of numbers"):
        numbers_of(text)


WHOLE = st.integers(-(1 << 65), 1 << 65) | st.integers(-2, 2_000_000)
TEXT = st.text(max_size=12) | st.sampled_from(["0", "0-1", "0,2", "9", "/a", "a/b", "x.slice"])
ANY = st.builds(
    Limits, memory=WHOLE, memory_swap=WHOLE, memory_reservation=WHOLE, memory_swappiness=WHOLE,
    oom_kill_disable=st.booleans(), cpus=st.floats() | st.floats(0, 4), cpu_period=WHOLE, cpu_quota=WHOLE,
    cpu_rt_period=WHOLE, cpu_rt_runtime=WHOLE, cpu_shares=WHOLE, cpuset_cpus=TEXT, cpuset_mems=TEXT,
    pids_limit=WHOLE, blkio_weight=WHOLE, cgroup_parent=TEXT,
    device_read_bps=st.lists(st.tuples(st.just("/dev/d"), WHOLE), max_size=2).map(tuple),
)  # fmt: skip
SANE = st.builds(
    Limits, memory=st.integers(0, 1 << 40), cpus=st.floats(0, 5), cpu_quota=st.integers(-1, 1 << 40),
    cpu_shares=st.integers(0, 1 << 40), pids_limit=st.integers(-5, 1 << 40), cpuset_cpus=TEXT,
)  # fmt: skip


@given(ANY | SANE)
def test_nothing_else_reaches_the_kernel(limits: Limits) -> None:
    try:
        found = resources(checked(limits, MACHINE), lambda _path: (8, 0))
    except UsageError:
        return
    for version in (1, 2):
        for each in settings(found, version):
            for file, text in each.choices:
                assert "/" not in file
                assert text.isascii()
                assert text.isprintable()
                assert text
