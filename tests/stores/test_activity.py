"""The record of who did what: written with the change, read in pages, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from nacre.stores.activity import Activity, ActivityQuery, Author, pushed
from nacre.stores.catalog import Catalog, Document, SqliteDatabase, WriteConditions
from nacre.stores.storage import Placed
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.errors import RegistryError
from nacre.words.oci import OCI_MANIFEST
from nacre.words.rules import ActivityRules

ALICE, BOB = Author("alice", "192.0.2.7"), Author("bob", "::1")
IMAGE, OTHER, BLOB = (Digest.of(text) for text in (b"image", b"other", b"blob"))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(
        Catalog(SqliteDatabase(str(tmp_path / "registry.db")), FolderContents(lambda digest: None))
    ) as made:
        yield made


def push(
    catalog: Catalog, name: str, digest: Digest, *tags: str, author: Author = ALICE, frozen: str = ""
) -> None:
    guard = WriteConditions(frozen=(frozen,) if frozen else ())
    catalog.put_manifest(
        name, Placed(digest, 5), Document(OCI_MANIFEST, 5, (), "", "", ()), tags, guard, author
    )


def told(catalog: Catalog) -> list[tuple[str, ...]]:
    """Without number, time and trace, the oldest first."""
    return [entry[2:-1] for entry in Activity(catalog).after(0)]


def test_each_change_has_an_entry(catalog: Catalog) -> None:
    push(catalog, "app", IMAGE, "1")
    push(catalog, "app", IMAGE)
    push(catalog, "app", OTHER, "1", author=BOB)
    push(catalog, "app", IMAGE, "1", "2")
    catalog.add_blob("app", Placed(BLOB, 4))
    assert catalog.mount("web", BLOB, "app", BOB)
    assert catalog.delete_tag("app", "2", author=BOB)
    assert catalog.delete_manifest("app", OTHER, author=BOB)
    assert catalog.delete_blob("web", BLOB, BOB)
    assert told(catalog) == [
        (*ALICE[:2], "push", "app", "1", IMAGE, ""),
        (*ALICE[:2], "push", "app", "", IMAGE, ""),
        (*BOB[:2], "push", "app", "1", OTHER, IMAGE),
        (*ALICE[:2], "tag", "app", "1", IMAGE, OTHER),
        (*ALICE[:2], "tag", "app", "2", IMAGE, ""),
        (*BOB[:2], "mount", "web", "app", BLOB, ""),
        (*BOB[:2], "delete", "app", "2", IMAGE, ""),
        (*BOB[:2], "delete", "app", "", OTHER, ""),
        (*BOB[:2], "delete", "web", "", BLOB, ""),
    ]


def test_what_fails_has_none(catalog: Catalog) -> None:
    push(catalog, "app", IMAGE, "1")
    with suppress(RegistryError):
        push(catalog, "app", OTHER, "1", frozen="1")
    assert not catalog.delete_tag("app", "9")
    assert not catalog.delete_manifest("none", IMAGE)
    assert not catalog.delete_blob("app", BLOB)
    assert not catalog.mount("web", BLOB, "app")
    assert len(told(catalog)) == 1


def test_a_tag_that_stays_is_a_push() -> None:
    assert [each.name for each in pushed("app", IMAGE, {"1": IMAGE, "2": OTHER}, new=False)] == [
        "push",
        "tag",
    ]


def test_it_is_read_in_pages(catalog: Catalog) -> None:
    for number in range(5):
        push(catalog, f"app{number % 2}", IMAGE, str(number))
    activity = Activity(catalog)
    first = activity.page(limit=2)
    second = activity.page(first[-1].id, 2)
    assert [entry.reference for entry in (*first, *second)] == ["4", "3", "2", "1"]
    of = ActivityQuery(repository="app1")
    assert [entry.reference for entry in activity.page(query=of)] == ["3", "1"]
    assert activity.page(query=ActivityQuery(actor="bob")) == []
    assert [entry.reference for entry in activity.after(first[-1].id)] == ["4"]
    assert activity.newest() == first[0].id


def test_it_is_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        push(catalog, "app", IMAGE, str(number))
    activity = Activity(catalog)
    assert list(activity.trim(ActivityRules())) == []
    assert list(activity.trim(ActivityRules(most=2))) == [3]
    last = activity.newest()
    now = activity.page()[0].at + 3601
    monkeypatch.setattr(catalog, "now", lambda: now)
    assert list(activity.trim(ActivityRules(age=3600))) == [2]
    push(catalog, "app", IMAGE, "6")
    assert activity.newest() == last + 1, "a number means one entry for ever"
