"""config.json is checked as a whole, and errors name the field."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.runtimespec import read_config, read_process, read_resources
from nacre.services.runtime.spec import specification
from nacre.words.errors import UsageError


def changed(path: str, value: Any) -> bytes:
    """A good config with one value changed; numbers in the path are indices."""
    config = specification()
    *parents, last = path.split(".")
    place: Any = config
    for name in parents:
        place = place[int(name)] if name.isdigit() else place.setdefault(name, {})
    place[last] = value
    return json.dumps(config).encode()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("ociVersion", "2.0.0", 'ociVersion is "2.0.0"; versions 1.x are supported'),
        ("ociVersion", "one", "not a version"),
        ("root.path", None, "root.path is missing"),
        ("process.args", ["sh", 1], "process.args[1] is not a string"),
        ("process.args", [], "process.args is missing"),
        ("process.args", ["a\0b"], "process.args[0] has a null byte"),
        ("process.args", ["\ud800"], "process.args[0] is not valid Unicode"),
        ("process.cwd", "x", 'process.cwd is "x", not an absolute path'),
        ("process.env", ["A"], 'process.env[0] is "A", not NAME=value'),
        ("process.user.uid", -1, "process.user.uid is -1, not a number from 0 to"),
        ("process.user.username", "x", "process.user.username is for Windows"),
        ("process.rlimits", [{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "process.rlimits[0].type"),
        ("process.rlimits", [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}], "has a soft limit above the hard"),
        ("process.oomScoreAdj", 1001, "process.oomScoreAdj is 1001"),
        ("process.noNewPrivileges", 1, "process.noNewPrivileges is not true or false"),
        ("mounts.0.destination", None, "mounts[0].destination is missing"),
        ("mounts.0.uidMappings", [{}], "mounts[0].uidMappings is not supported"),
        ("linux.namespaces", [{"type": "x"}], 'linux.namespaces[0].type is "x", which is not known'),
        ("linux.namespaces", [{"type": "pid"}] * 2, "linux.namespaces has one type twice"),
        ("linux.namespaces", [{"type": "mount"}], "hostname needs linux.namespaces to have uts"),
        (
            "linux.uidMappings",
            [{"containerID": 0, "hostID": 0, "size": 1}],
            "needs linux.namespaces to have user",
        ),
        ("linux.devices", [{"type": "c", "path": "/dev/x"}], "linux.devices[0] needs major and minor"),
        ("linux.resources.devices", [{"allow": True, "access": "x"}], "not letters of rwm"),
        ("linux.intelRdt", {"closID": "x"}, "linux.intelRdt is not supported"),
        ("linux.netDevices", {"eth0": {}}, "linux.netDevices is not supported"),
        ("hooks.prestart", [{"path": "x"}], "hooks.prestart[0].path"),
        ("hooks.poststop", [{"path": "/x", "timeout": 0}], "hooks.poststop[0].timeout is 0"),
        ("windows", {"x": 1}, "windows is not supported: this is Linux"),
    ],
)
def test_errors_name_the_field(path: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(changed(path, value))
    assert said in str(caught.value)
    assert str(caught.value).startswith("config.json: ")


def test_unknown_names_and_nulls_are_left_out() -> None:
    """As the runtime-spec demands, and as callers written in Go have it."""
    config = read_config(changed("process.unheardOf", {"x": 1}))
    assert "unheardOf" not in config["process"]
    assert "rlimits" not in read_config(changed("process.rlimits", None))["process"]


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"x"', b"{", b"[" * 100_000, b'{"ociVersion": NaN}'])
def test_what_is_no_config(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"config\.json"):
        read_config(data)


def test_it_is_bounded() -> None:
    with pytest.raises(UsageError, match="larger than 4 MiB"):
        read_config(b" " * (4 << 20) + b"{}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([
        "process", "process.user", "process.capabilities", "mounts", "hooks", "linux", "linux.resources",
        "linux.namespaces", "linux.devices", "linux.seccomp", "root", "ociVersion", "annotations",
    ]),
    _JSON,
)  # fmt: skip
def test_any_value_is_taken_or_refused(path: str, value: Any) -> None:
    with suppress(UsageError):
        read_config(changed(path, value))


def test_a_process_and_resources() -> None:
    assert read_process(b'{"args": ["x"], "cwd": "/"}')["args"] == ["x"]
    with pytest.raises(UsageError, match=r"the process: cwd is missing"):
        read_process(b'{"args": ["x"]}')
    assert read_resources(b'{"pids": {"limit": 5}}') == {"pids": {"limit": 5}}
