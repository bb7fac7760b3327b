"""`nacre images`, `tag`, `rmi`, `inspect` and `history`, as a user types them."""

from __future__ import annotations

import io
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tarkit import tar_of

from nacre.engine import removal
from nacre.images.arrows.importer import import_tar
from nacre.images.model import image as images
from nacre.stores.store import Store
from nacre.words.errors import NotFound

Nacre = Any
TIMES = {1: "1700000000", 2: "1710000000", 3: "1720000000"}


def make(nacre: Nacre, name: str, number: int, *changes: str) -> str:
    """An image of its own in the store; its id."""
    words = [word for change in changes for word in ("-c", change)]
    data = tar_of(file=str(number).encode() * 1000 * number)
    names = [name] if name else []
    id: str = nacre("import", *words, "-", *names, input=data, SOURCE_DATE_EPOCH=TIMES[number]).lines[0]
    return id


def short(id: str) -> str:
    return id.removeprefix("sha256:")[:12]


@pytest.fixture
def three(nacre: Nacre) -> list[str]:
    return [
        make(nacre, "app:1", 1, "LABEL tier=low"),
        make(nacre, "registry.test:5000/team/app:2", 2, "LABEL tier=high", "LABEL x=1"),
        make(nacre, "", 3),
    ]


def test_the_table_is_docker_s_newest_first(nacre: Nacre, three: list[str]):
    head, *rows = nacre("images").lines
    assert re.split(r"\s{2,}", head) == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    cells = [re.split(r"\s{2,}", row) for row in rows]
    assert [row[:3] for row in cells] == [
        ["<none>", "<none>", short(three[2])],
        ["registry.test:5000/team/app", "2", short(three[1])],
        ["app", "1", short(three[0])],
    ]
    assert [row[4] for row in cells] == ["3kB", "2kB", "1kB"]
    assert all(row[3].endswith(" ago") for row in cells)


def test_quiet_digests_and_untruncated(nacre: Nacre, three: list[str]):
    assert nacre("images", "-q").lines == [short(id) for id in reversed(three)]
    assert nacre("images", "-q", "--no-trunc").lines == list(reversed(three))
    nacre("tag", "app:1", "app:other")
    assert nacre("images", "-q", "app").lines == [short(three[0])]
    lines = nacre("images", "--digests", "app").lines
    digest = nacre("inspect", "-f", "{{.Descriptor.digest}}", "app:1").lines[0]
    assert "DIGEST" in lines[0]
    assert all(digest in line for line in lines[1:])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["app"], ["app:1"]),
        (["app:2"], []),
        (["app:1"], ["app:1"]),
        (["*"], ["app:1"]),
        (["*/*/*"], ["registry.test:5000/team/app:2", "app:1"]),
        (["*/team/*"], ["registry.test:5000/team/app:2"]),
        (["--filter", "reference=registry.test:5000/*/*:2"], ["registry.test:5000/team/app:2"]),
        (["-f", "dangling=true"], ["<none>:<none>"]),
        (["-f", "dangling=false"], ["registry.test:5000/team/app:2", "app:1"]),
        (["-f", "label=tier"], ["registry.test:5000/team/app:2", "app:1"]),
        (["-f", "label=tier=low"], ["app:1"]),
        (["-f", "label=tier=high", "-f", "label=x"], ["registry.test:5000/team/app:2"]),
        (["-f", "since=app:1", "-f", "dangling=false"], ["registry.test:5000/team/app:2"]),
        (["-f", "before=registry.test:5000/team/app:2"], ["app:1"]),
    ],
)
def test_filters(nacre: Nacre, three: list[str], words: list[str], expected: list[str]):
    assert nacre("images", "--format", "{{.Repository}}:{{.Tag}}", *words).lines == expected


def test_json_is_a_line_for_each(nacre: Nacre, three: list[str]):
    rows = [json.loads(line) for line in nacre("images", "--format", "json").lines]
    assert [row["ID"] for row in rows] == [short(id) for id in reversed(three)]
    assert rows[2]["CreatedAt"] == "2023-11-14 22:13:20 +0000 UTC"
    assert set(rows[0]) >= {"Containers", "CreatedSince", "Digest", "Repository", "Size", "Tag"}


@pytest.mark.parametrize("condition", ["colour=red", "dangling", "dangling=maybe"])
def test_bad_filters_are_refused(nacre: Nacre, condition: str):
    result = nacre("images", "-f", condition, check=False)
    assert result.code != 0
    assert result.out == ""
    assert "invalid filter" in result.err


def test_an_empty_store_has_only_headings(nacre: Nacre):
    assert len(nacre("images").lines) == 1
    assert nacre("images", "-q").out == ""


def test_a_tag_moves(nacre: Nacre, three: list[str]):
    nacre("tag", "app:1", "copy")
    nacre("tag", short(three[1]), "app:1")
    listed = nacre("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").lines
    assert f"copy:latest {short(three[0])}" in listed
    assert f"app:1 {short(three[1])}" in listed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope", "x"], "No such image: nope:latest"),
        (["app:1", "UP/x y"], "invalid reference format"),
        (["app:1", "x@sha256:" + "0" * 64], "refusing to create a tag with a digest reference"),
    ],
)
def test_tags_that_cannot_be(nacre: Nacre, three: list[str], words: list[str], message: str):
    result = nacre("tag", *words, check=False)
    assert result.code != 0
    assert message in result.err


def test_rmi_takes_the_name_then_the_image(nacre: Nacre, three: list[str]):
    nacre("tag", "app:1", "app:other")
    assert nacre("rmi", "app:other").lines == ["Untagged: app:other"]
    assert nacre("rmi", "app:1").lines[:2] == ["Untagged: app:1", f"Deleted: {three[0]}"]
    assert nacre("images", "-q").lines == [short(three[2]), short(three[1])]
    assert nacre("rmi", three[1], short(three[2])).lines[0] == "Untagged: registry.test:5000/team/app:2"
    assert nacre("images", "-q").lines == []
    assert not list((nacre.root / "trees").glob("*/*"))


def test_rmi_by_id_of_an_image_with_names_in_two_repositories(nacre: Nacre, three: list[str]):
    nacre("tag", "app:1", "copy:1")
    result = nacre("rmi", short(three[0]), check=False)
    assert result.code == 1
    assert "(must be forced) - image is referenced in multiple repositories" in result.err
    assert set(nacre("rmi", "-f", short(three[0])).lines) >= {"Untagged: app:1", "Untagged: copy:1"}


def test_rmi_by_id_of_an_image_with_two_tags(nacre: Nacre, three: list[str]):
    nacre("tag", "app:1", "app:2")
    for number in (short(three[0]), three[0], three[0][7:11]):
        result = nacre("rmi", number, check=False)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"nacre: conflict: unable to delete {short(three[0])} (must be forced) - "
            "image is referenced in multiple repositories\n"
        )
    assert nacre("rmi", "app:2").lines == ["Untagged: app:2"]
    assert nacre("rmi", three[0][7:11]).lines[:2] == ["Untagged: app:1", f"Deleted: {three[0]}"]


@pytest.mark.parametrize(
    ("names", "single"),
    [
        ([], False),
        (["h.io/a:1"], True),
        (["h.io/a@sha256:0"], True),
        (["h.io/a:1", "h.io/a@sha256:0"], True),
        (["h.io/a@sha256:0", "h.io/a@sha256:1"], True),
        (["h.io/a:1", "h.io/a:2"], False),
        (["h.io/a:1", "h.io/b@sha256:0"], False),
        (["h.io/a@sha256:0", "h.io/b@sha256:0"], False),
    ],
)
def test_what_counts_as_one_name(names: list[str], single: bool):
    assert removal.is_single(names) is single


def test_rmi_goes_on_after_what_is_not_there(nacre: Nacre, three: list[str]):
    result = nacre("rmi", "nope", "app:1", check=False)
    assert result.code == 1
    assert "No such image: nope:latest" in result.err
    assert "Untagged: app:1" in result.lines
    assert nacre("rmi", "-f", "nope", check=False).code == 0


def test_rmi_of_an_image_that_a_container_uses(nacre: Nacre, three: list[str]):
    box = nacre("create", "--name", "box", "app:1", "/x").lines[0][:12]
    result = nacre("rmi", "app:1", check=False)
    assert result.code == 1
    assert f"container {box} is using its referenced image {short(three[0])}" in result.err
    result = nacre("rmi", short(three[0]), check=False)
    assert f"image is being used by stopped container {box}" in result.err
    nacre("tag", "app:1", "other:1")
    assert nacre("rmi", "other:1").lines == ["Untagged: other:1"]
    assert nacre("rmi", "-f", "app:1").lines == ["Untagged: app:1"]
    assert nacre("inspect", "box").json[0]["Image"] == three[0]
    nacre("rm", "box")


def test_inspect_of_a_container(nacre: Nacre, three: list[str], tmp_path: Path):
    words = ["--name", "box", "-e", "A=1", "-w", "/w", "-v", f"{tmp_path}:/here:ro", "--label", "l=1"]
    id = nacre("create", *words, "app:1", "/x", "y z").lines[0]
    (document,) = nacre("inspect", "-s", "box").json
    assert (document["Id"], document["Name"]) == (id, "/box")
    assert (document["Path"], document["Args"]) == ("/x", ["y z"])
    assert document["State"]["Status"] == "created"
    assert document["Image"] == three[0]
    assert document["Config"]["Image"] == "app:1"
    assert "A=1" in document["Config"]["Env"]
    assert document["Config"]["WorkingDir"] == "/w"
    assert document["Config"]["Labels"] == {"l": "1", "tier": "low"}
    assert document["HostConfig"]["Binds"] == [f"{tmp_path}:/here:ro"]
    assert [(m["Source"], m["Destination"], m["RW"]) for m in document["Mounts"]] == [
        (str(tmp_path), "/here", False),
    ]  # fmt: skip
    assert document["SizeRw"] >= 0
    assert nacre("container", "inspect", "-f", "{{.State.Status}}", id[:12]).lines == ["created"]
    assert "No such image: box" in nacre("image", "inspect", "box", check=False).err


def test_inspect_has_docker_s_shape(nacre: Nacre, three: list[str]):
    (document,) = nacre("inspect", "app:1").json
    assert document["Id"] == three[0]
    assert document["RepoTags"] == ["app:1"]
    assert document["RepoDigests"] == []
    assert {name: value for name, value in document["Config"].items() if value} == {"Labels": {"tier": "low"}}
    assert document["Created"] == "2023-11-14T22:13:20Z"
    assert document["Size"] == 1000
    assert document["Os"] == "linux"
    assert document["RootFS"]["Type"] == "layers"
    assert len(document["RootFS"]["Layers"]) == 1
    assert nacre("inspect", "-f", "{{.Id}} {{.Config.Labels.tier}}", "app:1", short(three[0])).lines == [
        f"{three[0]} low", f"{three[0]} low",
    ]  # fmt: skip


def test_inspect_of_what_is_not_there(nacre: Nacre, three: list[str]):
    result = nacre("inspect", "nope", "app:1", check=False)
    assert result.code == 1
    assert [document["Id"] for document in result.json] == [three[0]]
    assert "No such object: nope" in result.err
    assert "No such image" in nacre("image", "inspect", "nope", check=False).err
    assert "No such container: nope" in nacre("container", "inspect", "nope", check=False).err
    assert nacre("inspect", "nope", check=False).json == []


def test_history_shows_the_newest_step_first(nacre: Nacre, three: list[str]):
    head, row = nacre("history", "app:1").lines
    assert re.split(r"\s{2,}", head) == ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
    assert row.startswith(short(three[0]))
    assert row.endswith("Imported from -")
    assert "1kB" in row
    assert nacre("history", "-q", "--no-trunc", "app:1").lines == [three[0]]
    row = nacre("history", "-H=false", "--format", "{{.CreatedAt}} {{.Size}}", "app:1").lines[0]
    assert row == "2023-11-14T22:13:20Z 1000"


@pytest.mark.parametrize("meanwhile", ["gone", "given to another image"])
def test_rmi_takes_no_name_but_its_own(store: Store, monkeypatch: pytest.MonkeyPatch, meanwhile: str) -> None:
    """Another process removes the name, or gives it to another image, once it has been looked up."""
    first, second = (import_tar(store, io.BytesIO(tar_of(file=one))).descriptor for one in (b"1", b"2"))
    name, kept = "docker.io/library/a:1", "docker.io/library/b:1"
    for each in (name, kept):
        store.refs.set(each, first)
    real = images.find

    def find(there: Store, text: str) -> images.Image:
        found = real(there, text)
        store.refs.delete(name)
        if meanwhile != "gone":
            store.refs.set(name, second)
        return found

    monkeypatch.setattr(images, "find", find)
    with suppress(NotFound):
        removal.remove(store, "a:1", None, force=False, prune=True)
    assert store.refs.names_of(first.digest) == [kept]
    assert store.refs.names_of(second.digest) == ([] if meanwhile == "gone" else [name])
    assert store.trees.missing(images.Image.load(store, first).diff_ids) == []
