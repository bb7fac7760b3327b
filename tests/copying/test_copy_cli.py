"""`nacre copy` as users type it, with skopeo at the other end."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copykit import Image, docker_archive, put_index

from nacre import open_store
from nacre.images.places.layout import LayoutFolder
from nacre.words.errors import NacreError


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """A folder with two platforms as `both`, and one image as `one`."""
    folder = LayoutFolder(str(tmp_path / "lay"))
    images = [Image("shared", one, architecture=one) for one in ("amd64", "arm64")]
    put_index(folder, "both", *images)
    images[0].put(folder, "one")
    folder.close()
    return "oci:lay"


@pytest.fixture
def skopeo(peer: Callable[..., None], tmp_path: Path) -> Callable[..., Any]:
    peer("skopeo")
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    env = {**os.environ, "HOME": str(tmp_path)}

    def call(*words: str) -> Any:
        line = ["skopeo", "--policy", str(tmp_path / "policy.json"), *words]
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if words[0] == "inspect" else done.stdout

    return call


def digest(result: Any) -> str:
    return str(result.out.split()[-1] if "\n" in result.out.strip() else result.out.strip())


def test_there_and_back(nacre: Any, layout: str, registry: str, skopeo: Callable[..., Any]) -> None:
    whole = digest(nacre("copy", "-q", "--all", f"{layout}:both", f"{registry}/team/app:1"))
    across = nacre("copy", "--all", f"docker://{registry}/team/app:1", f"{registry}/other/app:2")
    assert f"Mounted from {registry.partition('/')[2]}/team/app" in across.err
    assert digest(nacre("copy", "-q", "-a", f"{registry}/other/app:2", "oci-archive:all.tar:x")) == whole
    assert digest(nacre("copy", "-q", "-a", "oci-archive:all.tar:x", "oci:again:y")) == whole
    for place in (f"docker://{registry}/other/app:2", "oci-archive:all.tar:x", "oci:again:y"):
        flags = ("--tls-verify=false",) if "docker" in place else ()
        raw = skopeo("inspect", "--raw", *flags, place)
        assert [entry["platform"]["architecture"] for entry in raw["manifests"]] == ["amd64", "arm64"]
    skopeo("copy", "--dest-tls-verify=false", "--all", "oci:again:y", f"docker://{registry}/skopeo:1")
    assert digest(nacre("copy", "-q", "--all", f"{registry}/skopeo:1", "oci:again:z")) == whole


def test_skopeo_reads_one_platform_of_every_form(nacre: Any, layout: str, skopeo: Callable[..., Any]) -> None:
    chosen = digest(nacre("copy", "-q", "--platform", "linux/arm64", f"{layout}:both", "oci:one:arm"))
    nacre("copy", "oci:one:arm", "docker-archive:arm.tar:team/arm:1")
    assert skopeo("inspect", "oci:one:arm")["Digest"] == chosen
    found = skopeo("inspect", "docker-archive:arm.tar:team/arm:1")
    assert found["Architecture"] == "arm64"
    skopeo("copy", "docker-archive:arm.tar:team/arm:1", "oci:skopeo:arm")
    nacre("copy", "oci:skopeo:arm", "oci:back:arm")
    assert skopeo("inspect", "--config", "oci:back:arm") == skopeo("inspect", "--config", "oci:one:arm")


@pytest.mark.parametrize("form", ["oci:out:1", "oci-archive:out.tar:1", "docker-archive:out.tar:out:1"])
def test_what_skopeo_writes_is_read(
    nacre: Any, layout: str, registry: str, skopeo: Callable[..., Any], form: str
) -> None:
    skopeo("copy", f"{layout}:one", form)
    nacre("copy", form, f"{registry}/from/skopeo:1")
    wanted = skopeo("inspect", "--config", f"{layout}:one")
    assert skopeo("inspect", "--config", "--tls-verify=false", f"docker://{registry}/from/skopeo:1") == wanted


def test_the_store_at_both_ends(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    nacre("copy", f"nacre:{busybox_image}", "oci:lay:b")
    nacre("copy", "oci:lay:b", "nacre:again:1")
    assert nacre("run", "--rm", "again:1", "echo", "runs").out == "runs\n"
    nacre("copy", "nacre:again:1", "docker-archive:a.tar:third:1")
    nacre("load", "-i", "a.tar")
    ids = {
        nacre("image", "inspect", "-f", "{{.Id}}", each).out for each in (busybox_image, "again:1", "third:1")
    }
    assert len(ids) == 1


def test_what_it_says(nacre: Any, layout: str, registry: str) -> None:
    first = nacre("copy", f"{layout}:one", f"{registry}/said:1")
    assert first.lines[0].startswith("Digest: sha256:")
    assert first.lines[1] == f"Status: Copied docker://{registry}/said:1"
    assert "Moved " in first.err
    again = nacre("copy", f"{layout}:one", f"{registry}/said:1")
    assert again.lines[1].startswith("Status: Unchanged")
    assert "existed already" in again.err
    fields = nacre("copy", "--format", "json", f"{layout}:one", f"{registry}/said:2").json
    assert (fields["Moved"], fields["Changed"], fields["Manifests"]) == (0, True, 1)
    assert (
        nacre("copy", "--format", "{{.Existing}}", f"{layout}:one", f"{registry}/said:2")
        .out.strip()
        .isdigit()
    )
    events = [
        json.loads(line)
        for line in nacre("copy", "--progress", "json", f"{layout}:one", f"{registry}/said:3").lines
    ]
    assert events[-1]["aux"]["Target"] == f"docker://{registry}/said:3"
    assert {event["status"] for event in events[:-1]} >= {"Already exists"}
    nacre("images")  # the store can be made after all that


def test_what_cannot_be(nacre: Any, layout: str, tmp_path: Path) -> None:
    for words, said in [
        (["--all", "--platform", "linux/amd64", f"{layout}:one", "oci:x"], "mutually exclusive"),
        (["--preserve-digests", f"{layout}:one", "docker-daemon:x"], "does not preserve digests"),
        ([f"{layout}:one", "docker-daemon:x"], "cannot reach the docker daemon"),
    ]:
        done = nacre("copy", *words, check=False, DOCKER_HOST=f"unix://{tmp_path}/no.sock")
        assert done.code == 1, done
        assert said in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("oci:lay:none", "oci:x:1", "no image 'none'"),
        ("oci:absent", "oci:x:1", "no such directory"),
        ("oci-archive:absent.tar", "oci:x:1", "cannot open absent.tar"),
        ("oci:lay:one", "host:python3", "can only be copied from"),
        ("oci:lay:one", "containers-storage:x", "not a known kind of place"),
        ("oci:lay:one", "docker-archive:there.tar:app:2", "exists already"),
        ("oci:lay:both", "nacre:app:1", "one platform"),
    ],
)
def test_what_cannot_be_by_the_api(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.tar").write_bytes(b"mine")
    with open_store(str(tmp_path / "store")) as engine, pytest.raises(NacreError, match=said):
        engine.copy(source, target, all="both" in source)
    assert (tmp_path / "there.tar").read_bytes() == b"mine"


def test_preserved_digests_are_not_compressed(nacre: Any, registry: str, tmp_path: Path) -> None:
    docker_archive(tmp_path / "old.tar", Image("a" * 3000, plain=True), "old:1")
    plain = nacre(
        "copy", "--preserve-digests", "--format", "json", "docker-archive:old.tar", f"{registry}/p:1"
    )
    packed = nacre("copy", "--format", "json", "docker-archive:old.tar", f"{registry}/c:1")
    assert packed.json["Moved"] < plain.json["Moved"] / 10


def test_a_number_chooses_in_any_archive(nacre: Any, tmp_path: Path, busybox_image: str) -> None:
    """As in skopeo: in the order of manifest.json, also where the archive is an OCI layout as well."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c/Dockerfile").write_text(f"FROM {busybox_image}\nLABEL a=b\n")
    nacre("build", "-q", "-t", "two:1", str(tmp_path / "c"))
    nacre("save", "-o", "both.tar", busybox_image, "two:1")
    with tarfile.open(tmp_path / "both.tar") as tar:
        rows = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    for number, row in enumerate(rows):
        nacre("copy", f"docker-archive:both.tar:@{number}", f"oci:lay{number}:1")
        nacre("copy", f"docker-archive:both.tar:{row['RepoTags'][0]}", f"oci:named{number}:1")
        indexes = [(tmp_path / f"{name}{number}/index.json").read_text() for name in ("lay", "named")]
        assert indexes[0] == indexes[1]
    for place in ("docker-archive:both.tar:@2", "oci-archive:both.tar:@7", "oci:lay0:@1"):
        failed = nacre("copy", place, "oci:no:1", check=False)
        assert failed.code == 1
        assert "no image" in failed.err
    nacre("copy", "oci:lay0:@0", "oci-archive:first.tar:1")
    for place in ("docker-archive:new.tar:@0", "oci:new:@0", "oci-archive:new.tar:@0"):
        refused = nacre("copy", "oci:lay0:1", place, check=False)
        assert "target needs a name" in refused.err
    assert not list(tmp_path.glob("new*"))
