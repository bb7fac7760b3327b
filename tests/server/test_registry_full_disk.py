"""A disk without room: a registry starts, serves and deletes, and takes pushes again when there is some."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from nacre.services.server import RunningServer
from nacre.stores import reserve
from nacre.stores.registry import RegistryStore
from nacre.words.errors import DiskFull

SMALL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from conftest import Api
from nacre.ground import linux
from nacre.services.server import RunningServer
linux.mount("small", sys.argv[2], "tmpfs", 0, "size=12m")
root = sys.argv[2] + "/r"
with RunningServer(root) as serving:
    api = Api(serving.url)
    image = api.push_image("app", "1")
    blob = api.push_blob("app", os.urandom(4_000_000))
with open(sys.argv[2] + "/ballast", "wb", buffering=0) as file:
    try:
        while file.write(b"x" * 4096) == 4096:
            pass
    except OSError:
        pass
with RunningServer(root) as serving:
    api = Api(serving.url)
    assert api("GET", "app/manifests/1").body == image.data
    assert api("GET", f"app/blobs/{blob}").status == 200
    assert api("POST", "app/blobs/uploads/").status == 507
    assert api.put_manifest("app", "2", image.data + b" ").status == 507
    assert api("DELETE", f"app/blobs/{blob}").status == 202
    assert api.push_image("app", "2", b"other").answer.status == 201
    assert os.path.exists(root + "/reserve")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a small file system")
def test_a_small_file_system_that_is_full(tmp_path):
    import subprocess

    inside = [sys.executable, "-c", SMALL, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(["unshare", "-m", *inside], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def full(monkeypatch):
    """A disk with no more room than the reserve has; gives how it becomes empty."""
    room = []
    fallocate = os.posix_fallocate

    def allocate(fd, start, size):
        if not room:
            raise OSError(28, os.strerror(28))
        fallocate(fd, start, size)

    monkeypatch.setattr(reserve.os, "posix_fallocate", allocate)
    monkeypatch.setattr(reserve, "ENOUGH", 1 << 62)
    return lambda: room.append(True)


def test_the_reserve_is_given_up_for_the_start(tmp_path, api_of, full, monkeypatch):
    root, connect = str(tmp_path / "r"), sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(reserve, "release", lambda _root: False)
        RegistryStore(root).close()
    Path(root, "reserve").touch()

    def connect_in_the_reserve(path, **options):
        if os.path.exists(f"{root}/reserve"):
            raise sqlite3.OperationalError("database or disk is full")
        return connect(path, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_in_the_reserve)
    with RunningServer(root) as serving:
        api = api_of(serving.url)
        assert api("GET", "/v2/").status == 200
        assert api("POST", "app/blobs/uploads/").status == 507
        full()
        assert api("POST", "app/blobs/uploads/").status == 202


def test_the_reserve_is_given_up_for_deleting(tmp_path, full):
    full()
    with closing(RegistryStore(str(tmp_path / "r"))) as store:
        held = []

        def delete():
            held.append(os.path.exists(f"{store.root}/reserve"))
            if held[-1]:
                raise DiskFull("full")
            return "deleted"

        assert store.freeing(delete) == "deleted"
        assert held == [True, False]
        assert os.path.exists(f"{store.root}/reserve")
