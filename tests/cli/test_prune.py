"""The prune commands: docker's flags and filters, and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tarkit import tar_of

from nacre.cli.output import instant
from nacre.ground import userns
from nacre.stores import reserve
from nacre.words.errors import NacreError, UsageError


def names(nacre: Any) -> list[str]:
    return sorted(nacre("images", "--format", "{{.Repository}}").lines)


@pytest.fixture
def labelled(nacre: Any) -> Any:
    """Three images: keep=yes, keep=no, and none."""
    if not userns.mapped():
        try:
            userns.call(os.getpid)
        except NacreError as error:
            pytest.skip(f"no user namespace here: {error}")
    for name, label in (("yes", "keep=yes"), ("no", "keep=no"), ("none", "other=1")):
        nacre("import", "--change", f"LABEL {label}", "-", name, input=tar_of(file=name.encode()))
    return nacre


def test_filters_of_images(labelled: Any) -> None:
    steps: list[tuple[str, list[str]]] = [
        ("until=1h", ["no", "none", "yes"]),
        ("until=2001-01-01", ["no", "none", "yes"]),
        ("label=keep label!=keep=yes", ["none", "yes"]),
        ("label!=keep", ["yes"]),
        ("label=keep=no", ["yes"]),
        ("until=0s", []),
    ]
    for conditions, left in steps:
        labelled("image", "prune", "-af", *(f"--filter={text}" for text in conditions.split()))
        assert names(labelled) == left, conditions


def test_filters_of_everything(labelled: Any) -> None:
    labelled("system", "prune", "-af", "--filter", "until=1h")
    assert len(names(labelled)) == 3
    refused = labelled("system", "prune", "-af", "--volumes", "--filter", "until=1h", check=False)
    assert (refused.code, "not supported" in refused.err) == (1, True)
    assert labelled("image", "prune", "-f", "--filter", "size=3", check=False).code == 1
    assert labelled("image", "prune", "-f", "--filter", "until=soon", check=False).code == 1
    asked = labelled("system", "prune", "--filter", "label=x", input="n\n").out
    assert "only objects that match: label=x" in asked
    labelled("system", "prune", "-af")
    assert names(labelled) == []


def test_filters_of_containers(nacre: Any, busybox_image: str) -> None:
    for name in ("box-a", "box-b"):
        nacre("create", "--name", name, "--label", f"who={name}", busybox_image)
    nacre("container", "prune", "-f", "--filter", "until=1h")
    nacre("container", "prune", "-f", "--filter", "label=who=box-a")
    assert nacre("ps", "-a", "--format", "{{.Names}}").lines == ["box-b"]
    nacre("builder", "prune", "-f", "--filter", "until=24h")


def test_interrupted_downloads_go_on_request(nacre: Any) -> None:
    nacre("images")
    partial = nacre.root / "ingest" / ("a" * 64)
    partial.mkdir()
    (partial / "data").write_bytes(b"x" * 100_000)
    nacre("system", "prune", "-f")
    assert partial.exists()
    (line,) = (x for x in nacre("system", "df", "--format", "json").lines if "Leftovers" in x)
    assert "(100%)" in line
    nacre("system", "prune", "-af")
    assert not partial.exists()


def test_moments() -> None:
    now = time.time()
    assert abs(instant("2h30m") - (now - 9000)) < 60
    assert instant("1700000000.5") == 1700000000.5
    assert instant("2024-05-01T12:00:00Z") == 1714564800.0
    assert instant("9" * 30) == instant("253402300799") == 253402300799.0
    assert instant("99999999999d") == 0.0
    for text in ("", "soon", "1w", "5m3", "²", "1.²"):
        with pytest.raises(UsageError):
            instant(text)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    if os.geteuid():
        pytest.skip("needs root to mount")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "nacre-test", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("cannot mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    """Take every block."""
    with (place / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk_can_be_pruned(nacre: Any, small_disk: Path) -> None:
    nacre.root = small_disk / "store"
    nacre("import", "-", "big", input=tar_of(file=os.urandom(2_000_000)))
    assert (nacre.root / "reserve").stat().st_blocks * 512 >= reserve.SIZE
    fill(small_disk)
    found = os.statvfs(small_disk)
    assert found.f_bavail * found.f_frsize < 8192
    said = nacre("image", "prune", "-af")
    assert "Total reclaimed space: 0B" not in said.out
    assert names(nacre) == []
    assert (nacre.root / "reserve").exists()
    found = os.statvfs(small_disk)
    assert found.f_bavail * found.f_frsize > 1_000_000
    nacre("import", "-", "small", input=tar_of(file=b"x" * 100_000))


def test_a_full_disk_is_called_full(nacre: Any, small_disk: Path) -> None:
    nacre.root = small_disk / "store"
    nacre("images")
    fill(small_disk)
    reserve.release(str(nacre.root))
    fill(small_disk)
    refused = nacre("import", "-", "x", input=tar_of(file=b"x" * 100_000), check=False)
    assert (refused.code, "no space left on device" in refused.err) == (1, True)
    assert "nacre system prune" in refused.err


def test_the_reserve_is_given_up_only_when_the_disk_is_full(tmp_path: Path, small_disk: Path) -> None:
    assert reserve.take(str(tmp_path))
    assert reserve.take(str(tmp_path))
    assert not reserve.release(str(tmp_path))
    assert reserve.take(str(small_disk))
    fill(small_disk)
    assert reserve.release(str(small_disk))
    assert not reserve.release(str(small_disk))
    fill(small_disk)
    assert not reserve.take(str(small_disk))
    assert not (small_disk / "reserve").exists()
    assert not reserve.take(str(tmp_path / "nothing"))
