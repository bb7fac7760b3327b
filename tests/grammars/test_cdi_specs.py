"""Specs of the Container Device Interface."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.cdi import CdiEdits, CdiHook, CdiMount, CdiNode, is_qualified, parse_spec
from nacre.words.errors import InvalidDocument, Unsupported


def spec(**changes: Any) -> dict[str, Any]:
    device = {"name": "0", "containerEdits": {"env": ["A=1"]}}
    return {"cdiVersion": "0.6.0", "kind": "vendor.com/class", "devices": [device], **changes}


def edits(**fields: Any) -> dict[str, Any]:
    return spec(containerEdits=fields)


def read(document: Any) -> Any:
    return parse_spec(json.dumps(document).encode(), "/etc/cdi/a.json")


def test_all_that_there_is() -> None:
    found = read(
        spec(
            annotations={"a": "b"},
            containerEdits={
                "env": ["X=1", "Y="],
                "deviceNodes": [
                    {"path": "/dev/a"},
                    {
                        "path": "/dev/b", "hostPath": "/dev/c", "type": "c", "major": 195, "minor": 255,
                        "fileMode": 438, "permissions": "rw", "uid": 1, "gid": 2,
                    },
                ],
                "mounts": [
                    {"hostPath": "/lib/x", "containerPath": "/x", "options": ["ro", "nosuid", "bind"]},
                ],
                "hooks": [{"hookName": "createContainer", "path": "/h", "args": ["h", "a"], "timeout": 3}],
                "additionalGids": [44],
            },
        )
    )  # fmt: skip
    assert found.kind == "vendor.com/class"
    assert found.devices == (("0", CdiEdits(env=("A=1",))),)
    assert found.edits == CdiEdits(
        ("X=1", "Y="),
        (CdiNode("/dev/a", "/dev/a"), CdiNode("/dev/b", "/dev/c", "c", 195, 255, 438, "rw", 1, 2)),
        (CdiMount("/lib/x", "/x", ("ro", "nosuid", "bind")),),
        (CdiHook("createContainer", "/h", ("h", "a"), (), 3),),
        (44,),
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "expected an object"),
        ({}, "cdiVersion is missing"),
        (spec(more=1), "more is not known"),
        (spec(cdiVersion="9.0.0"), "cdiVersion: version '9.0.0' is not known"),
        (spec(cdiVersion=1), "cdiVersion: version 1 is not known"),
        (spec(kind="vendor"), "kind: expected VENDOR/CLASS"),
        (spec(kind="../x/y"), "kind: expected VENDOR/CLASS"),
        (spec(devices=[]), "devices: there are none"),
        (spec(devices={}), "devices: expected a list"),
        (spec(devices=[{"name": "0", "containerEdits": {}}] * 2), "devices: a name stands twice"),
        (
            spec(devices=[{"name": "a/b", "containerEdits": {}}]),
            "devices[0].name: 'a/b' is no name of a device",
        ),
        (spec(devices=[{"name": "0"}]), "devices[0]: containerEdits is missing"),
        (edits(env=["A"]), "containerEdits.env[0]: expected NAME=VALUE"),
        (edits(env=["A=\0"]), "containerEdits.env[0]: expected a text"),
        (edits(env=[1]), "containerEdits.env[0]: expected a text"),
        (edits(intelRdt={"closID": "x"}), "containerEdits.intelRdt: this is not supported"),
        (edits(netDevices=[{}]), "containerEdits.netDevices: this is not supported"),
        (edits(deviceNodes=[{}]), "containerEdits.deviceNodes[0]: path is missing"),
        (
            edits(deviceNodes=[{"path": "/etc/x"}]),
            "containerEdits.deviceNodes[0].path: expected a path in /dev",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/../x"}]),
            "containerEdits.deviceNodes[0].path: expected a path in /dev",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "type": "p"}]),
            "containerEdits.deviceNodes[0].type: 'p' is not b",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "major": -1}]),
            "containerEdits.deviceNodes[0].major: expected a number up to 4095",
        ),
        (
            edits(deviceNodes=[{"path": "/dev/x", "permissions": "x"}]),
            "containerEdits.deviceNodes[0].permissions: expected letters of rwm",
        ),
        (
            edits(mounts=[{"hostPath": "x", "containerPath": "/y"}]),
            "containerEdits.mounts[0].hostPath: expected an absolute path",
        ),
        (
            edits(mounts=[{"hostPath": "/x", "containerPath": "/y", "type": "tmpfs"}]),
            "containerEdits.mounts[0].type: 'tmpfs' is not supported",
        ),
        (
            edits(mounts=[{"hostPath": "/x", "containerPath": "/y", "options": ["upperdir=/"]}]),
            "containerEdits.mounts[0].options: 'upperdir=/' is not supported",
        ),
        (edits(hooks=[{"hookName": "x", "path": "/h"}]), "containerEdits.hooks[0].hookName: 'x' is no hook"),
        (
            edits(additionalGids=[True]),
            "containerEdits.additionalGids[0]: expected a number up to 4294967294",
        ),
    ],
)
def test_what_is_refused(document: Any, said: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(document)
    assert caught.value.message.startswith(f"/etc/cdi/a.json: {said}")


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1, "a": 2}', b"[" * 100_000, b"\xff"])
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(InvalidDocument, match=r"/etc/cdi/a\.json: not valid JSON: "):
        parse_spec(data, "/etc/cdi/a.json")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("path", "env", "x")), inner),
    max_leaves=8,
)


@given(st.sampled_from(("env", "deviceNodes", "mounts", "hooks", "additionalGids", "intelRdt")), _VALUES)
def test_whatever_stands_there(name: str, value: Any) -> None:
    try:
        read(edits(**{name: value}))
    except InvalidDocument:
        return


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("vendor.com/class=name", True), ("nvidia.com/gpu=all", True), ("v/c=0:1.a_b-c", True),
        ("v-1/c-1=0", True), ("/dev/x", False), ("/dev/x=1", False), ("vendor.com/class", False),
        ("v/c=", False), ("v/c=a/b", False),
        ("1v/c=a", False), ("v/1=a", False), ("v./c=a", False), ("v/c=a=b", False), ("v/c=-a", False),
    ],
)  # fmt: skip
def test_names(text: str, good: bool) -> None:
    assert is_qualified(text) == good


def test_yaml() -> None:
    pytest.importorskip("yaml")
    text = b"cdiVersion: '0.6.0'\nkind: v.com/c\ndevices:\n- name: '0'\n  containerEdits:\n    env: [A=1]\n"
    found = parse_spec(text, "/etc/cdi/a.yaml")
    assert (found.kind, [name for name, _ in found.devices]) == ("v.com/c", ["0"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2", "a field stands twice"),
        ("a: &x [1]\nb: *x", "an alias is not allowed here"),
        ("!!python/object/apply:os.system [true]", "not valid YAML"),
        ("? [a]\n: b", "cdiVersion"),
        ("1", "a.yaml"),
        ("[" * 5000, "a.yaml"),
        ("\0", "not valid YAML"),
    ],
)
def test_yaml_that_is_no_spec(text: str, reason: str) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(InvalidDocument, match=reason):
        parse_spec(text.encode(), "/etc/cdi/a.yaml")


def test_yaml_without_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(Unsupported, match="needs PyYAML"):
        parse_spec(b"a: 1", "/etc/cdi/a.yaml")
