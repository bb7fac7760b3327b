"""Three layers, unpacked by umoci and by us: one and the same tree."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from treemaker import (
    CAPABILITY,
    DELETE,
    MIB,
    ROOT,
    SECOND,
    Item,
    directory,
    file,
    folder,
    hardlink,
    pack,
    seen,
    symlink,
    unpack,
    white,
)

from nacre.grammars.tar.entry import Entry

TIME = 1_700_000_000 * SECOND


def at(item: Item, second: int = 0) -> Item:
    return item[0]._replace(mtime_ns=TIME + second * SECOND), item[1]


def node(path: bytes, kind: str, **looks: Any) -> Item:
    return at((Entry(path, kind, **looks), b""))


PING = Entry(b"bin/ping", "file", 0o755, 7, 8, TIME, 1, xattrs=((b"security.capability", CAPABILITY),))
HOLES = Entry(b"holes", "file", 0o600, 0, 0, TIME, 4 * MIB, sparse=((MIB, 4096), (3 * MIB, 4096)))
LAYERS: list[list[Item]] = [
    [
        at(directory(b"")), at(directory(b"bin"), 1),
        file(b"bin/su", b"su", mode=0o4755, gid=5, mtime_ns=TIME + 123_456_789), (PING, b"x"),
        hardlink(b"bin/sudo", b"bin/su"), symlink(b"lib", b"usr/lib"),
        at(directory(b"dev")), node(b"dev/null", "char", mode=0o666, major=1, minor=3),
        node(b"dev/disk", "block", mode=0o660, gid=6, major=8, minor=17),
        node(b"dev/pipe", "fifo", mode=0o622),
        at(directory(b"etc", mode=0o750)), at(file(b"etc/old")), at(file(b"etc/keep")),
        at(directory(b"opt")), at(directory(b"opt/a")), at(file(b"opt/a/x")), at(file(b"opt/b")),
        at(directory(b"usr")), at(directory(b"usr/lib")), at(file(b"usr/lib/lib.so")),
        at(directory(b"tmp", mode=0o1777)), at(file(b"caf\xc3\xa9-\xff")), at(file(b"n" * 200)),
        (HOLES, b"x" * 8192),
    ],
    [
        white(b"etc/.wh.old"), at(directory(b"opt", mode=0o700), 5), white(b"opt/.wh..wh..opq"),
        at(file(b"opt/c")), at(file(b"lib/new.so")), white(b".wh.tmp"),
        node(b"usr", "dir", mode=0o755, uid=3, gid=4, xattrs=((b"user.note", b"two"),)),
    ],
    [
        at(directory(b"usr"), 9), at(directory(b"bin"), 7), white(b"bin/.wh.su"),
        at(file(b"etc/old", b"back")), at(directory(b"tmp")),
        at(file(b"opt/c", b"third", mode=0o600), 8), symlink(b"etc/keep", b"old"),
    ],
]  # fmt: skip


def layout(path: Path, layers: list[bytes]) -> None:
    """An OCI image layout with one image of plain layers."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    prefix = "application/vnd.oci.image."
    packed = [blob(data, prefix + "layer.v1.tar") for data in layers]
    diff_ids = [layer["digest"] for layer in packed]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2, "mediaType": prefix + "manifest.v1+json",
        "config": blob(json.dumps(config).encode(), prefix + "config.v1+json"), "layers": packed,
    }  # fmt: skip
    named = blob(json.dumps(manifest).encode(), manifest["mediaType"]) | {
        "annotations": {"org.opencontainers.image.ref.name": "x"}
    }
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def comparable(items: list[Item]) -> dict[bytes, Item]:
    """By path; whether a hole is kept is a matter of the program."""
    return {entry.path: (entry._replace(sparse=None), filled(entry, data)) for entry, data in items}


def filled(entry: Entry, data: bytes) -> bytes:
    if entry.sparse is None:
        return data
    out, at = bytearray(entry.size), 0
    for offset, length in entry.sparse:
        out[offset : offset + length] = data[at : at + length]
        at += length
    return bytes(out)


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_three_layers_are_what_umoci_makes_of_them(tmp_path: Path) -> None:
    if shutil.which("umoci") is None:
        pytest.skip("umoci is not installed")
    layout(tmp_path / "image", [pack(layer) for layer in LAYERS])
    command = ["umoci", "unpack", "--image", f"{tmp_path}/image:x", str(tmp_path / "bundle")]
    subprocess.run(command, check=True, capture_output=True)
    with folder(tmp_path) as (_path, fd):
        for layer in LAYERS:
            unpack(layer, fd, DELETE)
        ours = comparable(seen(fd, DELETE))
    rootfs = os.open(tmp_path / "bundle/rootfs", os.O_RDONLY | os.O_DIRECTORY)
    try:
        theirs = comparable(seen(rootfs, DELETE))
    finally:
        os.close(rootfs)
    assert list(ours) == list(theirs)
    for path in ours:
        assert ours[path] == theirs[path]
