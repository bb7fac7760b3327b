"""Cache mounts go from one machine to another, in chunks: a small change moves little."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.grammars.mountcache import CHUNK, MountChunk, decode, encode
from nacre.images.arrows.mountcache import MountExport, fill, load_mounts
from nacre.images.places.layout import LayoutFolder
from nacre.images.places.place import ANY
from nacre.words.digest import Digest
from nacre.words.errors import InvalidDocument, NacreError, Unsupported
from nacre.words.oci import Descriptor, Manifest

pytest.importorskip("pyfastcdc")
NAME = "a" * 32


def chunk(text: bytes) -> MountChunk:
    return MountChunk(Digest.of(text), len(text), Descriptor.of(text[:1], CHUNK))


def test_the_list_is_read_as_it_was_written() -> None:
    mounts = {NAME: (chunk(b"aa"), chunk(b"b"), chunk(b"aa")), "b" * 32: (chunk(b"aa"),)}
    assert decode(*encode(mounts)) == mounts


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": []},
        {"chunks": [{"raw": "x", "size": 1}]},
        {"chunks": [{"raw": str(Digest.of(b"")), "size": 1 << 30}]},
        {"chunks": [7]},
        {"mounts": [{"name": NAME, "chunks": [1]}]},
        {"mounts": [{"name": NAME, "chunks": [-1]}]},
        {"mounts": [{"name": "../../../etc/cron.d/xxxxxxxxxxx", "chunks": [0]}]},
        {"mounts": [{"name": NAME, "chunks": [0] * 70_000}]},
        {"mounts": [NAME]},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_list_that_makes_no_sense(change: dict[str, Any]) -> None:
    manifest, config = encode({NAME: (chunk(b"aa"),)})
    with pytest.raises(InvalidDocument):
        decode(manifest, json.dumps({**json.loads(config), **change}).encode())


def test_something_else() -> None:
    manifest, config = encode({})
    assert isinstance(manifest, Manifest)
    with pytest.raises(Unsupported):
        decode(manifest.replace(config=Descriptor.of(config, "a/b")), config)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[LayoutFolder]:
    folder = LayoutFolder(str(tmp_path / "layout"), "mounts")
    yield folder
    folder.close()


def send(layout: LayoutFolder, folder: Path, kept: Any = None) -> int:
    export = MountExport(layout, kept or {}, owners=False)
    assert export.add(NAME, str(folder))
    export.close("mounts")
    return export.sent


def test_a_small_change_moves_little(layout: LayoutFolder, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    for number in range(30):
        (mount / f"file{number}").write_bytes(os.urandom(500_000))
    (mount / ".wh.odd").write_text("a name like any other")
    (mount / "link").symlink_to("file1")
    os.link(mount / "file1", mount / "other")
    assert send(layout, mount) > 15_000_000
    (mount / "file15x").write_bytes(os.urandom(1000))
    assert send(layout, mount, load_mounts(layout, ANY)) < 4_200_000
    assert send(layout, mount, load_mounts(layout, ANY)) == 0
    back = tmp_path / "back"
    back.mkdir()
    fill(layout, load_mounts(layout, ANY)[NAME], str(back), owners=False)
    assert sorted(os.listdir(back)) == sorted(os.listdir(mount))
    assert (back / "file15x").read_bytes() == (mount / "file15x").read_bytes()
    assert os.path.samefile(back / "file1", back / "other")


def test_a_chunk_that_is_another(layout: LayoutFolder, tmp_path: Path) -> None:
    """Also one that is a thousand times as long as it says."""
    from zstandard import ZstdCompressor

    for text in (b"other", bytes(50_000_000)):
        packed = ZstdCompressor().compress(text)
        blob = Descriptor.of(packed, CHUNK)
        layout.put(blob, lambda data=packed: io.BytesIO(data))
        with pytest.raises(NacreError, match="chunk of a cache mount"):
            fill(layout, [MountChunk(Digest.of(b"right"), 5, blob)], str(tmp_path), owners=False)


FILE = "FROM busybox:test\nRUN --mount=type=cache,target=/c cat /c/* > /seen; echo {0} > /c/{0}\n"


def test_from_machine_to_machine(project: Any, another: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    both = (f"type=local,src={cache},mounts=true", f"type=local,dest={cache},mounts=true")
    words = ("--cache-from", both[0], "--cache-to", both[1])
    first = project.build(FILE.format("one"), *words).err
    assert "writing 1 cache mounts" in first
    assert "on other layers" not in first
    saved = tmp_path / "base.tar"
    project.nacre("save", "-o", str(saved), "busybox:test")
    far = another("far")
    far("load", "-i", str(saved))
    project.write("Dockerfile", FILE.format("two"))
    found = far("build", "-t", "app", *words, str(project.folder))
    assert "begins as it is in" in found.err
    assert far("run", "--rm", "app", "cat", "/seen").out == "one\n"
    for blob in (cache / "blobs" / "sha256").iterdir():
        if blob.read_bytes()[:1] != b"{":
            blob.unlink()
    third = another("third")
    third("load", "-i", str(saved))
    project.write("Dockerfile", FILE.format("three"))
    assert "begins empty" in third("build", "-t", "app", "--cache-from", both[0], str(project.folder)).err
