"""Steps of a build side by side: what waits for what, how it ends, and that results are the same."""

from __future__ import annotations

import json
import random
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from machine import needs_userns, remove

from nacre import Config, Engine
from nacre.ground import userns
from nacre.services.build import BuildOptions

BASE = "FROM busybox:test AS "
MEET = "RUN --network=none --mount=type=cache,id=meet,target=/m "
TIMES = "--build-arg", "SOURCE_DATE_EPOCH="
"""A stage with a cache mount keeps the times of its files, as all do with this."""
WAIT = "n=0; until [ -e /m/{0} ] || [ $n = 300 ]; do n=$((n+1)); usleep 100000; done; [ -e /m/{0} ]"
"""A shell's words that end well once a file is in the folder that steps share; at most 30 seconds."""


def meeting(one: str, other: str) -> str:
    return MEET + f"touch /m/{one}; " + WAIT.format(other) + "\n"


def test_stages_run_side_by_side(project: Any) -> None:
    text = BASE + "a\n" + meeting("a", "b") + BASE + "b\n" + meeting("b", "a")
    done = project.build(text + "FROM scratch\nCOPY --from=a /bin/sh /a\nCOPY --from=b /bin/sh /b\n")
    assert "4 steps run, 0 cached" in done.err
    assert "nothing changed (4 cached)" in project.build().err


def test_no_more_than_were_asked_for(project: Any) -> None:
    alone = MEET + "mkdir /m/alone && usleep 1000 && rmdir /m/alone\n"
    stages = [BASE + f"s{number}\nENV N={number}\n{alone}" for number in range(4)]
    copies = [f"COPY --from=s{number} /bin/sh /s{number}\n" for number in range(4)]
    project.build("".join(stages) + "FROM scratch\n" + "".join(copies), "--parallel", "1")


def test_the_first_failure_ends_the_others(project: Any) -> None:
    """And is what is said, with its lines; what had been done is kept."""
    other = BASE + "b\nRUN echo kept > /kept\n" + MEET + "touch /m/b; sleep 600\n"
    fails = BASE + "a\n" + MEET + WAIT.format("b") + "; \\\n  exit 7\n"
    text = fails + other + "FROM a\nCOPY --from=b /kept /\n"
    result = project.fails(text)
    assert result.lines == []
    said = result.err.rstrip().split("\n")[-1]
    first, second = fails.split("\n")[1:3]
    assert f"   2 | >>> {first}\n   3 | >>> {second}\n" in result.err
    assert said.startswith("nacre: Dockerfile:2: process ")
    assert said.endswith("did not complete successfully: exit code: 7")
    assert [line for line in result.err.split("\n") if line.endswith(" CANCELED")]
    assert project.leftovers() == []
    kept = project.build(BASE + "b\nRUN echo kept > /kept\n", *TIMES)
    assert "nothing changed (1 cached)" in kept.err


def test_interrupt_ends_all_and_keeps_what_is_done(project: Any) -> None:
    first = "RUN echo done > /done\n"
    text = "".join(
        BASE + f"s{number}\n{first if number else ''}" + MEET + f"echo started {number}; sleep 600\n"
        for number in range(3)
    )
    text += "FROM s0\nCOPY --from=s1 /done /1\nCOPY --from=s2 /done /2\n"
    project.interrupted(text, *(b" started %d\n" % number for number in range(3)))
    assert "nothing changed (1 cached)" in project.build(BASE + "x\n" + first, *TIMES).err


def test_a_step_of_two_stages_is_done_once(project: Any) -> None:
    same = "RUN --mount=type=cache,id=count,target=/m echo x >> /m/count; cp /m/count /count\n"
    text = BASE + "a\n" + same + BASE + "b\n" + same + "FROM scratch\n"
    done = project.build(text + "COPY --from=a /count /a\nCOPY --from=b /count /b\n")
    assert "3 steps run, 1 cached" in done.err
    assert "CACHED" in done.err


def test_what_is_done_ahead_is_for_the_platform_of_its_stage(project: Any) -> None:
    project.write("f")
    text = "FROM --platform=linux/arm64 scratch\nCOPY f /f\nCOPY --link f /g\n"
    assert "2 steps run, 0 cached" in project.build(text).err
    assert "nothing changed (2 cached)" in project.build().err


def test_only_an_unused_stage_is_left_out(project: Any) -> None:
    text = BASE + "never\nRUN exit 1\n" + BASE + "app\nRUN true\n"
    assert "never" not in project.build(text).err


def test_large_files_are_read_beside_other_steps(project: Any) -> None:
    """A COPY of files that were never seen is hashed in another process, and remembered here."""
    (project.folder / "large").write_bytes(bytes(9 << 20))
    text = "FROM scratch\nCOPY large /a\nCOPY large /b\n"
    assert "2 steps run, 0 cached" in project.build(text).err
    assert "nothing changed (2 cached)" in project.build().err
    assert "1 step run, 2 cached" in project.build(text + "COPY large /c\n").err


CHAIN = """FROM busybox:test
RUN mkdir /d; for i in 1 2 3 4 5 6 7 8 9; do echo $i > /d/$i; done; chmod 711 /; touch -d @1 /d /d/* /
ENV A=1
RUN [ $(ls /d | wc -l) = 9 ] && rm /d/7 && echo $A > /two; touch -d @1 /two /d /
RUN [ ! -e /d/7 ] && rm -r /d && mkdir /d && mv /two /three && touch -d @1 /three /d /
RUN [ -z "$(ls /d)" ] && cat /three > /four; touch -d @1 /four /
RUN true
RUN stat -c %a / > /mode; touch -d @1 /mode /
COPY Dockerfile /
"""


def test_a_chain_of_commands_is_the_same_image(project: Any, another: Any, busybox_image: str) -> None:
    """Whether a command begins while the layer of the one before it is being written, or not."""
    project.write("Dockerfile", CHAIN)
    project.nacre("save", "-o", str(project.folder.parent / "busybox.tar"), busybox_image)
    found = set()
    for parallel in ("1", "2"):
        other = another(f"store-{parallel}")
        other("load", "-i", str(project.folder.parent / "busybox.tar"))
        words = ("build", "--parallel", parallel, "-t", "app", str(project.folder))
        assert "7 steps run, 0 cached" in other(*words).err
        assert "nothing changed (7 cached)" in other(*words).err
        layers = other("inspect", "app").json[0]["RootFS"]["Layers"]
        found.add(tuple(layers[-5:]))  # the first command has mount points made, at the time of the build
        assert not list(other.root.glob("active/*"))
    assert len(found) == 1


def test_a_command_that_fails_over_another_leaves_that_in_the_cache(project: Any) -> None:
    first = BASE + "a\nRUN echo kept > /kept\n"
    result = project.fails(first + "RUN cat /kept; exit 9\n")
    assert " kept\n" in result.err
    assert project.leftovers() == []
    assert "nothing changed (1 cached)" in project.build(first).err


def test_much_that_is_copied_shows_its_progress(project: Any) -> None:
    with (project.folder / "large").open("wb") as file:
        file.truncate(65 << 20)
    lines = project.build("FROM scratch\nCOPY large /\n", "--progress", "json").lines
    events = [json.loads(line) for line in lines]
    shown = [event for event in events if event.get("id", "").endswith(" files")]
    assert {"Reading", "Copying", "read", "copied"} == {event["status"] for event in shown}
    assert any(event["progressDetail"]["total"] == 65 << 20 for event in shown if "progressDetail" in event)


def test_a_library_builds_one_step_after_the_other_unless_told(project: Any, tmp_path: Path) -> None:
    """It must not fork a program that it knows nothing of."""
    if not userns.mapped():
        needs_userns()
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "f").write_text("x")
    text = "FROM scratch AS a\nCOPY f /f\nFROM scratch\nCOPY --from=a /f /g\n"
    (folder / "Dockerfile").write_text(text)
    found = set()
    with ExitStack() as after:
        for parallel in (0, 2):
            root = tmp_path / f"store{parallel}"
            after.callback(remove, root)
            with Engine(Config(root=str(root))) as engine:
                built = engine.build(str(folder), options=BuildOptions(parallel=parallel))
                assert (built.ran, built.cached) == (2, 0)
                found.add(built.image.id)
    assert len(found) == 1


def graph(seed: int) -> str:
    """A Dockerfile of stages that copy from each other, the last from all."""
    chosen, stages = random.Random(seed), []
    for number in range(5):
        base = chosen.choice(["busybox:test", "scratch", *(f"s{other}" for other in range(number))])
        lines = [f"FROM {base} AS s{number}", f"ENV N{number}=1", "WORKDIR /w"]
        for step in range(chosen.randrange(1, 4)):
            source = f"--from=s{chosen.randrange(number)} /w" if number and chosen.random() < 0.5 else "f"
            link = chosen.choice(["", "--link "])
            lines.append(f"COPY {link}{source} /w/{number}-{step}/")
            lines.append(f"COPY <<EOF /w/text-{number}-{step}\n{chosen.random()}\nEOF")
        stages.append("\n".join(lines) + "\n")
    return "".join(stages) + "FROM scratch\n" + "".join(f"COPY --from=s{n} /w /{n}/\n" for n in range(5))


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_the_same_image(project: Any, another: Any, busybox_image: str, seed: int) -> None:
    project.write("f", "content")
    project.write("Dockerfile", graph(seed))
    project.nacre("save", "-o", str(project.folder.parent / "busybox.tar"), busybox_image)
    found = set()
    for parallel in ("1", "7"):
        other = another(f"store-{parallel}")
        other("load", "-i", str(project.folder.parent / "busybox.tar"))
        words = ("build", "-q", "--parallel", parallel, str(project.folder))
        found.add(other(*words).out)
    assert len(found) == 1


def test_two_projects_share_a_store(project: Any, tmp_path: Path) -> None:
    """At once, with the same steps and others; both come out as they would alone."""
    outs: dict[int, Any] = {}
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "f").write_text(str(number))
        stages = [BASE + f"s{stage}\nRUN echo {stage} > /x\nCOPY f /f\n" for stage in range(3)]
        copies = [f"COPY --from=s{stage} /f /f{stage}\n" for stage in range(3)]
        (folder / "Dockerfile").write_text("".join(stages) + "FROM scratch\n" + "".join(copies))

    def build(number: int) -> None:
        outs[number] = project.nacre("build", "-t", f"app{number}", str(folders[number]), check=False)

    threads = [threading.Thread(target=build, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outs[number].code for number in range(2)] == [0, 0], outs
    for number in range(2):
        again = project.nacre("build", "-t", "again", "--parallel", "1", str(folders[number]))
        assert "nothing changed" in again.err
    assert project.leftovers() == []
