from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire import links
from nacre.words.errors import RegistryError

BASE = "https://reg.example/v2/app/tags/list?n=2"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", []),
        ('</v2/a?last=b>; rel="next"', [("/v2/a?last=b", {"rel": "next"})]),
        ("</a>; rel=next", [("/a", {"rel": "next"})]),
        ('</a>;rel="prev", </b> ; title="x, y" ; rel="next"', [
            ("/a", {"rel": "prev"}), ("/b", {"title": "x, y", "rel": "next"})]),
        ("</a,b>; rel=next", [("/a,b", {"rel": "next"})]),
        ("garbage, </a>", [("/a", {})]),
        ("</never ends", [("/never ends", {})]),
    ],
)  # fmt: skip
def test_parse_links(field: str, expected: list[object]) -> None:
    assert list(links.parse_links(field)) == expected


@given(st.text())
def test_parse_links_takes_anything(field: str) -> None:
    list(links.parse_links(field))


def test_next_page() -> None:
    assert links.next_page(BASE, '</v2/app/tags/list?n=2&last=b>; rel="next"') == (
        "https://reg.example/v2/app/tags/list?n=2&last=b"
    )
    assert links.next_page(BASE, '<?last=b>; rel="next"') == "https://reg.example/v2/app/tags/list?last=b"
    assert links.next_page(BASE, "</x>; rel=prev") == ""


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/v2/", "//evil.example/v2", "http://reg.example/v2", "https://reg.example:8443/v2",
     "file:///etc/passwd", "https://reg.example/a b", "https://reg.example/\r\nX: y", "https://[::1",
     "https://reg.example:99999/", "/" + "a" * 20_000],
)  # fmt: skip
def test_next_page_stays_at_home(target: str) -> None:
    with pytest.raises(RegistryError):
        links.next_page(BASE, f"<{target}>; rel=next")


@pytest.mark.parametrize(
    ("base", "target", "expected"),
    [
        ("https://r/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1?_state=x%2By",
         "https://r/v2/a/blobs/uploads/1?_state=x%2By"),
        ("https://r/v2/a/blobs/uploads/", "1", "https://r/v2/a/blobs/uploads/1"),
        ("https://r/v2/a/blobs/uploads/", "https://store.example/up", "https://store.example/up"),
        ("https://r:444/v2/", "http://r/up?x=1", "https://r:444/up?x=1"),
        ("https://r:444/v2/", "http://r:444/up", "https://r:444/up"),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/up", "http://127.0.0.1:5000/up"),
    ],
)  # fmt: skip
def test_upload_location(base: str, target: str, expected: str) -> None:
    assert links.upload_location(base, target) == expected


@pytest.mark.parametrize("target", ["", "http://other.example/up", "ftp://r/up"])
def test_upload_location_refused(target: str) -> None:
    with pytest.raises(RegistryError):
        links.upload_location("https://r/v2/", target)


def test_with_query_keeps_what_is_there() -> None:
    url = links.with_query("https://r/up?_state=a%2Bb%3D&x#f", digest="sha256:00")
    assert url == "https://r/up?_state=a%2Bb%3D&x&digest=sha256:00"
    assert links.with_query("https://r/up", digest="sha256:00") == "https://r/up?digest=sha256:00"


def test_shown_hides_secrets() -> None:
    assert links.shown("https://me:pw@r/path?X-Amz-Signature=s") == "https://r/path"
