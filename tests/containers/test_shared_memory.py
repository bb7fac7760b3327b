"""/dev/shm: the usual one, and whatever the user mounts in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.images.model.runtime import RunOptions, TmpfsMount, runtime_config
from nacre.words.oci import ImageConfig

if TYPE_CHECKING:
    from conftest import Nacre

SHOW = (
    "sh",
    "-c",
    "grep ' /dev/shm ' /proc/mounts | cut -d' ' -f3,4; stat -c %a /dev/shm; echo x > /dev/shm/x",
)
USUAL = "nosuid,nodev,noexec"


@pytest.mark.parametrize(
    ("options", "flags", "size", "mode"),
    [
        ((), USUAL, "65536k", "1777"),
        (("--shm-size", "1m"), USUAL, "1024k", "1777"),
        (("--shm-size", "0"), USUAL, "65536k", "1777"),
        (("--tmpfs", "/dev/shm"), USUAL, "", "1777"),
        (("--tmpfs", "/dev/shm:size=2m,mode=755,exec"), "nosuid,nodev", "2048k", "755"),
        (("--mount", "type=tmpfs,target=/dev/shm,tmpfs-size=2m"), USUAL, "2048k", "1777"),
        (("--shm-size", "1m", "--mount", "type=tmpfs,target=/dev/shm/"), USUAL, "", "1777"),
        (("--read-only", "--tmpfs", "/dev/shm"), USUAL, "", "1777"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_of_a_container(
    nacre: Nacre, busybox_image: str, options: tuple[str, ...], flags: str, size: str, mode: str
) -> None:
    done = nacre("run", "--rm", *options, busybox_image, *SHOW)
    mount, shown = done.lines
    kind, _, words = mount.partition(" ")
    assert (kind, shown) == ("tmpfs", mode)
    assert words.startswith(f"rw,{flags},relatime")
    assert [word for word in words.split(",") if word.startswith("size=")] == (
        [f"size={size}"] if size else []
    )


def test_a_folder_of_the_host(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    nacre("run", "--rm", "-v", f"{tmp_path}/shm:/dev/shm", busybox_image, "sh", "-c", "echo x > /dev/shm/x")
    assert (tmp_path / "shm/x").read_text() == "x\n"


def test_another_place_of_ours(nacre: Nacre, busybox_image: str) -> None:
    done = nacre(
        "run", "--rm", "--tmpfs", "/dev/mqueue", busybox_image, "grep", "-c", "mqueue", "/proc/mounts"
    )
    assert done.out == "1\n"


def test_of_a_build(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox_image}\n"
        "RUN --mount=type=tmpfs,target=/dev/shm,size=1m grep /dev/shm /proc/mounts >/one; echo >/dev/shm/x\n"
        "RUN --mount=type=tmpfs,target=/dev/shm ls /dev/shm >/two; grep /dev/shm /proc/mounts >>/two\n"
        "RUN grep /dev/shm /proc/mounts >/three\n"
    )
    for options, size in (((), "65536k"), (("--shm-size", "3m"), "3072k"), (("--shm-size", "4m"), "4096k")):
        nacre("build", "-t", "built", *options, ".")
        one, two, three = nacre("run", "--rm", "built", "cat", "/one", "/two", "/three").lines
        assert "size=1024k" in one
        assert "size=" not in two
        assert f"size={size}" in three


def test_there_is_one_mount_at_a_place() -> None:
    """Other runtimes are handed this list too."""
    image = ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["x"]}})
    config = runtime_config(image, RunOptions(temporary=(TmpfsMount("/dev/shm", ("size=1m",)),), ipc="host"))
    places = [mount["destination"] for mount in config["mounts"]]
    assert len(places) == len(set(places))
