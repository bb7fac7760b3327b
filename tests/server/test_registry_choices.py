"""What the protocol leaves to a registry: tags by query, content that is not there, rules of the operator."""

import pytest

from nacre.words.oci import OCI_INDEX, OCI_MANIFEST
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
