"""distribution-spec v1.1, "Pull"."""

import os

import pytest

from nacre.words.digest import Digest
from nacre.words.oci import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

ABSENT = "sha256:" + "0" * 64


def test_the_version_check(api):
    answer = api("GET", "/v2/")
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert api("GET", "/v2").status == 200
    assert api("HEAD", "/v2/").status == 200


def test_a_manifest_by_tag_and_by_digest(api):
    image = api.push_image("lib/app", "1.0")
    for reference in ("1.0", image.digest, image.digest.replace(":", "%3A")):
        answer = api("GET", f"lib/app/manifests/{reference}")
        assert (answer.status, answer.body) == (200, image.data)
        assert answer.headers["Docker-Content-Digest"] == image.digest
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        head = api("HEAD", f"lib/app/manifests/{reference}")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(image.data))
        assert head.headers["Docker-Content-Digest"] == image.digest
        assert head.headers["Content-Type"] == OCI_MANIFEST


def test_the_media_type_is_kept(api, make):
    layer, config = make.layer(b"x"), make.config(b"x")
    for blob in (layer, config):
        api.push_blob("app", blob)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": make.descriptor(config, DOCKER_CONFIG),
        "layers": [make.descriptor(layer, DOCKER_LAYER_GZIP)],
    }
    assert api.put_manifest("app", "docker", document, DOCKER_MANIFEST).status == 201
    assert api("HEAD", "app/manifests/docker").headers["Content-Type"] == DOCKER_MANIFEST


def test_the_media_type_of_the_document_serves_when_the_header_has_none(api, make):
    image = api.push_image("app", "1")
    api.put_manifest("app", "2", image.data, "application/json")
    assert api("HEAD", "app/manifests/2").headers["Content-Type"] == OCI_MANIFEST


def test_a_manifest_that_is_not_there(api):
    api.push_image("app", "1")
    for reference in ("2", ABSENT, ".INVALID", "sha256:xx", "a" * 129):
        answer = api("GET", f"app/manifests/{reference}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
        assert api("HEAD", f"app/manifests/{reference}").status == 404
    answer = api("GET", "other/manifests/1")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_a_blob(api, make):
    data = bytes(range(256)) * 5000
    digest = api.push_blob("app", data)
    answer = api("GET", f"app/blobs/{digest}")
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["Docker-Content-Digest"] == digest
    head = api("HEAD", f"app/blobs/{digest}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(data)))
    assert head.headers["Accept-Ranges"] == "bytes"


def test_an_empty_blob(api):
    digest = api.push_blob("app", b"")
    answer = api("GET", f"app/blobs/{digest}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_a_blob_that_is_not_there(api):
    api.push_image("app", "1")
    answer = api("GET", f"app/blobs/{ABSENT}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert api("HEAD", f"app/blobs/{ABSENT}").status == 404
    assert api("GET", "app/blobs/sha256:xyz").code == "DIGEST_INVALID"


RANGES = [("0-9", 0, 9), ("10-", 10, 999_999), ("-5", 999_995, 999_999), ("999999-2000000", 999_999, 999_999)]


@pytest.mark.parametrize(("wanted", "first", "last"), RANGES)
def test_a_range_of_a_blob(api, wanted, first, last):
    data = bytes(range(250)) * 4000
    digest = api.push_blob("app", data)
    answer = api("GET", f"app/blobs/{digest}", Range=f"bytes={wanted}")
    assert (answer.status, answer.body) == (206, data[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert answer.headers["Content-Length"] == str(last - first + 1)


def test_a_range_outside_and_a_range_ignored(api):
    digest = api.push_blob("app", b"12345")
    answer = api("GET", f"app/blobs/{digest}", Range="bytes=5-")
    assert (answer.status, answer.code, answer.headers["Content-Range"]) == (
        416,
        "RANGE_INVALID",
        "bytes */5",
    )
    assert api("GET", f"app/blobs/{digest}", Range="bytes=0-1,3-4").status == 200
    assert api("GET", f"app/blobs/{digest}", Range="bytes=1-2", If_Range='"other"').status == 200
    assert api("GET", f"app/blobs/{digest}", Range="bytes=1-2", If_Range=f'"{digest}"').status == 206


def test_what_the_client_has_is_not_sent(api):
    image = api.push_image("app", "1")
    answer = api("GET", "app/manifests/1", If_None_Match=f'"{image.digest}"')
    assert (answer.status, answer.body) == (304, b"")
    digest = api.push_blob("app", b"data")
    assert api("GET", f"app/blobs/{digest}", If_None_Match=f'"{digest}"').status == 304


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"', '"x", "{}"', '"x",W/"y" , "{}"', "*"])
def test_what_the_client_has_is_not_sent_in_whatever_form_it_says_so(api, verb, form):
    image, digest = api.push_image("app", "1"), api.push_blob("app", b"data")
    for path, named in (
        ("app/manifests/1", image.digest), (f"app/manifests/{image.digest}", image.digest),
        (f"app/blobs/{digest}", digest),
    ):  # fmt: skip
        answer = api(verb, path, If_None_Match=form.format(named))
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", f'"{named}"')
        assert answer.headers["Docker-Content-Digest"] == named
    assert api(verb, "app/manifests/none", If_None_Match="*").status == 404
    assert api(verb, "app/manifests/1", If_None_Match=form.replace("*", "x").format(digest)).status == 200


def test_a_blob_is_visible_only_where_it_was_pushed(api):
    digest = api.push_blob("secret/app", b"data")
    api.push_image("app", "1")
    assert api("GET", f"app/blobs/{digest}").code == "BLOB_UNKNOWN"
    assert api("GET", f"nowhere/blobs/{digest}").code == "BLOB_UNKNOWN"


def test_a_manifest_is_visible_only_where_it_was_pushed(api):
    image = api.push_image("secret/app", "1")
    api.push_image("app", "1", b"other")
    assert api("GET", f"app/manifests/{image.digest}").status == 404


@pytest.mark.parametrize("damage", [os.unlink, lambda path: os.truncate(path, 2)])
def test_a_blob_whose_file_is_gone_or_cut_can_be_pushed_again(api, serving, damage):
    digest = api.push_blob("app", b"data")
    path = serving.registry.state.storage.path(Digest(digest))
    os.chmod(path, 0o600)
    damage(path)
    assert api("HEAD", f"app/blobs/{digest}").status == 404
    assert api.push_blob("app", b"data") == digest
    assert api("GET", f"app/blobs/{digest}").body == b"data"


def test_an_index(api, make):
    first, second = api.push_image("app", "a", b"1"), api.push_image("app", "b", b"2")
    index = make.index((first.data, OCI_MANIFEST), (second.data, OCI_MANIFEST))
    assert api.put_manifest("app", "all", index, OCI_INDEX).status == 201
    answer = api("GET", "app/manifests/all")
    assert (answer.json, answer.headers["Content-Type"]) == (index, OCI_INDEX)


def test_what_is_asked_for_often_takes_no_thread(api, serving, monkeypatch):
    """Neither the catalog nor small content that was read before."""
    image = api.push_image("app", "1")
    blob = api.push_blob("app", b"small")
    paths = [f"app/blobs/{blob}", "app/manifests/1", f"app/manifests/{image.digest}"]
    first = [api("GET", path).body for path in paths]
    monkeypatch.setattr(type(serving.registry.state.work), "run", None)
    assert [api("GET", path).body for path in paths] == first
    assert [api("HEAD", path).status for path in paths] == [200] * 3


def test_a_small_blob_that_is_damaged_counts_as_absent(api, serving, make):
    from nacre.words.digest import Digest

    digest = api.push_blob("app", b"small")
    path = serving.registry.state.storage.path(Digest(digest))
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"S")
    assert api("GET", f"app/blobs/{digest}").code == "BLOB_UNKNOWN"
    assert api.push_blob("app", b"small") == digest
    assert api("GET", f"app/blobs/{digest}").body == b"small"
