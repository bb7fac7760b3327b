"""Volumes that several commands use at once, and volumes whose content is somebody's who means harm."""

from __future__ import annotations

import fcntl
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Nacre

DOCKERFILE = """
FROM busybox:test
RUN mkdir /data && for i in $(seq 200); do echo $i > /data/$i; done && echo all > /data/all
"""
FILES, ALL = "201", ("sh", "-c", "ls /data | wc -l; cat /data/all")


@pytest.fixture
def image(nacre: Nacre, busybox_image: str, tmp_path: Path) -> str:
    """With many files in /data."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    nacre("build", "-q", "-t", "app", ".")
    return "app"


def test_the_first_users_of_a_volume(nacre: Nacre, image: str) -> None:
    """It is filled once, and nobody sees half of it."""
    started = [nacre.start("run", "--rm", "-v", "vol:/data", image, *ALL) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in started]
    assert [out.decode().split() for out, _ in said] == [[FILES, "all"]] * 4, said


def test_a_lock_on_the_folder_of_a_volume(nacre: Nacre, image: str) -> None:
    """Every container that has it can hold one, and for ever."""
    nacre("volume", "create", "vol")
    folder = os.open(nacre.root / "volumes" / "vol", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        assert nacre("run", "--rm", "-v", "vol:/data", image, *ALL, timeout=60).lines == [FILES, "all"]
    finally:
        os.close(folder)
    assert nacre("volume", "ls", "-q").out == "vol\n"
    assert sorted(path.name for path in (nacre.root / "volumes").iterdir()) == ["vol"]


def test_a_prune_beside_the_first_user(nacre: Nacre, image: str) -> None:
    """A volume that a container is about to have is not removed, or made again."""
    for number in range(4):
        pruning = nacre.start("volume", "prune", "-af")
        made = nacre("create", "--name", f"box{number}", "-v", "vol:/data", image, *ALL, check=False)
        assert pruning.communicate(timeout=120)[1] == b""
        assert made.code == 0, made
        assert nacre("start", "-a", f"box{number}").lines == [FILES, "all"]
        nacre("rm", f"box{number}")


GOOD = (
    ("-v", "./made:/a"), ("-v", "vol:/b"), ("-v", "/c"), ("--tmpfs", "/d:size=1m"), ("-w", "/w"),
    ("-e", "A=b"),
    ("--mount", "type=bind,source=other,target=/e,bind-create-src"), ("--read-only",), ("-u", "1000"),
    ("--mount", "type=volume,source=wol,target=/f,volume-label=a=b"), ("-l", "a=b"), ("--stop-signal", "INT"),
    ("--mount", "type=volume,target=/g,volume-nocopy"), ("--network", "none"), ("--hostname", "box"),
)  # fmt: skip
BAD = (
    ("-v", "./made2:/x:wx"), ("-v", "vol2:/x:rslave"), ("-v", "./made2:relative"), ("-v", "./made2:/"),
    ("-v", "vol2:/a/../c", "-v", "vol3:/c"), ("--tmpfs", "x"), ("--tmpfs", "/x:size=lots"),
    ("--mount", "type=bind,source=/none/such,target=/x"), ("--mount", "type=nfs,target=/x"),
    ("--mount", "type=image,source=none:1,target=/x"), ("--mount", "source=vol2,target=/x,volume-driver=nfs"),
    ("--mount", "source=vol2,target=/x,volume-subpath=../x"), ("--mount", 'source=vol2,"target=/x'),
    ("--mount", "source=vol2,target=/x,volume-opt=type=nfs,volume-opt=device=:/"),
    ("--volumes-from", "nobody"),
    ("-v", "vol2:/x:idmap"), ("-v", "/etc:/x:U"), ("-v", "a b:/x"), ("-w", "relative"), ("--name", "-"),
    ("--name", "taken"), ("--network", "nope"), ("--cap-add", "NOPE"), ("--device", "/none/such"),
    ("--security-opt", "nope"), ("--sysctl", "kernel.panic=1"), ("--env-file", "none"),
    ("--stop-signal", "NOPE"),
    ("--runtime", "/none/such"),
)  # fmt: skip


def test_an_option_that_is_wrong_leaves_nothing(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    nacre("create", "--name", "taken", busybox_image)
    before = sorted(path.name for path in tmp_path.iterdir())
    chance = random.Random(3)
    for bad in BAD:
        words = [bad, *chance.sample(GOOD, 5)]
        if bad[0] in ("-w", "--network", "--stop-signal"):
            words = [one for one in words if one is bad or one[0] != bad[0]]
        chance.shuffle(words)
        verb = chance.choice((("run", "--rm"), ("run",), ("run", "-d"), ("create",)))
        done = nacre(*verb, *(word for group in words for word in group), busybox_image, "true", check=False)
        assert done.code in (125, 1), done
        assert done.err.startswith("nacre: "), done
        assert sorted(path.name for path in tmp_path.iterdir()) == before, done
        assert nacre("volume", "ls", "-q").out == "", done
        assert nacre("ps", "-aq").out.count("\n") == 1, done


SWAPPING = """
cd /v && mkdir -p t/x && echo mine > t/x/mine && echo up
while :; do mv t d; ln -s {outside} t; rm t; ln -s ../../../..{outside} t; rm t; mv d t; done
"""


@contextmanager
def swapping(nacre: Nacre, image: str, outside: Path) -> Iterator[None]:
    """A container that makes a folder of the volume `vol` a link that leads out, and back, all the time."""
    nacre("run", "-d", "--name", "evil", "-v", "vol:/v", image, "sh", "-c", SWAPPING.format(outside=outside))
    while nacre("logs", "evil").out != "up\n":
        pass
    try:
        yield
    finally:
        nacre("rm", "-f", "evil")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the host that no container may reach."""
    folder = tmp_path / "outside"
    (folder / "x").mkdir(parents=True)
    (folder / "x" / "secret").write_text("secret")
    return folder


def test_a_target_in_a_volume_that_is_swapped(nacre: Nacre, busybox_image: str, outside: Path) -> None:
    """runc 2019-19921, 2021-30465: another container makes the target of a mount a link."""
    with swapping(nacre, busybox_image, outside):
        for number in range(8):
            inner = ("-v", f"inner{number}:/v/t/x/new", "-v", "vol:/v", "--tmpfs", "/v/t/x")
            done = nacre("run", "--rm", *inner, busybox_image, "ls", "/v/t/x", check=False)
            assert "secret" not in done.out
    assert sorted(str(path.relative_to(outside)) for path in outside.rglob("*")) == ["x", "x/secret"]


def test_a_path_in_a_volume_that_is_swapped(nacre: Nacre, busybox_image: str, outside: Path) -> None:
    """Kubernetes 2021-25741, 2023-3955: another container makes the subpath of a mount a link."""
    mount = ("--mount", "source=vol,target=/x,volume-subpath=t/x")
    with swapping(nacre, busybox_image, outside):
        seen = set()
        for _ in range(10):
            done = nacre("run", "--rm", *mount, busybox_image, "ls", "/x", check=False)
            assert done.out in ("", "mine\n"), done
            seen.add(done.code)
            copied = nacre("cp", "evil:/v/t/x", "-", check=False)
            assert "secret" not in copied.out
    assert seen <= {0, 125}


def test_owners_of_a_volume_that_is_swapped(nacre: Nacre, busybox_image: str, outside: Path) -> None:
    """`:U` changes the owners of what is in the volume, and of nothing that a link in it leads to."""
    before = {path: path.stat() for path in (outside, outside / "x", outside / "x" / "secret")}
    with swapping(nacre, busybox_image, outside):
        for _ in range(4):
            nacre("run", "--rm", "-v", "vol:/v:U", busybox_image, "true", check=False)
    assert all(path.stat().st_uid == info.st_uid for path, info in before.items())
    assert all(path.stat().st_ctime_ns == info.st_ctime_ns for path, info in before.items())
