"""`nacre buildx history`: the records of builds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.engine.buildhistory import BuildFault, BuildRecord, builds, find
from nacre.stores.buildrecords import MOST, RecordWriter, events, records, remove

GOOD = "FROM scratch\nLABEL a=b\nCOPY f /f\n"
BAD = "FROM scratch\nARG COLOUR\nARG API_TOKEN\nCOPY absent /f\n"


def test_builds_are_listed_and_shown(project: Any) -> None:
    project.write("f", "x")
    shown = project.build(GOOD, "--label", "l=m").err
    project.fails(BAD, "--build-arg", "COLOUR=blue", "--build-arg", "API_TOKEN=hush", "-q")
    rows = history(project, "ls", "--format", "json")
    assert [row["status"] for row in rows] == ["Error", "Completed"]
    assert {row["name"] for row in rows} == {project.folder.name}
    refs = [row["ref"].removeprefix("default/default/") for row in rows]
    found = {
        words: [row["ref"][16:] for row in history(project, "ls", "--format=json", "--filter", words)]
        for words in ("status=error", "status!=error", f"ref={refs[1]}", "duration>1h", "startedAt>1h")
    }
    assert list(found.values()) == [refs[:1], refs[1:], refs[1:], [], refs]

    (bad,) = history(project, "inspect", "--format", "json")
    assert (bad["Ref"], bad["Status"], bad["Dockerfile"]) == (refs[0], "failed", "Dockerfile")
    arguments = [{"Name": "COLOUR", "Value": "blue"}, {"Name": "API_TOKEN", "Value": "<hidden>"}]
    assert bad["BuildArgs"] == arguments
    assert "absent" in bad["Error"]["Message"]
    text = project.nacre("buildx", "history", "inspect").out
    assert "   4 | >>> COPY absent /f\n" in text
    assert f"Context:\t{bad['Context']}\n" in text
    assert os.path.basename(bad["Context"]) == project.folder.name
    record = (project.nacre.root / "build" / "records" / refs[0]).read_text()
    assert "hush" not in record

    (good,) = history(project, "inspect", "--format", "json", "^1")
    assert (good["Ref"], good["Status"], good["Labels"]) == (
        refs[1], "completed", [{"Name": "l", "Value": "m"}],
    )  # fmt: skip
    assert good["NumTotalSteps"] == good["NumCompletedSteps"] > 2
    (image,) = good["Attachments"]
    inspected = history(project, "inspect", "attachment", refs[1], image["Digest"])
    assert inspected == history(project, "inspect", "attachment", "^1")
    (config,) = history(project, "inspect", "attachment", "--type", "image", "^1")
    assert config["config"]["Labels"] == {"a": "b", "l": "m"}
    said = [line for line in shown.splitlines() if line.startswith("#")]
    assert project.nacre("buildx", "history", "logs", "^1").err.splitlines() == said
    raw = project.nacre("buildx", "history", "logs", "--progress", "rawjson", refs[1]).err
    assert any("vertexes" in json.loads(line) for line in raw.splitlines())

    project.nacre("buildx", "history", "rm", refs[0])
    assert [row["ref"][16:] for row in history(project, "ls", "--format", "json")] == refs[1:]
    project.nacre("buildx", "history", "rm", "--all")
    assert project.nacre("buildx", "history", "ls").out.split() == [
        "BUILD", "ID", "NAME", "STATUS", "CREATED", "AT", "DURATION",
    ]  # fmt: skip
    assert "no records found" in project.nacre("buildx", "history", "inspect", check=False).err


def history(project: Any, *words: str) -> list[Any]:
    """The documents that a command prints."""
    text, found, decoder = project.nacre("buildx", "history", *words).out, [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_what_is_said_of_an_image_is_kept(project: Any, tmp_path: Path) -> None:
    pytest.importorskip("packageurl")
    project.write("f", "x")
    project.build(GOOD, "--provenance=mode=max", "-o", f"type=oci,dest={tmp_path}/a.tar")
    (found,) = history(project, "inspect", "attachment", "--type", "provenance")
    assert found["buildDefinition"]["externalParameters"]["configSource"] == {"path": "Dockerfile"}
    (shown,) = history(project, "inspect", "--format", "json")
    (one,) = (each for each in shown["Attachments"] if each["Type"].startswith("https://slsa.dev/"))
    assert history(project, "inspect", "attachment", "", one["Digest"]) == [found]


def test_a_store_that_takes_no_records_is_built_in(project: Any) -> None:
    project.write("f", "x")
    (project.nacre.root / "build").mkdir(parents=True)
    (project.nacre.root / "build" / "records").write_text("")
    project.build(GOOD)
    assert project.nacre("buildx", "history", "ls").out.count("\n") == 1


def test_a_build_at_work_and_one_that_was_killed(tmp_path: Path) -> None:
    root = str(tmp_path)
    writer = RecordWriter(root, {"context": "/a"})
    assert [(one.ref, one.running, one.ended) for one in records(root)] == [(writer.ref, True, {})]
    assert remove(root, [writer.ref]) == []
    code = (
        f"import os; from nacre.stores.buildrecords import RecordWriter as R; R({root!r}, {{}}); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    killed, running = records(root)
    assert (running.ref, running.running, killed.running, killed.ended) == (writer.ref, True, False, {})
    writer.tell("begin", 1, "a", always=True)
    store: Any = SimpleNamespace(root=root)
    assert builds(store)[0].status == "running"
    interrupted = find(store, killed.ref)
    assert interrupted.fault == BuildFault("the build was interrupted")
    assert interrupted.completed >= int(interrupted.started)
    writer.end({"status": "completed"})
    writer.end({"status": "error"})
    assert find(store, writer.ref).steps == 1
    assert [one.ended.get("status") for one in records(root)] == [None, "completed"]
    assert sorted(remove(root, [writer.ref, killed.ref, "../a"])) == sorted([writer.ref, killed.ref])


def test_records_are_bounded(tmp_path: Path) -> None:
    root = str(tmp_path)
    kept = RecordWriter(root, {})
    for _ in range(MOST + 3):
        RecordWriter(root, {}).end({})
    assert MOST <= len(records(root)) <= MOST + 1
    assert [one.ref for one in records(root) if one.running] == [kept.ref]
    for number in range(40):
        kept.tell("output", 1, 0.0, "stdout", ["x" * (1 << 16)])
        kept.tell("end", number, "DONE", 0.0, "")
    assert not kept.say("type", "linux/amd64", "sha256:0", "x" * (9 << 20))
    kept.end({"status": "completed"})
    told = list(events(root, kept.ref))
    assert sum(event[0] == "output" for event in told) == 15
    assert [one.ended.get("status") for one in records(root) if one.ref == kept.ref] == ["completed"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]\n", '{"version":2}\n', '{"version":1,"started":"x"}\n{"completed":[]}\n']
)
def test_a_damaged_record_is_none_or_one_that_was_interrupted(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "build" / "records"
    folder.mkdir(parents=True)
    (folder / ("0" * 25)).write_text(text)
    found = builds(SimpleNamespace(root=str(tmp_path)))  # type: ignore[arg-type]
    assert [one.status for one in found] == ["error"] * ("completed" in text)
    assert all(one.fault and one.fault.message == "the build was interrupted" for one in found)


NAMES = [
    ({"context": "/a/app"}, "app"),
    ({"context": "/a/app", "dockerfile": "Dockerfile", "target": "web"}, "app (web)"),
    ({"context": "/a/app", "dockerfile": "/a/app/docker/Dockerfile"}, "app/docker"),
    ({"context": "/a/app", "dockerfile": "/a/app/web.Dockerfile"}, "app/web.Dockerfile"),
    ({"context": "/a/app", "dockerfile": "/b/web/x.Dockerfile"}, "web/x.Dockerfile"),
    ({"context": "https://example.org/a.git#main"}, "https://example.org/a.git#main"),
    ({"context": "-", "target": "web"}, "web"),
    ({"context": "/a", "arguments": (("BUILDKIT_BUILD_NAME", "mine"),)}, "mine"),
]


@pytest.mark.parametrize(("fields", "name"), NAMES)
def test_names_are_put_together_as_by_buildx(fields: dict[str, Any], name: str) -> None:
    assert BuildRecord("r", "completed", 0.0, 1.0, **fields).name == name


@pytest.mark.parametrize("words", [["open"], ["export", "--all"], ["import", "-"], ["trace", "^1"]])
def test_what_needs_docker_desktop_is_refused(words: list[str], nacre: Any) -> None:
    said = nacre("buildx", "history", *words, check=False)
    assert said.code == 1
    assert f"nacre buildx history {words[0]}: " in said.err


WRONG = [
    (["ls", "--filter", "status"], "invalid filter"),
    (["ls", "--filter", "colour=red"], "unsupported filter"),
    (["ls", "--filter", "status>error"], "invalid separator"),
    (["ls", "--filter", "duration=1s"], "invalid separator"),
    (["ls", "--filter", "startedAt>soon"], "invalid time soon"),
    (["inspect", "^x"], "invalid offset"),
    (["inspect", "^5"], "no build found with offset 5"),
    (["inspect", "attachment", "--type", "x"], "unknown attachment type"),
    (["rm"], "rm requires"),
    (["rm", "--all", "x"], "rm requires"),
    (["rm", "x"], "no record found for ref 'x'"),
]


@pytest.mark.parametrize(
    ("words", "said"), WRONG, ids=lambda value: value if isinstance(value, str) else None
)
def test_errors_say_what_is_wrong(words: list[str], said: str, nacre: Any) -> None:
    result = nacre("buildx", "history", *words, check=False)
    assert result.code != 0
    assert said in result.err
