"""`nacre registry undelete`, `purge` and `repo`, while the registry is served."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer


@pytest.fixture
def command(nacre: Any, serving: RunningServer) -> Any:
    root = serving.registry.state.store.root
    return lambda *words, **how: nacre("registry", *words, "--root", root, **how)


def test_what_was_deleted_is_pulled_again(command: Any, api: Any) -> None:
    image = api.push_image("app", "1", b"first")
    other = api.push_image("app", "1", b"second")
    listed = [json.loads(line) for line in command("undelete", "--format", "json").lines]
    assert [(each["Kind"], each["Name"], each["Digest"]) for each in listed] == [
        ("tag", "app:1", image.digest)
    ]
    assert command("undelete", "app:1").lines == ["app:1"]
    assert api("GET", "app/manifests/1").body == image.data
    api("DELETE", f"app/manifests/{other.digest}")
    command("undelete", f"app@{other.digest}", f"app:1@{other.digest}")
    assert api("GET", "app/manifests/1").body == other.data
    assert command("repo", "ls").lines == ["NAME", "app"]
    command("repo", "rm", "app")
    assert api("GET", "app/manifests/1").code == "NAME_UNKNOWN"
    assert command("undelete").lines[1].split()[:2] == ["repository", "app"]
    command("undelete", "app")
    assert api("GET", "app/manifests/1").body == other.data
    actions = [json.loads(line)["Action"] for line in command("audit", "--format", "json").lines]
    assert actions[:3] == ["restore", "restore", "delete"]


def test_an_immutable_tag_does_not_go_back(
    nacre: Any, serving: RunningServer, accounts: Any, api: Any
) -> None:
    """Neither by command nor otherwise, until it is deleted; then it can be restored."""
    root = serving.registry.state.store.root
    api.push_image("app", "v1", b"first")
    second = api.push_image("app", "v1", b"second")
    accounts.add_user("alice", "correct horse", admin=True)
    accounts.set_namespace("app", immutable=["v*"])
    refused = nacre("registry", "undelete", "--root", root, "app:v1", check=False)
    assert refused.code == 1
    assert f"tag v1 is immutable here and names {second.digest}" in refused.err
    catalog = serving.registry.state.catalog
    assert catalog.delete_tag("app", "v1")
    assert nacre("registry", "undelete", "--root", root, "app:v1").lines == ["app:v1"]
    found = catalog.manifest("app", "v1")
    assert found is not None
    assert found.digest == second.digest


def test_what_is_purged_is_gone_from_the_disk(
    command: Any, serving: RunningServer, api: Any, make: Any
) -> None:
    image = api.push_image("app", "1")
    api("DELETE", f"app/manifests/{image.digest}")
    command("purge", "app:1")
    serving.registry.jobs.wake("expire")
    blobs = Path(serving.registry.state.store.root) / "blobs" / "sha256"
    deadline = time.monotonic() + 30
    while list(blobs.iterdir()):
        assert time.monotonic() < deadline
    assert command("undelete").lines == ["KIND      NAME      DIGEST    BY        DELETED"]


def test_tags_go_by_a_rule_and_come_back(command: Any, api: Any) -> None:
    for number in range(3):
        api.push_image("app", str(number), b"%d" % number)
    rule = "retention", "--keep-newest", "1", "--exclude", "0"
    shown = command(*rule, "--dry-run").lines
    assert [line.split()[:2] for line in shown[1:]] == [["app", "1"]]
    assert api("GET", "app/tags/list").json["tags"] == ["0", "1", "2"]
    assert command(*rule).lines == shown
    assert api("GET", "app/tags/list").json["tags"] == ["0", "2"]
    command("undelete", "app:1")
    assert api("GET", "app/tags/list").json["tags"] == ["0", "1", "2"]
    assert "how many tags or for how long" in command("retention", check=False).err


def test_what_cannot_be(command: Any, api: Any) -> None:
    image = api.push_image("app", "1")
    for words, said in (
        (("undelete", "app:1"), "app:1 cannot be restored: nothing is left of it"),
        (("undelete", "none"), "the repository none cannot be restored"),
        (("undelete", "App:1"), "invalid name 'App:1'"),
        (("undelete", "app@sha256:x"), "sha256:x"),
        (("purge", "app"), "nacre: nothing is left of the repository app\n"),
        (("repo", "rm", "none"), "no repository none"),
        (("repo", "rm", "app:2"), "no tag 2 in app"),
        (("repo", "rm", f"app@sha256:{'0' * 64}"), f"no manifest sha256:{'0' * 64} in app"),
    ):
        done = command(*words, check=False)
        assert done.code == 1
        assert said in done.err
    assert api("GET", "app/manifests/1").body == image.data


@pytest.mark.parametrize("words", [("retention", "--keep-newest", "1"), ("undelete",), ("repo", "ls")])
def test_where_there_is_no_registry(nacre: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = nacre("registry", *words, "--root", tmp_path / "none", check=False)
    assert (done.code, done.err) == (1, f"nacre: {tmp_path}/none is no registry\n")
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
def test_of_a_folder_that_may_not_be_entered(nacre: Any, tmp_path: Path) -> None:
    root = tmp_path / "private"
    root.mkdir()
    root.chmod(0)
    done = nacre("registry", "check", "--root", root, check=False)
    assert (done.code, done.err) == (1, f"nacre: cannot look at {root}: permission denied\n")


def test_a_root_that_is_no_folder(nacre: Any) -> None:
    done = nacre("registry", "serve", "--root", "/dev/null", "--addr", "127.0.0.1:0", check=False)
    assert (done.code, done.err) == (1, "nacre: cannot open /dev/null: not a directory\n")
