"""What a registry asks of its storage, of each place that there is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from s3server import BadProxy, S3Server, serving_s3

from nacre.stores.blobs import BlobStore
from nacre.stores.catalog import Catalog, SqliteDatabase, Upload, UploadLimits
from nacre.stores.removed import RemovedContent
from nacre.stores.storage import Placed, Storage
from nacre.stores.storage.bucket import PART, Bucket
from nacre.stores.storage.local import FolderContents, LocalStorage
from nacre.stores.storage.objects import GRACE, MARK, ObjectStorage
from nacre.stores.storage.rows import BucketContents, ObjectRows
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, DigestMismatch, NotFound, RegistryError, Unavailable, UsageError
from nacre.words.rules import StorageRules

DATA = b"some content"
LARGE = os.urandom(PART + 100_000)
LIMITS = UploadLimits(10, 10, 3600.0)


class Place:
    """A storage and the catalog that goes with it."""

    def __init__(self, catalog: Catalog, storage: Storage) -> None:
        self.catalog, self.storage = catalog, storage
        self.catalog.end_upload("up-1")
        self.begin("up-1")

    def begin(self, upload: str) -> None:
        self.catalog.begin_upload(upload, Upload("app"), LIMITS)

    def push(self, data: bytes, upload: str = "up-1") -> Placed:
        writer = self.storage.upload(upload)
        writer.write(data)
        placed = writer.commit(Digest.of(data))
        writer.close()
        self.catalog.add_blob("app", placed, upload)
        return placed

    def delete(self, name: str, digest: Digest) -> None:
        """For good."""
        self.catalog.delete_blob(name, digest)
        removed = RemovedContent(self.catalog)
        removed.purge(name)
        assert list(removed.expire(0.0))

    def content(self, digest: Digest, size: int, start: int = 0, length: int | None = None) -> bytes:
        found = self.storage.locate(digest, size)
        assert found is not None
        with closing(self.storage.open(found, start, size - start if length is None else length)) as reader:
            return b"".join(iter(reader.read, b""))


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from serving_s3(tmp_path_factory.mktemp("s3"))


def folder(path: Path, opened: ExitStack) -> Place:
    blobs = BlobStore.at(str(path))
    database = SqliteDatabase(str(path / "registry.db"))
    catalog = opened.enter_context(closing(Catalog(database, FolderContents(blobs.delete))))
    return Place(
        catalog, opened.enter_context(closing(LocalStorage(blobs, catalog.pinned, lambda: iter(()))))
    )


def in_bucket(
    path: Path, rules: StorageRules, opened: ExitStack, clock: Callable[[], float] = time.time
) -> Place:
    database = SqliteDatabase(str(path / "registry.db"), clock)
    catalog = opened.enter_context(closing(Catalog(database, BucketContents())))
    storage = ObjectStorage(Bucket(rules), ObjectRows(catalog), redirect=rules.redirect)
    return Place(catalog, storage)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as opened:
        if request.param == "folder":
            yield folder(tmp_path, opened)
        else:
            yield in_bucket(tmp_path, request.getfixturevalue("s3").rules(), opened)


# ── every place ──


@pytest.mark.parametrize("data", [b"", DATA, LARGE], ids=["empty", "small", "large"])
def test_what_was_pushed_is_there(place: Place, data: bytes) -> None:
    placed = place.push(data)
    assert (placed.digest, placed.size) == (Digest.of(data), len(data))
    assert place.content(placed.digest, len(data)) == data
    assert place.catalog.blob("app", placed.digest) == len(data)
    assert place.catalog.upload("up-1") is None


def test_a_span_is_that_span(place: Place) -> None:
    digest = place.push(LARGE).digest
    assert place.content(digest, len(LARGE), 5, 10) == LARGE[5:15]
    assert place.content(digest, len(LARGE), len(LARGE) - 3) == LARGE[-3:]


def test_another_size_is_not_there(place: Place) -> None:
    digest = place.push(DATA).digest
    assert place.storage.locate(digest, len(DATA) + 1) is None
    assert place.storage.locate(Digest.of(b"other"), 5) is None


def test_small_content_is_added_and_read(place: Place) -> None:
    placed = place.storage.add(DATA, Digest.of(DATA))
    place.catalog.add_blob("app", placed)
    assert place.storage.read(placed.digest) == DATA
    with pytest.raises(NotFound):
        place.storage.read(Digest.of(b"other"))


def test_what_is_not_the_digest_is_refused_and_leaves_nothing(place: Place) -> None:
    writer = place.storage.upload("up-1")
    writer.write(DATA)
    with pytest.raises(DigestMismatch):
        writer.commit(Digest.of(b"other"))
    writer.close()
    place.catalog.end_upload("up-1")
    assert place.storage.locate(Digest.of(DATA), len(DATA)) is None


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_upload_in_pieces_goes_on_in_another_writer(place: Place, algorithm: str) -> None:
    for piece in (DATA, LARGE, b"end"):
        writer = place.storage.upload("up-1")
        writer.write(piece)
        writer.rest()
        writer.close()
    assert place.storage.received("up-1") == len(DATA + LARGE + b"end")
    writer = place.storage.upload("up-1")
    assert writer.offset == len(DATA + LARGE + b"end")
    writer.write(b"!")
    whole = DATA + LARGE + b"end!"
    placed = writer.commit(Digest.of(whole, algorithm))
    writer.close()
    place.catalog.add_blob("app", placed, "up-1")
    assert place.content(placed.digest, len(whole)) == whole


def test_what_is_rejected_is_mended_by_a_push(place: Place) -> None:
    digest = place.push(DATA).digest
    place.storage.reject(digest)
    assert place.storage.locate(digest, len(DATA)) is None
    place.begin("up-2")
    place.push(DATA, "up-2")
    assert place.content(digest, len(DATA)) == DATA


def test_what_was_cut_short_is_mended_by_a_push(tmp_path: Path) -> None:
    with ExitStack() as opened:
        place = folder(tmp_path, opened)
        placed = place.push(DATA)
        path = place.storage.locate(placed.digest, placed.size).path  # type: ignore[union-attr]
        os.chmod(path, 0o600)
        os.truncate(path, 3)
        assert place.storage.locate(placed.digest, placed.size) is None
        place.begin("up-2")
        place.push(DATA, "up-2")
        assert place.content(placed.digest, placed.size) == DATA


def test_content_goes_with_the_last_repository_that_has_it(place: Place) -> None:
    digest = place.push(DATA).digest
    assert place.catalog.mount("other", digest, "app")
    place.delete("app", digest)
    assert place.content(digest, len(DATA)) == DATA
    place.delete("other", digest)
    assert place.storage.locate(digest, len(DATA)) is None
    place.begin("up-2")
    place.push(DATA, "up-2")
    assert place.content(digest, len(DATA)) == DATA


def test_a_cancelled_upload_leaves_nothing_to_go_on_with(place: Place) -> None:
    writer = place.storage.upload("up-1")
    writer.write(DATA)
    writer.abort()
    writer.close()
    place.catalog.end_upload("up-1")
    assert place.storage.received("up-1") == 0


# ── a bucket ──


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as opened:
        yield in_bucket(tmp_path, s3.rules(), opened)


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_two_processes_take_turns_with_an_upload(bucket: Place) -> None:
    one, other = bucket.storage.upload("up-1"), bucket.storage.upload("up-1")
    for writer, piece in ((one, b"a"), (other, b"b"), (one, b"c")):
        writer.resume()
        writer.write(piece)
        writer.rest()
    other.resume()
    bucket.catalog.add_blob("app", other.commit(Digest.of(b"abc")), "up-1")
    assert bucket.content(Digest.of(b"abc"), 3) == b"abc"


def test_of_two_that_write_at_once_one_is_refused(bucket: Place) -> None:
    one, other = bucket.storage.upload("up-1"), bucket.storage.upload("up-1")
    one.write(b"a")
    other.write(b"b")
    one.rest()
    with pytest.raises(RegistryError, match="another request"):
        other.rest()
    other.resume()
    assert other.offset == 1
    other.write(b"c")
    bucket.catalog.add_blob("app", other.commit(Digest.of(b"ac")), "up-1")
    with pytest.raises(RegistryError):
        bucket.catalog.add_blob("app", one.commit(Digest.of(b"a")), "up-1")


def test_what_nobody_needs_is_removed_after_a_while(s3: S3Server, tmp_path: Path) -> None:
    clock = Clock()
    with ExitStack() as opened:
        place = in_bucket(tmp_path, s3.rules(), opened, clock)
        digest = place.push(DATA).digest
        place.begin("up-2")
        place.push(DATA, "up-2")  # again: the newer object is the content
        assert len(s3.objects()) == 2
        place.delete("app", digest)
        list(place.storage.tidy())
        assert len(s3.objects()) == 2, "somebody may still read them"
        clock.now += GRACE + 1
        list(place.storage.tidy())
        assert not s3.objects()


def test_an_object_that_nothing_names_goes_when_it_is_old(s3: S3Server, tmp_path: Path) -> None:
    clock = Clock()
    with ExitStack() as opened:
        place = in_bucket(tmp_path, s3.rules(), opened, clock)
        place.push(DATA)
        place.storage.add(b"a kill came", Digest.of(b"a kill came"))
        new = place.storage.add(b"just now", Digest.of(b"just now"))
        for path in s3.objects():
            if not path.as_posix().endswith(new.key.removeprefix("objects/")):
                os.utime(path, (clock.now - 2 * 86400,) * 2)
        list(place.storage.tidy())
        clock.now += GRACE + 1
        list(place.storage.tidy())
        assert len(s3.objects()) == 2
        assert place.content(Digest.of(DATA), len(DATA)) == DATA


def test_a_bucket_belongs_to_one_registry(s3: S3Server, tmp_path: Path) -> None:
    rules = s3.rules()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with ExitStack() as opened:
        in_bucket(tmp_path / "one", rules, opened)
    with ExitStack() as opened:
        place = in_bucket(tmp_path / "one", rules, opened)
        place.push(DATA)
    with ExitStack() as opened, pytest.raises(Conflict, match="not the storage of this registry"):
        in_bucket(tmp_path / "other", rules, opened)


def test_a_link_is_given_where_the_operator_wants(s3: S3Server, tmp_path: Path) -> None:
    from urllib.request import urlopen

    with ExitStack() as opened:
        place = in_bucket(tmp_path, s3.rules(redirect=True), opened)
        found = place.storage.locate(place.push(DATA).digest, len(DATA))
        assert found
        with urlopen(place.storage.link(found), timeout=30) as answer:
            assert answer.read() == DATA


# ── a bad bucket ──


@pytest.fixture
def bad(s3: S3Server) -> Iterator[BadProxy]:
    proxy = BadProxy(s3.port)
    yield proxy
    proxy.close()


def test_a_bucket_that_is_changed_is_never_believed(s3: S3Server, bucket: Place) -> None:
    digest = bucket.push(LARGE).digest
    (path,) = s3.objects()
    path.write_bytes(LARGE[:-1] + b"\0")
    with pytest.raises((DigestMismatch, NotFound)):
        bucket.content(digest, len(LARGE))


def test_wrong_bytes_never_come_whole(s3: S3Server, bad: BadProxy, tmp_path: Path) -> None:
    with ExitStack() as opened:
        place = in_bucket(tmp_path, s3.rules(bad.port), opened)
        digest = place.push(LARGE).digest
        bad.edit = lambda line, data: data[:-1] + b"\0" if line.startswith("GET") else data
        found = place.storage.locate(digest, len(LARGE))
        assert found
        with closing(place.storage.open(found, 0, len(LARGE))) as reader:
            given: list[bytes] = []
            with pytest.raises(DigestMismatch):
                given.extend(iter(reader.read, b""))
        assert sum(map(len, given)) < len(LARGE)


def test_a_busy_bucket_is_asked_again(s3: S3Server, bad: BadProxy, tmp_path: Path) -> None:
    busy = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with ExitStack() as opened:
        place = in_bucket(tmp_path, s3.rules(bad.port), opened)
        left = [busy, b""]
        bad.trouble = lambda line: left.pop() if left else None
        assert place.content(place.push(DATA).digest, len(DATA)) == DATA
        assert not left


def test_a_stream_that_breaks_goes_on_where_it_broke(s3: S3Server, bad: BadProxy, tmp_path: Path) -> None:
    with ExitStack() as opened:
        place = in_bucket(tmp_path, s3.rules(bad.port), opened)
        digest = place.push(LARGE).digest
        cut = [1]
        bad.edit = lambda line, data: data[: len(data) // 2] if "GET" in line and cut and cut.pop() else data
        assert place.content(digest, len(LARGE)) == LARGE
        assert not cut


def test_a_lost_bucket_is_no_reason_to_forget_what_was_in_it(s3: S3Server, bucket: Place) -> None:
    digest = bucket.push(DATA).digest
    (path,) = s3.objects()
    path.unlink()
    mark = path.parents[2] / MARK
    mark.rename(mark.with_name("away"))
    with pytest.raises(Unavailable):
        bucket.content(digest, len(DATA))
    assert bucket.storage.locate(digest, len(DATA))
    mark.with_name("away").rename(mark)
    with pytest.raises(NotFound):
        bucket.content(digest, len(DATA))
    assert bucket.storage.locate(digest, len(DATA)) is None


def test_wrong_settings_are_said_in_one_sentence() -> None:
    for url in ("s3:/x", "ftp://x", "s3://"):
        with pytest.raises(UsageError, match="expected s3://"):
            StorageRules(url)
    with pytest.raises(UsageError, match="nonsense"):
        Bucket(StorageRules("s3://b", options=("nonsense=1",)))
