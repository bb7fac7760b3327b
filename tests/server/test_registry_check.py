"""`nacre registry check`: what it finds, and under which names, while the registry is served."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.services.server.documents import read as parse
from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.integrity import CheckOptions, ContentFiles, IntegrityCheck, RegistryReport
from nacre.words.digest import Digest
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST


@pytest.fixture
def root(serving: RunningServer) -> str:
    return serving.registry.state.store.root


def look(serving: RunningServer, **how: bool) -> RegistryReport:
    state = serving.registry.state
    return IntegrityCheck(state.catalog, ContentFiles(state.store.root), parse, CheckOptions(**how)).run()


def problems(report: RegistryReport) -> list[tuple[str, str, str]]:
    return sorted((name, each.part, each.problem) for each in report.damaged for name in each.names)


def spoil(root: str, digest: str, data: bytes | None) -> None:
    path = ContentFiles(root).path(digest)
    os.unlink(path)
    if data is not None:
        Path(path).write_bytes(data)


def test_a_sound_registry(serving: RunningServer, api: Any, make: Any) -> None:
    image = api.push_image("app", "1")
    api.put_manifest("app", "all", make.index((image.data, OCI_MANIFEST)), OCI_INDEX)
    api.push_image("web", "1")
    for read in (False, True):
        report = look(serving, read=read)
        assert report[:2] == (2, 3)
        assert (report.damaged, report.unneeded) == ((), ())
        assert (report.blobs, report.bytes) == (2, len(image.layer) + len(image.config))


def test_damage_is_named(serving: RunningServer, api: Any, make: Any, root: str) -> None:
    """By the tags of the image, of the index that has it, or by its digest."""
    image = api.push_image("app", "1", b"first")
    api.put_manifest("app", "all", make.index((image.data, OCI_MANIFEST)), OCI_INDEX)
    other = api.push_image("app", "x", b"second")
    api("DELETE", "app/manifests/x")
    spare = api.push_blob("app", b"spare")
    layer, config = make.digest(image.layer), make.digest(other.config)
    spoil(root, layer, b"short")
    spoil(root, config, None)
    spoil(root, spare, None)
    report = look(serving)
    assert problems(report) == sorted([
        ("app:1", layer, f"has 5 of {len(image.layer)} bytes"),
        ("app:all", layer, f"has 5 of {len(image.layer)} bytes"),
        (f"app@{other.digest}", config, "is missing"),
    ])  # fmt: skip
    assert report.unneeded == (spare,)


def test_other_bytes_are_found_by_reading(serving: RunningServer, api: Any, make: Any, root: str) -> None:
    image = api.push_image("app", "1")
    layer = make.digest(image.layer)
    spoil(root, layer, b"x" * len(image.layer))
    assert look(serving).damaged == ()
    assert problems(look(serving, read=True)) == [("app:1", layer, "has other content than its digest says")]


@pytest.mark.parametrize("data", [None, b"{}", b"x"])
def test_a_manifest_itself(serving: RunningServer, api: Any, root: str, data: bytes | None) -> None:
    image = api.push_image("app", "1")
    spoil(root, image.digest, data and data.ljust(len(image.data)))
    wrong = "is missing" if data is None else "has other content than its digest says"
    assert problems(look(serving)) == [("app:1", image.digest, wrong)]


def test_a_catalog_that_lost_a_row(serving: RunningServer, api: Any, make: Any, root: str) -> None:
    image = api.push_image("app", "1")
    other = api.push_image("web", "1", b"other")
    layer, config = make.digest(image.layer), make.digest(other.config)
    with closing(sqlite3.connect(f"{root}/registry.db")) as db, db:
        db.execute("DELETE FROM blobs WHERE digest = ?", (layer,))
        db.execute("DELETE FROM parts WHERE digest = ?", (config,))
    lost = "is not noted as a part, so a collection may remove it"
    assert problems(look(serving)) == [("app:1", layer, "is not in the repository"), ("web:1", config, lost)]
    assert problems(look(serving, sparse=True)) == [("web:1", config, lost)]


def test_what_goes_meanwhile_is_no_finding(serving: RunningServer, api: Any, root: str) -> None:
    image = api.push_image("app", "1")
    spoil(root, image.digest, None)
    catalog = serving.registry.state.catalog

    class Content(ContentFiles):
        def problem(self, digest: str, size: int) -> str:
            if digest == image.digest:
                catalog.delete_manifest("app", Digest(digest))
            return super().problem(digest, size)

    assert IntegrityCheck(catalog, Content(root), parse).run().damaged == ()


def test_by_command(nacre: Any, serving: RunningServer, api: Any, make: Any, root: str) -> None:
    image = api.push_image("app", "1")
    words = "registry", "check", "--root", root
    assert nacre(*words, "--read").lines[-1] == "No problems found"
    layer = make.digest(image.layer)
    spoil(root, layer, None)
    done = nacre(*words, check=False)
    assert done.code == 1
    assert done.lines[0] == f"app:1: {layer} is missing"
    assert done.lines[-1] == "1 damaged"
    assert "push again app:1" in done.err
    document = json.loads(nacre(*words, "--format", "json", check=False).out)
    assert document["Damaged"] == [{
        "Repository": "app", "References": ["1"], "Digest": image.digest, "Part": layer,
        "Problem": "is missing",
    }]  # fmt: skip
    api.push_blob("app", image.layer)
    assert nacre(*words, "--read").lines[-1] == "No problems found"
    assert "is no registry" in nacre("registry", "check", "--root", "/none", check=False).err


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    database = SqliteDatabase(str(tmp_path / "registry.db"))
    with closing(Catalog(database, lambda digest: None)) as catalog:
        assert IntegrityCheck(catalog, ContentFiles(str(tmp_path)), parse).run() == (0, 0, 0, 0, (), (), ())
