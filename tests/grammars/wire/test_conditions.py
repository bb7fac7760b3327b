from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.wire.conditions import etag, has_already

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
TAG = etag(DIGEST)


@pytest.mark.parametrize(
    "field",
    ["*", TAG, f"W/{TAG}", DIGEST, f' "x", {TAG}', f'"x",W/{TAG}', f'{TAG}, "x"', f'"a,b" , {TAG}',
     f"\t{TAG}\t", f"{OTHER}, {DIGEST}", '"x", *', f", ,{TAG}", f'W/"x", {DIGEST} ,"y"'],
)  # fmt: skip
def test_what_names_the_content(field: str) -> None:
    assert has_already(field, DIGEST)


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        ",",
        etag(OTHER),
        OTHER,
        f'"x{DIGEST}"',
        f'"*"x, "{OTHER}"',
        f'"x, {DIGEST}"',
        f"{DIGEST}x",
        '"',
        "W/",
    ],
)
def test_what_does_not(field: str) -> None:
    assert not has_already(field, DIGEST)


@given(st.text(alphabet='*W/", asx'))
def test_any_field_is_read(field: str) -> None:
    has_already(field, DIGEST)
