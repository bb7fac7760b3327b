"""The journal of what happens in a store."""

from __future__ import annotations

import json
import os
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
    assert document["Actor"] == {
        "ID": number, "Attributes": {"image": busybox_image, "k": "v", "name": "first", "exitCode": "137"}
    }  # fmt: skip
    assert (document["Type"], document["status"], document["scope"]) == ("container", "die", "local")


def test_of_a_container_that_is_removed(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "--rm", busybox_image, "true")
    assert told(nacre, "--filter", "type=container", "--format", "{{.Action}}") == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_images_volumes_and_filters(nacre: Nacre, busybox_image: str) -> None:
    nacre("volume", "create", "data")
    nacre("volume", "rm", "data")
    nacre("tag", busybox_image, "other:1")
    nacre("rmi", "other:1")
    found = told(nacre, "--filter", "type=volume", "--format", "{{.Type}} {{.Action}} {{.Actor.ID}}")
    assert found == ["volume create data", "volume destroy data"]
    assert told(nacre, "--filter", "event=untag", "--format", "{{.ID}}") == ["other:1"]
    assert told(nacre, "--filter", "volume=nosuch") == []
    done = nacre("events", "--until", "0s", "--format", "{{", check=False)
    assert (done.code, done.out) == (64, "")
    done = nacre("events", "--since", "bogus", check=False)
    assert (done.code, done.err) == (1, 'nacre: failed to parse value as time or duration: "bogus"\n')
    assert nacre("events", "--until", "0s", "--filter", "nosuch=1", check=False).code == 1


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
    with Engine(Config(str(nacre.root))) as engine:
        found = [
            event.action
            for event in engine.system.events(since=0.0, until=_now())
            if event.kind == "container"
        ]
    assert found == ["create"]
