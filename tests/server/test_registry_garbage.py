"""A registry that removes by itself what nothing names, and `nacre registry gc`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.words.digest import Digest
from nacre.words.rules import GarbageRules, RegistryRules


@pytest.fixture
def rules() -> RegistryRules:
    return RegistryRules(garbage=GarbageRules(interval=0.01, grace=0.5, untagged=0.001))


def test_it_removes_what_nothing_names(serving: RunningServer, api: Any) -> None:
    image = api.push_image("app", "1")
    lost = api.push_blob("app", b"lost")
    catalog, deadline = serving.registry.state.catalog, time.monotonic() + 30
    while catalog.blob("app", Digest(lost)) is not None:
        assert time.monotonic() < deadline
    assert catalog.manifest("app", "1") is not None
    assert api("DELETE", "app/manifests/1").status == 202
    while catalog.manifest("app", image.digest) is not None or serving.registry.state.garbage.look()[0].blobs:
        assert time.monotonic() < deadline
    assert list((Path(serving.registry.state.store.root) / "blobs" / "sha256").iterdir()) == []


def test_by_a_command(nacre: Any, tmp_path: Path, api_of: Any) -> None:
    root = str(tmp_path / "registry")
    words = "registry", "gc", "--root", root
    with RunningServer(root) as serving:
        api_of(serving.url).push_blob("app", b"lost")
        assert nacre(*words, "--dry-run").lines[1].split() == ["unused", "0", "1", "4B"]
        assert "is served by another process" in nacre(*words, check=False).err
    now = "--gc-grace", "0s"
    nacre(*words, *now)
    assert nacre(*words, *now).lines[1].split() == ["unused", "0", "0", "0B"]
    assert "is no registry" in nacre("registry", "gc", "--root", str(tmp_path / "none"), check=False).err
    assert "invalid duration 'x'" in nacre(*words, "--untagged-age", "x", check=False).err
