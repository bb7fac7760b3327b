"""Answers of a catalog that are kept: never one that a change has overtaken."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nacre.stores.catalog import Catalog, Document, SqliteDatabase
from nacre.stores.catalog.cache import AnswerCache
from nacre.stores.storage.local import FolderContents
from nacre.stores.storage.protocol import Placed
from nacre.words.digest import Digest
from nacre.words.oci import OCI_MANIFEST


class Clock:
    """Stands in for `time` where a database asks when it last looked."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("nacre.stores.catalog.sqlite.time", found)
    return found


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    database = SqliteDatabase(str(tmp_path / "registry.db"), lambda: 1e9)
    with closing(Catalog(database, FolderContents(lambda _digest: None))) as found:
        yield found


def tag(catalog: Catalog, text: str) -> Digest:
    """Push a manifest under the tag `1`."""
    digest = Digest.of(text.encode())
    document = Document(OCI_MANIFEST, len(text), (), "", "", ())
    catalog.put_manifest("app", Placed(digest, len(text)), document, ["1"])
    return digest


def test_a_change_is_seen_at_once(catalog: Catalog) -> None:
    for text in ("first", "second"):
        digest = tag(catalog, text)
        assert catalog.manifest("app", "1") == (digest, OCI_MANIFEST, len(text))
    assert catalog.delete_tag("app", "1")
    assert catalog.manifest("app", "1") is None
    blob = Digest.of(b"blob")
    assert catalog.blob("app", blob) is None
    catalog.add_blob("app", Placed(blob, 4))
    assert catalog.blob("app", blob) == 4
    assert catalog.delete_blob("app", blob)
    assert catalog.blob("app", blob) is None


def test_another_process_is_seen_soon(catalog: Catalog, clock: Clock, tmp_path: Path) -> None:
    first = tag(catalog, "first")
    clock.now = 1.0
    assert catalog.manifest("app", "1") == (first, OCI_MANIFEST, 5)
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("DELETE FROM tags")
        other.commit()
    clock.now += 0.006
    assert catalog.manifest("app", "1") is None


def test_what_is_kept_is_not_asked_again(catalog: Catalog, tmp_path: Path) -> None:
    first = tag(catalog, "first")
    assert catalog.manifest("app", "1") == (first, OCI_MANIFEST, 5)
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("DELETE FROM tags")
        other.commit()
    assert catalog.manifest("app", "1") == (first, OCI_MANIFEST, 5), "the time of the clock stands still"


def test_an_answer_that_a_change_overtook_is_not_kept() -> None:
    version, state = 1, "old"
    cache = AnswerCache(lambda: version)

    def question(_name: str) -> str:
        nonlocal version, state
        found = state
        version, state = 2, "new"  # while it was asked
        return found

    assert cache.ask(question, "app") == "old"
    assert cache.ask(question, "app") == "new"


def test_kinds_of_answers() -> None:
    asked: list[str] = []
    cache = AnswerCache(lambda: 1)
    for _ in range(2):
        assert cache.ask(lambda word: asked.append(word), "nothing") is None
    assert asked == ["nothing"], "None is an answer, too"
    never = AnswerCache(lambda: None)
    for _ in range(2):
        never.ask(lambda word: asked.append(word), "server")
    assert asked == ["nothing", "server", "server"]


def test_no_more_than_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.stores.catalog.cache._MOST", 2)
    asked: list[str] = []
    cache = AnswerCache(lambda: 1)
    for word in ("a", "b", "c", "a", "c"):
        cache.ask(lambda text: asked.append(text), word)
    assert asked == ["a", "b", "c", "c"]
