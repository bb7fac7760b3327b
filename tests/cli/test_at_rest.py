"""One copy at rest through the real command line and real registries."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tarkit import tar_of

from nacre.ground import userns


class Erofs:
    """The command line with trees that give their tar."""

    def __init__(self, nacre: Any, root: Path) -> None:
        self.nacre, self.root = nacre, root

    def __call__(self, *words: str, **options: Any) -> Any:
        self.nacre.root = self.root
        return self.nacre("--storage-driver", "erofs", *words, **options)

    def blobs(self) -> int:
        """How many blobs are layers: gzip."""
        folder = self.root / "blobs" / "sha256"
        return sum(path.read_bytes()[:2] == b"\x1f\x8b" for path in folder.iterdir())


@pytest.fixture
def erofs(nacre: Any, tmp_path: Path) -> Erofs:
    if not userns.mapped():
        pytest.skip("needs root that may mount")
    made = Erofs(nacre, tmp_path / "one")
    if ", but " in made("info", "--format", "{{.DriverReason}}").out:
        pytest.skip("EROFS cannot be mounted here")
    return made


def test_build_push_pull_and_on(erofs: Erofs, registry: str, tmp_path: Path) -> None:
    data = os.urandom(6_000_000)
    erofs("import", "-", f"{registry}/app:1", input=tar_of(noise=data, text=b"text" * 500_000))
    assert erofs.blobs() == 0
    pushed = erofs("push", f"{registry}/app:1")
    assert "Sent" in pushed.err
    two = Erofs(erofs.nacre, tmp_path / "two")
    two("--layer-blobs", "drop", "pull", f"{registry}/app:1")
    assert two.blobs() == 0
    assert "Fetched" not in two("--layer-blobs", "drop", "pull", f"{registry}/app:1").err
    two("tag", f"{registry}/app:1", f"{registry}/copy:1")
    assert "mounted" in two("push", f"{registry}/copy:1").err
    digest = two("inspect", "--format", "{{index .RepoDigests 0}}", f"{registry}/app:1").out.strip()
    two("save", "-o", "saved.tar", f"{registry}/app:1")
    with tarfile.open(tmp_path / "saved.tar") as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        assert json.load(index)["manifests"][0]["digest"] == digest.partition("@")[2]
    three = Erofs(erofs.nacre, tmp_path / "three")
    three("load", "-i", "saved.tar")
    assert two("system", "check").out.endswith("No problems found\n")
    assert erofs("system", "check").out.endswith("No problems found\n")


@pytest.mark.parametrize("registry", ["nacre"], indirect=True)
def test_from_one_registry_to_another(erofs: Erofs, registry: str, tmp_path: Path) -> None:
    erofs("import", "-", f"{registry}/app:1", input=tar_of(noise=os.urandom(6_000_000)))
    erofs("push", f"{registry}/app:1")
    two = Erofs(erofs.nacre, tmp_path / "two")
    two("pull", f"{registry}/app:1", NACRE_LAYER_BLOBS="drop")
    assert two.blobs() == 0
    words = ("registry", "serve", "--quiet", "--addr", "127.0.0.1:0", "--root", str(tmp_path / "other"))
    process = erofs.nacre.start(*words, stderr=None)
    try:
        address = process.stdout.readline().decode().split("http://")[1].split("/")[0]
        two("tag", f"{registry}/app:1", f"{address}/app:1")
        assert "Sent 6" in two("push", f"{address}/app:1").err
        assert two.blobs() == 0
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize("registry", ["nacre"], indirect=True)
def test_a_layer_of_another_version_is_refused_with_a_sentence(erofs: Erofs, registry: str) -> None:
    erofs("import", "-", f"{registry}/app:1", input=tar_of(text=b"text " * 2_000_000))
    with sqlite3.connect(erofs.root / "nacre.db") as connection:
        connection.execute("UPDATE layer SET recipe = 'gzip/isa-l-0.0/0/1048576'")
    connection.close()
    refused = erofs("push", f"{registry}/app:1", check=False)
    assert refused.code == 1
    assert "cannot be reproduced bit for bit" in refused.err
    assert "hint: `nacre save IMAGE | nacre load`" in refused.err
    assert erofs("pull", f"{registry}/app:1", check=False).code == 1  # no manifest came
    erofs("save", "-o", "saved.tar", f"{registry}/app:1")
    erofs("load", "-i", "saved.tar")
    erofs("push", f"{registry}/app:1")


def test_check_says_what_and_ends_with_1(erofs: Erofs) -> None:
    erofs("import", "-", "app:1", input=tar_of(noise=os.urandom(50_000)))
    (tree,) = (path for path in (erofs.root / "trees").iterdir() if path.name != ".empty")
    (tree / "layer.tar").chmod(0o600)
    with (tree / "layer.tar").open("r+b") as file:
        file.seek(2000)
        file.write(b"x" * 10)
    said = erofs("system", "check", check=False)
    assert said.code == 1
    assert f"tree sha256:{tree.name} (of docker.io/library/app:1): its tar has digest" in said.out
    assert said.err.endswith("hint: nacre system check --repair\n")
    document = json.loads(erofs("system", "check", "--repair", "--format", "json", check=False).out)
    assert document["Wrong"] == 1
    assert document["Findings"][0]["Images"] == ["docker.io/library/app:1"]


def test_df_one_by_one(erofs: Erofs) -> None:
    erofs("import", "-", "app:1", input=tar_of(noise=os.urandom(50_000)))
    text = erofs("system", "df", "-v").out
    assert "COMPRESSED" in text
    document = json.loads(erofs("system", "df", "-v", "--format", "json").out)
    (layer,) = document["Layers"]
    assert layer["Compressed"] == 0
    assert layer["Stored"] > 50_000
    assert document["Total"] == sum(kind["Size"] for kind in document["Types"]) + document["Other"]
    assert len(erofs("system", "df", "--format", "json").lines) == 5
    assert "LayerBlobs" in erofs("info", "--format", "json").out
    assert erofs("--layer-blobs", "some", "images", check=False).code == 125
