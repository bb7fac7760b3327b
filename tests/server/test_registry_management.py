"""distribution-spec v1.1, "Content Management": deleting, and what deleting must never break."""

import os

import pytest

from nacre.words.digest import Digest
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST
from nacre.words.rules import GarbageRules, RegistryRules

ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def rules():
    """No grace time: content goes with the last that holds it."""
    return RegistryRules(garbage=GarbageRules(grace=0.0))


def files(serving):
    root = serving.registry.state.store.root
    return {name for _, _, names in os.walk(f"{root}/blobs") for name in names if len(name) in (64, 128)}


def test_a_tag_is_deleted_and_its_manifest_stays(api):
    image = api.push_image("app", "1")
    assert api("DELETE", "app/manifests/1").status == 202
    assert api("GET", "app/manifests/1").code == "MANIFEST_UNKNOWN"
    assert api("GET", f"app/manifests/{image.digest}").body == image.data
    assert api("DELETE", "app/manifests/1").code == "MANIFEST_UNKNOWN"
    assert api("DELETE", "none/manifests/1").code == "NAME_UNKNOWN"


def test_a_manifest_is_deleted_with_its_tags(api):
    image = api.push_image("app", "1")
    api.put_manifest("app", "2", image.data)
    assert api("DELETE", f"app/manifests/{image.digest}").status == 202
    for reference in ("1", "2", image.digest):
        assert api("GET", f"app/manifests/{reference}").status == 404
    assert api("GET", "app/tags/list").json["tags"] == []
    assert api("DELETE", f"app/manifests/{image.digest}").status == 404
    assert api("DELETE", f"app/manifests/{ABSENT}").status == 404
    assert api("DELETE", "app/manifests/sha256:x").code == "DIGEST_INVALID"


def test_everything_is_deleted_and_the_disk_comes_back(api, serving, make):
    image = api.push_image("app", "1")
    assert len(files(serving)) == 3
    for path in (
        f"manifests/{image.digest}",
        f"blobs/{make.digest(image.layer)}",
        f"blobs/{make.digest(image.config)}",
    ):
        assert api("DELETE", f"app/{path}").status == 202
        assert api("GET", f"app/{path}").status == 404
    assert files(serving) == set()


def test_an_image_can_be_pushed_again_after_it_was_deleted(api, make):
    image = api.push_image("app", "1")
    api("DELETE", f"app/manifests/{image.digest}")
    api("DELETE", f"app/blobs/{make.digest(image.layer)}")
    again = api.push_image("app", "1")
    assert api("GET", "app/manifests/1").body == again.data
    assert api("GET", f"app/blobs/{make.digest(image.layer)}").body == image.layer


def test_a_blob_in_use_is_not_deleted(api, make):
    image = api.push_image("app", "1")
    for blob in (image.layer, image.config):
        answer = api("DELETE", f"app/blobs/{make.digest(blob)}")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert image.digest in answer.json["errors"][0]["message"]
        assert api("GET", f"app/blobs/{make.digest(blob)}").body == blob


def test_a_child_of_an_index_is_not_deleted(api, make):
    image = api.push_image("app", "1")
    index = api.put_manifest("app", "all", make.index((image.data, OCI_MANIFEST)), OCI_INDEX)
    assert api("DELETE", f"app/manifests/{image.digest}").status == 405
    assert api("DELETE", "app/manifests/1").status == 202
    assert api("DELETE", f"app/manifests/{index.headers['Docker-Content-Digest']}").status == 202
    assert api("DELETE", f"app/manifests/{image.digest}").status == 202


def test_deleting_in_one_repository_leaves_the_others(api, serving):
    digest = api.push_blob("a", b"data")
    assert api("POST", f"b/blobs/uploads/?mount={digest}&from=a").status == 201
    assert api("DELETE", f"a/blobs/{digest}").status == 202
    assert api("GET", f"a/blobs/{digest}").status == 404
    assert api("GET", f"b/blobs/{digest}").body == b"data"
    assert api("POST", f"c/blobs/uploads/?mount={digest}&from=a").status == 202
    assert api("DELETE", f"b/blobs/{digest}").status == 202
    assert Digest(digest).hex not in files(serving)


def test_content_that_is_manifest_here_and_blob_there(api, serving):
    image = api.push_image("app", "1")
    api.push_blob("other", image.data)
    assert api("DELETE", f"app/manifests/{image.digest}").status == 202
    assert api("GET", f"other/blobs/{image.digest}").body == image.data
    assert api("DELETE", f"other/blobs/{image.digest}").status == 202
    assert Digest(image.digest).hex not in files(serving)


def test_a_manifest_that_comes_back_under_its_tag_is_whole(api):
    image = api.push_image("app", "1")
    api("DELETE", f"app/manifests/{image.digest}")
    assert api.put_manifest("app", "1", image.data).status == 201
    assert api("GET", "app/manifests/1").body == image.data


def test_deleting_what_is_not_there(api):
    api.push_image("app", "1")
    assert api("DELETE", f"app/blobs/{ABSENT}").code == "BLOB_UNKNOWN"
    assert api("DELETE", f"none/blobs/{ABSENT}").code == "BLOB_UNKNOWN"
