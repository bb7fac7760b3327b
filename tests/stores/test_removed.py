"""What somebody deleted can be restored for a while, whatever else goes on, and then it is gone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.stores.activity import Activity, Author
from nacre.stores.catalog import Catalog, Document, SqliteDatabase
from nacre.stores.garbage import Garbage, GarbageCollector, Mentions
from nacre.stores.removed import RemovedContent
from nacre.stores.retention import Retention
from nacre.stores.storage import Placed
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, NotFound, RegistryError
from nacre.words.oci import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from nacre.words.rules import GarbageRules, RetentionRule

DAY = 86400.0
OPEN: Any = SimpleNamespace(is_closed=False, version=lambda: "")
"""Accounts of a registry that has none."""
ALICE = Author("alice")


class Lab:
    """A catalog whose time is `now`; `content` is what a disk would hold."""

    def __init__(self, path: Path) -> None:
        self.now, self.content = 1e9, set[Digest]()
        self.catalog = Catalog(
            SqliteDatabase(str(path), lambda: self.now), FolderContents(self.content.discard)
        )
        self.removed = RemovedContent(self.catalog)

    def collector(self, **rules: float) -> GarbageCollector:
        given = GarbageRules(**({"grace": DAY, "untagged": 30 * DAY} | rules))  # type: ignore[arg-type]
        return GarbageCollector(self.catalog, given, Mentions())

    def collect(self, **rules: float) -> Garbage:
        return [Garbage(), *self.collector(**rules).steps()][-1]

    def blob(self, text: str, name: str = "app") -> Digest:
        digest = Digest.of(text.encode())
        self.content.add(digest)
        self.catalog.add_blob(name, Placed(digest, len(text)))
        return digest

    def manifest(self, text: str, *parts: Digest, tag: str = "", name: str = "app", **more: Any) -> Digest:
        digest = Digest.of(text.encode())
        found = tuple(Descriptor(OCI_LAYER, part, self.size(part, name)) for part in parts)
        kind = OCI_INDEX if text.startswith("index") else OCI_MANIFEST
        notes = (("title", text),)
        document = Document(kind, len(text), found, more.get("subject", ""), "", notes)
        self.content.add(digest)
        placed = Placed(digest, len(text))
        self.catalog.put_manifest(name, placed, document, [tag] if tag else [], author=ALICE)
        return digest

    def image(self, text: str, tag: str = "", name: str = "app") -> Digest:
        return self.manifest(text, self.blob(f"layer of {text}", name), tag=tag, name=name)

    def size(self, digest: Digest, name: str) -> int:
        stored = self.catalog.manifest(name, digest)
        return stored.size if stored else int(self.catalog.blob(name, digest) or 0)

    def named(self, tag: str, name: str = "app") -> str:
        stored = self.catalog.manifest(name, tag)
        return stored.digest if stored else ""

    def rows(self) -> dict[str, list[Any]]:
        """All that a client could see."""
        named = "SELECT r.name, x.* FROM {} x JOIN repositories r ON r.id = x.repository"
        return {
            "tags": sorted(row[:1] + row[2:4] for row in self.catalog.listed(named.format("tags"))),
            "parts": sorted(row[:1] + row[2:] for row in self.catalog.listed(named.format("parts"))),
            "manifests": sorted(row[:1] + row[2:8] for row in self.catalog.listed(named.format("manifests"))),
            "blobs": sorted(row[:1] + row[2:4] for row in self.catalog.listed(named.format("blobs"))),
        }


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "registry.db")
    with closing(made.catalog):
        yield made


def test_a_deleted_tag(lab: Lab) -> None:
    image = lab.image("image", "1")
    lab.catalog.delete_tag("app", "1", author=ALICE)
    (entry,) = lab.removed.page()
    assert entry[1:] == (lab.now, "alice", "app", "tag", "1", image, 0)
    assert lab.removed.restore_tag("app", "1", author=ALICE) == image
    assert lab.named("1") == image
    assert lab.removed.page() == []
    done = Activity(lab.catalog).page(limit=1)[0]
    assert done[2:-1] == ("alice", "", "restore", "app", "1", image, "")


def test_an_immutable_tag_stays_where_it_is(lab: Lab) -> None:
    """Only while it is set: what was deleted comes back."""
    first, second = (lab.image(text, "1") for text in ("first", "second"))
    with pytest.raises(Conflict, match="tag 1 is immutable here and names"):
        lab.removed.restore_tag("app", "1", frozen=True)
    assert (lab.named("1"), len(lab.removed.page())) == (second, 1)
    lab.catalog.delete_tag("app", "1")
    assert lab.removed.restore_tag("app", "1", frozen=True) == second
    assert lab.removed.restore_tag("app", "1", first) == first


def test_a_tag_that_was_moved_goes_back_and_forth(lab: Lab) -> None:
    first, second, third = (lab.image(text, "1") for text in ("first", "second", "third"))
    assert lab.removed.restore_tag("app", "1") == second
    assert lab.removed.restore_tag("app", "1") == third
    assert lab.removed.restore_tag("app", "1", first) == first
    assert lab.removed.restore_tag("app", "1") == third
    assert {entry.digest for entry in lab.removed.page()} == {first, second}


def test_a_push_of_the_same_moves_nothing(lab: Lab) -> None:
    lab.image("image", "1")
    lab.image("image", "1")
    assert lab.removed.page() == []


def test_a_deleted_manifest_comes_back_with_all_that_went(lab: Lab) -> None:
    image = lab.image("image", "1")
    index = lab.manifest("index", image, tag="all")
    lab.manifest("index", image, tag="latest")
    before = lab.rows()
    lab.catalog.delete_manifest("app", index, children=True)
    lab.catalog.delete_tag("app", "1")
    lab.catalog.delete_manifest("app", image)
    lab.catalog.delete_blob("app", Digest.of(b"layer of image"))
    assert lab.rows()["blobs"] == lab.rows()["manifests"] == []
    assert lab.content
    lab.removed.restore_manifest("app", index)
    lab.removed.restore_tag("app", "1")
    assert lab.rows() == before


def test_tags_that_name_something_else_now_stay(lab: Lab) -> None:
    old = lab.image("old", "1")
    lab.catalog.delete_manifest("app", old)
    new = lab.image("new", "1")
    lab.removed.restore_manifest("app", old)
    assert lab.named("1") == new
    assert lab.catalog.manifest("app", old)


def test_a_tag_of_a_deleted_repository_comes_back_with_all_its_images(lab: Lab) -> None:
    images = [lab.image(f"image {number}") for number in range(8)]
    lab.manifest("index", *images, tag="all")
    before = lab.rows()
    list(lab.catalog.delete_repository("app"))
    lab.removed.restore_tag("app", "all")
    assert lab.rows() == before


def test_a_repository(lab: Lab) -> None:
    image = lab.image("image", "1")
    lab.manifest("index", image, tag="all")
    lab.blob("spare")
    lab.image("other", "1", name="web")
    (found,) = lab.catalog.listed("SELECT id FROM repositories WHERE name = 'app'")
    about = (*found, "in a line", "# at length", 7.0, "alice")
    lab.catalog.change(lambda db: db.execute("INSERT INTO descriptions VALUES (?, ?, ?, ?, ?)", about))
    before = lab.rows()
    assert list(lab.catalog.delete_repository("none")) == []
    assert [*lab.catalog.delete_repository("app", ALICE)][-1] == 4
    assert not lab.catalog.exists("app")
    assert [(entry.kind, entry.repository) for entry in lab.removed.page()] == [("repository", "app")]
    assert lab.catalog.exists("web")
    lab.removed.restore_repository("app")
    assert lab.rows() == before
    assert lab.catalog.listed("SELECT summary, author FROM descriptions") == [("in a line", "alice")]
    assert lab.removed.page() == []


def test_after_the_grace_time_it_is_gone(lab: Lab) -> None:
    image = lab.image("image", "1")
    lab.catalog.delete_manifest("app", image)
    size = len("image") + len("layer of image")
    assert lab.collector().look() == (Garbage(1, 1, size), Garbage())
    lab.now += DAY - 1
    lab.collect()
    assert len(lab.content) == 2
    lab.now += 1
    assert lab.collector().is_due()
    assert lab.collect() == Garbage(1, 0, len("image"))
    with pytest.raises(NotFound, match="app:1 cannot be restored"):
        lab.removed.restore_tag("app", "1")
    lab.now += DAY
    lab.collect()
    assert lab.content == set()


def test_blobs_stay_as_long_as_the_manifest_that_needed_them(lab: Lab) -> None:
    """Though they were unused for long before it came."""
    layer = lab.blob("layer")
    lab.collect()
    lab.now += 10 * DAY
    lab.catalog.add_blob("app", Placed(layer, 5))
    image = lab.manifest("image", layer, tag="1")
    lab.catalog.delete_manifest("app", image)
    lab.now += DAY - 1
    lab.collect()
    lab.removed.restore_manifest("app", image)
    assert lab.named("1") == image
    lab.now += 100 * DAY
    assert lab.collect() == Garbage()
    assert lab.content == {layer, image}


def test_what_an_old_tag_needs_outlives_a_short_untagged_age(lab: Lab) -> None:
    first = lab.image("first", "1")
    lab.image("second", "1")
    lab.now += DAY - 1
    lab.collect(untagged=1.0)
    lab.now += 0.5
    lab.collect(untagged=0.1)
    assert lab.removed.restore_tag("app", "1") == first
    lab.now += 2 * DAY
    lab.collect(untagged=1.0)
    lab.now += DAY
    lab.collect(untagged=1.0)
    lab.now += DAY
    lab.collect(untagged=1.0)
    assert lab.content == {first, Digest.of(b"layer of first")}


def test_what_is_gone_cannot_come_back(lab: Lab) -> None:
    image = lab.image("image", "1")
    with pytest.raises(NotFound):
        lab.removed.restore_tag("app", "1")
    with pytest.raises(NotFound):
        lab.removed.restore_repository("none")
    assert not lab.catalog.exists("none")
    lab.catalog.delete_tag("app", "1")
    lab.catalog.change(lambda db: lab.catalog.forget(db, "manifests", 1, image))
    with pytest.raises(Conflict, match="is gone"):
        lab.removed.restore_tag("app", "1")


def test_content_can_go_at_once(lab: Lab) -> None:
    image = lab.image("image", "1")
    lab.catalog.delete_manifest("app", image)
    assert lab.removed.purge("app", "1") == 2
    assert lab.removed.page() == []
    assert lab.catalog.blob("app", Digest.of(b"layer of image")) is None
    for _ in lab.removed.expire(DAY):
        pass
    assert lab.content == set()
    with pytest.raises(NotFound):
        lab.removed.purge("app", "1")


def test_without_grace_nothing_is_kept(lab: Lab) -> None:
    lab.catalog.keeps_removed = False
    image = lab.image("image", "1")
    lab.image("other", "1")
    lab.catalog.delete_manifest("app", image)
    [*lab.catalog.delete_repository("app")]
    assert lab.removed.page() == []
    assert lab.content == set()


@pytest.mark.parametrize("seed", range(12))
def test_a_random_history_can_be_undone(lab: Lab, seed: int) -> None:
    """Deletions in any order, collections in between: within the grace time all of it comes back."""
    chance = random.Random(seed)
    images = [lab.image(f"image {number}", f"v{number}") for number in range(4)]
    lab.manifest("index", *images[:2], tag="all")
    lab.manifest("signature", subject=images[2])
    before, tags = lab.rows(), {tag: lab.named(tag) for tag in ("v0", "v1", "v2", "v3", "all")}
    for _ in range(8):
        lab.now += DAY / 20
        chance.choice((
            lambda: lab.catalog.delete_tag("app", f"v{chance.randrange(4)}"),
            lambda: _try_delete(lab, chance.choice(images)),
            lambda: _try_delete(lab, Digest.of(b"index")),
            lambda: lab.image(f"image {chance.randrange(4)}", f"v{chance.randrange(4)}"),
            lambda: lab.collect(),
            lambda: [*lab.catalog.delete_repository("app")],
        ))()  # fmt: skip
    for entry in lab.removed.page():
        if entry.kind == "repository":
            lab.removed.restore_repository("app")
    for digest in (*images, Digest.of(b"index"), Digest.of(b"signature")):
        if not lab.catalog.manifest("app", digest):
            lab.removed.restore_manifest("app", digest)
    for tag, digest in tags.items():
        if lab.named(tag) != digest:
            lab.removed.restore_tag("app", tag, digest)
    after = lab.rows()
    for table in ("manifests", "blobs"):
        assert after[table] == before[table]
    assert {tag: lab.named(tag) for tag in tags} == tags
    assert {Digest(row[1]) for row in (*after["manifests"], *after["blobs"])} <= lab.content


def _try_delete(lab: Lab, digest: Digest, name: str = "app") -> None:
    with suppress(RegistryError):  # an index needs it
        lab.catalog.delete_manifest(name, digest, children=True)


@pytest.mark.parametrize("seed", range(3))
def test_against_a_model(lab: Lab, seed: int) -> None:
    """Pushes, deletions, retention, collections: what is there is whole, and what was deleted comes back."""
    dice = random.Random(seed)
    rules = [RetentionRule(tags=("v?",), newest=3)]
    for _ in range(150):
        lab.now += dice.random() * DAY / 3
        name, number = dice.choice(["a", "b"]), dice.randrange(6)
        act = dice.choice(
            ["push", "push", "index", "tag", "manifest", "repository", "undo", "retain", "collect"]
        )
        if act == "push":
            parts = [lab.blob(f"layer{part}", name) for part in dice.sample(range(8), 2)]
            lab.manifest(f"image{number}", *parts, tag=dice.choice(["", f"v{number}", "latest"]), name=name)
        elif act == "index" and (found := lab.named(f"v{number}", name)):
            lab.manifest(f"index{number}", Digest(found), tag="all", name=name)
        elif act == "tag":
            lab.catalog.delete_tag(name, f"v{number}")
        elif act == "manifest":
            _try_delete(lab, Digest.of(f"{dice.choice(['image', 'index'])}{number}".encode()), name)
        elif act == "repository" and dice.random() < 0.3:
            [*lab.catalog.delete_repository(name)]
        elif act == "undo":
            _undo(lab, dice)
        elif act == "retain":
            list(Retention(lab.catalog, rules, OPEN).remove())
        elif act == "collect":
            lab.collect(untagged=DAY / 2)
        _prove(lab)
    for name in ("a", "b"):
        [*lab.catalog.delete_repository(name)]
    for _ in range(3):
        lab.now += 2 * DAY
        lab.collect()
    assert lab.content == set()
    assert lab.catalog.listed("SELECT 1 FROM removed UNION ALL SELECT 1 FROM unused") == []


def _undo(lab: Lab, dice: random.Random) -> None:
    """Whatever was deleted less than a day ago comes back."""
    fresh = [entry for entry in lab.removed.page() if entry.at > lab.now - DAY + 1]
    if not fresh:
        return
    entry = dice.choice(fresh)
    if entry.kind == "tag":
        lab.removed.restore_tag(entry.repository, entry.tag, entry.digest)
        assert lab.named(entry.tag, entry.repository) == entry.digest
    elif entry.kind == "manifest":
        lab.removed.restore_manifest(entry.repository, entry.digest)
        assert lab.catalog.manifest(entry.repository, entry.digest)
    else:
        lab.removed.restore_repository(entry.repository)


def _prove(lab: Lab) -> None:
    """Each manifest has its parts, each tag its manifest, and all that is named has its content."""
    listed = lab.catalog.listed
    blobs, manifests = (
        set(listed(f"SELECT repository, digest FROM {table}")) for table in ("blobs", "manifests")
    )
    assert set(listed("SELECT repository, digest FROM parts")) <= blobs | manifests
    assert set(listed("SELECT repository, digest FROM tags")) <= manifests
    assert {Digest(digest) for _, digest in blobs | manifests} <= lab.content
