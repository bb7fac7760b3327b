"""Control groups with controllers: where they can be, what is written to them, and that they go again."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nacre.ground import userns
from nacre.ground.limits import delegation, groups
from nacre.ground.limits.hierarchies import Hierarchy, parse, places, unified_folder
from nacre.ground.limits.members import members
from nacre.ground.limits.memory import MemoryWatch
from nacre.ground.limits.usage import usage
from nacre.words.errors import SandboxError

MIB = 1 << 20


def needs_version_1(*controllers: str) -> None:
    """Skip, visibly, unless this process may make groups in the first hierarchies."""
    if not userns.is_first() or os.geteuid():
        pytest.skip("needs root")
    there = {name for place in places() if place.version == 1 for name in place.controllers}
    if not there.issuperset(controllers):
        pytest.skip(f"no control groups of version 1 for {', '.join(controllers)}")


@pytest.fixture
def nobody() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits, and is the interpreter in full by then."""
    command = [sys.executable, "-c", "input('.')"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.read(1) == b"."
    yield process
    process.kill()
    process.communicate()


# where


def tree(folder: Path, **files: str) -> Path:
    """A group of a made hierarchy."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"cgroup.procs": "", "cgroup.subtree_control": "", **files}.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def mountinfo(*mounts: tuple[str, str, str, str]) -> str:
    lines = [
        f"{number} 1 0:{number} {root} {point} {access} - {kind} cgroup rw,memory\n"
        for number, (kind, root, point, access) in enumerate(mounts, 30)
    ]
    return "".join(lines)


def test_version_1_and_2_side_by_side(tmp_path: Path) -> None:
    tree(tmp_path / "memory" / "a")
    tree(tmp_path / "unified" / "b", cgroup__controllers="io hugetlb")
    shown = mountinfo(
        ("cgroup", "/", f"{tmp_path}/memory", "rw"), ("cgroup2", "/", f"{tmp_path}/unified", "rw")
    )
    found = list(parse("0::/b\n4:memory:/a\n3:name=systemd:/a\n", shown))
    assert found == [
        Hierarchy(1, f"{tmp_path}/memory", f"{tmp_path}/memory/a", ("memory",)),
        Hierarchy(2, f"{tmp_path}/unified", f"{tmp_path}/unified/b", ("io",)),
    ]


def test_a_mount_that_begins_within_the_hierarchy(tmp_path: Path) -> None:
    tree(tmp_path / "b")
    shown = mountinfo(("cgroup", "/docker/x", str(tmp_path), "rw"))
    assert [each.folder for each in parse("4:memory:/docker/x/b\n", shown)] == [f"{tmp_path}/b"]
    assert list(parse("4:memory:/docker/xy/b\n", shown)) == []


@pytest.mark.parametrize(
    ("line", "access"), [("0::/../other\n", "rw"), ("0::/\n", "ro"), ("0::/gone\n", "rw")]
)
def test_what_is_out_of_sight(tmp_path: Path, line: str, access: str) -> None:
    tree(tmp_path, cgroup__controllers="memory")
    assert list(parse(line, mountinfo(("cgroup2", "/", str(tmp_path), access)))) == []


# ways of version 2


def version_2(folder: Path, top: Path | None = None) -> Hierarchy:
    return Hierarchy(2, str(top or folder), str(folder), ("memory", "pids"))


def test_a_group_that_gives_controllers(tmp_path: Path) -> None:
    place = version_2(tree(tmp_path, cgroup__subtree_control="memory pids", cgroup__type="domain"))
    assert delegation.way_of(place) == delegation.GIVEN
    assert delegation.prepared(place) == (str(tmp_path), ("memory", "pids"))


def test_the_root_of_all_gives_them_when_asked(tmp_path: Path) -> None:
    place = version_2(tree(tmp_path))
    assert delegation.way_of(place) == delegation.GIVEN
    delegation.enabled(place.folder, ("memory",))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_a_group_of_nobody_else_is_divided(tmp_path: Path) -> None:
    place = version_2(tree(tmp_path, cgroup__type="domain", cgroup__procs=f"{os.getpid()}\n"))
    assert delegation.way_of(place) == delegation.ALONE
    tree(tmp_path / "nacre.supervisor")  # the kernel makes the files of a group with it
    delegation.prepared(place)
    assert (tmp_path / "nacre.supervisor" / "cgroup.procs").read_text() == str(os.getpid())


def test_a_group_of_others_is_not_divided(tmp_path: Path, nobody: subprocess.Popen[bytes]) -> None:
    procs = f"{os.getpid()}\n{nobody.pid}\n"
    place = version_2(tree(tmp_path, cgroup__type="domain", cgroup__procs=procs))
    assert delegation.way_of(place) == ""
    assert delegation.why_not(place) == (
        "the control group of this process has others in it, "
        "and there is no systemd that would make another one"
    )


@pytest.mark.parametrize(
    ("limits", "way"),
    [
        ({}, delegation.BESIDE),
        ({"memory__max": "max\n", "cpu__max": "max 100000\n"}, delegation.BESIDE),
        ({"memory__max": "1000000\n"}, ""),
        ({"cpu__max": "5000 100000\n"}, ""),
        ({"pids__max": "100\n"}, ""),
        ({"cpuset__cpus": "0\n"}, ""),
    ],
)
def test_beside_a_group_only_without_limits(
    tmp_path: Path, nobody: subprocess.Popen[bytes], limits: dict[str, str], way: str
) -> None:
    tree(tmp_path, cgroup__subtree_control="memory pids")
    own = tree(tmp_path / "own", cgroup__type="domain", cgroup__procs=f"{nobody.pid}\n", **limits)
    place = version_2(own, tmp_path)
    assert delegation.way_of(place) == way
    if way:
        assert delegation.prepared(place)[0] == str(tmp_path)


def test_a_parent_is_made(tmp_path: Path) -> None:
    place = version_2(tree(tmp_path, cgroup__subtree_control="memory pids"))
    for path in ("a", "a/b"):
        tree(tmp_path / path, cgroup__subtree_control="memory pids")
    assert delegation.prepared(place, "/a/b") == (f"{tmp_path}/a/b", ("memory", "pids"))


# groups of version 1, by the kernel


@pytest.fixture
def make() -> Iterator[Callable[[dict[str, object]], groups.ControlGroups]]:
    """`make(resources)`: groups that are gone afterwards."""
    all_made = []

    def begin(resources: dict[str, object]) -> groups.ControlGroups:
        found, lost = groups.reachable(resources)
        assert lost == []
        made = groups.make(f"test-{os.urandom(4).hex()}", resources, found)
        all_made.append(made)
        return made

    yield begin
    for made in all_made:
        made.remove()
        assert not any(map(os.path.exists, made.folders))


Make = Callable[[dict[str, object]], groups.ControlGroups]


def content(made: groups.ControlGroups, controller: str, name: str) -> str:
    return Path(made.folder(controller), name).read_text().strip()


def test_limits_are_set(make: Make) -> None:
    needs_version_1("memory", "cpu", "cpuset", "pids")
    wanted = {
        "memory": {"limit": 8 * MIB, "swap": 16 * MIB}, "pids": {"limit": 7},
        "cpu": {"quota": 50000, "period": 100000, "cpus": "0"},
    }  # fmt: skip
    made = make(wanted)
    assert made.apply(wanted) == []
    assert content(made, "memory", "memory.limit_in_bytes") == str(8 * MIB)
    assert content(made, "cpu", "cpu.cfs_quota_us") == "50000"
    assert content(made, "cpuset", "cpuset.cpus") == "0"
    assert content(made, "pids", "pids.max") == "7"


def test_values_may_need_each_other(make: Make) -> None:
    needs_version_1("memory", "cpu")
    made = make({})
    made.apply({"memory": {"limit": 8 * MIB, "swap": 16 * MIB}})
    made.apply({"memory": {"limit": 32 * MIB, "swap": 64 * MIB}})
    assert content(made, "memory", "memory.limit_in_bytes") == str(32 * MIB)
    made.apply({"memory": {"limit": 8 * MIB, "swap": 8 * MIB}})
    assert content(made, "memory", "memory.memsw.limit_in_bytes") == str(8 * MIB)


def test_what_the_kernel_refuses_is_named(make: Make) -> None:
    needs_version_1("blkio", "cpuset")
    wanted = {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 1}]}}
    with pytest.raises(SandboxError, match="cannot set --device-read-bps to '1:3 1': no such device"):
        make(wanted).apply(wanted)
    with pytest.raises(SandboxError, match="cannot set --cpuset-cpus to '999': "):
        make({"cpu": {"cpus": "999"}}).apply({"cpu": {"cpus": "999"}})


def test_a_trial_leaves_nothing() -> None:
    needs_version_1("memory")
    assert groups.refused({"memory": {"limit": 8 * MIB}}) == []
    with pytest.raises(SandboxError):
        groups.refused({"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 1}]}})
    left = [name for place in places() for name in os.listdir(place.folder) if name.startswith("nacre.try")]
    assert left == []


def test_processes_are_moved_and_ended(make: Make, nobody: subprocess.Popen[bytes]) -> None:
    needs_version_1("memory")
    made = make({})
    made.move([nobody.pid, 1 << 22])
    assert content(made, "memory", "cgroup.procs") == str(nobody.pid)
    made.remove()
    assert nobody.wait() == -9


def test_groups_of_a_killed_process_are_swept() -> None:
    needs_version_1("memory")
    code = """if True:
        import os
        from nacre.ground.limits.groups import StepGroups
        with StepGroups({"memory": {"limit": 8 << 20}}) as folders:
            print(*folders, flush=True)
            os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    folders = done.stdout.split()
    assert folders
    assert all(map(os.path.exists, folders))
    with groups.StepGroups({}) as alive:
        groups.sweep()
        assert not any(map(os.path.exists, folders))
        assert all(map(os.path.exists, alive))
    assert not any(map(os.path.exists, alive))


NUMBER = st.integers(-(1 << 66), 1 << 66)
TEXT = st.text(max_size=8) | st.sampled_from(["0", "0-1", "max", "9", "-1", "0,"])
DEVICE = st.fixed_dictionaries({"major": NUMBER, "minor": NUMBER, "rate": NUMBER})
RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.fixed_dictionaries(
            {}, optional={"limit": NUMBER, "swap": NUMBER, "reservation": NUMBER, "swappiness": NUMBER}
        ),
        "cpu": st.fixed_dictionaries(
            {}, optional={"shares": NUMBER, "quota": NUMBER, "period": NUMBER, "cpus": TEXT, "mems": TEXT}
        ),
        "pids": st.fixed_dictionaries({"limit": NUMBER}),
        "blockIO": st.fixed_dictionaries({"throttleReadBpsDevice": st.lists(DEVICE, max_size=2)}),
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RESOURCES)
def test_any_value_is_taken_or_refused(resources: dict[str, object]) -> None:
    needs_version_1("memory", "cpu")
    with contextlib.suppress(SandboxError):
        groups.refused(resources)


# what is used


def test_without_groups_processes_are_counted(nobody: subprocess.Popen[bytes]) -> None:
    assert [each.pid for each in members(nobody.pid)] == [nobody.pid]
    found = usage(nobody.pid, groups.ControlGroups())
    assert found.pids == 1
    assert found.memory > 100_000
    assert found.machine > found.memory
    assert (found.received, found.sent) == (0, 0)


def test_with_groups_they_are_asked(make: Make, nobody: subprocess.Popen[bytes]) -> None:
    needs_version_1("memory", "cpu", "cpuacct", "pids", "blkio")
    wanted = {"memory": {"limit": 64 * MIB}}
    made = make(wanted)
    made.apply(wanted)
    made.move([nobody.pid])
    found = usage(nobody.pid, made)
    assert (found.limit, found.pids) == (64 * MIB, 1)
    assert made.oom_kills() == 0


def test_nobody_uses_nothing() -> None:
    assert members(1 << 22) == []
    assert usage(1 << 22, groups.ControlGroups()).memory == 0


# groups of version 2, by the kernel, where they have no controllers


def test_a_group_of_version_2_ends_all_in_it(nobody: subprocess.Popen[bytes]) -> None:
    """Also what forks meanwhile, and what stands still."""
    above = unified_folder()
    if not userns.is_first() or os.geteuid() or not above:
        pytest.skip("needs root and a hierarchy of version 2")
    folder = f"{above}/nacre.test-{os.urandom(4).hex()}"
    os.mkdir(folder)
    made = groups.ControlGroups([groups.ControlGroup(2, folder, ())])
    try:
        made.move([nobody.pid])
        Path(folder, "cgroup.freeze").write_text("1")
    finally:
        made.remove()
    assert nobody.wait() == -9
    assert not os.path.exists(folder)


def test_device_rules_go_to_a_group_that_is_there() -> None:
    """A process in a group with limits of version 2 gets no other one for its devices."""
    above = unified_folder()
    if not userns.is_first() or os.geteuid() or not above:
        pytest.skip("needs root and a hierarchy of version 2")
    folder = f"{above}/nacre.test-{os.urandom(4).hex()}"
    os.mkdir(folder)
    code = f"""if True:
        from nacre.ground import cgroups
        from nacre.ground.limits.hierarchies import write
        write({folder!r}, "cgroup.procs", "0")
        cgroups.confine(cgroups.CURRENT, [{{"allow": False, "access": "rwm"}}])
        print(cgroups.path())
        try:
            open("/dev/null")
        except PermissionError:
            print("refused")
    """
    try:
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    finally:
        os.rmdir(folder)
    place, refused = done.stdout.split()
    assert place.endswith(os.path.basename(folder))
    assert refused == "refused"


def test_news_of_memory_in_version_2(tmp_path: Path) -> None:
    """Counted by memory.events, also by the program that goes on with it; other events are none."""
    events = tmp_path / "memory.events"
    events.write_text("max 0\noom_kill 0\n")
    watch = MemoryWatch(str(tmp_path), 2)
    assert not watch.heard()
    for text, news in (("max 5\noom_kill 0\n", False), ("max 9\noom_kill 2\n", True)):
        events.write_text(text)
        assert select.select([watch.fd], [], [], 30)[0]
        assert watch.heard() is news
    other = MemoryWatch.adopt(*watch.describe())
    assert not other.heard()
    events.write_text("max 9\noom_kill 3\n")
    assert other.heard()
    other.close()


def test_news_of_memory_needs_a_group(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for number in (1, 2):
        with pytest.raises(OSError, match="No such file"):
            MemoryWatch(str(tmp_path / "gone"), number)
    assert os.listdir("/proc/self/fd") == before
