"""Archives: what save writes, load and others read; every age of archive; hostile ones refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from imagekit import Registry, make_tar

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.images.arrows.archive import load, load_folder, save
from nacre.images.arrows.pull import pull
from nacre.images.model.image import Image, find
from nacre.images.places.dockerarchive import open_archive, verify
from nacre.images.places.members import TarMembers
from nacre.images.places.place import ANY
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import ContentError, DigestMismatch, InvalidArchive, NacreError, NotFound, Unsupported
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Manifest, Platform, parse_document
from nacre.words.progress import NullProgress
from nacre.words.reference import Reference

Corpus = Callable[..., Path]
APP = Reference.parse("registry.test/app:1")


class Stream:
    """Bytes that can only be read once, in pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 5000) if size >= 0 else size)


def saved(store: Store, *names: str) -> bytes:
    out = io.BytesIO()
    save(store, names, out.write)
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: f.read() for m in tar.getmembers() if (f := tar.extractfile(m))}


Links = dict[str, str]


def plain_tar(files: dict[str, bytes], links: Links | None = None, hard: Links | None = None) -> bytes:
    out = io.BytesIO()
    tar = TarWriter(out.write)
    for path, data in files.items():
        tar.add(Entry(path.encode(), "file", size=len(data)), io.BytesIO(data))
    for path, target in (links or {}).items():
        tar.add(Entry(path.encode(), "symlink", link=target.encode()))
    for path, target in (hard or {}).items():
        tar.add(Entry(path.encode(), "hardlink", link=target.encode()))
    tar.close()
    return out.getvalue()


def docker_archive(layers: list[bytes], tags: list[str] | None = None, **changes: object) -> dict[str, bytes]:
    plain = [gzip.decompress(x) if x[:2] == b"\x1f\x8b" else x for x in layers]
    diff_ids = [str(Digest.of(x)) for x in plain]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs})
    paths = [f"l{n}/layer.tar" for n in range(len(layers))]
    item = {"Config": "config.json", "RepoTags": tags, "Layers": paths} | changes
    files = {"config.json": config.encode(), "manifest.json": json.dumps([item]).encode()}
    return files | dict(zip(paths, layers, strict=True))


@pytest.fixture
def image(registry: Registry, store: Store) -> Image:
    registry.add_image("1", {"a/b": b"one" * 1000}, {"c": b"two"})
    return pull(registry, APP, store).image


def test_an_archive_is_both_forms(image: Image, store: Store):
    store.refs.set("docker.io/library/app:2", image.descriptor)
    store.refs.set("docker.io/library/app:3", image.descriptor)
    files = members(saved(store, "registry.test/app:1", "app:2"))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert [entry["digest"] for entry in index["manifests"]] == [image.digest] * 2
    assert [entry["annotations"] for entry in index["manifests"]] == [
        {"io.containerd.image.name": "registry.test/app:1", "org.opencontainers.image.ref.name": "1"},
        {"io.containerd.image.name": "docker.io/library/app:2", "org.opencontainers.image.ref.name": "2"},
    ]
    (item,) = json.loads(files["manifest.json"])
    assert item["RepoTags"] == ["registry.test/app:1", "app:2"]
    assert Digest.of(files[item["Config"]]) == image.id
    for path, layer in zip(item["Layers"], image.layers, strict=True):
        assert Digest.of(files[path]) == layer.descriptor.digest
    assert files[f"blobs/sha256/{image.digest.hex}"] == store.blobs.read(image.digest)


def test_saving_twice_gives_equal_bytes(image: Image, store: Store):
    assert saved(store, "registry.test/app:1") == saved(store, "registry.test/app:1")


def test_a_name_without_tag_stands_for_all_and_an_id_for_none(image: Image, store: Store):
    store.refs.set("registry.test/app:2", image.descriptor)
    (item,) = json.loads(members(saved(store, "registry.test/app"))["manifest.json"])
    assert item["RepoTags"] == ["registry.test/app:1", "registry.test/app:2"]
    (item,) = json.loads(members(saved(store, image.id.short))["manifest.json"])
    assert item["RepoTags"] is None
    with pytest.raises(NotFound):
        saved(store, "registry.test/app:1", "nope")


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, lzma.compress, bz2.compress, zstandard.ZstdCompressor().compress]
)
def test_there_and_back(image: Image, store: Store, other_store: Store, compress):
    data = compress(saved(store, "registry.test/app:1"))
    (loaded,) = load(other_store, Stream(data))
    assert loaded.names == ("registry.test/app:1",)
    assert loaded.image.digest == image.digest
    assert find(other_store, "registry.test/app:1").read("a/b") == b"one" * 1000
    assert saved(other_store, "registry.test/app:1") == saved(store, "registry.test/app:1")
    assert not [name for name in os.listdir(other_store.root) if "tmp" in name]


def test_from_a_file_and_from_a_folder(image: Image, store: Store, other_store: Store, tmp_path: Path):
    path = tmp_path / "x.tar"
    path.write_bytes(saved(store, "registry.test/app:1"))
    with path.open("rb") as file:
        assert load(other_store, file)[0].image.digest == image.digest
    folder = tmp_path / "layout"
    for name, data in members(path.read_bytes()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert load_folder(other_store, str(folder))[0].image.digest == image.digest


def test_a_layer_goes_out_in_the_form_that_is_here(registry: Registry, store: Store, other_store: Store):
    registry.add_image("1", {"a": b"one"})
    registry.add_image("2", {"a": b"one"}, plain=True)
    pull(registry, APP, store)
    plain = pull(registry, APP.replace(tag="2"), store).image
    (loaded,) = load(other_store, Stream(saved(store, "registry.test/app:2")))
    assert loaded.image.id == plain.id
    assert loaded.image.read("a") == b"one"


def test_names_that_only_manifest_json_has(image: Image, store: Store, other_store: Store):
    files = members(saved(store, "registry.test/app:1"))
    index = json.loads(files["index.json"])
    del index["manifests"][0]["annotations"]
    files["index.json"] = json.dumps(index).encode()
    (loaded,) = load(other_store, Stream(plain_tar(files)))
    assert loaded.names == ("registry.test/app:1",)
    assert loaded.image.digest == image.digest


ODD = "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"


class News(NullProgress):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def with_odd_entry(files: dict[str, bytes], *, inner: bool) -> bytes:
    """The archive with a second entry that no algorithm of ours names: in its index, or in one below."""
    del files["manifest.json"]
    index = json.loads(files["index.json"])
    (good,) = index["manifests"]
    odd = {"mediaType": OCI_MANIFEST, "size": 1470, "digest": ODD}
    platform = {"platform": {"os": "linux", "architecture": "s390x"}}
    rows = [odd | platform, good | {"platform": Platform.host().to_json()}]
    if inner:
        below = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}).encode()
        top = Descriptor.of(below, OCI_INDEX)
        files[f"blobs/sha256/{top.digest.hex}"] = below
        rows = [top.to_json() | {"annotations": good["annotations"]}]
    return plain_tar(files | {"index.json": json.dumps(index | {"manifests": rows}).encode()})


@pytest.mark.parametrize("inner", [True, False], ids=["inner", "outer"])
def test_an_entry_of_an_unregistered_algorithm_is_no_harm_to_its_neighbours(
    image: Image, store: Store, other_store: Store, inner: bool
):
    news = News()
    data = with_odd_entry(members(saved(store, "registry.test/app:1")), inner=inner)
    (loaded,) = load(other_store, Stream(data), progress=news)
    assert (loaded.names, loaded.image.digest) == (("registry.test/app:1",), image.digest)
    assert any(ODD in line for line in news.lines) == (not inner)


def test_the_entry_of_an_unregistered_algorithm_itself_is_refused(
    image: Image, store: Store, other_store: Store
):
    files = members(saved(store, "registry.test/app:1"))
    with pytest.raises(NacreError, match=re.escape(ODD)):
        load(other_store, Stream(with_odd_entry(files, inner=True)), platform=Platform.parse("linux/s390x"))
    index = json.loads(files["index.json"])
    index["manifests"][0]["digest"] = ODD
    with pytest.raises(Unsupported, match=re.escape(ODD)):
        load(other_store, Stream(plain_tar(files | {"index.json": json.dumps(index).encode()})))


def test_docker_archives_of_old(store: Store):
    low, high = make_tar({"a": b"1", "b": b"1"}), make_tar({"a": b"2"})
    files = docker_archive([low, gzip.compress(high)], ["app:1", "registry.test/x/app:2"])
    (loaded,) = load(store, Stream(plain_tar(files)))
    assert loaded.names == ("app:1", "registry.test/x/app:2")
    assert loaded.image.id == Digest.of(files["config.json"])
    assert loaded.image.read("a") == b"2"
    assert loaded.image.read("b") == b"1"
    (again,) = load(store, Stream(plain_tar(files)))
    assert again.image == loaded.image


def read_through(archive: TarMembers) -> None:
    """As a copy does; a plain layer is verified by whoever reads it."""
    source = open_archive(archive)
    top, encoded = source.resolve(ANY)
    document = parse_document(encoded, top.media_type)
    assert isinstance(document, Manifest)
    for layer in document.layers:
        with source.fetch(layer) as content:
            verify(content, layer.digest)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("order", [(0, 0), (1, 1), (1, 0)])
def test_a_layer_that_is_not_what_the_config_says(
    store: Store, tmp_path: Path, pack: Callable[[bytes], bytes], known: bool, order: tuple[int, int]
):
    """Also where the store, or a layer before, has what the config says: nobody would miss the file then."""
    layers = [make_tar({"a": b"1"}), make_tar({"b": b"2"})]
    files = docker_archive([pack(layer) for layer in layers], ["app:1"])
    if known:
        load(store, Stream(plain_tar(files)))
    config = json.loads(files["config.json"])
    config["rootfs"]["diff_ids"] = [str(Digest.of(layers[number])) for number in order]
    data = plain_tar(files | {"config.json": json.dumps(config).encode()})
    with pytest.raises(DigestMismatch, match=r"layer l[01]/layer\.tar has digest"):
        load(store, Stream(data))
    (tmp_path / "lie.tar").write_bytes(data)
    with open(tmp_path / "lie.tar", "rb") as file, pytest.raises(DigestMismatch):
        read_through(TarMembers(file))


def test_one_file_for_two_layers_is_read_once(store: Store):
    """And the layers of an archive that is loaded again are still what the config says."""
    layer = make_tar({"a": b"1"})
    files = docker_archive([layer, layer]) | {}
    item = json.loads(files["manifest.json"])
    item[0]["Layers"] = ["l0/layer.tar"] * 2
    data = plain_tar(files | {"manifest.json": json.dumps(item).encode()})
    for _ in range(2):
        (loaded,) = load(store, Stream(data))
        assert loaded.image.read("a") == b"1"


def test_layers_that_are_links(store: Store):
    layer = make_tar({"a": b"1"})
    files = docker_archive([layer, layer, layer])
    del files["l1/layer.tar"], files["l2/layer.tar"]
    links = {"l1/layer.tar": "../l0/layer.tar"}
    (loaded,) = load(store, Stream(plain_tar(files, links, {"l2/layer.tar": "l1/layer.tar"})))
    assert loaded.image.read("a") == b"1"


def test_the_oldest_form(store: Store):
    rows = {"aa": {"id": "aa", "os": "linux", "architecture": "amd64", "created": "2014-01-01T00:00:00Z",
                   "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) ADD x"]}},
            "bb": {"id": "bb", "parent": "aa", "os": "linux", "architecture": "amd64",
                   "created": "2014-01-02T00:00:00Z", "config": {"Cmd": ["run"]}}}  # fmt: skip
    files = {"repositories": json.dumps({"old/app": {"1": "bb", "2": "bb"}, "base": {"1": "aa"}}).encode()}
    for name, row in rows.items():
        files |= {f"{name}/VERSION": b"1.0", f"{name}/json": json.dumps(row).encode()}
        files[f"{name}/layer.tar"] = make_tar({name: b"x"})
    top, base = load(store, Stream(plain_tar(files)))
    assert top.names == ("old/app:1", "old/app:2")
    assert base.names == ("base:1",)
    assert top.image.config.cmd == ["run"]
    assert top.image.config.created == "2014-01-02T00:00:00Z"
    assert [f.path for f in top.image.walk()] == [b"", b"aa", b"bb"]
    assert top.image.layers[0].created_by == "/bin/sh -c #(nop) ADD x"


def layer_of(*files: str) -> bytes:
    return make_tar(dict.fromkeys(files, b"x"))


HOSTILE = {
    "empty": plain_tar({}),
    "no archive at all": b"hello" * 1000,
    "nothing": b"",
    "a root file system": make_tar({"etc/passwd": b"x"}),
    "null": plain_tar({"manifest.json": b"null"}),
    "no JSON": plain_tar({"manifest.json": b"{"}),
    "deep JSON": plain_tar({"manifest.json": b"[" * 100_000}),
    "huge JSON": plain_tar({"manifest.json": b" " * (5 << 20)}),
    "texts for entries": plain_tar({"manifest.json": b'["x"]'}),
    "no config": plain_tar({"manifest.json": b'[{"Config":"x","Layers":[]}]'}),
    "config climbs": plain_tar({"manifest.json": b'[{"Config":"../../../etc/passwd","Layers":[]}]'}),
    "layer climbs": plain_tar(docker_archive([layer_of("a")], Layers=["/etc/hostname"])),
    "layer missing": plain_tar(docker_archive([layer_of("a")], Layers=["nope"])),
    "layers do not fit": plain_tar(docker_archive([layer_of("a")], Layers=[])),
    "layers are no list": plain_tar(docker_archive([layer_of("a")], Layers="l0/layer.tar")),
    "layer is another": plain_tar(docker_archive([layer_of("a")]) | {"l0/layer.tar": layer_of("b")}),
    "layer is no tar": plain_tar(docker_archive([b"junk" * 1000])),
    "bad tag": plain_tar(docker_archive([layer_of("a")], ["no name"])),
    "tag is a number": plain_tar(docker_archive([layer_of("a")], RepoTags=[1])),
    "links in a circle": plain_tar({"x": b""}, {"manifest.json": "y", "y": "manifest.json"}),
    "chain in a circle": plain_tar(
        {"repositories": b'{"a":{"1":"aa"}}', "aa/json": b'{"id":"aa","parent":"aa"}'}
    ),
    "chain climbs": plain_tar({"repositories": b'{"a":{"1":"../x"}}'}),
    "both kinds": plain_tar({"index.json": b'{"manifests":[{}],"layers":[],"config":{}}'}),
    "manifest is missing": plain_tar(
        {"index.json": Index(OCI_INDEX, (Descriptor.of(b"x", OCI_MANIFEST),)).encode()}
    ),
    "cut": plain_tar(docker_archive([layer_of("a")]))[:1500],
    "cut gzip": gzip.compress(plain_tar(docker_archive([layer_of("a")])))[:-200],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_with_a_sentence(store: Store, name: str):
    with pytest.raises(NacreError) as caught:
        load(store, Stream(HOSTILE[name]))
    assert caught.value.message
    assert isinstance(caught.value, ContentError)
    assert store.refs.list() == []


def test_a_link_in_a_folder_stays_in_it(store: Store, tmp_path: Path):
    (tmp_path / "secret").write_text("[]")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "index.json").symlink_to("../secret")
    (folder / "manifest.json").symlink_to("/etc/hostname")
    with pytest.raises(InvalidArchive, match="not an image archive"):
        load_folder(store, str(folder))


def test_no_name_is_set_when_a_later_image_is_bad(store: Store):
    files = docker_archive([layer_of("a")], ["good:1"])
    items = json.loads(files["manifest.json"])
    items.append({"Config": "nope", "RepoTags": ["bad:1"], "Layers": []})
    files["manifest.json"] = json.dumps(items).encode()
    with pytest.raises(InvalidArchive):
        load(store, Stream(plain_tar(files)))
    assert store.refs.list() == []


EXPECTED = {
    "archives-containers/libimage/docker-unnamed.tar.xz": [()],
    "archives-containers/libimage/docker-two-images.tar.xz": [
        ("example.com/empty:latest",), ("example.com/empty/but:different",),
    ],
    "archives-containers/libimage/docker-registry-name.tar.xz": [("example.com/empty:latest",)],
    "archives-containers/libimage/docker-name-only.tar.xz": [("pretty-empty:latest",)],
    "archives-containers/libimage/docker-two-names.tar.xz": [
        ("pretty-empty:latest", "example.com/empty:latest"),
    ],
    "archives-containers/libimage/buildkit-oci.tar": [("github.com/buildkit/archive:oci",)],
    "archives-containers/libimage/buildkit-docker.tar": [("github.com/buildkit/archive:docker",)],
    "archives-containers/libimage/oci-unnamed.tar.gz": [()],
    "archives-containers/libimage/oci-registry-name.tar.gz": [("example.com/empty:latest",)],
    "archives-containers/libimage/oci-name-only.tar.gz": [("pretty-empty:latest",)],
    "archives-containers/libimage/oci-non-docker-name.tar.gz": [()],
    "archives-containers/libimage/exported-container.tar": None,
    "archives-containers/docker-archive/almostempty.tar": [("emptyimage:latest",)],
    "archives-ggcr/tarball/test_bundle.tar": [("test_image_2:latest",), ("test_image_1:latest",)],
    "archives-ggcr/tarball/test_image_1.tar": [("bazel/v1/tarball:test_image_1",)],
    "archives-ggcr/tarball/test_image_2.tar": [("bazel/v1/tarball:test_image_2",)],
    "archives-ggcr/tarball/test_link.tar": [
        ("bazel/v1/tarball:test_image_1",), ("bazel/v1/tarball:test_image_3",),
    ],
    "archives-ggcr/tarball/test_load_manifest.tar": [("bazel/v1/tarball:test_image_1",)],
    "archives-ggcr/tarball/hello-world-v25.tar": [()],
    "archives-ggcr/tarball/null_manifest.tar": None,
    "archives-ggcr/tarball/no_manifest.tar": [("bazel/v1/tarball:test_image",)],
    "archives-ggcr/tarball/content.tar": None,
    "archives-ggcr/mutate/source_image.tar": [("bazel/pkg/v1/mutate:source_image",)],
    "archives-ggcr/mutate/source_image_with_empty_layer_history.tar": [("bazel/pkg/v1/mutate:source_image",)],
    "archives-ggcr/mutate/whiteout_image.tar": [("bazel/pkg/v1/mutate:whiteout_image",)],
    "archives-ggcr/mutate/overwritten_file.tar": [("bazel/pkg/v1/mutate:overwritten_file",)],
    "archives-ggcr/mutate/whiteout_dir.tar": [("localhost:5000/whiteout:latest",)],
}  # fmt: skip


@pytest.mark.parametrize("path", EXPECTED)
def test_archives_of_other_projects(corpus: Corpus, store: Store, path: str):
    data = corpus(path).read_bytes()
    expected = EXPECTED[path]
    if expected is None:
        with pytest.raises(InvalidArchive):
            load(store, Stream(data))
        return
    found = load(store, Stream(data), platform=Platform("linux", "amd64"))
    assert [loaded.names for loaded in found] == expected
    for loaded in found:
        list(loaded.image.walk())


def test_every_archive_of_other_projects_is_in_the_table(corpus: Corpus):
    names = {str(p.relative_to(corpus())) for p in corpus().glob("archives-*/**/*.tar*") if p.is_file()}
    assert names <= set(EXPECTED)


def test_whiteouts_of_other_projects(corpus: Corpus, store: Store):
    (loaded,) = load(store, Stream(corpus("archives-ggcr/mutate/whiteout_image.tar").read_bytes()))
    assert len(loaded.image.layers) == 3
    assert [found.path for found in loaded.image.walk()] == [b"", b"bar.txt"]


def test_layouts_of_other_projects(corpus: Corpus, store: Store):
    for path in sorted(corpus().glob("archives-*/**/oci-layout")):
        if not path.is_file():
            continue
        with suppress(NacreError):
            assert load_folder(store, str(path.parent))


def test_a_folder_of_skopeo_s_dir_form(corpus: Corpus, store: Store):
    (folder,) = corpus().glob("archives-containers/libimage/scratch-dir*")
    (loaded,) = load_folder(store, str(folder))
    assert loaded.image.layers


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_is_saved(image: Image, store: Store, tmp_path: Path, form: str):
    if not shutil.which("skopeo"):
        pytest.skip("no skopeo on this machine")
    path = tmp_path / "x.tar"
    path.write_bytes(saved(store, "registry.test/app:1"))
    name = "registry.test/app:1" if form == "docker-archive" else "1"
    out = tmp_path / "out"
    command = ["skopeo", "copy", "-q", "--insecure-policy", f"{form}:{path}:{name}", f"dir:{out}"]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    manifest = (out / "manifest.json").read_bytes()
    if form == "oci-archive":
        assert Digest.of(manifest) == image.digest
    assert json.loads(manifest)["config"]["digest"] == image.id


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_is_read(
    image: Image, store: Store, other_store: Store, tmp_path: Path, form: str
):
    if not shutil.which("skopeo"):
        pytest.skip("no skopeo on this machine")
    path, out = tmp_path / "x.tar", tmp_path / "out.tar"
    path.write_bytes(saved(store, "registry.test/app:1"))
    command = ["skopeo", "copy", "-q", "--insecure-policy", f"oci-archive:{path}:1", f"{form}:{out}:app:7"]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    (loaded,) = load(other_store, Stream(out.read_bytes()))
    assert loaded.names == ("app:7",)
    assert loaded.image.id == image.id
    assert loaded.image.read("a/b") == b"one" * 1000
