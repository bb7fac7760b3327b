"""Names and times of what is downloaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire.downloads import disposition_name, modified, url_name


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/a/b.tar.gz?x=/y#/z", "b.tar.gz"),
        ("http://h/a%20b", "a b"),
        ("http://h/caf%C3%A9", "café"),
        ("http://h/%ff", "\udcff"),
        ("http://h/a%2fb", "b"),
        ("http://h", ""),
        ("http://h/", ""),
        ("http://h/a/", ""),
        ("http://h/a/..", ""),
        ("http://h/%2e%2e", ""),
        ("http://h/a%00b", ""),
        ("http://h/" + "a" * 256, ""),
        ("http://[h/a", ""),
    ],
)
def test_url_name(url: str, expected: str) -> None:
    assert url_name(url) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", ""),
        ("attachment", ""),
        ("attachment; filename=a.txt", "a.txt"),
        ('inline ;FileName = "a \\"b\\""', 'a "b"'),
        ("attachment; filename=x; filename*=UTF-8''caf%c3%a9", "café"),
        ("attachment; filename=x; filename*=utf-7''evil", "x"),
        ('attachment; filename="caf\xc3\xa9"', "café"),
        ('attachment; filename="caf\xe9"', "café"),
        ("attachment; filename=../../etc/passwd", ""),
        ("attachment; filename*=UTF-8''..%2fpasswd", ""),
        ('attachment; filename=".."', ""),
        ('attachment; filename="a\\\\b"', ""),
    ],
)
def test_disposition_name(field: str, expected: str) -> None:
    assert disposition_name(field) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 1445412480),
        ("Mon, 01 Jan 1900 00:00:00 GMT", 0),
        ("", None),
        ("yesterday", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_modified(field: str, expected: int | None) -> None:
    assert modified(field) == expected


@given(st.text())
def test_anything_may_come(text: str) -> None:
    for name in (url_name(text), disposition_name(text)):
        assert "/" not in name
        assert name not in (".", "..")
    modified(text)
