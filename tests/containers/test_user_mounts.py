"""Volumes and other mounts of a user's, in containers that run."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from nacre.ground import userns

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Nacre

DOCKERFILE = """
FROM busybox:test
RUN mkdir -p /data/sub /bare && echo hi > /data/sub/f && ln -s /etc /data/out && ln -s sub /data/in
"""
EXPECTED = None if userns.mapped() else userns.expected()
needs_owners = pytest.mark.skipif(
    not userns.mapped() and (EXPECTED is None or EXPECTED.single),
    reason="owners other than our own need root or a range",
)
needs_root = pytest.mark.skipif(not userns.is_first() or os.geteuid() != 0, reason="needs root")


@pytest.fixture
def image(nacre: Nacre, busybox_image: str, tmp_path: Path) -> str:
    """With /data, a folder with a file and links."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    nacre("build", "-q", "-t", "app", ".")
    return "app"


def refused(nacre: Nacre, *words: str) -> str:
    done = nacre("run", "--rm", *words, check=False)
    assert done.code == 125
    return done.err


def test_a_path_in_a_volume(nacre: Nacre, image: str) -> None:
    nacre("run", "--rm", "-v", "vol:/data", image, "true")
    mount = "source=vol,target=/x,volume-subpath="
    assert nacre("run", "--rm", "--mount", f"{mount}sub", image, "ls", "/x").out == "f\n"
    assert nacre("run", "--rm", "--mount", f"{mount}in/./f", image, "cat", "/x").out == "hi\n"
    assert "No such file" in refused(nacre, "--mount", f"{mount}none", image, "true")
    for way_out in ("out", "out/passwd"):
        assert "it leads out of it" in refused(nacre, "--mount", mount + way_out, image, "true")


def test_an_image(nacre: Nacre, image: str) -> None:
    whole = ("--mount", f"type=image,source={image},target=/i")
    assert nacre("run", "--rm", *whole, image, "cat", "/i/data/sub/f").out == "hi\n"
    assert "Read-only" in nacre("run", "--rm", *whole, image, "touch", "/i/x", check=False).err
    part = ("--mount", f"type=image,source={image},target=/i,image-subpath=data")
    assert nacre("run", "--rm", *part, image, "cat", "/i/sub/f").out == "hi\n"
    assert "leads out" in refused(nacre, "--mount", f"{part[1]}/out", image, "true")
    assert "No such image: none:1" in refused(nacre, "--mount", "type=image,src=none:1,dst=/i", image, "true")


def test_a_copy_of_a_file_that_is_mounted(nacre: Nacre, image: str, tmp_path: Path) -> None:
    """While it runs, its store is closed and its user namespace entered before anything is copied."""
    nacre("run", "--rm", "-v", "vol:/data", image, "true")
    (tmp_path / "own").write_text("hi\n")
    mounts = (
        "--mount", f"type=image,source={image},target=/a,image-subpath=data/sub/f",
        "--mount", "source=vol,target=/b,volume-subpath=in/./f", "-v", "./own:/c",
    )  # fmt: skip
    nacre("run", "-d", "--name", "box", *mounts, image, "sleep", "1000")
    for _ in range(2):
        for name in "abc":
            nacre("cp", f"box:/{name}", name)
            assert (tmp_path / name).read_text() == "hi\n"
            (tmp_path / name).unlink()
            assert "read-only" in nacre("cp", "own", f"box:/{name}", check=False).err
        nacre("stop", "-t", "0", "box")
    nacre("rm", "box")


def test_an_image_that_is_mounted_stays(nacre: Nacre, image: str, busybox_image: str) -> None:
    nacre(
        "create", "--name", "box", "--mount", f"type=image,src={image},dst=/i", busybox_image, "ls", "/i/data"
    )
    assert "is using its referenced image" in nacre("rmi", image, check=False).err
    nacre("rmi", "-f", image)
    nacre("image", "prune", "-af")
    assert "sub" in nacre("start", "-a", "box").lines
    assert nacre("system", "check").code == 0
    (document,) = nacre("inspect", "box").json
    assert [(one["Type"], one["Destination"], one["RW"]) for one in document["Mounts"]] == [
        ("image", "/i", False)
    ]
    assert nacre("run", "--rm", "--volumes-from", "box", busybox_image, "cat", "/i/data/sub/f").out == "hi\n"
    nacre("rm", "box")
    nacre("image", "prune", "-af")
    assert image not in nacre("images").out


def test_a_folder_of_the_host_as_a_volume(nacre: Nacre, image: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    words = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={folder}")
    nacre("volume", "create", *words, "vol")
    assert "failed to mount local volume vol" in refused(nacre, "-v", "vol:/data", image, "true")
    folder.mkdir()
    nacre("create", "--name", "box", "-v", "vol:/data", image, "cat", "/data/sub/f")
    assert (folder / "sub" / "f").read_text() == "hi\n"
    (document,) = nacre("inspect", "box").json
    (mount,) = document["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Source"]) == ("volume", "vol", str(folder))
    assert "volume is in use" in nacre("volume", "rm", "vol", check=False).err
    assert nacre("start", "-a", "box").out == "hi\n"
    nacre("cp", "box:/data/sub/f", "f")
    nacre("rm", "-v", "box")
    nacre("volume", "rm", "vol")
    assert (folder / "sub" / "f").exists()


@needs_root
def test_a_disk_that_is_mounted_as_a_volume(nacre: Nacre, image: str) -> None:
    nacre("volume", "create", "vol")
    run = nacre.command("run", "--rm", "-v", "vol:/data", image, "cat", "/data/sub/f")
    folder = nacre.root / "volumes" / "vol"
    empty = ["sh", "-c", 'rmdir "$0/sub"; exec "$@"', str(folder), *run]
    with in_mounts(nacre, folder, "private", *empty) as process:
        out, err = process.communicate(timeout=60)
    assert out == b"hi\n", err


@needs_owners
def test_a_folder_given_to_the_user(nacre: Nacre, image: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "link").symlink_to("/etc/passwd")
    before = os.stat("/etc/passwd")
    code = "touch /x/new && stat -c %u:%g /x /x/sub /x/sub/link"
    done = nacre("run", "--rm", "-u", "1000:2000", "-v", f"{folder}:/x:U", image, "sh", "-c", code)
    assert done.lines == ["1000:2000"] * 3
    assert os.stat("/etc/passwd").st_uid == before.st_uid
    assert (
        nacre("run", "--rm", "-u", "user", "-v", "vol:/data:U", image, "stat", "-c", "%u", "/data").out
        == "1000\n"
    )


@needs_root
def test_owners_are_mapped(nacre: Nacre, image: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "f").touch()
    words = ("-v", f"{folder}:/x:idmap=uids=0-1000-1;gids=0-2000-1")
    done = nacre("run", "--rm", *words, image, "stat", "-c", "%u:%g", "/x/f", check=False)
    if "idmapped" in done.err:
        pytest.skip("no idmapped mounts on this file system")
    assert done.out == "1000:2000\n"
    nacre("run", "--rm", "-u", "1000:2000", *words, image, "touch", "/x/new")
    assert ((folder / "new").stat().st_uid, (folder / "new").stat().st_gid) == (0, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_owners_are_mapped_by_root_alone(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    words = ("-v", f"{tmp_path}:/x:idmap=uids=0-1000-1")
    assert "idmapped mounts need root" in refused(nacre, *words, busybox_image, "true")


def test_labels_where_there_are_none(nacre: Nacre, busybox_image: str) -> None:
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("SELinux is enabled")
    done = nacre("run", "--rm", "-v", "vol:/x:z", "-v", "wol:/y:z", busybox_image, "true")
    assert done.err == "WARNING: :z of volumes ignored: SELinux is not enabled\n"


def test_a_tmpfs(nacre: Nacre, busybox_image: str) -> None:
    words = ("--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0750")
    done = nacre("run", "--rm", *words, busybox_image, "sh", "-c", "stat -c %a /t; grep ' /t ' /proc/mounts")
    assert done.lines[0] == "750"
    assert "size=1024k" in done.lines[1]
    done = nacre(
        "run", "--rm", "--tmpfs", "/t:ro,size=50%,uid=0", busybox_image, "touch", "/t/x", check=False
    )
    assert "Read-only" in done.err


def test_volumes_stay_writable_on_a_read_only_root(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    words = ("--read-only", "-v", "vol:/v", "-v", "./folder:/f", "-v", "/a", "--tmpfs", "/t")
    code = "touch /v/x /f/x /a/x /t/x && ! touch /x && ls /v /f"
    nacre("run", "--rm", *words, busybox_image, "sh", "-c", code)
    assert (tmp_path / "folder" / "x").exists()


def test_volumes_from(nacre: Nacre, image: str) -> None:
    nacre("create", "--name", "one", "-v", "vol:/data", "-v", "/anon", "-v", "fix:/fix:ro", image, "true")
    before = sorted(nacre("volume", "ls", "-q").lines)
    code = "touch /anon/x; ls -d /data/sub /anon/x; touch /fix/x"
    done = nacre("run", "--rm", "--volumes-from", "one", image, "sh", "-c", code, check=False)
    assert done.lines == ["/anon/x", "/data/sub"]
    assert "Read-only" in done.err
    assert sorted(nacre("volume", "ls", "-q").lines) == before
    done = nacre("run", "--rm", "--volumes-from", "one:ro", image, "touch", "/data/x", check=False)
    assert "Read-only" in done.err
    for bad in ("one:wx", "one:", ":ro", "one:ro,rw", "one:rslave", "one:nocopy", ""):
        if bad != "one:":
            assert "volumes-from" in refused(nacre, "--volumes-from", bad, image, "true")
    nacre("run", "--name", "two", "--volumes-from", "one", image, "true")
    nacre("rm", "-v", "one")
    assert sorted(nacre("volume", "ls", "-q").lines) == before
    nacre("rm", "-v", "two")
    assert sorted(nacre("volume", "ls", "-q").lines) == ["fix", "vol"]
    assert "No such container: one" in refused(nacre, "--volumes-from", "one", image, "true")


def test_volumes_from_another_store(nacre: Nacre, busybox_image: str, busybox_tar: bytes) -> None:
    """Whoever has it: nothing but one's own store is looked at."""
    other = ("--root", str(nacre.root.parent / "other"))
    nacre(*other, "import", "-", "busybox:test", input=busybox_tar)
    (number,) = nacre(*other, "create", "--name", "theirs", "-v", "vol:/data", "busybox:test", "true").lines
    for name in ("theirs", number):
        words = ("--volumes-from", name, busybox_image, "true")
        assert f"No such container: {name}" in refused(nacre, *words)
    nacre(*other, "system", "reset", "-f")


def test_what_yields_to_what(nacre: Nacre, image: str) -> None:
    """A volume of the image, one of another container, what the user says."""
    nacre("create", "--name", "one", "-v", "vol:/data", image, "true")
    nacre("create", "--name", "two", "-v", "wol:/data:nocopy", image, "true")
    code = ("sh", "-c", "ls /data | wc -l")
    both = ("--volumes-from", "one", "--volumes-from", "two")
    assert nacre("run", "--rm", *both, image, *code).out == "0\n"
    assert nacre("run", "--rm", *both, "-v", "vol:/data", image, *code).out == "3\n"
    assert nacre("run", "--rm", *both, "-v", "/data", image, *code).out == "0\n"


DATABASE = """
FROM busybox:test
RUN mkdir -p /lib/pg/data && chown -R 999:999 /lib/pg && chmod 700 /lib/pg/data
VOLUME /lib/pg/data
USER 999:999
CMD cd /lib/pg/data && stat -c '%u:%g %a' . && echo more >> db && wc -l < db && exec sleep 1000
"""


@needs_owners
@pytest.mark.usefixtures("busybox_image")
def test_a_database_that_runs_as_its_own_user(nacre: Nacre, tmp_path: Path) -> None:
    """A folder of mode 0700 that belongs to the user of the image: it is made again with all that."""
    (tmp_path / "Dockerfile").write_text(DATABASE)
    nacre("build", "-q", "-t", "database", ".")
    for words in (("-v", "db:/lib/pg/data"), ()):
        for lines in ("1", "2"):
            (number,) = nacre("run", "-d", *words, "database").lines
            while len(logs := nacre("logs", number).lines) < 2:
                pass
            assert logs == ["999:999 700", lines if words else "1"]
            nacre("exec", number, "sh", "-c", "cat /lib/pg/data/db > /lib/pg/data/dump")
            nacre("cp", f"{number}:/lib/pg/data/dump", "dump")
            nacre("cp", "dump", f"{number}:/lib/pg/data/back")
            nacre("stop", "-t", "0", number)
            nacre("cp", f"{number}:/lib/pg/data/back", "again")
            nacre("rm", "-v", number)
    assert nacre("volume", "ls", "-q").lines == ["db"]


def test_copies_into_and_out_of_volumes(nacre: Nacre, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("new")
    mounts = ("-v", "vol:/data", "-v", "fix:/fix:ro", "--mount", "src=vol,dst=/part,volume-subpath=sub")
    nacre("create", "--name", "first", "-v", "vol:/data", image, "true")
    nacre(
        "create", "--name", "box", *mounts, "--mount", f"type=image,src={image},dst=/i", image, "sleep", "100"
    )
    for _ in ("stopped", "running"):
        nacre("cp", "file", "box:/part/new")
        nacre("cp", "box:/data/sub/new", "back")
        assert (tmp_path / "back").read_text() == "new"
        nacre("cp", "box:/i/data/sub/f", "back")
        assert (tmp_path / "back").read_text() == "hi\n"
        for place in ("/fix/x", "/i/x", "/part/none/x"):
            assert nacre("cp", "file", f"box:{place}", check=False).code == 1
        nacre("start", "box")
        assert nacre("exec", "box", "cat", "/data/sub/new").out == "new"
        nacre("exec", "box", "rm", "/data/sub/new")
    nacre("rm", "-f", "box", "first")


BELOW = """
mount -t tmpfs t "$1" && mount --make-{kind} "$1" && mkdir -p "$1/sub" && shift
exec "$@"
"""


def in_mounts(nacre: Nacre, folder: Path, kind: str, *words: str) -> subprocess.Popen[bytes]:
    """A command in a mount namespace of its own, where the folder is a mount of this kind."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    script = BELOW.format(kind=kind)
    apart = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(folder), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(apart, env=nacre.env, cwd=nacre.folder, stdin=pipe, stdout=pipe, stderr=pipe)


WATCH = """
set -e
mkfifo go
code='echo up; read x; test -e /x/sub/later && echo seen || echo unseen; mount -t tmpfs t /x/in || true'
"$@" sh -c "$code" < go > out & exec 3> go
while ! grep -q up out; do :; done
mount -t tmpfs t "$FOLDER/sub" && touch "$FOLDER/sub/later"
mkdir -p "$FOLDER/in"
echo >&3; wait $!
cat out
grep -c "$FOLDER/in " /proc/self/mountinfo || true
"""


@needs_root
@pytest.mark.parametrize(
    ("word", "seen", "shown"),
    [("", "unseen", "0"), ("rprivate", "unseen", "0"), ("rslave", "seen", "0"), ("rshared", "seen", "1")],
)
def test_propagation(
    nacre: Nacre, busybox_image: str, tmp_path: Path, word: str, seen: str, shown: str
) -> None:
    """What the host mounts later, and what the container mounts."""
    folder = tmp_path / "folder"
    folder.mkdir()
    nacre.env |= {"FOLDER": str(folder)}
    mode = f":{word}" if word else ""
    run = nacre.command("run", "--rm", "-i", "--privileged", "-v", f"{folder}:/x{mode}", busybox_image)
    with in_mounts(nacre, folder, "shared", "sh", "-c", WATCH, "sh", *run) as process:
        out, err = process.communicate(timeout=60)
    assert out.decode().split() == ["up", seen, shown], err


@needs_root
@pytest.mark.parametrize("word", ["rslave", "slave", "rshared", "shared"])
def test_a_propagation_that_cannot_be(nacre: Nacre, busybox_image: str, tmp_path: Path, word: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    run = nacre.command("run", "--rm", "-v", f"{folder}/new:/x:{word}", busybox_image, "true")
    with in_mounts(nacre, folder, "private", *run) as process:
        _, err = process.communicate(timeout=60)
    kind = "a shared mount" if "shared" in word else "a shared or slave mount"
    assert f"is mounted on {folder} but it is not {kind}" in err.decode()


@needs_root
@pytest.mark.parametrize(
    ("more", "expected"),
    [("", "ro ro"), (",bind-recursive=writable", "ro rw"), (",bind-recursive=disabled", "ro none")],
)
def test_what_is_mounted_beneath(
    nacre: Nacre, busybox_image: str, tmp_path: Path, more: str, expected: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    script = (
        f'mkdir "{folder}/below"; mount -t tmpfs t "{folder}/below"; touch "{folder}/below/there"; exec "$@"'
    )
    code = """
        touch /x/f 2> /dev/null && echo rw || echo ro
        test -e /x/below/there || { echo none; exit; }
        touch /x/below/f 2> /dev/null && echo rw || echo ro
    """
    mount = f"type=bind,source={folder},target=/x,readonly{more}"
    run = nacre.command("run", "--rm", "--mount", mount, busybox_image, "sh", "-c", code)
    with in_mounts(nacre, folder, "private", "sh", "-c", script, "sh", *run) as process:
        out, err = process.communicate(timeout=60)
    assert out.decode().split() == expected.split(), err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
@pytest.mark.parametrize("word", ["shared", "rshared"])
def test_mounts_are_shared_by_root_alone(nacre: Nacre, busybox_image: str, tmp_path: Path, word: str) -> None:
    assert "needs root" in refused(nacre, "-v", f"{tmp_path}:/x:{word}", busybox_image, "true")


def test_the_driver_that_mounts_nothing_takes_no_mounts_away(nacre: Nacre, busybox_image: str) -> None:
    """Mounts of another user namespace must not be uncovered, but mounts are permitted all the same."""
    plain = ("--storage-driver", "plain")
    done = nacre(
        *plain, "run", "--rm", "-v", "used:/v", busybox_image, "sh", "-c", "echo x > /v/f; ls /v /proc/1/comm"
    )
    assert (done.out, done.err) == ("/proc/1/comm\n\n/v:\nf\n", "")
