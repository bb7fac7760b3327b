"""`nacre pull` and `nacre push` as processes, against our registry and docker's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakeregistry import FakeRegistry

from nacre import open_store

Nacre = Any


@pytest.fixture
def empty(nacre: Nacre) -> Any:
    """The same command line with a second, empty store (inside the first, which removes it in the end)."""

    def run(*words: str, **options: Any) -> Any:
        return nacre("--root", str(nacre.root / "second"), *words, **options)

    return run


def test_push_and_pull(nacre: Nacre, empty: Any, busybox_image: str, registry: str) -> None:
    name = f"{registry}/team/app"
    nacre("tag", busybox_image, f"{name}:1")
    first = nacre("push", f"{name}:1")
    assert re.fullmatch(r"1: digest: (sha256:[0-9a-f]{64}) size: \d+\n", first.out)
    digest = first.out.split()[2]
    assert f"The push refers to repository [{name}]" in first.err
    assert first.err.count(": Pushed") == 1

    again = nacre("push", f"{name}:1")
    assert again.out == first.out
    assert "Layer already exists" in again.err
    assert "Sent 0B" in again.err

    nacre("tag", busybox_image, f"{registry}/other:1")
    assert "Mounted from team/app" in nacre("push", f"{registry}/other:1").err

    pulled = empty("pull", f"{name}:1")
    assert pulled.out.splitlines() == [
        f"Digest: {digest}", f"Status: Downloaded newer image for {name}:1", f"{name}:1"
    ]  # fmt: skip
    assert "1: Pulling from team/app" in pulled.err
    assert "Pull complete" in pulled.err
    second = empty("pull", f"{name}:1")
    assert f"Status: Image is up to date for {name}:1" in second.out
    assert empty("pull", "-q", f"{name}@{digest}").out == f"{name}@{digest}\n"
    other = empty("pull", f"{registry}/other:1")
    assert "Fetched 0B" in other.err


def test_all_tags(nacre: Nacre, empty: Any, busybox_image: str, registry: str) -> None:
    for tag in ("a", "b"):
        nacre("tag", busybox_image, f"{registry}/app:{tag}")
    assert [line.partition(":")[0] for line in nacre("push", "-a", f"{registry}/app").lines] == ["a", "b"]
    assert empty("pull", "-q", "-a", f"{registry}/app").out == f"{registry}/app\n"
    names = {
        (row["Repository"], row["Tag"]) for row in map(json.loads, empty("images", "--format", "json").lines)
    }
    assert {(f"{registry}/app", "a"), (f"{registry}/app", "b")} <= names


def test_all_tags_of_which_one_is_no_image(
    nacre: Nacre, empty: Any, fake: FakeRegistry, busybox_image: str
) -> None:
    """Several at a time, told of in their order; what came stays when another fails."""
    tags = [f"t{number:02}" for number in range(5)]
    for tag in tags:
        nacre("tag", busybox_image, f"{fake.host}/app:{tag}")
    nacre("push", "-q", "-a", f"{fake.host}/app")
    said = empty("pull", "-a", f"{fake.host}/app")
    assert [line.rpartition(":")[2] for line in said.lines if line.startswith("Status: ")] == tags
    blobs = [path for method, path, _ in fake.requests if method == "GET" and "/blobs/" in path]
    assert len(blobs) == len(set(blobs))
    events = map(json.loads, empty("pull", "-a", "--progress", "json", f"{fake.host}/app").lines)
    told = {event["aux"]["Name"] for event in events if "aux" in event}
    assert told == {f"{fake.host}/app:{tag}" for tag in tags}
    fake.add_manifest(
        "app", "t03", b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json"
    )
    failed = empty("pull", "-a", f"{fake.host}/app", check=False)
    assert failed.code == 1
    assert "schema 1" in failed.err
    assert "Status: Image is up to date" in failed.out


def test_one_sentence(nacre: Nacre, busybox_image: str, registry: str) -> None:
    nacre("tag", busybox_image, f"{registry}/app:1")
    nacre("push", "-q", f"{registry}/app:1")
    for words in (
        ("pull", f"{registry}/app:2"),
        ("pull", f"{registry}/nothing"),
        ("pull", f"{registry}/app@sha256:{'0' * 64}"),
        ("pull", "--platform", "linux/never", f"{registry}/APP:1"),
        ("push", f"{registry}/app:2"),
        ("push", "-a", f"{registry}/nothing"),
        ("pull", "127.0.0.1:1/app"),
        ("pull", "registry.invalid/app"),
    ):
        done = nacre(*words, check=False)
        assert done.code == 1, done
        said = [line for line in done.err.splitlines() if line.startswith("nacre: ")]
        assert len(said) == 1, done
        assert "Traceback" not in done.err
        assert "internal error" not in done.err


def test_usage(nacre: Nacre) -> None:
    for words in (("pull",), ("push", "a", "b"), ("pull", "-a", "x:1"), ("push", "x@sha256:" + "0" * 64)):
        assert nacre(*words, check=False).code in (1, 125)


def test_a_lie_leaves_nothing(nacre: Nacre, fake: FakeRegistry, busybox_image: str, empty: Any) -> None:
    nacre("tag", busybox_image, f"{fake.host}/app:1")
    nacre("push", "-q", f"{fake.host}/app:1")
    layer = max(fake.blobs, key=lambda key: len(fake.blobs[key]))
    fake.blobs[layer] = b"\0" * len(fake.blobs[layer])
    done = empty("pull", f"{fake.host}/app:1", check=False)
    assert done.code == 1
    assert "digest" in done.err
    assert empty("images", "-q").out == ""


def test_a_cut_pull_moves_only_the_rest(
    nacre: Nacre, empty: Any, fake: FakeRegistry, busybox_image: str
) -> None:
    """A pull that fails for good keeps what came; the next one, another process, asks for the rest."""
    nacre("tag", busybox_image, f"{fake.host}/app:1")
    nacre("push", "-q", f"{fake.host}/app:1")
    (name, digest), data = max(fake.blobs.items(), key=lambda item: len(item[1]))
    half = len(data) // 2

    def cut(x: Any) -> bool:
        x.reply(200, data[:half], content_length=str(len(data)))
        return bool(x.cut())

    fake.on("GET", digest, cut)
    fake.on("GET", digest, lambda x: x.reply(403), times=1)
    assert empty("pull", f"{fake.host}/app:1", check=False, NACRE_RANGES="1").code == 1
    before = len(fake.requests)
    empty("pull", f"{fake.host}/app:1", NACRE_RANGES="1")
    ranges = [h.get("Range") for m, path, h in fake.requests[before:] if m == "GET" and digest in path]
    assert ranges == [f"bytes={half}-"]
    assert name == "app"


def test_login_is_used(nacre: Nacre, fake: FakeRegistry, busybox_image: str) -> None:
    from nacre.grammars.wire.auth import Credentials

    me = Credentials("me", "pw").basic()

    def check(x: Any) -> bool:
        ok = x.headers.get("authorization") == me
        return False if ok else bool(x.body() or True) and x.reply(401, www_authenticate="Basic realm=x")

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        fake.on(method, "/v2/", check, times=1000)
    nacre("tag", busybox_image, f"{fake.host}/app:1")
    refused = nacre("push", f"{fake.host}/app:1", check=False)
    assert refused.code == 1
    assert f"nacre login {fake.host}" in refused.err
    nacre("login", "-u", "me", "--password-stdin", fake.host, input="pw")
    nacre("push", f"{fake.host}/app:1")
    nacre("logout", fake.host)
    assert nacre("pull", f"{fake.host}/app:1", check=False).code == 1


def test_names_of_this_machine(nacre: Nacre, peer: Callable[..., None]) -> None:
    assert nacre("pull", "-q", "host:python3").out == "host:python3\n"


def test_another_kind_of_manifest(nacre: Nacre, empty: Any, busybox_image: str, registry: str) -> None:
    """Docker's form of an image: another digest, the same image, taken by every registry."""
    name = f"{registry}/form:1"
    nacre("tag", busybox_image, name)
    first = nacre("push", "--format", "v2s2", name).out.split()[2]
    assert nacre("push", "--format", "docker", name).out.split()[2] == first
    assert nacre("inspect", "-f", "{{index .RepoDigests 0}}", name).out == f"{registry}/form@{first}\n"
    empty("pull", name)
    kinds = "{{.Descriptor.mediaType}} {{.Id}}"
    shown = empty("inspect", "-f", kinds, name).out.split()
    assert shown[0] == "application/vnd.docker.distribution.manifest.v2+json"
    assert nacre("inspect", "-f", kinds, name).out.split() == [
        "application/vnd.oci.image.manifest.v1+json", shown[1]
    ]  # fmt: skip
    assert nacre("push", "--format", "oci", name).out.split()[2] != first
    for words, said in (
        (["--format", "v2s1"], "withdrawn"), (["--format", "x"], "expected docker"),
        (["--format", "docker", "--compression", "zstd"], "not support zstd"),
    ):  # fmt: skip
        assert said in nacre("push", *words, name, check=False).err


def test_a_build_of_docker_s_kind(nacre: Nacre, busybox_image: str) -> None:
    (nacre.folder / "c").mkdir()
    (nacre.folder / "c/Dockerfile").write_text(f"FROM {busybox_image}\nLABEL a=b\n")
    ids = {}
    for form in ("oci", "docker"):
        nacre("build", "-q", "--format", form, "-t", form, "c")
        shown = nacre("inspect", "-f", "{{.Descriptor.mediaType}} {{.Id}}", form).out.split()
        assert form in shown[0]
        ids[form] = shown[1]
    assert ids["oci"] == ids["docker"]
    assert "expected docker" in nacre("build", "--format", "v1", "c", check=False).err


def test_the_python_api_pulls_several(
    nacre: Nacre, busybox_image: str, registry: str, tmp_path: Path
) -> None:
    names = [f"{registry}/{name}:1" for name in ("one", "two")]
    for name in names:
        nacre("tag", busybox_image, name)
        nacre("push", "-q", name)
    with open_store(str(tmp_path / "library")) as engine:
        results = engine.pull_all(names)
        assert [result.image.id for result in results] == [engine.image(name).id for name in names]
        assert results[0].image.stat("/bin/busybox").size
