"""`nacre manifest` as docker's: flags, words, and the very same lists."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from copykit import Image, put_index

from nacre import Engine, open_store
from nacre.images.places.layout import LayoutFolder
from nacre.services.client import Client
from nacre.words.errors import Conflict, NacreError, NotFound, Unsupported, UsageError
from nacre.words.reference import Reference


@pytest.fixture
def pushed(client: Client, registry: str) -> dict[str, Image]:
    """Images `registry/one:amd64` and `registry/two:arm64`."""
    images = {"one:amd64": Image("a"), "two:arm64": Image("b", architecture="arm64")}
    for name, image in images.items():
        reference = Reference.parse(f"{registry}/{name}")
        image.put(client.repository(reference), reference.tag)
    return images


@pytest.fixture
def docker(tmp_path: Path) -> Callable[..., Any]:
    """docker's command line; these commands need no daemon."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    env = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker-config")}

    def call(*words: str) -> str:
        done = subprocess.run(
            ["docker", "manifest", *words], capture_output=True, text=True, env=env, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_the_same_list_as_docker_makes(
    nacre: Any, registry: str, pushed: dict[str, Image], docker: Callable[..., Any]
) -> None:
    said = {}
    for tool, name in ((lambda *w: nacre("manifest", *w).out, "ours"), (docker, "theirs")):
        target = f"{registry}/{name}:1"
        lines = [tool("create", "--insecure", target, f"{registry}/two:arm64", f"{registry}/one:amd64")]
        lines += [tool("annotate", target, f"{registry}/two:arm64", "--variant", "v8", "--os-version", "10.1",
                       "--os-features", "win32k,more")]  # fmt: skip
        lines += [tool("inspect", target), tool("inspect", target, f"{registry}/one:amd64")]
        lines += [tool("inspect", "-v", target), tool("push", "--insecure", "-p", target)]
        lines += [tool("inspect", "--insecure", target)]
        lines += [tool("inspect", "--insecure", "-v", f"{registry}/one:amd64")]
        said[name] = [line.replace(f"/{name}", "/NAME") for line in lines]
    assert said["ours"] == said["theirs"]
    assert said["ours"][5].splitlines()[-1].startswith("sha256:")


def test_the_registry_gives_each_platform(nacre: Any, registry: str, pushed: dict[str, Image]) -> None:
    target = f"{registry}/both:1"
    made = nacre("manifest", "create", target, f"{registry}/one:amd64", f"{registry}/two:arm64")
    assert made.out == f"Created manifest list {target}\n"
    nacre("manifest", "push", target)
    for architecture in ("amd64", "arm64"):
        done = nacre("copy", "-q", "--platform", f"linux/{architecture}", target, f"oci:lay:{architecture}")
        wanted = next(image for name, image in pushed.items() if architecture in name)
        assert done.out.strip() == wanted.descriptor.digest


def test_images_of_the_store_and_of_folders(
    nacre: Any, registry: str, busybox_image: str, tmp_path: Path
) -> None:
    folder = LayoutFolder(str(tmp_path / "lay"))
    Image("far", architecture="s390x").put(folder, "far")
    folder.close()
    target = f"{registry}/mixed:1"
    nacre("manifest", "create", target, busybox_image, "oci:lay:far")
    nacre("manifest", "annotate", target, busybox_image, "--os-version", "7")
    nacre("manifest", "push", "--purge", target)
    found = nacre("manifest", "inspect", target).json
    assert {entry["platform"]["architecture"] for entry in found["manifests"]} >= {"s390x"}
    assert "7" in [entry["platform"].get("os.version") for entry in found["manifests"]]
    nacre("rmi", busybox_image)
    nacre("pull", target)
    assert nacre("run", "--rm", target, "echo", "here").out == "here\n"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_store(str(tmp_path / "store")) as opened:
        yield opened


def test_amending(engine: Engine, registry: str, pushed: dict[str, Image]) -> None:
    target, one, two = f"{registry}/l:1", f"{registry}/one:amd64", f"{registry}/two:arm64"
    engine.manifest_create(target, [one])
    with pytest.raises(Conflict, match="no --amend flag"):
        engine.manifest_create(target, [two])
    for _ in range(2):
        engine.manifest_create(target, [two], amend=True)
        assert [entry.ref for entry in engine.manifest_inspect(target)] == [one, two]
    engine.manifest_remove(target)
    with pytest.raises(NotFound, match=f"No such manifest: {target}"):
        engine.manifest_remove(target)


def test_what_cannot_be(engine: Engine, registry: str, pushed: dict[str, Image], client: Client) -> None:
    put_index(client.repository(Reference.parse(f"{registry}/list")), "1", Image("x"))
    target, one, two = f"{registry}/l:1", f"{registry}/one:amd64", f"{registry}/two:arm64"
    engine.manifest_create(target, [one])
    with pytest.raises(Unsupported, match=f"{registry}/list:1 is a manifest list"):
        engine.manifest_create(f"{registry}/m:1", [f"{registry}/list:1"])
    with pytest.raises(NotFound, match="not found"):
        engine.manifest_create(f"{registry}/m:1", [f"{registry}/absent:1"])
    with pytest.raises(NotFound, match="does not exist in"):
        engine.manifest_annotate(target, two, architecture="arm64")
    with pytest.raises(UsageError, match="unsupported os/arch combination: linux/foo"):
        engine.manifest_annotate(target, one, architecture="foo")
    for work in (engine.manifest_push, engine.manifest_inspect):
        with pytest.raises(NotFound, match="No such manifest: docker"):
            work("never:1")


def test_what_it_says_when_there_is_none(nacre: Any, registry: str, pushed: dict[str, Image]) -> None:
    target = f"{registry}/l:1"
    nacre("manifest", "create", target, f"{registry}/one:amd64")
    absent, other = f"{registry}/absent:1", f"{registry}/two:arm64"
    for words, said in [([absent], absent), ([target, other], other)]:
        done = nacre("manifest", "inspect", *words, check=False)
        assert (done.code, f"no such manifest: {said}" in done.err) == (1, True), done
    done = nacre("manifest", "rm", "never:1", target, check=False)
    assert (done.code, done.out, "No such manifest: docker.io/library/never:1" in done.err) == (1, "", True)


def test_an_index_of_a_registry_in_detail(
    nacre: Any, registry: str, client: Client, docker: Callable[..., Any]
) -> None:
    images = [Image(one, architecture=one) for one in ("amd64", "arm64")]
    put_index(client.repository(Reference.parse(f"{registry}/list")), "1", *images)
    name = f"{registry}/list:1"
    assert json.loads(docker("inspect", "--insecure", name)) == nacre("manifest", "inspect", name).json
    ours, theirs = (
        nacre("manifest", "inspect", "-v", name).json,
        json.loads(docker("inspect", "--insecure", "-v", name)),
    )
    assert ours == theirs


def test_a_damaged_list(engine: Engine, registry: str, pushed: dict[str, Image], tmp_path: Path) -> None:
    target = f"{registry}/l:1"
    engine.manifest_create(target, [f"{registry}/one:amd64"])
    [path] = (tmp_path / "store" / "manifests").glob("*.json")
    for damage in (b"", b"[]", b'{"entries": 5}', b'{"entries": [{}]}'):
        path.write_bytes(damage)
        with pytest.raises(NacreError):
            engine.manifest_inspect(target)
