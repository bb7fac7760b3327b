"""Root file systems as images, and the image of this machine in a store."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma

import pytest
import zstandard
from imagekit import Registry, make_tar

from nacre.images.arrows.importer import Meta, import_tar
from nacre.images.arrows.pull import pull
from nacre.images.arrows.push import push
from nacre.images.model.image import find
from nacre.images.places.host import HostSource, host_image
from nacre.stores.store import Store
from nacre.words.errors import InvalidArchive, NotFound, UsageError
from nacre.words.oci import Platform
from nacre.words.reference import Reference

TAR = make_tar({"etc/os-release": b"x", "bin/sh": b"#!"})
BASE = Reference.parse("base")


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, lzma.compress, bz2.compress, zstandard.ZstdCompressor().compress]
)
def test_every_compression_gives_the_same_image(store: Store, compress):
    image = import_tar(store, io.BytesIO(compress(TAR)), BASE, Meta(created="2024-01-01T00:00:00Z"))
    assert image.read("/etc/os-release") == b"x"
    assert image.names == (str(BASE),)
    assert image.layers[0].descriptor == import_tar(store, io.BytesIO(TAR)).layers[0].descriptor
    assert image.config.history[0]["comment"] == "Imported from -"


def test_changes_message_platform_and_time(store: Store):
    platform = Platform("linux", "s390x")
    meta = Meta(('CMD ["/bin/sh"]', "ENV A=1"), "mine", platform, "2024-01-01T00:00:00Z", "x.tar")
    image = import_tar(store, io.BytesIO(TAR), None, meta)
    assert image.config.cmd == ["/bin/sh"]
    assert image.config.env == ["A=1"]
    assert image.config.platform.architecture == "s390x"
    assert image.config.created == "2024-01-01T00:00:00Z"
    assert image.config.history[0]["comment"] == "mine"
    assert image.names == ()
    assert find(store, image.id.short) == image


@pytest.mark.parametrize("data", [b"", b"junk" * 1000, gzip.compress(TAR)[:-30], TAR[:700]])
def test_what_is_no_tar_leaves_nothing(store: Store, data: bytes):
    with pytest.raises(InvalidArchive):
        import_tar(store, io.BytesIO(data), BASE)
    assert store.refs.list() == []
    assert store.refs.images() == []


def test_a_bad_change_is_seen_before_anything_is_read(store: Store):
    class Unread:
        def read(self, size: int = -1, /) -> bytes:
            raise AssertionError

    with pytest.raises(UsageError):
        import_tar(store, Unread(), None, Meta(("RUN x",)))


def test_the_image_of_this_machine_is_built_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    image = host_image(store)
    assert image.names == ("docker.io/library/host:python3",)
    assert find(store, "host:python3") == image
    assert image.config.cmd == ["python3"]
    assert image.stat("/bin/sh").kind == "file"
    monkeypatch.setattr(store.trees, "ingest", None)
    assert host_image(store) == image


def test_it_is_the_same_in_another_store(store: Store, other_store: Store):
    assert host_image(store).digest == host_image(other_store).digest


def test_it_can_be_pulled_and_pushed(store: Store):
    result = pull(HostSource(store), Reference.parse("mine:1"), store)
    assert result.moved == 0
    assert result.image.names == ("docker.io/library/host:python3", "docker.io/library/mine:1")
    far = Registry("registry.test/python")
    push(store, result.image.descriptor, far, "1")
    assert store.layers.sources(result.image.layers[0].descriptor.digest) == [far.where]


def test_there_is_no_other(store: Store):
    with pytest.raises(NotFound, match="host:perl"):
        host_image(store, "host:perl")
