"""distribution-spec v1.1, "Content Discovery": tags, repositories, referrers."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from nacre.words.oci import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST

ABSENT = "sha256:" + "0" * 64


def walk(api, path, key):
    """All pages of a list, and how many there were."""
    found, pages = [], 0
    while path:
        answer = api("GET", path)
        assert answer.status == 200
        found += answer.json[key]
        pages += 1
        link = re.fullmatch('<(.*)>; rel="next"', answer.headers.get("Link", ""))
        path = link.group(1) if link else ""
    return found, pages


def test_tags(api):
    image = api.push_image("app", "v1")
    for tag in ("V2", "v3", "_x", "latest", "B", "a"):
        api.put_manifest("app", tag, image.data)
    answer = api("GET", "app/tags/list")
    expected = ["_x", "a", "B", "latest", "v1", "V2", "v3"]
    assert answer.json["name"] == "app"
    assert sorted(answer.json["tags"]) == sorted(expected)
    assert [tag for tag in answer.json["tags"] if tag != "_x"] == expected[1:]
    assert "Link" not in answer.headers


def test_pages_of_tags(api):
    image = api.push_image("app", "t0")
    for number in range(1, 10):
        api.put_manifest("app", f"{'tT'[number % 2]}{number}", image.data)
    everything = api("GET", "app/tags/list").json["tags"]
    for size, pages in ((1, 10), (3, 4), (5, 2), (10, 1), (100, 1)):
        assert walk(api, f"app/tags/list?n={size}", "tags") == (everything, pages)
    assert api("GET", "app/tags/list?n=2&last=t4").json["tags"] == ["T5", "t6"]
    assert api("GET", "app/tags/list?last=t8").json["tags"] == ["T9"]
    assert api("GET", "app/tags/list?last=zzz").json["tags"] == []
    answer = api("GET", "app/tags/list?n=0")
    assert answer.json["tags"] == []
    assert "Link" not in answer.headers


def test_a_link_is_one_that_can_be_followed(api):
    image = api.push_image("lib/app", "a")
    api.put_manifest("lib/app", "b", image.data)
    link = api("GET", "lib/app/tags/list?n=1").headers["Link"]
    target = urlsplit(link[1 : link.index(">")])
    assert (target.path, parse_qs(target.query)) == ("/v2/lib/app/tags/list", {"n": ["1"], "last": ["a"]})


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "", "9" * 30, "%D9%A1"])
def test_a_number_that_is_none(api, number):
    api.push_image("app", "1")
    for path in (f"app/tags/list?n={number}", f"_catalog?n={number}"):
        answer = api("GET", path)
        assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


def test_tags_of_what_is_not_there(api):
    answer = api("GET", "app/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_repositories(api):
    assert api("GET", "_catalog").json == {"repositories": []}
    for name in ("b", "a/b", "a", "c-d"):
        api.push_blob(name, b"x")
    expected = ["a", "a/b", "b", "c-d"]
    assert api("GET", "_catalog").json == {"repositories": expected}
    assert walk(api, "_catalog?n=2", "repositories") == (expected, 2)
    assert walk(api, "_catalog?n=3&last=a", "repositories") == (expected[1:], 1)


def test_what_was_only_asked_for_is_no_repository(api):
    api("GET", "app/manifests/1")
    api.begin("begun")
    api.put_manifest("refused", "1", b"{}")
    api("POST", f"mounted/blobs/uploads/?mount={ABSENT}&from=nowhere")
    assert api("GET", "_catalog").json == {"repositories": []}


# ── referrers ──


def artifact(api, make, kind, subject, name="app", **extra):
    api.push_blob(name, b"{}")
    document = make.manifest(b"{}", []) | {"artifactType": kind, "subject": subject} | extra
    document["config"]["mediaType"] = OCI_EMPTY
    data = json.dumps(document).encode()
    answer = api.put_manifest(name, make.digest(data), data)
    assert answer.status == 201
    assert answer.headers["OCI-Subject"] == subject["digest"]
    return make.descriptor(data, OCI_MANIFEST)


def test_nothing_refers(api):
    answer = api("GET", f"app/referrers/{ABSENT}")
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert answer.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert api("GET", "app/referrers/x").code == "DIGEST_INVALID"


def test_referrers(api, make):
    image = api.push_image("app", "1")
    subject = make.descriptor(image.data, OCI_MANIFEST)
    notes = {"org.example": "yes"}
    sbom = artifact(api, make, "application/sbom", subject, annotations=notes)
    signature = artifact(api, make, "application/signature", subject)
    expected = [sbom | {"artifactType": "application/sbom", "annotations": notes},
                signature | {"artifactType": "application/signature"}]  # fmt: skip
    answer = api("GET", f"app/referrers/{image.digest}")
    assert answer.status == 200
    assert sorted(answer.json["manifests"], key=str) == sorted(expected, key=str)
    assert "OCI-Filters-Applied" not in answer.headers
    answer = api("GET", f"app/referrers/{image.digest}?artifactType=application%2Fsbom")
    assert answer.json["manifests"] == expected[:1]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert api("GET", f"app/referrers/{image.digest}?artifactType=none").json["manifests"] == []
    assert api("GET", f"other/referrers/{image.digest}").json["manifests"] == []


def test_a_subject_may_come_later(api, make):
    image = api.push_image("other", "1")
    found = artifact(api, make, "application/x", make.descriptor(image.data, OCI_MANIFEST))
    assert [entry["digest"] for entry in api("GET", f"app/referrers/{image.digest}").json["manifests"]] == [
        found["digest"]
    ]


def test_the_config_type_stands_in_for_the_artifact_type(api, make):
    base = api.push_image("app", "1")
    image = api.push_image("app", "2", b"2", subject=make.descriptor(base.data, OCI_MANIFEST))
    [entry] = api("GET", f"app/referrers/{base.digest}").json["manifests"]
    assert entry["digest"] == image.digest
    assert entry["artifactType"] == "application/vnd.oci.image.config.v1+json"


def test_an_index_may_refer(api, make):
    base = api.push_image("app", "1")
    index = make.index() | {
        "subject": make.descriptor(base.data, OCI_MANIFEST),
        "artifactType": "application/y",
    }
    answer = api.put_manifest("app", "signed", index, OCI_INDEX)
    assert answer.headers["OCI-Subject"] == base.digest
    [entry] = api("GET", f"app/referrers/{base.digest}").json["manifests"]
    assert (entry["mediaType"], entry["artifactType"]) == (OCI_INDEX, "application/y")


def test_a_deleted_referrer_is_gone(api, make):
    subject = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 5}
    found = artifact(api, make, "application/x", subject)
    assert api("DELETE", f"app/manifests/{found['digest']}").status == 202
    assert api("GET", f"app/referrers/{ABSENT}").json["manifests"] == []


def test_referrers_come_in_documents_of_bounded_size(api, make):
    subject = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 5}
    for number in range(5):
        artifact(api, make, "application/x", subject, annotations={"n": f"{number}" * 1_500_000})
    found, pages = walk(api, f"app/referrers/{ABSENT}?artifactType=application/x", "manifests")
    assert (len({entry["digest"] for entry in found}), pages) == (5, 3)
