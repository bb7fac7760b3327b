"""What the protocol leaves to a registry: tags by query, content that is not there, rules of the operator."""

import json

import pytest

from nacre.words.errors import UsageError
from nacre.words.oci import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from nacre.words.rules import RegistryRules


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_several_tags_in_one_request(api, make, algorithm):
    image = api.push_image("app", "first")
    digest = make.digest(image.data, algorithm)
    answer = api.put_manifest("app", f"{digest}?tag=1&tag=1.2&tag=latest&tag=1", image.data)
    assert (answer.status, answer.headers["OCI-Tag"]) == (201, "1, 1.2, latest")
    for tag in ("1", "1.2", "latest"):
        found = api("GET", f"app/manifests/{tag}")
        assert (found.body, found.headers["Docker-Content-Digest"]) == (image.data, digest)
    assert api("HEAD", "app/manifests/first").headers["Docker-Content-Digest"] == image.digest


def test_a_bad_tag_among_several_sets_none(api):
    image = api.push_image("app", "first")
    answer = api.put_manifest("app", f"{image.digest}?tag=good&tag=-bad", image.data)
    assert (answer.status, answer.code) == (400, "TAG_INVALID")
    assert api("GET", "app/manifests/good").status == 404


def test_tags_by_query_go_with_a_digest(api):
    image = api.push_image("app", "first")
    answer = api.put_manifest("app", "1?tag=2", image.data)
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")
    assert "OCI-Tag" not in api.put_manifest("app", "1", image.data).headers


class TestSparse:
    @pytest.fixture
    def rules(self):
        return RegistryRules(sparse=True)

    def test_an_index_with_one_of_its_images(self, api, make):
        image = api.push_image("app", "1")
        other = make.manifest(make.config(b"x"), [make.layer(b"x")])
        index = make.index((image.data, OCI_MANIFEST), (str(other).encode(), OCI_MANIFEST))
        answer = api.put_manifest("app", "all", index, OCI_INDEX)
        assert answer.status == 201
        assert answer.headers["Warning"] == (
            '299 - "1 of the parts of this manifest are not in this repository"'
        )
        assert len(api("GET", "app/manifests/all").json["manifests"]) == 2

    def test_what_is_there_must_have_the_size_that_is_said(self, api, make):
        image = api.push_image("app", "1")
        index = make.index((image.data, OCI_MANIFEST))
        index["manifests"][0]["size"] += 1
        assert api.put_manifest("app", "all", index, OCI_INDEX).code == "SIZE_INVALID"

    def test_a_manifest_that_comes_before_its_content(self, api, make):
        config, layer = make.config(b"y"), make.layer(b"y")
        assert api.put_manifest("app", "early", make.manifest(config, [layer])).headers["Warning"]
        for blob in (config, layer):
            api.push_blob("app", blob)
        assert "Warning" not in api.put_manifest("app", "early", make.manifest(config, [layer])).headers
        assert api("DELETE", f"app/blobs/{make.digest(layer)}").status == 405


def test_a_manifest_without_its_content_is_refused_else(api, make):
    answer = api.put_manifest("app", "1", make.manifest(make.config(b"y"), [make.layer(b"y")]))
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")


# ── conditions ──


def test_a_tag_is_set_only_if_it_is_new(api):
    image, other = api.push_image("app", "1"), api.push_image("app", "2", b"other")
    answer = api("PUT", "app/manifests/1", other.data, Content_Type=OCI_MANIFEST, If_None_Match="*")
    assert (answer.status, answer.code) == (412, "PRECONDITION_FAILED")
    assert api("GET", "app/manifests/1").body == image.data
    answer = api("PUT", "app/manifests/3", other.data, Content_Type=OCI_MANIFEST, If_None_Match="*")
    assert answer.status == 201


def test_a_tag_moves_only_from_where_it_was_seen(api):
    image, other = api.push_image("app", "1"), api.push_image("app", "2", b"other")
    for tag, status in ((f'"{other.digest}"', 412), (f'W/"{image.digest}"', 412),
                        (f'"x", "{image.digest}"', 201), (f'"{image.digest}"', 412)):  # fmt: skip
        answer = api("PUT", "app/manifests/1", other.data, Content_Type=OCI_MANIFEST, If_Match=tag)
        assert answer.status == status
    assert api("DELETE", "app/manifests/1", If_Match=f'"{image.digest}"').status == 412
    assert api("DELETE", "app/manifests/1", If_Match=f'"{other.digest}"').status == 202
    assert api("PUT", "app/manifests/1", other.data, Content_Type=OCI_MANIFEST, If_Match="*").status == 412


def test_reading_on_conditions(api, make):
    image = api.push_image("app", "1")
    layer = make.digest(image.layer)
    for path, digest in (("manifests/1", image.digest), (f"blobs/{layer}", layer)):
        assert api("GET", f"app/{path}", If_Match=f'"{digest}"').status == 200
        assert api("GET", f"app/{path}", If_Match='"x"').code == "PRECONDITION_FAILED"
        assert api("GET", f"app/{path}", If_None_Match=f'"x", W/"{digest}"').status == 304
        assert api("HEAD", f"app/{path}", If_None_Match="*").status == 304


# ── clients of other kinds ──


def test_a_client_that_knows_no_index_gets_the_usual_image(api, make):
    image, other = api.push_image("app", "amd64"), api.push_image("app", "arm64", b"other")
    index = make.index((other.data, OCI_MANIFEST), (image.data, OCI_MANIFEST))
    for entry, architecture in zip(index["manifests"], ("arm64", "amd64"), strict=True):
        entry["platform"] = {"os": "linux", "architecture": architecture}
    digest = api.put_manifest("app", "all", index, OCI_INDEX).headers["Docker-Content-Digest"]
    for method in ("GET", "HEAD"):
        found = api(method, "app/manifests/all", Accept=f"{DOCKER_MANIFEST}, {OCI_MANIFEST};q=0.5")
        assert found.headers["Docker-Content-Digest"] == image.digest
        assert found.headers["Content-Type"] == OCI_MANIFEST
        for accept in (OCI_INDEX, "*/*", DOCKER_MANIFEST, f"{OCI_MANIFEST}, {OCI_INDEX}", ""):
            headers = api(method, "app/manifests/all", Accept=accept).headers
            assert headers["Docker-Content-Digest"] == digest
        by_digest = api(method, f"app/manifests/{digest}", Accept=OCI_MANIFEST)
        assert by_digest.headers["Docker-Content-Digest"] == digest


def test_docker_images_of_schema_2(api, make):
    config, layer = make.config(b"x"), make.layer(b"x")
    for blob in (config, layer):
        api.push_blob("app", blob)
    document = make.manifest(config, [layer]) | {"mediaType": DOCKER_MANIFEST}
    document["config"]["mediaType"] = DOCKER_CONFIG
    document["layers"][0]["mediaType"] = DOCKER_LAYER_GZIP
    assert api.put_manifest("app", "1", document, DOCKER_MANIFEST).status == 201
    found = api("GET", "app/manifests/1", Accept=DOCKER_MANIFEST)
    assert (found.json, found.headers["Content-Type"]) == (document, DOCKER_MANIFEST)


@pytest.mark.parametrize("host", ["docker.io", "localhost:5000", "[::1]:5000", "Registry.Example.com"])
def test_a_mirror_for_containerd(api, host):
    image = api.push_image("library/app", "1")
    assert api("GET", f"library/app/manifests/1?ns={host}").body == image.data
    assert api("HEAD", f"library/app/blobs/{image.digest}?ns={host}").status == 404


@pytest.mark.parametrize("host", ["", "a/b", "-x", "a:b", "a" * 300, "a%0d%0ab"])
def test_a_namespace_that_is_no_registry(api, host):
    api.push_image("app", "1")
    assert api("GET", f"app/manifests/1?ns={host}").code == "NAME_INVALID"


class TestChildren:
    @pytest.fixture
    def rules(self):
        return RegistryRules(children=True, warning='moves to "new"')

    def test_an_index_takes_its_children(self, api, make):
        kept, shared, gone = (
            api.push_image("app", name, name.encode()) for name in ("kept", "shared", "gone")
        )
        inner = make.index((gone.data, OCI_MANIFEST))
        inner_digest = api.put_manifest("app", "inner", inner, OCI_INDEX).headers["Docker-Content-Digest"]
        data = json.dumps(inner).encode()
        outer = make.index(*((each.data, OCI_MANIFEST) for each in (kept, shared)), (data, OCI_INDEX))
        digest = api.put_manifest("app", "outer", outer, OCI_INDEX).headers["Docker-Content-Digest"]
        api.put_manifest("app", "other", make.index((shared.data, OCI_MANIFEST)), OCI_INDEX)
        for tag in ("shared", "gone", "inner"):
            assert api("DELETE", f"app/manifests/{tag}").status == 202
        assert api("DELETE", f"app/manifests/{digest}").status == 202
        left = [api("HEAD", f"app/manifests/{each.digest}").status for each in (kept, shared, gone)]
        assert left == [200, 200, 404]
        assert api("HEAD", f"app/manifests/{inner_digest}").status == 404

    def test_a_warning_of_the_operator(self, api):
        image = api.push_image("app", "1")
        assert image.answer.headers["Warning"] == r'299 - "moves to \"new\""'
        assert api("GET", "app/manifests/1").headers["Warning"] == r'299 - "moves to \"new\""'


def test_an_index_leaves_its_children_else(api, make):
    image = api.push_image("app", "1")
    index = make.index((image.data, OCI_MANIFEST))
    digest = api.put_manifest("app", "all", index, OCI_INDEX).headers["Docker-Content-Digest"]
    api("DELETE", "app/manifests/1")
    assert api("DELETE", f"app/manifests/{digest}").status == 202
    assert api("HEAD", f"app/manifests/{image.digest}").status == 200


def test_no_connection_at_all_is_a_mistake():
    with pytest.raises(UsageError, match="one connection at least, not 0"):
        RegistryRules(connections=0)
