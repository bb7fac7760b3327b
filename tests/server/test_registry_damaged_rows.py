"""A bit that flips in a registry's database: never an answer that is wrong, and a line that says where."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.stores.integrity import ContentFiles
from nacre.words.oci import OCI_MANIFEST

Spoil = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"{tmp_path}/registry"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def serving(root: str, lines: list[str]) -> Iterator[RunningServer]:
    with RunningServer(root, log=lines.append) as running:
        yield running


@pytest.fixture
def spoil(serving: RunningServer, root: str) -> Spoil:
    def change(sql: str, *values: object) -> None:
        with closing(sqlite3.connect(f"{root}/registry.db", timeout=30)) as db:
            db.execute(sql, values)
            db.commit()

    return change


@pytest.mark.parametrize("size", [1, 1 << 20, -5, "abc"])
def test_a_size_of_a_blob_is_mended(
    spoil: Spoil, api: Any, root: str, lines: list[str], size: object
) -> None:
    """The file, which has its digest, says the right one: it must not count as damaged."""
    image = api.push_image("app", "1")
    api.push_blob("web", image.layer)
    digest = api.push_blob("app", image.layer)
    spoil("UPDATE blobs SET size = ? WHERE digest = ?", size, digest)
    assert api("GET", f"app/blobs/{digest}").body == image.layer
    assert api("GET", f"web/blobs/{digest}").body == image.layer
    assert Path(ContentFiles(root).path(digest)).read_bytes() == image.layer
    assert len(lines) == 2
    assert all(f"{digest} had the size" in line and "it was mended" in line for line in lines)
    assert api("HEAD", f"app/blobs/{digest}").headers["content-length"] == str(len(image.layer))
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("size", 3), ("size", "x"), ("media_type", OCI_MANIFEST.replace("o", "n", 1)), ("media_type", b"\xff")],
)
def test_a_row_of_a_manifest(spoil: Spoil, api: Any, lines: list[str], column: str, value: object) -> None:
    """It is refused with a line that names it, until it is pushed again."""
    image = api.push_image("app", "1")
    spoil(f"UPDATE manifests SET {column} = ?", value)
    for method, reference in (("GET", "1"), ("HEAD", "1"), ("GET", image.digest)):
        assert api(method, f"app/manifests/{reference}").status == 500
    assert len(lines) == 3
    said = f"in the row of manifests app {image.digest} {column} cannot be {value!r}"
    assert all(said in line for line in lines)
    api.put_manifest("app", "1", image.data)
    found = api("GET", "app/manifests/1")
    assert (found.status, found.body, found.headers["content-type"]) == (200, image.data, OCI_MANIFEST)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_annotations_of_a_referrer(spoil: Spoil, api: Any, make: Any, lines: list[str], text: str) -> None:
    image = api.push_image("app", "1")
    spoil("UPDATE manifests SET subject = digest, annotations = ?", text)
    assert api("GET", f"app/referrers/{image.digest}").status == 500
    assert f"in the row of manifests app {image.digest} annotations cannot be '{text[:1]}" in lines[0]
    assert len(lines[0]) < 300
