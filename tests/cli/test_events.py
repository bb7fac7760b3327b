"""The journal of what happens in a store."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nacre.engine import Config, Engine
from nacre.stores import events
from nacre.stores.eventlog import read_events

if TYPE_CHECKING:
    from conftest import Nacre


def told(nacre: Nacre, *words: str) -> list[str]:
    return list(nacre("events", "--since", "1", "--until", "0s", *words).lines)


def test_the_life_of_a_container(nacre: Nacre, busybox_image: str) -> None:
    number = nacre("run", "-d", "-l", "k=v", "--name", "first", busybox_image, "sleep", "1000").out.strip()
    for words in (["pause"], ["unpause"], ["stop", "-t", "0"], ["rename"], ["rm"]):
        nacre(
            *words,
            *(["first", "second"] if words == ["rename"] else ["second" if words == ["rm"] else "first"]),
        )
    actions = told(nacre, "--filter", "type=container", "--format", "{{.Action}}")
    assert actions == [
        "create",
        "start",
        "pause",
        "unpause",
        "kill",
        "kill",
        "die",
        "stop",
        "rename",
        "destroy",
    ]
    (line,) = told(nacre, "--filter", "event=rename")
    assert (
        line.split(" ", 1)[1]
        == f"container rename {number} (image={busybox_image}, k=v, name=second, oldName=/first)"
    )
    (document,) = map(json.loads, told(nacre, "--filter", "event=die", "--format", "json"))
    assert document["Actor"]["ID"] == number
    attributes = document["Actor"]["Attributes"]
    assert int(attributes.pop("execDuration")) < 60
    assert attributes == {"image": busybox_image, "k": "v", "name": "first", "exitCode": "137"}
    assert (document["Type"], document["status"], document["scope"]) == ("container", "die", "local")


def test_of_a_container_that_is_removed(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "--rm", busybox_image, "true")
    assert told(nacre, "--filter", "type=container", "--format", "{{.Action}}") == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_networks_of_a_container(nacre: Nacre, busybox_image: str) -> None:
    """As docker tells them: joined before the start, left before the end, by the ids that `inspect` shows."""
    for name, driver in (("none", "null"), ("host", "host")):
        number = nacre("create", "--name", name, "--network", name, busybox_image, "true").out.strip()
        nacre("start", "-a", name)
        found = told(nacre, "-f", f"network={name}", "--format", "{{.Action}}")
        assert found == ["connect", "disconnect"]
        (line, _) = told(nacre, "-f", "type=network", "-f", f"network={name}", "--format", "json")
        id = nacre("network", "inspect", "-f", "{{.Id}}", name).out.strip()
        actor = {"container": number, "name": name, "type": driver}
        assert json.loads(line)["Actor"] == {"ID": id, "Attributes": actor}
    nacre("create", "--name", "shared", "--network", "container:host", busybox_image, "true")
    order = told(nacre, "-f", "type=network", "-f", "type=container", "--format", "{{.Type}} {{.Action}}")
    whole = ["container create", "network connect", "container start", "network disconnect", "container die"]
    assert order == [*whole, *whole, "container create"]


def test_images_volumes_and_filters(nacre: Nacre, busybox_image: str) -> None:
    nacre("volume", "create", "data")
    nacre("volume", "rm", "data")
    nacre("tag", busybox_image, "other:1")
    nacre("rmi", "other:1")
    found = told(nacre, "--filter", "type=volume", "--format", "{{.Type}} {{.Action}} {{.Actor.ID}}")
    assert found == ["volume create data", "volume destroy data"]
    id = nacre("image", "inspect", "-f", "{{.Id}}", busybox_image).out.strip()
    form = "{{.Action}} {{.ID}} {{.Actor.Attributes.name}}"
    tagged, untagged = told(nacre, "--filter", "event=untag", "--filter", "event=tag", "--format", form)[-2:]
    assert (tagged, untagged) == (f"tag {id} other:1", f"untag {id} {id}")
    assert told(nacre, "--filter", "volume=nosuch") == []
    done = nacre("events", "--until", "0s", "--format", "{{", check=False)
    assert (done.code, done.out) == (64, "")
    done = nacre("events", "--since", "bogus", check=False)
    assert (done.code, done.err) == (1, 'nacre: failed to parse value as time or duration: "bogus"\n')
    assert nacre("events", "--until", "0s", "--filter", "nosuch=1", check=False).code == 1


def test_volumes_of_a_container_and_its_files(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    wanted = ("-v", "data:/data:ro", "-v", "/anonymous")
    number = nacre("run", "-d", "--name", "first", *wanted, busybox_image, "sleep", "1000").out.strip()
    nacre("cp", "first:/etc/passwd", str(tmp_path / "passwd"))
    nacre("cp", str(tmp_path / "passwd"), "first:/tmp/")
    nacre("export", "-o", str(tmp_path / "tar"), "first")
    made = nacre("commit", "-m", "note", "first", "made:1").out.strip()
    nacre("update", "--restart", "no", "first")
    nacre("rm", "-f", "-v", "first")
    known = told(nacre, "--filter", "container=first", "--format", "{{.Action}}")
    assert known == [
        "create", "start", "archive-path", "extract-to-dir", "export", "commit", "update", "kill", "die",
        "destroy",
    ]  # fmt: skip
    (commit,) = map(json.loads, told(nacre, "--filter", "event=commit", "--format", "json"))
    found = commit["Actor"]["Attributes"]
    assert (found["comment"], found["imageID"], found["imageRef"]) == ("note", made, "made:1")
    volumes = told(nacre, "--filter", "type=volume")
    mounted = "destination=/data, driver=local, propagation=, read/write=false"
    inside = [line.split(" ", 4)[2:] for line in volumes if line.split()[3] == "data"]
    assert inside == [
        ["create", "data", "(driver=local)"],
        ["mount", "data", f"(container={number}, {mounted})"],
        ["unmount", "data", f"(container={number}, driver=local)"],
    ]  # fmt: skip
    others = [line.split()[2] for line in volumes if line.split()[3] != "data"]
    assert others == ["create", "mount", "unmount", "destroy"]


def test_images_that_move(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    id = nacre("image", "inspect", "-f", "{{.Id}}", busybox_image).out.strip()
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox_image}\nLABEL k=v\n")
    nacre("build", "-q", "-t", "built:1", str(tmp_path))
    nacre("save", "-o", str(tmp_path / "tar"), busybox_image)
    nacre("load", "-i", str(tmp_path / "tar"))
    nacre("rmi", "built:1")
    nacre("container", "prune", "-f")
    form = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.k}}"
    built, named, saved, loaded, untagged, deleted, pruned = told(nacre, "--format", form)[-7:]
    assert (saved, loaded) == (f"image save {id} <no value>", f"image load {id} <no value>")
    new = built.split()[2]
    assert (built, named) == (f"image create {new} v", "image tag built:1 v")
    assert (untagged, deleted) == (f"image untag {new} v", f"image delete {new} v")
    assert pruned == "container prune <no value> <no value>"


def test_the_end_of_a_killed_supervisor(nacre: Nacre, busybox_image: str) -> None:
    """Told by whoever sees it first, and once."""
    nacre("run", "-d", "--name", "first", "-v", "data:/data", busybox_image, "sleep", "1000")
    pid = int(nacre("inspect", "-f", "{{.State.Pid}}", "first").out)
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    assert nacre("wait", "first").out == "137\n"
    nacre("ps", "-a")
    form = "{{.Action}} {{.Actor.Attributes.exitCode}}"
    assert told(nacre, "--filter", "event=die", "--filter", "event=unmount", "--format", form) == [
        "unmount <no value>", "die 137"
    ]  # fmt: skip


def test_it_follows(tmp_path: Path) -> None:
    """Also beyond the end of a journal that has grown too long."""
    root = str(tmp_path)
    events.record(root, "volume", "create", "before", {})
    following = read_events(root, since=0.0)
    assert next(following).id == "before"
    big = {"text": "x" * 10000}
    for number in range(250):
        events.record(root, "volume", "create", str(number), big)
        assert next(following).id == str(number)
    assert sorted(os.listdir(tmp_path / "events")) == ["journal", "journal.1"]
    assert sum(path.stat().st_size for path in (tmp_path / "events").iterdir()) < 3 * events.MOST
    following.close()  # type: ignore[attr-defined]


def test_many_write_at_once(tmp_path: Path) -> None:
    root = str(tmp_path)

    def write(name: str) -> None:
        for number in range(200):
            events.record(root, "volume", "create", f"{name}{number}", {"text": name * 500})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [event.id for event in read_events(root, since=0.0, until=_now())]
    assert sorted(found) == sorted(f"{name}{number}" for name in "abcd" for number in range(200))


def _now() -> float:
    import time

    return time.time()


def test_what_is_damaged_or_too_long(tmp_path: Path) -> None:
    root = str(tmp_path)
    events.record(root, "container", "start", "one", {"name": "n", "label": "x" * 100000})
    with open(tmp_path / events.JOURNAL, "ab") as journal:
        journal.write(b"{broken\n[]\n" + b"[" * 100000 + b"\n" + b'{"t": 1}\n')
    events.record(root, "container", "die", "two", {})
    found = list(read_events(root, since=0.0, until=_now()))
    assert [(event.id, event.attributes) for event in found] == [("one", (("name", "n"),)), ("two", ())]


def test_a_journal_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    events.record(str(tmp_path / "nosuch"), "volume", "create", "x", {})
    assert not (tmp_path / "nosuch").exists()
    (tmp_path / "events").mkdir()
    (tmp_path / events.JOURNAL).symlink_to(tmp_path / "victim")
    events.record(str(tmp_path), "volume", "create", "x", {})
    assert not (tmp_path / "victim").exists()


def test_for_programs(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "first", busybox_image)
    words = ("events", "--since", "1h", "--until", "0s", "--filter", "event=create")
    assert nacre(*words, "--format", "{{json .}}").json == nacre(*words, "--format", "json").json
    assert nacre(*words, "--format", "{{.Status}} {{.Scope}}").out == "create local\n"
    hint = nacre(*words, "--format", "{{.Nope}}", check=False).err
    assert "hint: fields are Status, ID, From, Type, Action, Actor, Scope, Time, TimeNano\n" in hint
    with Engine(Config(str(nacre.root))) as engine:
        found = [
            event.action
            for event in engine.system.events(since=0.0, until=_now())
            if event.kind == "container"
        ]
    assert found == ["create"]
