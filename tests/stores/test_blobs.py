"""The contract of a blob store; a further implementation is one more parameter."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storekit import leftovers

from nacre.ground import files
from nacre.stores import Store
from nacre.stores.blobs import BlobStore
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, NotFound, StoreError, TooLarge, UsageError

DATA = bytes(range(256)) * 5000


@pytest.fixture(params=["of a store", "of a registry"])
def blobs(request: pytest.FixtureRequest, root: str) -> Iterator[BlobStore]:
    if request.param == "of a store":
        with Store.open(root) as store:
            yield store.blobs
    else:
        alone = BlobStore.at(root)
        yield alone
        alone.close()


def tidy(blobs: BlobStore) -> bool:
    return [name for name in leftovers(blobs.root) if not name.startswith("leases/")] == []


def test_add_is_idempotent_and_verified(blobs: BlobStore) -> None:
    digest = blobs.add(DATA)
    assert digest == Digest.of(DATA) == blobs.add(DATA, digest)
    assert blobs.has(digest)
    assert blobs.size(digest) == len(DATA)
    assert blobs.read(digest, len(DATA)) == DATA
    with blobs.open(digest) as file:
        assert file.read(10) == DATA[:10]
    assert tidy(blobs)


def test_add_refuses_other_content(blobs: BlobStore) -> None:
    with pytest.raises(DigestMismatch):
        blobs.add(b"lie", Digest.of(b"truth"))
    assert not blobs.has(Digest.of(b"lie"))
    assert tidy(blobs)


def test_sha512(blobs: BlobStore) -> None:
    digest = Digest.of(DATA, "sha512")
    assert blobs.add(DATA, digest) == digest
    assert blobs.read(digest, len(DATA)) == DATA
    with blobs.ingest() as ingest:
        ingest.write(b"other")
        assert ingest.commit(Digest.of(b"other", "sha512")) == Digest.of(b"other", "sha512")


@pytest.mark.parametrize("ask", [BlobStore.size, BlobStore.open, BlobStore.read])
def test_absent(blobs: BlobStore, ask: Callable[[BlobStore, Digest], object]) -> None:
    assert not blobs.has(Digest.of(b"absent"))
    with pytest.raises(NotFound, match="does not hold blob sha256:"):
        ask(blobs, Digest.of(b"absent"))


def test_read_is_bounded(blobs: BlobStore) -> None:
    with pytest.raises(TooLarge):
        blobs.read(blobs.add(DATA), 100)


def test_ingest(blobs: BlobStore) -> None:
    with blobs.ingest(Digest.of(DATA), len(DATA)) as ingest:
        assert (ingest.exists, ingest.resumed, ingest.offset) == (False, False, 0)
        assert ingest.write(DATA[:1000]) == 1000
        assert not blobs.has(Digest.of(DATA))
        ingest.write(memoryview(DATA)[1000:])
        assert ingest.commit() == Digest.of(DATA)
    assert blobs.read(Digest.of(DATA), len(DATA)) == DATA
    assert tidy(blobs)


def test_ingest_of_what_is_here(blobs: BlobStore) -> None:
    blobs.add(DATA)
    with blobs.ingest(Digest.of(DATA), len(DATA)) as ingest:
        assert ingest.exists
        assert ingest.offset == len(DATA)
        assert ingest.commit() == Digest.of(DATA)
    assert tidy(blobs)


def test_ingest_of_unknown_digest(blobs: BlobStore) -> None:
    for _ in range(2):
        with blobs.ingest() as ingest:
            ingest.write(DATA)
            assert ingest.commit() == Digest.of(DATA)
    with blobs.ingest() as ingest:
        ingest.write(b"given up")
    assert tidy(blobs)


def test_ingest_resumes(blobs: BlobStore) -> None:
    digest = Digest.of(DATA)
    with blobs.ingest(digest, len(DATA)) as ingest:
        ingest.write(DATA[:70000])
    assert blobs.partial(digest) == 70000
    with blobs.ingest(digest, len(DATA)) as ingest:
        assert ingest.resumed
        ingest.write(DATA[ingest.offset :])
        ingest.commit()
    assert blobs.partial(digest) == 0
    assert blobs.read(digest, len(DATA)) == DATA
    assert tidy(blobs)


def test_named_upload_resumes_and_digest_comes_last(blobs: BlobStore) -> None:
    with blobs.ingest(key="upload-1") as ingest:
        ingest.write(DATA[:10])
    assert blobs.partial("upload-1") == 10
    with blobs.ingest(key="upload-1") as ingest:
        ingest.write(DATA[10:])
        assert ingest.commit(Digest.of(DATA)) == Digest.of(DATA)
    with pytest.raises(UsageError):
        blobs.ingest(key="../../etc")


def test_ingest_mismatch_drops_the_data(blobs: BlobStore) -> None:
    with blobs.ingest(Digest.of(DATA)) as ingest:
        ingest.write(b"something else")
        with pytest.raises(DigestMismatch):
            ingest.commit()
    assert blobs.partial(Digest.of(DATA)) == 0
    with blobs.ingest() as ingest:
        ingest.write(b"something else")
        with pytest.raises(DigestMismatch):
            ingest.commit(Digest.of(DATA))
    assert tidy(blobs)


def test_ingest_stops_at_the_declared_size(blobs: BlobStore) -> None:
    with blobs.ingest(Digest.of(DATA), 10) as ingest, pytest.raises(TooLarge):
        ingest.write(DATA)
    with blobs.ingest(Digest.of(DATA), len(DATA)) as ingest:
        ingest.write(DATA[:-1])
        with pytest.raises(DigestMismatch):
            ingest.commit()
    assert tidy(blobs)


def test_restart_after_damaged_partial(blobs: BlobStore) -> None:
    with blobs.ingest(Digest.of(DATA)) as ingest:
        ingest.write(b"\0" * 100)
    with blobs.ingest(Digest.of(DATA)) as ingest:
        assert ingest.offset == 100
        ingest.restart()
        ingest.write(DATA)
        ingest.commit()
    assert blobs.has(Digest.of(DATA))


def test_full_disk(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nacre.stores.blobs.write_all", full)
    monkeypatch.setattr("nacre.stores.ingest.write_all", full)
    with pytest.raises(StoreError, match="no space left on device") as caught:
        blobs.add(DATA)
    assert "prune" in caught.value.hint
    with blobs.ingest(Digest.of(DATA)) as ingest, pytest.raises(StoreError, match="no space left on device"):
        ingest.write(DATA)
    assert not blobs.has(Digest.of(DATA))
    assert tidy(blobs)


def test_damage_is_found_and_dropped(blobs: BlobStore) -> None:
    digest = blobs.add(DATA)
    os.chmod(blobs.path(digest), 0o600)
    Path(blobs.path(digest)).write_bytes(b"\0" * len(DATA))
    with pytest.raises(DigestMismatch):
        blobs.read(digest, len(DATA))
    assert not blobs.has(digest)
    assert blobs.add(DATA) == digest


@pytest.mark.parametrize(("written", "there"), [(DATA, True), (b"", False)])
def test_after_a_power_cut(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, written: bytes, there: bool
) -> None:
    """What was not synced before the machine went down is verified before its first use."""
    digest = blobs.add(DATA, Digest.of(DATA))
    os.chmod(blobs.path(digest), 0o600)
    Path(blobs.path(digest)).write_bytes(written)
    monkeypatch.setattr("nacre.stores.blobs.boot_id", lambda: "another boot")
    assert blobs.has(digest) is there
    assert blobs.has(digest) is there


def test_modes(blobs: BlobStore) -> None:
    digest = blobs.add(DATA)
    assert os.stat(blobs.path(digest)).st_mode & 0o7777 == 0o400
    for folder, _, names in os.walk(blobs.root):
        assert os.stat(folder).st_mode & 0o077 == 0
        assert all(os.lstat(os.path.join(folder, name)).st_mode & 0o077 == 0 for name in names)


def test_delete(blobs: BlobStore) -> None:
    digest = blobs.add(DATA)
    assert blobs.delete(digest) >= len(DATA)
    assert not blobs.has(digest)
    assert blobs.delete(digest) == 0


def test_a_row_without_a_file_and_a_file_without_a_row_are_absent(blobs: BlobStore) -> None:
    first = blobs.add(b"first")
    os.unlink(blobs.path(first))
    assert not blobs.has(first)
    second = Digest.of(b"second")
    files.write_atomic(blobs.path(second), b"sec")
    assert not blobs.has(second)
    assert blobs.add(b"second") == second
    assert blobs.read(second) == b"second"
