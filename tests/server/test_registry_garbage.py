"""A registry that removes by itself what nothing names, and `nacre registry gc`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nacre.services.server import RunningServer
from nacre.words.digest import Digest
from nacre.words.rules import GarbageRules, RegistryRules


def test_it_removes_what_nothing_names(folder: str, api_of: Any) -> None:
    """The image was pushed before: a push must not take longer than blobs without a name are left alone."""
    with RunningServer(folder) as before:
        image = api_of(before.url).push_image("app", "1")
        lost = api_of(before.url).push_blob("app", b"lost")
    rules = RegistryRules(garbage=GarbageRules(interval=0.01, grace=0.0, untagged=0.001))
    with RunningServer(folder, rules=rules) as serving:
        catalog, deadline = serving.registry.state.catalog, time.monotonic() + 60
        while catalog.blob("app", Digest(lost)) is not None:
            assert time.monotonic() < deadline
        assert catalog.manifest("app", "1") is not None
        assert api_of(serving.url)("DELETE", "app/manifests/1").status == 202
        content = Path(folder) / "blobs" / "sha256"
        while catalog.manifest("app", image.digest) is not None or list(content.iterdir()):
            assert time.monotonic() < deadline


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


def test_a_collection_that_is_killed(tmp_path: Path, nacre: Any, api_of: Any) -> None:
    """What is named stays whole, and the next one removes the rest."""
    root = str(tmp_path / "registry")
    with RunningServer(root) as serving:
        api = api_of(serving.url)
        image = api.push_image("app", "1")
        for number in range(100):
            api.push_blob("app", b"lost %d" % number)
    content = Path(root, "blobs", "sha256")
    words = "registry", "gc", "--root", root, "--gc-grace", "0s"
    process = subprocess.Popen([sys.executable, "-m", "nacre", *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(list(content.iterdir())) > 102 and process.poll() is None:
        assert time.monotonic() < deadline
    process.kill()
    process.wait(30)
    assert nacre("registry", "check", "--read", "--root", root).lines[-1] == "No problems found"
    nacre(*words)
    with RunningServer(root) as serving:
        assert api_of(serving.url)("GET", "app/manifests/1").body == image.data
        while len(list(content.iterdir())) > 3:  # content whose rows the killed one had removed
            assert time.monotonic() < deadline + 60
    assert {path.name for path in content.iterdir()} >= {image.digest.partition(":")[2]}
