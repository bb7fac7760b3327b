import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire import routes
from nacre.grammars.wire.routes import METHODS, Endpoint, Route, match
from nacre.words.errors import RegistryError

DIGEST = "sha256:" + "a" * 64

component = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
names = st.lists(component | st.sampled_from(["blobs", "manifests", "tags", "uploads", "v2"]), min_size=1,
                 max_size=4).map("/".join)  # fmt: skip
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/", Route(Endpoint.BASE)),
        ("/v2", Route(Endpoint.BASE)),
        ("/v2/_catalog", Route(Endpoint.CATALOG)),
        ("/v2/app/tags/list", Route(Endpoint.TAGS, "app")),
        ("/v2/a/b/manifests/1.0", Route(Endpoint.MANIFEST, "a/b", "1.0")),
        (f"/v2/app/manifests/{DIGEST}", Route(Endpoint.MANIFEST, "app", DIGEST)),
        (f"/v2/app/manifests/{DIGEST.replace(':', '%3A')}", Route(Endpoint.MANIFEST, "app", DIGEST)),
        (f"/v2/app/blobs/{DIGEST}", Route(Endpoint.BLOB, "app", DIGEST)),
        ("/v2/app/blobs/uploads/", Route(Endpoint.UPLOADS, "app")),
        ("/v2/app/blobs/uploads", Route(Endpoint.UPLOADS, "app")),
        ("/v2/app/blobs/uploads/f00", Route(Endpoint.UPLOAD, "app", "f00")),
        (f"/v2/app/referrers/{DIGEST}", Route(Endpoint.REFERRERS, "app", DIGEST)),
        ("/v2/blobs/uploads/manifests/x", Route(Endpoint.MANIFEST, "blobs/uploads", "x")),
        ("/v2/manifests/manifests/manifests", Route(Endpoint.MANIFEST, "manifests", "manifests")),
        ("/v2/x/manifests/tags/list", Route(Endpoint.TAGS, "x/manifests")),
        ("/v2/manifests/tags/list", Route(Endpoint.TAGS, "manifests")),
    ],
)
def test_paths(path: str, route: Route) -> None:
    assert match(path) == route


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1/", "/v2x", "/v2x/app/tags/list", "//v2/", "/v2/app", "/v2/app/", "/v2/app/manifests/",
     "/v2/app/manifests", "/v2/app/blobs/", "/v2/app/tags/", "/v2/app/other/x", "/v2/app/manifests/a%2Fb",
     "/v2/" + "a/" * 1000 + "tags/list"],
)  # fmt: skip
def test_no_path_of_the_protocol(path: str) -> None:
    assert match(path) is None


@pytest.mark.parametrize(
    "name",
    ["..", "a/../b", "a%2Fb", "%2e%2e", "A", "a//b", "-a", "a-", "a..b", "a___b", "a._b", ".a", "a b", "a%00",
     "ä", "a" * 256, "_catalog", "a/", "a\n", "a%0a", "%2F", "", "a%252Fb"],
)  # fmt: skip
@pytest.mark.parametrize(
    "rest", ["blobs/uploads/", "tags/list", "manifests/x", f"blobs/{DIGEST}", "blobs/uploads/x"]
)
def test_names_outside_the_grammar(name: str, rest: str) -> None:
    with pytest.raises(RegistryError) as caught:
        match(f"/v2/{name}/{rest}")
    assert (caught.value.code, caught.value.status) == ("NAME_INVALID", 400)


@given(names, tags)
def test_what_is_built_is_matched(name: str, tag: str) -> None:
    assert match(routes.tags(name)) == Route(Endpoint.TAGS, name)
    assert match(routes.manifest(name, tag)) == Route(Endpoint.MANIFEST, name, tag)
    assert match(routes.manifest(name, DIGEST)) == Route(Endpoint.MANIFEST, name, DIGEST)
    assert match(routes.blob(name, DIGEST)) == Route(Endpoint.BLOB, name, DIGEST)
    assert match(routes.uploads(name)) == Route(Endpoint.UPLOADS, name)
    assert match(routes.upload(name, tag)) == Route(Endpoint.UPLOAD, name, tag)
    assert match(routes.referrers(name, DIGEST)) == Route(Endpoint.REFERRERS, name, DIGEST)


@given(st.text())
def test_any_text_is_judged_without_a_crash(text: str) -> None:
    try:
        route = match("/v2/" + text)
    except RegistryError:
        return
    assert route is None or match(route.path) == route


def test_queries_are_escaped() -> None:
    path = routes.uploads("a", mount=DIGEST, source="b/c")
    assert path == f"/v2/a/blobs/uploads/?mount={DIGEST.replace(':', '%3A')}&from=b%2Fc"
    assert routes.uploads("a", digest=DIGEST).endswith("?digest=" + DIGEST.replace(":", "%3A"))


def test_references() -> None:
    assert Route(Endpoint.MANIFEST, "a", DIGEST).digest == DIGEST
    assert Route(Endpoint.MANIFEST, "a", "_x.1-").tag == "_x.1-"
    assert Route(Endpoint.MANIFEST, "a", "sha256:x").by_digest
    with pytest.raises(RegistryError, match="invalid digest"):
        _ = Route(Endpoint.MANIFEST, "a", "sha256:x").digest
    for tag in (".x", "-x", "x" * 129, "ä", "x\n", ""):
        with pytest.raises(RegistryError, match="invalid tag"):
            _ = Route(Endpoint.MANIFEST, "a", tag).tag


def test_every_endpoint_has_methods() -> None:
    assert set(METHODS) == set(Endpoint)
    assert routes.base() == "/v2/"
    assert routes.catalog() == "/v2/_catalog"
    assert routes.is_upload("0123-abc_=.")
    assert not routes.is_upload("../x")
