"""One mount of a layer for all who use it, whoever comes, goes and is killed."""

from __future__ import annotations

import fcntl
import io
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from storekit import Process, file, layer, until

from nacre.ground import linux, mounts, userns
from nacre.ground.files import install_trace
from nacre.stores import Store, shared
from nacre.stores.layout import SHARED
from nacre.stores.shared import Shared, detached
from nacre.words.errors import SandboxError
from nacre.words.mount import Bind, Mount, Overlay

pytestmark = pytest.mark.skipif(not userns.mapped(), reason="needs root that may mount")

CONTENT = b"the same bytes for everybody\n"


@pytest.fixture
def mount(root: str) -> Iterator[Mount]:
    """Two layers, each to be mounted."""
    if not mounts.takes_detached():
        pytest.skip("this kernel's overlayfs takes attached mounts only")
    with Store.open(root, driver="erofs") as store:
        if ", but " in store.driver.why:
            pytest.skip(store.driver.why)
        tars = (layer(file("f", CONTENT)), layer(file("g", CONTENT * 2)))
        yield store.trees.view([store.trees.ingest(io.BytesIO(tar)) for tar in tars])


class Guest:
    """Another process that holds the mount until it is told to let go. `look` is what it sees."""

    def __init__(self, root: str, mount: Mount, first: Callable[[], object] = os.getpid) -> None:
        self._answers, answers = os.pipe()
        orders, self._orders = os.pipe()
        self.process = Process(_hold, root, mount, first, orders, answers)
        os.close(answers)
        os.close(orders)
        self.look = os.read(self._answers, 1000).decode()

    def end(self, number: int = 0) -> int:
        """Let it end, or kill it."""
        if number:
            os.kill(self.process.pid, number)
        with suppress(BrokenPipeError):
            os.write(self._orders, b".")
        os.close(self._orders)
        os.close(self._answers)
        return self.process.wait()


def _hold(root: str, mount: Mount, first: Callable[[], object], orders: int, answers: int) -> None:
    first()
    with Shared(root, mount) as held:
        os.write(answers, _look(held).encode())
        os.read(orders, 1)


def _look(held: Mount) -> str:
    """Which file systems these are, after making sure that they are the right ones."""
    assert isinstance(held, Overlay)
    upper, lower, *_ = held.lowers
    assert Path(f"{lower}/f").read_bytes() == CONTENT
    assert Path(f"{upper}/g").read_bytes() == CONTENT * 2
    return f"{os.stat(f'{lower}/.').st_dev} {os.stat(f'{upper}/.').st_dev}"


def _names(root: str) -> list[str]:
    with suppress(FileNotFoundError):
        return os.listdir(f"{root}/shared")
    return []


def test_processes_share_and_the_last_one_lets_go(root: str, mount: Mount) -> None:
    first = Guest(root, mount)
    second = Guest(root, mount)
    assert first.look == second.look
    assert len(_names(root)) == 4
    assert first.end() == 0
    third = Guest(root, mount)
    assert third.look == second.look
    assert (second.end(), third.end(), _names(root)) == (0, 0, [])
    assert f" - erofs {root}" not in Path("/proc/self/mountinfo").read_text()


def test_who_is_killed_takes_nothing_along(root: str, mount: Mount) -> None:
    first = Guest(root, mount)
    second = Guest(root, mount)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    third = Guest(root, mount)
    assert third.look == second.look
    assert second.end(signal.SIGKILL) == third.end(signal.SIGKILL) == -signal.SIGKILL
    assert _names(root)
    last = Guest(root, mount)
    assert last.end() == 0
    shared.tidy(root)
    assert _names(root) == []


def test_another_mount_namespace_is_no_hindrance(root: str, mount: Mount) -> None:
    first = Guest(root, mount)
    second = Guest(root, mount, lambda: linux.unshare(linux.CLONE_NEWNS))
    assert (first.look == second.look, first.end(), second.end()) == (True, 0, 0)


def test_another_pid_namespace_mounts_for_itself(root: str, mount: Mount) -> None:
    """There the number of a process is somebody else's. Names that mean nothing there are left alone."""
    first = Guest(root, mount)

    def inside() -> None:
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
        linux.mount(None, "/", "", linux.MS_REC | linux.MS_PRIVATE)
        assert Process(_in_new_proc, root, mount, first.look).wait() == 0

    assert Process(inside).wait() == 0
    assert len(_names(root)) == 2
    assert (first.end(), _names(root)) == (0, [])


def _in_new_proc(root: str, mount: Mount, others: str) -> None:
    with Shared(root, mount) as held:
        assert held == mount  # /proc is not that of this process
    linux.mount("proc", "/proc", "proc", 0)
    with Shared(root, mount) as held:
        assert _look(held) != others
        assert len(_names(root)) == 4
        shared.tidy(root)
        assert len(_names(root)) == 4


@pytest.mark.parametrize("point", ["shared:mounted", "shared:written"])
def test_killed_on_the_way(root: str, mount: Mount, point: str) -> None:
    def dying() -> None:
        def hook(name: str) -> None:
            if name == point:
                os.kill(os.getpid(), signal.SIGKILL)

        install_trace(hook)

    guest = Guest(root, mount, dying)
    assert (guest.look, guest.end()) == ("", -signal.SIGKILL)
    other = Guest(root, mount)
    assert (len(_names(root)), other.end(), _names(root)) == (2, 0, [])


@pytest.mark.parametrize("seed", range(3))
def test_a_race_of_starts_kills_and_ends(root: str, mount: Mount, seed: int) -> None:
    """All who live at one moment have the same mounts, and whoever starts gets a mount."""
    ends = random.Random(seed)
    stays = Guest(root, mount)
    crowd = [_Runner(root, mount, seed * 100 + number) for number in range(8)]
    for runner in crowd:
        if ends.random() < 0.5:
            until(runner.looks, 60)
            runner.process.kill()
    assert {runner.wait() for runner in crowd} <= {0, -signal.SIGKILL}
    looks = {line for runner in crowd for line in runner.looks()}
    assert looks == {stays.look}
    assert stays.end() == 0
    shared.tidy(root)
    assert _names(root) == []


class _Runner:
    """A process that takes the mount and lets go again, many times."""

    def __init__(self, root: str, mount: Mount, seed: int) -> None:
        self.log = Path(f"{root}/../runner-{seed}")
        self.process = Process(self._run, root, mount)

    def _run(self, root: str, mount: Mount) -> None:
        for _ in range(25):
            with Shared(root, mount) as held, self.log.open("a") as log:
                log.write(_look(held) + "\n")

    def wait(self) -> int:
        return self.process.wait()

    def looks(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def test_many_begin_at_once(root: str, mount: Mount) -> None:
    """One of them mounts, the others take what it has."""
    crowd = [_Runner(root, mount, number) for number in range(8)]
    assert [runner.wait() for runner in crowd] == [0] * 8
    assert _names(root) == []


def test_what_cannot_be_shared_is_ones_own(root: str, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{root}/shared").write_bytes(b"")  # no folder can be made here
    with Shared(root, mount) as held:
        assert _look(held)
    os.unlink(f"{root}/shared")
    monkeypatch.setattr(shared, "_TRIES", 1)
    assert isinstance(mount, Overlay)
    with shared._Lock(mount.lowers[0].index), Shared(root, mount) as held:  # type: ignore[union-attr]
        assert _look(held)
        assert len(_names(root)) == 1
    assert _names(root) == []


def test_names_that_lie_are_not_believed(root: str, mount: Mount) -> None:
    with Shared(root, mount):
        (name, other) = _names(root)
    lies = [name.rsplit(".", 2)[0] + ".1.0", other.rsplit(".", 3)[0] + f".{1 << 22}.7.3"]
    for lie in lies:
        Path(f"{root}/shared/{lie}").write_bytes(b"")
    with Shared(root, mount) as held:
        assert _look(held)
        assert not set(lies) & set(_names(root))


def test_names_of_another_boot_are_removed(root: str, mount: Mount) -> None:
    with Shared(root, mount):
        parts = _names(root)[0].split(".")
    Path(f"{root}/shared/{'.'.join([*parts[:2], '00000000', *parts[3:]])}").write_bytes(b"")
    shared.tidy(root)
    assert _names(root) == []


def test_what_is_not_there_is_an_error(root: str, mount: Mount) -> None:
    assert isinstance(mount, Overlay)
    os.unlink(mount.lowers[1].index)  # type: ignore[union-attr]
    with pytest.raises(SandboxError, match="cannot mount"), Shared(root, mount):
        pass
    assert _names(root) == []


def test_other_mounts_pass_through(root: str) -> None:
    for plain in (Bind("/srv"), Overlay(("/srv", "/usr"))):
        with Shared(root, plain) as held:
            assert held == plain
    fd = detached(root, Bind("/usr"))
    assert "bin" in os.listdir(f"/proc/self/fd/{fd}")
    os.close(fd)


def test_kernels_that_take_attached_mounts_only(
    root: str, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.15 each container mounts for itself, in a namespace that is gone at once."""

    def refuse(_fd: int, _key: str, _value: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(linux, "fsconfig_fd", refuse)
    monkeypatch.setattr("nacre.ground.mounts.takes_detached", lambda: False)
    before = Path("/proc/self/mountinfo").read_text().count(root)
    with Shared(root, mount) as held:
        assert held == mount
        fd = mounts.detached(held)
    assert sorted(os.listdir(f"/proc/self/fd/{fd}")) == ["f", "g"]
    assert Path(f"/proc/self/fd/{fd}/f").read_bytes() == CONTENT
    os.close(fd)
    assert Path("/proc/self/mountinfo").read_text().count(root) == before


@pytest.mark.parametrize("release", ["6.18.0", "6.15-rc1+deb", "6.12.48+deb13-amd64", "5"])
def test_a_kernel_is_tried_where_its_version_does_not_tell(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, told = os.uname(), mounts.takes_detached()
    monkeypatch.setattr("os.uname", lambda: os.uname_result((*real[:2], release, *real[3:])))
    assert mounts.takes_detached() == told


def test_who_fills_a_tree_waits_longer_for_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load may let its holder sleep; without the name the tree would not be here."""
    index, waited = tmp_path / "index", []
    index.touch()
    with index.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def pause(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 200:
                fcntl.flock(file, fcntl.LOCK_UN)

        monkeypatch.setattr(shared, "sleep", pause)
        shared.hold_group(str(tmp_path), str(index), file.fileno())
    assert len(waited) == 200
    assert len(os.listdir(tmp_path / SHARED)) == 1
