"""What nothing names in a registry: what is found, when it goes, and what stays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.stores.catalog import Catalog, Document, SqliteDatabase
from nacre.stores.garbage import Garbage, GarbageCollector, Mentions
from nacre.stores.storage import Placed
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.oci import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from nacre.words.rules import GarbageRules

HOUR, DAY = 3600.0, 86400.0


class Lab:
    """A catalog whose time is `now`, and the content that was removed."""

    def __init__(self, path: Path) -> None:
        self.now, self.removed = 1e9, set[Digest]()
        self.catalog = Catalog(SqliteDatabase(str(path), lambda: self.now), FolderContents(self.removed.add))
        self.mentions = Mentions()

    def collect(self, **rules: float) -> Garbage:
        given = GarbageRules(**({"grace": DAY, "untagged": 30 * DAY} | rules))  # type: ignore[arg-type]
        collector = GarbageCollector(self.catalog, given, self.mentions)
        return [Garbage(), *collector.steps()][-1]

    def look(self) -> tuple[Garbage, Garbage]:
        return GarbageCollector(self.catalog, GarbageRules(), self.mentions).look()

    def blob(self, text: str, name: str = "app") -> Digest:
        digest = Digest.of(text.encode())
        self.catalog.add_blob(name, Placed(digest, len(text)))
        return digest

    def manifest(
        self, text: str, *parts: Digest, tag: str = "", subject: str = "", name: str = "app"
    ) -> Digest:
        digest = Digest.of(text.encode())
        found = tuple(Descriptor(OCI_LAYER, part, self.size(part, name)) for part in parts)
        kind = OCI_INDEX if text.startswith("index") else OCI_MANIFEST
        document = Document(kind, len(text), found, subject, "", ())
        self.catalog.put_manifest(name, Placed(digest, document.size), document, [tag] if tag else [])
        return digest

    def size(self, digest: Digest, name: str) -> int:
        stored = self.catalog.manifest(name, digest)
        return stored.size if stored else int(self.catalog.blob(name, digest) or 0)

    def there(self, digest: Digest, name: str = "app") -> bool:
        return self.catalog.blob(name, digest) is not None or self.catalog.manifest(name, digest) is not None


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "registry.db")
    with closing(made.catalog):
        yield made


def test_what_is_named_stays(lab: Lab) -> None:
    layer = lab.blob("layer")
    image = lab.manifest("image", layer)
    lab.manifest("index", image, tag="1")
    lab.manifest("signature", subject=lab.manifest("other", tag="2"))
    for _ in range(3):
        assert lab.collect() == Garbage()
        lab.now += 365 * DAY
    assert lab.removed == set()
    assert lab.look() == (Garbage(), Garbage())


def test_a_blob_goes_a_day_after_it_was_found(lab: Lab) -> None:
    blob = lab.blob("layer")
    lab.now += 10 * DAY
    assert lab.look() == (Garbage(0, 1, 5), Garbage())
    assert lab.collect() == Garbage()
    lab.now += DAY - 1
    assert lab.collect() == Garbage()
    lab.now += 1
    assert lab.look()[1] == Garbage(0, 1, 5)
    assert lab.collect() == Garbage(0, 1, 5)
    assert lab.removed == {blob}
    assert not lab.there(blob)


def test_what_came_just_now_stays(lab: Lab) -> None:
    """Its manifest is on the way: also where it was found to be unused a while ago."""
    blob = lab.blob("layer")
    lab.collect()
    lab.now += 2 * DAY
    lab.blob("layer")
    assert lab.collect() == Garbage()
    assert lab.there(blob)
    lab.now += DAY - 1
    assert lab.collect() == Garbage()


def test_what_a_client_was_told_of_stays(lab: Lab) -> None:
    blob = lab.blob("layer")
    lab.collect()
    lab.now += 2 * DAY
    assert lab.mentions.tell("app", blob)
    assert lab.collect() == Garbage()
    assert lab.there(blob)


def test_nobody_is_told_of_what_goes() -> None:
    mentions = Mentions()
    mentions.tell("app", "a")
    with mentions.condemned([("app", "a"), ("app", "b")]) as going:
        assert going == {("app", "b")}
        with mentions.condemned([("copy", "b")]):
            pass  # another job, which is done first
        assert (mentions.tell("app", "a"), mentions.tell("app", "b")) == (True, False)
    assert mentions.tell("app", "b")


def test_content_goes_with_its_last_repository(lab: Lab) -> None:
    blob = lab.blob("layer")
    lab.blob("layer", "other")
    lab.manifest("image", blob, tag="1", name="other")
    lab.collect()
    lab.now += 2 * DAY
    assert lab.collect() == Garbage(0, 1, 0)
    assert lab.removed == set()
    assert (lab.there(blob), lab.there(blob, "other")) == (False, True)


def test_an_image_without_a_tag_takes_along_what_only_it_names(lab: Lab) -> None:
    layer, shared = lab.blob("layer"), lab.blob("shared")
    images = [lab.manifest("image1", layer, shared), lab.manifest("image2", shared)]
    index = lab.manifest("index", *images, tag="1")
    lab.manifest("image3", shared, tag="3")
    signature = lab.manifest("signature", subject=index)
    lab.manifest("index of the next", images[1], tag="1")
    assert lab.collect() == Garbage()
    lab.now += 30 * DAY
    assert lab.collect().manifests == 1
    assert [lab.there(one) for one in (index, signature, *images)] == [False, False, False, True]
    lab.now += DAY
    assert lab.collect().blobs == 1
    assert [lab.there(one) for one in (layer, shared)] == [False, True]


def test_a_tag_in_between_begins_anew(lab: Lab) -> None:
    image = lab.manifest("image")
    lab.collect()
    lab.now += 29 * DAY
    lab.manifest("image", tag="1")
    lab.collect()
    lab.manifest("image2", tag="1")
    lab.collect()
    lab.now += 29 * DAY
    assert lab.collect() == Garbage()
    lab.now += DAY
    assert lab.collect().manifests == 1
    assert not lab.there(image)


def test_images_without_tags_may_stay_for_ever(lab: Lab) -> None:
    layer = lab.blob("layer")
    image = lab.manifest("image", layer)
    for _ in range(3):
        assert lab.collect(untagged=0.0) == Garbage()
        lab.now += 365 * DAY
    assert lab.there(image)


def test_more_than_one_window(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.stores.garbage.WINDOW", 3)
    monkeypatch.setattr("nacre.stores.garbage.AT_ONCE", 2)
    blobs = [lab.blob(f"layer{number}", f"app{number % 3}") for number in range(20)]
    lab.manifest("image", blobs[0], tag="1", name="app0")
    lab.collect()
    lab.now += 2 * DAY
    assert lab.collect() == Garbage(0, 19, sum(len(f"layer{number}") for number in range(1, 20)))
    assert lab.removed == set(blobs[1:])


def test_a_round_begins_with_what_an_earlier_one_found(lab: Lab) -> None:
    """One that is always broken off before it has looked at everything still comes to something."""
    blob, image = lab.blob("layer"), lab.manifest("image")
    lab.collect()
    lab.now += 31 * DAY
    steps = GarbageCollector(lab.catalog, GarbageRules(), lab.mentions).steps()
    assert [next(steps), next(steps)] == [Garbage(1, 0, 5), Garbage(1, 1, 10)]
    assert lab.removed == {blob, image}


def test_whoever_pushes_waits_for_a_moment_at_most(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that takes long is done in several transactions."""
    monkeypatch.setattr("nacre.stores.garbage.LONGEST", 0.0)
    for number in range(5):
        lab.blob(f"layer{number}")
    lab.collect()
    lab.now += 2 * DAY
    counts = [gone.blobs for gone in GarbageCollector(lab.catalog, GarbageRules(), lab.mentions).steps()]
    assert [counts.count(number) for number in (1, 2, 3, 4, 5)] == [1, 1, 1, 1, 1]


def test_the_time_is_asked_for_once_in_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is asked for it, which costs a round trip, and in a change a second connection."""
    monkeypatch.setattr("nacre.stores.garbage.LONGEST", 60.0)
    for number in range(30):
        lab.blob(f"layer {number}")
    asked: list[None] = []
    monkeypatch.setattr(lab.catalog, "now", lambda: asked.append(None) or lab.now)
    lab.collect()
    lab.now += 2 * DAY
    assert lab.collect().blobs == 30
    assert len(asked) < 15


def test_a_manifest_may_not_name_what_is_gone(lab: Lab) -> None:
    blob = lab.blob("layer")
    lab.collect()
    lab.now += 2 * DAY
    lab.collect()
    with pytest.raises(Exception, match="manifest needs"):
        lab.manifest("image", blob, tag="1")


def test_against_a_model(lab: Lab) -> None:
    """Random pushes, deletions and looks: what can be pulled stays whole, all garbage goes in the end."""
    dice = random.Random(7)
    for _ in range(300):
        lab.now += dice.random() * DAY
        name, number = dice.choice(["a", "b"]), dice.randrange(6)
        act: Any = dice.choice(["push", "push", "retag", "delete", "collect"])
        if act == "push":
            parts = [lab.blob(f"layer{part}", name) for part in dice.sample(range(8), 2)]
            lab.manifest(f"image{number}", *parts, tag=dice.choice(["", f"v{number}"]), name=name)
        elif act == "delete":
            lab.catalog.delete_tag(name, f"v{number}")
        elif act == "collect":
            lab.collect(untagged=2 * DAY)
        tags = [(name, tag) for name in ("a", "b") for tag in lab.catalog.tags(name, "", 100)]
        rows = lab.catalog.listed("SELECT repository, digest FROM parts")
        held = {tuple(row) for row in lab.catalog.listed("SELECT repository, digest FROM blobs")}
        assert {tuple(row) for row in rows} <= held
        assert all(lab.catalog.manifest(name, tag) for name, tag in tags)
    for name, tag in tags:
        lab.catalog.delete_tag(name, tag)
    for _ in range(4):
        lab.now += 5 * DAY
        lab.collect(untagged=2 * DAY)
    assert lab.catalog.listed("SELECT 1 FROM blobs UNION ALL SELECT 1 FROM manifests") == []
    assert lab.catalog.listed("SELECT 1 FROM unused") == []
