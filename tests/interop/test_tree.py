"""A tree equals what `umoci unpack` makes of the same image, in everything that stat can tell."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.images.arrows.archive import load
from nacre.stores import Store
from nacre.words.mount import Overlay

from .layouts import Layer, write_layout

_CAPABILITY = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"


def _layers() -> list[bytes]:
    first = (
        Layer()
        .folder(".")
        .folder("etc", mode=0o750, uid=3, gid=4)
        .add("etc/passwd", data=b"root:x:0:0::/:/bin/sh\n")
    )
    first.folder("bin").add("bin/su", data=b"#!/bin/true\n", mode=0o4755, uid=0, gid=5)
    first.add("bin/twin", tarfile.LNKTYPE, linkname="bin/su").add(
        "bin/link", tarfile.SYMTYPE, linkname="../etc/passwd"
    )
    first.folder("gone").add("gone/a", data=b"a").folder("gone/deep").add("gone/deep/b", data=b"b")
    first.folder("opaque").add("opaque/old", data=b"old").folder("tmp", mode=0o1777)
    first.folder("turn").add("turn/inside", data=b"x").add("swap", data=b"file first")
    first.add(
        "big", data=os.urandom(200_000), mtime=1_600_000_000.5, pax_headers={"mtime": "1600000000.123456789"}
    )
    first.add("capable", data=b"c", pax_headers={"SCHILY.xattr.security.capability": _CAPABILITY})
    first.add(
        "noted",
        data=b"n",
        pax_headers={"SCHILY.xattr.user.note": "hello", "SCHILY.xattr.user.more": "x" * 300},
    )
    first.folder("dev").add("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    first.add("dev/loop", tarfile.BLKTYPE, devmajor=7, devminor=300).add("dev/pipe", tarfile.FIFOTYPE)
    first.add("long/" + "d" * 120 + "/" + "n" * 200, data=b"long")
    second = (
        Layer().add(".wh.gone").folder("opaque").add("opaque/.wh..wh..opq").add("opaque/new", data=b"new")
    )
    second.add("turn", data=b"now a file").folder("swap").add("swap/inside", data=b"now a folder")
    second.folder("etc", mode=0o700, uid=1000, gid=1000).add("etc/.wh.passwd").add(
        "etc/shadow", data=b"", mode=0
    )
    third = Layer().folder("gone").add("gone/again", data=b"again").add("bin/.wh.twin")
    third.add("opaque/.wh.new").add("big", data=b"small", uid=70_000, gid=80_000)
    return [first.bytes(), second.bytes(), third.bytes()]


def _facts(root: Path) -> dict[str, Any]:
    """Everything below `root`, by path; hard links by the set of names that share an inode."""
    facts: dict[str, Any] = {}
    groups: dict[tuple[int, int], list[str]] = {}
    for folder, folders, files in os.walk(root):
        for name in [".", *folders, *files]:
            if name == "." and folder != str(root):
                continue
            path = Path(folder, name)
            info = path.lstat()
            key = str(path.relative_to(root))
            groups.setdefault((info.st_dev, info.st_ino), []).append(key)
            facts[key] = _fact(path, info)
    for names in groups.values():
        if len(names) > 1:
            facts[min(names)]["names"] = sorted(names)
    return facts


def _fact(path: Path, info: os.stat_result) -> dict[str, Any]:
    kind = stat.S_IFMT(info.st_mode)
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    return {
        "mode": oct(info.st_mode), "owner": (info.st_uid, info.st_gid), "mtime": info.st_mtime_ns,
        "link": os.readlink(path) if kind == stat.S_IFLNK else "",
        "rdev": info.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
        "xattrs": {name: value for name, value in xattrs.items() if not name.startswith("trusted.overlay.")},
        "data": path.read_bytes() if kind == stat.S_IFREG else b"",
    }  # fmt: skip


@pytest.fixture(params=["overlay", "erofs"])
def driven(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store with one driver after the other."""
    if os.geteuid():
        pytest.skip("needs root")
    with Store.open(str(tmp_path / "store"), driver=request.param) as opened:
        if ", but " in opened.driver.why:
            pytest.skip(opened.driver.why)
        yield opened


def test_tree_equals_umoci_unpack(tmp_path: Path, driven: Store, peer: Any) -> None:
    peer("umoci", "unshare", "tar")
    layout = tmp_path / "layout"
    write_layout(layout, _layers())
    bundle = tmp_path / "bundle"
    subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:test", str(bundle)], check=True, capture_output=True
    )
    archive = subprocess.run(["tar", "-C", str(layout), "-c", "."], check=True, capture_output=True).stdout
    [loaded] = load(driven, io.BytesIO(archive))
    ours = tmp_path / "ours"
    ours.mkdir()
    mount = loaded.image.view()
    assert isinstance(mount, Overlay)
    facts = _mounted_facts(mount, ours)
    theirs = _facts(bundle / "rootfs")
    for path in facts:
        if path == "." or path.startswith("long"):  # described by no layer above, or by none: umoci says now
            facts[path].pop("mtime")
            theirs[path].pop("mtime")
    assert facts.keys() == theirs.keys()
    differences = {key: (facts[key], theirs[key]) for key in facts if facts[key] != theirs[key]}
    assert not differences


def _mounted_facts(mount: Overlay, target: Path) -> dict[str, Any]:
    """The facts of `mount`, gathered in a child with a mount namespace of its own."""
    from nacre.ground import linux
    from nacre.ground.mounts import attach

    def gather() -> dict[str, Any]:
        linux.unshare(linux.CLONE_NEWNS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        attach(mount, str(target))
        return _facts(target)

    return _in_child(gather)


def _in_child(function: Any) -> Any:
    import pickle

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as stream:
            try:
                pickle.dump(function(), stream)
            except BaseException as error:
                pickle.dump(repr(error), stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        result = pickle.load(stream)
    os.waitpid(pid, 0)
    if isinstance(result, str):
        pytest.fail(result)
    return result
