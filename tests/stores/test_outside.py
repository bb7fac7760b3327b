"""What an ordinary user's own process reads in a store: the same as one inside the user namespace."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

import nacre
from nacre.ground import userns
from nacre.images.model.image import Image, find


def rootfs(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name, mode, uid in (("srv", 0o755, 0), ("srv/db", 0o700, 33), ("srv/db/in", 0o755, 33)):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, mode, uid, uid + 1
            tar.addfile(member)
        for name in ("srv/secret", "srv/db/in/row"):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid = 3, 0o600, 33, 34
            member.pax_headers = {"SCHILY.xattr.user.kind": "note"}
            tar.addfile(member, io.BytesIO(b"abc"))


def told(image: Image) -> list[tuple[object, ...]]:
    found = [(e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.xattrs) for e in image.walk("/srv")]
    return [*found, (image.read("/srv/secret"), image.read("/srv/db/in/row"), image.stat("/srv/db/in").uid)]


def test_outside_of_the_namespace_it_looks_the_same(tmp_path: Path) -> None:
    rootfs(tmp_path / "rootfs.tar")
    try:
        engine = nacre.open_store(str(tmp_path / "store"), driver="overlay")
    except nacre.NacreError as error:
        pytest.skip(f"no user namespace here: {error}")
    with engine:
        image = engine.import_tar(str(tmp_path / "rootfs.tar"), "owned:1")
        outside = told(image)
        assert outside == engine.inside(lambda store: told(find(store, "owned:1")))
        rows = {row[0]: row[3:5] for row in outside[:-1]}
        assert rows == {b"srv": (0, 1), b"srv/db": (33, 34), b"srv/db/in": (33, 34),
                        b"srv/db/in/row": (33, 34), b"srv/secret": (33, 34)}  # fmt: skip
        assert outside[-1] == (b"abc", b"abc", 33)


def test_ids_are_mapped_back() -> None:
    ranges = ((0, 1001, 1), (1, 100000, 65536))
    assert [userns.inside(ranges, number) for number in (1001, 100000, 100032, 0, 165536)] == [
        0, 1, 33, 65534, 65534
    ]  # fmt: skip


@pytest.mark.skipif(userns.mapped(), reason="an ordinary user's case")
def test_errors_of_the_child_come_back() -> None:
    with pytest.raises(FileNotFoundError):
        userns.opened(lambda: os.open("/nothing/here", os.O_RDONLY))
