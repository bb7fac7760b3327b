"""`nacre diff`, `export` and `commit` of containers that run and that do not."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Nacre

_CHANGE = (
    "mkdir -p /srv/new/deep && echo text > /srv/new/deep/file && rm /etc/group && echo more >> /etc/passwd "
    "&& ln -s /nowhere /srv/link && chmod 700 /tmp && rm -r /root && mkdir /root && ln /etc/passwd /srv/hard"
)
_EXPECTED = [
    "C /etc", "D /etc/group", "C /etc/passwd", "C /root", "C /srv", "A /srv/hard", "A /srv/link",
    "A /srv/new", "A /srv/new/deep", "A /srv/new/deep/file", "C /tmp",
]  # fmt: skip


@pytest.fixture(params=["stopped", "running"])
def changed(request: pytest.FixtureRequest, nacre: Nacre, busybox_image: str) -> Iterator[str]:
    if request.param == "stopped":
        nacre("run", "--name", "box", busybox_image, "sh", "-c", _CHANGE)
    else:
        nacre("run", "-d", "--name", "box", busybox_image, "sleep", "1000")
        nacre("exec", "box", "sh", "-c", _CHANGE)
    yield "box"
    nacre("rm", "-f", "box")


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar}


def test_diff(nacre: Nacre, changed: str) -> None:
    assert nacre("diff", changed).lines == _EXPECTED
    rows = [json.loads(line) for line in nacre("diff", "--format", "json", changed).lines]
    assert rows[1] == {"Kind": "D", "Path": "/etc/group"}


def test_diff_of_nothing(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "new", busybox_image)
    assert nacre("diff", "new").out == ""
    assert nacre("diff", "ghost", check=False).err.startswith("nacre: No such container: ghost")


def test_export(nacre: Nacre, changed: str) -> None:
    first, second = nacre("export", changed).raw, nacre("export", changed).raw
    assert first == second
    there = members(first)
    assert "etc/group" not in there
    assert {"srv/new/deep/file", "bin/busybox", "bin/sh", "srv/hard"} <= set(there)
    assert there["tmp"].mode == 0o700
    assert (there["srv/hard"].type, there["srv/hard"].linkname) == (tarfile.LNKTYPE, "etc/passwd")
    nacre("export", "-o", "out.tar", changed)
    assert (nacre.folder / "out.tar").read_bytes() == first


def test_commit(nacre: Nacre, changed: str) -> None:
    before = nacre("diff", changed).lines
    id = nacre(
        "commit", "-a", "me", "-m", "why", "-c", "ENV X=1", "-c", 'CMD ["cat", "/srv/new/deep/file"]',
        changed, "made:1",
    ).out  # fmt: skip
    assert id.startswith("sha256:")
    assert nacre("run", "--rm", "made:1").out == "text\n"
    out = nacre("run", "--rm", "made:1", "sh", "-c", "echo $X; ls /etc; tail -1 /etc/passwd")
    assert out.lines == ["1", "hostname", "hosts", "passwd", "resolv.conf", "more"]
    image = nacre("inspect", "made:1").json[0]
    assert (image["Author"], image["Comment"]) == ("me", "why")
    assert image["Config"]["Env"] == ["PATH=/bin", "X=1"]
    assert nacre("diff", changed).lines == before


def test_commit_keeps_what_the_user_gave(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "--name", "box", "-e", "A=b", "-w", "/srv", "-u", "user", busybox_image, "echo", "hi")
    nacre("commit", "box", "made")
    assert nacre("run", "--rm", "made").out == "hi\n"
    assert nacre("run", "--rm", "made", "sh", "-c", "pwd; id -u; echo $A").lines == ["/srv", "1000", "b"]
    image = nacre("inspect", "made").json[0]
    assert len(image["RootFS"]["Layers"]) == 1
    assert image["Config"]["User"] == "user"


def test_a_commit_stops_the_container_only_for_its_time(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "box", busybox_image, "sleep", "1000")
    try:
        nacre("commit", "box", "made")
        assert nacre("exec", "box", "sh", "-c", "grep State /proc/1/status").out != "State:\tT (stopped)\n"
        assert nacre("commit", "--pause=false", "box").out.startswith("sha256:")
    finally:
        nacre("rm", "-f", "box")
    bad = nacre("commit", "box", check=False)
    assert (bad.code, bad.err) == (1, "nacre: No such container: box\n")


def test_a_commit_says_what_it_costs_to_change_a_mode(nacre: Nacre, busybox_image: str) -> None:
    """The program is a megabyte or more, and is in the layer a second time."""
    nacre("run", "--name", "box", busybox_image, "chmod", "700", "/bin/busybox")
    made = nacre("commit", "box")
    assert made.out.startswith("sha256:")
    assert made.err.startswith("WARNING: ")
    assert made.err.endswith("copied only to change owner or mode (1 file, most in /bin)\n")
    nacre("run", "--name", "other", busybox_image, "chmod", "755", "/bin/busybox")
    assert nacre("commit", "other").err == ""
