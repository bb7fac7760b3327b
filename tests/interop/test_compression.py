"""What other tools read of the layers that a push compresses, and a real reader of tables of contents."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from .conftest import Peer, require

only_docker = pytest.mark.parametrize("registry", ["docker"], indirect=True)
"""One registry is enough to bring blobs to the tools."""


def layer(path: Path) -> Path:
    """A tar with what tables have to describe: names, modes, links, times, pieces."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (
            ("./a", b"small"),
            ("./big", os.urandom(1_500_000)),
            ("./empty", b""),
            ("./é", b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), 1_700_000_000.5, 0o640
            tar.addfile(info, io.BytesIO(data))
        for name, kind, link in (("./l", tarfile.SYMTYPE, "a"), ("./h", tarfile.LNKTYPE, "./a")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
        info = tarfile.TarInfo("./dir/" + "long" * 40)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    return path


@only_docker
@pytest.mark.parametrize("codec", ["gzip", "zstd", "zstd:chunked", "none"])
def test_skopeo_reads_every_compression(
    nacre: Any, registry: str, tmp_path: Path, skopeo: Peer, codec: str
) -> None:
    name = f"{registry}/packed:1"
    tar = layer(tmp_path / "layer.tar")
    nacre("import", str(tar), name)
    nacre("push", "--compression", codec, name)
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_bytes())
    blob = tmp_path / "copy" / manifest["layers"][0]["digest"].partition(":")[2]
    config = json.loads((tmp_path / "copy" / manifest["config"]["digest"].partition(":")[2]).read_bytes())
    diff_id = "sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest()
    assert config["rootfs"]["diff_ids"] == [diff_id]
    if codec in ("gzip", "zstd", "zstd:chunked"):
        program = "gzip" if codec == "gzip" else "zstd"
        require(program)
        plain = subprocess.run([program, "-dc", blob], capture_output=True, check=True).stdout
        assert "sha256:" + hashlib.sha256(plain).hexdigest() == diff_id


@only_docker
@pytest.mark.parametrize("codec", ["gzip", "zstd:chunked"])
def test_podman_takes_what_was_compressed(
    nacre: Any, registry: str, tmp_path: Path, podman: Peer, codec: str
) -> None:
    name = f"{registry}/podman-{codec.replace(':', '-')}:1"
    tar = layer(tmp_path / "layer.tar")
    nacre("import", str(tar), name)
    nacre("push", "--compression", codec, "--force-compression", name)
    podman("pull", "--tls-verify=false", name)
    [seen] = podman.json("image", "inspect", name)  # type: ignore[misc]
    assert seen["RootFS"]["Layers"] == ["sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest()]


@only_docker
def test_docker_takes_blocks_of_gzip(nacre: Any, registry: str, tmp_path: Path, docker: Peer) -> None:
    name = f"{registry}/docker:1"
    tar = layer(tmp_path / "layer.tar")
    nacre("import", str(tar), name)
    nacre("push", "--compression", "gzip", "--compression-level", "1", name)
    docker("pull", name)
    [seen] = docker.json("image", "inspect", name)  # type: ignore[misc]
    assert seen["RootFS"]["Layers"] == ["sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest()]
