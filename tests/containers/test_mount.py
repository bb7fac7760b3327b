"""`nacre mount` and `unmount`: as root, and what they say to everybody else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.ground import userns

if TYPE_CHECKING:
    from conftest import Nacre


@pytest.fixture
def mounting(nacre: Nacre, busybox_image: str) -> Iterator[Nacre]:
    if not userns.mapped():
        pytest.skip("needs root")
    yield nacre
    nacre("unmount", "-f", "-a", check=False)


def test_an_ordinary_user_is_told(nacre: Nacre) -> None:
    if userns.mapped():
        pytest.skip("needs an ordinary user")
    done = nacre("mount", check=False)
    assert done.code
    assert done.err.splitlines()[0] == 'nacre: cannot run command "nacre mount" in rootless mode'


def test_a_stopped_container(mounting: Nacre, busybox_image: str) -> None:
    mounting("run", "--name", "box", busybox_image, "sh", "-c", "echo x > /srv/f")
    path = Path(mounting("mount", "box").out.strip())
    assert (path / "srv" / "f").read_text() == "x\n"
    (path / "srv" / "g").write_text("from outside\n")
    mounting("cp", f"{path}/srv/g", "box:/srv/h")
    assert (path / "srv" / "h").read_text() == "from outside\n"
    assert mounting("mount", "box").out == f"{path}\n"
    assert mounting("mount").lines == [f"{path.name[:12]} {path}"]
    refused = mounting("start", "-a", "box", check=False)
    assert "is mounted at" in refused.err
    assert mounting("unmount", "box").out == "box\n"
    assert not path.exists()
    assert "A /srv/g" in mounting("diff", "box").lines
    assert mounting("unmount", "box", check=False).err == "nacre: box is not mounted\n"


def test_a_running_container(mounting: Nacre, busybox_image: str) -> None:
    mounting("run", "-d", "--name", "box", busybox_image, "sleep", "1000")
    try:
        path = Path(mounting("mount", "box").out.strip())
        (path / "srv" / "seen").write_text("now\n")
        assert mounting("exec", "box", "cat", "/srv/seen").out == "now\n"
        mounting("exec", "box", "sh", "-c", "echo back > /srv/back")
        assert (path / "srv" / "back").read_text() == "back\n"
    finally:
        mounting("rm", "-f", "box")
    assert not path.exists()


def test_an_image(mounting: Nacre, busybox_image: str) -> None:
    path = Path(mounting("mount", busybox_image).out.strip())
    assert (path / "bin" / "busybox").exists()
    with pytest.raises(OSError, match="Read-only"):
        (path / "new").write_text("")
    mounting("rmi", busybox_image)
    mounting("system", "prune", "-f", "-a")
    assert (path / "etc" / "passwd").read_text().startswith("root:")
    with open(path / "etc" / "passwd", "rb"):
        busy = mounting("unmount", "-a", check=False)
        assert (busy.code, "is in use" in busy.err) == (1, True)
    assert mounting("unmount", "-a").code == 0
    mounting("system", "prune", "-f", "-a")
    assert [name for name in os.listdir(mounting.root / "trees") if not name.startswith(".")] == []


def test_prune_finds_what_is_left(mounting: Nacre, busybox_image: str) -> None:
    mounting("create", "--name", "box", busybox_image)
    path = Path(mounting("mount", "box").out.strip())
    subprocess.run(["umount", str(path)], check=True)
    mounting("system", "prune", "-f")
    assert not path.exists()
    mounting("create", "--name", "two", busybox_image)
    path = Path(mounting("mount", "two").out.strip())
    mounting("container", "prune", "-f")
    assert not path.exists()
