"""What a build does with its images: several outputs at once, several platforms, the files about it."""

from __future__ import annotations

import json
import tarfile
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from nacre.cli.buildoutput import outputs, read_annotations
from nacre.engine.outputs import BuildOutput
from nacre.ground.foreign import architectures, executes, program
from nacre.images.arrows.exporting import Annotation
from nacre.words.errors import NacreError, UsageError
from nacre.words.oci import Platform

OWN, OTHER = str(Platform.host()), "linux/s390x"
CROSS = (
    "FROM --platform=$BUILDPLATFORM scratch AS one\nCOPY Dockerfile /one\n"
    "FROM scratch\nARG TARGETARCH\nCOPY --from=one /one /$TARGETARCH\n"
)


def wanted(*written: str, tags: tuple[str, ...] = (), platforms: int = 1, **more: Any) -> list[BuildOutput]:
    """What the command line makes of its flags."""
    flags = {"push": False, "load": True, "annotation": [], "given": {}, "format": "oci"} | more
    args = Namespace(output=list(written), tag=list(tags), **flags)
    said: list[str] = []
    context = Namespace(warn=said.append, insecure=set())
    found = outputs(context, args, platforms)  # type: ignore[arg-type]
    assert not said
    return found


def test_outputs_are_read() -> None:
    assert wanted("out") == [BuildOutput(), BuildOutput("local", "out")]
    assert wanted("-", tags=("a",)) == [BuildOutput(names=("a",)), BuildOutput("tar", "-")]
    assert wanted("type=registry", tags=("a", "b")) == [BuildOutput(names=("a", "b"), push=True)]
    assert wanted("type=image,name=c", push=True, tags=("a",)) == [BuildOutput(names=("a",), push=True)]
    assert wanted(push=True, tags=("a",), load=True, given={"load": 1}) == [
        BuildOutput(names=("a",), push=True),
        BuildOutput(names=("a",)),
    ]
    assert wanted("type=cacheonly") == [BuildOutput("cacheonly")]
    assert wanted("type=docker,dest=x.tar")[1] == BuildOutput("docker", "x.tar", format="docker")
    assert wanted("type=oci,dest=x,tar=false")[1] == BuildOutput("oci", "x", is_folder=True)
    assert wanted('type=image,"name=a,b",compression=zstd,compression-level=9,force-compression=true') == [
        BuildOutput(names=("a", "b"), compression="zstd", level=9, force=True)
    ]
    by_digest = "type=image,name=r/a,push-by-digest=true,name-canonical=true,push=true"
    assert wanted(by_digest) == [BuildOutput(names=("r/a",), push=True, by_digest=True, stores=False)]


def test_annotations_are_read() -> None:
    arm = Platform.parse("linux/arm64")
    assert read_annotations("a=b=c") == [Annotation("a", "b=c")]
    assert read_annotations("index,manifest[linux/arm64]:a=b") == [
        Annotation("a", "b", "index"), Annotation("a", "b", "manifest", arm),
    ]  # fmt: skip
    (found,) = wanted(
        "type=image,annotation.a=1,annotation-index.b=2,annotation[linux/arm64].c.d=3", platforms=2
    )
    notes = (Annotation("a", "1"), Annotation("b", "2", "index"), Annotation("c.d", "3", "manifest", arm))
    assert found.annotations == notes


@pytest.mark.parametrize(
    ("written", "flags", "said"),
    [
        (["type=foo"], {}, "unknown type 'foo'"),
        (["type=image,colour=red"], {}, "has no attribute 'colour'"),
        (["type=local"], {}, "dest is required"),
        (["type=oci,tar=false"], {}, "needs a directory"),
        (["type=image,push=perhaps"], {}, "neither true nor false"),
        (["type=image,compression=lzma"], {}, "unknown compression 'lzma'"),
        (["type=image,compression=estargz"], {}, "estargz is not supported"),
        (["type=image,compression=gzip,compression-level=99"], {}, "99"),
        (['type="image'], {}, "quote"),
        ([], {"push": True}, "tag is needed when pushing"),
        (["type=docker,dest=x"], {"platforms": 2}, "one platform"),
        (["type=tar,dest=x,platform-split=false"], {"platforms": 2}, "a folder for each"),
        ([], {"annotation": ["a"]}, "expected key=value"),
        ([], {"annotation": ["layer:a=b"]}, "unknown type 'layer'"),
        ([], {"annotation": ["index[linux/amd64]:a=b"]}, "for all platforms"),
        ([], {"annotation": ["index:a=b"]}, "several platforms"),
        (["type=image,oci-mediatypes=false,annotation.a=b"], {}, "have no annotations"),
        ([], {"annotation": ["a=b"], "format": "docker"}, "have no annotations"),
        (["-", "type=oci"], {}, "only one output"),
    ],
)
def test_outputs_that_make_no_sense(written: list[str], flags: dict[str, Any], said: str) -> None:
    with pytest.raises(NacreError) as found:
        wanted(*written, **flags)
    assert said in found.value.message


def test_unknown_kinds_of_output_are_errors() -> None:
    with pytest.raises(UsageError):
        BuildOutput("paper").check(1)


def test_this_machine_executes_its_own_programs() -> None:
    assert executes(Platform.host().architecture)
    assert {Platform.host().architecture, "arm64", "s390x"} <= set(architectures())


def manifest(registry: str, path: str) -> Any:
    types = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))
    asked = Request(f"http://{registry}/v2/{path}", headers={"Accept": ", ".join(types)})
    with urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def test_two_platforms_to_a_registry_an_archive_and_folders(
    project: Any, registry: str, tmp_path: Path, another: Any
) -> None:
    name, metadata = f"{registry}/team/app", tmp_path / "m.json"
    platforms = ("--platform", f"{OWN},{OTHER}")
    said = project.build(
        CROSS, *platforms, "--push", "-o", "type=registry", "-o", f"type=oci,dest={tmp_path}/o.tar",
        "-o", str(tmp_path / "out"), "-o", f"type=tar,dest={tmp_path}/l.tar", "--annotation", "index:c=d",
        "--annotation", f"manifest[{OTHER}],manifest-descriptor:e=f", "--metadata-file", str(metadata),
        "--iidfile", str(tmp_path / "iid"), tag=f"{name}:1",
    ).err  # fmt: skip
    assert f"[{OWN}->{OTHER[6:]} one 1/1] COPY Dockerfile /one" in said
    assert "3 steps run, 1 cached" in said
    told = json.loads(metadata.read_text())
    assert told["image.name"] == f"{name}:1"
    digest = told["containerimage.digest"]
    assert (tmp_path / "iid").read_text() == digest == told["containerimage.descriptor"]["digest"]
    index = manifest(registry, "team/app/manifests/1")
    assert index["annotations"] == {"c": "d"}
    assert [entry["annotations"] for entry in index["manifests"]] == [{"e": "f"}, {"e": "f"}]
    entries = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
    assert "annotations" not in manifest(registry, f"team/app/manifests/{entries[OWN[6:]]}")
    assert manifest(registry, f"team/app/manifests/{entries['s390x']}")["annotations"] == {"e": "f"}
    with tarfile.open(tmp_path / "o.tar") as tar:
        member = tar.extractfile("index.json")
        assert member is not None
        (listed,) = json.load(member)["manifests"]
    assert listed["digest"] == digest
    assert listed["annotations"]["io.containerd.image.name"] == f"{name}:1"
    folders = [OWN.replace("/", "_"), "linux_s390x"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(folders)
    assert [path.name for path in (tmp_path / "out/linux_s390x").iterdir()] == ["s390x"]
    with tarfile.open(tmp_path / "l.tar") as tar:
        assert {*folders, "linux_s390x/s390x"} <= set(tar.getnames())
    assert project.nacre("inspect", "-f", "{{.Architecture}}", f"{name}:1").out.strip() == OWN[6:]
    other = another("other")
    other("pull", "-q", "--platform", OTHER, f"{name}:1")
    assert other("inspect", "-f", "{{.Architecture}}", f"{name}:1").out.strip() == "s390x"


def others(project: Any) -> int:
    """How many images the store has beside the base."""
    return len(project.nacre("images", "-aq").out.split()) - 1


def test_push_by_digest(project: Any, registry: str, tmp_path: Path) -> None:
    project.write("Dockerfile", CROSS)
    output = f"type=image,name={registry}/team/app,push-by-digest=true,name-canonical=true,push=true"
    metadata = tmp_path / "m.json"
    project.nacre("build", "-o", output, "--metadata-file", str(metadata), str(project.folder))
    told = json.loads(metadata.read_text())
    digest = told["containerimage.digest"]
    found = manifest(registry, f"team/app/manifests/{digest}")
    assert found["config"]["digest"] == told["containerimage.config.digest"]
    if find_spec("packageurl"):
        provenance = told["buildx.build.provenance"]
        assert provenance["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
        assert not {"metadata", "buildConfig"} & {*provenance}
    assert others(project) == 0


def test_one_image_in_several_forms(project: Any, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/team/app:1"
    words = f"type=registry,compression=zstd,annotation.a=b,name={name}"
    project.build(CROSS, "-o", words, "-o", f"type=oci,tar=false,dest={tmp_path}/o", tag=name)
    sent = manifest(registry, "team/app/manifests/1")
    assert [layer["mediaType"][-4:] for layer in sent["layers"]] == ["zstd"]
    assert sent["annotations"] == {"a": "b"}
    (entry,) = json.loads((tmp_path / "o/index.json").read_text())["manifests"]
    plain = json.loads((tmp_path / "o/blobs" / entry["digest"].replace(":", "/")).read_text())
    assert plain["config"] == sent["config"]
    assert [layer["mediaType"][-4:] for layer in plain["layers"]] == ["gzip"]
    assert others(project) == 1
    project.build("", "-o", f"type=docker,dest={tmp_path}/d.tar", tag="app")
    assert "Loaded image: app:latest" in project.nacre("load", "-i", str(tmp_path / "d.tar")).out


def test_files_alone_leave_no_metadata_of_an_image(project: Any, tmp_path: Path) -> None:
    project.write("Dockerfile", CROSS)
    metadata = tmp_path / "m.json"
    project.nacre.env["BUILDX_METADATA_PROVENANCE"] = "disabled"
    project.nacre("build", "-o", "type=cacheonly", "--metadata-file", str(metadata), str(project.folder))
    assert list(json.loads(metadata.read_text())) == ["buildx.build.ref"]
    project.nacre.env["BUILDX_METADATA_PROVENANCE"] = "full"
    failed = project.nacre("build", "--metadata-file", str(metadata), str(project.folder), check=False)
    assert "BUILDX_METADATA_PROVENANCE=full: expected min, max or disabled" in failed.err
    assert others(project) == 0
    assert "nothing changed (2 cached)" in project.build().err


@pytest.mark.skipif(executes("s390x"), reason="this machine executes programs for s390x")
def test_what_cannot_run_is_refused_before_anything_runs(project: Any) -> None:
    text = (
        CROSS
        + "COPY --from=busybox:test / /\nRUN true\nFROM busybox:test\nRUN echo ran\nCOPY --from=1 / /x/\n"
    )
    said = project.fails(text, "--platform", f"{OWN},{OTHER}").err
    assert f"Dockerfile:7:1: this machine cannot run programs for {OTHER}\nhint: register an emulator" in said
    assert "echo ran\n" not in said.replace("RUN echo ran\n", "")
    project.build("FROM --platform=$BUILDPLATFORM busybox:test\nRUN true\n", "--platform", OTHER)


FOREIGN = [name for name in architectures() if name != Platform.host().architecture and executes(name)]


@pytest.mark.skipif(not FOREIGN, reason="this machine executes its own programs only: no emulator")
def test_programs_of_other_platforms_run(project: Any) -> None:
    """Natively, as 386 on amd64, or by whatever emulators are registered (qemu-user-static)."""
    names = [Platform.host().architecture, *FOREIGN]
    for name in names:
        (project.folder / name).write_bytes(program(name))
        (project.folder / name).chmod(0o755)
    text = 'FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /true\nRUN ["/true"]\n'
    platforms = ",".join(f"linux/{name}" for name in names)
    said = project.build(text, "--platform", platforms, "-o", "type=cacheonly").err
    assert f"{2 * len(names)} steps run, 0 cached" in said


def test_a_stage_without_the_cache(project: Any) -> None:
    text = "FROM busybox:test AS one\nRUN echo 1 > /x\nFROM busybox:test\nRUN true\nCOPY --from=one /x /\n"
    project.build(text)
    assert "1 step run, 2 cached" in project.build(text, "--no-cache-filter", "one").err
    said = project.build(text, "--no-cache-filter", "two,stage-1").err
    assert "2 steps run, 1 cached" in said
    assert "WARNING: no-cache-filter two was not consumed" in said


def test_without_a_cache_platforms_share_steps(project: Any) -> None:
    words = ("--platform", f"{OWN},{OTHER}", "--no-cache")
    assert "3 steps run, 1 cached" in project.build(CROSS, *words).err
    assert "3 steps run, 1 cached" in project.build(CROSS, *words).err


def test_bases_of_all_platforms_stay_in_the_store(project: Any, registry: str, another: Any) -> None:
    """The name goes on to mean the base of this machine, and a second build asks no registry."""
    name, platforms = f"{registry}/team/base:1", ("--platform", f"{OWN},{OTHER}")
    other = another("other")
    project.write("Dockerfile", CROSS)
    other("build", *platforms, "-t", name, "--push", str(project.folder))
    text = f"FROM {name}\nCOPY Dockerfile /x\n"
    project.nacre("pull", "-q", name)
    assert "2 steps run" in project.build(text, *platforms).err
    assert project.nacre("inspect", "-f", "{{.Architecture}}", name).out.strip() == OWN[6:]
    again = project.build(text, *platforms).err
    assert "nothing changed" in again
    assert "Unable to find image" not in again
