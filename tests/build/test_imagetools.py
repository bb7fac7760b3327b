"""`nacre buildx imagetools`: images of a registry looked at, and put together after builds elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nacre.cli.imagetools import attested
from nacre.images.arrows.statements import RemoteAttestation

TEXT = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n"


def test_an_index_of_what_was_pushed_by_digest(project: Any, registry: str, tmp_path: Path) -> None:
    name, tools = f"{registry}/team/app", ("buildx", "imagetools")
    project.write("Dockerfile", TEXT)
    digests = []
    for platform in ("linux/amd64", "linux/arm64"):
        output = f"type=image,name={name},push-by-digest=true,push=true"
        words = ("--platform", platform, "-o", output, "--metadata-file", "m.json")
        project.nacre("buildx", "build", *words, str(project.folder))
        digests.append(json.loads((tmp_path / "m.json").read_text())["containerimage.digest"])
    create = project.nacre(
        *tools, "create", "-t", f"{name}:1", "-t", f"{registry}/other:1", *digests, check=False
    )
    assert "needs one repository" in create.err
    words = (*tools, "create", "-t", f"{name}:1", *digests, "--annotation", "index:a=b")
    assert f"to {name}:1" in project.nacre(*words, "--metadata-file", "i.json").err
    digest = json.loads((tmp_path / "i.json").read_text())["containerimage.descriptor"]["digest"]
    index = json.loads(project.nacre(*tools, "inspect", "--raw", f"{name}:1").out)
    assert [entry["digest"] for entry in index["manifests"]] == digests
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert index["annotations"] == {"a": "b"}
    shown = project.nacre(*tools, "inspect", f"{name}:1").out
    assert f"Digest:    {digest}\n" in shown
    assert f"  Name:      {name}:1@{digests[1]}\n" in shown
    form = '{{.Manifest.Digest}} {{(index .Image "linux/arm64").Architecture}} {{json .Name}}'
    assert project.nacre(*tools, "inspect", "--format", form, f"{name}:1").out == (
        f'{digest} arm64 "{name}:1"\n'
    )
    project.nacre(*tools, "create", "-t", f"{registry}/other/app:2", f"{name}:1")
    assert (
        project.nacre(*tools, "inspect", "--raw", f"{registry}/other/app:2").out
        == json.dumps(index, indent=2) + "\n"
    )
    only = project.nacre(*tools, "create", "--dry-run", "-p", "linux/arm64", f"{name}:1").out
    assert [entry["digest"] for entry in json.loads(only)["manifests"]] == digests[1:]
    project.nacre(*tools, "create", "--prefer-index=false", "-t", f"{name}:2", f"{name}@{digests[0]}")
    project.nacre(*tools, "create", "--append", "-t", f"{name}:2", digests[1])
    again = json.loads(project.nacre(*tools, "inspect", "--raw", f"{name}:2").out)
    assert [entry["digest"] for entry in again["manifests"]] == digests
    for line, said in (
        (("create", f"{name}:1"), "can't push with no tags"),
        (("create", "-t", f"{name}:3"), "no sources"),
        (("create", "-t", f"{name}:3", "-p", "linux/s390x", f"{name}:1"), "no image for linux/s390x"),
        (("create", "-t", f"{name}:3", "--annotation", "a=b", f"{name}:1"), "only annotations of the index"),
        (("inspect", f"{name}:none"), "not found"),
    ):
        assert said in project.nacre(*tools, *line, check=False).err


def said(platform: str, kind: str, text: str) -> RemoteAttestation:
    return RemoteAttestation(platform, kind, {"name": text})


def test_attestations_of_several_images_are_shown_by_platform() -> None:
    spdx, slsa = "https://spdx.dev/Document", "https://slsa.dev/provenance/v1"
    one = [said("linux/amd64", spdx, "a"), said("linux/amd64", spdx, "b"), said("linux/amd64", slsa, "c")]
    assert attested(one, several=False) == {
        "SBOM": {"SPDX": {"name": "a"}, "AdditionalSPDXs": [{"name": "b"}]},
        "Provenance": {"SLSA": {"name": "c"}},
    }
    assert attested([*one[:1], said("linux/arm64", spdx, "d")], several=True) == {
        "SBOM": {"linux/amd64": {"SPDX": {"name": "a"}}, "linux/arm64": {"SPDX": {"name": "d"}}},
        "Provenance": {},
    }
    assert attested([said("linux/amd64", "https://other", "x")], several=False) == {
        "SBOM": {},
        "Provenance": {},
    }
