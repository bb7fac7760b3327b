"""Devices of the Container Device Interface in containers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nacre import Config, ContainerOptions, Engine
from nacre.images.model.runtime import Device, RunOptions, VolumeMount
from nacre.services.containers.cdi import gpus, inject
from nacre.words.errors import NotFound, StoreError, Unsupported, UsageError

if TYPE_CHECKING:
    from conftest import Nacre


def write(path: Path, kind: str, devices: dict[str, Any], edits: dict[str, Any] | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    named = [{"name": name, "containerEdits": one} for name, one in devices.items()]
    document = {"cdiVersion": "0.6.0", "kind": kind, "devices": named, "containerEdits": edits or {}}
    path.write_text(json.dumps(document))


def injected(tmp_path: Path, *names: str, hooks: bool = False) -> RunOptions:
    return inject(RunOptions(), names, hooks=hooks, folders=(f"{tmp_path}/etc", f"{tmp_path}/run"))


def test_edits_of_a_spec_come_once_and_later_folders_first(tmp_path: Path) -> None:
    null = {"path": "/dev/n", "hostPath": "/dev/null", "permissions": "r", "fileMode": 0o600}
    mount = {"hostPath": "/lib", "containerPath": "/l", "options": ["ro", "nosuid", "rbind"]}
    both = {"env": ["B=1"], "mounts": [mount], "additionalGids": [7]}
    write(tmp_path / "etc/a.json", "v.com/c", {"0": {"env": ["OLD=1"]}, "1": {"deviceNodes": [null]}}, both)
    write(tmp_path / "run/b.json", "v.com/c", {"0": {"env": ["NEW=1"]}})
    found = injected(tmp_path, "v.com/c=1", "v.com/c=0", "v.com/c=1")
    info = os.stat("/dev/null")
    assert found.environment == ("B=1", "NEW=1")
    assert found.devices == (Device("/dev/n", "c", 1, 3, 0o600, "r", info.st_uid, info.st_gid, "/dev/null"),)
    assert found.injections == (VolumeMount("/lib", "/l", True, options=("nosuid",)),)
    assert (found.groups, found.cdi) == (("7",), ("v.com/c=1", "v.com/c=0"))


def test_what_cannot_be_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"unresolvable CDI devices v\.com/c=0") as caught:
        injected(tmp_path, "v.com/c=0")
    assert caught.value.hint == f"no spec in {tmp_path}/etc or {tmp_path}/run names it"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/n.yaml").write_text("cdiVersion: 0.6.0")
    with pytest.raises(NotFound) as caught:
        injected(tmp_path, "v.com/c=0")
    assert "n.yaml" in caught.value.hint
    (tmp_path / "run").mkdir()
    (tmp_path / "run/a.json").write_text("{")
    with pytest.raises(NotFound) as caught:
        injected(tmp_path, "v.com/c=0")
    assert "run/a.json: not valid JSON" in caught.value.hint


def test_conflicts_and_hooks(tmp_path: Path) -> None:
    hook = {"hookName": "createContainer", "path": "/usr/bin/hook", "args": ["hook"]}
    write(tmp_path / "etc/a.json", "v.com/c", {"0": {"hooks": [hook]}})
    with pytest.raises(Unsupported, match="the CDI hook createContainer /usr/bin/hook needs another runtime"):
        injected(tmp_path, "v.com/c=0")
    assert injected(tmp_path, "v.com/c=0", hooks=True).hooks == (
        ("createContainer", "/usr/bin/hook", ("hook",), (), 0),
    )
    write(tmp_path / "etc/b.json", "v.com/c", {"0": {}})
    with pytest.raises(StoreError, match=r"the CDI device v\.com/c=0 is in .*a\.json and in .*b\.json"):
        injected(tmp_path, "v.com/c=0")
    write(tmp_path / "run/c.json", "v.com/d", {"0": {"deviceNodes": [{"path": "/dev/none-such"}]}})
    (tmp_path / "etc/b.json").unlink()
    with pytest.raises(NotFound, match="the device /dev/none-such of a CDI spec: No such file"):
        injected(tmp_path, "v.com/d=0")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all", ["all"]), ("2", ["0", "1"]), ("count=all", ["all"]), ("device=0", ["0"]), ("-1", ["all"]),
        ('"device=0,GPU-1a"', ["0", "GPU-1a"]), ('all,"capabilities=compute,utility",driver=nvidia', ["all"]),
    ],
)  # fmt: skip
def test_gpus(text: str, found: list[str]) -> None:
    assert gpus(text) == [f"nvidia.com/gpu={name}" for name in found]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("some", "count must be an integer or all, not 'some'"),
        ("device=0,1", "cannot set both Count and DeviceIDs on device request"),
        ("all,all", "gpu request key 'count' can be specified only once"),
        ("kind=x", "unexpected key 'kind' in 'kind=x'"),
        ("all,driver=amd", "there is no driver 'amd'"),
        ("all,capabilities=tpu", "capabilities 'tpu' cannot be requested"),
        ("all,options=a=b", "options are not supported"),
    ],
)
def test_gpus_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        gpus(text)
    assert caught.value.message == f"invalid --gpus {text!r}: {said}"


def test_a_container_with_a_device(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "library").write_text("content\n")
    (tmp_path / "library").chmod(0o644)
    edits = {
        "env": ["A=of the device"],
        "deviceNodes": [{"path": "/dev/vendor/zero", "hostPath": "/dev/zero"}],
        "mounts": [
            {"hostPath": f"{tmp_path}/library", "containerPath": "/lib/x", "options": ["ro", "nodev"]}
        ],
    }
    write(tmp_path / "cdi/v.json", "nvidia.com/gpu", {"all": edits})
    code = ["sh", "-c", "echo $A; cat /lib/x; head -c 3 /dev/vendor/zero | wc -c; echo y > /lib/x"]
    with Engine(Config(str(nacre.root), cdi_folders=(f"{tmp_path}/cdi",))) as engine:
        options = ContainerOptions(environment=("A=mine",), gpus=("all",))
        done = engine.containers.run("busybox:test", code, options)
        assert done.stdout == b"of the device\ncontent\n3\n"
        assert b"Read-only" in done.stderr
        (row,) = engine.containers.list()
    (document,) = nacre("inspect", row.id).json
    assert document["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["nvidia.com/gpu=all"]
    assert document["Mounts"] == []
    assert (tmp_path / "library").read_text() == "content\n"


def test_devices_that_are_nowhere(nacre: Nacre, busybox_image: str) -> None:
    for words in (["--device", "vendor.invalid/class=name"], ["--gpus", '"device=none-such"']):
        done = nacre("run", "--rm", *words, busybox_image, "true", check=False)
        assert done.code == 125
        assert "nacre: CDI device injection failed: unresolvable CDI devices " in done.err
    assert nacre("ps", "-aq").out == ""
