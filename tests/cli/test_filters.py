"""Filters: docker's whole list, and an error for all that is not in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from interop.layouts import write_layout
from tarkit import tar_of

from nacre.cli.filters import Filters
from nacre.words.errors import UsageError

if TYPE_CHECKING:
    from conftest import Nacre


def test_filters() -> None:
    written = [
        "label=a",
        " Label = b=2 ",
        "dangling=true",
        "dangling=1",
        "status=exited",
        "status=created",
        "",
    ]
    filters = Filters(written, ("label", "dangling", "status", "before"))
    assert filters.get("label") == ["a", "b=2"]
    assert filters.flag("dangling") is True
    assert filters.flag("before") is None
    assert filters.allows("status", "created")
    assert not filters.allows("status", "running")
    assert filters.allows("before", "anything")
    assert filters.labels({"a": "x", "b": "2"})
    assert not filters.labels({"a": "x", "b": "3"})
    assert not filters.labels({"b": "2"})


def test_labels_that_must_not_be_there() -> None:
    filters = Filters(["label!=a", "label!=b=2"], ("label!",))
    assert filters.labels({"b": "3"})
    assert not filters.labels({"a": ""})
    assert not filters.labels({"b": "2"})


def test_expressions() -> None:
    filters = Filters(["name=^we?b$", "name=a+"], ("name",))
    assert filters.matches("name", "web")
    assert filters.matches("name", "/wb", "wb")
    assert filters.matches("name", "xa+b")
    assert not filters.matches("name", "web2")
    with pytest.raises(UsageError, match="invalid filter 'name'"):
        Filters(["name=["], ("name",)).matches("name", "a")


def read(written: list[str]) -> None:
    filters = Filters(written, ("label", "dangling", "until", "state"))
    filters.flag("dangling")
    filters.until()
    filters.one_of("state", ("on", "off"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["label"], "invalid filter 'label': bad format of filter (expected name=value)"),
        (["nope=1"], "invalid filter 'nope'"),
        (["=x"], "invalid filter ''"),
        (["dangling=maybe"], "invalid filter 'dangling=[maybe]'"),
        (["dangling=true", "dangling=0"], "invalid filter 'dangling=[true 0]'"),
        (["until=1h", "until=2h"], "more than one until filter specified"),
        (["until=soon"], "invalid value for 'until' filter: invalid time 'soon'"),
        (
            ["state=up"],
            "invalid filter 'state=up': invalid value for state (up): must be one of on, off",
        ),
    ],
)
def test_bad_filters(written: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(written)
    assert caught.value.message == message


@pytest.fixture
def boxes(nacre: Nacre, busybox_image: str, tmp_path: Any) -> Nacre:
    """Three containers, the oldest first: web, web2, data."""
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox_image}\nRUN echo 1 > /x\nEXPOSE 80 53/udp\n")
    nacre("build", "-q", "-t", "child:1", str(tmp_path))
    nacre("volume", "create", "vol")
    create = ("create", "--network", "host", "--name")
    nacre(*create, "web", "-l", "a=1", "-l", "b=2", busybox_image, "true")
    nacre("create", "--name", "web2", "--network", "none", "-v", "vol:/v", "child:1", "true")
    nacre(*create, "data", "-v", f"{tmp_path}:/host:ro", "-l", "a=1", busybox_image, "true")
    nacre("start", "-a", "data")
    return nacre


def test_ps(boxes: Nacre, busybox_image: str, tmp_path: Any) -> None:
    everything = ["data", "web2", "web"]
    cases = {
        "name=^web$": ["web"], "name=^/web$": ["web"], "name=web": ["web2", "web"],
        "name=w.b|data": everything, "volume=vol": ["web2"], "volume=/v": ["web2"],
        f"volume={tmp_path}": ["data"], "volume=/host": ["data"], "volume=/nope": [],
        "network=host": ["data", "web"], "network=none": ["web2"], "health=none": everything,
        "health=healthy": [], "is-task=false": everything, "is-task=true": [], "publish=80": [],
        "expose=80": ["web2"], "expose=50-60/udp": ["web2"], "expose=53": [], "status=exited": ["data"],
        "status=created": ["web2", "web"], "exited=0": ["data"], "exited=1": [], "label=a": ["data", "web"],
        "label=b=2": ["web"], "label=b=3": [], "before=web2": ["web"], "since=web2": ["data"],
        "since=web": ["data", "web2"], f"ancestor={busybox_image}": everything, "ancestor=child:1": ["web2"],
        "ancestor=nope": [], "isolation=default": everything,
    }  # fmt: skip
    for condition, expected in cases.items():
        listed = boxes("ps", "-a", "--filter", condition, "--format", "{{.Names}}").lines
        assert listed == expected, condition
    number = boxes("ps", "-aq", "--no-trunc", "--filter", "name=^data$").out.strip()
    for condition in (f"id={number}", f"id={number[:8]}", f"id=^{number[:12]}"):
        assert boxes("ps", "-a", "-f", condition, "--format", "{{.Names}}").lines == ["data"], condition
    both = boxes("container", "ls", "-a", "-f", "name=web", "-f", "label=a=1", "--format", "{{.Names}}")
    assert both.lines == ["web"]
    row = '{{.Label "a"}}|{{.Label "z"}}|{{.LocalVolumes}}|{{.Mounts}}|{{.HealthStatus}}|{{.Platform}}'
    assert (
        boxes("ps", "-a", "-f", "name=data", "--no-trunc", "--format", row).out
        == f"1||0|{tmp_path}||<no value>\n"
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("colour=red", "invalid filter 'colour'"),
        ("status=up", "invalid filter 'status=up': invalid value for state (up): must be one of created, "),
        ("health=ill", "invalid filter 'health=ill': invalid value for health (ill): must be one of none, "),
        ("exited=zero", "invalid filter 'exited=zero'"),
        ("is-task=perhaps", "invalid filter 'is-task=[perhaps]'"),
        ("publish=80:80", "invalid filter 'publish=80:80'"),
        ("expose=90-80", "invalid filter 'expose=90-80'"),
        ("name=(", "invalid filter 'name'"),
        ("before=nope", "No such container: nope"),
        ("since=nope", "No such container: nope"),
    ],
)
def test_ps_refuses(nacre: Nacre, condition: str, message: str) -> None:
    result = nacre("ps", "-a", "--filter", condition, check=False)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"nacre: {message}")


def test_images(nacre: Nacre) -> None:
    for name in ("low:1", "team/app:2"):
        nacre("import", "-", name, input=tar_of(file=name.encode()))
    shown = ("images", "--format", "{{.Repository}}:{{.Tag}}")
    for condition, expected in {
        "reference=low": ["low:1"], "reference=docker.io/library/low": ["low:1"],
        "reference=l[^x]w:?": ["low:1"],
        "reference=docker.io/*/app:2": ["team/app:2"], "reference=*": ["low:1"], "until=1h": [],
        "until=2000-01-01": [], f"until={int(time.time()) + 60}": ["team/app:2", "low:1"],
    }.items():  # fmt: skip
        assert sorted(nacre(*shown, "--filter", condition).lines) == sorted(expected), condition
    for condition in ("reference=[", "until=soon", "since=nope", "before=nope", "colour=red"):
        result = nacre(*shown, "--filter", condition, check=False)
        assert (result.code, result.out) == (1, ""), condition


def test_volumes(nacre: Nacre) -> None:
    for name in ("data", "data2"):
        nacre("volume", "create", name)
    listed = ("volume", "ls", "-q", "--filter")
    assert nacre(*listed, "name=^data$").lines == ["data"]
    assert nacre(*listed, "driver=local").lines == ["data", "data2"]
    assert nacre(*listed, "label=x").lines == []
    assert nacre("volume", "ls", "--format", '{{.Name}}{{.Label "x"}}').lines == ["data", "data2"]
    for condition in ("scope=local", "dangling=1s", "name=["):
        assert nacre(*listed, condition, check=False).code == 1
    assert nacre("volume", "prune", "-f", "--filter", "until=1h", check=False).code == 1
    assert nacre("volume", "prune", "-f", "--filter", "label=x").out == "Total reclaimed space: 0B\n"
    nacre("volume", "prune", "-f", "--filter", "label!=x")
    assert nacre("volume", "ls", "-q").lines == ["data", "data2"]
    assert "Deleted Volumes:\ndata\ndata2\n" in nacre("volume", "prune", "-f", "--filter", "all=1").out


def test_prunes(nacre: Nacre) -> None:
    nacre("image", "prune", "-f", "--filter", "dangling=true")
    nacre("image", "prune", "-af", "--filter", "dangling=false")
    refused = {
        ("image", "prune", "-f", "--filter", "dangling=false"): "invalid filter 'dangling=[false true]'",
        ("image", "prune", "-af", "--filter", "dangling=true"): "invalid filter 'dangling=[true false]'",
        ("image", "prune", "-f", "--filter", "reference=a"): "invalid filter 'reference'",
        ("container", "prune", "-f", "--filter", "dangling=true"): "invalid filter 'dangling'",
        ("builder", "prune", "-f", "--filter", "label=a"): "invalid filter 'label'",
        (
            "system",
            "prune",
            "-f",
            "--filter",
            "until=1h",
            "--filter",
            "until=2h",
        ): "more than one until filter",
        ("system", "prune", "-f", "--filter", "until=soon"): "invalid value for 'until' filter: ",
    }
    for words, message in refused.items():
        result = nacre(*words, check=False)
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(f"nacre: {message}"), words


def test_an_image_that_exposes_what_is_no_port(nacre: Nacre, tmp_path: Path) -> None:
    layout, ports = tmp_path / "layout", {"$PORT/tcp": {}, "81/tcp": {}}
    write_layout(layout, [tar_of(f=b"x")], settings={"Cmd": ["/f"], "ExposedPorts": ports})
    nacre("load", "-i", str(layout))
    nacre("tag", "test", "odd:1")
    nacre("create", "--name", "odd", "odd:1")
    assert nacre("ps", "-a", "--format", "{{.Names}}").out == "odd\n"
    assert nacre("ps", "-aq", "--filter", "expose=81").lines
    assert not nacre("ps", "-aq", "--filter", "expose=82").lines
    assert nacre("inspect", "odd").json[0]["Config"]["ExposedPorts"] == ports
