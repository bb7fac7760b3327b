"""What a config becomes: options of mounts, rules for devices, values of control groups."""

from __future__ import annotations

from typing import Any

import pytest

from nacre.ground import linux
from nacre.ground.bundle import groups
from nacre.ground.bundle.options import NAMES, Options, read_options
from nacre.ground.bundle.settings import more_settings, wanted
from nacre.words.errors import UsageError


def test_options_of_mounts() -> None:
    found = read_options(["rbind", "ro", "nosuid", "rnoexec", "rslave", "size=5", "relatime"], "mounts[0]")
    assert found.binds
    assert found.recursive
    assert found.add == linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID
    assert found.deep_add == linux.MOUNT_ATTR_NOEXEC
    assert found.propagation == (linux.MS_SLAVE | linux.MS_REC,)
    assert found.data == "size=5"


def test_a_later_option_counts_more() -> None:
    assert read_options(["ro", "rw"], "").add == 0
    assert read_options(["rw", "ro"], "").add == linux.MOUNT_ATTR_RDONLY
    assert read_options(["noatime", "strictatime"], "").add == 0x20


@pytest.mark.parametrize("name", NAMES)
def test_every_option_that_is_named_is_known(name: str) -> None:
    assert read_options([name], "").data == ""


@pytest.mark.parametrize("name", ["idmap", "ridmap", "remount"])
def test_options_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"mounts\[3\].options: {name} is not supported"):
        read_options([name], "mounts[3]")


def test_flags_of_a_file_system() -> None:
    assert Options(add=linux.MOUNT_ATTR_NODEV).mount_flags == linux.MS_NODEV


def rule(
    allow: bool, kind: str = "c", major: int = -1, minor: int = -1, access: str = "rwm"
) -> dict[str, Any]:
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


def test_devices_are_denied_first() -> None:
    assert groups.rules({}) == list(groups.DEVICES)
    found = groups.rules({"devices": [rule(False, "a"), rule(True, "c", 10, 200)]})
    assert found == [rule(True, "c", 10, 200), *groups.DEVICES]
    assert groups.rules({"devices": [rule(True, "a")]})[0]["type"] == "a"


def test_a_rule_takes_an_earlier_one_away() -> None:
    given = [rule(True, "c", 10, 200), rule(False, "c", 10, 200, "w")]
    assert groups.rules({"devices": given})[0]["access"] == "mr"
    with pytest.raises(UsageError, match=r"linux.resources.devices\[1\]"):
        groups.rules({"devices": [rule(True, "a"), rule(False, "c", 1, 1)]})


@pytest.mark.parametrize("path", ["..", "a/../b", "system.slice:runc:x"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(UsageError, match=r"linux\.cgroupsPath"):
        groups.find(path, "x")


def files(resources: dict[str, Any], version: int) -> dict[str, str]:
    return dict(each.choices[0] for each in more_settings(resources, version) if each.choices)


def test_values_of_control_groups() -> None:
    resources = {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
        "network": {"classID": 7, "priorities": [{"name": "lo", "priority": 3}]},
        "cpu": {"idle": 1, "burst": 9},
    }
    assert files(resources, 1) == {
        "hugetlb.2MB.limit_in_bytes": "5", "net_cls.classid": "7", "net_prio.ifpriomap": "lo 3",
        "cpu.idle": "1", "cpu.cfs_burst_us": "9",
    }  # fmt: skip
    assert files(resources, 2) == {"hugetlb.2MB.max": "5", "cpu.idle": "1", "cpu.max.burst": "9"}
    assert files({"unified": {"memory.high": "5"}}, 2) == {"memory.high": "5"}


@pytest.mark.parametrize("name", ["../x.y", "a/b.c", "x", ".x"])
def test_names_of_files_stay_in_the_group(name: str) -> None:
    with pytest.raises(UsageError, match=r"linux\.resources\.unified"):
        more_settings({"unified": {name: "1"}}, 2)


def test_zeros_say_nothing() -> None:
    found = wanted({"blockIO": {"weight": 0}, "cpu": {"shares": 0, "quota": 5}, "memory": {"swappiness": 0}})
    assert found["blockIO"] == {}
    assert found["cpu"] == {"quota": 5}
    assert found["memory"] == {"swappiness": 0}
