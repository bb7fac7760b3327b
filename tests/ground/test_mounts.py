"""Mounting values."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from nacre.ground import linux, mounts, userns
from nacre.words.errors import SandboxError, Unsupported
from nacre.words.mount import Bind, Mount, Overlay, Tmpfs

NAMES = ["a", "b"]


@pytest.fixture(autouse=True)
def _namespace() -> None:
    try:
        userns.call(userns.enter)
    except Unsupported as error:
        pytest.skip(error.message)


def seen(mount: Mount, target: str, write: str = "") -> tuple[list[str], str]:
    """What is there once `mount` is at `target`, and the error of writing a file there."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", "", linux.MS_REC | linux.MS_PRIVATE)
    mounts.attach(mount, target)
    error = ""
    if write:
        try:
            Path(target, write).write_text("x")
        except OSError as failure:
            error = failure.strerror or ""
    listed = sorted(os.listdir(target))
    mounts.detach(target)
    return listed, error


def layer(folder: Path, *names: str) -> str:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return str(folder)


@pytest.fixture
def target(tmp_path: Path) -> str:
    return layer(tmp_path / "target")


def test_tmpfs_is_empty_and_writable(target: str) -> None:
    assert userns.call(seen, Tmpfs(size=65536), target, "new") == (["new"], "")


def test_bind(tmp_path: Path, target: str) -> None:
    source = layer(tmp_path / "source", "file")
    assert userns.call(seen, Bind(source), target, "new") == (["file", "new"], "")
    assert userns.call(seen, Bind(source, readonly=True), target, "other")[1] == "Read-only file system"


def test_overlay(tmp_path: Path, target: str) -> None:
    lowers = (layer(tmp_path / "top", "a"), layer(tmp_path / "base", "b"))
    upper, work = layer(tmp_path / "upper"), layer(tmp_path / "work")
    mount = Overlay(lowers, upper, work, userxattr=os.geteuid() != 0)
    assert userns.call(seen, mount, target, "new") == (["a", "b", "new"], "")
    assert os.listdir(upper) == ["new"]
    assert userns.call(seen, Overlay(lowers), target, "new") == (["a", "b"], "Read-only file system")


def test_many_layers_and_long_paths(tmp_path: Path, target: str) -> None:
    long = tmp_path / ("x" * 200) / ("y" * 200)
    lowers = tuple(layer(long / str(number), f"f{number}") for number in range(127))
    assert len(userns.call(seen, Overlay(lowers), target)[0]) == 127


def test_one_string_for_older_kernels(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mounts, "_add_lower", refuse)
    lowers = (layer(tmp_path / "a:b,c", "a"), layer(tmp_path / "base", "b"))
    assert userns.call(seen, Overlay(lowers), target) == (NAMES, "")


def test_failures_name_what_failed(tmp_path: Path, target: str) -> None:
    for mount, words in (
        (Bind(str(tmp_path / "none")), "none: No such file"),
        (Overlay((str(tmp_path / "none"),)), "layers of the image"),
        (Tmpfs(), "/no/such/target"),
    ):
        with pytest.raises(SandboxError, match=words):
            userns.call(seen, mount, target if not isinstance(mount, Tmpfs) else "/no/such/target")


def test_detaching_nothing_is_fine(target: str) -> None:
    userns.call(mounts.detach, target)


def test_a_thread_leaves_alone(tmp_path: Path) -> None:
    """A thread that leaves its mount namespace changes nothing in that of the others."""

    def work() -> tuple[list[str], str, str]:
        mounts.leave()
        with open("/proc/self/mountinfo") as file:
            before = file.read()
        found: list[str] = []

        def run() -> None:
            mounts.leave(propagation=linux.MS_PRIVATE)
            mounts.attach(Tmpfs(), str(tmp_path))
            found.append(os.readlink("/proc/thread-self/ns/mnt"))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        with open("/proc/self/mountinfo") as file:
            after = file.read()
        assert before == after
        return found, os.readlink("/proc/self/ns/mnt"), after

    found, own, _ = userns.call(work)
    assert len(found) == 1
    assert found != [own]
