"""Taking over the storage folder of docker's registry: all of it, again, damaged, and hostile."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from nacre.engine import Engine
from nacre.engine.wiring import Config
from nacre.stores.importing import ImportReport
from nacre.stores.registry import RegistryStore
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, NotFound, StoreError
from nacre.words.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST


class Folder:
    """A storage folder of distribution, made by hand."""

    def __init__(self, path: Path) -> None:
        self.path, self.root = path, path / "docker/registry/v2"

    def data(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.write(f"blobs/sha256/{digest.hex[:2]}/{digest.hex}/data", data)
        return digest

    def write(self, path: str, data: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def link(self, name: str, kind: str, digest: Digest) -> None:
        self.write(f"repositories/{name}/{kind}/sha256/{digest.hex}/link", digest.encode())

    def layer(self, name: str, data: bytes) -> Digest:
        digest = self.data(data)
        self.link(name, "_layers", digest)
        return digest

    def document(self, name: str, document: object, *tags: str) -> Digest:
        digest = self.data(json.dumps(document).encode())
        self.link(name, "_manifests/revisions", digest)
        for tag in tags:
            self.write(f"repositories/{name}/_manifests/tags/{tag}/current/link", digest.encode())
        return digest

    def image(self, name: str, *tags: str, layer: bytes = b"layer", **more: object) -> Digest:
        parts = [(OCI_CONFIG, b"{}"), (OCI_LAYER, layer)]
        config, entry = (
            {"mediaType": kind, "digest": self.layer(name, data), "size": len(data)} for kind, data in parts
        )
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [entry]}
        return self.document(name, document | more, *tags)

    def size(self, digest: Digest) -> int:
        return (self.root / f"blobs/sha256/{digest.hex[:2]}/{digest.hex}/data").stat().st_size

    def index(self, name: str, *children: Digest, tag: str) -> Digest:
        entries = [{"mediaType": OCI_MANIFEST, "digest": c, "size": self.size(c)} for c in children]
        return self.document(name, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, tag)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "theirs")


@pytest.fixture
def target(tmp_path: Path) -> str:
    return str(tmp_path / "ours")


def take(folder: Folder, target: str, *, sparse: bool = False) -> ImportReport:
    with Engine(Config(f"{target}-store")) as engine:
        return engine.registries.import_storage(str(folder.path), target, sparse=sparse)


def test_everything_comes_and_comes_once(folder: Folder, target: str) -> None:
    first = folder.image("team/app", "1", "latest")
    second = folder.image("library/other", "1")
    index = folder.index("team/app", first, tag="all")
    signature = folder.image(
        "team/app", subject={"mediaType": OCI_MANIFEST, "digest": first, "size": folder.size(first)},
        layer=b"signature",
    )  # fmt: skip
    report = take(folder, target)
    assert report == ImportReport(repositories=2, manifests=4, tags=4, blobs=5, bytes=2 + 5 + 9)
    with closing(RegistryStore(target)) as store:
        assert store.catalog.repositories("", 10) == ["library/other", "team/app"]
        assert store.catalog.tags("team/app", "", 10) == ["1", "all", "latest"]
        found = {tag: store.catalog.manifest("team/app", tag) for tag in ("1", "all")}
        assert [one.digest for one in found.values() if one] == [first, index]
        assert store.catalog.manifest("library/other", second)
        assert [each.digest for each in store.catalog.referrers("team/app", first, "", "", 9)] == [signature]
        assert Digest.of(store.storage.read(index)) == index
    assert take(folder, target) == ImportReport(repositories=2)


def test_a_tag_that_is_used_here_stays(folder: Folder, target: str) -> None:
    first = folder.image("app", "1")
    take(folder, target)
    folder.image("app", "1", layer=b"newer")
    report = take(folder, target)
    assert (report.kept, report.manifests, report.tags) == (("app:1",), 1, 0)
    with closing(RegistryStore(target)) as store:
        stored = store.catalog.manifest("app", "1")
        assert stored is not None
        assert stored.digest == first


def test_what_is_damaged_is_named_and_the_rest_comes(folder: Folder, target: str) -> None:
    bad, good = folder.image("app", "bad", layer=b"rotten"), folder.image("app", "good")
    rotten = Digest.of(b"rotten")
    folder.write(f"blobs/sha256/{rotten.hex[:2]}/{rotten.hex}/data", b"rotted")
    report = take(folder, target)
    assert [line.partition(": ")[0] for line in report.failed] == [f"app@{rotten}", f"app@{bad}"]
    with closing(RegistryStore(target)) as store:
        assert store.catalog.tags("app", "", 10) == ["good"]
        assert store.catalog.manifest("app", good)
    assert take(folder, target, sparse=True).manifests == 1


@pytest.mark.parametrize("where", ["blob", "folder"])
def test_links_are_refused(where: str, folder: Folder, target: str, tmp_path: Path) -> None:
    layer = folder.layer("app", b"secret of the machine")
    data = folder.root / f"blobs/sha256/{layer.hex[:2]}/{layer.hex}/data"
    secret = tmp_path / "secret"
    if where == "blob":
        data.rename(secret)
        data.symlink_to(secret)
    else:
        data.parent.rename(secret)
        data.parent.symlink_to(secret)
    with pytest.raises(StoreError, match="leads through a link"):
        take(folder, target)


def test_what_is_no_storage_folder_is_refused(tmp_path: Path, folder: Folder, target: str) -> None:
    with pytest.raises(NotFound, match="is no storage folder of a registry"):
        take(Folder(tmp_path), target)
    folder.image("app", "1")
    with closing(RegistryStore(target)), pytest.raises(Conflict):
        take(folder, target)
