"""distribution-spec v1.1, "Push": blobs in one request, in a session, in chunks, by mount; manifests."""

import json
from collections.abc import Iterator

import pytest

from nacre.words.oci import MAX_DOCUMENT, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

ABSENT = "sha256:" + "0" * 64


def pieces(*data: bytes) -> Iterator[bytes]:
    yield from data


def test_a_blob_in_one_request(api, make):
    data = b"x" * 300_000
    digest = make.digest(data)
    answer = api("POST", f"app/blobs/uploads/?digest={digest.replace(':', '%3A')}", data)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest
    assert api("GET", answer.headers["Location"]).body == data


def test_a_blob_by_post_and_put(api, make):
    location = api.begin("app")
    answer = api("PUT", f"{location}?digest={make.digest(b'data')}", b"data")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, make.digest(b"data"))
    assert api("GET", answer.headers["Location"]).body == b"data"
    assert api("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_as_one_stream(api, make):
    """What docker does: one PATCH of unknown length, then an empty PUT."""
    location = api.begin("app")
    answer = api("PATCH", location, pieces(b"a" * 700_000, b"b", b"c" * 70_000), chunked=True,
                 Transfer_Encoding="chunked")  # fmt: skip
    assert (answer.status, answer.headers["Range"]) == (202, "0-770000")
    data = b"a" * 700_000 + b"b" + b"c" * 70_000
    answer = api("PUT", f"{answer.headers['Location']}?digest={make.digest(data)}")
    assert answer.status == 201
    assert api("GET", answer.headers["Location"]).body == data


def test_a_blob_in_chunks(api, make):
    location = api.begin("app")
    for first, data in ((0, b"aaaa"), (4, b"bb"), (6, b"c")):
        last = first + len(data) - 1
        answer = api("PATCH", location, data, Content_Range=f"{first}-{last}")
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{last}")
        location = answer.headers["Location"]
        status = api("GET", location)
        assert (status.status, status.headers["Range"], status.body) == (204, f"0-{last}", b"")
    answer = api("PUT", f"{location}?digest={make.digest(b'aaaabbcdd')}", b"dd", Content_Range="7-8")
    assert answer.status == 201
    assert api("GET", answer.headers["Location"]).body == b"aaaabbcdd"


def test_chunks_out_of_order_are_refused_and_harm_nothing(api, make):
    location = api.begin("app")
    assert api("PATCH", location, b"bb", Content_Range="4-5").code == "RANGE_INVALID"
    assert api("PATCH", location, b"aaaa", Content_Range="0-3").status == 202
    for wrong in ("0-3", "3-4", "5-6", "x", "9-1", "4"):
        answer = api("PATCH", location, b"bb", Content_Range=wrong)
        assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert api("PUT", f"{location}?digest={make.digest(b'aaaabb')}", b"bb", Content_Range="0-1").status == 416
    assert api("GET", location).headers["Range"] == "0-3"
    assert api("PUT", f"{location}?digest={make.digest(b'aaaabb')}", b"bb").status == 201


def test_a_chunk_that_lies_about_its_length(api):
    location = api.begin("app")
    answer = api("PATCH", location, b"aaaa", Content_Range="0-9")
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert api("GET", location).headers["Range"] == "0-0"
    answer = api(
        "PATCH", location, pieces(b"aaaa"), chunked=True, Content_Range="0-1", Transfer_Encoding="chunked"
    )
    assert answer.status == 413


def test_a_wrong_digest_ends_the_upload_and_leaves_nothing(api, serving, make):
    location = api.begin("app")
    assert api("PATCH", location, b"data").status == 202
    answer = api("PUT", f"{location}?digest={ABSENT}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert api("GET", location).code == "BLOB_UPLOAD_UNKNOWN"
    assert api("HEAD", f"app/blobs/{ABSENT}").status == 404
    assert api("HEAD", f"app/blobs/{make.digest(b'data')}").status == 404
    answer = api("POST", f"app/blobs/uploads/?digest={ABSENT}", b"data")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 32, "../../etc", "sha256:" + "0" * 63]
)
def test_a_digest_that_is_none(api, digest):
    location = api.begin("app")
    assert api("PUT", f"{location}?digest={digest}", b"data").code == "DIGEST_INVALID"
    assert api("PUT", location, b"data").code == "DIGEST_INVALID"
    assert api("GET", location).status == 204
    assert api("POST", f"app/blobs/uploads/?digest={digest}", b"data").status in (400, 202)


def test_sha512(api, make):
    digest = make.digest(b"data", "sha512")
    assert api("POST", f"app/blobs/uploads/?digest={digest}", b"data").status == 201
    assert api("GET", f"app/blobs/{digest}").body == b"data"
    location = api.begin("app")
    api("PATCH", location, b"more")
    digest = make.digest(b"more", "sha512")
    assert api("PUT", f"{location}?digest={digest}").status == 201
    assert api("GET", f"app/blobs/{digest}").body == b"more"


def test_an_upload_is_cancelled(api):
    location = api.begin("app")
    api("PATCH", location, b"data")
    assert api("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = api(method, location)
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_belongs_to_its_repository(api):
    location = api.begin("app")
    assert api("GET", location.replace("/app/", "/other/")).code == "BLOB_UPLOAD_UNKNOWN"
    assert api("PATCH", location.replace("/app/", "/other/"), b"x").status == 404


def test_an_upload_survives_a_restart(tmp_path, api_of, make):
    from nacre.services.server import RunningServer

    with RunningServer(str(tmp_path / "r")) as serving:
        api = api_of(serving.url)
        location = api.begin("app")
        assert api("PATCH", location, b"a" * 100_000).status == 202
    with RunningServer(str(tmp_path / "r")) as serving:
        api = api_of(serving.url)
        assert api("GET", location).headers["Range"] == "0-99999"
        digest = make.digest(b"a" * 100_000 + b"b")
        assert api("PUT", f"{location}?digest={digest}", b"b", Content_Range="100000-100000").status == 201
        assert api("GET", f"app/blobs/{digest}").body == b"a" * 100_000 + b"b"


def test_more_sessions_than_are_kept_open(api, make):
    locations = [api.begin("app") for _ in range(80)]
    for number, location in enumerate(locations):
        assert api("PATCH", location, b"%d" % number).status == 202
    for number, location in enumerate(locations):
        assert api("PUT", f"{location}?digest={make.digest(b'%d!' % number)}", b"!").status == 201


# ── mount ──


def test_a_blob_is_mounted(api):
    digest = api.push_blob("from/here", b"data")
    answer = api("POST", f"to/there/blobs/uploads/?mount={digest}&from=from%2Fhere")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert answer.headers["Location"] == f"/v2/to/there/blobs/{digest}"
    assert api("GET", answer.headers["Location"]).body == b"data"


@pytest.mark.parametrize("source", ["&from=empty", "&from=none", "", "&from=", "&from=..", "&from=UPPER"])
def test_what_cannot_be_mounted_is_uploaded(api, source):
    digest = api.push_blob("secret", b"data")
    api.push_blob("empty", b"other")
    answer = api("POST", f"app/blobs/uploads/?mount={digest}{source}")
    assert answer.status == 202
    assert api("GET", f"app/blobs/{digest}").status == 404
    assert api("PUT", f"{answer.headers['Location']}?digest={digest}", b"data").status == 201


def test_a_mount_of_a_bad_digest(api):
    api.push_blob("a", b"data")
    assert api("POST", "b/blobs/uploads/?mount=sha256:x&from=a").code == "DIGEST_INVALID"


# ── manifests ──


def test_a_manifest(api):
    image = api.push_image("app", "1")
    assert image.answer.headers["Location"] == f"/v2/app/manifests/{image.digest}"
    assert image.answer.headers["Docker-Content-Digest"] == image.digest
    assert "OCI-Subject" not in image.answer.headers


def test_a_manifest_by_digest(api, make):
    image = api.push_image("app", "1")
    assert api.put_manifest("app", image.digest, image.data).status == 201
    changed = image.data + b"\n"
    answer = api.put_manifest("app", image.digest, changed)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert api.put_manifest("app", make.digest(changed, "sha512"), changed).status == 201
    assert api("GET", f"app/manifests/{make.digest(changed, 'sha512')}").body == changed


def test_a_tag_moves(api):
    first, second = api.push_image("app", "1", b"1"), api.push_image("app", "1", b"2")
    assert api("GET", "app/manifests/1").body == second.data
    assert api("GET", f"app/manifests/{first.digest}").body == first.data


def test_a_manifest_whose_parts_are_missing(api, make):
    layer, config = make.layer(b"x"), make.config(b"x")
    document = make.manifest(config, [layer])
    for blob in (layer, config):
        answer = api.put_manifest("app", "1", document)
        assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
        api.push_blob("elsewhere", blob)
        assert api.put_manifest("app", "1", document).status == 404
        api.push_blob("app", blob)
    assert api.put_manifest("app", "1", document).status == 201


def test_a_manifest_with_wrong_sizes_could_not_be_pulled(api, make):
    image = api.push_image("app", "1")
    document = json.loads(image.data)
    document["layers"][0]["size"] += 1
    assert api.put_manifest("app", "2", document).code == "SIZE_INVALID"


def test_layers_that_are_distributed_elsewhere_may_be_absent(api, make):
    image = api.push_image("app", "1")
    document = json.loads(image.data)
    for kind in (
        "vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ):
        document["layers"] = [make.descriptor(b"far away", f"application/{kind}")]
        assert api.put_manifest("app", "2", document).status == 201


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schemaVersion": 1}', b'{"schemaVersion": 2}', b"[" * 100_000,
     b'{"schemaVersion": 2, "config": {}, "layers": []}',
     b'{"schemaVersion": 2, "layers": [], "manifests": []}',
     b'{"schemaVersion": 2, "manifests": [{"digest": "sha256:../../x", "size": 1, "mediaType": "a"}]}',
     b'{"schemaVersion": 2, "manifests": [{"digest": 5, "size": 1, "mediaType": "a"}]}'],
)  # fmt: skip
def test_what_is_no_manifest(api, data):
    for media_type in (OCI_MANIFEST, OCI_INDEX, "", "application/json"):
        answer = api.put_manifest("app", "1", data, media_type)
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert api("GET", "app/tags/list").status == 404


def test_a_media_type_that_disagrees_or_is_unknown(api):
    image = api.push_image("app", "1")
    for media_type in (OCI_INDEX, "application/vnd.docker.distribution.manifest.v2+json"):
        assert api.put_manifest("app", "2", image.data, media_type).code == "MANIFEST_INVALID"
    plain = json.loads(image.data)
    del plain["mediaType"]
    assert api.put_manifest("app", "2", plain, "text/plain").code == "MANIFEST_INVALID"
    assert api.put_manifest("app", "2", plain, OCI_MANIFEST).status == 201
    assert api("HEAD", "app/manifests/2").headers["Content-Type"] == OCI_MANIFEST


def test_a_manifest_is_bounded(api):
    image = api.push_image("app", "1", annotations={"note": "x" * 1_000_000})
    assert api("GET", "app/manifests/1").body == image.data
    answer = api.put_manifest("app", "2", b" " * (MAX_DOCUMENT + 1))
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    big = (b" " * 1_000_000 for _ in range(5))
    assert api("PUT", "app/manifests/2", big, chunked=True, Transfer_Encoding="chunked").status == 413


@pytest.mark.parametrize("tag", [".x", "-x", "x" * 129, "a%20b", "%C3%A4"])
def test_a_tag_outside_its_grammar(api, tag):
    image = api.push_image("app", "1")
    assert api.put_manifest("app", tag, image.data).code == "TAG_INVALID"


def test_the_children_of_an_index_must_be_there(api, make):
    image = api.push_image("other", "1")
    index = make.index((image.data, OCI_MANIFEST))
    answer = api.put_manifest("app", "all", index, OCI_INDEX)
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    api.push_image("app", "1")
    assert api.put_manifest("app", "all", index, OCI_INDEX).status == 201
    assert api.put_manifest("app", "none", make.index(), OCI_INDEX).status == 201


def test_an_artifact_without_layers(api, make):
    api.push_blob("app", b"{}")
    document = make.manifest(b"{}", []) | {"artifactType": "application/vnd.example"}
    document["config"]["mediaType"] = OCI_CONFIG
    assert api.put_manifest("app", "artifact", document).status == 201
