"""--userns: ids of a container's own, without a copy of its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.ground import userns
from nacre.ground.mounts import takes_detached

if TYPE_CHECKING:
    from conftest import Nacre

IDS = "containers:3000000:200000\n"
WHO = "id -u; cat /proc/self/uid_map | tr -s ' ' | sed 's/^ //'"
KEPT = "keep-id:uid=1000,gid=1000"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not userns.is_first() or not takes_detached(),
    reason="needs root, and layers with mapped owners",
)


@pytest.fixture
def ranged(nacre: Nacre, busybox_image: str) -> Nacre:
    """The command line on a machine that has ids for containers."""
    for name in ("subuid", "subgid"):
        (nacre.folder / name).write_text(IDS)
    mount = "".join(f"mount --bind {nacre.folder}/{name} /etc/{name} && " for name in ("subuid", "subgid"))

    if not Path("/etc/subuid").exists():
        pytest.skip("there is no /etc/subuid to cover")
    plain = nacre.command

    def around(*words: str) -> list[str]:
        return ["unshare", "-m", "sh", "-c", f'{mount}exec "$@"', "sh", *plain(*words)]

    nacre.command = around  # type: ignore[method-assign]
    return nacre


def test_auto_has_ids_of_its_own(ranged: Nacre, busybox_image: str) -> None:
    """And no two containers have the same."""
    names = ["one", "two"]
    try:
        for name in names:
            ranged("run", "-d", "--name", name, "--userns", "auto:size=70000", busybox_image, "sleep", "1000")
        found = [ranged("exec", name, "sh", "-c", WHO).lines for name in names]
        assert found == [["0", "0 3000000 70000"], ["0", "0 3070000 70000"]]
        pid = json.loads(ranged("inspect", "two").out)[0]["State"]["Pid"]
        assert os.stat(f"/proc/{pid}").st_uid == 3070000
        done = ranged("create", "--userns", "auto:size=70000", busybox_image, "true", check=False)
        assert "there are no 70000 free ids for --userns auto" in done.err
        ranged("rm", "-f", "one")
        assert (
            ranged("run", "--rm", "--userns", "auto:size=70000", busybox_image, "sh", "-c", WHO).lines[1]
            == "0 3000000 70000"
        )
    finally:
        ranged("rm", "-f", *names, check=False)


def test_no_ids_for_containers(nacre: Nacre, busybox_image: str) -> None:
    if "containers:" in Path("/etc/subuid").read_text():
        pytest.skip("this machine has some")
    done = nacre("run", "--rm", "--userns", "auto", busybox_image, "true", check=False)
    assert "needs ids for containers, and user 'containers' has none" in done.err


def test_keep_id(nacre: Nacre, busybox_image: str) -> None:
    """The ids of the machine, and rights over nothing of it."""
    script = f"{WHO}; hostname other 2> /dev/null || echo refused; touch /x; stat -c %u /x; kill -0 1"
    said = nacre("run", "--rm", "--userns", "keep-id", busybox_image, "sh", "-c", script).lines
    assert said == ["0", "0 0 4294967295", "refused", "0"]


@pytest.mark.parametrize("driver", ["overlay", "plain", "auto"])
def test_owners_are_those_of_the_container(
    nacre: Nacre, busybox_image: str, tmp_path: Path, driver: str
) -> None:
    """In the image, what is made, in a named volume and in nacre's own files; on disk nothing is mapped."""
    (tmp_path / "host").mkdir()
    nacre.env["NACRE_STORAGE_DRIVER"] = driver
    words = ("-v", "data:/data", "-v", f"{tmp_path}/host:/host", "-w", "/work/here", "--userns", KEPT)
    script = (
        "touch /made /data/made /tmp/made; chown 7:8 /made; echo > /dev/null; echo x > /dev/shm/x;"
        "rm /etc/passwd;"
        "stat -c %u:%g /bin/busybox /made /data /data/made /etc/hosts /work/here /dev/null /dev/shm/x /host"
    )
    nacre("run", "--name", "box", *words, busybox_image, "sh", "-c", script)
    said = nacre("logs", "box").lines
    assert said == ["0:0", "7:8", *["0:0"] * 6, "1000:1000"]
    nacre("commit", "box", "again")
    assert nacre("run", "--rm", "again", "stat", "-c", "%u:%g", "/made", "/tmp/made").lines == ["7:8", "0:0"]
    assert os.stat(nacre.root / "volumes/data/made").st_uid == 0
    nacre("rm", "-fv", "box")


def test_cp_and_exec(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    nacre("run", "-d", "--name", "box", "-v", "data:/data", "--userns", KEPT, busybox_image, "sleep", "1000")
    try:
        nacre("exec", "-u", "user", "box", "touch", "/tmp/theirs")
        (tmp_path / "in").mkdir()
        (tmp_path / "in/file").write_text("in")
        os.chown(tmp_path / "in/file", 7, 8)
        nacre("cp", "-a", str(tmp_path / "in"), "box:/data/")
        nacre("cp", str(tmp_path / "in/file"), "box:/tmp/file")
        nacre("cp", "-a", "box:/tmp/theirs", str(tmp_path / "theirs"))
        said = nacre("exec", "box", "stat", "-c", "%u:%g", "/data/in/file", "/tmp/file").lines
        assert said == ["7:8", "0:0"]
        assert os.stat(tmp_path / "theirs").st_uid == 1000
        os.chown(tmp_path / "in/file", 2**31 - 2, 0)
        done = nacre("cp", "-a", str(tmp_path / "in"), "box:/data/", check=False)
        assert "does not exist in the user namespace of the container" in done.err
    finally:
        nacre("rm", "-fv", "box")


def test_a_network_of_its_own_needs_no_rights(nacre: Nacre, busybox_image: str) -> None:
    script = "sysctl -n net.ipv4.ip_unprivileged_port_start; ip link set lo down 2> /dev/null || echo refused"
    said = nacre(
        "run", "--rm", "--userns", "keep-id", "--network", "none", busybox_image, "sh", "-c", script
    ).lines
    assert said == ["0", "refused"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keep-id", "--privileged"), "privileged mode is incompatible with user namespaces"),
        (
            ("keep-id", "--cap-add", "SYS_ADMIN"),
            "--cap-add CAP_SYS_ADMIN has no effect with --userns keep-id",
        ),
        (("keep-id", "--cap-add", "ALL"), "--cap-add ALL has no effect with --userns keep-id"),
        (("nomap",), "--userns nomap is not allowed for root"),
        (("keep-id:size=3",), "invalid user namespace mode: 'size=3'"),
        (("keep-id:uid=-1",), "invalid user namespace mode: 'uid=-1'"),
        (("keep-id:uid=65535",), "id 65535 is out of range"),
        (("auto:size=0",), "'size=0' is out of range"),
        (("keep-id", "--runtime", "runc"), "is not possible with the runtime runc"),
        ((f"{KEPT}", "-u", "70000"), "user 70000 does not exist in the user namespace of the container"),
    ],
)
def test_what_is_refused(nacre: Nacre, busybox_image: str, words: tuple[str, ...], said: str) -> None:
    done = nacre("run", "--rm", "--userns", *words, busybox_image, "true", check=False)
    assert done.code in (1, 125, 126)
    assert said in done.err
    assert nacre("ps", "-aq").out == ""


def test_inspect_and_a_terminal(nacre: Nacre, busybox_image: str) -> None:
    script = "tty; stat -c %u $(tty); echo > /dev/console && echo written > /dev/stdout"
    done = nacre("run", "-t", "--rm", "--userns", KEPT, busybox_image, "sh", "-c", script)
    assert done.lines == ["/dev/pts/0", "0", "", "written"]
    number = nacre("create", "--userns", KEPT, busybox_image).out.strip()
    assert json.loads(nacre("inspect", number).out)[0]["HostConfig"]["UsernsMode"] == KEPT
