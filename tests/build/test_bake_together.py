"""Targets of a bake file side by side: one graph, one log, one failure."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from nacre import Config, Engine
from nacre.engine.targets import BakeTarget
from nacre.services.build import BuildOptions
from nacre.words.errors import BuildFailed, UsageError

BASE = "FROM busybox:test\n"
MEET = "RUN --network=none --mount=type=cache,id=meet,target=/m "
WAIT = "n=0; until [ -e /m/{0} ] || [ $n = 1200 ]; do n=$((n+1)); usleep 100000; done; [ -e /m/{0} ]"
"""A shell's words that end well once a file is in the folder that steps share; at most two minutes."""


def bake_file(folder: Path, targets: dict[str, dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    document = {"group": {"default": {"targets": [*targets]}}, "target": targets}
    (folder / "docker-bake.json").write_text(json.dumps(document))


def inline(text: str, **fields: Any) -> dict[str, Any]:
    return {"dockerfile-inline": text, **fields}


def test_targets_meet(project: Any, tmp_path: Path) -> None:
    """Two that wait for each other, and one that is made from both; what is common is done once."""
    same = "RUN --mount=type=cache,id=count,target=/m echo x >> /m/count; cp /m/count /count\n"
    bake_file(tmp_path, {
        "one": inline(BASE + same + MEET + "touch /m/a; " + WAIT.format("b"), tags=["one"]),
        "two": inline(BASE + same + MEET + "touch /m/b; " + WAIT.format("a"), tags=["two"]),
        "both": inline(
            "FROM x\nCOPY --from=y /count /second\n", contexts={"x": "target:one", "y": "target:two"}
        ),
    })  # fmt: skip
    done = project.nacre("bake", "--progress=plain")
    told = [line.rpartition(": ")[2] for line in done.err.splitlines() if line.startswith("target ")]
    assert [words.partition(",")[0] for words in told] == ["2 steps run", "1 step run", "1 step run"]
    assert "#1 [one internal] load build definition from Dockerfile" in done.err
    assert "[two 3/3] RUN" in done.err
    again = project.nacre("bake", "--progress=plain")
    assert again.err.count("nothing changed") == 3


def test_the_first_failure_ends_all_targets(project: Any, tmp_path: Path) -> None:
    """It is told with its target and lines, and nothing has a name then."""
    bake_file(tmp_path, {
        "good": inline("FROM scratch\nCOPY docker-bake.json /\n", tags=["good"]),
        "long": inline(BASE + MEET + "touch /m/long; sleep 600\n", tags=["long"]),
        "bad": inline(BASE + MEET + WAIT.format("long") + "; exit 7\n", tags=["bad"]),
    })  # fmt: skip
    done = project.nacre("bake", "--progress=plain", check=False)
    assert done.code == 1
    assert "nacre: target bad: Dockerfile:2: process " in done.err
    assert "   2 | >>> RUN" in done.err
    assert any(line.endswith(" CANCELED") for line in done.err.splitlines())
    assert project.nacre("images", "-q", "good").out == ""
    assert project.leftovers() == []


def test_a_fault_in_one_of_several_dockerfiles(nacre: Any, tmp_path: Path) -> None:
    bake_file(
        tmp_path, {"a": inline("FROM scratch\nCOPY docker-bake.json /\n"), "b": inline("FROM scratch\nRUM\n")}
    )
    done = nacre("bake", check=False)
    assert "nacre: target b: Dockerfile:2:1: unknown instruction: 'RUM'" in done.err
    assert " 2 | RUM\n" in done.err


def test_ctrl_c_ends_all_targets(project: Any, tmp_path: Path) -> None:
    targets = {name: inline(BASE + f"RUN --network=none echo started {name}; sleep 600\n") for name in "ab"}
    bake_file(tmp_path, targets)
    process = project.nacre.start("bake", "--progress=plain", start_new_session=True)
    seen, deadline = b"", time.monotonic() + 120
    while not (b" started a\n" in seen and b" started b\n" in seen) and time.monotonic() < deadline:
        seen += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, seen + rest
    assert b"Traceback" not in rest
    assert project.leftovers() == []


def test_platforms_are_made_from_the_same_platforms(nacre: Any, tmp_path: Path) -> None:
    both = ["linux/amd64", "linux/arm64"]
    bake_file(tmp_path, {
        "base": inline("FROM scratch\nARG TARGETARCH\nCOPY docker-bake.json /$TARGETARCH\n", platforms=both),
        "app": inline(
            "FROM base\nCOPY docker-bake.json /app\n", platforms=both, contexts={"base": "target:base"},
            output=["type=local,dest=out"],
        ),
        "other": inline("FROM base\n", platforms=["linux/s390x"], contexts={"base": "target:base"}),
    })  # fmt: skip
    nacre("bake", "app")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert [each for each in found if each.endswith("64") and "/" in each] == [
        "linux_amd64/amd64", "linux_arm64/arm64",
    ]  # fmt: skip
    failed = nacre("bake", "other", check=False)
    assert "target other: the target base is not built for linux/s390x" in failed.err


def test_checks_of_a_target_that_is_made_from_another(nacre: Any, tmp_path: Path) -> None:
    bake_file(tmp_path, {
        "base": inline("FROM scratch\nCOPY docker-bake.json /\n"),
        "app": inline("FROM base as x\nCOPY docker-bake.json /x\n", contexts={"base": "target:base"}),
    })  # fmt: skip
    done = nacre("bake", "--check", check=False)
    assert "FromAsCasing" in done.out + done.err
    strict = "# check=error=true\nFROM base\nCOPY docker-bake.json /x\n"
    bake_file(tmp_path, {
        "base": inline("FROM scratch\nCOPY docker-bake.json /\n"),
        "app": inline(strict, contexts={"base": "target:base"}),
    })  # fmt: skip
    assert "built 2 targets" in nacre("bake").err


def test_the_api(tmp_path: Path, nacre: Any) -> None:
    """One step after the other, in a process that must not be forked."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c/f").write_text("f")
    (tmp_path / "c/Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (tmp_path / "c/second").write_text("FROM base\nCOPY f /g\n")
    linked = BuildOptions(contexts=(("base", "target:base"),))
    with Engine(Config(root=str(nacre.root))) as engine:
        made = engine.bake.build([
            BakeTarget("base", tmp_path / "c"),
            BakeTarget("app", tmp_path / "c", tmp_path / "c/second", linked),
        ])  # fmt: skip
        assert [len(built.image.diff_ids) for built in made.values()] == [1, 2]
        with pytest.raises(UsageError, match="targets must be a sequence of targets"):
            engine.bake.build("base")  # type: ignore[arg-type]
        (tmp_path / "c/second").write_text("FROM base\nRUN exit 3\n")
        with pytest.raises(BuildFailed, match="target app: "):
            engine.bake.build([
                BakeTarget("base", tmp_path / "c"),
                BakeTarget("app", tmp_path / "c", tmp_path / "c/second", linked),
            ])  # fmt: skip
