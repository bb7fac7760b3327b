"""What the page asks of a catalog, on every engine."""

from __future__ import annotations

from typing import Any

import pytest
from test_catalog import lab as lab  # the fixture

from nacre.stores.browsing import About, Browsing, Totals

FIRST = (1e18, "")


@pytest.fixture
def browsing(lab: Any) -> Browsing:
    """`app` has an image under two tags and an index of it, `other` the same layer."""
    layer, config = lab.blob("layer"), lab.blob("config")
    lab.now += 1
    image = lab.image("image", layer, config, tags=("1.0", "x_1"))
    lab.now += 1
    lab.image("index", image, tags=("all",))
    lab.image("image", lab.blob("layer", "other"), name="other", tags=("1",))
    return Browsing(lab.catalog)


def test_repositories_are_listed_and_found(browsing: Browsing) -> None:
    assert [line[:3] for line in browsing.repositories("", "", 10)] == [("app", "", 3), ("other", "", 1)]
    assert [line.name for line in browsing.repositories("", "app", 10)] == ["other"]
    assert browsing.describe("app", "The Shop", "100% pearl", "alice")
    assert not browsing.describe("none", "", "", "")
    for text, found in (("shop", ["app"]), ("100%", ["app"]), ("0%_", []), ("OTH", ["other"]), ("_", [])):
        assert [line.name for line in browsing.repositories(text, "", 10)] == found
    assert browsing.about("app")[:2] == ("The Shop", "100% pearl")
    assert browsing.describe("app", "", "", "bob")
    assert browsing.about("app").author == "bob"
    assert browsing.about("other") == About()
    for summary, readme, found in (("A", None, ("A", "")), (None, "B", ("A", "B")), ("", None, ("", "B"))):
        assert browsing.describe("app", summary, readme, "alice")
        assert browsing.about("app")[:2] == found


def test_tags_by_age_and_by_name(browsing: Browsing) -> None:
    assert [line.tag for line in browsing.newest("app", "", FIRST, 10)] == ["all", "x_1", "1.0"]
    newest = browsing.newest("app", "", FIRST, 1)[0]
    assert [line.tag for line in browsing.newest("app", "", (newest.updated, newest.tag), 10)] == [
        "x_1",
        "1.0",
    ]
    assert [line.tag for line in browsing.tags("app", "", "1.0", 10)] == ["all", "x_1"]
    assert [line.tag for line in browsing.tags("app", "X_", "", 10)] == ["x_1"]
    assert [line.tag for line in browsing.newest("app", "_", FIRST, 10)] == ["x_1"]
    assert browsing.count_tags("app") == 3
    assert browsing.named("app", [newest.digest]) == ["all"]


def test_what_is_shared_and_stored(browsing: Browsing, lab: Any) -> None:
    layer = lab.blob("layer")
    assert browsing.holders("app", layer, 10) == ["1.0", "all", "x_1"]
    assert len(browsing.holders("app", layer, 2)) == 2
    assert browsing.held_in(layer, "", 10) == ["app", "other"]
    assert browsing.stored("app") == (4, len("layerconfigimageindex"))
    assert browsing.alone("app") == len("config")
    assert [*browsing.totals()][-1] == Totals(len("layerconfig") + len("layer"), len("layerconfig"), 2)


def test_a_description_waits_for_a_deletion(
    browsing: Browsing, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[str] = []
    lab.catalog.change(
        lambda db: monkeypatch.setattr(type(db), "lock", lambda _db, *keys: locked.extend(keys))
    )
    assert not browsing.describe("none", "", "", "")
    assert locked == ["repository none"]
