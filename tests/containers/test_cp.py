"""`nacre cp`, by docker's rules, into and out of containers that run and that do not."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Nacre


@pytest.fixture(params=["stopped", "running"])
def box(request: pytest.FixtureRequest, nacre: Nacre, busybox_image: str) -> Iterator[str]:
    make = (
        "mkdir -p /srv/d/e; echo one > /srv/d/f; ln -s f /srv/d/l; ln /srv/d/f /srv/d/h; ln -s /srv/d /srv/x"
    )
    if request.param == "stopped":
        nacre("run", "--name", "box", busybox_image, "sh", "-c", make)
    else:
        nacre("run", "-d", "--name", "box", busybox_image, "sleep", "1000")
        nacre("exec", "box", "sh", "-c", make)
    yield "box"
    nacre("rm", "-f", "box")


@pytest.fixture
def here(nacre: Nacre) -> Path:
    folder = nacre.folder / "here"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("text\n")
    (folder / "sub" / "inner").write_text("inner\n")
    (folder / "link").symlink_to("file")
    return folder


def look(nacre: Nacre, box: str, script: str) -> list[str]:
    """What a program in the container says, whether it runs or a start of it is needed."""
    names = {"exec": ["exec", box, "sh", "-c", script]}
    done = nacre(*names["exec"], check=False)
    if done.code == 0:
        return done.lines
    nacre("commit", box, "looked")
    return nacre("run", "--rm", "looked", "sh", "-c", script).lines


def test_out(nacre: Nacre, box: str, here: Path) -> None:
    nacre("cp", f"{box}:/srv/d/f", "here/new")
    assert (here / "new").read_text() == "one\n"
    nacre("cp", f"{box}:srv/d/f", "here/sub")
    assert (here / "sub" / "f").read_text() == "one\n"
    nacre("cp", f"{box}:/srv/d", "here/sub/")
    assert sorted(os.listdir(here / "sub" / "d")) == ["e", "f", "h", "l"]
    assert (here / "sub/d/f").stat().st_ino == (here / "sub/d/h").stat().st_ino
    nacre("cp", f"{box}:/srv/d", "here/made")
    assert os.readlink(here / "made" / "l") == "f"
    nacre("cp", f"{box}:/srv/d/.", "here/sub")
    assert (here / "sub" / "l").is_symlink()
    nacre("cp", f"{box}:/srv/d/l", "here/copied")
    assert os.readlink(here / "copied") == "f"
    said = nacre("cp", "-L", f"{box}:/srv/d/l", "here/followed")
    assert (here / "followed").read_text() == "one\n"
    assert said.err == ""  # docker tells of it on a terminal alone
    nacre("cp", "-q", f"{box}:/srv/x/", "here/through")
    assert (here / "through" / "f").read_text() == "one\n"


def test_in(nacre: Nacre, box: str, here: Path) -> None:
    nacre("cp", "here/file", f"{box}:/srv/new")
    nacre("cp", "here/sub", f"{box}:/srv")
    nacre("cp", "here/sub", f"{box}:/srv/named")
    nacre("cp", "here/sub/.", f"{box}:/srv/x")
    nacre("cp", "here/link", f"{box}:/srv/link")
    nacre("cp", "-L", "here/link", f"{box}:/srv/plain")
    nacre("cp", "here/file", f"{box}:/srv/d/l")
    assert look(nacre, box, "cd /srv; cat new sub/inner named/inner d/inner plain d/f; readlink link") == [
        "text", "inner", "inner", "inner", "text", "text", "file",
    ]  # fmt: skip
    assert set(look(nacre, box, "stat -c %u:%g /srv/new /srv/sub /srv/sub/inner")) == {"0:0"}


def test_tar(nacre: Nacre, box: str) -> None:
    data = nacre("cp", f"{box}:/srv/d", "-").raw
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert sorted(tar.getnames()) == ["d", "d/e", "d/f", "d/h", "d/l"]
        assert tar.getmember("d/h").linkname == "d/f"
    nacre("cp", "-", f"{box}:/tmp", input=data)
    assert look(nacre, box, "cat /tmp/d/h; readlink /tmp/d/l") == ["one", "f"]
    bad = nacre("cp", "-", f"{box}:/nowhere", input=data, check=False)
    assert (bad.code, bad.err) == (1, "nacre: no such directory: /nowhere\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("here/file", "box:/nowhere/"), "no such directory: /nowhere/"),
        (("here/file", "box:/no/where"), "could not find the file /no in container box"),
        (("here/sub", "box:/etc/passwd"), "cannot copy a directory to the file /etc/passwd"),
        (("here/file", "box:/etc/passwd/"), "/etc/passwd/ is not a directory"),
        (("here/ghost", "box:/tmp"), "cannot open here/ghost: no such file or directory"),
        (("box:/ghost", "here"), "could not find the file /ghost in container box"),
        (("here/file", "ghost:/tmp"), "No such container: ghost"),
        (("here/file", "here/b"), "must specify at least one container source"),
        (("a:/b", "c:/d"), "copying between containers is not supported"),
        (("box:/srv/d", "here/file"), "cannot copy a directory to the file here/file"),
    ],
)
def test_refusals(nacre: Nacre, box: str, here: Path, words: tuple[str, str], said: str) -> None:
    done = nacre("cp", *words, check=False)
    assert done.code == 1
    assert done.err.splitlines()[0] == f"nacre: {said}"


def test_folders_and_files_do_not_replace_each_other(nacre: Nacre, box: str, here: Path) -> None:
    (here / "d").write_text("a file")
    assert nacre("cp", "here/d", f"{box}:/srv", check=False).code == 1
    (here / "f").mkdir()
    assert nacre("cp", "here/f", f"{box}:/srv/d", check=False).code == 1
    assert look(nacre, box, "cat /srv/d/f") == ["one"]


def test_archive_mode_keeps_owners(nacre: Nacre, box: str, here: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can have files of others")
    os.chown(here / "file", 1234, 5678)
    nacre("cp", "-a", "here/file", f"{box}:/srv/kept")
    nacre("cp", "here/file", f"{box}:/srv/lost")
    assert look(nacre, box, "stat -c %u:%g /srv/kept /srv/lost") == ["1234:5678", "0:0"]
    nacre("cp", "-a", f"{box}:/srv/kept", "here/back")
    assert (here / "back").stat().st_uid == 1234
    nacre("cp", f"{box}:/srv/kept", "here/mine")
    assert (here / "mine").stat().st_uid == 0


def test_volumes(nacre: Nacre, busybox_image: str, here: Path) -> None:
    nacre("create", "--name", "box", "-v", "./here:/data", "-v", "./here:/ro:ro", busybox_image)
    nacre("cp", "box:/data/sub", "out")
    assert (nacre.folder / "out" / "inner").read_text() == "inner\n"
    nacre("cp", "here/file", "box:/data/sub/")
    assert (here / "sub" / "file").exists()
    assert "read-only" in nacre("cp", "here/file", "box:/ro", check=False).err


def test_links_of_the_container_stay_in_it(nacre: Nacre, busybox_image: str, here: Path) -> None:
    """docker CVE-2018-15664: what the container makes of a path cannot lead to the host."""
    (nacre.folder / "secret").write_text("host")
    script = (
        f"ln -s / /up; ln -s {nacre.folder} /abs; ln -s ../../../../../../..{nacre.folder} /rel; "
        "ln -s /proc/self/root /magic; ln -s /proc/1/cwd /cwd; rm /etc/group; "
        "ln -s /etc/shadow /etc/group; sleep 1000"
    )
    nacre("run", "-d", "--name", "box", busybox_image, "sh", "-c", script)
    try:
        while nacre("exec", "box", "readlink", "/etc/group", check=False).out != "/etc/shadow\n":
            pass
        for path in (
            "/abs/secret",
            "/rel/secret",
            f"/up/{nacre.folder}/secret",
            f"/magic{nacre.folder}/secret",
        ):
            assert nacre("cp", f"box:{path}", "here/stolen", check=False).code
            assert nacre("cp", "here/file", f"box:{os.path.dirname(path)}/secret", check=False).code
        assert nacre("cp", "-L", "box:/etc/group", "here/stolen", check=False).code
        assert nacre("cp", "box:/cwd/etc/passwd", "here/stolen", check=False).code
        assert not (here / "stolen").exists()
        assert (nacre.folder / "secret").read_text() == "host"
    finally:
        nacre("rm", "-f", "box")


def test_nothing_of_the_container_is_used(nacre: Nacre, busybox_image: str, here: Path) -> None:
    """docker CVE-2019-14271: its libraries, its /proc and its programs are data, however they look."""
    script = (
        "mkdir -p /proc/self; for n in /lib /lib64 /usr /usr/lib; do mkdir -p $n; done; "
        "for n in libc.so.6 libnss_files.so.2; do echo bad > /lib/$n; echo bad > /usr/lib/$n; done; "
        "echo bad > /etc/nsswitch.conf; mkdir -p /fd; ln -s / /fd/0; touch /ready; sleep 1000"
    )
    nacre("run", "-d", "--name", "box", busybox_image, "sh", "-c", script)
    try:
        while nacre("exec", "box", "test", "-e", "/ready", check=False).code:
            pass
        nacre("cp", "box:/etc/nsswitch.conf", "here/out")
        nacre("cp", "here/file", "box:/lib/libc.so.6")
        assert nacre("exec", "box", "cat", "/lib/libc.so.6").out == "text\n"
        assert (here / "out").read_text() == "bad\n"
    finally:
        nacre("rm", "-f", "box")


def test_a_path_that_is_swapped_all_the_time(nacre: Nacre, busybox_image: str, here: Path) -> None:
    """The race of CVE-2018-15664 and CVE-2019-18466: a folder and a link to the host take turns."""
    target = nacre.folder / "outside"
    target.mkdir()
    script = (
        f"mkdir -p /real {target} /w; ln -s {target} /link; touch /ready; "
        "while true; do mv /real /w/d; mv /link /real; mv /real /link; mv /w/d /real; done"
    )
    nacre("run", "-d", "--name", "box", busybox_image, "sh", "-c", script)
    try:
        while nacre("exec", "box", "test", "-e", "/ready", check=False).code:
            pass
        for _ in range(8):
            nacre("cp", "here/file", "box:/real/file", check=False)
            nacre("cp", "here/sub", "box:/real", check=False)
        assert os.listdir(target) == []
    finally:
        nacre("rm", "-f", "box")
