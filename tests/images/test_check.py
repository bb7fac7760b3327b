"""A check finds what is damaged, nothing else; a repair makes it again, fetches it, or names what is lost."""

from __future__ import annotations

import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagekit import Registry, make_tar
from treekit import drop_tree

from nacre.ground import userns
from nacre.images.arrows.pull import pull
from nacre.images.audit.check import Report, check
from nacre.images.audit.finding import Fault, Finding, Mended, Remedy
from nacre.images.audit.repair import REPAIRS, NoRepair
from nacre.images.layers.ingest import add_layer
from nacre.images.model.edit import append_layer, new_config, write_image
from nacre.images.model.image import Image, find
from nacre.stores.containers import ContainerRow
from nacre.stores.store import Store
from nacre.stores.sweep import sweep
from nacre.words.digest import Digest
from nacre.words.errors import StoreError, Unreachable
from nacre.words.oci import Platform
from nacre.words.reference import Reference

APP = Reference.parse("registry.test/app:1")
NOISE = os.urandom(300_000)
ID = "c" * 64
FETCHED = "fetched again from registry.test/app"


@pytest.fixture(params=["overlay-keep", "erofs-keep", "erofs-drop"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store with a pulled image."""
    driver, _, policy = request.param.partition("-")
    if driver == "erofs" and not userns.mapped():
        pytest.skip("needs root that may mount")
    with Store.open(str(tmp_path / "store"), driver=driver, layer_blobs=policy) as opened:
        if driver == "erofs" and ", but " in opened.driver.why:
            pytest.skip(opened.driver.why)
        yield opened


@pytest.fixture
def image(store: Store, registry: Registry) -> Image:
    registry.add_image("1", {"a/one": NOISE, "b": b"two"}, {"c": NOISE[::-1]})
    return pull(registry, APP, store).image


def repaired(store: Store, registry: Registry | None) -> Report:
    return check(store, repair=True, sources=(lambda _name: registry) if registry else None)


def damage(path: str, at: int = 3000, data: bytes = b"damage") -> None:
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def damage_tree(store: Store, diff_id: Digest) -> None:
    folder = store.trees.rows.folder(diff_id)
    if os.path.exists(f"{folder}/layer.tar"):
        damage(f"{folder}/layer.tar")
    else:
        damage(f"{folder}/fs/a/one", 100)


def built(store: Store) -> Image:
    layer, diff_id = add_layer(store, io.BytesIO(make_tar({"a/one": NOISE})))
    config = append_layer(new_config(Platform.host(), created="2024-01-01T00:00:00Z"), diff_id, "x")
    descriptor = write_image(store, config, [layer])
    store.refs.set("docker.io/library/built:1", descriptor)
    return Image.load(store, descriptor)


def one(report: Report) -> Finding:
    (finding,) = report.findings
    return finding


def test_a_whole_store(store: Store, image: Image) -> None:
    built(store)
    report = check(store)
    assert report.findings == ()
    assert (report.trees, report.images) == (3, 2)
    assert report.bytes > 600_000
    store.leases.release_all()
    assert check(store, repair=True).findings == ()


def test_too_few_descriptors_are_no_damage(store: Store, image: Image) -> None:
    """It could not look: that is an error, and nothing is called wrong, let alone mended."""
    folder = store.root
    store.close()
    outcomes = {userns.call(_checked_with, folder, limit) for limit in range(4, 100, 2)}
    assert "too many open files" in outcomes
    assert outcomes <= {"well", "too many open files"}


def _checked_with(folder: str, limit: int) -> str:
    try:
        with Store.open(folder) as store:
            check(store)  # everything is imported
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return "; ".join(finding.line for finding in check(store).wrong) or "well"
    except StoreError as error:
        return "too many open files" if "oo many open files" in error.message else error.message
    except OSError as error:
        return str(error)


def test_a_damaged_tree_is_made_again(store: Store, image: Image, registry: Registry) -> None:
    damage_tree(store, image.diff_ids[0])
    finding = one(check(store))
    assert (finding.kind, finding.name, finding.images) == ("tree", image.diff_ids[0], (str(APP),))
    assert one(check(store)) == finding  # nothing was changed
    report = repaired(store, registry)
    assert not report.wrong
    kept = store.blobs.has(image.manifest.layers[0].digest)
    assert one(report).remedy == ("unpacked again" if kept else FETCHED)
    assert check(store).findings == ()
    assert find(store, str(APP)).read("a/one") == NOISE


def test_a_damaged_tree_that_is_nowhere_else_is_named_and_kept(store: Store) -> None:
    image = built(store)
    (layer,) = image.manifest.layers
    if store.blobs.has(layer.digest):
        store.blobs.delete(layer.digest)
        pytest.skip("folders without a blob cannot be proven")
    damage_tree(store, image.diff_ids[0])
    report = repaired(store, None)
    assert [finding.name for finding in report.wrong] == [image.diff_ids[0]]
    assert report.wrong[0].images == ("docker.io/library/built:1",)
    assert os.path.isdir(store.trees.rows.folder(image.diff_ids[0]))


def test_a_damaged_index_is_made_of_the_tar(store: Store, image: Image) -> None:
    path = Path(store.trees.rows.folder(image.diff_ids[0]), "index.erofs")
    if not path.exists():
        pytest.skip("folders have no index")
    damage(str(path), path.stat().st_size - 400, b"\xff" * 64)
    assert one(check(store)).kind == "tree"
    assert one(repaired(store, None)).remedy == "indexed again"
    assert find(store, str(APP)).read("a/one") == NOISE


def test_a_damaged_blob(store: Store, image: Image, registry: Registry) -> None:
    layer = image.manifest.layers[0]
    if not store.blobs.has(layer.digest):
        pytest.skip("it is not kept")
    damage(store.blobs.path(layer.digest), 100)
    finding = one(check(store))
    assert (finding.kind, finding.name) == ("blob", layer.digest)
    assert one(repaired(store, registry)).remedy == FETCHED
    assert store.blobs.read(layer.digest, 1 << 30) == registry.blobs[layer.digest]
    assert check(store).findings == ()


def test_a_damaged_blob_that_need_not_be(store: Store) -> None:
    image = built(store)
    (layer,) = image.manifest.layers
    if not store.trees.can_tar(image.diff_ids[0]):
        pytest.skip("it must be")
    with store.blobs.ingest(layer.digest) as ingest:
        from nacre.images.layers.compressed import CompressedForms

        with CompressedForms(store).open(layer) as file:
            while data := file.read(1 << 16):
                ingest.write(data)
        ingest.commit()
    damage(store.blobs.path(layer.digest), 100)
    assert "deleted" in one(repaired(store, None)).remedy
    assert check(store).findings == ()


@pytest.mark.parametrize("document", ["manifest", "config"])
def test_damaged_documents_are_fetched(store: Store, image: Image, registry: Registry, document: str) -> None:
    digest = image.digest if document == "manifest" else image.id
    damage(store.blobs.path(digest), 10, b"{{")
    report = check(store)
    assert [finding.name for finding in report.wrong] == [digest]
    assert os.path.exists(store.blobs.path(digest))
    assert not repaired(store, registry).wrong
    assert find(store, str(APP)) == image


def test_missing_parts(store: Store, image: Image, registry: Registry) -> None:
    """A layer, a config and a manifest that are gone without a trace."""
    drop_tree(store, image.diff_ids[1])
    store.blobs.delete(image.manifest.layers[1].digest)
    finding = one(check(store))
    assert finding.problem == f"layer {image.diff_ids[1]} is missing"
    assert one(repaired(store, registry)).remedy == FETCHED
    store.blobs.delete(image.digest)
    assert "manifest" in one(check(store)).problem
    assert not repaired(store, registry).wrong
    assert check(store).findings == ()


def lose(store: Store, digest: Digest, how: str) -> None:
    if how == "row and file":
        store.blobs.delete(digest)
    elif how == "file":
        os.unlink(store.blobs.path(digest))
    else:
        damage(store.blobs.path(digest), 10, b"{{")


@pytest.mark.parametrize("how", ["row and file", "file", "bytes"])
@pytest.mark.parametrize("which", ["manifest", "config", "both"])
def test_a_document_that_is_lost(
    store: Store, image: Image, registry: Registry, which: str, how: str
) -> None:
    for digest in {"manifest": [image.digest], "config": [image.id]}.get(which, [image.digest, image.id]):
        lose(store, digest, how)
    assert check(store).wrong
    assert not repaired(store, registry).wrong
    assert check(store).findings == ()
    assert find(store, str(APP)) == image


def test_everything_that_a_name_means(store: Store, image: Image, registry: Registry) -> None:
    """A manifest that came tells of a config, and that of layers."""
    lose(store, image.digest, "row and file")
    lose(store, image.id, "row and file")
    for layer, diff_id in zip(image.manifest.layers, image.diff_ids, strict=True):
        drop_tree(store, diff_id)
        store.blobs.delete(layer.digest)
    store.db.change("DELETE FROM layer")
    store.db.change("DELETE FROM source")
    assert not repaired(store, registry).wrong
    assert check(store).findings == ()
    assert find(store, str(APP)).read("a/one") == NOISE


class Several:
    """Repositories by name; who is asked."""

    def __init__(self, **repositories: Registry) -> None:
        self.repositories = {registry.where: registry for registry in repositories.values()}
        self.asked: list[str] = []

    def __call__(self, where: str) -> Registry:
        self.asked.append(where)
        if where.startswith("silent.test"):
            raise Unreachable("no answer")
        return self.repositories.get(where) or Registry(where)


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
def test_another_repository_has_it_still(store: Store, image: Image, registry: Registry, part: str) -> None:
    """The one it came from has lost it; that of another name, or of another image, has not."""
    other = Registry("other.test/copy")
    other.blobs, other.tags = dict(registry.blobs), dict(registry.tags)
    registry.blobs.clear()
    registry.tags.clear()
    for name in ("silent.test/a:1", "silent.test/b:1", "other.test/copy:1"):
        store.refs.set(name, built(store).descriptor)
    if part == "layer":
        drop_tree(store, image.diff_ids[1])
        store.blobs.delete(image.manifest.layers[1].digest)
    else:
        lose(store, image.id if part == "config" else image.digest, "row and file")
    sources = Several(one=registry, other=other)
    report = check(store, repair=True, sources=sources)
    assert one(report).remedy == "fetched again from other.test/copy"
    assert sum(where.startswith("silent.test") for where in sources.asked) <= 1
    assert sources.asked[0] == registry.where
    assert check(store).findings == ()
    store.refs.delete("other.test/copy:1")
    if part == "layer":
        assert "other.test/copy" in store.layers.sources(image.manifest.layers[1].digest)


def test_another_image_has_the_layer_in_another_form(store: Store, image: Image, registry: Registry) -> None:
    """The same tar, compressed otherwise under a digest of its own."""
    from nacre.images.model.edit import make_manifest
    from nacre.words.oci import OCI_LAYER, Descriptor

    tar = make_tar({"c": NOISE[::-1]})
    assert Digest.of(tar) == image.diff_ids[1]
    plain = Descriptor.of(tar, OCI_LAYER)
    manifest, config = make_manifest(image.config, [image.manifest.layers[0], plain])
    registry.add(tar)
    registry.add(config)
    tagged = registry.tag("2", manifest.encode(), manifest.media_type)
    pull(registry, Reference.parse("registry.test/app:2"), store)
    del registry.blobs[image.manifest.layers[1].digest]
    store.blobs.delete(image.manifest.layers[1].digest)
    drop_tree(store, image.diff_ids[1])
    store.db.change("DELETE FROM layer WHERE digest = ?", (plain.digest,))
    assert tagged.digest in {
        digest for digest, _ in [(row.descriptor.digest, 0) for row in store.refs.list()]
    }
    assert not repaired(store, registry).wrong
    assert find(store, str(APP)).read("c") == NOISE[::-1]


def test_what_nobody_has_is_named_and_kept(store: Store, image: Image) -> None:
    """Also when no registry answers."""
    damage(store.blobs.path(image.id), 10, b"{{")

    def silent(where: str) -> Registry:
        raise Unreachable(where)

    report = check(store, repair=True, sources=silent)
    assert [finding.name for finding in report.wrong] == [image.id]
    assert os.path.exists(store.blobs.path(image.id))


def test_how_a_layer_was_compressed_is_found_out(store: Store) -> None:
    image = built(store)
    (layer,) = image.manifest.layers
    if store.blobs.has(layer.digest):
        pytest.skip("its blob is kept")
    store.db.change("UPDATE layer SET recipe = ''")
    repaired(store, None)
    made = store.layers.recipe(layer.digest)
    assert made is not None
    assert made[1].startswith("gzip/")


def test_what_a_container_needs(store: Store, image: Image) -> None:
    store.containers.insert(ContainerRow(ID, "box", image.digest, "x", 1.0, state="exited"))
    store.actives.prepare(ID, image.diff_ids)
    store.leases.release_all()
    assert check(store).findings == ()
    os.rename(f"{store.root}/active/{ID}", f"{store.root}/trash/x")
    finding = one(check(store))
    assert (finding.kind, finding.name, finding.problem) == ("container", "box", "its files are missing")


def test_a_running_container_keeps_the_folders_it_has(store: Store, image: Image, registry: Registry) -> None:
    if store.trees.can_tar(image.diff_ids[0]):
        pytest.skip("of folders only")
    store.containers.insert(ContainerRow(ID, "box", image.digest, "x", 1.0, state="running"))
    store.actives.prepare(ID, image.diff_ids)
    damage_tree(store, image.diff_ids[0])
    assert len(repaired(store, registry).wrong) == 1


def test_leftovers_are_no_damage_and_are_swept(store: Store, image: Image) -> None:
    for name in ("blobs/sha256/" + "a" * 64, "trees/" + "b" * 64, "active/gone"):
        (Path(store.root, name).mkdir if "blobs" not in name else Path(store.root, name).touch)()
    Path(store.root, "leases/never").touch()
    lost = store.blobs.add(b"lost")
    os.unlink(store.blobs.path(lost))
    report = check(store)
    assert report.wrong == ()
    assert len(report.findings) >= 4
    assert all("the next prune frees it" in finding.line for finding in report.findings)
    store.leases.release_all()
    sweep(store)
    store.db.change("DELETE FROM blob WHERE digest = ?", (lost,))
    assert check(store).findings == ()


def test_a_folder_that_nobody_needs_may_be_gone(store: Store, image: Image) -> None:
    """As after a prune that was killed half-way."""
    store.refs.forget(image.digest)
    for diff_id in image.diff_ids:
        os.rename(store.trees.rows.folder(diff_id), f"{store.root}/trash/{diff_id.hex}")
    report = check(store)
    assert report.wrong == ()
    assert {finding.problem for finding in report.findings} >= {"its directory is missing"}
    store.leases.release_all()
    sweep(store)
    assert check(store).findings == ()


def test_content_of_an_earlier_boot_is_proven(
    store: Store, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nacre.stores.database._boot", "another boot")
    assert check(store).wrong == ()
    assert store.db.execute("SELECT 1 FROM tree WHERE synced = 0") == []


def test_a_line_says_all() -> None:
    finding = Finding(Fault.TREE_DAMAGED, "sha256:1", detail="it is torn", images=("a", "b"))
    assert finding.line == "tree sha256:1 (of a, b): it is torn"
    mended = Mended(Remedy.FETCHED, "registry.test/app")
    assert finding.replace(mended=mended).line.endswith(f"; repaired: {FETCHED}")
    assert finding.replace(wrong=False).line.endswith("; the next prune frees it")


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_repair_or_a_reason_why_not(fault: Fault) -> None:
    repair = REPAIRS[fault]
    assert repair.why if isinstance(repair, NoRepair) else callable(repair)
    line = Finding(fault, "x", Digest.of(b""), "as it says").line
    assert line.startswith(f"{fault.kind} x: ")
    assert "{" not in line


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_a_container_whose_image_was_removed(
    store: Store, image: Image, registry: Registry, part: str
) -> None:
    """It keeps all of it, and all of it is fetched again."""
    store.containers.insert(ContainerRow(ID, "box", image.digest, "x", 1.0, state="exited"))
    store.actives.prepare(ID, image.diff_ids)
    store.refs.forget(image.digest)
    store.leases.release_all()
    assert check(store).findings == ()
    if part == "layer":
        drop_tree(store, image.diff_ids[1])
        store.blobs.delete(image.manifest.layers[1].digest)
    else:
        lose(store, image.digest if part == "manifest" else image.id, "row and file")
    assert check(store).wrong
    report = repaired(store, registry)
    assert {finding.remedy for finding in report.findings} == {FETCHED}
    assert check(store).findings == ()
    assert Image.load(store, image.descriptor) == image


def test_a_large_part_of_an_artifact(store: Store, registry: Registry) -> None:
    """It is no layer with a tree, and more than a document may have."""
    from nacre.words.oci import MAX_DOCUMENT, OCI_MANIFEST, Descriptor, Manifest

    large, empty = os.urandom(MAX_DOCUMENT + 1), b"{}"
    parts = [Descriptor.of(empty, "application/vnd.oci.empty.v1+json"), Descriptor.of(large, "x/model")]
    manifest = Manifest(OCI_MANIFEST, parts[0], (parts[1],)).encode()
    described = Descriptor.of(manifest, OCI_MANIFEST)
    for data in (large, empty, manifest):
        store.blobs.add(data, registry.add(data))
    store.refs.set(str(APP), described)
    damage(store.blobs.path(parts[1].digest))
    report = repaired(store, registry)
    assert one(report).remedy == FETCHED
    assert store.blobs.read(parts[1].digest, 1 << 30) == large
