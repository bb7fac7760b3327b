"""Which tags go by rules: values first, then a catalog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.stores.accounts.reading import Accounts
from nacre.stores.accounts.sources import SqliteSource
from nacre.stores.activity import Activity
from nacre.stores.catalog import Catalog, Document, SqliteDatabase
from nacre.stores.removed import RemovedContent
from nacre.stores.retention import AgedTag, Retention, expired
from nacre.stores.storage import Placed
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.errors import UsageError
from nacre.words.oci import OCI_MANIFEST
from nacre.words.rules import RetentionRule

DAY = 86400.0
FROZEN: Any = SimpleNamespace(is_closed=True, immutable=lambda name: ("keep",), version=lambda: "1")


def going(
    *rules: RetentionRule, tags: str, repository: str = "team/app", immutable: tuple[str, ...] = ()
) -> str:
    """Of tags, the newest first and a day apart, those that go, each with its rule."""
    aged = [AgedTag(tag, f"sha256:{tag}", -DAY * number) for number, tag in enumerate(tags.split())]
    found = expired(rules, repository, aged, immutable, 0.0)
    return " ".join(f"{each.tag}:{each.rule}" for each in found)


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        (RetentionRule(newest=2), "v2:1 main:1 v1:1"),
        (RetentionRule(age=2 * DAY), "v2:1 main:1 v1:1"),
        (RetentionRule(newest=4, age=2 * DAY), "v1:1"),
        (RetentionRule(newest=1, age=4 * DAY), "v1:1"),
        (RetentionRule(tags=("v*",), newest=1), "v3:1 v2:1 v1:1"),
        (RetentionRule(exclude=("main", "v?"), newest=1), ""),
        (RetentionRule(exclude=("main",), newest=1), "v3:1 v2:1 v1:1"),
        (RetentionRule(repositories=("other/*",), newest=1), ""),
        (RetentionRule(repositories=("other/*", "team/*"), newest=3), "main:1 v1:1"),
        (RetentionRule(newest=9), ""),
    ],
)
def test_one_rule(rule: RetentionRule, gone: str) -> None:
    assert going(rule, tags="v4 v3 v2 main v1") == gone


def test_the_first_rule_that_is_for_a_tag_decides() -> None:
    rules = RetentionRule(tags=("v*",), newest=2), RetentionRule(age=DAY)
    assert going(*rules, tags="v4 pr-2 v3 pr-1 v2 v1") == "pr-2:2 pr-1:2 v2:1 v1:1"


def test_immutable_tags_stay_and_do_not_count() -> None:
    assert going(RetentionRule(newest=1), tags="v3 v2 b a", immutable=("v*",)) == "a:1"


def test_a_rule_keeps_something() -> None:
    for fields in ({}, {"newest": -1}, {"newest": 1, "tags": ()}, {"age": 1.0, "repositories": ()}):
        with pytest.raises(UsageError):
            RetentionRule(**fields)  # type: ignore[arg-type]


class Lab:
    """A catalog whose time is `now`."""

    def __init__(self, path: Path) -> None:
        self.now = 1e9
        self.catalog = Catalog(
            SqliteDatabase(str(path), lambda: self.now), FolderContents(lambda digest: None)
        )

    def push(self, name: str, tag: str, text: str = "") -> None:
        digest = Digest.of((text or tag).encode())
        document = Document(OCI_MANIFEST, 4, (), "", "", ())
        self.catalog.put_manifest(name, Placed(digest, 4), document, [tag])

    def retention(self, *rules: RetentionRule) -> Retention:
        return Retention(self.catalog, rules, FROZEN)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "registry.db")
    with closing(made.catalog):
        yield made


def test_what_would_go_goes_and_comes_back(lab: Lab) -> None:
    for number in range(1200):
        lab.now += 1
        lab.push("app", f"t{number}", f"{number % 3}")
    lab.push("app", "keep")
    lab.push("web", "only")
    retention = lab.retention(RetentionRule(newest=5))
    would = [(each.repository, each.tag) for each in retention.look()]
    assert would == [("app", f"t{number}") for number in range(1194, -1, -1)]
    assert [*retention.steps()][-1] == 1195
    assert sorted(lab.catalog.tags("app", "", 100)) == ["keep", "t1195", "t1196", "t1197", "t1198", "t1199"]
    assert lab.catalog.tags("web", "", 100) == ["only"]
    assert list(retention.look()) == []
    assert Activity(lab.catalog).page(limit=1)[0].actor == "retention rule 1"
    RemovedContent(lab.catalog).restore_tag("app", "t0")
    assert lab.catalog.manifest("app", "t0")


def test_a_tag_that_moves_meanwhile_stays(lab: Lab) -> None:
    for tag in ("a", "b", "c"):
        lab.now += 1
        lab.push("app", tag)
    steps = lab.retention(RetentionRule(newest=1)).steps()
    assert next(steps) == 1
    lab.push("app", "a", "moved")
    assert list(steps) == [1]
    assert lab.catalog.tags("app", "", 10) == ["a", "c"]


def test_tags_that_became_immutable_meanwhile_stay(lab: Lab, tmp_path: Path) -> None:
    pytest.importorskip("alembic")
    from nacre.stores.accounts.administration import Administration

    place = str(tmp_path / "registry.db")
    for tag in ("a", "b"):
        lab.now += 1
        lab.push("app", tag)
    with Administration(place, "test") as changing, closing(Accounts(SqliteSource(place))) as accounts:
        changing.users.add("root", "hash", administrator=True)
        retention = Retention(lab.catalog, [RetentionRule(newest=1)], accounts)
        assert [each.tag for each in retention.look()] == ["a"]
        changing.rights.set_namespace("app", immutable=("a",))
        assert list(retention.look()) == []
