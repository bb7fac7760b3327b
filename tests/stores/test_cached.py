"""What a registry keeps of others: what of it goes when, and that nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.stores.cached import CachedRepositories
from nacre.stores.catalog import Catalog, Document, SqliteDatabase, WriteConditions
from nacre.stores.garbage import GarbageCollector, Mentions
from nacre.stores.removed import RemovedContent
from nacre.stores.storage import Placed
from nacre.stores.storage.local import FolderContents
from nacre.words.digest import Digest
from nacre.words.errors import UsageError
from nacre.words.oci import OCI_MANIFEST, Descriptor
from nacre.words.rules import GarbageRules
from nacre.words.upstreams import CacheRules, UpstreamRules, check_upstreams

SPARSE = WriteConditions(sparse=True)
DAY = 86400.0
COPY, MINE = "docker.io/a", "mine"


class Lab:
    """A catalog whose time is `now`, and the content that was removed."""

    def __init__(self, path: Path, url: str = "") -> None:
        self.now, self.removed = 1e9, set[Digest]()
        contents = FolderContents(self.removed.add)
        self.catalog = Catalog(self.database(str(path), url), contents)
        self.cached = CachedRepositories(self.catalog)

    def database(self, path: str, url: str) -> Any:
        if not url:
            return SqliteDatabase(path, lambda: self.now)
        from nacre.stores.catalog.postgresql import PostgresDatabase

        return PostgresDatabase(url, lambda: self.now)

    def add(self, name: str, text: str, size: int = 1000) -> Digest:
        digest = Digest.of(text.encode())
        self.catalog.add_blob(name, Placed(digest, size))
        return digest

    def sizes(self, name: str, *digests: Digest) -> list[int | None]:
        return [self.catalog.blob(name, digest) for digest in digests]

    def evict(self, rules: CacheRules, mentions: Mentions | None = None) -> int:
        return sum(one.copies for one in list(self.cached.evict(rules, mentions or Mentions()))[-1:])


@pytest.fixture(params=["sqlite", "postgresql"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    url = request.getfixturevalue("postgresql").new_database() if request.param == "postgresql" else ""
    made = Lab(tmp_path / "registry.db", url)
    with closing(made.catalog):
        assert made.cached.mark(COPY, "docker.io")
        yield made


def test_what_is_used_least_recently_goes_first(lab: Lab) -> None:
    first, second, third = (lab.add(COPY, text) for text in "abc")
    mine = lab.add(MINE, "m", 5000)
    for digest, when in ((second, 10.0), (third, 20.0), (first, 30.0)):
        lab.cached.touch([(COPY, digest)], when)
    assert lab.cached.size() == 3000
    assert lab.evict(CacheRules(size=3000, unused=0.0)) == 0
    assert lab.evict(CacheRules(size=2500, unused=0.0)) == 1
    assert lab.sizes(COPY, first, second, third) == [1000, None, 1000]
    assert lab.removed == {second}
    assert lab.sizes(MINE, mine) == [5000]


def test_what_nobody_uses_for_long_goes(lab: Lab) -> None:
    old, used = lab.add(COPY, "old"), lab.add(COPY, "used")
    mine = lab.add(MINE, "mine")
    lab.now += 40 * DAY
    lab.cached.touch([(COPY, used), ("unknown", used)], lab.now - DAY)
    assert lab.evict(CacheRules(unused=30 * DAY)) == 1
    assert lab.sizes(COPY, old, used) == [None, 1000]
    assert lab.sizes(MINE, mine) == [1000]


def test_what_a_client_was_told_of_stays(lab: Lab) -> None:
    told, other = lab.add(COPY, "told"), lab.add(COPY, "other")
    mentions = Mentions()
    mentions.tell(COPY, told)
    lab.now += 1
    assert lab.evict(CacheRules(size=1, unused=0.0), mentions) == 1
    assert lab.sizes(COPY, told, other) == [1000, None]


def test_content_that_was_pushed_as_well_stays(lab: Lab) -> None:
    both = lab.add(COPY, "both")
    lab.add(MINE, "both")
    lab.now += 1
    assert lab.evict(CacheRules(size=1, unused=0.0)) == 1
    assert lab.removed == set()
    assert lab.sizes(MINE, both) == [1000]


def test_copies_are_no_garbage(lab: Lab) -> None:
    """No tag and no manifest names them; they go by their own rule."""
    document = Document(OCI_MANIFEST, 2, (Descriptor("x", Digest.of(b"absent"), 6),), "", "", ())
    blobs = {name: lab.add(name, "blob") for name in (COPY, MINE)}
    for name in blobs:
        lab.catalog.put_manifest(name, Placed(Digest.of(b"{}"), 2), document, (), SPARSE)
    collector = GarbageCollector(lab.catalog, GarbageRules(3600.0, DAY, DAY), Mentions())
    for _ in range(2):
        list(collector.steps())
        lab.now += 2 * DAY
    list(collector.steps())
    assert lab.sizes(COPY, blobs[COPY]) == [1000]
    assert lab.catalog.manifest(COPY, Digest.of(b"{}"))
    assert lab.sizes(MINE, blobs[MINE]) == [None]
    assert lab.catalog.manifest(MINE, Digest.of(b"{}")) is None


def test_a_repository_that_was_pushed_to_is_no_copy(lab: Lab) -> None:
    lab.add("ghcr.io/mine", "x")
    assert not lab.cached.mark("ghcr.io/mine", "ghcr.io")
    assert lab.cached.is_ours("ghcr.io")
    assert not lab.cached.is_ours("ghcr")
    assert not lab.cached.is_ours("docker.io")


def test_when_content_was_first_seen_is_kept(lab: Lab) -> None:
    digest, began = Digest.of(b"x"), lab.now
    assert lab.cached.first_seen(COPY, digest) == began
    lab.now += 10.0
    assert lab.cached.first_seen(COPY, digest) == began
    assert lab.cached.first_seen("docker.io/b", digest) == lab.now


@pytest.mark.parametrize(
    ("upstreams", "message"),
    [
        ([("a.io", "x"), ("b.io", "x")], "two upstreams have the same namespace"),
        ([("a.io", "x"), ("b.io", "x/y")], "the namespace x of one upstream holds that of another"),
    ],
)
def test_namespaces_lie_beside_each_other(upstreams: list[tuple[str, str]], message: str) -> None:
    rules = tuple(UpstreamRules(name, prefix=prefix) for name, prefix in upstreams)
    with pytest.raises(UsageError, match=message):
        check_upstreams(rules)


def test_half_a_login_is_refused() -> None:
    with pytest.raises(UsageError, match="both a user and a password"):
        UpstreamRules("a.io", user="me")


def test_an_upstream_is_named_as_clients_name_it() -> None:
    with pytest.raises(UsageError, match=r"'https://a\.io' is no name of a registry"):
        UpstreamRules.of("https://a.io")


def test_a_copy_is_deleted_whole(lab: Lab) -> None:
    digest = lab.add(COPY, "blob")
    lab.cached.touch([(COPY, digest)], lab.now)
    assert [*lab.catalog.delete_repository(COPY)][-1] == 1
    assert not lab.catalog.exists(COPY)
    removed = RemovedContent(lab.catalog)
    assert removed.page() == []
    assert list(removed.expire(DAY)) == [[("blob", 1000)]]
    assert lab.removed == {digest}
    assert lab.catalog.listed("SELECT * FROM used") == lab.catalog.listed("SELECT * FROM cached") == []
