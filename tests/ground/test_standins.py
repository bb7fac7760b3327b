"""Files that stand in for mounts: put into a root, and taken away again whatever was done to them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre.ground.sandbox.standins import Standins, covered
from nacre.words.errors import SandboxError
from nacre.words.mount import Directory


@pytest.fixture
def root(tmp_path: Path) -> Directory:
    for name in ("root/etc", "root/run", "root/dev", "host"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/etc/hosts").write_text("image")
    (tmp_path / "root/etc/resolv.conf").symlink_to("../run/systemd/resolv.conf")
    (tmp_path / "root/dev/own").write_text("image")
    (tmp_path / "host/hosts").write_text("host")
    (tmp_path / "host/cache").mkdir()
    (tmp_path / "host/cache/kept").write_text("1")
    for path in sorted((tmp_path / "root").rglob("*"), reverse=True):
        os.utime(path, ns=(1, 1_000_000_007), follow_symlinks=False)
    os.utime(tmp_path / "root", ns=(1, 1_000_000_007))
    return Directory(str(tmp_path / "root"), str(tmp_path / "aside"))


def looks(folder: Directory) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in [Path(folder.path), *sorted(Path(folder.path).rglob("*"))]:
        info = path.lstat()
        text = path.read_text() if stat.S_ISREG(info.st_mode) else ""
        found[str(path)] = info.st_mode, info.st_mtime_ns, text
    return found


def test_all_is_as_it_was(root: Directory) -> None:
    before, host = looks(root), Path(root.path).parent / "host"
    with Standins(root) as places:
        places.folder("/dev")
        places.file("/etc/hosts", str(host / "hosts"))
        places.file("/etc/resolv.conf", str(host / "hosts"))
        places.lend("/var/cache/tool", str(host / "cache"))
        places.folder("/dev/shm", 0o1777)
        inside = Path(root.path)
        assert (inside / "etc/hosts").read_text() == "host"
        assert (inside / "run/systemd/resolv.conf").read_text() == "host"
        assert (inside / "var/cache/tool/kept").read_text() == "1"
        assert os.listdir(inside / "dev") == ["shm"]
        (inside / "var/cache/tool/kept").write_text("2")
        assert covered(root.aside) == {
            b"dev", b"etc/hosts", b"run/systemd", b"run/systemd/resolv.conf", b"var", b"var/cache",
            b"var/cache/tool", b"dev/shm",
        }  # fmt: skip
    assert looks(root) == before
    assert (host / "cache/kept").read_text() == "2"
    assert not os.path.exists(root.aside)
    assert covered(root.aside) == set()


def test_what_the_program_made_beside_stays(root: Directory) -> None:
    with Standins(root) as places:
        places.folder("/var/tmp")
        Path(root.path, "var/own").write_text("1")
        os.utime(Path(root.path, "var"), ns=(1, 2_000_000_000))
    assert os.listdir(Path(root.path, "var")) == ["own"]
    assert Path(root.path, "var").stat().st_mtime_ns == 2_000_000_000


def test_what_a_killed_program_left_is_undone_by_the_next(root: Directory) -> None:
    before = looks(root)
    places = Standins(root).__enter__()
    places.folder("/dev")
    places.file("/etc/hosts", str(Path(root.path).parent / "host/hosts"))
    with Standins(root) as later:
        assert Path(root.path, "etc/hosts").read_text() == "image"
        later.folder("/dev")
    assert looks(root) == before


def _remove_parent(inside: Path) -> None:
    os.rename(inside / "etc", inside / "gone")
    (inside / "etc").symlink_to("/host-of-nobody")


def _link_instead(inside: Path) -> None:
    os.rename(inside / "cache", inside / "moved")
    (inside / "cache").symlink_to("/etc")


def _parent_to_outside(inside: Path) -> None:
    os.rename(inside / "etc", inside / "gone")
    (inside / "etc").symlink_to("../host")


@pytest.mark.parametrize("attack", [_remove_parent, _link_instead, _parent_to_outside])
def test_links_lead_nowhere(root: Directory, attack: Callable[[Path], None]) -> None:
    host = Path(root.path).parent / "host"
    with Standins(root) as places:
        places.file("/etc/hosts", str(host / "hosts"))
        places.lend("/cache", str(host / "cache"))
        attack(Path(root.path))
    assert (host / "hosts").read_text() == "host"
    assert not (host / "cache").is_symlink()
    assert not os.path.exists(root.aside)


def test_targets_stay_in_the_root(root: Directory) -> None:
    (Path(root.path) / "out").symlink_to("../../../../..")
    (Path(root.path) / "loop").symlink_to("loop")
    with Standins(root) as places:
        places.folder("/out/../../made")
        with pytest.raises(SandboxError):
            places.folder("/loop/x")
        with pytest.raises(SandboxError):
            places.folder("/etc/hosts/x")
        assert Path(root.path, "made").is_dir()
    assert not Path(root.path, "made").exists()


def test_a_mount_point_is_made_only_if_absent(root: Directory) -> None:
    with Standins(root) as places:
        places.mount_point("/etc/hosts", folder=False)
        places.mount_point("/proc", folder=True)
        assert covered(root.aside) == {b"proc"}
    assert not Path(root.path, "proc").exists()
