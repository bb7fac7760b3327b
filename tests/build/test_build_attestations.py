"""SBOM and provenance: what is asked for, what they say, and how they are attached."""

from __future__ import annotations

import io
import json
import os
import tarfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import nacre
from nacre.cli.attestations import attestations
from nacre.images.attestations import installed
from nacre.images.attestations.materials import BuildMaterials, BuildRequest, DefinedStep
from nacre.images.attestations.wanted import AttestationOptions
from nacre.words.digest import Digest
from nacre.words.errors import NacreError, Unsupported
from nacre.words.oci import OCI_LAYER_GZIP, Descriptor, Platform

pytest.importorskip("spdx_tools")
pytest.importorskip("in_toto_attestation")
pytest.importorskip("packageurl")

from nacre.images.attestations.provenance import metadata, provenance

SBOM = AttestationOptions("sbom")
MIN = AttestationOptions("provenance", "min")


def asked(*attest: str, sbom: str = "", provenance: str = "") -> tuple[AttestationOptions, ...]:
    return attestations(Namespace(attest=list(attest), sbom=sbom, provenance=provenance))  # type: ignore[arg-type]


def test_flags_are_read() -> None:
    assert asked(sbom="true") == asked("type=sbom") == asked(sbom="1") == (SBOM,)
    assert asked(provenance="true") == (AttestationOptions("provenance", "max", "v1"),)
    assert asked("type=sbom", "type=provenance,mode=min") == (SBOM, MIN)
    assert asked(sbom="false", provenance="False") == ()
    assert asked("type=sbom,disabled=true") == asked("type=sbom", sbom="0") == ()
    assert asked("type=provenance,mode=max", provenance="mode=min") == (MIN,)
    text = "mode=full,version=v0.2,builder-id=https://me,reproducible=true,inline-only=1,filename=p.json"
    assert asked(provenance=text) == (
        AttestationOptions("provenance", "max", "v0.2", "https://me", True, True, False, "p.json"),
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"attest": ["mode=max"]}, "unknown attestation type ''"),
        ({"attest": ["type=signature"]}, "unknown attestation type 'signature'"),
        ({"sbom": "generator=scan/er:1"}, "generator images are not run"),
        ({"sbom": "yes"}, "invalid value 'yes'"),
        ({"provenance": "mode=all"}, "unknown mode of an attestation: 'all'"),
        ({"provenance": "version=v2"}, "unknown version of an attestation: 'v2'"),
        ({"provenance": "colour=red"}, "has no parameter 'colour'"),
        ({"provenance": "reproducible=perhaps"}, "neither true nor false"),
        ({"provenance": "filename=../x"}, "is not the name of a file"),
    ],
)
def test_bad_flags_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(NacreError, match=said.replace("(", "\\(")):
        asked(*given.pop("attest", ()), **given)


def test_absent_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(
        Unsupported, match="install spdx-tools, in-toto-attestation, packageurl-python"
    ) as caught:
        installed.require()
    assert caught.value.hint == "pip install 'nacre-oci[attest]'"


# provenance

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
LAYER = Descriptor(OCI_LAYER_GZIP, ONE, 3)
ARGUMENTS = (("build-arg:A", "1"), ("label:l", "m"), ("target", "t"))
REQUEST = BuildRequest(
    ARGUMENTS, ("context",), ("", ""), "Dockerfile", "FROM x\n", (("revision", "a" * 40),)
)  # fmt: skip
MATERIALS = BuildMaterials(
    images=(("debian:12", Platform("linux", "arm64"), ONE), ("host:python3", Platform.host(), TWO)),
    urls=(("https://x.example/f", str(TWO)),),
    repositories=(("https://x.example/r.git#v1", "b" * 40),),
    secrets=("token",), agents=("default",), networked=True, packages=(("a", "1.0", ONE.hex),),
    definition=(
        DefinedStep("step0", "local://context"),
        DefinedStep("step1", instruction="COPY a", inputs=("step0",), lines=(1, 2), layers=(LAYER,)),
    ),
)  # fmt: skip


def said(options: AttestationOptions, request: BuildRequest = REQUEST) -> Any:
    return json.loads(provenance(options, request, MATERIALS, lambda _name, manifest: manifest)[1])


def test_provenance_of_everything() -> None:
    found = said(AttestationOptions("provenance", builder_id="me", reproducible=True))
    definition, run = found["buildDefinition"], found["runDetails"]
    assert definition["externalParameters"] == {
        "configSource": {"path": "Dockerfile"},
        "request": {
            "frontend": "dockerfile.v0", "args": {"build-arg:A": "1", "label:l": "m", "target": "t"},
            "secrets": [{"id": "token"}], "ssh": [{"id": "default"}],
            "locals": [{"name": "context"}, {"name": "host:python3"}],
        },
    }  # fmt: skip
    assert definition["resolvedDependencies"] == [
        {"uri": "pkg:docker/debian@12?platform=linux/arm64", "digest": {"sha256": ONE.hex}},
        {"uri": "https://x.example/r.git#v1", "digest": {"sha1": "b" * 40}},
        {"uri": "https://x.example/f", "digest": {"sha256": TWO.hex}},
        {"uri": "pkg:pypi/a@1.0", "digest": {"sha256": ONE.hex}},
    ]
    assert run["builder"] == {"id": "me"}
    metadata = run["metadata"]
    assert metadata["buildkit_completeness"] == {"request": True, "resolvedDependencies": False}
    assert metadata["buildkit_reproducible"] is True
    assert metadata["buildkit_metadata"]["vcs"] == {"revision": "a" * 40}
    assert metadata["buildkit_metadata"]["source"]["infos"][0]["data"] == "RlJPTSB4Cg=="
    assert "startedOn" not in metadata
    config = definition["internalParameters"]["buildConfig"]
    assert config["definition"] == [
        {"id": "step0", "source": "local://context"},
        {"id": "step1", "instruction": "COPY a", "inputs": ["step0:0"]},
    ]
    assert [*config["digestMapping"].values()] == ["step0", "step1"]
    place = {"locations": [{"ranges": [{"start": {"line": 1}, "end": {"line": 2}}]}]}
    assert metadata["buildkit_metadata"]["source"]["locations"] == {"step1": place}
    assert metadata["buildkit_metadata"]["layers"] == {"step1:0": [[LAYER.to_json()]]}


def test_provenance_of_little() -> None:
    found = said(MIN)
    request = found["buildDefinition"]["externalParameters"]["request"]
    assert request["args"] == {"target": "t"}
    assert not {"secrets", "ssh"} & set(request)
    metadata = found["runDetails"]["metadata"]
    assert metadata["buildkit_completeness"]["request"] is False
    assert set(metadata["buildkit_metadata"]) == {"vcs"}
    assert set(found["buildDefinition"]["internalParameters"]) == {"builderPlatform"}


def test_provenance_of_the_older_version() -> None:
    found = said(AttestationOptions("provenance", version="v0.2"))
    assert found["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert found["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
    assert found["metadata"]["completeness"] == {"parameters": True, "environment": True, "materials": False}
    assert len(found["materials"]) == 4
    assert len(found["buildConfig"]["definition"]) == 2


def test_a_file_about_a_build_has_as_much_as_is_wanted() -> None:
    least, most = (
        json.loads(metadata(mode, REQUEST, MATERIALS, lambda _name, digest: digest))
        for mode in ("min", "max")
    )
    assert most == said(AttestationOptions("provenance", version="v0.2"))
    assert {*most} - {*least} == {"metadata", "buildConfig"}
    assert least["invocation"]["parameters"]["args"]["build-arg:A"] == "1"


def test_a_context_from_elsewhere_is_complete() -> None:
    request = BuildRequest(source=("https://x.example/c.git", "c" * 40), file="Dockerfile")
    with pytest.raises(Unsupported, match="incomplete: host:python3 is of this machine"):
        said(AttestationOptions("provenance", complete=True), request)
    found = said(MIN, request)["buildDefinition"]
    source = {"uri": "https://x.example/c.git", "digest": {"sha1": "c" * 40}, "path": "Dockerfile"}
    assert found["externalParameters"]["configSource"] == source
    assert found["resolvedDependencies"][1]["uri"] == "https://x.example/c.git"


# whole builds

DPKG = "Package: curl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.88\n"
IMAGE = "FROM scratch\nARG A=1\nCOPY root /\nLABEL a=$A\n"


def filled(project: Any) -> Any:
    """A context with packages, broken files, and links that lead out."""
    project.write("root/var/lib/dpkg/status", DPKG)
    project.write("root/etc/os-release", 'ID="debian"\nVERSION_ID="12"\n')
    project.write("root/lib/a-1.dist-info/METADATA", "Name: a\nVersion: 1\nLicense: BSD\n")
    project.write("root/app/node_modules/b/package.json", '{"name": "b", "version": "2", "license": "MIT"}')
    project.write("root/app/node_modules/c/package.json", "{")
    project.write("root/var/lib/rpm/rpmdb.sqlite", "broken")
    project.write("root/usr/lib/sysimage/rpm/Packages.db", "ndb")
    os.makedirs(project.folder / "root/lib/apk/db", exist_ok=True)
    os.symlink("../../../../../../etc/passwd", project.folder / "root/lib/apk/db/installed")
    return project


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {
            one.name: tar.extractfile(one).read()  # type: ignore[union-attr]
            for one in tar.getmembers()
            if one.isfile()
        }


def test_the_definition_tells_of_each_step(project: Any, tmp_path: Path) -> None:
    project.write("f", "x")
    project.write("Dockerfile", "FROM scratch AS a\nCOPY f /f\nFROM scratch AS other\nWORKDIR /w\n"
                  "FROM a\nCOPY --from=other \\\n  /w /g\nENV A=b\nCOPY f /h\n")  # fmt: skip
    texts = []
    for name in ("1", "2"):
        words = ("--no-cache", "--provenance=mode=max", "-o", f"type=local,dest={tmp_path}/{name}")
        project.build("", *words)
        texts.append((tmp_path / name / "provenance.json").read_text())
    assert texts[0] == texts[1]
    predicate = json.loads(texts[0])["predicate"]
    config = predicate["buildDefinition"]["internalParameters"]["buildConfig"]
    assert [
        (step.get("source") or step["instruction"].partition(" ")[0], step.get("stage"), step.get("inputs"))
        for step in config["definition"]
    ] == [
        ("local://context", None, None), ("COPY", "a", ["step0:0"]), ("WORKDIR", "other", None),
        ("COPY", "stage-2", ["step1:0", "step2:0"]), ("COPY", "stage-2", ["step3:0", "step0:0"]),
    ]  # fmt: skip
    told = predicate["runDetails"]["metadata"]["buildkit_metadata"]
    places = {
        name: [place["ranges"][0][end]["line"] for place in found["locations"] for end in ("start", "end")]
        for name, found in told["source"]["locations"].items()
    }
    assert places == {"step1": [2, 2], "step2": [4, 4], "step3": [6, 7], "step4": [9, 9]}
    assert [*told["layers"]] == ["step1:0", "step2:0", "step3:0", "step4:0"]


def blob(found: dict[str, bytes], digest: str) -> Any:
    return json.loads(found["blobs/" + digest.replace(":", "/")])


def test_a_layout_holds_both(project: Any, tmp_path: Path) -> None:
    words = ("--sbom=true", "--provenance", "mode=max", "--build-arg", "A=2")
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    result = filled(project).build(
        IMAGE, *words, "--output", f"type=oci,dest={first}", "--output", f"type=oci,dest={second}"
    )
    for line in (
        "/app/node_modules/c/package.json is not valid JSON",
        "/var/lib/rpm/rpmdb.sqlite is not an SQLite database",
        "/usr/lib/sysimage/rpm/Packages.db is not read: an RPM database in the format ndb",
    ):
        assert f"WARNING: {line}" in result.err
    found = blobs(first)
    assert found == blobs(second)
    (top,) = json.loads(found["index.json"])["manifests"]
    image, attached = blob(found, top["digest"])["manifests"]
    assert attached["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert attached["annotations"] == {
        "vnd.docker.reference.digest": image["digest"], "vnd.docker.reference.type": "attestation-manifest",
    }  # fmt: skip
    manifest = blob(found, attached["digest"])
    assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
    assert manifest["subject"]["digest"] == image["digest"]
    made, listed = (blob(found, layer["digest"]) for layer in manifest["layers"])
    assert [layer["annotations"]["in-toto.io/predicate-type"] for layer in manifest["layers"]] == [
        made["predicateType"], listed["predicateType"]
    ] == ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"]  # fmt: skip
    (subject,) = listed["subject"]
    assert subject["name"].startswith("pkg:docker/app@latest?platform=linux/")
    assert subject["digest"] == {"sha256": image["digest"].removeprefix("sha256:")}
    check_packages(listed["predicate"])
    request = made["predicate"]["buildDefinition"]["externalParameters"]["request"]
    assert request["args"] == {"build-arg:A": "2"}
    # the image itself is what it is without them
    assert image["digest"] == project.nacre("inspect", "-f", "{{.Descriptor.Digest}}", "app").out.strip()


def check_packages(document: Any) -> None:
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    parsed = JsonLikeDictParser().parse(document)
    assert validate_full_spdx_document(parsed, "SPDX-2.3") == []
    urls = [one["externalRefs"][0]["referenceLocator"] for one in document["packages"][1:]]
    assert urls == [
        "pkg:deb/debian/curl@7.88?arch=amd64&distro=debian-12", "pkg:npm/b@2", "pkg:pypi/a@1",
    ]  # fmt: skip
    declared = [one["licenseDeclared"] for one in document["packages"][1:]]
    assert declared[:2] == ["NOASSERTION", "MIT"]
    assert declared[2].startswith("LicenseRef-")
    assert "is not valid JSON" in document["comment"]


def test_files_have_them_beside(project: Any, tmp_path: Path) -> None:
    out, packed = tmp_path / "out", tmp_path / "out.tar"
    words = ["--sbom=true", "--provenance=inline-only=true", "--platform", "linux/amd64,linux/arm64"]
    given = f"type=local,dest={out},platform-split=false,attestation-prefix=x."
    project.build("FROM scratch\nCOPY Dockerfile /\n", *words, "-o", given, "-o", f"type=tar,dest={packed}")
    names = {"Dockerfile", "x.sbom.spdx.linux_amd64.json", "x.sbom.spdx.linux_arm64.json"}
    assert set(os.listdir(out)) == names
    statement = json.loads((out / "x.sbom.spdx.linux_amd64.json").read_text())
    digest = Digest.of((project.folder / "Dockerfile").read_bytes()).hex
    assert statement["subject"] == [{"name": "Dockerfile", "digest": {"sha256": digest}}]
    with tarfile.open(packed) as tar:
        assert "linux_arm64/sbom.spdx.json" in tar.getnames()
        assert not any("provenance" in name for name in tar.getnames())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "type=cacheonly"], "attestations go with a name of the image, or with an output"),
        (["-o", "type=docker,dest=x.tar"], "a docker archive holds no attestations"),
        (["--format", "docker", "-o", "type=oci,dest=x.tar"], "Docker manifests have no attestations"),
        (["-o", "type=oci,dest=x.tar,oci-mediatypes=false"], "Docker manifests have no attestations"),
    ],
)
def test_where_they_cannot_be(project: Any, words: list[str], said: str) -> None:
    result = project.build("FROM scratch\nCOPY Dockerfile /\n", "--sbom=true", *words, check=False)
    assert result.code == 125 or result.code == 1
    assert said in result.err
    assert not project.leftovers()


def test_a_file_of_the_image_is_not_replaced(project: Any, tmp_path: Path) -> None:
    project.write("sbom.spdx.json", "mine")
    said = project.fails("FROM scratch\nCOPY . /\n", "--sbom=true", "-o", str(tmp_path / "out")).err
    assert "the image has a file sbom.spdx.json" in said
    assert "attestation-prefix" in said


def test_a_registry_has_them_as_referrers(project: Any, registry: Any, tmp_path: Path) -> None:
    name = f"{registry}/team/app:1"
    dockerfile = "FROM scratch\nCOPY Dockerfile /\n"
    project.build(dockerfile, "--provenance=true", "--push", tag=name)
    form = "{{.Provenance.SLSA.buildDefinition.externalParameters.configSource.path}} {{json .SBOM}}"
    assert project.nacre("buildx", "imagetools", "inspect", "--format", form, name).out == "Dockerfile {}\n"
    with nacre.open_store(str(tmp_path / "other")) as engine:
        image = engine.pull(name).image
        engine.copy(f"docker://{name}", f"oci:{tmp_path}/one", referrers=True)
        engine.copy(f"docker://{name}", f"oci:{tmp_path}/all", all=True)
    one = json.loads((tmp_path / "one/index.json").read_text())["manifests"]
    (top,) = json.loads((tmp_path / "all/index.json").read_text())["manifests"]
    index = json.loads((tmp_path / "all/blobs/sha256" / top["digest"][7:]).read_text())["manifests"]
    assert digests(one) == digests(index)
    assert index[0]["digest"] == str(image.digest)
    with nacre.open_store(str(tmp_path / "other")) as engine:
        engine.copy(f"oci:{tmp_path}/all", f"oci:{tmp_path}/again", referrers=True)
    again = json.loads((tmp_path / "again/index.json").read_text())["manifests"]
    assert digests(again) == digests(index)


def raw(project: Any, name: str) -> Any:
    return json.loads(project.nacre("buildx", "imagetools", "inspect", "--raw", name).out)


def test_the_store_keeps_them_with_the_name(project: Any, registry: Any) -> None:
    name, other, dockerfile = f"{registry}/app:1", f"{registry}/app:2", "FROM scratch\nCOPY Dockerfile /\n"
    project.build(dockerfile, "--provenance=true", tag=name)
    project.nacre("system", "prune", "-f")
    project.nacre("tag", name, other)
    for each in (name, other):
        project.nacre("push", each)
        image, attached = raw(project, each)["manifests"]
        assert attached["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    assert "attestations are left out" in project.nacre("push", "--compression-format=zstd", other).err
    assert "manifests" not in raw(project, other)
    project.build(tag=name)  # the same image, of which nothing is said any more
    project.nacre("push", name)
    assert raw(project, name)["config"]
    project.nacre("rmi", name, other)
    assert project.nacre("system", "check").code == 0


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar if item.isreg()}  # type: ignore[union-attr]


def packed(path: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))


def test_archives_have_them(project: Any, tmp_path: Path) -> None:
    """As docker saves and loads them, the index with its digest; and a layout that all is copied to."""
    nacre, saved, again = project.nacre, tmp_path / "saved.tar", tmp_path / "again.tar"
    project.build("FROM scratch\nCOPY Dockerfile /\n", "--provenance=true", tag="app:1")
    nacre("save", "-o", str(saved), "app:1")
    nacre("copy", "--multi-arch", "all", "nacre:app:1", f"oci:{tmp_path / 'layout'}:1")
    found = members(saved)
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/app:1"
    image, attached = json.loads(found["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])[
        "manifests"
    ]
    assert attached["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    (row,) = json.loads(found["manifest.json"])
    assert row["RepoTags"] == ["app:1"]
    copied = {path.name for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    assert copied == {Path(name).name for name in found if name.startswith("blobs/")}
    nacre("rmi", "app:1")
    nacre("system", "prune", "-af")
    nacre("load", "-i", str(saved))
    nacre("save", "-o", str(again), "app:1")
    assert again.read_bytes() == saved.read_bytes()
    nacre("rmi", "app:1")
    assert nacre("system", "check").code == 0

    nacre("copy", "--multi-arch", "all", f"oci:{tmp_path / 'layout'}:1", "nacre:app:1")
    nacre("save", "-o", str(again), "app:1")
    assert again.read_bytes() == saved.read_bytes()

    # an archive that lacks them is an image; one that has others than it says is refused
    path = "blobs/sha256/" + attached["digest"].removeprefix("sha256:")
    statement = json.loads(found[path])["layers"][0]["digest"].removeprefix("sha256:")
    nacre("rmi", "app:1")
    packed(again, {name: data for name, data in found.items() if not name.endswith(statement)})
    nacre("load", "-i", str(again))
    nacre("save", "-o", str(again), "app:1")
    assert path not in members(again)
    nacre("system", "prune", "-af")
    wrong = found[f"blobs/sha256/{statement}"].replace(b"a", b"b")
    packed(again, found | {f"blobs/sha256/{statement}": wrong})
    assert statement in nacre("load", "-i", str(again), check=False).err


def digests(entries: Any) -> set[str]:
    return {entry["digest"] for entry in entries}
