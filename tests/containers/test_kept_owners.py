"""Users and owners in containers of a user who has one id only: answered, and kept with the files."""

from __future__ import annotations

import errno
import io
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_within import shown

GIVERS = Path(__file__).with_name("givers.py")
ATTRIBUTE = "user.nacre.owner"


@pytest.fixture
def inside(single: Any, busybox_tar: bytes, tmp_path: Path) -> Callable[..., Any]:
    """`inside(name)` is what a function of `givers.py` finds in a container `box`, with two volumes."""
    single("import", "--change", "ENV PATH=/bin", "-", "bb:1", input=busybox_tar)
    for name in ("volume", "readonly"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()

    def run(name: str, *options: str) -> Any:
        words = shown(
            f"{GIVERS}:/givers.py:ro", f"{tmp_path}/volume:/volume", f"{tmp_path}/readonly:/readonly:ro"
        )
        program = "--entrypoint", os.path.realpath(sys.executable), "bb:1", "/givers.py", name
        return single("run", "--name", "box", *options, *words, *program).json

    return run


def owners(data: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: (member.uid, member.gid) for member in tar}


def attributes(path: Path) -> list[str]:
    return [name for name in os.listxattr(path) if name == ATTRIBUTE]


@pytest.mark.parametrize("network", ["none", "bridge"])
def test_a_program_becomes_another_user(inside: Callable[..., Any], network: str) -> None:
    found = inside("becoming", "--network", network)
    user = [[33] * 3, [34] * 3, [7, 8]]
    dropped = found["dropped"]
    assert [dropped[name] for name in ("self", "child", "thread")] == [user] * 3
    assert dropped["program"] == "[(33, 33, 33), (34, 34, 34), [7, 8]]"
    assert (dropped["regain"], dropped["groups"]) == ("EPERM", "EPERM")
    assert dropped["gives"] == ["", "EPERM", "EPERM"]
    assert found["parent"][:2] == [[0] * 3, [0] * 3]


def test_files_are_given_away(inside: Callable[..., Any], single: Any, tmp_path: Path) -> None:
    """And whoever reads the container hears of it: commit, diff, export, cp, check."""
    assert inside("giving") == {
        "cleared": "0o100755", "none": "ENOENT", "under": "ENOTDIR", "proc": "EINVAL", "stdout": "",
        "volume": "", "readonly": "EROFS",
    }  # fmt: skip
    wanted = {
        "srv/named": (3, 2), "srv/opened": (4, 5), "srv/d/near": (6, 7), "srv/d/e/up": (0, 8),
        "srv/cleared": (0, 9), "srv/d": (4294967294, 0), "srv/kept": (0, 0),
    }  # fmt: skip
    exported = owners(single("export", "box").raw)
    assert exported == exported | wanted
    copied = owners(single("cp", "box:/srv", "-").raw)
    assert copied == copied | wanted
    assert owners(single("cp", "box:/srv/named", "-").raw) == {"named": (3, 2)}
    assert "A /srv/named" in single("diff", "box").lines
    given = io.BytesIO()
    with tarfile.open(fileobj=given, mode="w") as tar:
        info = tarfile.TarInfo("come")
        info.uid, info.gid = 11, 12
        tar.addfile(info)
    single("cp", "-", "box:/srv", input=given.getvalue())
    single("commit", "box", "made:1")
    single("create", "--name", "again", "made:1", "true")
    made = owners(single("export", "again").raw)
    assert made == made | wanted | {"srv/come": (11, 12)}
    assert not attributes(tmp_path / "volume/file")
    assert single("system", "check").code == 0


def test_bad_pointers_are_errors(inside: Callable[..., Any]) -> None:
    fault, invalid = errno.EFAULT, errno.EINVAL
    assert inside("pointing") == {
        "chown": [fault], "setgroups": [fault], "many": [invalid] * 3, "flags": [invalid] * 3,
        "descriptor": errno.EBADF, "long": errno.ENAMETOOLONG, "told": [fault],
    }  # fmt: skip


def test_a_race_gives_nothing_outside_away(inside: Callable[..., Any], single: Any, tmp_path: Path) -> None:
    """Only files of the container's own root get an owner, whatever a name means at which moment."""
    before = (tmp_path / "volume/file").stat()
    assert set(inside("racing")["found"]) <= {0, errno.ENOENT, errno.EINVAL}
    after = (tmp_path / "volume/file").stat()
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)
    assert not attributes(tmp_path / "volume/file")
    assert owners(single("export", "box").raw)["srv/own"] in ((7, 7), (0, 0))


def test_exec_is_answered(single: Any, busybox_tar: bytes) -> None:
    """By the process that waits for the program; in one namespace, since a container belongs to its own."""
    single("import", "--change", "ENV PATH=/bin", "-", "bb:1", input=busybox_tar)
    words = single.command()
    nacre = shlex.join(words[words.index("--mount") + 1 :])
    script = f"""
    {nacre} run -d --name box bb:1 sleep 1000 > /dev/null
    trap '{nacre} rm -f box > /dev/null' EXIT
    {nacre} exec box sh -c "touch /x && busybox chown 5:6 /x && busybox su -s /bin/sh user -c 'busybox id -u'"
    {nacre} exec -u user box busybox id -u
    {nacre} cp box:/x - | tar tnvf -
    """
    begin = words[: words.index("--mount") + 1]
    done = subprocess.run(
        [*begin, "sh", "-ec", script], env=single.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    first, second, third = done.stdout.splitlines()
    assert (first, second, third.split()[1]) == ("1000", "1000", "5/6")
