"""Unfinished uploads: whose they are, who gives way to whom, and the algorithm of their digest."""

import sqlite3
from contextlib import closing

import pytest

from nacre.services.server.clients import group_of
from nacre.stores.catalog import Catalog, SqliteDatabase, Upload, UploadLimits
from nacre.stores.storage.local import FolderContents
from nacre.words import digest as digests
from nacre.words.errors import RegistryError


def begin(catalog, number, owner, *, busy=frozenset(), idle=3600.0):
    limits = UploadLimits(most=6, each=4, idle=idle)
    return catalog.begin_upload(f"u{number}", Upload("app", owner), limits, busy)


def test_of_an_owner_the_oldest_empty_upload_gives_way(catalog):
    assert [begin(catalog, number, "a") for number in range(4)] == [""] * 4
    assert begin(catalog, 4, "b") == ""
    catalog.touch_upload("u0", 5)
    assert begin(catalog, 5, "a", busy={"u1"}) == "u2"
    assert catalog.upload("u2") is None
    assert catalog.upload("u4") == Upload("app", "b")
    assert not catalog.touch_upload("u2", 1)


def test_if_none_can_give_way_it_is_refused(catalog):
    for number in range(4):
        begin(catalog, number, "a")
        catalog.touch_upload(f"u{number}", 5)
    with pytest.raises(RegistryError, match="you have 4 unfinished uploads") as caught:
        begin(catalog, 4, "a")
    assert caught.value.status == 429
    assert begin(catalog, 4, "a", idle=-1.0) == "u0"


def test_of_all_the_one_with_most_gives_way(catalog):
    for number, owner in enumerate("aaabbc"):
        begin(catalog, number, owner)
    assert begin(catalog, 6, "d") == "u0"
    assert begin(catalog, 7, "c") in {"u1", "u3"}


def test_a_database_of_the_first_format_is_brought_up(tmp_path):
    path = str(tmp_path / "registry.db")
    with closing(Catalog(SqliteDatabase(path), FolderContents(lambda digest: None))) as catalog:
        begin(catalog, 1, "a")
    with closing(sqlite3.connect(path)) as db:
        db.executescript("""DROP TABLE unused; DROP TABLE activity; DROP TABLE jobs;
                DROP TABLE contents; DROP TABLE upload_parts; DROP TABLE discarded; DROP TABLE bucket;
                DROP TABLE descriptions; DROP INDEX tags_updated; DROP TABLE quotas; DROP TABLE replication;
                DROP TABLE removed; DROP TABLE marks; DROP TABLE used; DROP TABLE seen; DROP TABLE cached;
            DROP INDEX uploads_owner; DROP INDEX tags_in_order;
            CREATE INDEX tags_order ON tags (repository, tag COLLATE NOCASE, tag);
            ALTER TABLE uploads DROP COLUMN owner;
            ALTER TABLE uploads DROP COLUMN received; ALTER TABLE uploads DROP COLUMN algorithm;
            PRAGMA user_version = 1;""")
    with closing(Catalog(SqliteDatabase(path), FolderContents(lambda digest: None))) as catalog:
        assert catalog.upload("u1") == Upload("app")
        assert begin(catalog, 2, "a") == ""


@pytest.mark.parametrize(
    ("address", "group"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
     ("fe80::1%eth0", "fe80::/64"), ("unix", "unix")],
)  # fmt: skip
def test_addresses_of_one_client(address, group):
    assert group_of(address) == group


# ── the algorithm ──


@pytest.fixture
def hashed(monkeypatch):
    """The bytes that were hashed, by algorithm."""
    counts = {}

    def take(state, data):
        counts[state.name] = counts.get(state.name, 0) + len(data)
        state.update(data)

    monkeypatch.setattr(digests, "take", take)
    return counts


def test_sha512_is_hashed_once(api, make, hashed):
    data = b"x" * 300_000
    digest = make.digest(data, "sha512")
    location = api("POST", "app/blobs/uploads/?digest-algorithm=sha512").headers["Location"]
    for start in (0, 150_000):
        part = data[start : start + 150_000]
        assert api("PATCH", location, part, Content_Range=f"{start}-{start + 149_999}").status == 202
    assert api("PUT", f"{location}?digest={digest}").status == 201
    assert hashed == {"sha512": 300_000}
    assert api("GET", f"app/blobs/{digest}").body == data


@pytest.mark.parametrize("whole", [True, False])
def test_sha512_is_hashed_once_when_its_digest_comes_first(api, make, hashed, whole):
    digest = make.digest(b"data", "sha512")
    method, path = ("POST", "app/blobs/uploads/") if whole else ("PUT", api.begin("app"))
    assert api(method, f"{path}?digest={digest}", b"data").status == 201
    assert hashed == {"sha512": 4}


def test_an_algorithm_that_was_said_and_not_kept(api, make):
    location = api("POST", "app/blobs/uploads/?digest-algorithm=sha512").headers["Location"]
    api("PATCH", location, b"data")
    assert api("PUT", f"{location}?digest={make.digest(b'data')}").status == 201


def test_an_algorithm_that_is_not_known(api):
    answer = api("POST", "app/blobs/uploads/?digest-algorithm=md5")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_clients_are_asked_for_chunks_of_some_size(api):
    assert api("POST", "app/blobs/uploads/").headers["OCI-Chunk-Min-Length"] == "65536"
