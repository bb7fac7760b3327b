"""Containers whose reads are recorded, and what becomes of that beside the image in its registry."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
from machine import needs_root

from nacre import Config, Engine
from nacre.grammars.accessprofile import AccessProfile
from nacre.grammars.sideindex import ARTIFACT
from nacre.grammars.tar.read import read_tar
from nacre.ground import userns
from nacre.images.arrows.sideindexes import attached
from nacre.images.layers.receive import fetch_small
from nacre.words.digest import Digest
from nacre.words.reference import Reference

FILES = {f"data/f{number:02}": random.Random(number).randbytes(1 << 18) for number in range(6)}


def tar_of(files: dict[str, bytes], before: bytes = b"") -> bytes:
    out = io.BytesIO(before)  # before the two blocks of zeros at its end
    with tarfile.open(fileobj=out, mode="a" if before else "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def image(nacre: Any, busybox_tar: bytes) -> str:
    """busybox, and data behind it."""
    needs_root()
    nacre.env["NACRE_LAYER_BLOBS"] = "auto"
    lazy = json.loads(nacre("info", "--format", "json").out)["Lazy"]
    if lazy != "yes":
        pytest.skip(lazy)
    nacre("import", "--change", "ENV PATH=/bin", "-", "app:1", input=tar_of(FILES, busybox_tar))
    return "app:1"


def recorded(nacre: Any, *words: str) -> AccessProfile:
    path = Path(nacre.root).parent / "profile.json"
    nacre("optimize", "-o", str(path), "--network", "none", *words)
    return AccessProfile.parse(path.read_bytes())


def read_of(nacre: Any, profile: AccessProfile, layer: Digest) -> dict[str, int]:
    """How many bytes of the content of each file of a layer were read."""
    place = profile.layers.index(layer)
    spans = [(at, at + length) for number, at, length in profile.reads if number == place]
    found = {}
    with Engine(Config(nacre.root)) as engine, engine.store.trees.tar(layer) as tar:
        for entry, _ in read_tar(tar):
            start, end = entry.offset, entry.offset + entry.size
            count = sum(max(0, min(end, high) - max(start, low)) for low, high in spans)
            found[entry.path.decode()] = count
    return found


def layers_of(nacre: Any, image: str) -> list[Digest]:
    return [*map(Digest, json.loads(nacre("inspect", "-f", "{{json .RootFS.Layers}}", image).out))]


def test_what_is_read_is_recorded_and_nothing_else(nacre: Any, image: str) -> None:
    profile = recorded(nacre, image, "--", "cat", "/data/f01", "/data/f04")
    read = read_of(nacre, profile, *layers_of(nacre, image))
    assert read["data/f01"] == read["data/f04"] == 1 << 18
    assert max(read["data/f03"], read["data/f05"]) < 1 << 13  # the rest of a page
    assert read["bin/busybox"] > 0
    again = recorded(nacre, image, "cat", "/data/f04", "/data/f01")
    assert {*profile.reads} != {*again.reads} or profile.reads != again.reads


def test_another_container_with_the_same_files_is_no_matter(nacre: Any, image: str) -> None:
    nacre("run", "-d", "--name", "other", image, "sh", "-c", "cat /data/f02 >/dev/null; sleep 60")
    try:
        profile = recorded(nacre, image, "cat", "/data/f02")
    finally:
        nacre("rm", "-f", "other")
    assert read_of(nacre, profile, *layers_of(nacre, image))["data/f02"] == 1 << 18


def test_content_that_another_layer_has_is_of_the_one_that_shows_it(nacre: Any, image: str) -> None:
    folder = nacre.folder / "context"
    (folder / "copy").mkdir(parents=True)
    (folder / "copy" / "same").write_bytes(FILES["data/f03"])
    (folder / "Dockerfile").write_text(f"FROM {image}\nCOPY copy /copy\n")
    nacre("build", "-q", "-t", "app:2", str(folder))
    low, top = layers_of(nacre, "app:2")
    assert (nacre.root / "trees" / top.hex / "cuts").exists()
    profile = recorded(nacre, "app:2", "cat", "/copy/same")
    assert read_of(nacre, profile, top)["copy/same"] == 1 << 18
    assert read_of(nacre, profile, low)["data/f03"] < 1 << 13


def test_a_service_is_stopped_when_its_time_is_over(nacre: Any, image: str) -> None:
    service = "trap 'exit 0' TERM; cat /data/f05 >/dev/null; sleep 600 & wait"
    for seconds in ("300ms", "5s", "30s"):  # until it is enough for all that it reads
        profile = recorded(nacre, "--for", seconds, image, "sh", "-c", service)
        if (read := read_of(nacre, profile, *layers_of(nacre, image))["data/f05"]) == 1 << 18:
            break
    assert read == 1 << 18
    assert nacre("ps", "-aq").out == ""


def test_a_command_that_fails_leaves_nothing(nacre: Any, image: str) -> None:
    done = nacre("optimize", "-o", "profile.json", image, "sh", "-c", "exit 3", check=False)
    assert (done.code, (nacre.folder / "profile.json").exists()) == (3, False)
    assert "The command ended with exit code 3: nothing is kept of what it read" in done.err
    missing = nacre("optimize", "nosuch:1", check=False)
    assert (missing.code, "nosuch:1" in missing.err) == (1, True)


def test_it_is_pushed_beside_the_image(nacre: Any, image: str, registry: str) -> None:
    name = f"{registry}/team/app:1"
    nacre("tag", image, name)
    assert f"send the image first with: nacre push {name}" in nacre("optimize", name, "true", check=False).err
    nacre("push", "-q", "--compression", "zstd:chunked", name)
    with Engine(Config(nacre.root)) as engine:
        source = engine.client.repository(Reference.parse(name))
        before = source.resolve(Reference.parse(name))[0]
        nacre.env["SOURCE_DATE_EPOCH"] = "1000000000"
        said = nacre("optimize", "--network", "none", name, "cat", "/data/f01").out.strip()
        assert source.resolve(Reference.parse(name))[0] == before
        (entry,) = source.referrers(before.digest, ARTIFACT)
        assert said == str(entry.digest)
        (blob,) = attached(source, Reference.parse(name), before.digest)
        profile = AccessProfile.parse(fetch_small(source, blob, "profile"))
    assert read_of(nacre, profile, *layers_of(nacre, image))["data/f01"] == 1 << 18


def test_another_image_in_the_registry_gets_none(nacre: Any, image: str, registry: str) -> None:
    name = f"{registry}/team/app:1"
    nacre("import", "--change", "ENV PATH=/bin", "-", name, input=tar_of({"other": b"image"}))
    nacre("push", "-q", name)
    nacre("tag", image, name)
    done = nacre("optimize", "--network", "none", name, "true", check=False)
    assert (done.code, f"{name} is another image than the one here" in done.err) == (1, True)


def test_an_ordinary_user_is_told_what_it_takes(nacre: Any, busybox_image: str) -> None:
    why = "the storage driver is plain, not erofs"
    if not userns.mapped():
        why = "only root of the first user namespace can have reads wait"
        done = nacre("optimize", "-o", "-", busybox_image, "true", check=False)
        assert f"what a container reads cannot be recorded: {why}" in done.err
        assert "it takes root, Linux 6.14 or newer, and the storage driver erofs" in done.err
    done = nacre("--storage-driver", "plain", "optimize", "-o", "-", busybox_image, "true", check=False)
    assert f"cannot be recorded: {why}" in done.err
