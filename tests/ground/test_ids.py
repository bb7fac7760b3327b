"""Owners that a user namespace has not: named, with what could be done."""

from __future__ import annotations

import ctypes
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.ground import ids, userns

if TYPE_CHECKING:
    from conftest import Nacre

HINT = "hint: add ids to /etc/subuid and /etc/subgid for your user, or for the container that nacre runs in"
RANGE = "0 0 1\n1 100000 65535\n"
INSIDE = (
    "import os, sys; sys.path[:0] = [sys.argv[1]]\n"
    "from test_ids import in_namespace; in_namespace(lambda: os.execvp(sys.argv[2], sys.argv[2:]))"
)


def in_namespace(action: Callable[[], object]) -> None:
    """Do `action` as root of a user namespace of 65,536 ids, and end the process with its code."""
    ready, wait, go, begin = *os.pipe(), *os.pipe()
    child = os.fork()
    if not child:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(0x10020000):  # CLONE_NEWUSER, CLONE_NEWNS
                os._exit(99)
            os.write(wait, b"x")
            os.read(go, 1)
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            action()
        finally:
            os._exit(98)
    if os.read(ready, 1):
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(RANGE)
        os.write(begin, b"x")
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def archive(uid: int, count: int = 1, kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(count):
            entry = tarfile.TarInfo(f"f{number}")
            entry.type, entry.uid, entry.size = kind, uid, 1 if kind == tarfile.REGTYPE else 0
            entry.linkname = "x" if kind == tarfile.SYMTYPE else ""
            tar.addfile(entry, io.BytesIO(b"x"))
    return out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_an_archive(nacre: Nacre, kind: bytes) -> None:
    refused(nacre, archive(70000, kind=kind))


def test_an_archive_of_many_files(nacre: Nacre) -> None:
    """So many that others help to make them."""
    refused(nacre, archive(70000, 4000))


def refused(nacre: Nacre, data: bytes) -> None:
    command = nacre.command("--storage-driver", "overlay", "import", "-", "app")
    if os.geteuid() == 0:
        nacre.root.parent.chmod(0o755)
        nacre.root.mkdir(mode=0o755, exist_ok=True)
        command = [sys.executable, "-c", INSIDE, os.path.dirname(__file__), *command]
    elif userns.call(userns.enter).single:
        pytest.skip("this user has no range of ids")
    done = subprocess.run(command, input=data, capture_output=True, env=nacre.env, check=False)
    if done.returncode == 99:
        pytest.skip("no user namespaces here")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1, lines
    assert lines[0].startswith("nacre: cannot extract 'f")
    assert re.search(r": user id 70000 is not one of the 6553[67] ids of this user namespace$", lines[0])
    assert lines[1] == HINT


def test_other_refusals_are_what_they_were(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ids.chown(str(tmp_path / "none"), 0, 0)
    ids.chown(str(tmp_path), os.getuid(), os.getgid())
