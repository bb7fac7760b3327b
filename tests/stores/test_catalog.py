"""The contract of a catalog, on every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from nacre.grammars.wire.conditions import Conditions
from nacre.stores.activity import Activity, Author
from nacre.stores.catalog import Catalog, Document, SqliteDatabase, Upload, UploadLimits, WriteConditions
from nacre.stores.garbage import Garbage, GarbageCollector, Mentions
from nacre.stores.joblocks import LOCKED, JobLocks
from nacre.stores.storage.local import FolderContents
from nacre.stores.storage.protocol import Placed
from nacre.words.digest import Digest
from nacre.words.errors import RegistryError
from nacre.words.oci import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from nacre.words.rules import ActivityRules, GarbageRules

HOUR, DAY = 3600.0, 86400.0


class Lab:
    """A catalog whose time is `now`, and the content that was removed."""

    def __init__(self, open_database: Callable[[Callable[[], float]], Any]) -> None:
        self.now, self.removed = 1e9, list[Digest]()
        self.catalog = Catalog(open_database(lambda: self.now), FolderContents(self.removed.append))
        self.catalog.keeps_removed = False

    def blob(self, text: str, name: str = "app") -> Digest:
        digest = Digest.of(text.encode())
        self.catalog.add_blob(name, Placed(digest, len(text)))
        return digest

    def image(self, text: str, *parts: Digest, tags: tuple[str, ...] = (), **more: Any) -> Digest:
        digest, name = Digest.of(text.encode()), more.pop("name", "app")
        found = tuple(Descriptor(OCI_LAYER, part, self.size(part, name)) for part in parts)
        kind = OCI_INDEX if text.startswith("index") else OCI_MANIFEST
        document = Document(kind, len(text), found, more.pop("subject", ""), more.pop("kind", ""), ())
        self.catalog.put_manifest(name, Placed(digest, len(text)), document, tags, **more)
        return digest

    def size(self, digest: Digest, name: str) -> int:
        stored = self.catalog.manifest(name, digest)
        return stored.size if stored else self.catalog.blob(name, digest) or 0

    def collect(self, **rules: float) -> Garbage:
        given = GarbageRules(**({"grace": DAY, "untagged": 30 * DAY} | rules))  # type: ignore[arg-type]
        return [Garbage(), *GarbageCollector(self.catalog, given, Mentions()).steps()][-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    if request.param == "sqlite":
        made = Lab(lambda clock: SqliteDatabase(str(tmp_path / "registry.db"), clock))
    else:
        url = request.getfixturevalue("postgresql").new_database()
        from nacre.stores.catalog.postgresql import PostgresDatabase

        made = Lab(lambda clock: PostgresDatabase(url, clock))
    with closing(made.catalog):
        yield made


def test_what_was_pushed_is_found(lab: Lab) -> None:
    layer = lab.blob("layer")
    image = lab.image("image", layer, tags=("1", "latest"))
    catalog = lab.catalog
    assert catalog.exists("app")
    assert not catalog.exists("other")
    assert catalog.blob("app", layer) == 5
    assert catalog.blob("other", layer) is None
    for reference in ("1", "latest", image):
        assert catalog.manifest("app", reference) == (image, OCI_MANIFEST, 5)
    assert catalog.manifest("app", "2") is None
    assert catalog.manifest("other", "1") is None


def test_a_manifest_needs_its_parts(lab: Lab) -> None:
    absent = Digest.of(b"absent")
    document = Document(OCI_MANIFEST, 3, (Descriptor(OCI_LAYER, absent, 6),), "", "", ())
    with pytest.raises(RegistryError, match="not in this repository"):
        lab.catalog.put_manifest("app", Placed(Digest.of(b"m"), 3), document)
    assert not lab.catalog.exists("app")
    with pytest.raises(RegistryError, match="not in this repository"):
        lab.catalog.check_parts("app", document)
    lab.blob("absent", name="other")
    with pytest.raises(RegistryError, match="not in this repository"):
        lab.catalog.put_manifest("app", Placed(Digest.of(b"m"), 3), document)
    lab.catalog.add_blob("app", Placed(absent, 7))
    with pytest.raises(RegistryError, match="has 7 bytes, the manifest says 6"):
        lab.catalog.put_manifest("app", Placed(Digest.of(b"m"), 3), document)
    guard = WriteConditions(sparse=True)
    assert lab.catalog.put_manifest("new", Placed(Digest.of(b"m"), 3), document, (), guard) == 1


def test_what_is_needed_stays(lab: Lab) -> None:
    layer = lab.blob("layer")
    image = lab.image("image", layer)
    index = lab.image("index", image, tags=("1",))
    with pytest.raises(RegistryError, match=f"needed by {image}"):
        lab.catalog.delete_blob("app", layer)
    with pytest.raises(RegistryError, match=f"needed by {index}"):
        lab.catalog.delete_manifest("app", image)
    assert lab.catalog.delete_manifest("app", index)
    assert lab.catalog.manifest("app", "1") is None
    assert lab.catalog.delete_manifest("app", image)
    assert not lab.catalog.delete_manifest("app", image)
    assert lab.catalog.delete_blob("app", layer)
    assert not lab.catalog.delete_blob("app", layer)
    assert lab.removed == [index, image, layer]


def test_an_index_takes_its_manifests_by_rule(lab: Lab) -> None:
    kept, shared, alone = lab.image("kept", tags=("k",)), lab.image("shared"), lab.image("alone")
    index = lab.image("index", kept, shared, alone)
    lab.image("index 2", shared)
    assert lab.catalog.delete_manifest("app", index, children=True)
    assert lab.removed == sorted([index, alone])


def test_content_stays_while_a_repository_has_it(lab: Lab) -> None:
    layer = lab.blob("layer")
    assert lab.catalog.mount("other", layer, "app")
    assert not lab.catalog.mount("third", Digest.of(b"?"), "app")
    assert lab.catalog.delete_blob("app", layer)
    assert lab.removed == []
    assert lab.catalog.delete_blob("other", layer)
    assert lab.removed == [layer]


def test_pinned_content_stays(lab: Lab) -> None:
    layer = lab.blob("layer")
    with lab.catalog.pinned(layer):
        assert lab.catalog.delete_blob("app", layer)
        lab.catalog.drop_unheld([layer])
        assert lab.removed == []
        lab.blob("layer", name="other")
    assert lab.removed == []
    with suppress(KeyError), lab.catalog.pinned(layer):
        assert lab.catalog.delete_blob("other", layer)
        raise KeyError
    assert lab.removed == [layer]


def test_conditions_hold_in_the_change(lab: Lab) -> None:
    one, two = lab.image("one", tags=("1",)), Digest.of(b"two")
    document = Document(OCI_MANIFEST, 3, (), "", "", ())
    new = WriteConditions("1", Conditions("", "*"))
    with pytest.raises(RegistryError) as caught:
        lab.catalog.put_manifest("app", Placed(two, 3), document, ("1",), new)
    assert caught.value.status == 412
    known = WriteConditions("1", Conditions(f'"{one}"', ""))
    lab.catalog.put_manifest("app", Placed(two, 3), document, ("1",), known)
    with pytest.raises(RegistryError):
        lab.catalog.delete_tag("app", "1", known)
    with pytest.raises(RegistryError, match="immutable") as caught:
        lab.catalog.put_manifest("app", Placed(one, 3), document, ("1",), WriteConditions(frozen=("1",)))
    assert caught.value.status == 409
    assert lab.catalog.delete_tag("app", "1")
    assert not lab.catalog.delete_tag("app", "1")
    assert not lab.catalog.delete_tag("nothing", "1")


def test_tags_in_the_order_of_the_specification(lab: Lab) -> None:
    tags = ["1.10", "1.9", "A", "a", "B", "b", "Z_", "z-", "_x"]
    lab.image("image", tags=tuple(reversed(tags)))
    ordered = sorted(tags, key=lambda tag: (tag.lower(), tag))
    assert lab.catalog.tags("app", "", 100) == ordered
    last, pages = "", []
    while page := lab.catalog.tags("app", last, 2):
        pages += page
        last = page[-1]
    assert pages == ordered
    assert lab.catalog.tags("app", "az", 1) == ["B"], "after one that is not there"
    assert lab.catalog.tags("nothing", "", 10) == []


def test_repositories_in_order(lab: Lab) -> None:
    for name in ("b", "a/c", "a-b", "a", "a_b"):
        lab.blob("x", name=name)
    assert lab.catalog.repositories("", 10) == sorted(["b", "a/c", "a-b", "a", "a_b"])
    assert lab.catalog.repositories("a", 2) == ["a-b", "a/c"]


def test_referrers(lab: Lab) -> None:
    image = lab.image("image")
    signature = lab.image("signature", subject=image, kind="application/sig")
    sbom = lab.image("sbom", subject=image, kind="application/sbom")
    found = lab.catalog.referrers("app", image, "", "", 10)
    assert [each.digest for each in found] == sorted([signature, sbom])
    assert [each.digest for each in lab.catalog.referrers("app", image, "application/sig", "", 9)] == [
        signature
    ]
    assert lab.catalog.referrers("app", image, "", found[0].digest, 10) == found[1:]


def test_uploads(lab: Lab) -> None:
    limits = UploadLimits(most=4, each=3, idle=HOUR)

    def begin(name: str, owner: str) -> str:
        lab.now += 1
        return lab.catalog.begin_upload(name, Upload("app", owner), limits)

    assert [begin(f"u{number}", "a") for number in range(3)] == ["", "", ""]
    assert lab.catalog.touch_upload("u0", 5)
    assert begin("u3", "a") == "u1"
    assert lab.catalog.upload("u1") is None
    assert lab.catalog.upload("u2") == Upload("app", "a")
    assert begin("u4", "b") == ""
    assert begin("u5", "b") == "u2", "of the owner who has most"
    assert not lab.catalog.touch_upload("u2", 1)
    lab.catalog.end_upload("u5")
    lab.now += DAY
    assert sorted(lab.catalog.idle_uploads(HOUR)) == ["u0", "u3", "u4"]


def test_garbage_goes_after_its_time(lab: Lab) -> None:
    layer = lab.blob("layer")
    image = lab.image("image", layer)
    lab.image("kept", lab.blob("kept layer"), tags=("1",))
    assert lab.collect() == Garbage()
    lab.now += 31 * DAY
    assert lab.collect() == Garbage(1, 0, 5)
    lab.now += 2 * DAY
    assert lab.collect() == Garbage(0, 1, 5)
    assert lab.removed == [image, layer]
    assert GarbageCollector(lab.catalog, GarbageRules(), Mentions()).look() == (Garbage(), Garbage())


def test_activity_and_jobs(lab: Lab) -> None:
    lab.image("image", tags=("1",), author=Author("alice", "::1"))
    lab.image("image 2", tags=("1",))
    activity = Activity(lab.catalog)
    assert [(entry.actor, entry.former) for entry in activity.after(0)] == [
        ("alice", ""), ("", Digest.of(b"image")),
    ]  # fmt: skip
    assert activity.page(limit=1)[0].id == activity.newest()
    assert [*activity.trim(ActivityRules(most=1))] == [1]
    one, two = JobLocks(lab.catalog, "one"), JobLocks(lab.catalog, "two")
    assert one.take("collect", 0) == 0
    assert two.take("collect", 0) == LOCKED
    assert one.renew("collect")
    one.end("collect", done=False)
    assert two.take("collect", 0) == 0


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_no_database_holds(lab: Lab, text: str) -> None:
    """A client's fault, or nothing is found; never a failure of the registry."""
    from nacre.words.errors import ContentError

    for ask in (lambda: lab.catalog.tags("app", text, 5), lambda: lab.catalog.manifest("app", text)):
        with suppress(ContentError, UnicodeEncodeError):
            assert not ask()
