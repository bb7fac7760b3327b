"""A build says why a step is not in the cache, and what it would do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.services.build.content import content_of
from nacre.services.build.difference import KeyContext, reason
from nacre.services.build.history import BuildHistory, StepPlace
from nacre.services.build.items import CopyItem
from nacre.services.build.keys import CopyKey, RunKey
from nacre.services.build.lists import FileChange, FileLists, in_detail, in_short
from nacre.services.build.select import Selection

BASE = "FROM busybox:test\n"
RUN = RunKey(
    "parent", "linux/amd64", None, ("/bin/sh", "-c", "make"), (("A", "1"), ("TOKEN", "x")), "", "/", ""
)
KNOWN = KeyContext({"A"}, lambda name: name == "TOKEN", lambda old, new: [FileChange("f", "f changed")])


def why(result: Any) -> list[str]:
    """What a build says of steps that are not cached."""
    return [line.partition(": ")[2] for line in result.err.splitlines() if " not cached: " in line]


@pytest.mark.parametrize(
    ("fields", "text", "details"),
    [
        ({"env": (("A", "2"), ("TOKEN", "x"))}, "build argument A changed", ['A: "1" → "2"']),
        ({"env": (("A", "1"), ("TOKEN", "y"))}, "variable TOKEN changed", []),
        ({"env": (("TOKEN", "x"), ("A", "1"))}, "the order of the variables changed", []),
        ({"argv": ("true",)}, "the command changed", ['the command: ["/bin/sh", "-c", "make"] → ["true"]']),
        ({"user": "app"}, "the user changed", ['the user: "" → "app"']),
        ({"clamp": 5}, "SOURCE_DATE_EPOCH changed", ["SOURCE_DATE_EPOCH: none → 5"]),
        ({"mounts": ("type=cache,target=/c ",)}, "mount type=cache,target=/c is new", []),
        ({"mounts": ("insecure",)}, "mount insecure is new", []),
        ({"user": "a", "network": "none"}, "--network changed, the user changed", None),
    ],
)
def test_what_differs_between_two_keys(fields: dict[str, Any], text: str, details: list[str] | None) -> None:
    found = reason(RUN.inputs, RUN.replace(**fields), KNOWN)
    assert found is not None
    assert (found.text, found.is_beneath) == (text, False)
    assert details is None or list(found.details) == details


def test_files_of_a_mount_are_named() -> None:
    old, new = (RUN.replace(mounts=(f"type=bind,target=/s {content}",)) for content in ("aa", "bb"))
    found = reason(old.inputs, new, KNOWN)
    assert found is not None
    assert found.text == "mount type=bind,target=/s: f changed"


def test_only_what_is_beneath_differs() -> None:
    found = reason(RUN.inputs, RUN.replace(parent="other"), KNOWN)
    assert found is not None
    assert found.is_beneath
    same = reason(RUN.inputs, RUN, KNOWN)
    assert same is not None
    assert (same.text, same.is_beneath) == ("", False)


@pytest.mark.parametrize("record", ["", "[]", "{", '[9,"RunKey",{}]', "null"])
def test_a_record_that_is_nothing_of_the_kind(record: str) -> None:
    assert reason(record, RUN, KNOWN) is None
    copy = CopyKey("parent", "linux/amd64", None, "content", "/", "", "", unpack=False)
    assert reason(copy.inputs, RUN, KNOWN) is None


def lists(folder: Path, *trees: dict[str, tuple[int, bytes]]) -> tuple[FileLists, list[str]]:
    """Lists of these files, and their digests."""
    kept, digests = FileLists(str(folder)), []
    for tree in trees:
        files = [(b"", CopyItem(b"", "dir", 0o755, 0))]
        contents = {}
        for name, (mode, content) in tree.items():
            files.append((name.encode(), CopyItem(name.encode(), "file", mode, 0, size=len(content))))
            contents[name.encode()] = content.ljust(32, b"\0")
        source: Any = type("Source", (), {"digest": lambda self, item, known=contents: known[item.path]})()
        digests.append(content_of(source, [Selection(b"src", tuple(files))], kept.keep))
    return kept, digests


def test_files_that_changed_are_named(tmp_path: Path) -> None:
    before = {"a": (0o644, b"1"), "b": (0o644, b"1"), "c": (0o644, b"1"), "z\xff": (0o644, b"1")}
    now = {"a": (0o644, b"2"), "b": (0o755, b"1"), "d": (0o644, b"1"), "z\xff": (0o644, b"1")}
    kept, (old, new) = lists(tmp_path, before, now)
    found = kept.changes(old, new)
    assert [one.what for one in found] == [
        "src/a changed", "the mode of src/b changed from 0644 to 0755", "src/c is gone", "src/d is new",
    ]  # fmt: skip
    assert in_short(found) == "src/a changed, and 3 more files"
    assert in_short(found[:2]) == "src/a changed, the mode of src/b changed from 0644 to 0755"
    assert in_detail(found)[2] == f"src/c: sha256:{b'1'.hex().ljust(12, '0')} → none"


def test_lists_that_are_gone_or_damaged_cost_only_the_names(tmp_path: Path) -> None:
    kept, (old, new) = lists(tmp_path, {"a": (0o644, b"1")}, {"a": (0o644, b"2")})
    (tmp_path / f"list-{old}").write_bytes(b"[\xff\xff")
    assert kept.changes(old, new) == []
    (tmp_path / f"list-{old}").unlink()
    assert kept.changes(old, new) == []
    assert in_short([]) == "the files changed"


def test_lists_are_bounded(tmp_path: Path) -> None:
    kept = FileLists(str(tmp_path))
    for number in range(70):
        kept.keep(f"{number:064x}", [b"0 0 x\0"])
    assert len(list(tmp_path.iterdir())) == 64


def test_the_last_build_is_remembered(tmp_path: Path) -> None:
    first = BuildHistory(str(tmp_path), "app")
    make, copy = StepPlace("main", 3, "RUN make"), StepPlace("main", 2, "COPY a b")
    first.note(copy, "c", done=True)
    first.note(make, "m", done=False)
    first.save(())
    assert BuildHistory(str(tmp_path), "other").before(make, ()) is None
    second = BuildHistory(str(tmp_path), "app")
    found = second.before(StepPlace("main", 9, "RUN make"), ())
    assert found is not None
    assert (found.record, found.done) == ("m", False)
    texts = {"RUN make all", "COPY a b"}
    changed = second.before(StepPlace("main", 3, "RUN make all"), texts)
    assert changed is not None
    assert changed.place == make
    assert second.before(StepPlace("main", 4, "RUN more"), {*texts, "RUN make", "RUN more"}) is None
    second.note(copy, "c2", done=True)
    second.save({"RUN make"})
    third = BuildHistory(str(tmp_path), "app")
    assert [one.record for one in (third.before(copy, ()), third.before(make, ())) if one] == ["c2", "m"]
    third.note(copy, "c3", done=True)
    third.save(())
    assert BuildHistory(str(tmp_path), "app").before(make, {"RUN make"}) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version":1,"steps":[[1]]}', b'{"version":2}'])
def test_a_damaged_memory_is_none(tmp_path: Path, data: bytes) -> None:
    build = BuildHistory(str(tmp_path), "app")
    build.note(StepPlace("main", 2, "RUN x"), "r", done=True)
    build.save(())
    (path,) = tmp_path.iterdir()
    path.write_bytes(data)
    assert not BuildHistory(str(tmp_path), "app").is_known


def test_each_miss_names_what_has_changed(project: Any) -> None:
    for name in ("a", "src/b", "m"):
        project.write(name, "1")
    text = (
        BASE + "ARG V=1\nENV W=1\nCOPY a /a\nCOPY src /src/\n"
        "RUN --mount=type=bind,source=m,target=/m cat /m > /n\n"
        "FROM scratch\nCOPY --from=0 /src /s\n"
    )
    assert why(project.build(text)) == []
    assert why(project.build(text)) == []
    table = next(path for path in (project.nacre.root / "build" / "contexts").glob("steps-*"))
    stamp = table.stat().st_mtime_ns
    assert why(project.build(text)) == []
    assert table.stat().st_mtime_ns == stamp
    project.write("src/b", "2")
    project.write("m", "2")
    said = why(project.build(text))
    assert "src/b changed" in said
    assert "mount type=bind,source=m,target=/m: m changed" in said
    assert "s/b changed" in [line.replace("src/", "s/") for line in said]
    assert why(project.build(text, "--build-arg", "V=2")) == ["build argument V changed"]
    other = text.replace("COPY a /a", "COPY a /aa").replace("W=1", "W=2")
    said = why(project.build(other, "--build-arg", "V=2"))
    assert said[0] == "the instruction changed"
    assert "variable W changed" in said


def test_a_failed_step_and_a_lost_layer(project: Any) -> None:
    text = BASE + "RUN echo x > /x\nRUN exit 3\n"
    project.fails(text)
    assert why(project.fails(text)) == ["it did not succeed the last time"]
    with closing(sqlite3.connect(project.nacre.root / "nacre.db")) as database:
        database.execute("DELETE FROM step WHERE layer <> ''")
        database.commit()
    assert why(project.fails(text))[0] == "its layer is gone"


def test_another_base_is_named(project: Any) -> None:
    for number in "12":
        project.write("Base", BASE + f"RUN echo {number} > /one\n")
        project.build("FROM base\nRUN true\n", "-f", str(project.folder / "Base"), tag="base")
        said = project.nacre("build", "--explain", str(project.folder)).out
        assert why(project.build()) == ["base image base changed"] * (number == "2")
    assert "RUN true: would run: base image base changed\n    base: sha256:" in said


def test_explain_builds_nothing(project: Any) -> None:
    project.write("f", "1")
    text = BASE + "COPY f /f\nWORKDIR /w\nRUN cat /f > g\nFROM scratch\nCOPY --from=0 /w/g /\n"
    project.write("Dockerfile", text)
    said = project.nacre("build", "--explain", "-t", "app", str(project.folder)).out
    assert "[stage-0 2/4] COPY f /f: would run\n" in said
    assert project.nacre("images", "-q", "app").out == ""
    project.build(text)
    said = project.nacre("build", "--explain", str(project.folder)).out
    assert said.endswith("0 steps would run, 4 cached\n")
    project.write("f", "2")
    said = project.nacre("build", "--explain", str(project.folder)).out
    assert "COPY f /f: would run: f changed\n    f: sha256:6b86b273ff34 → sha256:d4735e3a265e\n" in said
    assert "[stage-0 3/4] WORKDIR /w: may run: step 2/4 made other files\n" in said
    assert "1 step would run, 0 cached, 3 not known before" in said
    assert project.leftovers() == []
    said = project.nacre("build", "--explain", "--no-cache", str(project.folder)).out
    assert "RUN cat /f > g: would run: --no-cache\n" in said
    project.write("Dockerfile", "FROM scratch\nADD http://127.0.0.1:1/x /\nCOPY --from=no.invalid/x /a /b\n")
    said = project.nacre("build", "--explain", "--network", "none", str(project.folder)).out
    assert "may run: it is fetched" in said
    assert "may run: image no.invalid/x has to be pulled" in said


def test_a_failure_shows_output_and_lines(project: Any) -> None:
    script = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; printf '\\033[31mred'; exit 3"
    result = project.fails(BASE + f"ENV A=1\n\nRUN {script}\nCMD x\n", "-q")
    lines = result.err.splitlines()
    assert lines[:4] == ["------", f" > [2/2] RUN {script}:", "line 12", "line 13"]
    assert lines[20:29] == [
        "line 30", "red", "------", "Dockerfile:4", "-" * 20, "   2 |     ENV A=1", "   3 |     ",
        f"   4 | >>> RUN {script}", "   5 |     CMD x",
    ]  # fmt: skip
    assert lines[-1].startswith("nacre: Dockerfile:4: process ")


def test_a_shell_where_a_step_failed(project: Any) -> None:
    text = (
        BASE + "ENV A=b\nWORKDIR /w\nUSER user\n"
        "RUN --mount=type=tmpfs,target=/t touch /tmp/left /t/there && exit 3\n"
    )
    script = b"pwd; ls -d /tmp/left /t; echo $A; id -u; exit 9\n"
    result = project.fails(text, "--on-fail", "shell", input=script)
    assert result.out == "/w\n/t\n/tmp/left\nb\n1000\n"
    assert "A shell where the step failed" in result.err
    assert "   5 | >>> RUN --mount" in result.err
    assert result.err.splitlines()[-1].endswith("exit code: 3")
    assert project.leftovers() == []
    said = project.build(text, "--on-fail", "shell", check=False, input=b"").err
    assert "ends, and the build fails" in said
    refused = project.nacre("build", "--on-fail", "shell", "-", check=False, input=b"FROM scratch\n")
    assert "standard input is the build's" in refused.err
