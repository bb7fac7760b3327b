"""Volumes that get what the image has, and volumes that nobody named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nacre.ground import userns

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Nacre

DOCKERFILE = """
FROM busybox:test
RUN mkdir -p /data/sub /bare && echo hi > /data/sub/f && ln /data/sub/f /data/twin \\
    && ln -s sub/f /data/link \\
    && ln -s /data /alias && chmod 2750 /data && chmod 4755 /data/sub/f && touch -d @1000000000 /data/sub/f
VOLUME ["/data", "declared"]
"""
SHOW = "cd /data; ls -A; stat -c '%a %h %Y' sub/f; stat -c %a .; readlink link; cat twin"
FILLED = ["link", "sub", "twin", "4755 2 1000000000", "2750", "sub/f", "hi"]


@pytest.fixture
def image(nacre: Nacre, busybox_image: str, tmp_path: Path) -> str:
    """With /data, a folder of files of all sorts, and two volumes."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    nacre("build", "-q", "-t", "filled", "context")
    return "filled"


def names(nacre: Nacre) -> list[str]:
    return nacre("volume", "ls", "-q").lines


def test_a_new_volume_is_filled(nacre: Nacre, image: str) -> None:
    assert nacre("run", "--rm", "-v", "vol:/data", image, "sh", "-c", SHOW).lines == FILLED
    nacre("run", "--rm", "-v", "vol:/data", image, "rm", "/data/twin")
    assert nacre("run", "--rm", "-v", "vol:/data", image, "ls", "/data").lines == ["link", "sub"]
    assert names(nacre) == ["vol"]


def test_an_empty_volume_is_filled_where_links_lead(nacre: Nacre, image: str) -> None:
    nacre("volume", "create", "vol")
    assert nacre("run", "--rm", "-v", "vol:/alias", image, "sh", "-c", SHOW).lines == FILLED
    nacre("run", "--rm", "-v", "wol:/bare", image, "true")
    nacre("run", "--name", "holds", "-v", "wol:/bare", image, "true")
    assert nacre("run", "--rm", "-v", "wol:/data", image, "sh", "-c", SHOW).lines == FILLED
    nacre("rm", "-v", "holds")


@pytest.mark.parametrize(
    "words",
    [
        ("-v", "vol:/data:nocopy"),
        ("--mount", "source=vol,target=/data,volume-nocopy"),
        ("-v", "./host:/data"),
    ],
)
def test_what_is_not_filled(nacre: Nacre, image: str, words: tuple[str, str]) -> None:
    assert nacre("run", "--rm", *words, image, "ls", "-A", "/data").out == ""
    assert nacre("run", "--rm", "-v", "vol:/etc/passwd/x:nocopy", image, "true", check=False).code == 125


@pytest.mark.skipif(not userns.mapped(), reason="owners other than our own need root or a range")
def test_owners_are_those_of_the_image(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox_image}\nRUN mkdir /data && chown 33:34 /data\nUSER 33\n"
    )
    nacre("build", "-q", "-t", "owned", ".")
    done = nacre(
        "run", "--rm", "-v", "vol:/data", "owned", "sh", "-c", "touch /data/x && stat -c %u:%g /data"
    )
    assert done.out == "33:34\n"


def test_volumes_of_the_image(nacre: Nacre, image: str) -> None:
    code = "test -d /declared && touch /declared/x && ls /data/sub"
    assert nacre("run", "--rm", image, "sh", "-c", code).out == "f\n"
    assert names(nacre) == []
    nacre("create", "--name", "box", image, "sh", "-c", "echo more >> /data/new; wc -l < /data/new")
    anonymous = names(nacre)
    assert [len(name) for name in anonymous] == [64, 64]
    assert nacre("volume", "prune", "-f").lines == ["Total reclaimed space: 0B"]
    assert nacre("start", "-a", "box").out == "1\n"
    assert nacre("start", "-a", "box").out == "2\n"
    nacre("rm", "box")
    assert names(nacre) == anonymous
    nacre("run", "--name", "box", "-v", "vol:/data", image, "true")
    assert len(names(nacre)) == 4
    nacre("rm", "-v", "box")
    assert names(nacre) == sorted([*anonymous, "vol"])
    assert nacre("volume", "prune", "-f").lines[1:3] == anonymous


def test_a_path_alone_is_a_new_volume(nacre: Nacre, image: str) -> None:
    assert nacre("run", "--rm", "-v", "/data", "-v", "/data/sub", image, "ls", "/data/sub").out == "f\n"
    assert nacre("run", "--rm", "-v", "/cache", image, "sh", "-c", "touch /cache/x; ls /cache").out == "x\n"
    assert names(nacre) == []
    nacre("run", "-d", "--name", "box", "-v", "/cache", image, "sleep", "60")
    assert len(names(nacre)) == 3
    nacre("rm", "-fv", "box")
    assert names(nacre) == []


def test_a_volume_of_two_containers_stays(nacre: Nacre, image: str) -> None:
    nacre("create", "--name", "one", "-v", "/cache", image, "true")
    (document,) = nacre("inspect", "one").json
    name = next(m["Source"] for m in document["Mounts"] if m["Destination"] == "/cache").rpartition("/")[2]
    nacre("create", "--name", "two", "-v", f"{name}:/cache", image, "true")
    nacre("rm", "-v", "one")
    assert name in names(nacre)
    nacre("rm", "-v", "two")


def test_nothing_is_made_before_all_is_checked(nacre: Nacre, image: str, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    for words in (
        ["-v", "./new:/b:wx"], ["-v", "./new:/b", "-v", "./other:/b"], ["-v", "./new:/b", "--tmpfs", "x"],
        ["-v", "./new:/b", "-v", "vol:/c", "--network", "nope"], ["-v", "./new:/b", "-w", "relative"],
        ["-v", "./new:/b", "-v", "vol:/c", "--name", "-"],
    ):  # fmt: skip
        assert nacre("run", "--rm", *words, image, "true", check=False).code == 125
    assert nacre("run", "-v", "./new:/b", "-v", "vol:/c", "--pull=never", "absent:1", check=False).code == 125
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert names(nacre) == []
    assert nacre("ps", "-aq").out == ""


def test_two_mounts_at_one_place(nacre: Nacre, image: str) -> None:
    done = nacre("run", "--rm", "-v", "vol:/b", "-v", "wol:/a/../b/", image, "true", check=False)
    assert (done.code, done.err) == (125, "nacre: Duplicate mount point: /b: vol and wol\n")
    assert nacre("run", "--rm", "-v", "vol:/b", "-v", "vol:/b", image, "ls", "-d", "/b").out == "/b\n"
    nacre(
        "run", "--rm", "--tmpfs", "/new/../c", "-v", "vol:/none/./x/../y", image, "ls", "-d", "/c", "/none/y"
    )


def test_a_failed_filling_leaves_nothing(nacre: Nacre, image: str, tmp_path: Path) -> None:
    """The container's folder is there and cannot take a copy: its name is taken."""
    nacre("volume", "create", "vol")
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *nacre.command("create", "-v", "vol:/data", image)]
    import subprocess

    done = subprocess.run(limited, env=nacre.env, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert nacre("ps", "-aq").out == ""
    assert nacre("run", "--rm", "-v", "vol:/data", image, "sh", "-c", SHOW).lines == FILLED


def test_the_row_tells_which_volumes_are_the_containers_own(nacre: Nacre, image: str) -> None:
    nacre("create", "--name", "box", "-v", "vol:/x", image, "true")
    (document,) = nacre("inspect", "box").json
    assert json.dumps(document["Mounts"]).count('"/x"') == 1
    assert len(document["Mounts"]) == 3
    nacre("rm", "-v", "box")
